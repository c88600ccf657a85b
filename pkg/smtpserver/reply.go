package smtpserver

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"suffix/pkg/macro"
)

// maxQuiet is how long replies may wait in the buffer while the server is busy.
const maxQuiet = 10 * time.Second

// reply sends a reply: one or more lines, separated by CR LF, without the last
// line end (spec smtpd §4).
func (s *session) reply(format string, args ...any) {
	text := format
	if len(args) > 0 {
		text = fmt.Sprintf(format, args...)
	}
	tarpit := s.errors >= s.set.softErrorLimit
	if tarpit || time.Since(s.lastIO) > maxQuiet {
		// A failed write shows again when the session waits for input.
		_ = s.flush()
	}
	if tarpit {
		s.sleep(s.set.errorSleep)
	}
	refusal := text != "" && (text[0] == '4' || text[0] == '5')
	if refusal {
		text = s.filterReply(text)
		text = s.addFooter(text)
		if s.set.softBounce {
			text = softBounce(text)
		}
	}
	for line := range strings.SplitSeq(text, "\r\n") {
		line = lineText(line)
		s.remember("Out: " + line)
		s.out = append(s.out, line...)
		s.out = append(s.out, '\r', '\n')
	}
	if tarpit {
		_ = s.flush()
	}
	if strings.HasPrefix(text, "421") || strings.HasPrefix(text, "521") {
		s.closing = true
	}
}

// lineText keeps a reply from running into the next one.
func lineText(line string) string {
	if !strings.ContainsAny(line, "\r\n\x00") {
		return line
	}
	return strings.Map(func(r rune) rune {
		if r == '\r' || r == '\n' || r == 0 {
			return ' '
		}
		return r
	}, line)
}

// flush sends the buffered replies with one write.
func (s *session) flush() error {
	if len(s.out) == 0 {
		return nil
	}
	defer func() { s.out = s.out[:0] }()
	if err := s.conn.SetWriteDeadline(time.Now().Add(s.set.timeout)); err != nil {
		return errLost
	}
	_, err := s.conn.Write(s.out)
	s.lastIO = time.Now()
	if err == nil {
		return nil
	}
	var netErr net.Error
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &netErr) && netErr.Timeout() {
		return errTimeout
	}
	return errLost
}

// softBounce makes a permanent refusal a temporary one.
func softBounce(text string) string {
	lines := strings.Split(text, "\r\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "5") {
			line = "4" + line[1:]
		}
		if len(line) > 4 && enhancedLength(line[4:]) > 0 && line[4] == '5' {
			line = line[:4] + "4" + line[5:]
		}
		lines[i] = line
	}
	return strings.Join(lines, "\r\n")
}

// enhancedLength returns the length of the enhanced status code at the start
// of text, 0 if there is none.
func enhancedLength(text string) int {
	if len(text) < 5 || text[0] != '2' && text[0] != '4' && text[0] != '5' || text[1] != '.' {
		return 0
	}
	pos := 2
	for part := range 2 {
		start := pos
		for pos < len(text) && pos < start+3 && text[pos] >= '0' && text[pos] <= '9' {
			pos++
		}
		if pos == start {
			return 0
		}
		if part == 0 {
			if pos == len(text) || text[pos] != '.' {
				return 0
			}
			pos++
		}
	}
	if pos < len(text) && text[pos] != ' ' {
		return 0
	}
	return pos
}

// filterReply applies smtpd_reject_filter_maps.
func (s *session) filterReply(text string) string {
	if s.set.dialect37 || s.set.rejectFilter.Empty() {
		return text
	}
	value, found, err := s.set.rejectFilter.Find(text)
	if err != nil || !found {
		return text
	}
	if !isRefusal(value) || len(value) > 4 && enhancedLength(value[4:]) > 0 && value[4] != value[0] {
		s.warnf("%s: ignoring invalid reject filter result: %s", s.access.QueueID(), value)
		return text
	}
	s.logf("%s: reply filter in: %s", s.access.QueueID(), text)
	s.logf("%s: reply filter out: %s", s.access.QueueID(), value)
	return value
}

// isRefusal says that text is a 4xx or 5xx reply.
func isRefusal(text string) bool {
	return len(text) >= 4 && (text[0] == '4' || text[0] == '5') && isDigit(text[1]) && isDigit(text[2]) &&
		(text[3] == ' ' || text[3] == '-')
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

// addFooter appends smtpd_reject_footer, which tells a person where to get help.
func (s *session) addFooter(text string) string {
	template := s.set.footer
	if !s.set.footerMaps.Empty() {
		if value, found, err := s.set.footerMaps.Find(text); err == nil && found {
			template = value
		}
	}
	if template == "" {
		return text
	}
	lines := strings.Split(text, "\r\n")
	for _, line := range lines {
		if len(line) < 4 || !isDigit(line[0]) || !isDigit(line[1]) || !isDigit(line[2]) || line[3] != ' ' && line[3] != '-' {
			return text
		}
	}
	footer, err := macro.Expand(template, s.access.Macro, macro.Options{Once: true, Allowed: s.set.expansionFilter})
	if err != nil {
		return text
	}
	last := lines[len(lines)-1]
	prefix := last[:3] + " "
	if n := enhancedLength(last[4:]); n > 0 {
		prefix += last[4:4+n] + " "
	}
	added := strings.Split(strings.TrimSuffix(footer, `\n`), `\n`)
	if rest, ok := strings.CutPrefix(added[0], `\c`); ok {
		lines[len(lines)-1] += rest
		added = added[1:]
	}
	for _, line := range added {
		lines = append(lines, prefix+line)
	}
	for i, line := range lines {
		sep := "-"
		if i == len(lines)-1 {
			sep = " "
		}
		lines[i] = line[:3] + sep + line[4:]
	}
	return strings.Join(lines, "\r\n")
}
