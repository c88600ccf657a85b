package smtpaccess

import (
	"suffix/pkg/address"
	"suffix/pkg/config"
	"suffix/pkg/params"
	"suffix/pkg/rewriteclient"
)

// compatibility says which defaults are old ones that compatibility_level
// keeps in effect. Decisions that depend on them are logged, so that the
// administrator knows what a higher level would change (spec smtpd-access §16).
type compatibility struct {
	emptyRelay   bool // smtpd_relay_restrictions is empty
	relayLast    bool // smtpd_relay_before_recipient_restrictions = no
	relayDomains bool // relay_domains = $mydestination
	networks     bool // mynetworks_style = subnet

	relay []restriction // what smtpd_relay_restrictions would be
}

const usingOldDefault = "using backwards-compatible default setting "

func readCompatibility(cfg *config.Main) compatibility {
	implied := func(names ...string) bool {
		for _, name := range names {
			if cfg.Explicit(name) {
				return false
			}
		}
		return true
	}
	return compatibility{
		emptyRelay:   cfg.CompatLevelBelow("1") && implied(params.Of(params.SmtpdRelayRestrictions).Name),
		relayLast:    cfg.CompatLevelBelow("3.6") && implied(params.Of(params.SmtpdRelayBeforeRecipientRestrictions).Name),
		relayDomains: cfg.CompatLevelBelow("2") && implied(params.Of(params.RelayDomains).Name),
		networks:     cfg.CompatLevelBelow("2") && implied(params.Of(params.Mynetworks).Name, params.Of(params.MynetworksStyle).Name),
	}
}

// noteEmptyRelay tells about a recipient that the default relay rules would
// have refused.
func (e *evaluation) noteEmptyRelay() {
	if !e.c.compat.emptyRelay || e.list(e.c.compat.relay) != dunno {
		return
	}
	e.s.Log.Infof(usingOldDefault+"\"smtpd_relay_restrictions = (empty)\" to avoid \"Relay access denied\" error for recipient \"%s\" from client \"%s\"",
		e.s.Tx.Recipient, e.s.LogName)
}

// noteRelayLast tells about a recipient that was refused before the relay
// rules were asked.
func (e *evaluation) noteRelayLast() {
	if e.c.compat.relayLast {
		e.s.Log.Infof(usingOldDefault+"smtpd_relay_before_recipient_restrictions=no to reject recipient \"%s\" from client \"%s\"",
			e.s.Tx.Recipient, e.s.LogName)
	}
}

// noteRelayDomain tells about mail that is relayed because relay_domains has
// the subdomains of mydestination.
func (e *evaluation) noteRelayDomain(route rewriteclient.Reply, what, name string) {
	if e.c.compat.relayDomains && route.Flags&rewriteclient.ClassRelay != 0 {
		if what == "domain" {
			_, name, _ = address.Split(route.Recipient)
		}
		e.s.Log.Infof(usingOldDefault+"relay_domains=$mydestination to accept mail for %s \"%s\"", what, name)
	}
}

// noteNetworks tells about a client that is trusted because it is a neighbour.
func (e *evaluation) noteNetworks() {
	if e.c.compat.networks && !e.c.isOwn(e.s.IP) {
		e.s.Log.Infof(usingOldDefault+"mynetworks_style=subnet to permit request from client \"%s\"", e.s.LogName)
	}
}
