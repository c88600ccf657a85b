package e2e

import (
	"io"
	"mime"
	"mime/multipart"
	"net/mail"
	"regexp"
	"strings"
	"testing"

	"suffix/test/e2e/peer"
)

// A notice is a delivery status notification in its parts.
type notice struct {
	header   mail.Header
	text     string // for people
	status   string // for programs
	returned string // message, or its header
	kinds    []string
}

// readNotice takes a notice apart.
func readNotice(t *testing.T, text string) notice {
	t.Helper()
	m, err := mail.ReadMessage(strings.NewReader(text))
	must(t, err)
	kind, parameters, err := mime.ParseMediaType(m.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/report" || parameters["report-type"] != "delivery-status" {
		t.Fatalf("Content-Type: %s (%v)", m.Header.Get("Content-Type"), err)
	}
	n := notice{header: m.Header}
	var parts []string
	for r := multipart.NewReader(m.Body, parameters["boundary"]); ; {
		p, err := r.NextRawPart()
		if err == io.EOF {
			break
		}
		must(t, err)
		body, err := io.ReadAll(p)
		must(t, err)
		parts = append(parts, string(body))
		n.kinds = append(n.kinds, p.Header.Get("Content-Description")+": "+p.Header.Get("Content-Type"))
	}
	if len(parts) != 3 {
		t.Fatalf("%d parts in\n%s", len(parts), text)
	}
	n.text, n.status, n.returned = parts[0], parts[1], parts[2]
	return n
}

// expect looks for lines in the parts of a notice.
func (n notice) expect(t *testing.T, part, text string, patterns ...string) {
	t.Helper()
	for _, p := range patterns {
		if !regexp.MustCompile(`(?m)^` + p + `$`).MatchString(text) {
			t.Errorf("the %s has no line %s:\n%s", part, p, text)
		}
	}
}

// TestBounceFromServer has a next server that refuses one of two recipients.
func TestBounceFromServer(t *testing.T) {
	c := shared(t)
	sender, bad, good := "bounced@"+virtualDomain, "refused@"+relayDomain, "accepted@"+relayDomain
	c.reply(bad, "550-5.1.1 there is nobody\r\n550 5.1.1 of this name")
	client := c.dial(t)
	must(t, client.Begin("<"+sender+"> ENVID=envelope-7", "<"+bad+"> ORCPT=rfc822;first@origin.test", "<"+good+">"))
	r, err := client.Data(header(sender, bad) + "\r\nto be returned\r\nFrom here\r\n.\r\n")
	must(t, err)
	id, err := peer.QueueID(r)
	must(t, err)
	c.awaitSink(t, c.smtp, good)
	n := readNotice(t, c.awaitMail(t, sender))
	for name, want := range map[string]string{
		"Return-Path": "<>", "From": "Mail Delivery System <MAILER-DAEMON@suffix.test>", "To": sender,
		"Subject": "Undelivered Mail Returned to Sender", "Auto-Submitted": "auto-replied", "Mime-Version": "1.0",
	} {
		if got := n.header.Get(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	wantKinds := []string{"Notification: text/plain; charset=utf-8", "Delivery report: message/delivery-status", "Undelivered Message: message/rfc822"}
	if strings.Join(n.kinds, "\n") != strings.Join(wantKinds, "\n") {
		t.Errorf("parts %q, want %q", n.kinds, wantKinds)
	}
	if !strings.Contains(strings.Join(strings.Fields(n.text), " "),
		"<refused@relay.test>: host 127.0.0.1[127.0.0.1] said: 550-5.1.1 there is nobody 550 5.1.1 of this name (in reply to RCPT TO command)") {
		t.Errorf("the text is\n%s", n.text)
	}
	n.expect(t, "report", n.status,
		`Reporting-MTA: dns; suffix\.test`, `Original-Envelope-Id: envelope-7`, `X-Postfix-Queue-ID: `+id, `X-Postfix-Sender: rfc822; bounced@mail\.suffix\.test`,
		`Arrival-Date: \w+, \d\d \w+ \d{4} \d\d:\d\d:\d\d [-+]\d{4} \(\w+\)`,
		`Final-Recipient: rfc822; refused@relay\.test`, `Original-Recipient: rfc822;first@origin\.test`, `Action: failed`, `Status: 5\.1\.1`,
		`Remote-MTA: dns; 127\.0\.0\.1`, `Diagnostic-Code: smtp; 550-5\.1\.1 there is nobody 550 5\.1\.1 of this name`)
	if strings.Contains(n.status, "accepted@") {
		t.Errorf("the good recipient is in the report:\n%s", n.status)
	}
	if !strings.HasPrefix(n.returned, "Return-Path: <"+sender+">\nReceived: from client.test ") || !strings.HasSuffix(n.returned, "\nto be returned\nFrom here\n.\n") {
		t.Errorf("the returned message is\n%s", n.returned)
	}
	c.awaitLog(t, `bounce\[\d+\]: `+id+`: sender non-delivery notification: \w+`)
	c.awaitQueued(t, id, "")
}

// TestBounceUnknownUser has a recipient of the local domain who does not exist.
func TestBounceUnknownUser(t *testing.T) {
	c := shared(t)
	sender := "unknown-sender@" + virtualDomain
	c.submit(t, "Subject: hello\nFrom: x@client.test\n\nlost text\n", "-f", sender, "-R", "hdrs", "No-Such-User@"+localDomain)
	n := readNotice(t, c.awaitMail(t, sender))
	if !strings.Contains(n.text, `<No-Such-User@suffix.test>: unknown user: "no-such-user"`) {
		t.Errorf("the text is\n%s", n.text)
	}
	n.expect(t, "report", n.status, `Final-Recipient: rfc822; No-Such-User@suffix\.test`, `Original-Recipient: rfc822;No-Such-User@suffix\.test`,
		`Action: failed`, `Status: 5\.1\.1`, `Diagnostic-Code: X-Postfix; unknown user: "no-such-user"`)
	if !strings.HasPrefix(n.kinds[2], "Undelivered Message Headers: text/rfc822-headers") || strings.Contains(n.returned, "lost text") || !strings.Contains(n.returned, "\nSubject: hello\n") {
		t.Errorf("the returned header (%s) is\n%s", n.kinds[2], n.returned)
	}
}

// TestNoBounce has failures of which nobody is to hear.
func TestNoBounce(t *testing.T) {
	c := shared(t)
	sender := "silent@" + virtualDomain
	client := c.dial(t)
	must(t, client.Begin("<"+sender+">", "<nobody-here@"+localDomain+"> NOTIFY=NEVER"))
	r, err := client.Data(plain(sender, "nobody", "text"))
	must(t, err)
	id, err := peer.QueueID(r)
	must(t, err)
	c.awaitLog(t, id+`: to=<nobody-here@suffix\.test>, .*status=bounced`)
	c.awaitLog(t, `qmgr\[\d+\]: `+id+`: removed`)

	id = c.send(t, "", "nobody-else@"+localDomain, plain("MAILER-DAEMON", "nobody", "text"))
	c.awaitLog(t, id+`: to=<nobody-else@suffix\.test>, .*status=bounced`)
	c.awaitLog(t, `qmgr\[\d+\]: `+id+`: removed`)
	// A later message has come through, so a notice would be there.
	c.send(t, sender, sender, plain(sender, sender, "the only one"))
	if m := c.awaitMail(t, sender); !strings.Contains(m, "the only one") {
		t.Errorf("a notice was sent:\n%s", m)
	}
	for _, line := range c.logLines(t, "sender non-delivery notification: ") {
		if strings.Contains(line, id) {
			t.Errorf("the log has %s", line)
		}
	}
}

// TestSuccessReport asks for a notice of success.
func TestSuccessReport(t *testing.T) {
	c := shared(t)
	sender, to := "success@"+virtualDomain, "success-rcpt@"+virtualDomain
	client := c.dial(t)
	must(t, client.Begin("<"+sender+"> RET=FULL ENVID=ok+3D1", "<"+to+"> NOTIFY=SUCCESS ORCPT=rfc822;wished@origin.test", "<success-quiet@"+virtualDomain+">"))
	r, err := client.Data(plain(sender, to, "body of success"))
	must(t, err)
	id, err := peer.QueueID(r)
	must(t, err)
	c.awaitMail(t, to)
	n := readNotice(t, c.awaitMail(t, sender))
	if got := n.header.Get("Subject"); got != "Successful Mail Delivery Report" {
		t.Errorf("Subject: %s", got)
	}
	n.expect(t, "report", n.status, `Original-Envelope-Id: ok=1`, `X-Postfix-Queue-ID: `+id, `Final-Recipient: rfc822; success-rcpt@mail\.suffix\.test`,
		`Original-Recipient: rfc822;wished@origin\.test`, `Action: delivered`, `Status: 2\.0\.0`, `Diagnostic-Code: X-Postfix; delivery via virtual: delivered to maildir`)
	if strings.Contains(n.status, "success-quiet") || strings.Contains(n.returned, "body of success") {
		t.Errorf("the report is\n%s\n%s", n.status, n.returned)
	}
	c.awaitLog(t, id+`: sender delivery status notification: \w+`)
}

// TestVerifyOnly asks with -bv what would happen; nothing may be delivered.
func TestVerifyOnly(t *testing.T) {
	c := shared(t)
	sender := "bv@" + virtualDomain
	good, bad, remote := "bv-good@"+virtualDomain, "bv-nobody@"+localDomain, "bv-remote@"+relayDomain
	out := c.command(t, "", "sendmail", "-bv", "-f", sender, good, bad, remote)
	if want := "Mail Delivery Status Report will be mailed to <" + sender + ">.\n"; out != want {
		t.Errorf("sendmail prints %q, want %q", out, want)
	}
	n := readNotice(t, c.awaitMail(t, sender))
	if got := n.header.Get("Subject"); got != "Mail Delivery Status Report" {
		t.Errorf("Subject: %s", got)
	}
	fields := make(map[string]string)
	for paragraph := range strings.SplitSeq(n.status, "\n\n") {
		if rcpt := regexp.MustCompile(`Final-Recipient: rfc822; (\S+)`).FindStringSubmatch(paragraph); rcpt != nil {
			fields[rcpt[1]] = paragraph
		}
	}
	for rcpt, want := range map[string]string{good: "Action: deliverable\nStatus: 2.0.0\n", bad: "Action: undeliverable\nStatus: 5.1.1\n", remote: "Action: deliverable\nStatus: 2.1.5\n"} {
		if !strings.Contains(fields[rcpt], want) {
			t.Errorf("report for %s:\n%s\nwant\n%s", rcpt, fields[rcpt], want)
		}
	}
	if list, err := c.mailFor(good); len(list) > 0 || err != nil {
		t.Errorf("-bv has delivered %d messages, %v", len(list), err)
	}
	for _, m := range c.smtp.Messages() {
		if m.HasRcpt(remote) {
			t.Error("-bv has sent a message")
		}
	}
}

// TestRecordDelivery delivers with -v, and reports.
func TestRecordDelivery(t *testing.T) {
	c := shared(t)
	sender, to := "verbose@"+virtualDomain, "verbose-rcpt@"+relayDomain
	c.submit(t, "Subject: with report\n\ntext\n", "-v", "-f", sender, to)
	c.awaitSink(t, c.smtp, to)
	n := readNotice(t, c.awaitMail(t, sender))
	n.expect(t, "report", n.status, `Final-Recipient: rfc822; verbose-rcpt@relay\.test`, `Action: relayed`, `Status: 2\.0\.0`, `Remote-MTA: dns; 127\.0\.0\.1`, `Diagnostic-Code: smtp; 250 2\.0\.0 stored`)
}
