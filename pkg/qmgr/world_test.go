package qmgr

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"suffix/pkg/address"
	"suffix/pkg/attr"
	"suffix/pkg/config"
	"suffix/pkg/deliver"
	"suffix/pkg/maillog"
	"suffix/pkg/queue"
	"suffix/pkg/record"
	"suffix/pkg/rewriteclient"
	"suffix/test/realdaemon"
)

// A world is a queue directory with delivery agents and report services made
// of goroutines, and a Manager.
type world struct {
	t        *testing.T
	log      *realdaemon.Log
	tree     *queue.Tree
	m        *Manager
	flow     *fakeFlow
	triggers chan []byte
	stop     func() error

	mu       sync.Mutex
	requests []*deliver.Request // that agents got, in order
	services []string           // of requests
	reports  []string           // requests to bounce, defer, trace: "service number sender flags"
	refuse   map[string]bool    // services that answer with failure
}

// newWorld makes a queue directory below the working directory.
func newWorld(t *testing.T, settings ...string) *world {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, dir := range []string{"public", "private", "incoming", "active", "deferred", "corrupt", "bounce", "defer", "trace"} {
		if err := os.Mkdir(dir, 0o700); err != nil {
			t.Fatal(err)
		}
	}
	w := &world{t: t, log: realdaemon.Collect(t, "."), flow: &fakeFlow{}, triggers: make(chan []byte), refuse: make(map[string]bool)}
	t.Setenv("POSTLOG_SERVICE", "")
	t.Setenv("POSTLOG_HOSTNAME", "")
	maillog.Init("qmgr")
	if err := maillog.Configure(maillog.Settings{Program: "qmgr", SyslogName: "postfix", Facility: "mail", File: "/var/log/x",
		Prefixes: []string{"/var"}, Socket: "public/postlog", Hostname: "mx.test"}); err != nil {
		t.Fatal(err)
	}
	list := []config.Setting{{Name: "myhostname", Value: "mx.test"}, {Name: "hash_queue_names", Value: "nothing"},
		{Name: "inet_interfaces", Value: "127.0.0.1"}, {Name: "compatibility_level", Value: "3.6"}, {Name: "fast_flush_domains", Value: ""}}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		list = append(list, config.Setting{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	cfg := config.New(".", list, config.Options{Program: "qmgr", Warn: func(text string) { t.Log(text) }})
	w.tree = queue.New(cfg, maillog.Warnf)
	var err error
	if w.m, err = New(Options{Config: cfg, Resolver: fakeResolver{}, Flow: w.flow}); err != nil {
		t.Fatal(err)
	}
	for _, service := range []string{"bounce", "defer", "trace"} {
		w.listen(service, func(c *attr.Conn) { w.report(service, c) })
	}
	return w
}

// fakeResolver sends mail for user@NAME.x to the transport NAME; the domains
// "fail" and "error" have the answer of that name.
type fakeResolver struct{}

func (fakeResolver) Rewrite(_ context.Context, _ rewriteclient.Rule, addr string) (string, error) {
	return addr, nil
}

func (r fakeResolver) Resolve(_ context.Context, _, addr string) (rewriteclient.Reply, error) {
	_, domain, _ := address.Split(addr)
	name, rest, _ := strings.Cut(domain, ".")
	reply := rewriteclient.Reply{Transport: name, NextHop: rest, Recipient: addr, Flags: rewriteclient.ClassDefault}
	switch name {
	case "fail":
		reply.Flags |= rewriteclient.Fail
	case "error":
		reply.Flags |= rewriteclient.Error
	case "broken":
		return reply, errors.New("no answer")
	case "local":
		reply.Flags = rewriteclient.ClassLocal
	}
	return reply, nil
}

func (r fakeResolver) VerifyResolve(ctx context.Context, sender, addr string) (rewriteclient.Reply, error) {
	reply, err := r.Resolve(ctx, sender, addr)
	reply.Transport = "verify"
	return reply, err
}

type fakeFlow struct {
	mu     sync.Mutex
	tokens int
}

func (f *fakeFlow) FlowPending() int { f.mu.Lock(); defer f.mu.Unlock(); return f.tokens }
func (f *fakeFlow) FlowPut(n int)    { f.mu.Lock(); defer f.mu.Unlock(); f.tokens += n }
func (f *fakeFlow) FlowTake(n int)   { f.mu.Lock(); defer f.mu.Unlock(); f.tokens -= n }

// listen serves connections to private/NAME.
func (w *world) listen(name string, serve func(*attr.Conn)) {
	w.t.Helper()
	l, err := net.Listen("unix", filepath.Join("private", name))
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
			go func() {
				defer c.Close()
				serve(attr.NewConn(c, attr.Null, name+" socket", 10*time.Second))
			}()
		}
	}()
}

// report is the bounce, defer or trace service.
func (w *world) report(service string, c *attr.Conn) {
	if c.W.Str("protocol", "delivery_status_protocol").End() != nil {
		return
	}
	c.R.Lenient = true
	number, _ := c.R.Int("nrequest")
	flags, _ := c.R.Int("flags")
	text := fmt.Sprintf("%s %d %d", service, number, flags)
	if number == 0 {
		rcpt, _ := c.R.Str("recipient")
		status, _ := c.R.Str("status")
		reason, _ := c.R.Str("reason")
		text += " " + rcpt + " " + status + " " + reason
	}
	if c.R.End() != nil {
		return
	}
	w.mu.Lock()
	w.reports = append(w.reports, text)
	status := 0
	if w.refuse[service] {
		status = -1
	}
	w.mu.Unlock()
	_ = c.W.Int("status", status).End()
}

// agent serves deliveries: handle decides about each. A nil reply closes the
// connection without an answer. Without Retry and Hop, the recipients are
// marked as done.
func (w *world) agent(name string, handle func(*deliver.Request) *deliver.Reply) {
	w.listen(name, func(c *attr.Conn) {
		if c.W.Str("protocol", deliver.Protocol).End() != nil {
			return
		}
		if _, err := c.R.Buffered().Peek(1); err != nil {
			return
		}
		r, err := deliver.ReadRequest(c.R)
		if err != nil {
			w.t.Error(err)
			return
		}
		w.mu.Lock()
		w.requests = append(w.requests, r)
		w.services = append(w.services, name)
		w.mu.Unlock()
		reply := handle(r)
		if reply == nil {
			return
		}
		if !reply.Retry && reply.Hop.Status == "" {
			w.markDone(r)
		}
		reply.Put(c.W)
		if c.W.Flush() == nil {
			c.AwaitClose()
		}
	})
}

func (w *world) markDone(r *deliver.Request) {
	f, err := w.tree.Open(queue.Active, r.QueueID, os.O_RDWR, 0)
	if err != nil {
		w.t.Error(err)
		return
	}
	defer f.Close()
	for _, rcpt := range r.Recipients {
		if err := record.MarkDone(f, rcpt.Offset); err != nil {
			w.t.Error(err)
		}
	}
}

// sent answers that all recipients are done with.
func sent(*deliver.Request) *deliver.Reply { return &deliver.Reply{} }

// later answers that they must be tried again.
func later(*deliver.Request) *deliver.Reply { return &deliver.Reply{Retry: true} }

// start runs the Manager until the test ends.
func (w *world) start() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.m.Run(ctx, w.triggers) }()
	var once sync.Once
	var result error
	w.stop = func() error {
		once.Do(func() {
			cancel()
			result = <-done
		})
		return result
	}
	w.t.Cleanup(func() {
		if err := w.stop(); err != nil {
			w.t.Errorf("Run: %v", err)
		}
	})
}

// wait waits until the condition holds.
func (w *world) wait(what string, condition func() bool) {
	w.t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !condition(); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			w.t.Fatalf("timeout waiting for: %s\nlog:\n%s\nreports: %q", what, strings.Join(w.log.Lines(), "\n"), w.allReports())
		}
	}
}

func (w *world) allReports() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]string(nil), w.reports...)
}

func (w *world) allRequests() []*deliver.Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]*deliver.Request(nil), w.requests...)
}

// logged says whether a line with this text was logged.
func (w *world) logged(text string) bool {
	for _, line := range w.log.Lines() {
		if strings.Contains(line, text) {
			return true
		}
	}
	return false
}

func (w *world) waitLog(text string) {
	w.t.Helper()
	w.wait("log: "+text, func() bool { return w.logged(text) })
}

func (w *world) exists(queueName, id string) bool {
	_, err := os.Stat(w.tree.Path(queueName, id))
	return err == nil
}

// file builds a queue file.
type file struct {
	before    []byte // records in front of the recipients
	sender    string
	created   time.Time
	rcpts     []string
	rcptAttrs func(i int) []byte // records before a recipient
	extracted []byte
	options   int
	mode      os.FileMode
}

// build returns the bytes of the file.
func (f file) build() []byte {
	now := time.Now()
	if f.created.IsZero() {
		f.created = now
	}
	content := record.Append(record.Append(nil, record.Text, "Subject: x"), record.Text, "")
	tail := func(sizes record.Sizes) (envelope, rest []byte) {
		b := record.AppendSizes(nil, sizes)
		b = record.AppendTime(b, f.created.Unix(), 5)
		b = record.AppendAttrInt(b, "create_time", f.created.Unix())
		b = record.Append(b, record.Sender, f.sender)
		b = append(b, f.before...)
		for i, rcpt := range f.rcpts {
			if f.rcptAttrs != nil {
				b = append(b, f.rcptAttrs(i)...)
			}
			b = record.Append(b, record.Recipient, rcpt)
		}
		b = record.Append(b, record.Content, "")
		rest = append([]byte(nil), content...)
		rest = record.Append(rest, record.Extracted, "")
		rest = append(rest, f.extracted...)
		return b, record.Append(rest, record.End, "")
	}
	envelope, _ := tail(record.Sizes{})
	envelope, rest := tail(record.Sizes{Segment: int64(len(content)), Offset: int64(len(envelope)), Recipients: len(f.rcpts),
		Options: f.options, Content: int64(len(content))})
	return append(envelope, rest...)
}

// put writes a message into a queue, complete and due.
func (w *world) put(queueName, id string, f file) {
	w.t.Helper()
	w.putBytes(queueName, id, f.build(), f.mode)
}

func (w *world) putBytes(queueName, id string, data []byte, mode os.FileMode) {
	w.t.Helper()
	path := w.tree.Path(queueName, id)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		w.t.Fatal(err)
	}
	if err := os.Chmod(path, queue.ModeReady|mode); err != nil {
		w.t.Fatal(err)
	}
}

// recipients makes n addresses for a transport.
func recipients(n int, domain string) []string {
	list := make([]string, n)
	for i := range list {
		list[i] = fmt.Sprintf("u%05d@%s", i, domain)
	}
	return list
}
