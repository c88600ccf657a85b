package smtpserver

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"suffix/pkg/smtpaccess"
)

// Commands, in the order in which the statistics list them.
const (
	cmdHELO = iota
	cmdEHLO
	cmdXCLIENT
	cmdXFORWARD
	cmdSTARTTLS
	cmdAUTH
	cmdMAIL
	cmdRCPT
	cmdDATA
	cmdBDAT
	cmdRSET
	cmdNOOP
	cmdVRFY
	cmdETRN
	cmdQUIT
	cmdHELP
	cmdUnknown
)

var commandNames = [...]string{"HELO", "EHLO", "XCLIENT", "XFORWARD", "STARTTLS", "AUTH", "MAIL", "RCPT", "DATA", "BDAT",
	"RSET", "NOOP", "VRFY", "ETRN", "QUIT", "HELP", "UNKNOWN"}

// handlers execute the commands. A handler replies; ok says whether the command
// was obeyed. An error ends the session.
var handlers = [cmdUnknown]func(s *session, line string, args []token) (ok bool, err error){
	cmdHELO: (*session).helo, cmdEHLO: (*session).ehlo,
	cmdXCLIENT: (*session).xclientCommand, cmdXFORWARD: (*session).xforwardCommand,
	cmdSTARTTLS: (*session).notImplemented, cmdAUTH: (*session).auth,
	cmdMAIL: (*session).mail, cmdRCPT: (*session).rcpt,
	cmdDATA: (*session).data, cmdBDAT: (*session).bdat,
	cmdRSET: (*session).rset, cmdNOOP: (*session).noop,
	cmdVRFY: (*session).vrfy, cmdETRN: (*session).etrn,
	cmdQUIT: (*session).quit, cmdHELP: (*session).help,
}

// stageEndOfMessage is the stage after content was received.
const stageEndOfMessage = "END-OF-MESSAGE"

// A count is how often a command was given, and obeyed.
type count struct{ ok, total int }

// lookupCommand finds a command by its name, in any case.
func (s *session) lookupCommand(verb string) int {
	for i, name := range commandNames[:cmdUnknown] {
		if len(verb) == len(name) && strings.EqualFold(verb, name) {
			if i == cmdHELP && s.set.dialect37 {
				break
			}
			return i
		}
	}
	return cmdUnknown
}

// isJunk says that many such commands are a sign of a client without purpose.
func isJunk(cmd int) bool {
	switch cmd {
	case cmdHELO, cmdEHLO, cmdRSET, cmdNOOP, cmdVRFY, cmdETRN:
		return true
	}
	return false
}

// synchronizes says that a client must wait for the reply to this command.
func synchronizes(cmd int) bool {
	switch cmd {
	case cmdHELO, cmdEHLO, cmdDATA, cmdNOOP, cmdVRFY:
		return true
	}
	return false
}

// step reads one command and executes it (spec smtpd §6).
func (s *session) step() error {
	s.flushHistory()
	if s.errors >= s.set.hardErrorLimit {
		s.reason = "too many errors"
		s.reply("421 4.7.0 %s Error: too many errors", s.set.hostname)
		return nil
	}
	if s.tx.bdat == bdatIdle {
		s.in.shrink()
	}
	raw, end, err := s.in.command()
	switch {
	case errors.Is(err, errLineTooLong), errors.Is(err, errInputDisabled):
		return s.tooLong(raw, err)
	case err != nil:
		return err
	}
	s.remember("In:  " + string(raw))
	if end == bareLF && s.newline != newlineAny {
		if s.newline == newlineReject {
			s.rejectBareLF()
			s.finished = true
			return nil
		}
		s.sawBareLF = s.sawBareLF || s.newline == newlineNote
	}
	if bytes.IndexByte(raw, 0) >= 0 {
		return s.badLine("500 5.5.2 Error: bad syntax")
	}
	if s.set.smtputf8 && !utf8.Valid(raw) {
		return s.badLine("500 5.5.2 Error: bad UTF-8 syntax")
	}
	line, err := s.filterCommand(string(raw))
	if err != nil {
		return err
	}
	args := tokenize(line)
	if len(args) == 0 {
		return s.badLine("500 5.5.2 Error: bad syntax")
	}
	if err := s.execute(line, args); err != nil {
		return err
	}
	return s.checkInvariant()
}

// rejectBareLF refuses a line or message because of its line ends.
func (s *session) rejectBareLF() {
	s.classes |= smtpaccess.ClassProtocol
	s.access.LogAction(s.set.style, "reject", "bare <LF> received")
	s.reply("%d 5.5.2 %s Error: bare <LF> received", s.set.newlineCode, s.set.hostname)
}

// tooLong answers a command line that exceeds the limit.
func (s *session) tooLong(start []byte, err error) error {
	s.warnf("%s: request longer than %d: %s...", s.access.LogName, s.set.lineLimit, printableBytes(string(start), '?'))
	s.classes |= smtpaccess.ClassProtocol
	s.reply("500 5.5.2 %s Error: command too long", s.set.hostname)
	s.errors++
	s.counts[cmdUnknown].total++
	if errors.Is(err, errInputDisabled) {
		s.warnf("disabling input from %s socket", s.set.service)
		s.in.disable()
		return errLost
	}
	return nil
}

// badLine answers a line that is no command at all.
func (s *session) badLine(reply string) error {
	s.classes |= smtpaccess.ClassProtocol
	s.reply("%s", reply)
	s.errors++
	if !s.set.dialect37 {
		s.counts[cmdUnknown].total++
		s.access.Stage = "UNKNOWN"
	}
	return nil
}

// filterCommand applies smtpd_command_filter.
func (s *session) filterCommand(line string) (string, error) {
	if s.set.commandFilter == nil {
		return line, nil
	}
	key := strings.TrimLeft(line, " \t\r\v\f")
	if key == "" {
		return line, nil
	}
	value, found, err := s.set.commandFilter.Lookup(key)
	if err != nil {
		s.warnf("%s lookup error for \"%s\"", s.set.commandFilter.Name(), cut(key, 100))
		return line, errData
	}
	if !found {
		return line, nil
	}
	s.logf("%s: replacing command \"%s\" with \"%s\"", s.access.LogName, cut(line, 100), cut(value, 100))
	return value, nil
}

// cut shortens text for a log line.
func cut(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// execute obeys one command line.
func (s *session) execute(line string, args []token) error {
	verb := args[0].text
	if !s.set.noopCommands.Empty() {
		if match, err := s.set.noopCommands.Match(verb); err == nil && match {
			s.reply("250 2.0.0 Ok")
			s.countJunk()
			return nil
		}
	}
	cmd := s.lookupCommand(verb)
	s.counts[cmd].total++
	if s.forbidden(cmd, verb) {
		s.warnf("non-SMTP command from %s: %s", s.access.LogName, escape([]byte(line), 100))
		s.reply("221 2.7.0 Error: I can break rules, too. Goodbye.")
		s.finished = true
		return nil
	}
	if s.denied != "" && cmd != cmdQUIT {
		s.classes |= smtpaccess.ClassPolicy
		if len(s.denied) >= 3 && s.denied[1:3] == "21" {
			s.reply("%s", s.denied)
		} else {
			s.reply("503 5.7.0 Error: access denied for %s", s.access.LogName)
		}
		s.errors++
		return nil
	}
	if cmd == cmdUnknown {
		s.access.Stage = "UNKNOWN"
		s.classes |= smtpaccess.ClassProtocol
		s.reply("500 5.5.2 Error: command not recognized")
		s.errors++
		return nil
	}
	s.access.Stage = commandNames[cmd]
	if s.outOfStep(cmd) {
		s.classes |= smtpaccess.ClassProtocol
		s.reply("554 5.5.0 Error: SMTP protocol synchronization")
		s.finished = true
		return nil
	}
	ok, err := handlers[cmd](s, line, args)
	if err != nil {
		return err
	}
	if ok {
		s.counts[cmd].ok++
	} else {
		s.errors++
	}
	if isJunk(cmd) {
		s.countJunk()
	}
	return nil
}

// countJunk counts a command that does not bring mail closer.
func (s *session) countJunk() {
	if s.junk > s.set.junkLimit {
		s.errors++
	}
	s.junk++
}

// forbidden says that a client does not speak SMTP at all.
func (s *session) forbidden(cmd int, verb string) bool {
	if cmd != cmdUnknown {
		return false
	}
	if i := strings.IndexByte(verb, ':'); i > 0 && isHeaderName(verb[:i]) {
		return true
	}
	match, err := s.set.forbiddenCommands.Match(verb)
	return err == nil && match
}

func isHeaderName(text string) bool {
	for _, c := range []byte(text) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// outOfStep looks for input that the client should not have sent yet, and says
// whether the session must end because of it.
func (s *session) outOfStep(cmd int) bool {
	pending := s.in.buffered()
	if len(pending) == 0 || s.set.standalone || s.flagged ||
		s.access.Protocol == "ESMTP" && !synchronizes(cmd) {
		return false
	}
	s.flagged, s.access.Pipelining = true, true
	s.logf("improper command pipelining after %s from %s: %s", s.access.Stage, s.access.LogName, escape(pending, 100))
	return s.set.forbidPipelining
}

// statistics returns the end of the disconnect line (spec smtpd §11).
func (s *session) statistics() string {
	var b strings.Builder
	add := func(name string, c count) {
		if c.ok == c.total {
			fmt.Fprintf(&b, " %s=%d", name, c.ok)
		} else {
			fmt.Fprintf(&b, " %s=%d/%d", name, c.ok, c.total)
		}
	}
	var sum count
	for i, c := range s.counts {
		if c.total == 0 {
			continue
		}
		add(strings.ToLower(commandNames[i]), c)
		sum.ok += c.ok
		sum.total += c.total
	}
	if sum.total == 0 {
		b.WriteString(" commands=0/0")
	} else {
		add("commands", sum)
	}
	if s.sawBareLF && s.newline == newlineNote {
		b.WriteString(" notes=bare_lf")
	}
	return b.String()
}
