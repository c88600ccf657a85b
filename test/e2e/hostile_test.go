package e2e

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"

	"suffix/test/e2e/peer"
)

// strangers is a system that trusts no client.
var strangers = sync.OnceValues(func() (*system, error) {
	s, err := create(plan{main: map[string]string{
		"mynetworks": "192.0.2.0/24", "smtpd_client_connection_count_limit": "0", "smtpd_relay_restrictions": "reject_unauth_destination",
	}})
	if err != nil {
		return nil, err
	}
	register(s, true)
	return s, s.Start()
})

func stranger(t *testing.T) *system {
	t.Helper()
	t.Parallel()
	s, err := strangers()
	must(t, err)
	return s
}

// TestSmuggling sends what servers have taken for the end of a message, though
// it is none, followed by a second message. All but the standard sequence must
// leave it part of the first, in the form given.
func TestSmuggling(t *testing.T) {
	s := stranger(t)
	a2047, a2048 := strings.Repeat("A", 2047), strings.Repeat("A", 2048)
	for i, test := range []struct {
		sent, stored string
		ends         bool
	}{
		{"\r\n.\r\n", "\n", true},
		{"\n.\n", "\n", false},
		{"\n.\r\n", "\n", false},
		{"\r\n.\n", "\n", false},
		{"\n\n.\r\n", "\n\n", false},
		{"\r\n.\n\r\n", "\n\n", false},
		{"\r\n.\r\r\n", "\n \n", false},
		{"\r\r\n.\r\r\n", " \n \n", false},
		{"\r\r\n.\r\n", " \n", true},
		{"\r.\r", " . ", false},
		{"\r.\r\n", " .\n", false},
		{"\r.\n", " .\n", false},
		{"\n.\r", "\n ", false},
		{"\r\n.\r", "\n ", false},
		{"\r\n.\r\r", "\n  ", false},
		{"\n\r.\r\n", "\n .\n", false},
		{"\n\r.\n\r", "\n .\n ", false},
		{"\r\n\x00.\r\n", "\n\x00.\n", false},
		{"\r\n.\x00\r\n", "\n\x00\n", false},
		{"\r\n..\r\n", "\n.\n", false},
		{"\n..\r\n", "\n.\n", false},
		{"\r\n. \r\n", "\n \n", false},
		{"\v.\v", "\v.\v", false},
		{"\xc2\x85.\xc2\x85", "\xc2\x85.\xc2\x85", false},
		{"\r\n" + a2048 + "\r\n.\r\n", "\n" + a2048 + "\n", true},
		{"\r\n" + a2048 + ".\r\n", "\n" + a2048 + ".\n", false},
		{"\r\n" + a2047 + "\r.\r\n", "\n" + a2047 + " .\n", false},
		{"\r\n" + a2047 + "\n.\r\n", "\n" + a2047 + "\n", false},
		{"\r\n" + a2048 + "\n.\r\n", "\n" + a2048 + "\n", false},
	} {
		from, to := "smuggler@client.test", fmt.Sprintf("smuggling-%d@%s", i, virtualDomain)
		second := fmt.Sprintf("smuggled-%d@%s", i, virtualDomain)
		smuggled := "MAIL FROM:<x@client.test>\r\nRCPT TO:<" + second + ">\r\nDATA\r\nSubject: smuggled\r\n\r\nsmuggled\r\n"
		head := header(from, to) + "\r\nbody"
		c := s.dial(t)
		must(t, c.Begin("<"+from+">", "<"+to+">"))
		_, err := c.Expect("DATA", "354")
		must(t, err)
		must(t, c.Write(head+test.sent+smuggled+".\r\n"))
		r, err := c.Read()
		must(t, err)
		if _, err := peer.QueueID(r); err != nil {
			t.Errorf("%q: %v", test.sent, err)
			continue
		}
		if !test.ends {
			// Nothing more has been answered: the next command is.
			if r, err := c.Do("NOOP"); err != nil || r.String() != "250 2.0.0 Ok" {
				t.Errorf("%q: NOOP after it: %q, %v", test.sent, r, err)
			}
		}
		c.Close()
		m := s.awaitMail(t, to)
		_, content, _ := strings.Cut(m, "\nFrom: ")
		want := strings.TrimPrefix(strings.ReplaceAll(head, "\r\n", "\n"), "From: ") + test.stored
		if !test.ends {
			want += strings.ReplaceAll(smuggled, "\r\n", "\n")
		}
		if content != want {
			t.Errorf("%q: the content differs%s", test.sent, difference(content, want))
		}
		if list, err := s.mailFor(second); err != nil || len(list) > 0 && !test.ends {
			t.Errorf("%q: a second message was accepted: %d, %v", test.sent, len(list), err)
		}
	}
}

// TestOutOfOrder has sequences that once made a server lose its state.
func TestOutOfOrder(t *testing.T) {
	s := stranger(t)
	to := "order@" + virtualDomain
	begin := []string{"EHLO client.test", "MAIL FROM:<order@client.test>", "RCPT TO:<" + to + ">"}
	for name, steps := range map[string][]struct{ command, want string }{
		"BDAT null": {
			{"BDAT 0", "551 5.7.1 Null BDAT request"}, {"BDAT 0 LAST", "551 5.0.0 Discarded 0 bytes after earlier error"},
			{"RCPT TO:<" + to + ">", "503 5.5.1 Error: need MAIL command"}, {"DATA", "503 5.5.1 Error: need RCPT command"},
		},
		"VRFY in a transaction": {{"VRFY " + to, "252 2.0.0 " + to}, {"DATA", "354 End data with <CR><LF>.<CR><LF>"}, {"text\r\n.", "250 2.0.0 Ok: queued as "}},
		"EHLO in a transaction": {{"EHLO again.test", "250 suffix.test / "}, {"RCPT TO:<" + to + ">", "503 5.5.1 Error: need MAIL command"}},
		"DATA after BDAT":       {{"BDAT 5\r\nabc", "250 2.0.0 Ok: 5 bytes"}, {"DATA", "503 5.5.1 Error: DATA after BDAT"}, {"RSET", "250 2.0.0 Ok"}},
		"BDAT syntax":           {{"BDAT 99999999999999999999", "521 5.5.4 Syntax: BDAT count [LAST]"}},
		"BDAT sign":             {{"BDAT -1", "521 5.5.4 Syntax: BDAT count [LAST]"}},
		"BDAT too large":        {{"BDAT 99999999999", "552 5.3.4 Chunk exceeds message size limit"}},
		"ENVID null":            {{"RSET", "250 2.0.0 Ok"}, {"MAIL FROM:<> ENVID=a+00b", "501 5.5.4 Bad ENVID parameter syntax"}, {"MAIL FROM:<> ENVID=a+0Ab", "501 5.5.4 Bad ENVID parameter syntax"}},
		"ORCPT null":            {{"RCPT TO:<" + to + "> ORCPT=rfc822;a+00b", "501 5.5.4 Error: Bad ORCPT parameter syntax"}, {"RCPT TO:<" + to + "> ORCPT=rfc822;a+0Ab", "501 5.5.4 Error: Bad ORCPT parameter syntax"}},
		"NUL in a command":      {{"NOOP a\x00b", "500 5.5.2 Error: bad syntax"}},
		"long command":          {{"NOOP " + strings.Repeat("x", 3000), "500 5.5.2 suffix.test Error: command too long"}, {"NOOP", "250 2.0.0 Ok"}},
		"relay":                 {{"RCPT TO:<x@elsewhere.test>", "554 5.7.1 <x@elsewhere.test>: Relay access denied"}},
		"not SMTP":              {{"GET / HTTP/1.0", "221 2.7.0 Error: I can break rules, too. Goodbye."}},
		"header as a command":   {{"Subject: hello", "221 2.7.0 Error: I can break rules, too. Goodbye."}},
	} {
		c := s.dial(t)
		for _, command := range begin {
			_, err := c.Expect(command, "250")
			must(t, err)
		}
		for _, step := range steps {
			r, err := c.Do(step.command)
			if err != nil {
				t.Errorf("%s: %v", name, err)
				break
			}
			if got := r.Code + " " + strings.Join(r.Lines, " / "); !strings.HasPrefix(got, step.want) {
				t.Errorf("%s: %.60s: reply %q, want %q", name, step.command, got, step.want)
			}
		}
		c.Close()
	}
}

// TestDisconnected has input after which the server must end the session.
func TestDisconnected(t *testing.T) {
	s := stranger(t)
	random := rand.New(rand.NewPCG(1, 2))
	garbage := make([]byte, 100_000)
	for i := range garbage {
		garbage[i] = byte(random.IntN(256))
	}
	to := "gone@" + virtualDomain
	transaction := "EHLO client.test\r\nMAIL FROM:<x@client.test>\r\nRCPT TO:<" + to + ">\r\n"
	// What is left unread when the server closes makes the client's system
	// forget the last reply: the log tells what it was.
	for _, test := range []struct{ name, input, last, log string }{
		{"endless line", strings.Repeat("x", 1_000_000), "500 5.5.2 suffix.test Error: command too long\r\n", `warning: localhost\[127\.0\.0\.1\]: request longer than 2048: x{30}\.\.\.`},
		{"endless nulls", strings.Repeat("\x00", 1_000_000), "", `request longer than 2048: \?`},
		{"garbage", string(garbage), "", ""},
		{"unknown commands", strings.Repeat("HEPL\r\n", 1000), "421 4.7.0 suffix.test Error: too many errors\r\n", `too many errors after (UNKNOWN|HEPL) from`},
		{"empty lines", strings.Repeat("\r\n", 1000), "421 4.7.0 suffix.test Error: too many errors\r\n", `too many errors after`},
		{"junk", strings.Repeat("RSET\r\n", 2000), "421 4.7.0 suffix.test Error: too many errors\r\n", `too many errors after RSET from`},
		{"unauthorised pipelining", "EHLO client.test\r\nMAIL FROM:<x@client.test>\r\n", "554 5.5.0 Error: SMTP protocol synchronization\r\n",
			`improper command pipelining after EHLO from localhost\[127\.0\.0\.1\]: MAIL FROM:<x@client\.test>\\r\\n`},
		{"BDAT flood", "BDAT 99999999999 LAST\r\n" + strings.Repeat("x", 1_000_000), "", `BDAT request from localhost\[127\.0\.0\.1\] exceeds message size limit`},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			c := s.dial(t)
			if test.name == "BDAT flood" || test.name == "junk" {
				must(t, c.Begin("<x@client.test>", "<"+to+">"))
			}
			writing := make(chan error, 1)
			go func() { writing <- c.Write(test.input) }()
			text, err := c.ReadAll()
			if err == nil && !strings.HasSuffix(text, test.last) {
				t.Errorf("the server's last words: %q, want %q", text[max(0, len(text)-200):], test.last)
			}
			<-writing
			if test.log != "" {
				s.awaitLog(t, `smtpd\[\d+\]: .*`+test.log)
			}
		})
	}
	// Sessions that end in the middle of anything leave nothing behind.
	for _, input := range []string{"", "EHLO", transaction, transaction + "DATA\r\n", transaction + "BDAT 100\r\nabc", transaction + "BDAT 3\r\nabc"} {
		c := s.dial(t)
		for line := range strings.Lines(input) {
			if !strings.HasSuffix(line, "\n") || strings.HasPrefix(line, "BDAT") {
				must(t, c.Write(line))
				continue
			}
			_, err := c.Do(strings.TrimSuffix(line, "\r\n"))
			must(t, err)
		}
		c.Close()
	}
	c := s.dial(t)
	must(t, c.Begin("<x@client.test>", "<"+to+">"))
	_, err := c.Expect("DATA", "354")
	must(t, err)
	must(t, c.Write("Subject: half\r\n\r\n"+strings.Repeat("line\r\n", 1000)))
	c.Close()
	s.awaitLog(t, `smtpd\[\d+\]: \w+: lost connection after DATA \(\d+ bytes\) from localhost\[127\.0\.0\.1\]`)
	s.awaitLog(t, `smtpd\[\d+\]: \w+: lost connection after RCPT from localhost\[127\.0\.0\.1\]`)
	s.send(t, "x@client.test", to, plain("x@client.test", to, "the only one"))
	if m := s.awaitMail(t, to); !strings.Contains(m, "the only one") {
		t.Errorf("a message was delivered that had not ended:\n%s", m)
	}
	if list, err := s.queue(); err != nil {
		t.Error(err)
	} else {
		for _, q := range list {
			for _, r := range q.RecipientList {
				if r.Address == to {
					t.Errorf("the queue has %+v", q)
				}
			}
		}
	}
}

// TestPipelining sends whole messages in one write, as is allowed.
func TestPipelining(t *testing.T) {
	s := stranger(t)
	c := s.dial(t)
	_, err := c.Expect("EHLO client.test", "250")
	must(t, err)
	var input strings.Builder
	const messages = 100
	for i := range messages {
		text := fmt.Sprintf("Subject: %d\r\n\r\ntext\r\n", i)
		fmt.Fprintf(&input, "MAIL FROM:<x@client.test>\r\nRCPT TO:<pipelined@%s>\r\nRCPT TO:<x@elsewhere.test>\r\nBDAT %d LAST\r\n%s", virtualDomain, len(text), text)
	}
	go c.Write(input.String()) //nolint:errcheck // the replies tell
	for i := range messages {
		for _, want := range []string{"250 2.1.0 Ok", "250 2.1.5 Ok", "554 5.7.1 <x@elsewhere.test>: Relay access denied", "250 2.0.0 Ok: "} {
			r, err := c.Read()
			must(t, err)
			if !strings.HasPrefix(r.String(), want) {
				t.Fatalf("message %d: reply %q, want %q", i, r, want)
			}
		}
	}
	must(t, c.Quit())
	s.awaitMails(t, "pipelined@"+virtualDomain, messages)
}
