package smtpclient

import (
	"strings"

	"suffix/pkg/deliver"
	"suffix/pkg/dnsclient"
	"suffix/pkg/dsn"
)

// Without TLS of its own this client knows two answers to a wish for TLS: an
// opportunistic one is met in plaintext, any other is refused, and the mail
// waits. The refusals that main.cf calls for are in Config.Refusal; this file
// has those that a message calls for.

// tlsText is the tls= item of the log: undecided until the server had its say.
func (d *delivery) tlsText(undecided bool) string {
	switch {
	case undecided:
		return d.cfg.TLSLevel + "?"
	case d.cfg.TLSLevel == "may":
		return "may:none"
	}
	return d.cfg.TLSLevel
}

// wantsRequireTLS says whether the sender asked for REQUIRETLS (RFC 8689).
func (d *delivery) wantsRequireTLS() bool {
	return d.cfg.RequireTLSEnable && d.req.SendOpts&deliver.OptRequireTLS != 0
}

// policyAllows says whether connections may be reused as far as REQUIRETLS is
// concerned.
func (d *delivery) policyAllows(dest *destination) bool {
	return d.requireTLS(dest, dest.host) == nil
}

// requireTLS decides whether a message may go to a server in plaintext; nil
// means yes (spec smtp-client §16.4).
func (d *delivery) requireTLS(dest *destination, host string) *failure {
	if !d.wantsRequireTLS() {
		return nil
	}
	domain := dest.host
	if dest.unix != "" {
		domain = d.cfg.HostName
	}
	refuse := func(status, text string) *failure {
		return &failure{scope: scopeSite, softUntilFinal: true, noThrottle: true,
			dsn: dsn.DSN{Status: status, Reason: text + ". The last attempted server was " + host}}
	}
	const sorry = "Sender requested REQUIRETLS, but my configured TLS security level '"
	switch d.requireTLSAction(domain, dest.literal) {
	case "disable", "opportunistic":
		return nil
	case "opportunistic+starttls":
		return refuse("5.7.10", sorry+d.cfg.TLSLevel+"' disables encryption")
	case "enforce":
		return refuse("5.7.10", sorry+d.cfg.TLSLevel+"' disables certificate matching")
	}
	return refuse("4.7.10", "REQUIRETLS policy configuration error")
}

// requireTLSAction evaluates smtp_requiretls_policy; "error" stands for a
// policy that cannot be evaluated.
func (d *delivery) requireTLSAction(domain string, literal bool) string {
	origin := d.cfg.Prefix + "_requiretls_policy"
	for _, item := range d.cfg.RequireTLSPolicy {
		action := item.Action
		if item.Table != nil {
			value, found, err := lookupParents(item, dnsclient.ToASCII(strings.ToLower(domain)), literal)
			if err != nil {
				d.cfg.Log.Warnf("%s: %v: table lookup error -- ignoring the remainder of this policy", origin, err)
				return "error"
			}
			if !found {
				continue
			}
			action = value
			if strings.ContainsAny(action, " ,\t:") {
				d.cfg.Log.Warnf("table %s: nested|composite lookup result \"%s\" is not allowed -- ignoring remainder of policy", item.Table.Title(), action)
				return "error"
			}
		}
		switch action = strings.ToLower(action); action {
		case "enforce", "opportunistic+starttls", "opportunistic", "disable", "error":
			return action
		}
		d.cfg.Log.Warnf("%s: unknown policy action: '%s' -- ignoring the remainder of this policy", origin, action)
		return "error"
	}
	return "enforce"
}

// lookupParents looks up a domain, then ".parent" for each parent.
func lookupParents(item PolicyItem, domain string, literal bool) (string, bool, error) {
	value, found, err := item.Table.Find(domain)
	for !found && err == nil && !literal {
		_, rest, ok := strings.Cut(strings.TrimPrefix(domain, "."), ".")
		if !ok {
			break
		}
		domain = "." + rest
		value, found, err = item.Table.FindPartial(domain)
	}
	return value, found, err
}
