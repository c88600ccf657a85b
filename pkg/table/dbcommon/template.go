package dbcommon

import (
	"strings"

	"suffix/pkg/maillog"
)

// A Template makes a query of a key, or the final value of a value that was
// found. It is text in which a percent sign and a letter stand for a part of the
// key or value:
//
//	%%       a percent sign
//	%s %S    the key
//	%u %U    its localpart; the whole key where it has no "@"
//	%d %D    its domain
//	%1 … %9  a label of the domain, %1 the rightmost
//
// In a result format %s, %u and %d are parts of the value, the others of the key.
type Template struct {
	table string // of which it is part, for warnings
	text  string
	parts []part
	// What the key must have for the template to make sense.
	localpart, domain bool
	labels            int
	// The same of the value, in a result format.
	valueLocalpart, valueDomain bool
}

// part is literal text, followed by an expansion unless letter is 0.
type part struct {
	text   string
	letter byte
}

// Query parses a query template. A bad one becomes the source's error.
func (s *Source) Query(text string) *Template { return s.template(text, false) }

// ResultFormat parses a result format. A bad one becomes the source's error.
func (s *Source) ResultFormat(text string) *Template { return s.template(text, true) }

func (s *Source) template(text string, result bool) *Template {
	t, ok := parseTemplate(text, result)
	t.table = s.Table()
	if !ok {
		kind := "query"
		if result {
			kind = "result"
		}
		s.Fail("db_common_parse: %s: Invalid %s template: %s", s.name, kind, text)
	}
	return t
}

func parseTemplate(text string, result bool) (t *Template, ok bool) {
	t = &Template{text: text}
	literal := ""
	for rest := text; ; {
		at := strings.IndexByte(rest, '%')
		if at < 0 {
			t.parts = append(t.parts, part{text: literal + rest})
			return t, true
		}
		literal += rest[:at]
		if at+1 == len(rest) {
			return t, false
		}
		letter := rest[at+1]
		rest = rest[at+2:]
		ofValue := result && (letter == 's' || letter == 'u' || letter == 'd')
		switch letter {
		case '%':
			literal += "%"
			continue
		case 's', 'S':
		case 'u', 'U':
			t.localpart = t.localpart || !ofValue
			t.valueLocalpart = t.valueLocalpart || ofValue
		case 'd', 'D':
			t.domain = t.domain || !ofValue
			t.valueDomain = t.valueDomain || ofValue
		case '1', '2', '3', '4', '5', '6', '7', '8', '9':
			t.labels = max(t.labels, int(letter-'0'))
		default:
			return t, false
		}
		t.parts = append(t.parts, part{literal, letter})
		literal = ""
	}
}

// String is the text of the template.
func (t *Template) String() string { return t.text }

// UsesKey says whether the template has any expansion.
func (t *Template) UsesKey() bool { return t.parts[0].letter != 0 }

// Quote appends text to b, quoted for the place where a query has it.
type Quote func(b []byte, text string) []byte

// Plain is the Quote that changes nothing.
func Plain(b []byte, text string) []byte { return append(b, text...) }

// Suits says whether a key has all parts that the template uses. If not, nothing
// is asked, and the key is not found. An empty key is warned about.
func (t *Template) Suits(key string) bool {
	if key == "" {
		maillog.Warnf("table \"%s\": empty query string -- ignored", t.table)
		return false
	}
	k := splitKey(key)
	return t.suits(&k)
}

// Expand makes the query for a key; ok is what Suits says.
func (t *Template) Expand(key string, quote Quote) (query string, ok bool) {
	if !t.Suits(key) {
		return "", false
	}
	k := splitKey(key)
	return string(t.expand(nil, &k, &k, quote)), true
}

func (t *Template) suits(k *address) bool {
	return !(t.localpart && k.localpart == "" || t.domain && k.domain == "" || len(k.labels) < t.labels)
}

// suitsValue says the same of a value.
func (t *Template) suitsValue(v *address) bool {
	return !(t.valueLocalpart && v.localpart == "" || t.valueDomain && v.domain == "")
}

// expand appends the template with parts of the key and of the value filled in.
func (t *Template) expand(b []byte, key, value *address, quote Quote) []byte {
	for _, p := range t.parts {
		b = append(b, p.text...)
		switch p.letter {
		case 0:
		case 's':
			b = quote(b, value.whole)
		case 'u':
			b = quote(b, value.localpart)
		case 'd':
			b = quote(b, value.domain)
		case 'S':
			b = quote(b, key.whole)
		case 'U':
			b = quote(b, key.localpart)
		case 'D':
			b = quote(b, key.domain)
		default:
			b = quote(b, key.labels[p.letter-'1'])
		}
	}
	return b
}

// address is a key or value taken apart at its last "@".
type address struct {
	whole, localpart, domain string
	at                       bool
	labels                   []string // of the domain, from the right, only of keys; none is empty
}

func splitAddress(text string) address {
	at := strings.LastIndexByte(text, '@')
	if at < 0 {
		return address{whole: text, localpart: text}
	}
	return address{whole: text, localpart: text[:at], domain: text[at+1:], at: true}
}

// maxLabels is how many labels of a domain a template can name. A long key is
// not taken apart further.
const maxLabels = 9

func splitKey(key string) address {
	a := splitAddress(key)
	for rest, more := a.domain, true; more && len(a.labels) < maxLabels; {
		dot := strings.LastIndexByte(rest, '.')
		if label := rest[dot+1:]; label != "" {
			a.labels = append(a.labels, label)
		}
		if more = dot >= 0; more {
			rest = rest[:dot]
		}
	}
	return a
}

// Expansions calls f with the letter of each expansion, and with the kind of
// quotes that it stands in by the syntax of SQL, 0 where there are none.
func (t *Template) Expansions(f func(letter, quote byte)) {
	var open byte
	for _, p := range t.parts {
		for i := 0; i < len(p.text); i++ {
			switch c := p.text[i]; {
			case open == 0 && (c == '\'' || c == '"'):
				open = c
			case c == open:
				open = 0 // a doubled quote opens it again
			}
		}
		if p.letter != 0 {
			f(p.letter, open)
		}
	}
}
