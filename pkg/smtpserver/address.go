package smtpserver

import (
	"strings"

	"suffix/pkg/address"
	"suffix/pkg/dnsclient"
	"suffix/pkg/rewriteclient"
	"suffix/pkg/smtpaccess"
)

// maxAddressTokens bounds the work on one address.
const maxAddressTokens = 1024

// parseAddress takes the address out of a word of a MAIL, RCPT or VRFY command,
// in internal form (spec smtpd §8).
func parseAddress(word string, strict bool) (addr string, ok bool) {
	text := word
	bracketed := strings.HasPrefix(text, "<")
	if bracketed && strings.HasSuffix(text, ">") {
		text = text[1 : len(text)-1]
	}
	if strings.HasPrefix(text, "@") {
		if i := strings.IndexByte(text, ':'); i >= 0 {
			text = text[i+1:]
		}
	}
	if text == "" {
		return "", bracketed || !strict
	}
	if addr, ok := simpleAddress(text); ok {
		return addr, bracketed || !strict
	}
	list := address.Parse(text, maxAddressTokens).Addresses()
	switch {
	case len(list) > 1:
		return "", false
	case len(list) == 1:
		addr = list[0]
	}
	if strict && (!bracketed || strings.HasPrefix(addr, "@") || addr == "" || address.Quote(addr) != text && addr != text) {
		return "", false
	}
	if i := strings.IndexByte(addr, ':'); strings.HasPrefix(addr, "@") && i >= 0 {
		addr = addr[i+1:]
	}
	return addr, true
}

// simpleAddress recognizes the common case: atoms, dots and one "@".
func simpleAddress(text string) (addr string, ok bool) {
	at := false
	dot := true // a dot may not follow
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '@':
			if at || dot {
				return "", false
			}
			at, dot = true, true
		case c == '.':
			if dot {
				return "", false
			}
			dot = true
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', isDigit(c), strings.IndexByte("!#$&'*+-/=?^_`{|}~", c) >= 0:
			dot = false
		default:
			return "", false
		}
	}
	return text, !dot
}

// envelopeAddress takes an address out of a command and makes sure that mail
// for it can be sent somewhere. Errors are logged.
func (s *session) envelopeAddress(word token, verb string, emptyOK, strict, utf8 bool) (addr string, ok bool) {
	if word.bad {
		return "", false
	}
	addr, ok = parseAddress(word.text, strict)
	if ok && addr == "" {
		ok = emptyOK
	}
	if ok && addr != "" && strings.ContainsAny(addr, "\r\n\x00") {
		ok = false
	}
	if ok && addr != "" && !s.set.standalone && s.srv.Rewrite != nil {
		reply, err := smtpaccess.Resolve(s.ctx, s.srv.Rewrite, s.tx.access.Sender, addr)
		if err == nil && reply.Flags&rewriteclient.Fail == 0 {
			_, domain, _ := address.Split(reply.Recipient)
			ok = reply.Flags&rewriteclient.Error == 0 && (utf8 || isASCII(domain))
		}
	}
	if !ok {
		s.warnf("Illegal address syntax from %s in %s command: %s", s.access.LogName, verb, word.text)
	}
	return addr, ok
}

func isASCII(text string) bool {
	for i := 0; i < len(text); i++ {
		if text[i] >= 0x80 {
			return false
		}
	}
	return true
}

// validSite says that the argument of ETRN is a domain or an address literal.
func validSite(site string) bool {
	if strings.HasPrefix(site, "[") && strings.HasSuffix(site, "]") {
		return validAddress(site[1 : len(site)-1])
	}
	return dnsclient.ValidHostname(site)
}
