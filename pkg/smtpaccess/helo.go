package smtpaccess

import (
	"net/netip"
	"strings"

	"suffix/pkg/dnsclient"
	"suffix/pkg/params"
)

// heloRule evaluates the restrictions on the name in HELO and EHLO.
func (e *evaluation) heloRule(r *restriction) (verdict, bool) {
	helo := e.s.Helo
	known := e.s.HasHelo
	refuse := func(id params.Int, dsn, reason string) (verdict, bool) {
		return e.refuse(ClassPolicy, e.c.code(id), dsn, rejected(helo, classHelo, reason)), true
	}
	switch r.kind {
	case "check_helo_access", "check_helo_a_access", "check_helo_mx_access", "check_helo_ns_access",
		"reject_invalid_helo_hostname", "reject_non_fqdn_helo_hostname", "reject_unknown_helo_hostname", "reject_rhsbl_helo":
		if !known {
			return dunno, true
		}
	default:
		return dunno, false
	}
	switch r.kind {
	case "check_helo_access":
		v, _ := e.checkName(r.table, helo, helo, classHelo)
		return v, true
	case "reject_rhsbl_helo":
		return e.blockedName(r, helo, helo, classHelo), true
	case "check_helo_a_access", "check_helo_mx_access", "check_helo_ns_access":
		return e.serverAccess(r, helo, helo, classHelo), true
	}
	if inner, ok := literal(helo); ok {
		if _, ok := literalAddr(inner); !ok || !strings.HasSuffix(helo, "]") {
			return refuse(params.InvalidHostnameRejectCode, "5.5.2", "invalid ip address")
		}
		return dunno, true
	}
	name := strings.TrimSuffix(helo, ".")
	switch r.kind {
	case "reject_invalid_helo_hostname":
		if _, err := netip.ParseAddr(name); err != nil && !dnsclient.ValidHostname(name) {
			return refuse(params.InvalidHostnameRejectCode, "5.5.2", "Invalid name")
		}
	case "reject_non_fqdn_helo_hostname":
		if !e.validName(name) || !strings.Contains(name, ".") {
			return refuse(params.NonFqdnRejectCode, "5.5.2", "need fully-qualified hostname")
		}
	case "reject_unknown_helo_hostname":
		return e.unknownHelo(name), true
	}
	return dunno, true
}

// unknownHelo refuses a HELO name that has neither an address nor an MX.
func (e *evaluation) unknownHelo(name string) verdict {
	answer := e.c.lookupAny(e.ctx, name, dnsclient.TypeA, dnsclient.TypeAAAA, dnsclient.TypeMX)
	text := rejected(e.s.Helo, classHelo, "Host not found")
	switch answer.Result {
	case dnsclient.OK, dnsclient.NullMX:
		return dunno
	case dnsclient.Invalid:
		return e.refuse(ClassPolicy, e.c.code(params.UnknownHostnameRejectCode), "4.7.1", rejected(e.s.Helo, classHelo, "Malformed DNS server reply"))
	case dnsclient.Retry:
		return e.tempfail(params.UnknownHeloHostnameTempfailAction, ClassPolicy, 450, "4.7.1", text)
	case dnsclient.Policy:
		e.s.Log.Warnf("%s: address or MX lookup error: DNS reply filter drops all results", name)
		return dunno
	}
	return e.refuse(ClassPolicy, e.c.code(params.UnknownHostnameRejectCode), "4.7.1", text)
}

// validName says whether a domain is written correctly. With SMTPUTF8 it may be
// an internationalized one.
func (e *evaluation) validName(name string) bool {
	if e.c.smtputf8 && e.s.Tx.SMTPUTF8 {
		name = dnsclient.ToASCII(name)
	}
	return dnsclient.ValidHostname(name)
}
