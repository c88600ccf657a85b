package rewrite

import (
	"strings"

	"suffix/pkg/config"
	"suffix/pkg/dsn"
	"suffix/pkg/maps"
	"suffix/pkg/matchlist"
	"suffix/pkg/params"
	"suffix/pkg/rewriteclient"
	"suffix/pkg/table"
)

// routes are the settings that say where mail goes: those of normal mail, or
// those of address probes.
type routes struct {
	names parameterNames

	local, virtual, relay, fallback string // transport[:nexthop]
	relayhost                       string
	nullRelayhost, nullDefault      string // keys of the null sender

	relayhosts *maps.Maps // sender_dependent_relayhost_maps
	defaults   *maps.Maps // sender_dependent_default_transport_maps
	transports *maps.Maps // transport_maps
	keys       maps.Keys  // of transports
}

type parameterNames struct {
	local, virtual, relay, fallback, relayhost params.String
	relayhosts, defaults, transports           params.String
}

var resolveParameters = parameterNames{
	local: params.LocalTransport, virtual: params.VirtualTransport, relay: params.RelayTransport,
	fallback: params.DefaultTransport, relayhost: params.Relayhost,
	relayhosts: params.SenderDependentRelayhostMaps, defaults: params.SenderDependentDefaultTransportMaps,
	transports: params.TransportMaps,
}

var verifyParameters = parameterNames{
	local: params.AddressVerifyLocalTransport, virtual: params.AddressVerifyVirtualTransport,
	relay: params.AddressVerifyRelayTransport, fallback: params.AddressVerifyDefaultTransport,
	relayhost:  params.AddressVerifyRelayhost,
	relayhosts: params.AddressVerifySenderDependentRelayhostMaps,
	defaults:   params.AddressVerifySenderDependentDefaultTransportMaps,
	transports: params.AddressVerifyTransportMaps,
}

func openRoutes(cfg *config.Main, names parameterNames) routes {
	const flags = table.Reader | table.NoRegSub
	r := routes{
		names:         names,
		local:         cfg.String(names.local),
		virtual:       cfg.String(names.virtual),
		relay:         cfg.String(names.relay),
		fallback:      cfg.String(names.fallback),
		relayhost:     cfg.String(names.relayhost),
		nullRelayhost: cfg.String(params.EmptyAddressRelayhostMapsLookupKey),
		nullDefault:   cfg.String(params.EmptyAddressDefaultTransportMapsLookupKey),
		relayhosts:    openMaps(cfg, names.relayhosts, flags),
		defaults:      openMaps(cfg, names.defaults, flags),
		transports:    openMaps(cfg, names.transports, flags),
		keys:          maps.Full | maps.NoExtension | maps.Domain,
	}
	if !matchlist.ParentMatches(cfg, params.Of(params.TransportMaps).Name) {
		r.keys |= maps.DotParents
	}
	return r
}

// failed reports a lookup problem. The reply then asks to try again later.
func (q *query) failed(parameter params.String) {
	q.e.lookupFailure(params.Of(parameter).Name)
	q.reply.Flags |= rewriteclient.Fail
}

// route selects transport and next hop for the recipient.
func (q *query) route() {
	c, ok := q.classify()
	if !ok {
		return
	}
	q.reply.Transport, q.reply.NextHop = c.transport, c.nexthop
	if c.parameter != nil {
		var nexthop string
		q.reply.Transport, nexthop, _ = strings.Cut(c.transport, ":")
		if nexthop != "" {
			q.reply.NextHop = nexthop
		}
		if q.reply.Transport == "" {
			q.e.log.Warnf("file %s/main.cf: parameter %s: null transport is not allowed", q.e.configDir, params.Of(*c.parameter).Name)
			q.reply.Flags |= rewriteclient.Fail
			return
		}
	}
	if q.reply.Flags&rewriteclient.ClassAlias == 0 && !q.applyTransportMaps() {
		return
	}
	if !q.applyRelocated() {
		return
	}
	if !q.e.minUser && strings.HasPrefix(q.reply.Recipient, "-") {
		q.reply.Flags |= rewriteclient.Error
	}
}

// A choice is a destination before the tables of recipients are consulted.
type choice struct {
	transport string         // transport[:nexthop] where parameter says so
	parameter *params.String // where transport comes from, nil: not from main.cf
	nexthop   string
}

// classify finds the address class of the domain, and with it the destination.
// ok is false when a lookup failed.
func (q *query) classify() (c choice, ok bool) {
	e, r := q.e, q.routes
	if q.local {
		q.reply.Flags |= rewriteclient.ClassLocal
		q.warnBoth("mydestination", "virtual_alias_domains", e.aliasDomains)
		q.warnBoth("mydestination", "virtual_mailbox_domains", e.mailboxDomains)
		return choice{r.local, &r.names.local, q.domain}, true
	}
	alias, err := e.aliasDomains.Match(q.domain)
	if err != nil {
		q.failed(params.VirtualAliasDomains)
		return c, false
	}
	if alias {
		q.warnBoth("virtual_alias_domains", "virtual_mailbox_domains", e.mailboxDomains)
		q.warnBoth("virtual_alias_domains", "relay_domains", e.relayDomains)
		q.reply.Flags |= rewriteclient.ClassAlias
		why := "5.1.1 User unknown"
		if e.showTableName {
			why += " in virtual alias table"
		}
		return choice{"error", nil, why}, true
	}
	mailbox, err := e.mailboxDomains.Match(q.domain)
	if err != nil {
		q.failed(params.VirtualMailboxDomains)
		return c, false
	}
	if mailbox {
		q.warnBoth("virtual_mailbox_domains", "relay_domains", e.relayDomains)
		q.reply.Flags |= rewriteclient.ClassVirtual
		return choice{r.virtual, &r.names.virtual, q.domain}, true
	}
	return q.remote()
}

// remote selects the destination for a domain that is not delivered to here.
func (q *query) remote() (c choice, ok bool) {
	r := q.routes
	relay, err := q.e.relayDomains.Match(q.domain)
	if err != nil {
		q.failed(params.RelayDomains)
		return c, false
	}
	if relay {
		q.reply.Flags |= rewriteclient.ClassRelay
		c = choice{r.relay, &r.names.relay, q.domain}
	} else {
		c = choice{r.fallback, &r.names.fallback, q.domain}
		found, value, ok := q.bySender(r.defaults, r.names.defaults, r.nullDefault)
		if !ok {
			return c, false
		}
		if found {
			c.transport, c.parameter = value, &r.names.defaults
		}
		q.reply.Flags |= rewriteclient.ClassDefault
	}
	q.reply.Transport = c.transport
	found, value, ok := q.bySender(r.relayhosts, r.names.relayhosts, r.nullRelayhost)
	switch {
	case !ok:
		return c, false
	case found:
		c.nexthop = value
	case r.relayhost != "":
		c.nexthop = r.relayhost
	}
	return c, true
}

// bySender looks up the sender, or the key that stands for the null sender.
// DUNNO counts as not found.
func (q *query) bySender(m *maps.Maps, parameter params.String, null string) (found bool, value string, ok bool) {
	if m.Empty() {
		return false, "", true
	}
	sender := q.sender
	if sender == "" {
		sender = null
	}
	match, found, err := m.FindAddress(sender, q.e.search())
	if err != nil {
		q.failed(parameter)
		return false, "", false
	}
	if !found || match.Value == "DUNNO" {
		return false, "", true
	}
	return true, match.Value, true
}

// search is the way in which sender and relocated tables are searched.
func (e *Engine) search() maps.Search {
	return maps.Search{Extension: e.extension, IsLocal: func(domain string) (bool, error) {
		if strings.EqualFold(domain, e.origin) {
			return true, nil
		}
		return e.isLocal(domain)
	}}
}

// warnBoth warns when the domain of the recipient is in a second list.
func (q *query) warnBoth(name, otherName string, other *matchlist.List) {
	if !q.e.helpful {
		return
	}
	if both, err := other.Match(q.domain); both && err == nil {
		q.e.log.Warnf("do not list domain %s in BOTH %s and %s", q.domain, name, otherName)
	}
}

// applyTransportMaps overrides transport and next hop (spec qmgr §13.7). It
// returns false when the reply is complete because of a failure.
func (q *query) applyTransportMaps() bool {
	m := q.routes.transports
	if m.Empty() {
		return true
	}
	match, found, err := m.FindAddress(q.reply.Recipient, maps.Search{Keys: q.routes.keys, Extension: q.e.extension})
	if !found && err == nil {
		match.Value, found, err = m.FindPartial("*")
	}
	if err != nil {
		q.failed(q.routes.names.transports)
		return false
	}
	if !found {
		return true
	}
	transport, nexthop, _ := strings.Cut(match.Value, ":")
	switch {
	case nexthop != "":
		q.reply.NextHop = nexthop
	case transport == "error" || transport == "retry":
		q.reply.NextHop = "Address is undeliverable"
	case transport != "":
		q.reply.NextHop = q.domain
	}
	if transport != "" {
		q.reply.Transport = transport
	}
	return true
}

// applyRelocated sends the mail for a recipient who moved to the error
// transport.
func (q *query) applyRelocated() bool {
	if q.e.relocated.Empty() {
		return true
	}
	match, found, err := q.e.relocated.FindAddress(q.reply.Recipient, q.e.search())
	if err != nil {
		q.failed(params.RelocatedMaps)
		return false
	}
	if !found {
		return true
	}
	q.reply.Transport = "error"
	if q.e.prefixMoved {
		q.reply.NextHop = "5.1.6 User has moved to " + match.Value
		return true
	}
	status, text := dsn.Split(match.Value, "")
	if status == "" || text == "" {
		q.e.log.Warnf("relocated_maps result must contain RFC 3463 status and text: '%s'", match.Value)
		status, text = "5.2.0", "Mailbox is unavailable"
	}
	q.reply.NextHop = status + " " + text
	return true
}
