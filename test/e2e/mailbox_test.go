package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"

	"suffix/test/e2e/peer"
)

// header is complete: nothing is added to it but what delivery adds.
func header(from, to string) string {
	return "From: " + from + "\r\nTo: " + to + "\r\nSubject: test\r\nMessage-ID: <e2e@client.test>\r\nDate: Sun, 22 Nov 2026 12:00:00 +0000\r\n"
}

// contents are bodies as a client sends them, and as the mailbox has them
// where that is not the same text with line ends of the system.
var contents = []struct {
	name, sent, stored string
}{
	{"plain", "one line\r\n", ""},
	{"empty", "", ""},
	{"dots", ".\r\n..\r\n...\r\n.hidden\r\nend.\r\n", ""},
	{"long", strings.Repeat("x", 100_000) + "\r\n." + strings.Repeat("y", 5000) + "\r\n", ""},
	{"longdots", strings.Repeat("x", 2048) + "\r\n.\r\n" + strings.Repeat("z", 2047) + ".\r\n" + strings.Repeat("z", 2048) + ".\r\n", ""},
	{"8bit", "Grüße \xff\xfe\x80 raw\r\n", ""},
	{"controls", "a\x00b\x01c\x7f\tTAB\x1b\r\n", ""},
	{"from", "From here\r\n>From there\r\n", ""},
	{"blank", "\r\n\r\n \r\n\t\r\ntrailing \r\n\r\n\r\n", ""},
	{"barelf", "unix\nline\r\nends\n\r\n", "unix\nline\nends\n\n"},
	{"barecr", "old\rmac\r\n", "old mac\n"},
	{"large", strings.Repeat(strings.Repeat("0123456789", 7)+"\r\n", 20_000), ""},
}

// received is the line that this system adds to mail from a client.
const receivedSMTP = `Received: from client\.test \(localhost \[127\.0\.0\.1\]\)\n\tby suffix\.test \(Postfix\) with ESMTP id \w+\n?\t? ?for <%s>; \w+, \d+ \w+ \d+ \d\d:\d\d:\d\d [-+]\d{4} \(\w+\)\n`

// TestContentOverSMTP sends all kinds of bytes over SMTP, and compares what
// arrives in the mailbox byte for byte.
func TestContentOverSMTP(t *testing.T) {
	c := shared(t)
	for i, test := range contents {
		from, to := "content@client.test", fmt.Sprintf("smtp-%s@%s", test.name, virtualDomain)
		content := header(from, to) + "\r\n" + test.sent
		t.Run(test.name, func(t *testing.T) {
			client := c.dial(t)
			// By turns with and without the declaration of 8-bit content.
			parameters := []string{"", " BODY=8BITMIME"}[i%2]
			must(t, client.Begin("<"+from+">"+parameters, "<"+to+">"))
			r, err := client.Data(content)
			must(t, err)
			_, err = peer.QueueID(r)
			must(t, err)
			must(t, client.Quit())
			stored := test.stored
			if stored == "" {
				stored = strings.ReplaceAll(test.sent, "\r\n", "\n")
			}
			compareMail(t, c.awaitMail(t, to), from, to, receivedSMTP, strings.ReplaceAll(header(from, to), "\r\n", "\n")+"\n"+stored)
		})
	}
}

// compareMail checks a message in the mailbox: what delivery puts before it,
// and then the content.
func compareMail(t *testing.T, got, from, to, received, content string) {
	t.Helper()
	if strings.Contains(received, "%s") {
		received = fmt.Sprintf(received, regexp.QuoteMeta(to))
	}
	top := "Return-Path: <" + from + ">\nX-Original-To: " + to + "\nDelivered-To: " + to + "\n"
	rest, ok := strings.CutPrefix(got, top)
	if !ok {
		t.Fatalf("the message begins with\n%.300q\nwant\n%q", got, top)
	}
	line := regexp.MustCompile("^" + received).FindString(rest)
	if line == "" {
		t.Fatalf("after that comes\n%.300q\nwant what matches\n%q", rest, received)
	}
	if rest = rest[len(line):]; rest != content {
		t.Errorf("the content differs%s", difference(rest, content))
	}
}

// difference shows the surroundings of the first byte in which texts differ.
func difference(got, want string) string {
	n := 0
	for n < len(got) && n < len(want) && got[n] == want[n] {
		n++
	}
	around := func(s string) string { return s[min(len(s), max(0, n-20)):min(len(s), n+40)] }
	return fmt.Sprintf(" at byte %d (lengths %d, %d):\ngot  %q\nwant %q", n, len(got), len(want), around(got), around(want))
}

// TestContentInChunks uses BDAT, where nothing is a line end by itself: chunks
// break lines, CR LF and dots, and the last may have no line end.
func TestContentInChunks(t *testing.T) {
	c := shared(t)
	from, to := "chunks@client.test", "chunks@"+virtualDomain
	content := header(from, to) + "\r\n.\r\n..two\r\nbroken CR LF\r\n" + strings.Repeat("long", 2000) + "\r\nno line end"
	client := c.dial(t)
	must(t, client.Begin("<"+from+">", "<"+to+">"))
	cuts := []int{0, 1, strings.Index(content, "\r\n.\r\n") + 3, strings.Index(content, "CR LF") + 6, len(content) - 3, len(content)}
	for i, end := range cuts[1:] {
		chunk := content[cuts[i]:end]
		last := ""
		if end == len(content) {
			last = " LAST"
		}
		must(t, client.Write(fmt.Sprintf("BDAT %d%s\r\n%s", len(chunk), last, chunk)))
		r, err := client.Read()
		must(t, err)
		if r.Code != "250" {
			t.Fatalf("BDAT %d%s: %s", len(chunk), last, r)
		}
	}
	must(t, client.Quit())
	compareMail(t, c.awaitMail(t, to), from, to, receivedSMTP, strings.ReplaceAll(content, "\r\n", "\n")+"\n")
}

// receivedLocal is the line that is added to mail from sendmail.
const receivedLocal = `Received: by suffix\.test \(Postfix, from userid \d+\)\n\tid \w+; \w+, \d+ \w+ \d+ \d\d:\d\d:\d\d [-+]\d{4} \(\w+\)\n`

// TestContentFromSendmail gives contents to sendmail.
func TestContentFromSendmail(t *testing.T) {
	c := shared(t)
	for _, test := range []struct {
		name, body, stored string
		args               []string
	}{
		{"plain", "one line\n", "one line\n", nil},
		{"unterminated", "no line end", "no line end\n", nil},
		{"dot", "before\n.\nafter\n", "before\n", nil},
		{"ignore", "before\n.\n..\nafter\n", "before\n.\n..\nafter\n", []string{"-i"}},
		{"oi", ".\n", ".\n", []string{"-oi"}},
		{"crlf", "one\r\ntwo\nthree\r\n", "one\ntwo\nthree\n", nil},
		{"crs", "one\r\r\ntwo\rmiddle\n", "one\ntwo middle\n", nil},
		{"long", strings.Repeat("x", 10_000) + "\n", strings.Repeat("x", 10_000) + "\n", nil},
		{"longend", strings.Repeat("x", 4096), strings.Repeat("x", 4096) + "\n", nil},
		{"8bit", "Gr\xfc\xdfe\n", "Gr\xfc\xdfe\n", []string{"-B", "8BITMIME"}},
		{"nul", "a\x00b\n", "a\x00b\n", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			from, to := "sendmail@client.test", fmt.Sprintf("sendmail-%s@%s", test.name, virtualDomain)
			head := strings.ReplaceAll(header(from, to), "\r\n", "\n") + "\n"
			c.submit(t, head+test.body, append(test.args, "-f", from, to)...)
			compareMail(t, c.awaitMail(t, to), from, to, receivedLocal, head+test.stored)
		})
	}
}

// TestSendmailRecipients takes recipients from the header and from the command
// line, and completes a poor header.
func TestSendmailRecipients(t *testing.T) {
	c := shared(t)
	addr := func(name string) string { return name + "@" + virtualDomain }
	content := "From mailbox Sun Nov 22\nTo: Somebody <" + addr("t-one") + ">,\n\t" + addr("t-two") + "\nCc: (nobody) " + addr("t-three") +
		"\nBcc: " + addr("t-four") + "\nSubject: many\n\ntext\n"
	c.submit(t, content, "-t", "-F", "Full Name", "-f", "t-sender@client.test", addr("t-five"))
	for _, name := range []string{"t-one", "t-two", "t-three", "t-four", "t-five"} {
		got := c.awaitMail(t, addr(name))
		for _, want := range []string{
			"\nTo: Somebody <" + addr("t-one") + ">,\n\t" + addr("t-two") + "\n", "\nFrom: Full Name <t-sender@client.test>\n", "\nMessage-Id: <", "\nDate: ", "\n\ntext\n",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("%s: no %q in\n%s", name, want, got)
			}
		}
		for _, bad := range []string{"Bcc:", "From mailbox", addr("t-four") + ">,"} {
			if strings.Contains(got, bad) {
				t.Errorf("%s: %q in\n%s", name, bad, got)
			}
		}
	}
}

// TestSendmailRefusals checks texts and exit status for what cannot be sent.
func TestSendmailRefusals(t *testing.T) {
	c := shared(t)
	for _, test := range []struct {
		name, stdin, want string
		args              []string
	}{
		{"no recipient", "text\n", "Recipient addresses must be specified on the command line or via the -t option", []string{"-f", "x@client.test"}},
		{"no recipient in header", "Subject: x\n\n", "No recipient addresses found in message header", []string{"-t"}},
		{"bad option", "", "usage: sendmail [options]", []string{"-Z"}},
		{"too large", "Subject: x\n\n" + strings.Repeat(strings.Repeat("x", 999)+"\n", 11_000), "message file too big", []string{"large@" + virtualDomain}},
	} {
		t.Run(test.name, func(t *testing.T) {
			cmd := c.Command("sendmail", test.args...)
			cmd.Stdin = strings.NewReader(test.stdin)
			text, code := status(t, cmd)
			if code != 75 || !strings.Contains(text, test.want) {
				t.Errorf("exit status %d, %q; want 75, %q", code, text, test.want)
			}
		})
	}
	if list, err := c.mailFor("large@" + virtualDomain); err != nil || len(list) > 0 {
		t.Errorf("refused mail has arrived: %d, %v", len(list), err)
	}
}
