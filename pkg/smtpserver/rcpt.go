package smtpserver

import (
	"strings"
	"unicode/utf8"

	"suffix/pkg/record"
	"suffix/pkg/smtpaccess"
)

// Bits of the NOTIFY parameter, as the mail queue has them.
const (
	notifyNever   = 1
	notifySuccess = 2
	notifyFailure = 4
	notifyDelay   = 8
)

// rcptParameters are the ESMTP parameters of one RCPT command.
type rcptParameters struct {
	notify int
	orcpt  string
}

// rcpt handles RCPT (spec smtpd §7.4).
func (s *session) rcpt(_ string, args []token) (bool, error) {
	tx := &s.tx
	switch {
	case !tx.access.HasSender:
		return s.fail(smtpaccess.ClassProtocol, "503 5.5.1 Error: need MAIL command")
	case tx.bdat != bdatIdle:
		return s.fail(smtpaccess.ClassProtocol, "503 5.5.1 Error: RCPT after BDAT")
	case len(args) < 3 || !strings.EqualFold(args[1].text, "to:"):
		return s.fail(smtpaccess.ClassProtocol, "501 5.5.4 Syntax: RCPT TO:<address>")
	case s.overRecipientRate():
		return false, nil
	}
	rcpt, ok := s.envelopeAddress(args[2], "RCPT", false, s.set.strictEnvelope, tx.access.SMTPUTF8)
	if !ok {
		return s.fail(smtpaccess.ClassProtocol, "501 5.1.3 Bad recipient address syntax")
	}
	var p rcptParameters
	for _, arg := range args[3:] {
		if ok, err := s.rcptParameter(&p, arg.text); !ok {
			return ok, err
		}
	}
	if tx.access.Accepted >= s.set.recipientLimit {
		tx.over++
		s.classes |= smtpaccess.ClassPolicy
		s.reply("452 4.5.3 Error: too many recipients")
		return tx.over <= s.set.overshootLimit, nil
	}
	if s.set.strictUTF8 && !tx.access.SMTPUTF8 && !isASCII(rcpt) {
		return s.fail(smtpaccess.ClassProtocol, "553 5.6.7 Must declare SMTPUTF8 to send unicode address")
	}
	s.noteNonASCII("recipient", rcpt)
	if reply := s.checkRecipient(rcpt); reply.Refused() {
		return s.refused(reply)
	}
	if tx.stream == nil {
		if ok, err := s.openMessage(); !ok {
			return false, err
		}
	}
	if tx.access.Accepted++; tx.access.Accepted == 1 {
		tx.first = rcpt
	}
	tx.access.Recipient, tx.access.HasRecipient = tx.first, true
	if p.orcpt == "" {
		p.orcpt = "rfc822;" + unbracket(args[2].text)
	}
	s.putAttrInt("notify_flags", p.notify)
	s.putAttr("dsn_orig_rcpt", p.orcpt)
	tx.stream.Put(record.Recipient, rcpt)
	s.reply("250 2.1.5 Ok")
	return true, nil
}

// checkRecipient applies the rules to a recipient; s.tx names it meanwhile.
func (s *session) checkRecipient(rcpt string) smtpaccess.Reply {
	if s.rules == nil || s.isProbe(rcpt) {
		return smtpaccess.Reply{}
	}
	a := &s.tx.access
	old, had := a.Recipient, a.HasRecipient
	a.Recipient, a.HasRecipient = rcpt, true
	reply := s.rules.Recipient(s.ctx, &s.access)
	a.Recipient, a.HasRecipient = old, had
	return reply
}

// unbracket removes one pair of angle brackets.
func unbracket(text string) string {
	if strings.HasPrefix(text, "<") && strings.HasSuffix(text, ">") {
		return text[1 : len(text)-1]
	}
	return text
}

// rcptParameter applies one ESMTP parameter of RCPT.
func (s *session) rcptParameter(p *rcptParameters, arg string) (bool, error) {
	name, value, hasValue := strings.Cut(arg, "=")
	switch upper := strings.ToUpper(name); {
	case upper == "NOTIFY" && hasValue:
		if s.keywords&keyDSN != 0 {
			return s.fail(smtpaccess.ClassProtocol, "501 5.7.1 DSN support is disabled")
		}
		notify, wrong, ok := parseNotify(value)
		if wrong != "" {
			s.warnf("unknown DSN NOTIFY command value \"%s\" in \"%s\"", wrong, value)
		}
		if !ok || p.notify != 0 {
			return s.fail(smtpaccess.ClassProtocol, "501 5.5.4 Error: Bad NOTIFY parameter syntax")
		}
		p.notify = notify
	case upper == "ORCPT" && hasValue:
		if s.keywords&keyDSN != 0 {
			return s.fail(smtpaccess.ClassProtocol, "501 5.7.1 DSN support is disabled")
		}
		orcpt, ok := parseORCPT(value)
		if !ok || p.orcpt != "" {
			return s.fail(smtpaccess.ClassProtocol, "501 5.5.4 Error: Bad ORCPT parameter syntax")
		}
		p.orcpt = orcpt
	default:
		return s.fail(smtpaccess.ClassProtocol, "555 5.5.4 Unsupported option: %s", arg)
	}
	return true, nil
}

// parseNotify reads the value of NOTIFY: NEVER, or a list of events.
func parseNotify(value string) (notify int, wrong string, ok bool) {
	for word := range strings.SplitSeq(value, ",") {
		switch strings.ToUpper(strings.TrimSpace(word)) {
		case "NEVER":
			notify |= notifyNever
		case "SUCCESS":
			notify |= notifySuccess
		case "FAILURE":
			notify |= notifyFailure
		case "DELAY":
			notify |= notifyDelay
		case "":
		default:
			return 0, word, false
		}
	}
	return notify, "", notify != 0 && (notify == notifyNever || notify&notifyNever == 0)
}

// parseORCPT reads the value of ORCPT, TYPE;ADDRESS, and decodes the address.
// No control byte that could break a record or a line may come out of it.
func parseORCPT(value string) (orcpt string, ok bool) {
	kind, encoded, has := strings.Cut(value, ";")
	if !has || kind == "" {
		return "", false
	}
	addr, ok := decodeXtext(encoded)
	if ok && strings.EqualFold(kind, "utf-8") {
		addr, ok = decodeUnitext(addr)
	}
	if !ok || strings.ContainsAny(addr, "\r\n\x00") || !utf8.ValidString(addr) && strings.EqualFold(kind, "utf-8") {
		return "", false
	}
	return kind + ";" + addr, true
}
