package rewrite

import (
	"net/netip"
	"strings"
	"unicode/utf8"

	"golang.org/x/net/idna"

	"suffix/pkg/address"
	"suffix/pkg/config"
	"suffix/pkg/rewriteclient"
)

// A query is one resolve request in progress.
type query struct {
	e      *Engine
	routes *routes
	sender string
	addr   string
	reply  rewriteclient.Reply

	domain string // of the recipient, "[addr]" for a literal
	local  bool   // the domain is delivered to on this machine
}

// run takes the address apart until its domain is not ours, or nothing but a
// local user is left (spec qmgr §13.4); then it selects the destination.
func (q *query) run() {
	tokens, ok := q.strip()
	if !ok {
		q.reply.Flags |= rewriteclient.Fail
		return
	}
	tokens, ok = q.checkDomain(tokens)
	q.reply.Recipient = internal(tokens)
	switch {
	case !ok:
		q.reply.Flags |= rewriteclient.Fail
		return
	case q.reply.Flags&rewriteclient.Error != 0:
		q.reply.Flags |= rewriteclient.ClassDefault
		return
	}
	if i := strings.IndexAny(q.reply.Recipient, "@!%"); i >= 0 && q.reply.Recipient[i+1:] != q.domain {
		q.reply.Flags |= rewriteclient.Routed
	}
	q.route()
}

// strip removes own domains and undoes routing by %, ! and quotes. The result
// ends in @domain; ok is false when a table lookup failed, which is logged.
func (q *query) strip() (tokens []token, ok bool) {
	e := q.e
	tokens = parse(address.Quote(q.addr))
	var saved []token // the own domain that was cut off last, with its @
	for limit := len(q.addr) + 100; limit > 0; limit-- {
		if last(tokens, '@') >= 0 {
			tokens = trimDot(tokens)
		}
		if n := len(tokens); e.nullDomain && n > 0 && tokens[n-1].is('@') {
			tokens = tokens[:n-1]
		}
		if i := last(tokens, '@'); i >= 0 {
			if i < len(tokens)-1 {
				local, err := e.isLocal(internal(tokens[i+1:]))
				if err != nil {
					e.lookupFailure("mydestination")
					return nil, false
				}
				if !local {
					return tokens, true
				}
			}
			saved = tokens[i:]
			tokens = tokens[:i:i]
		}
		switch {
		case e.isRouted(tokens):
			tokens = e.complete(tokens, &e.local)
		case e.isQuotedRoute(tokens):
			tokens = e.complete(e.unquoteRoute(tokens[0].text), &e.local)
		case len(tokens) == 0 || isEmptyString(tokens):
			tokens = parse(e.emptyRecipient)
		case saved == nil:
			tokens = append(append(tokens, at), parse(e.hostname)...)
		default:
			q.local = true
			return append(tokens, saved...), true
		}
	}
	e.log.Warnf("resolve_addr: <%s>: giving up after %d iterations", q.addr, len(q.addr)+100)
	return nil, false
}

// isRouted says whether there is another hop in what is left of an address.
func (e *Engine) isRouted(tokens []token) bool {
	for _, t := range tokens {
		if t.is('@') || e.swapBangpath && t.is('!') || e.percentHack && t.is('%') {
			return true
		}
	}
	return false
}

// isQuotedRoute says whether there is one inside a quoted localpart.
func (e *Engine) isQuotedRoute(tokens []token) bool {
	if !e.dequote || len(tokens) != 1 || tokens[0].kind != quoted {
		return false
	}
	text := tokens[0].text
	return strings.Contains(text, "@") || e.percentHack && strings.Contains(text, "%") || e.swapBangpath && strings.Contains(text, "!")
}

// unquoteRoute takes a localpart out of its quotes. What stands before the
// domain is quoted again where it must be, except in a bang path.
func (e *Engine) unquoteRoute(text string) []token {
	if strings.Contains(text, "@") {
		return parse(address.Quote(text))
	}
	if i := strings.LastIndexByte(text, '%'); i >= 0 && e.percentHack {
		return parse(address.Quote(text[:i] + "@" + text[i+1:]))
	}
	return parse(text)
}

// checkDomain sets the domain, and the Error flag when it can be none. ok is
// false when a table lookup failed.
func (q *query) checkDomain(tokens []token) (_ []token, ok bool) {
	i := last(tokens, '@')
	q.domain = internal(tokens[i+1:])
	if n := len(q.domain); n > 1 && q.domain[0] == '[' && q.domain[n-1] == ']' {
		if err := checkLiteral(q.domain[1 : n-1]); err != nil {
			q.e.log.Warnf("%s", err)
			q.reply.Flags |= rewriteclient.Error
		}
		return tokens, true
	}
	if q.e.utf8 && !utf8.ValidString(internal(tokens)) {
		q.reply.Flags |= rewriteclient.Error
		return tokens, true
	}
	if q.e.validHostname(q.domain) {
		return tokens, true
	}
	if _, err := netip.ParseAddr(q.domain); err != nil || !q.e.numericDomain {
		q.reply.Flags |= rewriteclient.Error
		return tokens, true
	}
	tokens = append(tokens[:i+1:i+1], token{kind: literal, text: "[" + q.domain + "]"})
	q.domain = tokens[i+1].text
	local, err := q.e.isLocal(q.domain)
	if err != nil {
		q.e.lookupFailure("mydestination")
		return tokens, false
	}
	q.local = local
	return tokens, true
}

// validHostname says whether a name can be that of a host; with SMTPUTF8 it
// may be in the letters of any language.
func (e *Engine) validHostname(name string) bool {
	for i := 0; i < len(name); i++ {
		if name[i] < 0x80 {
			continue
		}
		if !e.utf8 {
			return false
		}
		ascii, err := idna.Lookup.ToASCII(name)
		if err != nil {
			e.log.Warnf("midna_domain_to_ascii_create: Problem translating domain \"%s\" to ASCII form: %s", name, err)
			return false
		}
		return config.ValidHostname(ascii) == ""
	}
	return config.ValidHostname(name) == ""
}
