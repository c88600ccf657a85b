package smtpserver

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"suffix/pkg/config"
)

func withSetting(cfg *config.Main, name, value string) *config.Main {
	return cfg.With(config.Override{Name: name, Value: value})
}

// A model is the state that a client may rely on.
type model struct {
	sender bool
	rcpts  int
	bdat   int // 0 idle, 1 active, 2 failed
}

// step gives the start of the reply to a command, and the text to send.
func (m *model) step(command string) (send, want string) {
	switch command {
	case "EHLO":
		*m = model{}
		return "EHLO x", "250"
	case "RSET":
		*m = model{}
		return "RSET", "250 2.0.0"
	case "NOOP", "VRFY":
		return map[string]string{"NOOP": "NOOP", "VRFY": "VRFY u@example.test"}[command], "25"
	case "MAIL":
		switch {
		case m.sender:
			return "MAIL FROM:<a@b>", "503 5.5.1 Error: nested"
		case m.bdat != 0:
			return "MAIL FROM:<a@b>", "503 5.5.1 Error: MAIL after BDAT"
		}
		m.sender = true
		return "MAIL FROM:<a@b>", "250 2.1.0"
	case "badMAIL":
		switch {
		case m.sender:
			return "MAIL FROM:<a@b> X=1", "503 5.5.1 Error: nested"
		case m.bdat != 0:
			return "MAIL FROM:<a@b> X=1", "503 5.5.1 Error: MAIL after BDAT"
		}
		return "MAIL FROM:<a@b> X=1", "555"
	case "RCPT", "badRCPT":
		send, want = "RCPT TO:<u@example.test>", "250 2.1.5"
		if command == "badRCPT" {
			send, want = "RCPT TO:<u@elsewhere.test>", "454 4.7.1"
		}
		switch {
		case !m.sender:
			return send, "503 5.5.1 Error: need MAIL"
		case m.bdat != 0:
			return send, "503 5.5.1 Error: RCPT after BDAT"
		case command == "RCPT":
			m.rcpts++
		}
		return send, want
	case "DATA":
		switch {
		case m.bdat != 0:
			return "DATA", "503 5.5.1 Error: DATA after BDAT"
		case !m.sender:
			return "DATA", "503 5.5.1 Error: need RCPT"
		case m.rcpts == 0:
			return "DATA", "554 5.5.1"
		}
		*m = model{}
		return "DATA", "354"
	case "BDAT", "BDATLAST", "BDAT0":
		send, want = "BDAT 3\r\nab\r", "250 2.0.0 Ok: 3 bytes"
		size, last := 3, command == "BDATLAST"
		if last {
			send, want = "BDAT 4 LAST\r\nx\r\n", "250 2.0.0 Ok: "
			size = 4
		}
		if command == "BDAT0" {
			send, size = "BDAT 0", 0
		}
		switch {
		case m.bdat == 2:
			want = fmt.Sprintf("551 5.0.0 Discarded %d bytes after earlier error", size)
		case command == "BDAT0":
			want = "551 5.7.1 Null BDAT request"
		case m.bdat == 1:
			if last {
				*m = model{}
			}
			return send, want
		case !m.sender:
			want = "503 5.5.1 Error: need RCPT"
		case m.rcpts == 0:
			want = "554 5.5.1"
		default:
			m.bdat = 1
			if last {
				*m = model{}
			}
			return send, want
		}
		m.bdat = 2
		if last {
			*m = model{}
		}
		return send, want
	}
	return command, "500"
}

func TestRandomSequences(t *testing.T) {
	ts := newTestServer(t, "smtpd_hard_error_limit = 100000", "smtpd_soft_error_limit = 100000", "smtpd_junk_command_limit = 100000")
	commands := []string{"EHLO", "RSET", "NOOP", "VRFY", "MAIL", "MAIL", "badMAIL", "RCPT", "RCPT", "badRCPT", "DATA", "BDAT", "BDATLAST", "BDAT0", "FOO"}
	for seed := range uint64(30) {
		random := rand.New(rand.NewPCG(seed, 1))
		c := ts.connect()
		var m model
		var history []string
		for range 200 {
			command := commands[random.IntN(len(commands))]
			send, want := m.step(command)
			history = append(history, command)
			// The last two bytes of a chunk come with the line end of send.
			if strings.HasPrefix(send, "BDAT 3") {
				send = "BDAT 3\r\na"
			} else if strings.HasPrefix(send, "BDAT 4") {
				send = "BDAT 4 LAST\r\nxy"
			}
			c.send(send + "\r\n")
			if got := c.reply(); !strings.HasPrefix(got, want) {
				t.Fatalf("seed %d: %q after %q: want %q", seed, got, history, want)
			}
			if want == "354" {
				c.do("text\r\n.", "250 2.0.0 Ok: queued")
			}
		}
		ts.quit(c)
	}
	for _, m := range ts.cleanup.messages {
		if m.finished == m.aborted {
			t.Errorf("message neither accepted nor given up: %+v", m)
		}
	}
}
