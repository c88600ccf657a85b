package virtual

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/bounceclient"
	"suffix/pkg/config"
	"suffix/pkg/deliver"
	"suffix/pkg/dsn"
	"suffix/pkg/outcome"
	"suffix/pkg/record"
	"suffix/pkg/service"

	"context"
	"net"
)

// world is a queue directory with a message, and a place for mailboxes.
type world struct {
	t        *testing.T
	dir      string
	uid, gid int
	recorded chan dsn.DSN
}

func newWorld(t *testing.T) *world {
	dir := t.TempDir()
	t.Chdir(dir)
	w := &world{t: t, dir: dir, uid: os.Getuid(), gid: os.Getgid(), recorded: make(chan dsn.DSN, 10)}
	if w.uid == 0 {
		w.uid, w.gid = 12345, 12346
	}
	for _, d := range []string{"active", "private", "mail"} {
		if err := os.Mkdir(d, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"bounce", "defer"} {
		w.listen(name)
	}
	return w
}

// listen serves a bounce or defer service that remembers what it is told.
func (w *world) listen(name string) {
	l, err := net.Listen("unix", "private/"+name)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			c := attr.NewConn(conn, attr.Null, name, time.Minute)
			c.W.Str("protocol", "delivery_status_protocol").End()
			c.R.Lenient = true
			c.R.Int("notify_flags")
			d, err := bounceclient.ReadDSN(c.R)
			if err == nil {
				err = c.R.End()
			}
			if err != nil {
				w.t.Errorf("request to %s: %v", name, err)
			}
			w.recorded <- d
			c.W.Int("status", 0).End()
			c.Close()
		}
	}()
}

func (w *world) settings(more ...config.Setting) []config.Setting {
	return append([]config.Setting{
		{Name: "myhostname", Value: "h.test"}, {Name: "virtual_mailbox_base", Value: w.dir + "/mail"},
		{Name: "virtual_mailbox_lock", Value: "fcntl"}, {Name: "deliver_lock_attempts", Value: "1"},
		{Name: "virtual_minimum_uid", Value: "1"},
		{Name: "virtual_uid_maps", Value: "static:" + strconv.Itoa(w.uid)},
		{Name: "virtual_gid_maps", Value: "static:" + strconv.Itoa(w.gid)},
		{Name: "virtual_mailbox_maps", Value: "inline:{{joe@v.test = joe}, {ann@v.test = sub/ann/}, {up@v.test = ../../x}, {@any.test = any}}"},
	}, more...)
}

// deliver sends the message to an address.
func (w *world) deliver(addr string, more ...config.Setting) deliver.Reply {
	w.t.Helper()
	cfg := config.New(".", w.settings(more...), config.Options{Program: "virtual", Service: "virtual"})
	e, err := newEngine(cfg, "virtual")
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cfg.Err(); err != nil {
		w.t.Fatal(err)
	}
	b := record.Append([]byte("xx"), record.Recipient, "x")
	offset := int64(len(b))
	for _, line := range []string{"Subject: hello", "", "From here"} {
		b = record.Append(b, record.Text, line)
	}
	b = record.Append(record.Append(b, record.Extracted, ""), record.End, "")
	if err := os.WriteFile("active/QID1", b, 0o700); err != nil {
		w.t.Fatal(err)
	}
	r := &deliver.Request{Flags: deliver.FlagMarkDone, QueueName: "active", QueueID: "QID1", Offset: offset, NextHop: "v.test",
		Sender: "alice@remote.test", Recipients: []dsn.Recipient{{Address: addr, Original: addr, Offset: 2}}}

	agent := deliver.NewAgent(cfg, outcome.New(cfg, "", nil), e.deliver)
	near, far := net.Pipe()
	defer near.Close()
	go func() {
		agent.Serve(context.Background(), nil, &service.Conn{Conn: attr.NewConn(far, attr.Null, "virtual socket", time.Minute)})
		far.Close()
	}()
	c := attr.NewConn(near, attr.Null, "private/virtual socket", time.Minute)
	if err := c.R.Protocol(deliver.Protocol); err != nil {
		w.t.Fatal(err)
	}
	c.R.End()
	r.Put(c.W, false)
	if err := c.W.Flush(); err != nil {
		w.t.Fatal(err)
	}
	reply, err := deliver.ReadReply(c.R)
	if err != nil {
		w.t.Fatal(err)
	}
	return reply
}

func (w *world) wantRecorded(status, reason string) {
	w.t.Helper()
	select {
	case d := <-w.recorded:
		if d.Status != status || d.Reason != reason {
			w.t.Errorf("recorded %s %q, want %s %q", d.Status, d.Reason, status, reason)
		}
	default:
		w.t.Errorf("nothing was recorded, want %s %q", status, reason)
	}
}

func TestMailboxes(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct{ addr, glob, start string }{
		{"joe@v.test", "mail/joe", "From alice@remote.test  "},
		{"JOE+ext@V.test", "mail/joe", "From alice@remote.test  "},
		{"ann@v.test", "mail/sub/ann/new/*", "Return-Path: <alice@remote.test>\nX-Original-To: ann@v.test\nDelivered-To: ann@v.test\nSubject: hello\n\nFrom here\n"},
		{"whoever@any.test", "mail/any", "From alice@remote.test  "},
	} {
		if r := w.deliver(c.addr, config.Setting{Name: "recipient_delimiter", Value: "+"}); r.Retry {
			t.Fatalf("%s: %+v", c.addr, <-w.recorded)
		}
		files, err := filepath.Glob(c.glob)
		if err != nil || len(files) != 1 {
			t.Fatalf("%s: %v, %v", c.glob, files, err)
		}
		b, err := os.ReadFile(files[0])
		if err != nil || !strings.HasPrefix(string(b), c.start) {
			t.Errorf("%s has %q, %v", files[0], b, err)
		}
		os.Remove(files[0])
	}
}

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		name, addr     string
		setting        config.Setting
		status, reason string
	}{
		{"unknown", "nobody@v.test", config.Setting{}, "5.1.1", `unknown user: "nobody@v.test"`},
		{"outside", "up@v.test", config.Setting{}, "4.3.5", "mail system configuration error"},
		{"table error", "joe@v.test", config.Setting{Name: "virtual_mailbox_maps", Value: "fail:x"}, "4.3.5", "mail system configuration error"},
		{"no uid", "joe@v.test", config.Setting{Name: "virtual_uid_maps", Value: "inline:{a=b}"}, "4.3.5", "mail system configuration error"},
		{"uid with letters", "joe@v.test", config.Setting{Name: "virtual_uid_maps", Value: "static:1000x"}, "4.3.5", "mail system configuration error"},
		{"uid too large", "joe@v.test", config.Setting{Name: "virtual_uid_maps", Value: "static:4294967296"}, "4.3.5", "mail system configuration error"},
		{"uid -1", "joe@v.test", config.Setting{Name: "virtual_uid_maps", Value: "static:4294967295"}, "4.3.5", "mail system configuration error"},
		{"uid too small", "joe@v.test", config.Setting{Name: "virtual_minimum_uid", Value: "2000000000"}, "4.3.5", "mail system configuration error"},
		{"gid 0", "joe@v.test", config.Setting{Name: "virtual_gid_maps", Value: "static:0"}, "4.3.5", "mail system configuration error"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			reply := w.deliver(c.addr, c.setting)
			if reply.Retry != (c.status[0] == '4') {
				t.Errorf("retry %v", reply.Retry)
			}
			w.wantRecorded(c.status, c.reason)
		})
	}
	t.Run("directory", func(t *testing.T) {
		w := newWorld(t)
		if err := os.Mkdir("mail/joe", 0o777); err != nil {
			t.Fatal(err)
		}
		w.deliver("joe@v.test")
		w.wantRecorded("4.2.0", "delivery failed to mailbox "+w.dir+"/mail/joe: cannot open file: Is a directory")
	})
}

func TestConfiguration(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		setting config.Setting
		want    string
	}{
		{config.Setting{Name: "virtual_mailbox_base", Value: "mail"}, "do not specify relative pathname: virtual_mailbox_base = mail"},
		{config.Setting{Name: "virtual_mailbox_lock", Value: "x"}, `unknown virtual_mailbox_lock value "x" in "x"`},
		{config.Setting{Name: "virtual_mailbox_limit", Value: "100"}, "configuration error: virtual_mailbox_limit is smaller than message_size_limit"},
	} {
		if _, err := newEngine(config.New(".", w.settings(c.setting), config.Options{}), "virtual"); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v, want %s", c.setting.Name, err, c.want)
		}
	}
}
