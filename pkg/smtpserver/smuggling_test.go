package smtpserver

import (
	"strings"
	"testing"
)

// The table of hardening §2.2: bytes between the last text of a body and a
// smuggled MAIL command. E: the message ends, and the second one is accepted;
// C: content goes on, stored as given; R: refused.
var smuggling = []struct {
	bytes                 string
	no, normalize, reject byte
	stored                string // lines after "body", in mode normalize
}{
	{"body\r\n.\r\n", 'E', 'E', 'E', ""},
	{"body\n.\n", 'E', 'C', 'R', "body|MAIL"},
	{"body\n.\r\n", 'E', 'C', 'R', "body|MAIL"},
	{"body\r\n.\n", 'E', 'C', 'R', "body|MAIL"},
	{"body\n\n.\r\n", 'E', 'C', 'R', "body||MAIL"},
	{"body\r\n.\n\r\n", 'E', 'C', 'R', "body||MAIL"},
	{"body\r\n.\r\r\n", 'E', 'C', 'C', "body|\r|MAIL"},
	{"body\r\r\n.\r\r\n", 'E', 'C', 'C', "body\r|\r|MAIL"},
	{"body\r\r\n.\r\n", 'E', 'E', 'E', ""},
	{"body\r.\r", 'C', 'C', 'C', "body\r.\rMAIL"},
	{"body\r.\r\n", 'C', 'C', 'C', "body\r.|MAIL"},
	{"body\r.\n", 'C', 'C', 'R', "body\r.|MAIL"},
	{"body\n.\r", 'C', 'C', 'R', "body|\rMAIL"},
	{"body\r\n.\r", 'C', 'C', 'C', "body|\rMAIL"},
	{"body\r\n.\r\r", 'C', 'C', 'C', "body|\r\rMAIL"},
	{"body\n\r.\r\n", 'C', 'C', 'R', "body|\r.|MAIL"},
	{"body\n\r.\n\r", 'C', 'C', 'R', "body|\r.|\rMAIL"},
	{"body\r\n\x00.\r\n", 'C', 'C', 'C', "body|\x00.|MAIL"},
	{"body\r\n.\x00\r\n", 'C', 'C', 'C', "body|\x00|MAIL"},
	{"body\r\n..\r\n", 'C', 'C', 'C', "body|.|MAIL"},
	{"body\n..\r\n", 'C', 'C', 'R', "body|.|MAIL"},
	{"body\r\n. \r\n", 'C', 'C', 'C', "body| |MAIL"},
	{"body\v.\v", 'C', 'C', 'C', "body\v.\vMAIL"},
	{"body\xc2\x85.\xc2\x85", 'C', 'C', 'C', "body\xc2\x85.\xc2\x85MAIL"},
	{strings.Repeat("A", 2048) + "\r\n.\r\n", 'E', 'E', 'E', ""},
	{strings.Repeat("A", 2048) + ".\r\n", 'C', 'C', 'C', strings.Repeat("A", 2048) + ".|MAIL"},
	{strings.Repeat("A", 2047) + "\r.\r\n", 'C', 'C', 'C', strings.Repeat("A", 2047) + "\r.|MAIL"},
	{strings.Repeat("A", 2047) + "\n.\r\n", 'E', 'C', 'R', strings.Repeat("A", 2047) + "|MAIL"},
	{strings.Repeat("A", 2048) + "\n.\r\n", 'E', 'C', 'R', strings.Repeat("A", 2048) + "|MAIL"},
}

func TestSmuggling(t *testing.T) {
	for _, mode := range []string{"no", "normalize", "Yes", "note", "reject"} {
		ts := newTestServer(t, "smtpd_forbid_bare_newline = "+mode)
		for i, row := range smuggling {
			want := row.normalize
			switch mode {
			case "no":
				want = row.no
			case "reject":
				want = row.reject
			}
			// The input arrives in pieces of different sizes: line ends must be
			// found across the borders of reads.
			for _, size := range []int{1 << 20, 1 + i%3, 2048} {
				if size < 10 && len(row.bytes) > 100 {
					size = 1024
				}
				ts.smuggle(t, mode, i+1, row.bytes, want, row.stored, size)
			}
		}
	}
}

func (ts *testServer) smuggle(t *testing.T, mode string, row int, bytes string, want byte, stored string, size int) {
	t.Helper()
	ts.cleanup.messages = nil
	c := ts.connect()
	c.do("EHLO x", "250", "MAIL FROM:<a@b>", "250", "RCPT TO:<u@example.test>", "250", "DATA", "354")
	text := bytes + "MAIL FROM:<x@y>\r\nRCPT TO:<u@example.test>\r\nDATA\r\nsecond\r\n.\r\nQUIT\r\n"
	for rest := text; rest != ""; {
		n := min(size, len(rest))
		c.send(rest[:n])
		rest = rest[n:]
	}
	first := c.reply()
	var all []string
	for reply := first; reply != "EOF"; reply = c.reply() {
		all = append(all, reply)
	}
	ts.sessions.Wait()
	messages := ts.cleanup.accepted()
	var got byte
	switch {
	case strings.HasPrefix(first, "550 5.5.2 mx.example.test Error: bare <LF> received"):
		got = 'R'
	case len(messages) == 2:
		got = 'E'
	case len(messages) == 1:
		got = 'C'
	}
	if got != want {
		t.Errorf("mode %s row %d (%d bytes a write): %c, want %c; replies %q", mode, row, size, got, want, all)
		return
	}
	if got == 'C' && mode != "no" {
		body := strings.Join(messages[0].body(), "|")
		if rest, ok := strings.CutPrefix(body, stored); !ok || !strings.HasPrefix(rest, " FROM:<x@y>|") {
			t.Errorf("mode %s row %d: stored %q, want %q", mode, row, body, stored)
		}
	}
}

func TestBareNewlineInCommand(t *testing.T) {
	ts := newTestServer(t, "smtpd_forbid_bare_newline = reject")
	c := ts.connect()
	c.send("NOOP\n")
	c.want("550 5.5.2 mx.example.test Error: bare <LF> received")
	ts.end(c)
	ts.log.has(t, "NOQUEUE: reject: CONNECT from unknown[127.0.0.1]: bare <LF> received; proto=SMTP")
	ts = newTestServer(t, "smtpd_forbid_bare_newline = note")
	c = ts.connect()
	c.send("NOOP\n")
	c.want("250")
	ts.quit(c)
	ts.log.has(t, "commands=2 notes=bare_lf")
	ts = newTestServer(t, "smtpd_forbid_bare_newline = reject", "smtpd_forbid_bare_newline_exclusions = 127.0.0.1")
	c = ts.connect()
	c.send("NOOP\n")
	c.want("250")
	ts.quit(c)
}
