// Package address converts mail addresses between their internal and external
// forms and parses the address lists of headers and commands (spec cleanup §9).
//
// Internal form: localpart and domain as they are, split at the last '@'; used
// in queue files. External form: the localpart is quoted where RFC 5321 wants
// it; used in headers, lookups, SMTP and towards the rewrite service.
package address

import "strings"

// Split cuts an address in internal form at its last '@'. ok is false when it
// has none; then the whole text is the localpart.
func Split(internal string) (local, domain string, ok bool) {
	i := strings.LastIndexByte(internal, '@')
	if i < 0 {
		return internal, "", false
	}
	return internal[:i], internal[i+1:], true
}

// Quote returns the external form of an address in internal form. A source
// route in front ("@a,@b:") stays as it is. The empty address becomes "\"\"".
func Quote(internal string) string {
	route := ""
	rest := internal
	if strings.HasPrefix(internal, "@") {
		if i := strings.IndexByte(internal, ':'); i >= 0 {
			route, rest = internal[:i+1], internal[i+1:]
		}
	}
	at := strings.LastIndexByte(rest, '@')
	local := rest
	if at >= 0 {
		local = rest[:at]
	}
	if bare(local) {
		return internal
	}
	var b strings.Builder
	b.Grow(len(internal) + 8)
	b.WriteString(route)
	quoteInto(&b, local, false)
	b.WriteString(rest[len(local):])
	return b.String()
}

// QuoteUnlessEmpty is Quote, but leaves the empty address empty: the form of
// from=<> and to=<> in log lines.
func QuoteUnlessEmpty(internal string) string {
	if internal == "" {
		return ""
	}
	return Quote(internal)
}

// QuoteLocal returns a localpart in external form.
func QuoteLocal(local string) string {
	if bare(local) {
		return local
	}
	var b strings.Builder
	quoteInto(&b, local, false)
	return b.String()
}

// QuoteSMTP returns the form for SMTP commands (RFC 821): like Quote, without
// source routes, and with LF escaped too.
func QuoteSMTP(internal string) string {
	local, _, ok := Split(internal)
	if bare(local) {
		return internal
	}
	var b strings.Builder
	b.Grow(len(internal) + 8)
	quoteInto(&b, local, true)
	if ok {
		b.WriteString(internal[len(local):])
	}
	return b.String()
}

func quoteInto(b *strings.Builder, local string, escapeLF bool) {
	b.WriteByte('"')
	for i := 0; i < len(local); i++ {
		switch c := local[i]; {
		case c == '"', c == '\\', c == '\r', c == '\n' && escapeLF:
			b.WriteByte('\\')
		}
		b.WriteByte(local[i])
	}
	b.WriteByte('"')
}

// bare says whether a localpart needs no quotes.
func bare(local string) bool {
	if local == "" || local[0] == '.' || local[len(local)-1] == '.' {
		return false
	}
	for i := 0; i < len(local); i++ {
		c := local[i]
		if class[c]&(classSpace|classControl|classOperator) == 0 {
			continue
		}
		if c == '.' {
			if local[i+1] == '.' { // the last byte is not a dot
				return false
			}
			continue
		}
		if c != '|' && c != '%' && c != '!' {
			return false
		}
	}
	return true
}

// Unquote returns the internal form of an address in external form: quotes and
// backslashes before the last unquoted '@' are resolved; the text from there
// on is kept verbatim.
func Unquote(external string) string {
	if !strings.ContainsAny(external, `"\`) {
		return external
	}
	domain := len(external)
	quoted := false
	for i := 0; i < len(external); i++ {
		switch external[i] {
		case '"':
			quoted = !quoted
		case '\\':
			i++
		case '@':
			if !quoted {
				domain = i
			}
		}
	}
	buf := make([]byte, 0, len(external))
	for i := 0; i < domain; i++ {
		switch c := external[i]; {
		case c == '"':
		case c == '\\':
			if i+1 < domain {
				i++
				buf = append(buf, external[i])
			}
		default:
			buf = append(buf, c)
		}
	}
	return string(append(buf, external[domain:]...))
}
