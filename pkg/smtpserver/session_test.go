package smtpserver

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"testing"

	"suffix/pkg/cleanupclient"
)

func TestPlainSession(t *testing.T) {
	ts := newTestServer(t)
	c := ts.connect()
	c.send("EHLO client.example\r\n")
	want := "250-mx.example.test\n250-PIPELINING\n250-SIZE 10240000\n250-VRFY\n250-ETRN\n250-ENHANCEDSTATUSCODES\n250-8BITMIME\n250-DSN\n250-SMTPUTF8\n250 CHUNKING"
	if got := c.reply(); got != want {
		t.Fatalf("EHLO: %q", got)
	}
	c.send("MAIL FROM:<a@b.example> BODY=8BITMIME RET=HDRS ENVID=abc SIZE=100\r\nRCPT TO:<u@example.test> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;x+2By@z\r\nDATA\r\n")
	c.want("250 2.1.0 Ok")
	c.want("250 2.1.5 Ok")
	c.want("354 End data with <CR><LF>.<CR><LF>")
	c.send("Subject: x\r\n\r\n..dot\r\nbody\r\n.\r\nQUIT\r\n")
	c.want("250 2.0.0 Ok: queued as QID1")
	c.want("221 2.0.0 Bye")
	ts.end(c)
	m := ts.cleanup.accepted()[0]
	if m.flags != 2+16+32+128 {
		t.Errorf("flags %d", m.flags)
	}
	port := c.conn.LocalAddr().String()[len("127.0.0.1:"):]
	_, serverPort, _ := strings.Cut(ts.addr, ":")
	wantRecords := []string{
		"Alog_ident=QID1", "Arewrite_context=local", "Aenvelope_id=abc", "Aret_flags=2", "Sa@b.example", "Aencoding=8bit",
		"Alog_client_name=unknown", "Alog_client_address=127.0.0.1", "Alog_client_port=" + port,
		"Alog_message_origin=unknown[127.0.0.1]", "Alog_helo_name=client.example", "Alog_protocol_name=ESMTP",
		"Aclient_name=unknown", "Areverse_client_name=unknown", "Aclient_address=127.0.0.1", "Aclient_port=" + port,
		"Aserver_address=127.0.0.1", "Aserver_port=" + serverPort, "Ahelo_name=client.example", "Aprotocol_name=ESMTP", "Aclient_address_type=2",
		"Anotify_flags=6", "Adsn_orig_rcpt=rfc822;x+y@z", "Ru@example.test", "M",
		"NReceived: from client.example (unknown [127.0.0.1])",
		"N\tby mx.example.test (Postfix) with ESMTP id QID1",
	}
	if m.records[0][0] != 'T' || !slices.Equal(m.records[1:len(wantRecords)+1], wantRecords) {
		t.Errorf("records:\n%q\nwant\n%q", m.records[1:], wantRecords)
	}
	if line := m.records[len(wantRecords)+1]; !strings.HasPrefix(line, "N\tfor <u@example.test>; ") {
		t.Errorf("Received: %q", line)
	}
	if body := m.body(); !slices.Equal(body, []string{"Subject: x", "", ".dot", "body"}) {
		t.Errorf("body %q", body)
	}
	if tail := m.records[len(m.records)-2:]; tail[0] != "X" || tail[1] != "E" {
		t.Errorf("tail %q", tail)
	}
	ts.log.has(t, "connect from unknown[127.0.0.1]\nQID1: client=unknown[127.0.0.1]\ndisconnect from unknown[127.0.0.1] ehlo=1 mail=1 rcpt=1 data=1 quit=1 commands=5")
}

func TestCommandErrors(t *testing.T) {
	ts := newTestServer(t, "smtpd_hard_error_limit = 100")
	c := ts.connect()
	c.do(
		"HELO", "501 Syntax: HELO hostname",
		"HELO a b c", "250 mx.example.test",
		"", "500 5.5.2 Error: bad syntax",
		"FOO", "500 5.5.2 Error: command not recognized",
		"\xff\xfe", "500 5.5.2 Error: bad UTF-8 syntax",
		"NOOP\x00x", "500 5.5.2 Error: bad syntax",
		"DATA", "503 5.5.1 Error: need RCPT command",
		"RCPT TO:<a@b>", "503 5.5.1 Error: need MAIL command",
		"MAIL <a@b>", "501 5.5.4 Syntax: MAIL FROM:<address>",
		"MAIL FROM:<a(b)c@d>", "501 5.1.7 Bad sender address syntax",
		"MAIL FROM:<a@b", "501 5.1.7 Bad sender address syntax",
		"MAIL FROM:<a@b,c@d>", "501 5.1.7 Bad sender address syntax",
		"MAIL FROM:<a@b> FOO=1", "555 5.5.4 Unsupported option: FOO=1",
		"MAIL FROM:<a@b> SIZE=x", "501 5.5.4 Bad message size syntax",
		"MAIL FROM:<a@b> SIZE=99999999999999999999", "552 5.3.4 Message size exceeds file system imposed limit",
		"MAIL FROM:<a@b> SIZE=99999999", "552 5.3.4 Message size exceeds fixed limit",
		"MAIL FROM:<a@b>", "552 5.3.4 Message size exceeds fixed limit",
		"RSET x", "501 5.5.4 Syntax: RSET",
		"RSET", "250 2.0.0 Ok",
		"MAIL FROM:<> RET=FULL RET=FULL", "501 5.5.4 Bad RET parameter syntax",
		"MAIL FROM:<> ENVID=a+00b", "501 5.5.4 Bad ENVID parameter syntax",
		"MAIL FROM:<> ENVID=a+0Ab", "501 5.5.4 Bad ENVID parameter syntax",
		"MAIL FROM:<> XVERP", "555 5.5.4 Unsupported option: XVERP",
		"MAIL FROM:<> REQUIRETLS", "555 5.5.4 Unsupported option: REQUIRETLS",
		"MAIL FROM:<> ENVID=a+09b", "250 2.1.0 Ok",
		"MAIL FROM:<>", "503 5.5.1 Error: nested MAIL command",
		"DATA", "554 5.5.1 Error: no valid recipients",
		"RCPT TO:<>", "501 5.1.3 Bad recipient address syntax",
		"RCPT <a@b>", "501 5.5.4 Syntax: RCPT TO:<address>",
		"RCPT TO:<u@example.test> NOTIFY=NEVER,DELAY", "501 5.5.4 Error: Bad NOTIFY parameter syntax",
		"RCPT TO:<u@example.test> NOTIFY=X", "501 5.5.4 Error: Bad NOTIFY parameter syntax",
		"RCPT TO:<u@example.test> ORCPT=rfc822;a+00b", "501 5.5.4 Error: Bad ORCPT parameter syntax",
		"RCPT TO:<u@example.test> ORCPT=rfc822;a+0Ab", "501 5.5.4 Error: Bad ORCPT parameter syntax",
		"RCPT TO:<u@example.test> ORCPT=rfc822;a+0Db", "501 5.5.4 Error: Bad ORCPT parameter syntax",
		"RCPT TO:<u@example.test> SIZE=1", "555 5.5.4 Unsupported option: SIZE=1",
		"RCPT TO:<u@elsewhere.test>", "454 4.7.1 <u@elsewhere.test>: Relay access denied",
		"RCPT TO:<u%elsewhere.test@example.test>", "454 4.7.1 <u%elsewhere.test@example.test>: Relay access denied",
		"RCPT TO:<u@127.0.0.1>", "501 5.1.3 Bad recipient address syntax",
		"RCPT TO:<\"us er\"@example.test>", "250 2.1.5 Ok",
		"DATA x", "501 5.5.4 Syntax: DATA",
		"VRFY", "501 5.5.4 Syntax: VRFY address [SMTPUTF8]",
		"VRFY u@example.test", "252 2.0.0 u@example.test",
		"ETRN x.test", "503 Error: MAIL transaction in progress",
		"XCLIENT NAME=x", "503 5.5.1 Error: MAIL transaction in progress",
		"STARTTLS", "502 5.5.1 Error: command not implemented",
		"AUTH PLAIN", "503 5.5.1 Error: authentication not enabled",
		"RSET", "250 2.0.0 Ok",
		"XCLIENT NAME=x", "550 5.7.0 Error: insufficient authorization",
		"XFORWARD NAME=x", "550 5.7.0 Error: insufficient authorization",
		"ETRN", "500 Syntax: ETRN domain",
		"ETRN @!!", "501 Error: invalid parameter syntax",
		"ETRN x.test", "458 Unable to queue messages",
		"HELP", "214 2.0.0 Commands: AUTH BDAT DATA EHLO ETRN HELO HELP MAIL NOOP QUIT RCPT RSET STARTTLS VRFY XCLIENT XFORWARD",
		"NOOP x", "250 2.0.0 Ok",
	)
	ts.quit(c)
	ts.log.has(t, "NOQUEUE: reject: MAIL from unknown[127.0.0.1]: 552 5.3.4 Message size exceeds fixed limit; from=<a@b> proto=SMTP helo=<a?b?c>")
	ts.log.has(t, "NOQUEUE: reject: RCPT from unknown[127.0.0.1]: 454 4.7.1 <u@elsewhere.test>: Relay access denied; from=<> to=<u@elsewhere.test> proto=SMTP helo=<a?b?c>")
	ts.log.has(t, "warning: Illegal address syntax from unknown[127.0.0.1] in MAIL command: <a(b)c@d>")
	ts.log.has(t, "unknown=0/4")
}

// The sequences of hardening §1.1 in which a half-ended transaction survived.
func TestTransactionEnds(t *testing.T) {
	for _, test := range []struct {
		name, config string
		script       []string
	}{
		{"SM1", "", []string{
			"MAIL FROM:<a@b>", "250", "RCPT TO:<u@example.test>", "250",
			"BDAT 0", "551 5.7.1 Null BDAT request", "BDAT 0 LAST", "551 5.0.0 Discarded 0 bytes after earlier error",
			"DATA", "503 5.5.1 Error: need RCPT command", "RCPT TO:<u@example.test>", "503 5.5.1 Error: need MAIL command",
			"MAIL FROM:<a@b>", "250"}},
		{"SM2", "smtpd_end_of_data_restrictions = reject", []string{
			"MAIL FROM:<a@b>", "250", "RCPT TO:<u@example.test>", "250", "DATA", "354",
			"x\r\n.", "554 5.7.1 <END-OF-MESSAGE>: End-of-data rejected: Access denied",
			"RCPT TO:<u@example.test>", "503 5.5.1 Error: need MAIL command", "MAIL FROM:<c@d>", "250"}},
		{"SM3", "strict_smtputf8 = yes", []string{
			"MAIL FROM:<a@b>", "250", "RCPT TO:<u@example.test>", "250",
			"VRFY ö@x", "553 5.6.7 Must declare SMTPUTF8 to send unicode address",
			"DATA", "354", "x\r\n.", "250 2.0.0 Ok: queued as QID1"}},
		{"BDAT error state", "message_size_limit = 100", []string{
			"MAIL FROM:<a@b>", "250", "RCPT TO:<u@example.test>", "250",
			"BDAT 120\r\n" + strings.Repeat("x", 118), "552 5.3.4 Chunk exceeds message size limit",
			"DATA", "503 5.5.1 Error: DATA after BDAT", "RCPT TO:<u@example.test>", "503 5.5.1 Error: RCPT after BDAT",
			"MAIL FROM:<a@b>", "503 5.5.1 Error: nested MAIL command",
			"BDAT 2\r\n", "551 5.0.0 Discarded 2 bytes after earlier error",
			"RSET", "250", "MAIL FROM:<a@b>", "250"}},
		{"BDAT without MAIL", "", []string{
			"BDAT 2\r\n", "503 5.5.1 Error: need RCPT command", "MAIL FROM:<a@b>", "503 5.5.1 Error: MAIL after BDAT",
			"BDAT 0 LAST", "551 5.0.0 Discarded 0 bytes after earlier error", "MAIL FROM:<a@b>", "250"}},
		{"EHLO", "", []string{
			"MAIL FROM:<a@b>", "250", "RCPT TO:<u@example.test>", "250", "EHLO y", "250", "DATA", "503 5.5.1 Error: need RCPT command"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			ts := newTestServer(t, test.config)
			c := ts.connect()
			c.do("EHLO x", "250")
			c.do(test.script...)
			ts.quit(c)
		})
	}
}

func TestLongCommands(t *testing.T) {
	ts := newTestServer(t)
	c := ts.connect()
	c.do(
		"NOOP "+strings.Repeat("x", 2047-5), "250 2.0.0 Ok",
		"NOOP "+strings.Repeat("x", 2048-5), "500 5.5.2 mx.example.test Error: command too long",
		strings.Repeat("y", 3000), "500 5.5.2 mx.example.test Error: command too long",
		"NOOP", "250 2.0.0 Ok",
	)
	c.send(strings.Repeat("z", 5007) + "\r\nMAIL FROM:<a@b>\r\nNOOP\r\n")
	c.want("500 5.5.2 mx.example.test Error: command too long")
	ts.end(c)
	ts.log.has(t, "warning: unknown[127.0.0.1]: request longer than 2048: yyyyyyyyyyyyyyyyyyyyyyyyyyyyyy...")
	ts.log.has(t, "warning: disabling input from smtp socket")
	ts.log.has(t, "NOQUEUE: lost connection after NOOP from unknown[127.0.0.1]")
	ts.log.has(t, "noop=2 unknown=0/3 commands=2/5")
}

func TestChunks(t *testing.T) {
	ts := newTestServer(t, "message_size_limit = 1000")
	c := ts.connect()
	start := []string{"EHLO x", "250", "MAIL FROM:<a@b>", "250", "RCPT TO:<u@example.test>", "250"}
	c.do(start...)
	for _, chunk := range []string{"a: b\r", "\n\r\n.\r\n", "li", "ne\nx"} {
		c.send(fmt.Sprintf("BDAT %d\r\n%s", len(chunk), chunk))
		c.want(fmt.Sprintf("250 2.0.0 Ok: %d bytes", len(chunk)))
	}
	c.send("BDAT 2 LAST\r\nyz")
	c.want("250 2.0.0 Ok: 22 bytes queued as QID1")
	if body := ts.cleanup.accepted()[0].body(); !slices.Equal(body, []string{"a: b", "", ".", "line", "xyz"}) {
		t.Errorf("body %q", body)
	}
	c.do(start...)
	c.send("BDAT 99999999999\r\n" + strings.Repeat("MAIL FROM:<x@y>\r\n", 10))
	c.want("552 5.3.4 Chunk exceeds message size limit")
	ts.end(c)
	ts.log.has(t, "warning: QID2: too much BDAT content -- disabling further input from unknown[127.0.0.1]")
	for _, bad := range []string{"99999999999999999999", "-1", "0x10", "+5", "1 FIRST", "1 LAST x", ""} {
		c = ts.connect()
		c.do("BDAT "+bad, "521 5.5.4 Syntax: BDAT count [LAST]")
		ts.end(c)
	}
}

func TestPipeliningViolations(t *testing.T) {
	ts := newTestServer(t, "smtpd_forbid_unauth_pipelining = yes")
	c := ts.connect()
	c.send("HELO x\r\nMAIL FROM:<a@b>\r\n")
	c.want("554 5.5.0 Error: SMTP protocol synchronization")
	ts.end(c)
	ts.log.has(t, `improper command pipelining after HELO from unknown[127.0.0.1]: MAIL FROM:<a@b>\r\n`)
	ts.log.has(t, "helo=0/1 commands=0/1")
	c = ts.connect()
	c.do("EHLO x", "250")
	c.send("MAIL FROM:<a@b>\r\nRCPT TO:<u@example.test>\r\nDATA\r\n")
	c.want("250")
	c.want("250")
	c.want("354")
	c.do("x\r\n.", "250 2.0.0 Ok: queued")
	ts.quit(c)
}

func TestForbiddenCommands(t *testing.T) {
	for _, line := range []string{"GET / HTTP/1.0", "Subject: hello", "connect x:1"} {
		ts := newTestServer(t)
		c := ts.connect()
		c.do(line, "221 2.7.0 Error: I can break rules, too. Goodbye.")
		ts.end(c)
		ts.log.has(t, "warning: non-SMTP command from unknown[127.0.0.1]: "+line)
		ts.log.has(t, "unknown=0/1 commands=0/1")
	}
}

func TestErrorLimits(t *testing.T) {
	ts := newTestServer(t, "smtpd_hard_error_limit = 3", "smtpd_junk_command_limit = 2", "smtpd_recipient_limit = 1", "smtpd_recipient_overshoot_limit = 1")
	c := ts.connect()
	c.do("FOO", "500", "FOO", "500", "FOO", "500")
	c.want("421 4.7.0 mx.example.test Error: too many errors")
	ts.end(c)
	ts.log.has(t, "NOQUEUE: too many errors after UNKNOWN from unknown[127.0.0.1]")
	c = ts.connect()
	c.do("NOOP", "250", "NOOP", "250", "NOOP", "250", "NOOP", "250", "NOOP", "250", "NOOP", "250")
	c.want("421 4.7.0 mx.example.test Error: too many errors")
	ts.end(c)
	c = ts.connect()
	c.do("HELO x", "250", "MAIL FROM:<a@b>", "250", "RCPT TO:<u@example.test>", "250",
		"RCPT TO:<u@example.test>", "452 4.5.3 Error: too many recipients", "RCPT TO:<u@example.test>", "452 4.5.3 Error: too many recipients")
	ts.quit(c)
	ts.log.has(t, "rcpt=2/3")
}

func TestMessageErrors(t *testing.T) {
	ts := newTestServer(t, "message_size_limit = 1000")
	c := ts.connect()
	for _, test := range []struct {
		status cleanupclient.Status
		reason string
		want   string
	}{
		{cleanupclient.Cont, "5.7.1 no spam", "550 5.7.1 no spam"},
		{cleanupclient.Cont, "", "550 5.7.1 Error: message content rejected"},
		{cleanupclient.Cont, "554 5.7.0 whole reply", "554 5.7.0 whole reply"},
		{cleanupclient.Defer, "4.2.2 full", "451 4.2.2 full"},
		{cleanupclient.Defer, "", "451 4.7.1 Error: service unavailable"},
		{cleanupclient.Hops, "", "554 5.4.0 Error: too many hops"},
		{cleanupclient.Size, "", "552 5.3.4 Error: message file too big"},
		{cleanupclient.Write, "", "451 4.3.0 Error: queue file write error"},
		{cleanupclient.Bad, "", "451 4.3.0 Error: internal error 1"},
		{cleanupclient.Rcpt, "", "451 4.3.0 Error: internal error 64"},
	} {
		ts.cleanup.mu.Lock()
		ts.cleanup.status, ts.cleanup.reason = test.status, test.reason
		ts.cleanup.mu.Unlock()
		c.do("HELO x", "250", "MAIL FROM:<a@b>", "250", "RCPT TO:<u@example.test>", "250", "DATA", "354", "x\r\n.", test.want)
	}
	c.do("MAIL FROM:<a@b>", "250", "RCPT TO:<u@example.test>", "250", "DATA", "354",
		strings.Repeat("0123456789\r\n", 100)+".", "552 5.3.4 Error: message file too big")
	ts.quit(c)
	ts.log.has(t, "warning: QID11: queue file size limit exceeded")
	last := ts.cleanup.messages[10]
	if last.finished || !last.aborted {
		t.Errorf("message that is too large: %+v", last)
	}
}

func TestLostConnection(t *testing.T) {
	ts := newTestServer(t)
	c := ts.connect()
	c.do("HELO x", "250", "MAIL FROM:<a@b>", "250", "RCPT TO:<u@example.test>", "250", "DATA", "354")
	c.send("line\r\nrest")
	c.conn.Close()
	ts.sessions.Wait()
	ts.log.has(t, "QID1: lost connection after DATA (")
	if m := ts.cleanup.messages[0]; m.finished || !m.aborted {
		t.Error("message was not given up")
	}
}

func TestFirstLines(t *testing.T) {
	ts := newTestServer(t)
	c := ts.connect()
	for _, test := range []struct{ in, want string }{
		{"From me", "X-Mailbox-Line: From me|From me"},
		{">>From me", "X-Mailbox-Line: >>From me|From me"},
		{" blank", "| blank|From me"},
	} {
		c.do("HELO x", "250", "MAIL FROM:<a@b>", "250", "RCPT TO:<u@example.test>", "250", "DATA", "354", test.in+"\r\nFrom me\r\n.", "250")
		messages := ts.cleanup.accepted()
		if got := strings.Join(messages[len(messages)-1].body(), "|"); got != test.want {
			t.Errorf("%q: %q", test.in, got)
		}
	}
	ts.quit(c)
}

// A session that is ended before a message was handed over does not accept it,
// and one that is ended after that says so.
func TestCanceledAroundCommit(t *testing.T) {
	ts := newTestServer(t)
	for _, after := range []bool{true, false} {
		ctx, cancel := context.WithCancel(context.Background())
		ts.cleanup.messages, ts.cleanup.onFinish = nil, cancel
		near, far := net.Pipe()
		ts.sessions.add(1)
		go func() {
			defer ts.sessions.add(-1)
			defer far.Close()
			ts.server.Serve(ctx, far, nil, false)
		}()
		c := &client{t, near, bufio.NewReader(near)}
		c.want("220")
		c.do("EHLO x", "250", "MAIL FROM:<a@b>", "250", "RCPT TO:<u@example.test>", "250", "DATA", "354")
		want := "250 2.0.0 Ok: queued as "
		if !after {
			cancel()
			want = "451 4.3.0 "
		}
		c.do("text\r\n.", want)
		near.Close()
		ts.sessions.Wait()
		if accepted := len(ts.cleanup.accepted()) == 1; accepted != after {
			t.Errorf("canceled after the message: %t, accepted: %t", after, accepted)
		}
		cancel()
	}
}
