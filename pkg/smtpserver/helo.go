package smtpserver

import (
	"strconv"
	"strings"

	"suffix/pkg/smtpaccess"
)

// helo handles HELO.
func (s *session) helo(_ string, args []token) (bool, error) {
	if ok, err := s.hello("HELO", args); !ok || err != nil {
		return ok, err
	}
	s.reply("250 %s", s.set.hostname)
	return true, nil
}

// hello is what HELO and EHLO have in common: the name, its checks, the end of
// what was before.
func (s *session) hello(verb string, args []token) (bool, error) {
	if len(args) < 2 {
		return s.fail(smtpaccess.ClassProtocol, "501 Syntax: %s hostname", verb)
	}
	name := args[1].text
	for _, arg := range args[2:] {
		name += " " + arg.text
	}
	name = neutralize(name, heloSpecials)
	old, had := s.access.Helo, s.access.HasHelo
	s.access.Helo, s.access.HasHelo = name, true
	if !s.set.delayReject && s.rules != nil {
		if reply := s.rules.Helo(s.ctx, &s.access); reply.Refused() {
			s.access.Helo, s.access.HasHelo = old, had
			return s.refused(reply)
		}
	}
	s.flushHistory()
	s.endTransaction()
	if verb == "EHLO" {
		s.access.Protocol = "ESMTP"
	}
	return true, nil
}

// ehlo handles EHLO: the reply lists what this server can do.
func (s *session) ehlo(_ string, args []token) (bool, error) {
	verp := false
	if !s.set.standalone {
		var err error
		if verp, err = s.inHosts(s.set.verpClients, "EHLO feature XVERP should be announced to"); err != nil {
			return false, err
		}
	}
	if ok, err := s.hello("EHLO", args); !ok || err != nil {
		return ok, err
	}
	s.logDiscarded()
	lines := make([]string, 1, 16)
	lines[0] = s.set.hostname
	offer := func(key keywordSet, when bool, line string) {
		if when && s.keywords&key == 0 {
			lines = append(lines, line)
		}
	}
	offer(keyPIPELINING, true, "PIPELINING")
	if s.set.messageLimit > 0 {
		offer(keySIZE, true, "SIZE "+strconv.FormatInt(s.set.messageLimit, 10))
	} else {
		offer(keySIZE, true, "SIZE")
	}
	offer(keyVRFY, !s.set.disableVRFY, "VRFY")
	offer(keyETRN, true, "ETRN")
	offer(keyVERP, verp, "XVERP")
	offer(keyXCLIENT, s.xclient, "XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT")
	offer(keyXFORWARD, s.xforward, "XFORWARD NAME ADDR PROTO HELO SOURCE PORT IDENT")
	offer(keyENHANCED, true, "ENHANCEDSTATUSCODES")
	offer(key8BITMIME, true, "8BITMIME")
	offer(keyDSN, true, "DSN")
	offer(keySMTPUTF8, s.set.smtputf8, "SMTPUTF8")
	offer(keyCHUNKING, true, "CHUNKING")
	s.reply("250%s", joinLines(lines))
	return true, nil
}

// joinLines makes the text of a multi-line 250 reply after its first code.
func joinLines(lines []string) string {
	var b strings.Builder
	for i, line := range lines {
		if i > 0 {
			b.WriteString("\r\n250")
		}
		if i == len(lines)-1 {
			b.WriteByte(' ')
		} else {
			b.WriteByte('-')
		}
		b.WriteString(line)
	}
	return b.String()
}

// logDiscarded tells which keywords were left out.
func (s *session) logDiscarded() {
	if s.keywords == 0 || s.keywords&(keySilent|keyENHANCED) != 0 {
		return
	}
	var names []string
	for i, name := range keywordNames {
		if s.keywords&(1<<i) != 0 {
			names = append(names, name)
		}
	}
	sep := ", "
	if s.set.dialect37 {
		sep = " "
	}
	s.logf("discarding EHLO keywords: %s", strings.Join(names, sep))
}
