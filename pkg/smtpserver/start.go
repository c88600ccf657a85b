package smtpserver

import (
	"net"
	"strings"
	"syscall"

	"suffix/pkg/matchlist"
	"suffix/pkg/smtpaccess"
)

// permissions finds out what the client's name and address allow (spec smtpd
// §3, step 2).
func (s *session) permissions() error {
	if s.set.standalone {
		return nil
	}
	var err error
	if s.xclient, err = s.inHosts(s.set.xclientHosts, "command XCLIENT should be allowed from"); err != nil {
		return err
	}
	if s.xforward, err = s.inHosts(s.set.xforwardHosts, "command XFORWARD should be allowed from"); err != nil {
		return err
	}
	return s.newlinePolicy()
}

// newlinePolicy sets how line ends of this client are judged.
func (s *session) newlinePolicy() error {
	s.newline = s.set.newline
	if s.set.newline == newlineAny {
		s.in.mode = s.newline
		return nil
	}
	excluded, err := s.set.newlineExclusions.MatchHost(s.access.Name, s.access.Address)
	if err != nil {
		return errData
	}
	if excluded {
		s.newline = newlineAny
	}
	s.in.mode = s.newline
	return nil
}

// inHosts says whether the client is in a list of hosts.
func (s *session) inHosts(list *matchlist.List, what string) (bool, error) {
	if list.Empty() {
		return false, nil
	}
	match, err := list.MatchHost(s.access.Name, s.access.Address)
	if err != nil {
		s.warnf("don't know if %s %s", what, s.access.LogName)
		return false, errData
	}
	return match, nil
}

// start greets the client: after the connection was made, and again after
// XCLIENT (spec smtpd §3, steps 5 to 11).
func (s *session) start() error {
	if !s.handedOver && !s.set.standalone {
		if early := s.earlyInput(); len(early) > 0 {
			s.flagged, s.access.Pipelining = true, true
			s.logf("improper command pipelining after %s from %s: %s", s.access.Stage, s.access.LogName, escape(early, 100))
			if s.set.forbidPipelining {
				s.reply("554 5.5.0 Error: SMTP protocol synchronization")
				s.finished = true
				return nil
			}
		}
	}
	if refused := s.connectAnvil(); refused {
		return nil
	}
	if err := s.chooseKeywords(); err != nil {
		return err
	}
	s.denied = ""
	if !s.set.delayReject && s.rules != nil {
		if reply := s.rules.Client(s.ctx, &s.access); reply.Refused() {
			s.classes |= reply.Class
			if reply.HangUp {
				return errHangUp
			}
			s.denied = reply.Text
			s.errors++
			s.reply("%s", reply.Text)
			return nil
		}
	}
	s.reply("220 %s", s.set.banner)
	return nil
}

// earlyInput returns what the client sent before it was greeted, without
// taking it.
func (s *session) earlyInput() []byte {
	if b := s.in.buffered(); len(b) > 0 {
		return b
	}
	conn, ok := s.conn.(syscall.Conn)
	if _, isTCP := s.conn.(*net.TCPConn); !ok || !isTCP {
		return nil
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil
	}
	var early []byte
	if err := raw.Read(func(fd uintptr) bool {
		var peek [100]byte
		if n, _, err := syscall.Recvfrom(int(fd), peek[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT); err == nil && n > 0 {
			early = append(early, peek[:n]...)
		}
		return true
	}); err != nil {
		return nil
	}
	return early
}

// A keywordSet has one bit for each EHLO keyword.
type keywordSet uint32

// keywordNames are the words of smtpd_discard_ehlo_keywords, in the order in
// which they are logged.
var keywordNames = [...]string{"8BITMIME", "AUTH", "ETRN", "PIPELINING", "SIZE", "VERP", "VRFY", "XCLIENT", "XFORWARD",
	"STARTTLS", "ENHANCEDSTATUSCODES", "DSN", "SMTPUTF8", "CHUNKING", "REQUIRETLS", "SILENT-DISCARD"}

const (
	key8BITMIME keywordSet = 1 << iota
	keyAUTH
	keyETRN
	keyPIPELINING
	keySIZE
	keyVERP
	keyVRFY
	keyXCLIENT
	keyXFORWARD
	keySTARTTLS
	keyENHANCED
	keyDSN
	keySMTPUTF8
	keyCHUNKING
	keyREQUIRETLS
	keySilent
)

// chooseKeywords finds the EHLO keywords that this client is not offered.
func (s *session) chooseKeywords() error {
	words := s.set.discardWords
	if !s.set.discardMaps.Empty() {
		value, found, err := s.set.discardMaps.Find(s.access.Address)
		if err != nil {
			s.warnf("don't know what EHLO features to announce to %s", s.access.LogName)
			return errData
		}
		if found {
			words = value
		}
	}
	s.keywords = parseKeywords(words)
	return nil
}

func parseKeywords(text string) (set keywordSet) {
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		for i, name := range keywordNames {
			if strings.EqualFold(word, name) {
				set |= 1 << i
			}
		}
	}
	return set
}

// connectAnvil counts the connection, and refuses a client that has too many
// (spec smtpd §19).
func (s *session) connectAnvil() (refused bool) {
	l := &s.set.limits
	if s.set.standalone || !l.any() || s.xclient || s.anvil != nil {
		return false
	}
	if excepted, err := s.set.eventExceptions.MatchHost(s.access.Name, s.access.Address); err != nil || excepted {
		return false
	}
	s.anvil = s.newAnvil()
	open, rate, err := s.anvil.Connect(s.ctx)
	if err != nil {
		return false
	}
	switch {
	case l.connections > 0 && open > l.connections:
		s.warnf("Connection concurrency limit exceeded: %d from %s for service %s", open, s.access.LogName, s.set.service)
	case l.connectionRate > 0 && rate > l.connectionRate:
		s.warnf("Connection rate limit exceeded: %d from %s for service %s", rate, s.access.LogName, s.set.service)
	default:
		return false
	}
	s.classes |= smtpaccess.ClassPolicy
	s.reply("421 4.7.0 %s Error: too many connections from %s", s.set.hostname, s.access.Address)
	return true
}
