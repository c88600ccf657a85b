package smtpaccess

import (
	"suffix/pkg/params"
)

// recipientRule evaluates the restrictions on the recipient address and the
// ETRN domain.
func (e *evaluation) recipientRule(r *restriction) (verdict, bool) {
	rcpt, known := e.s.Tx.Recipient, e.s.Tx.HasRecipient
	switch r.kind {
	case "check_etrn_access":
		if e.s.Etrn == "" {
			return dunno, true
		}
		v, _ := e.checkName(r.table, e.s.Etrn, e.s.Etrn, classEtrn)
		return v, true
	case "reject_multi_recipient_bounce":
		return e.multiRecipientBounce(), true
	case "check_relay_domains":
		return e.removed(r.word, `instead, specify "reject_unauth_destination"`), true
	case "reject_maps_rbl":
		return e.removed(r.word, `instead, specify "reject_rbl_client domain-name"`), true
	case "permit_naked_ip_address":
		return e.removed(r.word, `instead, specify "permit_mynetworks" or "permit_sasl_authenticated"`), true
	case "check_recipient_access", "check_recipient_a_access", "check_recipient_mx_access", "check_recipient_ns_access",
		"permit_auth_destination", "reject_unauth_destination", "defer_unauth_destination", "permit_mx_backup",
		"reject_non_fqdn_recipient", "reject_unknown_recipient_domain", "reject_unverified_recipient",
		"reject_rhsbl_recipient", "reject_unlisted_recipient":
		if !known {
			return dunno, true
		}
	default:
		return dunno, false
	}
	switch r.kind {
	case "check_recipient_access":
		return e.checkMail(r.table, rcpt, classRecipient), true
	case "check_recipient_a_access", "check_recipient_mx_access", "check_recipient_ns_access":
		return e.serverAccess(r, domainOf(rcpt), rcpt, classRecipient), true
	case "reject_non_fqdn_recipient":
		return e.nonFQDN(rcpt, classRecipient), true
	case "reject_unknown_recipient_domain":
		return e.unknownDomain(rcpt, classRecipient, "4.1.2"), true
	case "reject_unverified_recipient":
		return e.unverified(rcpt, classRecipient), true
	case "reject_rhsbl_recipient":
		return e.blockedName(r, domainOf(rcpt), rcpt, classRecipient), true
	case "reject_unlisted_recipient":
		if !e.warn {
			e.unlistedChecked = true
		}
		return e.unlisted(rcpt, rcpt, classRecipient), true
	case "permit_mx_backup":
		return e.permitMXBackup(r, rcpt), true
	}
	route, v, ok := e.resolve(rcpt)
	if !ok {
		return v, true
	}
	if e.authorized(route) {
		if r.kind == "permit_auth_destination" {
			e.logPermit(r.word, classClient, e.s.LogName, "")
			return permit, true
		}
		return dunno, true
	}
	code := e.c.code(params.RelayDomainsRejectCode)
	switch r.kind {
	case "reject_unauth_destination":
		return e.refuse(ClassPolicy, code, "5.7.1", "<"+rcpt+">: Relay access denied"), true
	case "defer_unauth_destination":
		return e.refuse(ClassPolicy, code-100, "4.7.1", "<"+rcpt+">: Relay access denied"), true
	}
	return dunno, true
}

// multiRecipientBounce refuses a message from the null sender to more than
// one recipient.
func (e *evaluation) multiRecipientBounce() verdict {
	tx := e.s.Tx
	if !tx.HasSender || tx.Sender != "" {
		return dunno
	}
	limit := 1
	if e.s.Stage == "RCPT" {
		limit = 0
	}
	if tx.Accepted <= limit {
		return dunno
	}
	return e.refuse(ClassPolicy, e.c.code(params.MultiRecipientBounceRejectCode), "5.5.3", e.text("Multi-recipient bounce"))
}

// removed refuses the use of a restriction that does not exist any more.
func (e *evaluation) removed(word, instead string) verdict {
	e.s.Log.Warnf("support for restriction \"%s\" has been removed in Postfix 3.9; %s", word, instead)
	return e.misconfigured()
}
