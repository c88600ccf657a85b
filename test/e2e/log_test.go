package e2e

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
)

// TestLogOfOneMessage has all records of one message, in order and in form.
func TestLogOfOneMessage(t *testing.T) {
	c := shared(t)
	from, to := "log@client.test", "logged@"+relayDomain
	id := c.send(t, from, to, plain(from, to, "text"))
	c.awaitLog(t, `qmgr\[\d+\]: `+id+`: removed`)
	delays := `delay=\d+(\.\d+)?, delays=\d+(\.\d+)?/\d+(\.\d+)?/\d+(\.\d+)?/\d+(\.\d+)?`
	checkRecords(t, c.logLines(t, "]: "+id+": "), []string{
		`smtpd\[\d+\]: ` + id + `: client=localhost\[127\.0\.0\.1\]`,
		`cleanup\[\d+\]: ` + id + `: message-id=<e2e@client\.test>`,
		`qmgr\[\d+\]: ` + id + `: from=<log@client\.test>, size=\d+, nrcpt=1 \(queue active\)`,
		`smtp\[\d+\]: ` + id + fmt.Sprintf(`: to=<logged@relay\.test>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:%d, `, c.smtp.Port()) + `(conn_use=\d+, )?` + delays + `, tls=none, dsn=2\.0\.0, status=sent \(250 2\.0\.0 stored\)`,
		`qmgr\[\d+\]: ` + id + `: removed`,
	})
}

// TestLogOfLocalMessage is the same for mail from sendmail to a mailbox.
func TestLogOfLocalMessage(t *testing.T) {
	c := shared(t)
	to := "logged-here@" + virtualDomain
	c.submit(t, "Message-Id: <unique-for-log@client.test>\n\ntext\n", "-f", "log@client.test", to)
	line := c.awaitLog(t, `cleanup\[\d+\]: \w+: message-id=<unique-for-log@client\.test>`)
	id := regexp.MustCompile(`: (\w+): message-id`).FindStringSubmatch(line)[1]
	c.awaitLog(t, `qmgr\[\d+\]: `+id+`: removed`)
	checkRecords(t, c.logLines(t, "]: "+id+": "), []string{
		`pickup\[\d+\]: ` + id + `: uid=\d+ from=<log@client\.test>`,
		`cleanup\[\d+\]: ` + id + `: message-id=<unique-for-log@client\.test>`,
		`qmgr\[\d+\]: ` + id + `: from=<log@client\.test>, size=\d+, nrcpt=1 \(queue active\)`,
		`virtual\[\d+\]: ` + id + `: to=<logged-here@mail\.suffix\.test>, relay=virtual, delay=\d+(\.\d+)?, delays=[\d.]+/[\d.]+/0/[\d.]+, dsn=2\.0\.0, status=sent \(delivered to maildir\)`,
		`qmgr\[\d+\]: ` + id + `: removed`,
	})
}

// checkRecords compares records of the log with patterns for the text after
// time and host.
func checkRecords(t *testing.T, got, want []string) {
	t.Helper()
	if len(got) != len(want) {
		t.Fatalf("%d records, want %d:\n%s", len(got), len(want), strings.Join(got, "\n"))
	}
	for i, line := range got {
		pattern := `^[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d suffix postfix/` + want[i] + `$`
		if !regexp.MustCompile(pattern).MatchString(line) {
			t.Errorf("record %d is\n%s\nwant\n%s", i+1, line, pattern)
		}
	}
}

// TestLogOfHostileText writes line breaks and controls into the log, which must
// stay one record for each event.
func TestLogOfHostileText(t *testing.T) {
	c := shared(t)
	client := c.dial(t)
	_, err := client.Do("EHLO evil\x01\x1b[2Jhelo")
	must(t, err)
	_, err = client.Do("MAIL FROM:<x\x07y@client.test>")
	must(t, err)
	_, err = client.Do("RCPT TO:<a\x08b@" + errorDomain + ">")
	must(t, err)
	must(t, client.Write("GET /\x1b\x00 HTTP/1.0\r\n"))
	_, err = client.Read()
	must(t, err)
	to := "hostile-log@" + virtualDomain
	c.submit(t, "Message-Id: <hostile\x01log\x1b@client.test>\nSubject: \x07\n\ntext\n", "-f", "x@client.test", "-F", "Evil\x01 Name", to)
	c.awaitMail(t, to)
	c.awaitLog(t, `cleanup\[\d+\]: \w+: message-id=<hostile\?log\?@client\.test>`)
	c.awaitLog(t, `smtpd\[\d+\]: .*reject: RCPT from localhost\[127\.0\.0\.1\]: 550 5\.7\.9 <a b@error\.test>: Recipient address rejected: mail for this domain is refused; from=<"x\?y"@client\.test> to=<"a\?b"@error\.test> proto=ESMTP helo=<evil\?\?\[2Jhelo>`)
	record := regexp.MustCompile(`^[A-Z][a-z]{2} \d\d \d\d:\d\d:\d\d suffix postfix(/[\w-]+)+\[\d+\]: [ -~]*$`)
	for _, line := range c.logLines(t, "") {
		if !record.MatchString(line) {
			t.Errorf("the log has the line %q", line)
		}
	}
}
