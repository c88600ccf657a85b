package smtpaccess

import (
	"net/netip"
	"strings"

	"suffix/pkg/address"
	"suffix/pkg/table"
)

// get looks up one key. Partial keys are not offered to tables of patterns. A
// failure counts as a result that refuses the request (spec smtpd-access §2).
func (e *evaluation) get(t *table.Handle, key string, whole bool) (value string, found bool) {
	if key == "" || !whole && !t.Fixed() {
		return "", false
	}
	value, found, err := t.Lookup(key)
	if err != nil {
		e.s.Log.Warnf("%s lookup error for \"%s\"", t.Name(), key)
		return "451 4.3.5 Server configuration error", true
	}
	return value, found
}

// nameValue looks up a host name and its parents.
func (e *evaluation) nameValue(t *table.Handle, name string) (value string, found bool) {
	if value, found = e.get(t, name, true); found {
		return value, true
	}
	if _, err := netip.ParseAddr(name); err == nil {
		return "", false
	}
	for {
		i := strings.IndexByte(name, '.')
		if i < 0 {
			return "", false
		}
		name = name[i+1:]
		key := name
		if e.c.parentStyleDot {
			key = "." + name
		}
		if value, found = e.get(t, key, false); found {
			return value, true
		}
	}
}

// addrValue looks up a network address and the networks that it is part of.
func (e *evaluation) addrValue(t *table.Handle, addr string) (value string, found bool) {
	if value, found = e.get(t, addr, true); found {
		return value, true
	}
	sep := byte('.')
	if strings.IndexByte(addr, ':') >= 0 {
		sep = ':'
	}
	for {
		i := strings.LastIndexByte(addr, sep)
		if i < 0 {
			return "", false
		}
		addr = addr[:i]
		if value, found = e.get(t, addr, false); found {
			return value, true
		}
	}
}

// mailValue looks up a mail address: complete, without extension, the domain
// and its parents, and the localpart.
func (e *evaluation) mailValue(t *table.Handle, addr string) (value string, found bool) {
	local, domain, _ := address.Split(addr)
	user, ext := e.c.extension.Split(local)
	try := func(local, suffix string, whole bool) bool {
		quoted := address.QuoteLocal(local) + suffix
		if value, found = e.get(t, quoted, whole); !found && local+suffix != quoted {
			value, found = e.get(t, local+suffix, whole)
		}
		return found
	}
	if try(local, "@"+domain, true) || ext != "" && try(user, "@"+domain, false) {
		return value, true
	}
	for name, first := domain, true; name != ""; first = false {
		key := name
		if !first && e.c.parentStyleDot {
			key = "." + name
		}
		if value, found = e.get(t, key, false); found {
			return value, true
		}
		i := strings.IndexByte(name, '.')
		if i < 0 {
			break
		}
		name = name[i+1:]
	}
	if try(local, "@", false) || ext != "" && try(user, "@", false) {
		return value, true
	}
	return "", false
}

// checkName applies a table to a host name.
func (e *evaluation) checkName(t *table.Handle, key, name, class string) (v verdict, found bool) {
	value, found := e.nameValue(t, key)
	if !found {
		return dunno, false
	}
	return e.apply(result{t.Name(), value, key, name, class}), true
}

// checkAddr applies a table to a network address.
func (e *evaluation) checkAddr(t *table.Handle, key, name, class string) (v verdict, found bool) {
	value, found := e.addrValue(t, key)
	if !found {
		return dunno, false
	}
	return e.apply(result{t.Name(), value, key, name, class}), true
}

// checkNameAddr applies a table to a host name and then to its address. A hit
// for the name ends the search, whatever it says.
func (e *evaluation) checkNameAddr(t *table.Handle, host, addr, name, class string) verdict {
	if v, found := e.checkName(t, host, name, class); found {
		return v
	}
	v, _ := e.checkAddr(t, addr, name, class)
	return v
}

// checkMail applies a table to a mail address.
func (e *evaluation) checkMail(t *table.Handle, addr, class string) verdict {
	route, v, ok := e.resolve(addr)
	if !ok {
		return v
	}
	if _, domain, has := address.Split(route.Recipient); !has || domain == "" {
		e.s.Log.Warnf("check_mail_access: no @domain in address: %s", addr)
		return dunno
	}
	value, found := e.mailValue(t, strings.ToLower(route.Recipient))
	if !found {
		return dunno
	}
	v = e.apply(result{t.Name(), value, addr, addr, class})
	if v == permit && class == classRecipient && !e.s.Tx.Actions.Discard && routed(route) && !e.c.allowUntrustedRouting {
		return dunno
	}
	return v
}

// domainOf returns the domain of a mail address, without final dot.
func domainOf(addr string) string {
	_, domain, _ := address.Split(addr)
	return domain
}

// literal returns the address in "[…]", ok is false for other text.
func literal(text string) (inner string, ok bool) {
	if !strings.HasPrefix(text, "[") {
		return "", false
	}
	return strings.TrimSuffix(text[1:], "]"), true
}

// literalAddr parses the inside of a domain literal.
func literalAddr(inner string) (netip.Addr, bool) {
	if len(inner) > 5 && strings.EqualFold(inner[:5], "ipv6:") {
		inner = inner[5:]
	}
	addr, err := netip.ParseAddr(inner)
	return addr, err == nil && addr.Zone() == ""
}
