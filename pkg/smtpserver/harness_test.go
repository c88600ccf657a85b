package smtpserver

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"suffix/pkg/cleanupclient"
	"suffix/pkg/config"
	"suffix/pkg/record"
	"suffix/pkg/rewrite"
	"suffix/pkg/rewriteclient"
	"suffix/pkg/smtpaccess"

	_ "suffix/pkg/table/regexp"
	_ "suffix/pkg/table/simple"
)

// A fakeMessage is what cleanup was given.
type fakeMessage struct {
	flags    cleanupclient.Flags
	records  []string // type byte and data
	finished bool
	aborted  bool
}

// content returns the lines between Content and Extracted.
func (m *fakeMessage) content() []string {
	var lines []string
	inside, more := false, false
	for _, r := range m.records {
		switch r[0] {
		case 'M':
			inside = true
		case 'X':
			inside = false
		case 'N', 'L':
			if inside && more {
				lines[len(lines)-1] += r[1:]
			} else if inside {
				lines = append(lines, r[1:])
			}
			more = inside && r[0] == 'L'
		}
	}
	return lines
}

// body returns the content after the Received: header.
func (m *fakeMessage) body() []string {
	lines := m.content()
	for i, line := range lines {
		if strings.HasPrefix(line, "Received: ") {
			lines = lines[i+1:]
			for len(lines) > 0 && strings.HasPrefix(lines[0], "\t") {
				lines = lines[1:]
			}
			return lines
		}
	}
	return lines
}

type fakeStream struct {
	c *fakeCleanup
	m *fakeMessage
	n int
}

func (s *fakeStream) QueueID() string { return fmt.Sprintf("QID%d", s.n) }
func (s *fakeStream) Put(t record.Type, data string) {
	s.m.records = append(s.m.records, string(rune(t))+data)
}
func (s *fakeStream) PutBytes(t record.Type, data []byte) { s.Put(t, string(data)) }
func (s *fakeStream) Flush() error                        { return nil }
func (s *fakeStream) Finish() (cleanupclient.Status, string, error) {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	s.m.finished = true
	if s.c.onFinish != nil {
		s.c.onFinish()
	}
	return s.c.status, s.c.reason, nil
}
func (s *fakeStream) Abort() {
	s.c.mu.Lock()
	defer s.c.mu.Unlock()
	if !s.m.finished {
		s.m.aborted = true
	}
}

type fakeCleanup struct {
	mu       sync.Mutex
	messages []*fakeMessage
	status   cleanupclient.Status
	reason   string
	onFinish func()
}

func (c *fakeCleanup) open(_ context.Context, _ string, flags cleanupclient.Flags) (cleanupclient.Stream, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := &fakeMessage{flags: flags}
	c.messages = append(c.messages, m)
	return &fakeStream{c: c, m: m, n: len(c.messages)}, nil
}

// accepted returns the messages that were finished.
func (c *fakeCleanup) accepted() []*fakeMessage {
	c.mu.Lock()
	defer c.mu.Unlock()
	var list []*fakeMessage
	for _, m := range c.messages {
		if m.finished {
			list = append(list, m)
		}
	}
	return list
}

// A testLog collects log lines.
type testLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *testLog) Infof(format string, args ...any) { l.add(fmt.Sprintf(format, args...)) }
func (l *testLog) Warnf(format string, args ...any) {
	l.add("warning: " + fmt.Sprintf(format, args...))
}
func (l *testLog) add(line string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line)
}

func (l *testLog) all() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.lines, "\n")
}

func (l *testLog) has(t *testing.T, want string) {
	t.Helper()
	if all := l.all(); !strings.Contains(all, want) {
		t.Errorf("log lacks %q:\n%s", want, all)
	}
}

// A testServer listens on a loopback port.
type testServer struct {
	t        testing.TB
	server   *Server
	cleanup  *fakeCleanup
	log      *testLog
	dir      string
	addr     string
	sessions activity
}

// An activity counts what goes on, so that others can wait for its end.
type activity struct {
	mu   sync.Mutex
	idle *sync.Cond
	n    int
}

func (a *activity) add(n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.n += n; a.n == 0 {
		a.idle.Broadcast()
	}
}

// Wait returns when nothing goes on.
func (a *activity) Wait() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for a.n > 0 {
		a.idle.Wait()
	}
}

// newTestServer starts a server with the given main.cf lines after defaults
// that suit tests.
func newTestServer(t testing.TB, lines ...string) *testServer {
	t.Helper()
	dir := t.TempDir()
	text := strings.Join(append([]string{
		"myhostname = mx.example.test", "mydomain = example.test", "mydestination = example.test",
		"inet_interfaces = loopback-only", "mynetworks = 192.0.2.0/24", "local_recipient_maps =",
		"smtpd_peername_lookup = no", "smtpd_client_connection_count_limit = 0", "alias_maps =", "alias_database =",
		"compatibility_level = 3.6", "smtpd_error_sleep_time = 0", "smtpd_forbid_unauth_pipelining = no", "notify_classes =",
	}, lines...), "\n") + "\n"
	text = strings.ReplaceAll(text, "@DIR@", dir)
	log := &testLog{}
	list, err := config.ParseSettings("main.cf", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.New(dir, list, config.Options{Program: "smtpd", Service: "smtp"})
	engine, err := rewrite.New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	rewriteclient.InProcess = engine
	ts := &testServer{t: t, cleanup: &fakeCleanup{}, log: log, dir: dir}
	ts.sessions.idle = sync.NewCond(&ts.sessions.mu)
	client := rewriteclient.NewWith(nil)
	settings, err := NewSettings(cfg, "smtp", false, log)
	if err != nil {
		t.Fatal(err)
	}
	rules, err := smtpaccess.New(cfg, smtpaccess.Services{Rewrite: client, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	ts.server = &Server{
		Normal: Variant{settings, rules}, Log: log, Rewrite: client, Open: ts.cleanup.open,
		FreeSpace: func() (int64, error) { return 1 << 40, nil },
	}
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ts.addr = listener.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			ts.sessions.add(1)
			go func() {
				defer ts.sessions.add(-1)
				defer conn.Close()
				ts.server.Serve(ctx, conn, nil, false)
			}()
		}
	}()
	t.Cleanup(func() {
		listener.Close()
		cancel()
		ts.sessions.Wait()
		rewriteclient.InProcess = nil
	})
	return ts
}

// A client speaks to the server under test.
type client struct {
	t    testing.TB
	conn net.Conn
	r    *bufio.Reader
}

func (ts *testServer) dial() *client {
	ts.t.Helper()
	conn, err := net.Dial("tcp4", ts.addr)
	if err != nil {
		ts.t.Fatal(err)
	}
	ts.t.Cleanup(func() { conn.Close() })
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		ts.t.Fatal(err)
	}
	return &client{ts.t, conn, bufio.NewReader(conn)}
}

// connect dials and reads the greeting.
func (ts *testServer) connect() *client {
	ts.t.Helper()
	c := ts.dial()
	c.want("220 mx.example.test ESMTP Postfix")
	return c
}

func (c *client) send(text string) {
	c.t.Helper()
	if _, err := c.conn.Write([]byte(text)); err != nil {
		c.t.Fatalf("send %q: %v", text, err)
	}
}

// reply reads one reply; its lines are separated by LF. The end of the
// connection is "EOF".
func (c *client) reply() string {
	var lines []string
	for {
		line, err := c.r.ReadString('\n')
		if err != nil {
			return strings.Join(append(lines, "EOF"), "\n")
		}
		line = strings.TrimSuffix(line, "\r\n")
		lines = append(lines, line)
		if len(line) < 4 || line[3] != '-' {
			return strings.Join(lines, "\n")
		}
	}
}

func (c *client) want(prefix string) string {
	c.t.Helper()
	got := c.reply()
	if !strings.HasPrefix(got, prefix) {
		c.t.Fatalf("reply %q, want %q", got, prefix)
	}
	return got
}

// do sends command lines and checks the replies: "command", "reply", …
func (c *client) do(script ...string) {
	c.t.Helper()
	for i := 0; i+1 < len(script); i += 2 {
		c.send(script[i] + "\r\n")
		if got := c.reply(); !strings.HasPrefix(got, script[i+1]) {
			c.t.Fatalf("%q: reply %q, want %q", script[i], got, script[i+1])
		}
	}
}

// end makes sure that the server closed the connection, and waits until the
// session's last log line is written.
func (ts *testServer) end(c *client) {
	c.t.Helper()
	if got := c.reply(); got != "EOF" {
		c.t.Fatalf("reply %q, want the end", got)
	}
	c.conn.Close()
	ts.sessions.Wait()
}

// quit ends a session in the regular way.
func (ts *testServer) quit(c *client) {
	c.t.Helper()
	c.do("QUIT", "221 2.0.0 Bye")
	ts.end(c)
}
