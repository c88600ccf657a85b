package smtpaccess

import (
	"strings"

	"suffix/pkg/address"
	"suffix/pkg/maps"
	"suffix/pkg/params"
	"suffix/pkg/rewriteclient"
	"suffix/pkg/table"
)

// unlisted refuses an address in one of our domains that does not exist (spec
// smtpd-access §12).
func (e *evaluation) unlisted(addr, name, class string) verdict {
	if addr == "" {
		return dunno
	}
	route, v, ok := e.resolve(addr)
	if !ok {
		return v
	}
	known := []*maps.Maps{e.c.recipientCanonical, e.c.canonical, e.c.virtualAlias}
	if class == classSender {
		known = append([]*maps.Maps{e.c.senderCanonical}, known...)
	}
	for _, m := range known {
		if found, v, ok := e.inMaps(m, route.Recipient, name); !ok || found {
			return v
		}
	}
	detail := ".1.1"
	if class == classSender {
		detail = ".1.0"
	}
	switch route.Transport {
	case "error":
		code := 550
		if route.Flags&rewriteclient.ClassAlias != 0 {
			code = e.c.code(params.UnknownVirtualAliasRejectCode)
		}
		status, text := splitStatus(route.NextHop, "5"+detail)
		return e.refuse(ClassBounce, code, e.mapStatus(status, class), rejected(name, class, text))
	case "retry":
		status, text := splitStatus(route.NextHop, "4"+detail)
		return e.refuse(ClassBounce, 450, e.mapStatus(status, class), rejected(name, class, text))
	}
	var users *maps.Maps
	var code params.Int
	var tableName string
	switch {
	case route.Flags&rewriteclient.ClassLocal != 0:
		local, _, _ := address.Split(route.Recipient)
		if strings.EqualFold(local, e.c.doubleBounce) || strings.EqualFold(local, "postmaster") || strings.EqualFold(local, "mailer-daemon") {
			return dunno
		}
		users, code, tableName = e.c.local, params.UnknownLocalRecipientRejectCode, "local recipient"
	case route.Flags&rewriteclient.ClassVirtual != 0:
		users, code, tableName = e.c.virtualMailbox, params.UnknownVirtualMailboxRejectCode, "virtual mailbox"
	case route.Flags&rewriteclient.ClassRelay != 0:
		users, code, tableName = e.c.relayRecipient, params.UnknownRelayRecipientRejectCode, "relay recipient"
	default:
		return dunno
	}
	if users.Empty() {
		e.noteRelayDomain(route, "address", name)
		return dunno
	}
	found, v, ok := e.inMaps(users, route.Recipient, name)
	if found {
		e.noteRelayDomain(route, "address", name)
	}
	if !ok || found {
		return v
	}
	text := "User unknown"
	if e.c.showTable {
		text += " in " + tableName + " table"
	}
	return e.refuse(ClassBounce, e.c.code(code), "5"+detail, rejected(name, class, text))
}

// inMaps looks up an address. Where that fails, ok is false and the verdict
// refuses the request for now.
func (e *evaluation) inMaps(m *maps.Maps, addr, name string) (found bool, v verdict, ok bool) {
	if m.Empty() {
		return false, dunno, true
	}
	_, found, err := m.FindAddress(addr, e.search())
	if err != nil {
		return false, e.lookupFailed(name, table.IsConfig(err)), false
	}
	return found, dunno, true
}

// mapsValue looks up the value for an address, after it was resolved.
func (e *evaluation) mapsValue(m *maps.Maps, addr string) (value string, found bool, v verdict, ok bool) {
	route, v, ok := e.resolve(addr)
	if !ok {
		return "", false, v, false
	}
	match, found, err := m.FindAddress(route.Recipient, e.search())
	if err != nil {
		return "", false, e.lookupFailed(addr, table.IsConfig(err)), false
	}
	return match.Value, found, dunno, true
}

// search says how addresses are looked up in tables of users.
func (e *evaluation) search() maps.Search {
	return maps.Search{Keys: maps.AddressKeys, Extension: e.c.extension, IsLocal: e.c.isLocalDomain}
}

// isLocalDomain says that bare localparts stand for addresses in a domain.
func (c *Checker) isLocalDomain(domain string) (bool, error) {
	if strings.EqualFold(domain, c.origin) {
		return true, nil
	}
	if match, err := c.myDestination.Match(domain); err != nil || match {
		return match, err
	}
	if inner, ok := literal(domain); ok {
		addr, ok := literalAddr(inner)
		return ok && c.isOwnOrProxy(addr), nil
	}
	return false, nil
}
