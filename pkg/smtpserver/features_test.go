package smtpserver

import (
	"context"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"suffix/pkg/cleanupclient"
)

func TestXclient(t *testing.T) {
	ts := newTestServer(t, "smtpd_authorized_xclient_hosts = 127.0.0.1", "smtpd_client_restrictions = check_client_access inline:{spammer.test=REJECT}")
	c := ts.connect()
	c.do(
		"EHLO x", "250-mx.example.test\n250-PIPELINING\n250-SIZE 10240000\n250-VRFY\n250-ETRN\n250-XCLIENT NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT\n250-ENHANCEDSTATUSCODES",
		"XCLIENT", "501 5.5.4 Syntax: XCLIENT attribute=value...",
		"XCLIENT NAME", "501 5.5.4 Error: attribute=value expected",
		"XCLIENT FOO=x", "501 5.5.4 Bad XCLIENT attribute name: FOO",
		"XCLIENT NAME=a..b", "501 5.5.4 Bad NAME syntax: a..b",
		"XCLIENT ADDR=1.2.3", "501 5.5.4 Bad ADDR syntax: 1.2.3",
		"XCLIENT PROTO=LMTP", "501 5.5.4 Bad PROTO syntax: LMTP",
		"XCLIENT PORT=123456", "501 5.5.4 Bad PORT syntax: 123456",
		"XCLIENT HELO="+strings.Repeat("x", 256), "501 5.5.4 Error: attribute value too long",
		"XCLIENT NAME=spammer.test ADDR=IPv6:2001:db8::5 PORT=77 HELO=a+20b PROTO=ESMTP LOGIN=bob DESTPORT=587", "220 mx.example.test ESMTP Postfix",
		"XCLIENT NAME=x.test", "550 5.7.0 Error: insufficient authorization",
		"MAIL FROM:<a@b>", "250",
		"RCPT TO:<u@example.test>", "554 5.7.1 <spammer.test[2001:db8::5]>: Client host rejected: Access denied",
	)
	ts.quit(c)
	ts.log.has(t, "reject: RCPT from spammer.test[2001:db8::5]: 554 5.7.1 <spammer.test[2001:db8::5]>: Client host rejected: Access denied; from=<a@b> to=<u@example.test> proto=ESMTP helo=<a?b> sasl_method=XCLIENT sasl_username=bob")
	ts.log.has(t, "disconnect from spammer.test[2001:db8::5] ehlo=1 xclient=0/10 mail=1 rcpt=0/1 quit=1")
}

func TestXforward(t *testing.T) {
	ts := newTestServer(t, "smtpd_authorized_xforward_hosts = 127.0.0.0/8")
	c := ts.connect()
	c.do(
		"EHLO x", "250-",
		"XFORWARD NAME=[UNAVAILABLE] ADDR=192.0.2.1 PORT=5", "250 2.0.0 Ok",
		"XFORWARD HELO=h.test PROTO=SMTP IDENT=ABC SOURCE=REMOTE", "250 2.0.0 Ok",
		"XFORWARD SOURCE=ELSEWHERE", "501 5.5.4 Bad SOURCE syntax: ELSEWHERE",
		"MAIL FROM:<a@b>", "250", "XFORWARD NAME=x", "503 5.5.1 Error: MAIL transaction in progress",
		"RCPT TO:<u@example.test>", "250", "DATA", "354", "x\r\n.", "250",
		"MAIL FROM:<a@b>", "250", "RCPT TO:<u@example.test>", "250",
	)
	ts.quit(c)
	ts.log.has(t, "QID1: client=unknown[127.0.0.1], orig_queue_id=ABC, orig_client=unknown[192.0.2.1]")
	ts.log.has(t, "QID2: client=unknown[127.0.0.1]\n")
	records := ts.cleanup.messages[0].records
	for _, want := range []string{"Alog_ident=ABC", "Arewrite_context=remote", "Alog_client_address=192.0.2.1", "Alog_helo_name=h.test", "Alog_message_origin=unknown[192.0.2.1]", "Aclient_address=127.0.0.1"} {
		if !slices.Contains(records, want) {
			t.Errorf("no %q in %q", want, records)
		}
	}
}

func TestImmediateRejects(t *testing.T) {
	ts := newTestServer(t, "smtpd_delay_reject = no", "smtpd_helo_restrictions = check_helo_access inline:{bad.test=REJECT}",
		"smtpd_sender_restrictions = check_sender_access inline:{{b=550 5.7.0 no} {h=HOLD}}")
	c := ts.connect()
	c.do(
		"EHLO bad.test", "554 5.7.1 <bad.test>: Helo command rejected: Access denied",
		"EHLO good.test", "250",
		"MAIL FROM:<a@b>", "550 5.7.0 <a@b>: Sender address rejected: no",
		"MAIL FROM:<a@h>", "250", "RCPT TO:<u@example.test>", "250", "DATA", "354", "x\r\n.", "250",
	)
	ts.quit(c)
	if records := ts.cleanup.accepted()[0].records; !slices.Contains(records, "f4") {
		t.Errorf("no hold flag: %q", records)
	}
	ts = newTestServer(t, "smtpd_delay_reject = no", "smtpd_client_restrictions = reject")
	c = ts.dial()
	c.want("554 5.7.1 <unknown[127.0.0.1]>: Client host rejected: Access denied")
	c.do("EHLO x", "503 5.7.0 Error: access denied for unknown[127.0.0.1]")
	ts.quit(c)
	ts.log.has(t, "NOQUEUE: reject: CONNECT from unknown[127.0.0.1]: 554 5.7.1 <unknown[127.0.0.1]>: Client host rejected: Access denied; proto=SMTP")
}

func TestMessageActions(t *testing.T) {
	ts := newTestServer(t, "smtpd_end_of_data_restrictions = check_client_access inline:{{127.0.0.1=REDIRECT r@x}}",
		"smtpd_recipient_restrictions = check_client_access inline:{{127.0.0.1=PREPEND X-Note: one}} check_client_access inline:{{127=FILTER smtp:f}} check_client_access inline:{{127.0=BCC c@d}}")
	c := ts.connect()
	c.do("HELO x", "250", "MAIL FROM:<a@b>", "250", "RCPT TO:<u@example.test>", "250", "DATA", "354", "x\r\n.", "250")
	ts.quit(c)
	m := ts.cleanup.accepted()[0]
	if content := m.content(); content[0] != "X-Note: one" || !strings.HasPrefix(content[1], "Received: ") {
		t.Errorf("content %q", content)
	}
	tail := m.records[slices.Index(m.records, "X"):]
	if want := []string{"X", "Lsmtp:f", ">r@x", "Rc@d", "Anotify_flags=1", "E"}; !slices.Equal(tail, want) {
		t.Errorf("tail %q", tail)
	}
}

func TestReplyEdits(t *testing.T) {
	ts := newTestServer(t, `smtpd_reject_footer = \c, ask $server_name\nclient $client_address; to <$recipient>`, "soft_bounce = yes",
		"smtpd_noop_commands = FROB", "smtpd_discard_ehlo_keywords = chunking, dsn, etrn, vrfy, size, pipelining, smtputf8",
		"smtpd_command_filter = inline:{{HULLO=EHLO x}}")
	c := ts.connect()
	c.do("FROB x", "250 2.0.0 Ok",
		"HULLO", "250-mx.example.test\n250-ENHANCEDSTATUSCODES\n250 8BITMIME",
		"MAIL FROM:<a@b> RET=FULL", "401-4.7.1 DSN support is disabled, ask mx.example.test\n401 4.7.1 client 127.0.0.1; to <>")
	ts.quit(c)
	ts.log.has(t, "discarding EHLO keywords: ETRN, PIPELINING, SIZE, VRFY, DSN, SMTPUTF8, CHUNKING")
	ts.log.has(t, `unknown[127.0.0.1]: replacing command "HULLO" with "EHLO x"`)
}

func TestFooter(t *testing.T) {
	ts := newTestServer(t, `smtpd_reject_footer = see http://x\nbye $helo_name`)
	c := ts.connect()
	c.do("HELO a", "250", "FOO", "500-5.5.2 Error: command not recognized\n500-5.5.2 see http://x\n500 5.5.2 bye a")
	ts.quit(c)
}

func TestPolicyService(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	requests := make(chan string, 10)
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			var request []byte
			buf := make([]byte, 4096)
			for {
				n, err := conn.Read(buf)
				if err != nil {
					break
				}
				if request = append(request, buf[:n]...); strings.HasSuffix(string(request), "\n\n") {
					requests <- string(request)
					request = nil
					if _, err := conn.Write([]byte("action=451 4.7.1 greylisted\n\n")); err != nil {
						break
					}
				}
			}
			conn.Close()
		}
	}()
	addr := listener.Addr().String()
	ts := newTestServer(t, "smtpd_recipient_restrictions = check_policy_service { inet:"+addr+", policy_context=here }")
	c := ts.connect()
	c.do("EHLO x", "250", "MAIL FROM:<a@b> SIZE=7", "250",
		"RCPT TO:<u@example.test>", "451 4.7.1 <u@example.test>: Recipient address rejected: greylisted",
		"RCPT TO:<v@example.test>", "451 4.7.1 <v@example.test>: Recipient address rejected: greylisted")
	ts.quit(c)
	request := <-requests
	for _, want := range []string{"request=smtpd_access_policy\nprotocol_state=RCPT\nprotocol_name=ESMTP\nclient_address=127.0.0.1\nclient_name=unknown\n",
		"helo_name=x\nsender=a@b\nrecipient=u@example.test\nrecipient_count=0\nqueue_id=\ninstance=", "size=7\n", "policy_context=here\n"} {
		if !strings.Contains(request, want) {
			t.Errorf("request lacks %q:\n%s", want, request)
		}
	}
	// A server that is gone means the default action.
	ts = newTestServer(t, "smtpd_policy_service_try_limit = 1", "smtpd_recipient_restrictions = check_policy_service unix:"+t.TempDir()+"/gone")
	c = ts.connect()
	c.do("EHLO x", "250", "MAIL FROM:<a@b>", "250",
		"RCPT TO:<u@example.test>", "451 4.3.5 <u@example.test>: Recipient address rejected: Server configuration problem")
	ts.quit(c)
	ts.log.has(t, "warning: problem talking to server ")
}

func TestNotices(t *testing.T) {
	sink := &fakeCleanup{}
	cleanupclient.InProcess = func(ctx context.Context, service string, flags cleanupclient.Flags) (cleanupclient.Stream, error) {
		return sink.open(ctx, service, flags)
	}
	defer func() { cleanupclient.InProcess = nil }()
	ts := newTestServer(t, "notify_classes = protocol, bounce", "smtpd_history_flush_threshold = 10")
	c := ts.connect()
	c.do("HELO x", "250", "FOO", "500")
	ts.quit(c)
	if n := len(sink.messages); n != 1 {
		t.Fatalf("%d notices", n)
	}
	m := sink.messages[0]
	if !slices.Contains(m.records, "Sdouble-bounce@mx.example.test") || !slices.Contains(m.records, "Rpostmaster") {
		t.Errorf("envelope %q", m.records)
	}
	text := strings.Join(m.content(), "\n")
	for _, want := range []string{"From: Mail Delivery System <MAILER-DAEMON>\nTo: Postmaster <postmaster>\nSubject: Postfix SMTP server: errors from unknown[127.0.0.1]\n\nTranscript of session follows.\n\n",
		" Out: 220 mx.example.test ESMTP Postfix\n In:  HELO x\n Out: 250 mx.example.test\n In:  FOO\n Out: 500 5.5.2 Error: command not recognized\n", "\n\nFor other details, see the local mail logfile"} {
		if !strings.Contains(text, want) {
			t.Errorf("notice lacks %q:\n%s", want, text)
		}
	}
	// A long session reports as it goes on.
	c = ts.connect()
	for range 8 {
		c.do("MAIL", "501")
	}
	if len(sink.messages) != 2 {
		t.Errorf("%d notices in a long session", len(sink.messages))
	}
	ts.quit(c)
}

func TestStressVariant(t *testing.T) {
	ts := newTestServer(t)
	normal := ts.server.Normal.Settings
	if normal.timeout != 300*time.Second || normal.hardErrorLimit != 20 || normal.perRequest {
		t.Errorf("normal: %v %d %t", normal.timeout, normal.hardErrorLimit, normal.perRequest)
	}
	ts = newTestServer(t, "stress = yes")
	stressed := ts.server.Normal.Settings
	if stressed.timeout != 10*time.Second || stressed.hardErrorLimit != 1 || !stressed.perRequest {
		t.Errorf("stressed: %v %d %t", stressed.timeout, stressed.hardErrorLimit, stressed.perRequest)
	}
}

func TestTimeout(t *testing.T) {
	ts := newTestServer(t, "smtpd_timeout = 1s")
	c := ts.connect()
	c.send("NO")
	c.want("421 4.4.2 mx.example.test Error: timeout exceeded")
	ts.end(c)
	ts.log.has(t, "NOQUEUE: timeout after CONNECT from unknown[127.0.0.1]")
}

func TestUnsupported(t *testing.T) {
	for lines, want := range map[string]string{
		"smtpd_milters = inet:localhost:1":         "no Milter support",
		"smtpd_tls_security_level = encrypt":       "no TLS support",
		"smtpd_tls_wrappermode = yes":              "no TLS support",
		"smtpd_sasl_auth_enable = yes":             "no SASL support",
		"smtpd_proxy_filter = 127.0.0.1:1":         "no before-queue filter support",
		"smtpd_forbid_bare_newline = maybe":        "bad parameter value: 'smtpd_forbid_bare_newline = maybe'",
		"smtpd_upstream_proxy_protocol = nonsense": "unsupported smtpd_upstream_proxy_protocol value: nonsense",
	} {
		ts := newTestServer(t)
		cfg := ts.server.Normal.Settings.cfg
		name, value, _ := strings.Cut(lines, " = ")
		if _, err := NewSettings(withSetting(cfg, name, value), "smtp", false, ts.log); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", lines, err)
		}
	}
}

// Addresses that are accepted only because of the old default of
// smtputf8_enable are remarked on.
func TestOldUTF8Default(t *testing.T) {
	const remark = "using backwards-compatible default setting smtputf8_enable=no to accept non-ASCII "
	for _, c := range []struct {
		lines []string
		want  bool
	}{
		{[]string{"compatibility_level = 0"}, true},
		{[]string{"compatibility_level = 0", "smtputf8_enable = no"}, false},
		{[]string{"compatibility_level = 1", "smtputf8_enable = no"}, false},
	} {
		ts := newTestServer(t, append(c.lines, "smtpd_relay_restrictions = reject_unauth_destination")...)
		cl := ts.connect()
		for _, command := range []string{"EHLO client.test", "MAIL FROM:<s\u00e4nder@example.test>", "RCPT TO:<\u00e9@example.test>", "QUIT"} {
			cl.send(command + "\r\n")
			cl.reply()
		}
		ts.sessions.Wait()
		if !c.want {
			if all := ts.log.all(); strings.Contains(all, remark) {
				t.Errorf("%q:\n%s", c.lines, all)
			}
			continue
		}
		ts.log.has(t, remark+"sender address \"s\u00e4nder@example.test\" from unknown[127.0.0.1]")
		ts.log.has(t, remark+"recipient address \"\u00e9@example.test\" from unknown[127.0.0.1]")
	}
}
