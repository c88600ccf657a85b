package pickup

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"suffix/pkg/cleanupclient"
	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/record"
)

func TestMain(m *testing.M) {
	maillog.Init("pickup", maillog.StderrOnly("pickup"))
	os.Exit(m.Run())
}

// stream takes the place of cleanup.
type stream struct {
	text    strings.Builder
	status  cleanupclient.Status
	reason  string
	aborted bool
	ended   bool
}

func (s *stream) QueueID() string { return "NEWID" }
func (s *stream) Put(t record.Type, data string) {
	if i := strings.Index(data, "; "); i >= 0 && strings.HasPrefix(data, "\tid") {
		data = data[:i] + "; DATE"
	}
	fmt.Fprintf(&s.text, "%c %s|", t, data)
}
func (s *stream) PutBytes(t record.Type, data []byte) { s.Put(t, string(data)) }
func (s *stream) Flush() error                        { return nil }
func (s *stream) Abort()                              { s.aborted = true }
func (s *stream) Finish() (cleanupclient.Status, string, error) {
	s.ended = true
	return s.status, s.reason, nil
}

// pass scans a maildrop queue with one message.
func pass(t *testing.T, s *stream, mode os.FileMode, content []byte, settings ...config.Setting) (flags cleanupclient.Flags, kept bool) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.Mkdir("maildrop", 0700); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join("maildrop", "ABC")
	if err := os.WriteFile(path, content, 0600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.New(t.TempDir(), append([]config.Setting{{Name: "myhostname", Value: "mx.test"}, {Name: "mail_owner", Value: me.Username},
		{Name: "compatibility_level", Value: "3.6"}}, settings...), config.Options{Program: "pickup"})
	scanner, err := newScanner(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	cleanupclient.InProcess = func(_ context.Context, _ string, f cleanupclient.Flags) (cleanupclient.Stream, error) {
		flags = f
		return s, nil
	}
	defer func() { cleanupclient.InProcess = nil }()
	scanner.scan(context.Background())
	_, err = os.Lstat(path)
	return flags, err == nil
}

func file(items ...string) []byte {
	var b []byte
	for _, item := range items {
		b = record.Append(b, record.Type(item[0]), strings.TrimPrefix(item[1:], " "))
	}
	return b
}

func TestPickup(t *testing.T) {
	received := fmt.Sprintf("N Received: by mx.test (Postfix, from userid %d)|N \tid NEWID; DATE|", os.Getuid())
	for _, c := range []struct {
		name    string
		content []byte
		want    string
		ended   bool
	}{
		{"plain", file("T 1 2", "A rewrite_context=local", "S s", "R r", "M", "N Subject: x", "X", "E"),
			"T 1 2|A rewrite_context=local|S s|R r|M |" + received + "N Subject: x|X |E |", true},
		{"blank first", file("T 1 2", "S s", "R r", "M", "N \tx", "X", "E"), "T 1 2|S s|R r|M |" + received + "N |N \tx|X |E |", true},
		{"dropped", file("L a:b", "> c@d", "T 1 2", "S s", "R r", "M", "X", "L x:y", "> q", "r x", "e x", "A foo=bar", "A notify_flags=1", "R z", "E"),
			"T 1 2|S s|R r|M |" + received + "X |A notify_flags=1|R z|E |", true},
		{"no sender", file("T 1 2", "R r", "M", "X", "E"), "T 1 2|R r|", false},
		{"bad envelope", file("T 1 2", "N x"), "T 1 2|", false},
		{"type 0", file("\x00x"), "", false},
		{"ends early", file("T 1 2", "S s"), "T 1 2|S s|", false},
		{"damaged", []byte("T\x81\x80\x80\x80\x08"), "", false},
		{"empty", nil, "", false},
	} {
		s := &stream{}
		flags, kept := pass(t, s, 0744, c.content)
		if s.text.String() != c.want || s.ended != c.ended || kept || !s.aborted {
			t.Errorf("%s: ended %v kept %v aborted %v\ngot  %s\nwant %s", c.name, s.ended, kept, s.aborted, s.text.String(), c.want)
		}
		if flags != 0x273 {
			t.Errorf("%s: flags %#x", c.name, flags)
		}
	}
}

func TestVerdicts(t *testing.T) {
	message := file("T 1 2", "S s", "R r", "M", "X", "E")
	for _, c := range []struct {
		status cleanupclient.Status
		kept   bool
	}{
		{0, false}, {cleanupclient.Bad, false}, {cleanupclient.Rcpt, false}, {cleanupclient.Write, true}, {cleanupclient.Defer, true}, {cleanupclient.Size, true},
	} {
		if _, kept := pass(t, &stream{status: c.status}, 0744, message); kept != c.kept {
			t.Errorf("status %d: kept %v", c.status, kept)
		}
	}
	if s := (&stream{}); true {
		if _, kept := pass(t, s, 0644, message); !kept || s.ended {
			t.Error("an incomplete file was taken")
		}
	}
}

func TestFlags(t *testing.T) {
	message := file("T 1 2", "S s", "R r", "M", "X", "E")
	if flags, _ := pass(t, &stream{}, 0700, message); flags != 0x33 {
		t.Errorf("queued again: flags %#x", flags)
	}
	flags, _ := pass(t, &stream{}, 0744, message, config.Setting{Name: "receive_override_options", Value: "no_address_mappings,no_header_body_checks,no_milters"},
		config.Setting{Name: "smtputf8_autodetect_classes", Value: "verify"})
	if flags != cleanupclient.Bounce {
		t.Errorf("overrides: flags %#x", flags)
	}
	s := &stream{}
	pass(t, s, 0744, message, config.Setting{Name: "content_filter", Value: "smtp:x"})
	if !strings.HasPrefix(s.text.String(), "L smtp:x|T 1 2|") {
		t.Errorf("content filter: %s", s.text.String())
	}
	cfg := config.New(t.TempDir(), []config.Setting{{Name: "mail_owner", Value: "root"}, {Name: "receive_override_options", Value: "foo"}}, config.Options{})
	if _, err := newScanner(cfg, nil); err == nil || !strings.Contains(err.Error(), "receive_override_options") {
		t.Errorf("got %v", err)
	}
}

func TestTimes(t *testing.T) {
	now := time.Now()
	for _, c := range []struct {
		mtime time.Time
		reset bool
	}{{now.Add(time.Hour), false}, {now.Add(3 * time.Hour), true}, {now.Add(-48 * time.Hour), false}} {
		m := &mail{s: &scanner{}, path: "maildrop/ABC", id: "NEWID", mtime: c.mtime}
		m.checkTime(now)
		if m.mtime.Equal(now) != c.reset {
			t.Errorf("%v became %v", c.mtime, m.mtime)
		}
	}
}

// panicking is a cleanup that fails over a certain text.
type panicking struct{ *stream }

func (p panicking) PutBytes(t record.Type, data []byte) {
	if string(data) == "poison" {
		panic("as asked")
	}
	p.stream.PutBytes(t, data)
}

func TestOtherMessagesAfterPanic(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("maildrop", 0700); err != nil {
		t.Fatal(err)
	}
	for i, text := range []string{"good", "poison", "good"} {
		path := filepath.Join("maildrop", fmt.Sprintf("ABC%d", i))
		if err := os.WriteFile(path, file("T 1 2", "S s", "R r", "M", "N "+text, "X", "E"), 0700); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, 0744); err != nil {
			t.Fatal(err)
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	scanner, err := newScanner(config.New(t.TempDir(), []config.Setting{{Name: "mail_owner", Value: me.Username}}, config.Options{Program: "pickup"}), nil)
	if err != nil {
		t.Fatal(err)
	}
	var streams []*stream
	cleanupclient.InProcess = func(context.Context, string, cleanupclient.Flags) (cleanupclient.Stream, error) {
		s := &stream{}
		streams = append(streams, s)
		return panicking{s}, nil
	}
	defer func() { cleanupclient.InProcess = nil }()
	scanner.scan(context.Background())
	left, err := os.ReadDir("maildrop")
	if err != nil || len(left) != 1 || left[0].Name() != "ABC1" {
		t.Errorf("left %v %v", left, err)
	}
	for _, s := range streams {
		if !s.aborted {
			t.Error("a message is left half-way")
		}
	}
}
