package bounce

import (
	"bufio"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/bounceclient"
	"suffix/pkg/cleanupclient"
	"suffix/pkg/config"
	"suffix/pkg/dsn"
	"suffix/pkg/queue"
	"suffix/pkg/record"
	"suffix/pkg/service"
)

// sink stands for cleanup: it keeps what it is sent.
type sink struct {
	envelope []string
	lines    []string
	status   cleanupclient.Status
	finished bool
	open     strings.Builder
}

func (s *sink) QueueID() string { return "NEWID" }
func (s *sink) Put(t record.Type, data string) {
	switch t {
	case record.Text:
		s.lines = append(s.lines, s.open.String()+data)
		s.open.Reset()
	case record.Fragment:
		s.open.WriteString(data)
	case record.Sender, record.Recipient:
		s.envelope = append(s.envelope, string(t)+data)
	}
}
func (s *sink) PutBytes(t record.Type, data []byte) { s.Put(t, string(data)) }
func (s *sink) Flush() error                        { return nil }
func (s *sink) Abort()                              {}
func (s *sink) Finish() (cleanupclient.Status, string, error) {
	s.finished = true
	return s.status, "", nil
}

// world is a queue directory with one deferred message in it.
type world struct {
	t     *testing.T
	cfg   *config.Main
	tree  *queue.Tree
	sinks []*sink
	fail  cleanupclient.Status
}

const id = "ABCDE12345"

func newWorld(t *testing.T, settings ...config.Setting) *world {
	t.Chdir(t.TempDir())
	for _, dir := range []string{"active", "bounce", "defer", "trace"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{t: t}
	w.cfg = config.New(".", append([]config.Setting{
		{Name: "myhostname", Value: "mx.example.test"}, {Name: "compatibility_level", Value: "3.11"},
	}, settings...), config.Options{})
	w.tree = queue.New(w.cfg, func(format string, args ...any) { t.Logf(format, args...) })
	cleanupclient.InProcess = func(context.Context, string, cleanupclient.Flags) (cleanupclient.Stream, error) {
		s := &sink{status: w.fail}
		w.sinks = append(w.sinks, s)
		return s, nil
	}
	t.Cleanup(func() { cleanupclient.InProcess = nil })
	w.message("alice@example.com")
	return w
}

// message writes the queue file; the recipients stand at the offsets returned
// by offsetOf.
func (w *world) message(sender string) {
	w.t.Helper()
	build := func(s record.Sizes) (b []byte, dataOffset, dataSize int64) {
		b = record.AppendSizes(nil, s)
		b = record.AppendTime(b, 1795359172, 783725)
		b = record.Append(b, record.Sender, sender)
		b = record.Append(b, record.Recipient, "bob@defer.test")
		b = record.Append(b, record.Content, "")
		dataOffset = int64(len(b))
		for _, line := range []string{"Subject: two", "From: Alice <alice@example.com>", "", "Hello"} {
			b = record.Append(b, record.Text, line)
		}
		dataSize = int64(len(b)) - dataOffset
		b = record.Append(b, record.Extracted, "")
		b = record.AppendAttr(b, "message_id", "<m1@example.com>")
		return record.Append(b, record.End, ""), dataOffset, dataSize
	}
	_, offset, size := build(record.Sizes{})
	b, _, _ := build(record.Sizes{Segment: size, Offset: offset, Recipients: 1, Content: size})
	if err := os.WriteFile("active/"+id, b, 0o700); err != nil {
		w.t.Fatal(err)
	}
}

func offsetOf(t *testing.T) int64 {
	b, err := os.ReadFile("active/" + id)
	if err != nil {
		t.Fatal(err)
	}
	return int64(strings.Index(string(b), "bob@defer.test") - 2)
}

// call runs one client call against a server of the named service.
func (w *world) call(serviceName string, f func(c *bounceclient.Client) error) error {
	w.t.Helper()
	server, err := New(w.cfg, serviceName)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.MkdirAll("private", 0o700); err != nil {
		w.t.Fatal(err)
	}
	l, err := net.Listen("unix", "private/"+serviceName)
	if err != nil {
		w.t.Fatal(err)
	}
	defer l.Close()
	done := make(chan struct{})
	go func() {
		defer close(done)
		c, err := l.Accept()
		if err != nil {
			return
		}
		server.Serve(context.Background(), nil, &service.Conn{Conn: attr.NewConn(c, attr.Null, serviceName+" socket", time.Minute)})
		c.Close()
	}()
	client := bounceclient.New(w.cfg)
	err = f(client)
	<-done
	return err
}

var notice1 = bounceclient.Notice{QueueName: "active", QueueID: id, Sender: "alice@example.com", EnvelopeID: "QQ314159"}

func (w *world) append(serviceName string, rcpt dsn.Recipient, d dsn.DSN) {
	w.t.Helper()
	if err := w.call(serviceName, func(c *bounceclient.Client) error {
		return c.Append(serviceName, 0, id, rcpt, d)
	}); err != nil {
		w.t.Fatal(err)
	}
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

var masked = regexp.MustCompile(`\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d [-+]\d{4} \(\w+\)|` + id + `\.\d+/`)

func (s *sink) text() string { return masked.ReplaceAllString(strings.Join(s.lines, "\n"), "*") }

func TestFailureNotice(t *testing.T) {
	w := newWorld(t)
	w.append("bounce", dsn.Recipient{Address: "odd user@rej.test", Original: "orig@rej.test", ORCPT: "rfc822;orig@rej.test", Offset: offsetOf(t)},
		dsn.DSN{Status: "5.1.1", Action: "failed", DiagType: "smtp", DiagText: "550 5.1.1 no such user", MTAType: "dns", MTAName: "mx.rej.test",
			Reason: "host mx.rej.test[192.0.2.1] said: 550 5.1.1 no such user (in reply to RCPT TO command)"})
	if err := w.call("bounce", func(c *bounceclient.Client) error { return c.Flush("bounce", notice1) }); err != nil {
		t.Fatal(err)
	}
	if len(w.sinks) != 1 || !w.sinks[0].finished {
		t.Fatalf("%d notices", len(w.sinks))
	}
	s := w.sinks[0]
	if got := strings.Join(s.envelope, " "); got != "S Ralice@example.com" {
		t.Errorf("envelope %s", got)
	}
	const want = `Received: by mx.example.test (Postfix)
	id NEWID; *
Date: *
From: Mail Delivery System <MAILER-DAEMON>
Subject: Undelivered Mail Returned to Sender
To: alice@example.com
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
	boundary="*mx.example.test"
Content-Transfer-Encoding: 8bit

This is a MIME-encapsulated message.

--*mx.example.test
Content-Description: Notification
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit
`
	if !strings.HasPrefix(s.text(), want) {
		t.Errorf("notice begins:\n%s\nwant:\n%s", s.text(), want)
	}
	const tail = `
<"odd user"@rej.test> (expanded from <orig@rej.test>): host
    mx.rej.test[192.0.2.1] said: 550 5.1.1 no such user (in reply to RCPT TO
    command)

--*mx.example.test
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.example.test
Original-Envelope-Id: QQ314159
X-Postfix-Queue-ID: ABCDE12345
X-Postfix-Sender: rfc822; alice@example.com
Arrival-Date: *

Final-Recipient: rfc822; "odd user"@rej.test
Original-Recipient: rfc822;orig@rej.test
Action: failed
Status: 5.1.1
Remote-MTA: dns; mx.rej.test
Diagnostic-Code: smtp; 550 5.1.1 no such user

--*mx.example.test
Content-Description: Undelivered Message
Content-Type: message/rfc822
Content-Transfer-Encoding: 8bit

Return-Path: <alice@example.com>
Subject: two
From: Alice <alice@example.com>

Hello

--*mx.example.test--`
	if !strings.HasSuffix(s.text(), tail) {
		t.Errorf("notice ends:\n%s\nwant:\n%s", s.text(), tail)
	}
	if exists(w.tree.Path("bounce", id)) {
		t.Error("the log was not removed")
	}
}

func TestFailedNoticeKeepsLog(t *testing.T) {
	w := newWorld(t)
	w.append("bounce", dsn.Recipient{Address: "bob@defer.test"}, dsn.DSN{Status: "5.1.1", Action: "failed", Reason: "no"})
	w.fail = cleanupclient.Write
	if err := w.call("bounce", func(c *bounceclient.Client) error { return c.Flush("bounce", notice1) }); !errors.Is(err, bounceclient.ErrRefused) {
		t.Errorf("flush: %v", err)
	}
	if !exists(w.tree.Path("bounce", id)) {
		t.Error("the log is gone although nobody was told")
	}
}

func TestHeadersOnly(t *testing.T) {
	for _, c := range []struct {
		name     string
		settings []config.Setting
		ret      dsn.Ret
	}{
		{"RET=HDRS", nil, dsn.RetHdrs},
		{"large message", []config.Setting{{Name: "bounce_size_limit", Value: "10"}}, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, c.settings...)
			w.append("bounce", dsn.Recipient{Address: "bob@defer.test"}, dsn.DSN{Status: "5.1.1", Action: "failed", Reason: "no"})
			n := notice1
			n.Ret = c.ret
			if err := w.call("bounce", func(c *bounceclient.Client) error { return c.Flush("bounce", n) }); err != nil {
				t.Fatal(err)
			}
			text := w.sinks[0].text()
			if !strings.Contains(text, "Content-Description: Undelivered Message Headers\nContent-Type: text/rfc822-headers") || strings.Contains(text, "Hello") {
				t.Errorf("notice:\n%s", text)
			}
		})
	}
}

// TestWhoIsTold is the table of spec delivery §12.2.
func TestWhoIsTold(t *testing.T) {
	const double = "double-bounce@mx.example.test"
	for _, c := range []struct {
		name, classes, sender string
		notify                dsn.Notify
		want                  string // envelopes of the notices
	}{
		{"sender", "resource, software", "alice@example.com", 0, "S/Ralice@example.com"},
		{"sender wants no failures", "resource, software", "alice@example.com", dsn.NotifyNever, ""},
		{"postmaster copy", "bounce", "alice@example.com", 0, "S/Ralice@example.com S" + double + "/Rpostmaster"},
		{"postmaster copy only", "bounce", "alice@example.com", dsn.NotifyNever, "S" + double + "/Rpostmaster"},
		{"null sender", "resource", "", 0, ""},
		{"null sender, 2bounce", "2bounce", "", 0, "S" + double + "/Rpostmaster"},
		{"double bounce", "bounce, 2bounce", double, 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t, config.Setting{Name: "notify_classes", Value: c.classes})
			w.message(c.sender)
			w.append("bounce", dsn.Recipient{Address: "bob@defer.test", Notify: c.notify}, dsn.DSN{Status: "5.1.1", Action: "failed", Reason: "no"})
			n := notice1
			n.Sender = c.sender
			if err := w.call("bounce", func(c *bounceclient.Client) error { return c.Flush("bounce", n) }); err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, s := range w.sinks {
				got = append(got, strings.Join(s.envelope, "/"))
			}
			if strings.Join(got, " ") != c.want {
				t.Errorf("notices %q, want %q", got, c.want)
			}
			if exists(w.tree.Path("bounce", id)) {
				t.Error("the log was not removed")
			}
		})
	}
}

func TestDelayNotice(t *testing.T) {
	w := newWorld(t, config.Setting{Name: "delay_warning_time", Value: "4h"})
	w.append("defer", dsn.Recipient{Address: "bob@defer.test", Offset: offsetOf(t)}, dsn.DSN{Status: "4.3.0", Action: "delayed", DiagType: "x-unix", DiagText: "temporary failure", Reason: "later"})
	if err := w.call("defer", func(c *bounceclient.Client) error { return c.Warn(notice1) }); err != nil {
		t.Fatal(err)
	}
	text := w.sinks[0].text()
	for _, want := range []string{
		"Subject: Delayed Mail (still being retried)", "more than 4 hour(s)", "until it is 5 day(s) old",
		"Action: delayed\nStatus: 4.3.0\nDiagnostic-Code: x-unix; temporary failure\nWill-Retry-Until: *",
		"Content-Description: Undelivered Message Headers",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("%q is missing in:\n%s", want, text)
		}
	}
	if !exists(w.tree.Path("defer", id)) {
		t.Error("a delay notice must keep the log")
	}
}

func TestExpiredMarksRecipients(t *testing.T) {
	w := newWorld(t)
	offset := offsetOf(t)
	w.append("defer", dsn.Recipient{Address: "bob@defer.test", Offset: offset}, dsn.DSN{Status: "4.4.1", Action: "delayed", Reason: "connection refused"})
	n := notice1
	n.Flags = bounceclient.FlagDeleteLogged
	if err := w.call("defer", func(c *bounceclient.Client) error { return c.Flush("defer", n) }); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile("active/" + id)
	if err != nil || b[offset] != 'D' {
		t.Errorf("recipient record type %c, %v", b[offset], err)
	}
	if text := w.sinks[0].text(); !strings.Contains(text, "Action: failed\nStatus: 4.4.1") {
		t.Errorf("notice:\n%s", text)
	}
	if exists(w.tree.Path("defer", id)) {
		t.Error("the log was not removed")
	}
}

func TestVERP(t *testing.T) {
	w := newWorld(t)
	for _, rcpt := range []string{"joe@d.e", "ann@d.e"} {
		w.append("bounce", dsn.Recipient{Address: rcpt}, dsn.DSN{Status: "5.1.1", Action: "failed", Reason: "no"})
	}
	if err := w.call("bounce", func(c *bounceclient.Client) error { return c.FlushVERP("bounce", notice1, "+=") }); err != nil {
		t.Fatal(err)
	}
	if len(w.sinks) != 2 || w.sinks[0].envelope[1] != "Ralice+joe=d.e@example.com" || w.sinks[1].envelope[1] != "Ralice+ann=d.e@example.com" {
		t.Errorf("%d notices, %v", len(w.sinks), w.sinks)
	}
	if err := w.call("bounce", func(c *bounceclient.Client) error { return c.FlushVERP("bounce", notice1, "ab") }); !errors.Is(err, bounceclient.ErrRefused) {
		t.Errorf("bad delimiters: %v", err)
	}
}

func TestTraceReport(t *testing.T) {
	for _, c := range []struct {
		flags   int
		subject string
	}{{1024, "Mail Delivery Status Report"}, {512, "Mail Delivery Status Report"}, {0, "Successful Mail Delivery Report"}} {
		w := newWorld(t)
		w.append("trace", dsn.Recipient{Address: "bob@defer.test"}, dsn.DSN{Status: "2.0.0", Action: "delivered", Reason: "delivery via local: delivered to mailbox"})
		n := notice1
		n.Flags = c.flags
		if err := w.call("trace", func(c *bounceclient.Client) error { return c.Report(n) }); err != nil {
			t.Fatal(err)
		}
		text := w.sinks[0].text()
		if !strings.Contains(text, "Subject: "+c.subject) || !strings.Contains(text, "Action: delivered") || !strings.Contains(text, "Content-Description: Message Headers") {
			t.Errorf("flags %d:\n%s", c.flags, text)
		}
		if err := w.call("trace", func(c *bounceclient.Client) error { return c.Report(n) }); err != nil || len(w.sinks) != 1 {
			t.Errorf("without a log: %v, %d notices", err, len(w.sinks))
		}
	}
}

func TestOneRecipient(t *testing.T) {
	w := newWorld(t)
	n := notice1
	n.Sender = "owner-list@example.com"
	rcpt, d := dsn.Recipient{Address: "list@x.test", Original: "list@x.test"}, dsn.DSN{Status: "5.4.6", Reason: "mail forwarding loop for list@x.test"}
	if err := w.call("bounce", func(c *bounceclient.Client) error { return c.One(n, rcpt, d) }); err != nil {
		t.Fatal(err)
	}
	if got := w.sinks[0].envelope[1]; got != "Rowner-list@example.com" {
		t.Errorf("sent to %s", got)
	}
}

// What a log would have made harmless must be so without log too.
func TestOneRecipientIsOneLine(t *testing.T) {
	w := newWorld(t)
	rcpt := dsn.Recipient{Address: "x@y\nX-One: 1", Original: "a@b\rX-Two: 2", ORCPT: "rfc822;x\nX-Three: 3"}
	d := dsn.DSN{Status: "5.0.0\nX-Four: 4", Reason: "no\nX-Five: 5", DiagType: "smtp", DiagText: "no\n\nX-Six: 6", MTAType: "dns", MTAName: "m\nX-Seven: 7"}
	if err := w.call("bounce", func(c *bounceclient.Client) error { return c.One(notice1, rcpt, d) }); err != nil {
		t.Fatal(err)
	}
	for _, line := range w.sinks[0].lines {
		if strings.HasPrefix(line, "X-") && !strings.HasPrefix(line, "X-Postfix-") || strings.ContainsAny(line, "\r\n") {
			t.Errorf("line %q", line)
		}
	}
}

// The content of this message ends before it begins.
func TestContentGoesBack(t *testing.T) {
	w := newWorld(t)
	b, err := os.ReadFile("active/" + id)
	if err != nil {
		t.Fatal(err)
	}
	copy(b, record.AppendSizes(nil, record.Sizes{Segment: 1, Offset: 1 + int64(len(record.AppendSizes(nil, record.Sizes{}))), Recipients: 1, Content: 1}))
	if err := os.WriteFile("active/"+id, b, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := w.call("bounce", func(c *bounceclient.Client) error { return c.Flush("bounce", notice1) }); err != nil || len(w.sinks) != 1 {
		t.Errorf("%v, %d notices", err, len(w.sinks))
	}
}

// A log that cannot be read is not a log without recipients.
func TestUnreadableLog(t *testing.T) {
	w := newWorld(t)
	if err := os.Mkdir("bounce/"+id, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := w.call("bounce", func(c *bounceclient.Client) error { return c.Flush("bounce", notice1) }); !errors.Is(err, bounceclient.ErrRefused) || len(w.sinks) != 0 {
		t.Errorf("%v, %d notices", err, len(w.sinks))
	}
	if !exists("bounce/" + id) {
		t.Error("the log is gone")
	}
}

func TestBadRequests(t *testing.T) {
	w := newWorld(t)
	for name, f := range map[string]func(c *bounceclient.Client) error{
		"queue id":   func(c *bounceclient.Client) error { n := notice1; n.QueueID = "../x"; return c.Flush("bounce", n) },
		"queue name": func(c *bounceclient.Client) error { n := notice1; n.QueueName = "a/b"; return c.Flush("bounce", n) },
		"append id": func(c *bounceclient.Client) error {
			return c.Append("bounce", 0, "x/y", dsn.Recipient{}, dsn.DSN{})
		},
	} {
		if err := w.call("bounce", f); !errors.Is(err, bounceclient.ErrRefused) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestRawRequests sends requests in the form of release 3.7, with an attribute
// that nobody knows.
func TestRawRequests(t *testing.T) {
	for _, c := range []struct{ name, request, want string }{
		{"3.7 form", "nrequest\x001\x00flags\x000\x00queue_name\x00active\x00queue_id\x00" + id + "\x00encoding\x00\x00smtputf8\x000\x00sender\x00\x00envelope_id\x00\x00ret_flags\x000\x00\x00", "status\x000\x00\x00"},
		{"extra attribute", "nrequest\x001\x00flags\x000\x00queue_name\x00active\x00queue_id\x00" + id + "\x00encoding\x00\x00sendopts\x000\x00sender\x00\x00envelope_id\x00\x00ret_flags\x000\x00new\x001\x00\x00", "status\x000\x00\x00"},
		{"missing attribute", "nrequest\x001\x00flags\x000\x00\x00", "status\x004294967295\x00\x00"},
		{"unknown request", "nrequest\x0077\x00flags\x000\x00queue_name\x00active\x00queue_id\x00" + id + "\x00encoding\x00\x00sendopts\x000\x00sender\x00\x00envelope_id\x00\x00ret_flags\x000\x00\x00", "status\x004294967295\x00\x00"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			server, err := New(w.cfg, "bounce")
			if err != nil {
				t.Fatal(err)
			}
			a, b := net.Pipe()
			go func() {
				server.Serve(context.Background(), nil, &service.Conn{Conn: attr.NewConn(b, attr.Null, "bounce socket", time.Minute)})
				b.Close()
			}()
			in := bufio.NewReader(a)
			greeting := make([]byte, len("protocol\x00delivery_status_protocol\x00\x00"))
			if _, err := in.Read(greeting); err != nil {
				t.Fatal(err)
			}
			if _, err := a.Write([]byte(c.request)); err != nil {
				t.Fatal(err)
			}
			reply := make([]byte, 100)
			n, err := in.Read(reply)
			if err != nil || string(reply[:n]) != c.want {
				t.Errorf("got %q, %v, want %q", reply[:n], err, c.want)
			}
			a.Close()
		})
	}
}

func TestTemplateFile(t *testing.T) {
	t.Chdir(t.TempDir())
	const text = `# comment
failure_template = <<EOF
Charset: utf-8
Subject: Nö
EOF
delay_template = <<EOF
Subject: Später
EOF
success_template = <<END
Subject: Arrived
From: Postmaster <postmaster>

It came to $myhostname.
END
odd_template = x
`
	if err := os.WriteFile("bounce.cf", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg := config.New(".", []config.Setting{{Name: "bounce_template_file", Value: "bounce.cf"}, {Name: "myhostname", Value: "h.test"}}, config.Options{})
	ts, err := LoadTemplates(cfg)
	if err != nil {
		t.Fatal(err)
	}
	if ts.Failure.origin != builtIn || ts.Delay.origin != builtIn {
		t.Error("a template with a non-ASCII header was used")
	}
	lines, err := ts.Success.Expand(cfg)
	if err != nil || ts.Success.Subject != "Arrived" || ts.Success.From != "Postmaster <postmaster>" || lines[0] != "It came to h.test." {
		t.Errorf("%+v %q %v", ts.Success, lines, err)
	}
	for _, c := range []struct{ text, want string }{
		{"failure_template\n", `bounce.cf, line 2: missing '=' after attribute name: "failure_template"`},
		{"failure_template = <<\n", `bounce.cf, line 2: missing end marker after <<: "failure_template = <<"`},
		{"failure_template = <<-\n", `bounce.cf, line 2: malformed end marker after <<: "failure_template = <<-"`},
	} {
		if _, err := parseTemplateFile("bounce.cf", c.text); err == nil || err.Error() != c.want {
			t.Errorf("%q: %v, want %s", c.text, err, c.want)
		}
	}
	bad := &Template{Name: "failure", Text: []string{"$nosuchname"}, origin: "bounce.cf"}
	if _, err := bad.Expand(cfg); err == nil || err.Error() != "bounce.cf: undefined $name in failure template: $nosuchname" {
		t.Errorf("undefined name: %v", err)
	}
}

func FuzzTemplateFile(f *testing.F) {
	f.Add("failure_template = <<END\nSubject: x\n\ntext $myhostname ${a?b}\nEND\n")
	f.Add("a=b\n# c\n<<")
	f.Fuzz(func(t *testing.T, text string) {
		values, err := parseTemplateFile("f", text)
		if err != nil {
			return
		}
		cfg := config.New(".", nil, config.Options{})
		for _, kind := range builtInTemplates("x") {
			if value, ok := values[kind.Name+"_template"]; ok {
				if tmpl := parseTemplate("f", value, kind); tmpl != nil {
					tmpl.Expand(cfg)
				}
			}
		}
	})
}
