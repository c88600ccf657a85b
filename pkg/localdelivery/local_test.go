package localdelivery

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/bounceclient"
	"suffix/pkg/cleanupclient"
	"suffix/pkg/config"
	"suffix/pkg/deliver"
	"suffix/pkg/dsn"
	"suffix/pkg/outcome"
	"suffix/pkg/record"
	"suffix/pkg/rewriteclient"
	_ "suffix/pkg/table/simple"
)

// recorded is what one of the bounce, defer and trace services was told.
type recorded struct {
	service string
	rcpt    dsn.Recipient
	dsn     dsn.DSN
	one     string // sender of a one-recipient notice
}

// forwarded is a message that was handed to cleanup.
type forwarded struct {
	records  []string
	finished bool
	aborted  bool
}

func (f *forwarded) QueueID() string                     { return "FWD1" }
func (f *forwarded) Put(t record.Type, data string)      { f.records = append(f.records, string(t)+data) }
func (f *forwarded) PutBytes(t record.Type, data []byte) { f.Put(t, string(data)) }
func (f *forwarded) Flush() error                        { return nil }
func (f *forwarded) Abort()                              { f.aborted = !f.finished }
func (f *forwarded) Finish() (cleanupclient.Status, string, error) {
	f.finished = true
	return 0, "", nil
}

// resolver is trivial-rewrite for one local domain.
type resolver struct{}

func (resolver) Rewrite(_ rewriteclient.Rule, addr string) (string, error) {
	if addr == "" || strings.Contains(addr, "@") {
		return addr, nil
	}
	return addr + "@h.test", nil
}

func (resolver) Resolve(_, addr string, _ bool) (rewriteclient.Reply, error) {
	if addr == "panic@h.test" {
		panic("as asked")
	}
	transport := "smtp"
	if strings.HasSuffix(addr, "@h.test") {
		transport = "local"
	}
	return rewriteclient.Reply{Transport: transport, NextHop: "h.test", Recipient: addr, Flags: rewriteclient.ClassLocal}, nil
}

// world is a queue directory, a mail spool and this test's user.
type world struct {
	t        *testing.T
	dir      string
	me       string
	settings []config.Setting
	mu       sync.Mutex
	recorded []recorded
	forwards []*forwarded
}

func newWorld(t *testing.T, settings ...config.Setting) *world {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	if me.Uid == "0" {
		// Rights of a user who is not root: nobody has no home of its own.
		if me, err = user.Lookup("nobody"); err != nil {
			t.Fatal(err)
		}
	}
	dir := t.TempDir()
	t.Chdir(dir)
	w := &world{t: t, dir: dir, me: me.Username}
	for _, d := range []string{"active", "private", "spool", "work"} {
		if err := os.Mkdir(d, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	// The user must be able to reach the directory.
	for d := dir; len(d) > len(os.TempDir()); d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o777); err != nil {
			t.Fatal(err)
		}
	}
	w.settings = append([]config.Setting{
		{Name: "myhostname", Value: "h.test"}, {Name: "compatibility_level", Value: "3.11"},
		{Name: "mail_spool_directory", Value: dir + "/spool"}, {Name: "biff", Value: "no"},
		{Name: "alias_maps", Value: ""}, {Name: "forward_path", Value: ""},
		{Name: "mailbox_delivery_lock", Value: "fcntl"}, {Name: "default_privs", Value: me.Username},
		{Name: "deliver_lock_attempts", Value: "1"},
	}, settings...)
	rewriteclient.InProcess = resolver{}
	cleanupclient.InProcess = func(context.Context, string, cleanupclient.Flags) (cleanupclient.Stream, error) {
		f := &forwarded{}
		w.forwards = append(w.forwards, f)
		return f, nil
	}
	t.Cleanup(func() { rewriteclient.InProcess, cleanupclient.InProcess = nil, nil })
	for _, service := range []string{"bounce", "defer", "trace"} {
		w.listen(service)
	}
	return w
}

// listen serves a service that just remembers what it is told.
func (w *world) listen(service string) {
	l, err := net.Listen("unix", "private/"+service)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			w.record(service, attr.NewConn(c, attr.Null, service, time.Minute))
			c.Close()
		}
	}()
}

func (w *world) record(service string, c *attr.Conn) {
	c.W.Str("protocol", "delivery_status_protocol").End()
	r := recorded{service: service}
	request, _ := c.R.Int("nrequest")
	c.R.Lenient = true
	if request == 4 {
		r.one, _ = c.R.Str("sender")
	}
	r.rcpt.Original, _ = c.R.Str("original_recipient")
	r.rcpt.Address, _ = c.R.Str("recipient")
	notify, _ := c.R.Int("notify_flags")
	r.rcpt.Notify = dsn.Notify(notify)
	var err error
	if r.dsn, err = bounceclient.ReadDSN(c.R); err == nil {
		err = c.R.End()
	}
	if err != nil {
		w.t.Errorf("request to %s: %v", service, err)
	}
	w.mu.Lock()
	w.recorded = append(w.recorded, r)
	w.mu.Unlock()
	c.W.Int("status", 0).End()
}

// content of the message; offset 2 is the recipient's record.
func (w *world) queueFile(lines ...string) (f *os.File, offset int64) {
	b := record.Append(nil, record.Attr, "")
	b = record.Append(b, record.Recipient, "x")
	offset = int64(len(b))
	for _, line := range lines {
		b = record.Append(b, record.Text, line)
	}
	b = record.Append(b, record.Extracted, "")
	b = record.Append(b, record.End, "")
	if err := os.WriteFile("active/QID1", b, 0o700); err != nil {
		w.t.Fatal(err)
	}
	f, err := os.OpenFile("active/QID1", os.O_RDWR, 0)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { f.Close() })
	return f, offset
}

var message = []string{"Subject: hello", "", "From here", ".dot", "end"}

// deliver sends the message to an address through the whole agent protocol.
func (w *world) deliver(rcpt dsn.Recipient, flags int, lines ...string) deliver.Reply {
	w.t.Helper()
	cfg := config.New(".", w.settings, config.Options{Program: "local", Service: "local"})
	engine, err := New(cfg, "local")
	if err != nil {
		w.t.Fatal(err)
	}
	if err := cfg.Err(); err != nil {
		w.t.Fatal(err)
	}
	if len(lines) == 0 {
		lines = message
	}
	_, offset := w.queueFile(lines...)
	rcpt.Offset = 2
	agent := deliver.NewAgent(cfg, outcome.New(cfg, "local_delivery_status_filter", engine.Filter()), engine.Deliver)
	return converse(w.t, agent, &deliver.Request{
		Flags: flags | deliver.FlagMarkDone | deliver.FlagBounce, QueueName: "active", QueueID: "QID1", Offset: offset, Size: 100,
		NextHop: "h.test", Sender: "alice@remote.test", Times: outcome.Times{Arrival: time.Now(), Active: time.Now()},
		RewriteContext: "local", Recipients: []dsn.Recipient{rcpt},
	})
}

func (w *world) to(local string) deliver.Reply {
	w.t.Helper()
	return w.deliver(dsn.Recipient{Address: local + "@h.test", Original: local, ORCPT: "rfc822;" + local}, 0)
}

func (w *world) marked() bool {
	b, err := os.ReadFile("active/QID1")
	if err != nil {
		w.t.Fatal(err)
	}
	return b[2] == 'D'
}

// wantDone checks that the recipient is finished, and nothing was recorded.
func (w *world) wantDone(r deliver.Reply) {
	w.t.Helper()
	if r.Retry || !w.marked() || len(w.recorded) > 0 {
		w.t.Errorf("retry %v, marked %v, recorded %+v", r.Retry, w.marked(), w.recorded)
	}
}

// wantRecorded checks the one thing that was recorded.
func (w *world) wantRecorded(service, status, reason string) {
	w.t.Helper()
	if len(w.recorded) != 1 {
		w.t.Fatalf("recorded %+v, want one entry with %s %s", w.recorded, status, reason)
	}
	got := w.recorded[0]
	if got.service != service || got.dsn.Status != status || got.dsn.Reason != reason {
		w.t.Errorf("recorded %s %s %q, want %s %s %q", got.service, got.dsn.Status, got.dsn.Reason, service, status, reason)
	}
}

func (w *world) read(path string) string {
	w.t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(b)
}

// table writes a lookup table that is old enough to be taken as finished.
func (w *world) table(text string) {
	w.t.Helper()
	if err := os.WriteFile("table", []byte(text), 0o644); err != nil {
		w.t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes("table", old, old); err != nil {
		w.t.Fatal(err)
	}
}

func set(name, value string) config.Setting { return config.Setting{Name: name, Value: value} }

var dateLine = regexp.MustCompile(`\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}`)

func TestMbox(t *testing.T) {
	w := newWorld(t)
	for range 2 {
		w.wantDone(w.to(w.me))
	}
	one := "From alice@remote.test  *\nReturn-Path: <alice@remote.test>\nX-Original-To: " + w.me + "\nDelivered-To: " + w.me +
		"@h.test\nSubject: hello\n\n>From here\n.dot\nend\n\n"
	if got := dateLine.ReplaceAllString(w.read("spool/"+w.me), "*"); got != one+one {
		t.Errorf("mailbox is\n%s\nwant\n%s", got, one+one)
	}
}

func TestMailboxFailures(t *testing.T) {
	t.Run("hard link", func(t *testing.T) {
		w := newWorld(t)
		path := w.dir + "/spool/" + w.me
		os.WriteFile(path, nil, 0o666)
		os.Chmod(path, 0o666)
		os.Link(path, path+".2")
		w.to(w.me)
		w.wantRecorded("bounce", "5.2.0", fmt.Sprintf("cannot update mailbox %s for user %s. file has 2 hard links", path, w.me))
	})
	t.Run("symbolic link", func(t *testing.T) {
		w := newWorld(t)
		path := w.dir + "/spool/" + w.me
		os.WriteFile(w.dir+"/spool/target", nil, 0o666)
		os.Chmod(w.dir+"/spool/target", 0o666)
		os.Symlink(w.dir+"/spool/target", path)
		w.to(w.me)
		w.wantRecorded("bounce", "5.2.0", fmt.Sprintf("cannot update mailbox %s for user %s. file is a symbolic link", path, w.me))
	})
	t.Run("directory", func(t *testing.T) {
		w := newWorld(t)
		path := w.dir + "/spool/" + w.me
		os.Mkdir(path, 0o777)
		w.to(w.me)
		w.wantRecorded("bounce", "5.2.0", fmt.Sprintf("cannot update mailbox %s for user %s. cannot open file: Is a directory", path, w.me))
	})
	t.Run("size limit", func(t *testing.T) {
		w := newWorld(t, set("mailbox_size_limit", "80"), set("message_size_limit", "60"))
		path := w.dir + "/spool/" + w.me
		os.WriteFile(path, []byte("old"), 0o666)
		os.Chmod(path, 0o666)
		w.settings = append(w.settings, set("strict_mailbox_ownership", "no"))
		w.to(w.me)
		w.wantRecorded("bounce", "5.2.2", fmt.Sprintf("cannot update mailbox %s for user %s. error writing message: File too large", path, w.me))
		if got := w.read(path); got != "old" {
			t.Errorf("mailbox was left as %q", got)
		}
	})
	t.Run("damaged queue file", func(t *testing.T) {
		w := newWorld(t)
		w.settings = append(w.settings, set("home_mailbox", ""))
		cfg := config.New(".", w.settings, config.Options{})
		engine, err := New(cfg, "local")
		if err != nil {
			t.Fatal(err)
		}
		f, offset := w.queueFile("Subject: x")
		f.Truncate(offset + 5)
		agent := deliver.NewAgent(cfg, outcome.New(cfg, "", nil), engine.Deliver)
		reply := converse(t, agent, &deliver.Request{QueueName: "active", QueueID: "QID1", Offset: offset, NextHop: "h.test",
			Recipients: []dsn.Recipient{{Address: w.me + "@h.test", Offset: 2}}})
		info, err := os.Stat("active/QID1")
		if err != nil || !reply.Retry || info.Mode().Perm() != 0o400 || len(w.recorded) > 0 {
			t.Errorf("retry %v, mode %v, recorded %v, %v", reply.Retry, info.Mode(), w.recorded, err)
		}
		if got := w.read("spool/" + w.me); got != "" {
			t.Errorf("mailbox has %q", got)
		}
	})
}

func TestMaildir(t *testing.T) {
	w := newWorld(t, set("mail_spool_directory", "spool/"))
	w.wantDone(w.to(w.me))
	files, err := filepath.Glob("spool/" + w.me + "/new/*")
	if err != nil || len(files) != 1 {
		t.Fatalf("%v, %v", files, err)
	}
	if name := filepath.Base(files[0]); !regexp.MustCompile(`^\d+\.V[0-9a-f]+I[0-9a-f]+M\d+\.[^/]+$`).MatchString(name) {
		t.Errorf("file name %s", name)
	}
	want := "Return-Path: <alice@remote.test>\nX-Original-To: " + w.me + "\nDelivered-To: " + w.me + "@h.test\nSubject: hello\n\nFrom here\n.dot\nend\n"
	if got := w.read(files[0]); got != want {
		t.Errorf("file has\n%s\nwant\n%s", got, want)
	}
	if left, _ := filepath.Glob("spool/" + w.me + "/tmp/*"); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
}

func TestUnknownUser(t *testing.T) {
	w := newWorld(t, set("recipient_delimiter", "+"))
	if r := w.to("No.Such.User+ext"); r.Retry || !w.marked() {
		t.Errorf("reply %+v", r)
	}
	w.wantRecorded("bounce", "5.1.1", `unknown user: "no.such.user"`)
}

func TestSoftBounce(t *testing.T) {
	w := newWorld(t, set("soft_bounce", "yes"))
	if r := w.to("nosuchuser"); !r.Retry || w.marked() {
		t.Errorf("reply %+v, marked %v", r, w.marked())
	}
	w.wantRecorded("defer", "4.1.1", `unknown user: "nosuchuser"`)
}

func TestLuserRelay(t *testing.T) {
	w := newWorld(t, set("luser_relay", "$user+x@elsewhere.test"))
	w.wantDone(w.to("nosuchuser"))
	w.wantForwarded("Rnosuchuser+x@elsewhere.test")
}

// wantForwarded checks that one message was sent on, with these records.
func (w *world) wantForwarded(records ...string) {
	w.t.Helper()
	if len(w.forwards) != 1 || !w.forwards[0].finished {
		w.t.Fatalf("forwarded %d messages", len(w.forwards))
	}
	for _, r := range records {
		if !strings.Contains("\n"+strings.Join(w.forwards[0].records, "\n")+"\n", "\n"+r+"\n") {
			w.t.Errorf("record %q is missing in %q", r, w.forwards[0].records)
		}
	}
}

func aliases(text string) config.Setting { return set("alias_maps", "inline:{"+text+"}") }

func TestAliases(t *testing.T) {
	w := newWorld(t)
	w.settings = append(w.settings, aliases("{team = "+w.me+", far@remote.test, "+w.dir+"/work/file}, {owner-list = boss}, {list = nosuchuser, a@b.test}, {a = b}, {b = a}, {self = self}"))
	w.wantDone(w.to("team"))
	if !strings.Contains(w.read("spool/"+w.me), "Delivered-To: team@h.test\n") {
		t.Error("not delivered to the user's mailbox")
	}
	if !strings.Contains(w.read("work/file"), ">From here") {
		t.Error("not delivered to the file")
	}
	w.wantForwarded("Salice@remote.test", "Oteam", "Rfar@remote.test", "NDelivered-To: team@h.test", "NSubject: hello", "N.dot")
}

func TestAliasOwner(t *testing.T) {
	w := newWorld(t, aliases("{owner-list = boss}, {list = a@b.test}, {broken = /nonexistent/x}, {owner-broken = boss}"))
	w.wantDone(w.to("list"))
	w.wantForwarded("Sowner-list@h.test", "Ra@b.test")
	for _, r := range w.forwards[0].records {
		if strings.HasPrefix(r, "O") {
			t.Errorf("members of an owned list keep the original recipient: %s", r)
		}
	}
	w.forwards = nil
	w.to("broken")
	if len(w.recorded) != 1 || w.recorded[0].one != "owner-broken@h.test" {
		t.Errorf("recorded %+v, want a notice to the owner", w.recorded)
	}
}

func TestAliasLoop(t *testing.T) {
	w := newWorld(t, aliases("{a = b}, {b = a}"))
	w.to("a")
	if len(w.recorded) != 1 || w.recorded[0].dsn.Status != "5.4.6" {
		t.Fatalf("recorded %+v", w.recorded)
	}
	if reason := w.recorded[0].dsn.Reason; reason != "recipient nesting limit exceeded" && !strings.HasPrefix(reason, "alias database loop for ") {
		t.Errorf("reason %q", reason)
	}
}

func TestSelfAlias(t *testing.T) {
	w := newWorld(t, aliases("{nosuchself = nosuchself}"))
	w.to("nosuchself")
	w.wantRecorded("bounce", "5.1.1", `unknown user: "nosuchself"`)
}

func TestAliasExtension(t *testing.T) {
	w := newWorld(t, set("recipient_delimiter", "+"), set("propagate_unmatched_extensions", "alias"), aliases("{team = far@remote.test}"))
	w.wantDone(w.to("team+blue"))
	w.wantForwarded("Rfar+blue@remote.test")
}

func TestBrokenAliasTable(t *testing.T) {
	w := newWorld(t, set("alias_maps", "fail:x"))
	if r := w.to("anybody"); !r.Retry {
		t.Error("not to be tried again")
	}
	w.wantRecorded("defer", "4.3.0", "alias database unavailable")
}

func TestDeliveredToLoop(t *testing.T) {
	w := newWorld(t)
	w.deliver(dsn.Recipient{Address: w.me + "@h.test"}, 0, "Delivered-To: "+strings.ToUpper(w.me)+"@H.test", "", "x")
	w.wantRecorded("bounce", "5.4.6", "mail forwarding loop for "+w.me+"@h.test")
}

func TestDotForward(t *testing.T) {
	w := newWorld(t)
	path := w.dir + "/work/forward"
	w.settings = append(w.settings, set("forward_path", w.dir+"/work/missing, "+path))
	os.WriteFile(path, []byte("# comment\n\\"+w.me+", far@remote.test\n"), 0o644)
	w.wantDone(w.to(w.me))
	if n := strings.Count(w.read("spool/"+w.me), "Subject: hello"); n != 1 {
		t.Errorf("%d copies in the mailbox", n)
	}
	w.wantForwarded("Rfar@remote.test")

	os.Chmod(path, 0o666)
	w.forwards = nil
	w.wantDone(w.to(w.me))
	if len(w.forwards) > 0 {
		t.Error("a world-writable .forward file was used")
	}
}

// Words of a comment are no recipients, however long it is.
func TestLongComment(t *testing.T) {
	w := newWorld(t)
	path := w.dir + "/work/list"
	os.WriteFile(path, []byte("# "+strings.Repeat("word, ", 2000)+"\nfar@remote.test\n"), 0o644)
	w.settings = append(w.settings, aliases("{team = :include:"+path+"}"))
	w.wantDone(w.to("team"))
	w.wantForwarded("Rfar@remote.test")
	for _, r := range w.forwards[0].records {
		if strings.Contains(r, "word") {
			t.Errorf("record %q", r)
		}
	}
}

// A file that another one took the place of is not read.
func TestReplacedFile(t *testing.T) {
	path := t.TempDir() + "/list"
	write := func() {
		if err := os.WriteFile(path+".new", []byte("x"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write()
	before, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := sameFile(f, before); err != nil {
		t.Error(err)
	}
	write()
	g, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Close()
	if err := sameFile(g, before); err == nil {
		t.Error("the new file is taken for the old one")
	}
}

// A failure of the program in the middle of a list leaves nothing behind.
func TestPanicAborts(t *testing.T) {
	w := newWorld(t, aliases("{team = far@remote.test, panic}"))
	cfg := config.New(".", w.settings, config.Options{Program: "local", Service: "local"})
	agent, err := New(cfg, "local")
	if err != nil {
		t.Fatal(err)
	}
	d := &delivery{
		Agent: agent, ctx: context.Background(), req: &deliver.Request{QueueID: "QID1"},
		top: dsn.Recipient{Address: "team@h.test"}, seen: newFilter(100),
	}
	func() {
		defer func() {
			if recover() == nil {
				t.Error("no panic")
			}
		}()
		d.run()
	}()
	if len(w.forwards) != 1 || !w.forwards[0].aborted {
		t.Errorf("forwarded %+v", w.forwards)
	}
}

// Nothing that a queue file of another release may have breaks a record.
func TestForwardedEnvelopeIsClean(t *testing.T) {
	w := newWorld(t, aliases("{team = far@remote.test}"))
	w.wantDone(w.deliver(dsn.Recipient{Address: "team@h.test", Original: "te\nam", ORCPT: "rfc822;te\ram"}, 0))
	w.wantForwarded("Ote?am", "Adsn_orig_rcpt=rfc822;te?am")
}

func TestInclude(t *testing.T) {
	w := newWorld(t)
	path := w.dir + "/work/list"
	os.WriteFile(path, []byte("one@remote.test\ntwo@remote.test, "+w.me+"\n"), 0o644)
	w.settings = append(w.settings, aliases("{list = :include:"+path+"}, {relative = :include:x}, {loop = :include:"+w.dir+"/work/loop}"))
	w.wantDone(w.to("list"))
	// Local members of an include file are sent on as well.
	w.wantForwarded("Rone@remote.test", "Rtwo@remote.test", "R"+w.me+"@h.test")

	w.to("relative")
	w.wantRecorded("bounce", "5.3.5", "mail system configuration error")

	w.recorded, w.forwards = nil, nil
	os.WriteFile(w.dir+"/work/loop", []byte(":include:"+w.dir+"/work/loop\nx@remote.test\n"), 0o644)
	w.wantDone(w.to("loop"))
	w.wantForwarded("Rx@remote.test")
}

func TestIncludeDepth(t *testing.T) {
	w := newWorld(t)
	for i := range 120 {
		text := fmt.Sprintf(":include:%s/work/l%d\n", w.dir, i+1)
		os.WriteFile(fmt.Sprintf("%s/work/l%d", w.dir, i), []byte(text), 0o644)
	}
	w.settings = append(w.settings, aliases("{deep = :include:"+w.dir+"/work/l0}"))
	w.to("deep")
	w.wantRecorded("bounce", "5.4.6", ":include: nesting limit exceeded")
}

func TestCommand(t *testing.T) {
	for i, c := range []struct{ command, service, status, reason string }{
		{"cat > OUT; env > OUT.env", "", "", ""},
		{"exit 67", "bounce", "5.1.1", "user unknown"},
		{"echo some text; exit 65", "bounce", "5.6.0", "data format error. Command output: some text "},
		{"exit 75", "defer", "4.3.0", "temporary failure"},
		{"echo 5.7.1 not wanted; exit 1", "bounce", "5.7.1", "not wanted "},
		{"exit 3", "bounce", "5.3.0", `Command died with status 3: "exit 3"`},
		{"kill -9 $$", "defer", "4.3.0", `Command died with signal 9: "kill -9 $$"`},
	} {
		t.Run(strconv.Itoa(i), func(t *testing.T) {
			w := newWorld(t, set("command_time_limit", "60s"), set("recipient_delimiter", "+"))
			command := strings.ReplaceAll(c.command, "OUT", w.dir+"/work/out")
			w.settings = append(w.settings, set("alias_maps", "texthash:"+w.dir+"/table"))
			w.table(`run "|` + command + "\"\n")
			r := w.to("run")
			if c.service != "" {
				w.wantRecorded(c.service, c.status, c.reason)
				return
			}
			w.wantDone(r)
			got := dateLine.ReplaceAllString(w.read("work/out"), "*")
			want := "From alice@remote.test  *\nReturn-Path: <alice@remote.test>\nX-Original-To: run\nDelivered-To: run@h.test\nSubject: hello\n\nFrom here\n.dot\nend\n"
			if got != want {
				t.Errorf("command read\n%s\nwant\n%s", got, want)
			}
			for _, v := range []string{"SENDER=alice@remote.test", "RECIPIENT=run@h.test", "LOCAL=run", "USER=run", "DOMAIN=h.test", "ORIGINAL_RECIPIENT=run", "PATH=/usr/bin:/bin"} {
				if !strings.Contains("\n"+w.read("work/out.env"), "\n"+v+"\n") {
					t.Errorf("%s is missing in the environment:\n%s", v, w.read("work/out.env"))
				}
			}
		})
	}
}

func TestCommandTimeLimit(t *testing.T) {
	w := newWorld(t, set("command_time_limit", "1s"))
	w.table("run \"|echo started; sleep 600\"\n")
	w.settings = append(w.settings, set("alias_maps", "texthash:"+w.dir+"/table"))
	w.to("run")
	w.wantRecorded("bounce", "5.3.0", `Command time limit exceeded: "echo started; sleep 600". Command output: started `)
}

// A command that says more than anybody reads is not held up by that, neither
// before it has read the message nor after.
func TestTalkativeCommand(t *testing.T) {
	for _, command := range []string{"yes | head -c 300000; cat > OUT", "cat > OUT; yes | head -c 300000; true"} {
		w := newWorld(t, set("command_time_limit", "20s"))
		w.table(`run "|` + strings.ReplaceAll(command, "OUT", w.dir+"/work/out") + "\"\n")
		w.settings = append(w.settings, set("alias_maps", "texthash:"+w.dir+"/table"))
		w.wantDone(w.to("run"))
		if !strings.HasSuffix(w.read("work/out"), "\nend\n") {
			t.Errorf("%s: command read %q", command, w.read("work/out"))
		}
	}
}

func TestRestrictions(t *testing.T) {
	w := newWorld(t, set("allow_mail_to_commands", ""), set("allow_mail_to_files", "forward"))
	w.table("run \"|true\"\nfile /tmp/x\n")
	w.settings = append(w.settings, set("alias_maps", "texthash:"+w.dir+"/table"))
	w.to("run")
	w.wantRecorded("bounce", "5.7.1", "mail to command is restricted")
	w.recorded = nil
	w.to("file")
	w.wantRecorded("bounce", "5.7.1", "mail to file is restricted")
}

func TestProbe(t *testing.T) {
	w := newWorld(t, aliases("{team = a@b.test, c@d.test}"))
	w.deliver(dsn.Recipient{Address: "team@h.test"}, outcome.FlagUserProbe)
	if len(w.forwards) > 0 {
		t.Error("a probe was forwarded")
	}
	if len(w.recorded) == 0 || w.recorded[0].service != "trace" || w.recorded[0].dsn.Action != "deliverable" ||
		w.recorded[0].dsn.Reason != "delivery via local: forwards to a@b.test" {
		t.Errorf("recorded %+v", w.recorded)
	}
}

func TestNotifySuccessOnAlias(t *testing.T) {
	w := newWorld(t, aliases("{team = a@b.test}"))
	w.deliver(dsn.Recipient{Address: "team@h.test", Notify: dsn.NotifySuccess | dsn.NotifyFailure}, 0)
	if len(w.recorded) != 1 || w.recorded[0].dsn.Action != "expanded" || w.recorded[0].dsn.Reason != "delivery via local: alias expanded" {
		t.Errorf("recorded %+v", w.recorded)
	}
	w.wantForwarded("Anotify_flags=4")
}

func TestConfigurationErrors(t *testing.T) {
	for _, c := range []struct {
		setting config.Setting
		want    string
	}{
		{set("allow_mail_to_commands", "alias, moon"), `unknown allow_mail_to_commands value "moon" in "alias, moon"`},
		{set("mailbox_delivery_lock", "fcntl, nfs"), `unknown mailbox_delivery_lock value "nfs" in "fcntl, nfs"`},
		{set("mailbox_size_limit", "1000"), "configuration error: mailbox_size_limit is smaller than message_size_limit"},
		{set("message_size_limit", "0"), "configuration error: mailbox_size_limit is limited but message_size_limit is unlimited"},
	} {
		w := newWorld(t, c.setting)
		if _, err := New(config.New(".", w.settings, config.Options{}), "local"); err == nil || err.Error() != c.want {
			t.Errorf("%s = %s: %v, want %s", c.setting.Name, c.setting.Value, err, c.want)
		}
	}
}

// converse runs the agent side of one connection and the queue manager's.
func converse(t *testing.T, agent *deliver.Agent, r *deliver.Request) deliver.Reply {
	t.Helper()
	reply, err := exchange(agent, r)
	if err != nil {
		t.Fatal(err)
	}
	return reply
}
