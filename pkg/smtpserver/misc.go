package smtpserver

import (
	"slices"
	"strings"

	"suffix/pkg/smtpaccess"
)

// rset handles RSET.
func (s *session) rset(_ string, args []token) (bool, error) {
	if len(args) != 1 {
		return s.fail(smtpaccess.ClassProtocol, "501 5.5.4 Syntax: RSET")
	}
	s.flushHistory()
	s.endTransaction()
	s.reply("250 2.0.0 Ok")
	return true, nil
}

// noop handles NOOP.
func (s *session) noop(string, []token) (bool, error) {
	s.reply("250 2.0.0 Ok")
	return true, nil
}

// quit handles QUIT.
func (s *session) quit(string, []token) (bool, error) {
	s.reply("221 2.0.0 Bye")
	s.finished = true
	return true, nil
}

// help handles HELP.
func (s *session) help(string, []token) (bool, error) {
	names := slices.Sorted(slices.Values(commandNames[:cmdUnknown]))
	s.reply("214 2.0.0 Commands: %s", strings.Join(names, " "))
	return true, nil
}

// notImplemented answers a command that is known, but not to be had here, such
// as STARTTLS without TLS, in Postfix's words.
func (s *session) notImplemented(string, []token) (bool, error) {
	return s.fail(smtpaccess.ClassProtocol, "502 5.5.1 Error: command not implemented")
}

// auth answers AUTH on a server without authentication.
func (s *session) auth(string, []token) (bool, error) {
	if s.set.heloRequired && !s.access.HasHelo {
		return s.fail(smtpaccess.ClassProtocol, "503 5.5.1 Error: send HELO/EHLO first")
	}
	return s.fail(smtpaccess.ClassProtocol, "503 5.5.1 Error: authentication not enabled")
}

// vrfy handles VRFY: the rules are asked as for RCPT, and the transaction stays
// as it is.
func (s *session) vrfy(line string, args []token) (bool, error) {
	if s.set.disableVRFY {
		return s.fail(smtpaccess.ClassProtocol, "502 5.5.1 VRFY command is disabled")
	}
	utf8 := false
	if n := len(args); s.set.smtputf8 && n > 1 && strings.EqualFold(args[n-1].text, "SMTPUTF8") {
		utf8 = true
		args = args[:n-1]
	}
	if len(args) < 2 {
		suffix := ""
		if s.set.smtputf8 {
			suffix = " [SMTPUTF8]"
		}
		return s.fail(smtpaccess.ClassProtocol, "501 5.5.4 Syntax: VRFY address%s", suffix)
	}
	if s.overRecipientRate() {
		return false, nil
	}
	words := make([]string, 0, len(args)-1)
	word := token{}
	for _, arg := range args[1:] {
		words = append(words, arg.text)
		word.bad = word.bad || arg.bad
	}
	word.text = strings.Join(words, " ")
	rcpt, ok := s.envelopeAddress(word, "VRFY", false, false, utf8)
	if !ok {
		return s.fail(smtpaccess.ClassProtocol, "501 5.1.3 Bad recipient address syntax")
	}
	if s.set.strictUTF8 && !utf8 && !isASCII(rcpt) {
		return s.fail(smtpaccess.ClassProtocol, "553 5.6.7 Must declare SMTPUTF8 to send unicode address")
	}
	// The rules must not leave effects on the message that may be under way.
	saved := s.tx.access
	s.tx.access.SMTPUTF8 = s.tx.access.SMTPUTF8 || utf8
	reply := s.checkRecipient(rcpt)
	s.tx.access = saved
	if reply.Refused() {
		return s.refused(reply)
	}
	s.reply("252 2.0.0 %s", word.text)
	return true, nil
}

// etrn handles ETRN: the client asks for the mail that waits for its site.
func (s *session) etrn(_ string, args []token) (bool, error) {
	switch {
	case s.set.heloRequired && !s.access.HasHelo:
		return s.fail(smtpaccess.ClassPolicy, "503 Error: send HELO/EHLO first")
	case s.tx.access.HasSender:
		return s.fail(smtpaccess.ClassProtocol, "503 Error: MAIL transaction in progress")
	case len(args) != 2:
		return s.fail(smtpaccess.ClassProtocol, "500 Syntax: ETRN domain")
	}
	site := args[1].text
	if site[0] == '@' || site[0] == '#' {
		site = site[1:]
	}
	if !validSite(site) {
		return s.fail(smtpaccess.ClassProtocol, "501 Error: invalid parameter syntax")
	}
	if s.rules != nil {
		s.access.Etrn = site
		reply := s.rules.Etrn(s.ctx, &s.access)
		s.access.Etrn = ""
		if reply.Refused() {
			return s.refused(reply)
		}
	}
	if s.set.standalone {
		s.warnf("do not use ETRN in \"sendmail -bs\" mode")
		return s.fail(smtpaccess.ClassProtocol, "458 Unable to queue messages")
	}
	result := FlushUnreachable
	if s.srv.Flush != nil {
		result = s.srv.Flush(s.ctx, site)
	}
	switch result {
	case FlushStarted:
		s.reply("250 Queuing started")
		return true, nil
	case FlushNotEligible:
		s.warnf("reject: ETRN %s... from %s", cut(site, 100), s.access.LogName)
		return s.fail(smtpaccess.ClassPolicy, "459 <%s>: service unavailable", site)
	case FlushBad:
		s.warnf("bad ETRN %s... from %s", cut(site, 100), s.access.LogName)
		return s.fail(smtpaccess.ClassProtocol, "458 Unable to queue messages")
	}
	s.warnf("unable to talk to fast flush service")
	return s.fail(smtpaccess.ClassPolicy, "458 Unable to queue messages")
}
