package e2e

import (
	"fmt"

	"regexp"
	"strings"
	"testing"

	"suffix/test/e2e/peer"
)

// TestRelay hands a message with all parameters of DSN to the next server.
func TestRelay(t *testing.T) {
	c := shared(t)
	client := c.dial(t)
	content := header("relay@client.test", "relay-a@"+relayDomain) + "\r\n.dot\r\n..\r\nGr\xfc\xdfe\r\n"
	must(t, client.Begin("<relay@client.test> SIZE=400 BODY=8BITMIME RET=HDRS ENVID=id+2B42",
		"<relay-a@"+relayDomain+"> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Original+2Bone@"+relayDomain,
		"<relay-b@"+relayDomain+"> NOTIFY=NEVER", "<relay-c@"+relayDomain+">"))
	r, err := client.Data(content)
	must(t, err)
	id, err := peer.QueueID(r)
	must(t, err)
	m := c.awaitSink(t, c.smtp, "relay-a@"+relayDomain)
	if m.Helo != "suffix.test" {
		t.Errorf("EHLO %s", m.Helo)
	}
	size := regexp.MustCompile(` SIZE=(\d+)`).FindStringSubmatch(m.From)
	if size == nil {
		t.Errorf("no size in MAIL FROM:%s", m.From)
	}
	if from := regexp.MustCompile(` SIZE=\d+`).ReplaceAllString(m.From, ""); from != "<relay@client.test> BODY=8BITMIME ENVID=id+2B42 RET=HDRS" {
		t.Errorf("MAIL FROM:%s", m.From)
	}
	want := []string{
		"<relay-a@relay.test> ORCPT=rfc822;Original+2Bone@relay.test NOTIFY=SUCCESS,FAILURE",
		"<relay-b@relay.test> ORCPT=rfc822;relay-b@relay.test NOTIFY=NEVER",
		"<relay-c@relay.test> ORCPT=rfc822;relay-c@relay.test",
	}
	if fmt.Sprint(m.Rcpts) != fmt.Sprint(want) {
		t.Errorf("recipients\n%q\nwant\n%q", m.Rcpts, want)
	}
	received := regexp.MustCompile(`^Received: from client\.test \(localhost \[127\.0\.0\.1\]\)\r\n\tby suffix\.test \(Postfix\) with ESMTP id ` + id + `;\r\n\t\w+, \d+ \w+ \d{4} \d\d:\d\d:\d\d [-+]\d{4} \(\w+\)\r\n`).FindString(m.Data)
	if received == "" {
		t.Fatalf("the message begins with\n%.300q", m.Data)
	}
	if m.Data[len(received):] != content {
		t.Errorf("the content differs%s", difference(m.Data[len(received):], content))
	}
	c.awaitQueued(t, id, "")
}

// TestRelayManyRecipients has more recipients than one transaction takes.
func TestRelayManyRecipients(t *testing.T) {
	c := shared(t)
	client := c.dial(t)
	var rcpts []string
	for i := range 120 {
		rcpts = append(rcpts, fmt.Sprintf("<crowd-%d@%s>", i, relayDomain))
	}
	must(t, client.Begin("<crowd@client.test>", rcpts...))
	r, err := client.Data(header("crowd@client.test", "crowd") + "\r\nmany\r\n")
	must(t, err)
	id, err := peer.QueueID(r)
	must(t, err)
	c.awaitQueued(t, id, "")
	times := make(map[string]int)
	transactions := 0
	for _, m := range c.smtp.Messages() {
		if !strings.HasPrefix(m.From, "<crowd@client.test>") {
			continue
		}
		transactions++
		if len(m.Rcpts) > 50 {
			t.Errorf("%d recipients in one transaction, the limit is 50", len(m.Rcpts))
		}
		for _, r := range m.Rcpts {
			address, _, _ := strings.Cut(r, " ")
			times[address]++
		}
	}
	for _, r := range rcpts {
		if times[r] != 1 {
			t.Errorf("%d deliveries for %s", times[r], r)
		}
	}
	if transactions < 3 {
		t.Errorf("%d transactions for 120 recipients", transactions)
	}
}

// TestLMTP delivers over LMTP, where each recipient has a reply of its own.
func TestLMTP(t *testing.T) {
	c := shared(t)
	client := c.dial(t)
	c.reply("lmtp-no@"+lmtpDomain, "550 5.1.1 nobody here")
	must(t, client.Begin("<lmtp@client.test>", "<lmtp-a@"+lmtpDomain+">", "<lmtp-no@"+lmtpDomain+">", "<lmtp-b@"+lmtpDomain+">"))
	r, err := client.Data(header("lmtp@client.test", "lmtp") + "\r\n.\r\ntext\r\n")
	must(t, err)
	id, err := peer.QueueID(r)
	must(t, err)
	m := c.awaitSink(t, c.lmtp, "lmtp-a@"+lmtpDomain)
	if !m.HasRcpt("lmtp-b@"+lmtpDomain) || m.HasRcpt("lmtp-no@"+lmtpDomain) || !strings.HasSuffix(m.Data, "\r\n\r\n.\r\ntext\r\n") {
		t.Errorf("the LMTP server has %q", m)
	}
	c.awaitLog(t, id+fmt.Sprintf(`: to=<lmtp-b@lmtp\.test>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:%d, .*dsn=2\.0\.0, status=sent \(250 2\.0\.0 stored\)`, c.lmtp.Port()))
	c.awaitLog(t, id+`: to=<lmtp-no@lmtp\.test>, .*dsn=5\.1\.1, status=bounced \(host 127\.0\.0\.1\[127\.0\.0\.1\] said: 550 5\.1\.1 nobody here \(in reply to RCPT TO command\)\)`)
}

// TestErrorAndDiscard uses the transports that deliver nothing.
func TestErrorAndDiscard(t *testing.T) {
	c := shared(t)
	sender := "error-sender@" + virtualDomain
	id := c.send(t, sender, "someone@"+discardDomain, plain(sender, "someone", "to be discarded"))
	c.awaitLog(t, id+`: to=<someone@discard\.test>, relay=none, .*dsn=2\.0\.0, status=sent \(nobody wants it\)`)

	c.submit(t, "Subject: to be refused\n\ntext\n", "-f", sender, "someone@"+errorDomain)
	c.awaitLog(t, `: to=<someone@error\.test>, relay=none, .*dsn=5\.7\.9, status=bounced \(mail for this domain is refused\)`)
	if m := c.awaitMail(t, sender); !strings.Contains(m, "Status: 5.7.9\n") || !strings.Contains(m, "Subject: to be refused\n") {
		t.Errorf("the notice is\n%s", m)
	}

	// The SMTP server refuses such a recipient by itself.
	client := c.dial(t)
	_, err := client.Expect("EHLO client.test", "250")
	must(t, err)
	_, err = client.Expect("MAIL FROM:<"+sender+">", "250")
	must(t, err)
	r, err := client.Do("RCPT TO:<other@" + errorDomain + ">")
	must(t, err)
	if want := "550 5.7.9 <other@error.test>: Recipient address rejected: mail for this domain is refused"; r.String() != want {
		t.Errorf("reply %q, want %q", r, want)
	}
}

// TestSMTPConversation looks at the replies of a whole session.
func TestSMTPConversation(t *testing.T) {
	c := shared(t)
	client := c.dial(t)
	if want := "220 suffix.test ESMTP Postfix"; client.Greeting.String() != want {
		t.Errorf("greeting %q, want %q", client.Greeting, want)
	}
	to := "conversation@" + virtualDomain
	for _, step := range []struct{ command, want string }{
		{"HEPL", "500 5.5.2 Error: command not recognized"},
		{"EHLO", "501 Syntax: EHLO hostname"},
		{"HELO client.test", "250 suffix.test"},
		{"EHLO client.test", "250 suffix.test / PIPELINING / SIZE 10240000 / VRFY / ETRN / ENHANCEDSTATUSCODES / 8BITMIME / DSN / SMTPUTF8 / CHUNKING"},
		{"RCPT TO:<" + to + ">", "503 5.5.1 Error: need MAIL command"},
		{"DATA", "503 5.5.1 Error: need RCPT command"},
		{"MAIL FROM:<a@client.test", "501 5.1.7 Bad sender address syntax"},
		{"RSET", "250 2.0.0 Ok"},
		{"MAIL FROM:<a@client.test> COLOR=red", "555 5.5.4 Unsupported option: COLOR=red"},
		{"MAIL FROM:<a@client.test>", "250 2.1.0 Ok"},
		{"MAIL FROM:<a@client.test>", "503 5.5.1 Error: nested MAIL command"},
		{"RCPT TO:<>", "501 5.1.3 Bad recipient address syntax"},
		{"RCPT TO:<" + to + ">", "250 2.1.5 Ok"},
		{"NOOP", "250 2.0.0 Ok"},
		{"VRFY " + to, "252 2.0.0 " + to},
		{"RSET", "250 2.0.0 Ok"},
		{"DATA", "503 5.5.1 Error: need RCPT command"},
		{"MAIL FROM:<a@client.test> SIZE=20000000", "552 5.3.4 Message size exceeds fixed limit"},
		{"QUIT", "221 2.0.0 Bye"},
	} {
		r, err := client.Do(step.command)
		must(t, err)
		got := r.Code + " " + strings.Join(r.Lines, " / ")
		if got != step.want {
			t.Errorf("%s: reply %q, want %q", step.command, got, step.want)
		}
	}
	if rest, err := client.ReadAll(); rest != "" || err != nil {
		t.Errorf("after QUIT: %q, %v", rest, err)
	}
	c.awaitLog(t, `smtpd\[\d+\]: disconnect from localhost\[127\.0\.0\.1\] helo=1 ehlo=1/2 mail=1/5 rcpt=1/3 data=0/2 rset=2 noop=1 vrfy=1 quit=1 unknown=0/1 commands=9/19`)
}
