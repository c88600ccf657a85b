package smtpaccess

import (
	"strings"

	"suffix/pkg/dnsclient"
	"suffix/pkg/params"
	"suffix/pkg/rewriteclient"
)

// senderRule evaluates the restrictions on the sender address.
func (e *evaluation) senderRule(r *restriction) (verdict, bool) {
	sender, known := e.s.Tx.Sender, e.s.Tx.HasSender
	switch r.kind {
	case "check_sender_access", "check_sender_a_access", "check_sender_mx_access", "check_sender_ns_access",
		"reject_non_fqdn_sender", "reject_unknown_sender_domain", "reject_unverified_sender", "reject_rhsbl_sender",
		"reject_authenticated_sender_login_mismatch", "reject_unauthenticated_sender_login_mismatch",
		"reject_known_sender_login_mismatch", "reject_unlisted_sender":
		if !known {
			return dunno, true
		}
	default:
		return dunno, false
	}
	if r.kind == "check_sender_access" && sender == "" {
		value, found := e.get(r.table, e.c.nullSenderKey, true)
		if !found {
			return dunno, true
		}
		return e.apply(result{r.table.Name(), value, e.c.nullSenderKey, sender, classSender}), true
	}
	if sender == "" {
		return dunno, true
	}
	switch r.kind {
	case "check_sender_access":
		return e.checkMail(r.table, sender, classSender), true
	case "check_sender_a_access", "check_sender_mx_access", "check_sender_ns_access":
		return e.serverAccess(r, domainOf(sender), sender, classSender), true
	case "reject_non_fqdn_sender":
		return e.nonFQDN(sender, classSender), true
	case "reject_unknown_sender_domain":
		return e.unknownDomain(sender, classSender, "4.1.8"), true
	case "reject_unverified_sender":
		return e.unverified(sender, classSender), true
	case "reject_rhsbl_sender":
		return e.blockedName(r, domainOf(sender), sender, classSender), true
	case "reject_unlisted_sender":
		if !e.warn {
			e.unlistedSenderChecked = true
		}
		return e.unlisted(sender, sender, classSender), true
	}
	return e.loginMismatch(r, sender), true
}

// nonFQDN refuses an address without a complete domain.
func (e *evaluation) nonFQDN(addr, class string) verdict {
	domain := strings.TrimSuffix(domainOf(addr), ".")
	if strings.HasPrefix(domain, "[") {
		return dunno
	}
	if domain == "" || !strings.Contains(domain, ".") || !e.validName(domain) {
		return e.refuse(ClassPolicy, e.c.code(params.NonFqdnRejectCode), "5.5.2", rejected(addr, class, "need fully-qualified address"))
	}
	return dunno
}

// unknownDomain refuses an address whose domain has neither MX nor address
// (spec smtpd-access §7).
func (e *evaluation) unknownDomain(addr, class, dsn string) verdict {
	route, v, ok := e.resolve(addr)
	if !ok {
		return v
	}
	domain := domainOf(route.Recipient)
	if domain == "" || strings.HasPrefix(domain, "[") || route.Flags&rewriteclient.ClassFinal != 0 {
		return dunno
	}
	answer := e.c.lookupAny(e.ctx, domain, dnsclient.TypeMX, dnsclient.TypeA, dnsclient.TypeAAAA)
	code := e.c.code(params.UnknownAddressRejectCode)
	switch answer.Result {
	case dnsclient.OK:
		return dunno
	case dnsclient.NullMX:
		text := rejected(addr, class, "Domain "+domain+" does not accept mail (nullMX)")
		if class == classSender {
			return e.refuse(ClassPolicy, 550, "5.7.27", text)
		}
		return e.refuse(ClassPolicy, 556, "5.1.10", text)
	case dnsclient.Invalid:
		return e.refuse(ClassPolicy, code, dsn, rejected(addr, class, "Malformed DNS server reply"))
	case dnsclient.Retry:
		return e.tempfail(params.UnknownAddressTempfailAction, ClassPolicy, 450, dsn, rejected(addr, class, "Domain not found"))
	case dnsclient.Policy:
		e.s.Log.Warnf("%s: MX or address lookup error: DNS reply filter drops all results", domain)
		return dunno
	}
	return e.refuse(ClassPolicy, code, dsn, rejected(addr, class, "Domain not found"))
}

// loginMismatch refuses a sender address that belongs to another login
// (spec smtpd-access §10.1).
func (e *evaluation) loginMismatch(r *restriction, sender string) verdict {
	if !e.c.sasl {
		return e.noSASL(r)
	}
	if e.s.Login == "" && r.kind == "reject_authenticated_sender_login_mismatch" ||
		e.s.Login != "" && r.kind == "reject_unauthenticated_sender_login_mismatch" {
		return dunno
	}
	owners, found, v, ok := e.mapsValue(e.c.senderLogin, sender)
	if !ok {
		return v
	}
	refuse := func(reason string) verdict {
		return e.refuse(ClassPolicy, 553, "5.7.1", rejected(sender, classSender, reason))
	}
	if e.s.Login == "" {
		if found {
			return refuse("not logged in")
		}
		return dunno
	}
	if !found && r.kind == "reject_known_sender_login_mismatch" {
		return dunno
	}
	for _, owner := range strings.FieldsFunc(owners, func(c rune) bool { return strings.ContainsRune(", \t\r\n", c) }) {
		if strings.EqualFold(owner, e.s.Login) {
			return dunno
		}
	}
	return refuse("not owned by user " + e.s.Login)
}
