package cleanupclient

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/config"
	"suffix/pkg/record"
)

// serve answers one client as cleanup does and returns what it sent.
func serve(t *testing.T, reply string) <-chan string {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.Mkdir("public", 0700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", "public/cleanup")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	got := make(chan string, 1)
	go func() {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		defer conn.Close()
		c := attr.NewConn(conn, attr.Null, "cleanup socket", time.Minute)
		_ = c.W.Str("protocol", "cleanup_protocol").Str("queue_id", "ABC").End()
		flags, _ := c.R.Str("flags")
		if c.R.End() != nil {
			got <- "no flags"
			return
		}
		r := record.NewReader(c.R.Buffered(), "client", 0)
		var b strings.Builder
		b.WriteString("flags=" + flags)
		for {
			typ, data, err := r.Next()
			if err != nil {
				b.WriteString(" EOF")
				break
			}
			b.WriteString(" " + string(rune(typ)) + ":" + string(data))
			if typ == record.End {
				_, _ = io.WriteString(conn, reply)
				break
			}
		}
		got <- b.String()
	}()
	return got
}

func TestStream(t *testing.T) {
	got := serve(t, "status\x008\x00reason\x005.7.1 no\x00\x00")
	s, err := Open(context.Background(), "cleanup", Map|Filter)
	if err != nil {
		t.Fatal(err)
	}
	if s.QueueID() != "ABC" {
		t.Errorf("queue ID %q", s.QueueID())
	}
	s.Put(record.Sender, "a")
	if err := s.Flush(); err != nil {
		t.Fatal(err)
	}
	s.PutBytes(record.Recipient, []byte("b"))
	PutAttr(s, "x", "y")
	s.Put(record.End, "")
	status, reason, err := s.Finish()
	if status != Cont || reason != "5.7.1 no" || err != nil {
		t.Errorf("got %d %q %v", status, reason, err)
	}
	if text := <-got; text != "flags=34 S:a R:b A:x=y E:" {
		t.Errorf("server got %q", text)
	}
}

func TestLostServer(t *testing.T) {
	serve(t, "status\x000\x00")
	s, err := Open(context.Background(), "cleanup", 0)
	if err != nil {
		t.Fatal(err)
	}
	s.Put(record.End, "")
	if status, _, err := s.Finish(); status != Write || err == nil {
		t.Errorf("got %d %v", status, err)
	}
}

func TestAbort(t *testing.T) {
	got := serve(t, "")
	s, err := Open(context.Background(), "cleanup", 1)
	if err != nil {
		t.Fatal(err)
	}
	s.Put(record.Sender, "a")
	_ = s.Flush()
	s.Abort()
	s.Abort()
	if text := <-got; text != "flags=1 S:a EOF" {
		t.Errorf("server got %q", text)
	}
	if status, _, err := s.Finish(); status == 0 || err == nil {
		t.Error("success after Abort")
	}
}

type fakeStream struct {
	Stream
	records []string
}

func (f *fakeStream) QueueID() string { return "XYZ" }
func (f *fakeStream) Put(t record.Type, data string) {
	f.records = append(f.records, string(rune(t))+" "+data)
}
func (f *fakeStream) PutBytes(t record.Type, d []byte) { f.Put(t, string(d)) }
func (f *fakeStream) Finish() (Status, string, error)  { return 0, "", nil }

func TestPostMailInProcess(t *testing.T) {
	fake := &fakeStream{}
	var flags Flags
	InProcess = func(_ context.Context, service string, f Flags) (Stream, error) {
		if service != "cleanup" {
			return nil, ErrElsewhere
		}
		flags = f
		return fake, nil
	}
	defer func() { InProcess = nil }()
	cfg := config.New(t.TempDir(), []config.Setting{{Name: "myhostname", Value: "mx.test"}, {Name: "internal_mail_filter_classes", Value: "bounce"},
		{Name: "smtputf8_autodetect_classes", Value: "verify"}, {Name: "compatibility_level", Value: "3.6"}}, config.Options{})
	s, err := PostMail(context.Background(), cfg, Mail{Recipient: "r@b", Class: ClassBounce, TraceFlags: 0, Extra: SMTPUTF8})
	if err != nil {
		t.Fatal(err)
	}
	if status, _, err := EndMail(s); status != 0 || err != nil {
		t.Error(status, err)
	}
	if flags != Map|Filter|Milter|SMTPUTF8 {
		t.Errorf("flags %d", flags)
	}
	text := strings.Join(fake.records[1:], "|")
	date := fake.records[8][len("N Date: "):]
	want := "A log_message_origin=local|A trace_flags=0|S |R r@b|M |N Received: by mx.test (Postfix)|N \tid XYZ; " + date + "|N Date: " + date + "|X |E "
	if text != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
	if InternalFlags(cfg, ClassVerify) != Map|AutoUTF8 {
		t.Errorf("verify: flags %d", InternalFlags(cfg, ClassVerify))
	}
	if _, err := os.Stat("public/other"); err == nil {
		t.Fatal("unexpected socket")
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := Open(ctx, "other", 0); err == nil || errors.Is(err, ErrElsewhere) {
		t.Errorf("other service: %v", err)
	}
}

func TestDetail(t *testing.T) {
	for status, want := range map[Status]string{0: "Success", Cont | Defer: "service unavailable", Size | Write: "message file too big", 1 << 20: "internal protocol error"} {
		if got := status.Detail().Text; got != want {
			t.Errorf("%d: %q", status, got)
		}
	}
	if d := (Hops | Cont).Detail(); d.Code != 554 || d.DSN != "5.4.0" {
		t.Errorf("got %+v", d)
	}
}

func TestDate(t *testing.T) {
	at := time.Date(2026, 11, 2, 14, 42, 43, 0, time.UTC)
	if got := Date(at, false); got != "Mon, 02 Nov 2026 14:42:43 +0000 (UTC)" {
		t.Error(got)
	}
	if got := Date(at, true); got != "Mon,  2 Nov 2026 14:42:43 +0000 (UTC)" {
		t.Error(got)
	}
}
