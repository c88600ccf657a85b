package smtpserver

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"suffix/pkg/address"
	"suffix/pkg/smtpaccess"
)

// Values of the DSN parameters, as the mail queue has them.
const (
	retFull = 1
	retHdrs = 2
)

// pid is part of the names of mail transactions.
var pid = os.Getpid()

// mail handles MAIL (spec smtpd §7.3).
func (s *session) mail(line string, args []token) (bool, error) {
	switch {
	case s.set.heloRequired && !s.access.HasHelo:
		return s.fail(smtpaccess.ClassProtocol, "503 5.5.1 Error: send HELO/EHLO first")
	case s.tx.access.HasSender:
		return s.fail(smtpaccess.ClassProtocol, "503 5.5.1 Error: nested MAIL command")
	case s.tx.bdat != bdatIdle:
		return s.fail(smtpaccess.ClassProtocol, "503 5.5.1 Error: MAIL after BDAT")
	case len(args) < 3 || !strings.EqualFold(args[1].text, "from:"):
		return s.fail(smtpaccess.ClassProtocol, "501 5.5.4 Syntax: MAIL FROM:<address>")
	case s.overMessageRate():
		return false, nil
	}
	sender, ok := s.envelopeAddress(args[2], "MAIL", true, s.set.strictEnvelope, s.wantsUTF8(args[3:]))
	if !ok {
		return s.fail(smtpaccess.ClassProtocol, "501 5.1.7 Bad sender address syntax")
	}
	// A refused MAIL leaves nothing behind but the size that it declared.
	before := transaction{access: smtpaccess.Transaction{Size: s.tx.access.Size}, forward: s.tx.forward}
	s.tx = before
	tx := &s.tx
	tx.access.Sender, tx.access.HasSender = sender, true
	if ok, err := s.beginMail(args); !ok {
		if tx.access.HasSender {
			before.access.Size = tx.access.Size
			s.tx = before
		}
		return false, err
	}
	tx.arrival = time.Now()
	s.sequence++
	tx.access.Instance = fmt.Sprintf("%x.%x.%x.%x", pid, tx.arrival.Unix(), tx.arrival.Nanosecond()/1000, s.number<<16|s.sequence)
	tx.mailLine = line
	if !s.set.delayOpen {
		if ok, err := s.openMessage(); !ok {
			s.endTransaction()
			return false, err
		}
	}
	s.reply("250 2.1.0 Ok")
	return true, nil
}

// wantsUTF8 says whether the parameters of a MAIL command ask for SMTPUTF8.
func (s *session) wantsUTF8(args []token) bool {
	if s.set.smtputf8 && s.keywords&keySMTPUTF8 == 0 {
		for _, arg := range args {
			if strings.EqualFold(arg.text, "SMTPUTF8") {
				return true
			}
		}
	}
	return false
}

// beginMail checks a new transaction. On failure it has replied.
func (s *session) beginMail(args []token) (bool, error) {
	tx := &s.tx
	for _, arg := range args[3:] {
		if ok, err := s.mailParameter(arg.text); !ok {
			return ok, err
		}
	}
	if s.set.messageLimit > 0 && tx.access.Size > s.set.messageLimit {
		s.reject(smtpaccess.ClassBounce, "552 5.3.4 Message size exceeds fixed limit")
		return false, nil
	}
	if tx.verp != "" && tx.access.Sender == "" {
		return s.fail(smtpaccess.ClassProtocol, "503 5.5.4 Error: XVERP requires non-null sender")
	}
	s.unmaskProbe()
	if !s.set.delayReject && s.rules != nil {
		if reply := s.rules.Sender(s.ctx, &s.access); reply.Refused() {
			s.endTransaction()
			return s.refused(reply)
		}
	}
	var err error
	if tx.context, err = s.rewriteContext(); err != nil {
		s.reject(smtpaccess.ClassData, "451 4.3.0 Temporary lookup error")
		s.endTransaction()
		return false, nil
	}
	if s.set.strictUTF8 && !tx.access.SMTPUTF8 && !isASCII(tx.access.Sender) {
		return s.fail(smtpaccess.ClassProtocol, "553 5.6.7 Must declare SMTPUTF8 to send unicode address")
	}
	s.noteNonASCII("sender", tx.access.Sender)
	return s.checkSpace()
}

// noteNonASCII tells about an address that a higher compatibility_level would
// not accept (spec smtpd-access §16).
func (s *session) noteNonASCII(what, addr string) {
	if s.set.oldUTF8 && !isASCII(addr) {
		s.logf("using backwards-compatible default setting smtputf8_enable=no to accept non-ASCII %s address \"%s\" from %s", what, addr, s.access.LogName)
	}
}

// mailParameter applies one ESMTP parameter of MAIL.
func (s *session) mailParameter(arg string) (bool, error) {
	tx := &s.tx
	name, value, hasValue := strings.Cut(arg, "=")
	bad := func(format string, args ...any) (bool, error) {
		return s.fail(smtpaccess.ClassProtocol, format, args...)
	}
	switch upper := strings.ToUpper(name); {
	case upper == "BODY" && strings.EqualFold(value, "8BITMIME"):
		tx.encoding = "8bit"
	case upper == "BODY" && strings.EqualFold(value, "7BIT"):
		tx.encoding = "7bit"
	case upper == "SIZE" && hasValue:
		size, ok, overflow := parseSize(value)
		if overflow {
			return bad("552 5.3.4 Message size exceeds file system imposed limit")
		}
		if !ok {
			return bad("501 5.5.4 Bad message size syntax")
		}
		tx.access.Size = size
	case upper == "SMTPUTF8" && !hasValue && s.set.smtputf8 && s.keywords&keySMTPUTF8 == 0:
		tx.access.SMTPUTF8 = true
	case upper == "AUTH" && hasValue:
		if tx.access.SASLSender != "" && value != "<>" {
			return bad("503 5.5.4 Error: multiple AUTH= options")
		}
		if value != "<>" {
			tx.access.SASLSender = value
		}
	case upper == "XVERP":
		allowed, err := s.inHosts(s.set.verpClients, "command XVERP should be allowed from")
		if err != nil {
			return false, err
		}
		if !allowed {
			return bad("555 5.5.4 Unsupported option: %s", arg)
		}
		tx.verp = s.set.verpDelimiters
		if hasValue {
			if len(value) != 2 || strings.Trim(value, s.set.verpFilter) != "" {
				return bad("501 5.5.4 Error: XVERP needs two characters from %s", s.set.verpFilter)
			}
			tx.verp = value
		}
	case upper == "RET" && hasValue:
		if s.keywords&keyDSN != 0 {
			return bad("501 5.7.1 DSN support is disabled")
		}
		switch {
		case tx.ret != 0:
			return bad("501 5.5.4 Bad RET parameter syntax")
		case strings.EqualFold(value, "FULL"):
			tx.ret = retFull
		case strings.EqualFold(value, "HDRS"):
			tx.ret = retHdrs
		default:
			return bad("501 5.5.4 Bad RET parameter syntax")
		}
	case upper == "ENVID" && hasValue:
		if s.keywords&keyDSN != 0 {
			return bad("501 5.7.1 DSN support is disabled")
		}
		id, ok := decodeXtext(value)
		if tx.envID != "" || !ok || id == "" || !s.validEnvID(id) {
			return bad("501 5.5.4 Bad ENVID parameter syntax")
		}
		tx.envID = id
	default:
		return bad("555 5.5.4 Unsupported option: %s", arg)
	}
	return true, nil
}

// validEnvID says that an envelope ID is printable; TAB passes too.
func (s *session) validEnvID(id string) bool {
	for _, c := range []byte(id) {
		if (c < ' ' || c > '~') && (c != '\t' || s.set.dialect37) {
			return false
		}
	}
	return true
}

// parseSize reads a number of bytes.
func parseSize(text string) (size int64, ok, overflow bool) {
	if text == "" {
		return 0, false, false
	}
	for i := 0; i < len(text); i++ {
		if !isDigit(text[i]) {
			return 0, false, false
		}
	}
	size, err := strconv.ParseInt(text, 10, 64)
	return size, err == nil, err != nil
}

// unmaskProbe replaces the sender of address probes by its form that does not
// depend on the time.
func (s *session) unmaskProbe() {
	tx := &s.tx
	if s.isProbe(tx.access.Sender) {
		sender := s.set.verifySender
		if !strings.Contains(sender, "@") {
			sender += "@" + s.set.origin
		}
		tx.access.Sender = sender
	}
}

// isProbe says that an address is the sender of address probes, in its plain
// form or with the time-dependent part.
func (s *session) isProbe(addr string) bool {
	probe := s.set.verifySender
	if probe == "" || addr == "" {
		return false
	}
	if strings.EqualFold(addr, probe) {
		return true
	}
	probeLocal, probeDomain, has := address.Split(probe)
	if !has {
		probeDomain = s.set.origin
	}
	local, domain, has := address.Split(addr)
	if !has {
		domain = s.set.origin
	}
	if !strings.EqualFold(domain, probeDomain) || len(local) < len(probeLocal) || !strings.EqualFold(local[:len(probeLocal)], probeLocal) {
		return false
	}
	suffix := local[len(probeLocal):]
	if suffix == "" {
		return true
	}
	if s.set.verifyTTL == 0 {
		return false
	}
	// The number of a period, in base 31; clocks may differ a little.
	now := time.Now().Unix() / int64(s.set.verifyTTL/time.Second)
	return suffix == base31(now) || suffix == base31(now-1) || suffix == base31(now+1)
}

// base31 writes a number with the digits that time-dependent senders use.
func base31(n int64) string {
	const alphabet = "0123456789BCDFGHJKLMNPQRSTVWXYZ"
	if n <= 0 {
		return "0"
	}
	var b []byte
	for ; n > 0; n /= int64(len(alphabet)) {
		b = append([]byte{alphabet[n%int64(len(alphabet))]}, b...)
	}
	return string(b)
}
