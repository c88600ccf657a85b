package smtpclient

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"suffix/pkg/deliver"
	"suffix/pkg/dsn"
	"suffix/pkg/maillog"
	"suffix/pkg/outcome"
	"suffix/pkg/record"
)

// testLog collects log lines.
type testLog struct {
	mu    sync.Mutex
	lines []string
}

func (l *testLog) add(prefix, format string, args []any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, prefix+fmt.Sprintf(format, args...))
}
func (l *testLog) Infof(format string, args ...any)  { l.add("", format, args) }
func (l *testLog) Warnf(format string, args ...any)  { l.add("warning: ", format, args) }
func (l *testLog) Errorf(format string, args ...any) { l.add("error: ", format, args) }

func (l *testLog) Logf(_ maillog.Level, format string, args ...any) {
	l.add("fatal: ", format, args)
}

func (l *testLog) has(text string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		if strings.Contains(line, text) {
			return true
		}
	}
	return false
}

// testRecorder collects outcomes as "address status word relay (text)".
type testRecorder struct {
	results []string
	notify  map[string]dsn.Notify
	actions map[string]string
	reuse   []int
	corrupt bool
	req     *deliver.Request
}

func (r *testRecorder) add(word string, rcpt dsn.Recipient, at outcome.Attempt, d dsn.DSN) {
	r.results = append(r.results, fmt.Sprintf("%s %s %s %s (%s)", rcpt.Address, d.Status, word, at.Relay, d.Reason))
	if r.notify == nil {
		r.notify, r.actions = map[string]dsn.Notify{}, map[string]string{}
	}
	r.notify[rcpt.Address], r.actions[rcpt.Address] = rcpt.Notify, d.Action
	r.reuse = append(r.reuse, r.req.Times.Reuse)
}
func (r *testRecorder) Sent(rcpt dsn.Recipient, at outcome.Attempt, d dsn.DSN) outcome.Result {
	r.add("sent", rcpt, at, d)
	return outcome.Done
}
func (r *testRecorder) Bounce(rcpt dsn.Recipient, at outcome.Attempt, d dsn.DSN) outcome.Result {
	r.add("bounced", rcpt, at, d)
	return outcome.Done
}
func (r *testRecorder) Defer(rcpt dsn.Recipient, at outcome.Attempt, d dsn.DSN) outcome.Result {
	r.add("deferred", rcpt, at, d)
	return outcome.Retry
}
func (r *testRecorder) MarkCorrupt(string) { r.corrupt = true }

// testConfig is a configuration with Postfix's defaults.
func testConfig() *Config {
	const long = 10 * time.Second
	return &Config{
		Prefix: "smtp", Service: "smtp", HostName: "client.example", HeloName: "client.example", TCPPort: "smtp",
		KnownPorts: map[string]uint16{"smtp": 25, "lmtp": 24},
		IPv4:       true, IPv6: true, AddressPreference: "any", BalanceProtocols: true, RandomizeAddresses: true,
		AddressLimit: 5, SessionLimit: 2,
		ConnectTimeout: long, HeloTimeout: long, XForwardTimeout: long, MailTimeout: long, RcptTimeout: long,
		DataInitTimeout: long, DataXferTimeout: long, DataDoneTimeout: long, RsetTimeout: long, QuitTimeout: long,
		MinDataRate: 500, LineLimit: 998, ReplyLimit: 2048, QuoteEnvelope: true, Skip5xxGreeting: true,
		SkipQuitResponse: true, AlwaysEHLO: true, PIXWorkarounds: "disable_esmtp,delay_dotcrlf",
		PIXThreshold:     500 * time.Second,
		MIMENestingLimit: 100, HeaderSizeLimit: 102400, AddressTokenLimit: 10240, BoundaryLimit: 2048,
		CacheOnDemand: true, CacheTimeLimit: long, ReuseTimeLimit: 300 * time.Second,
		TLSLevel: "none", SMTPUTF8: true, HelpfulWarnings: true,
		Log: &testLog{},
	}
}

// queueFile makes a queue file with only a content segment; lines are as in
// datawriter's tests: "text" is a line, "text\\" a piece of one.
func queueFile(t testing.TB, content string) (*os.File, int64, int64) {
	t.Helper()
	var buf []byte
	buf = record.Append(buf, record.Content, "")
	offset := int64(len(buf))
	for _, line := range strings.Split(strings.TrimSuffix(content, "\n"), "\n") {
		if piece, ok := strings.CutSuffix(line, "\\"); ok {
			buf = record.Append(buf, record.Fragment, piece)
		} else {
			buf = record.Append(buf, record.Text, line)
		}
	}
	buf = record.Append(buf, record.Extracted, "")
	buf = record.Append(buf, record.End, "")
	return fileWith(t, buf), offset, int64(len(content))
}

func fileWith(t testing.TB, buf []byte) *os.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "queuefile")
	if err := os.WriteFile(path, buf, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

const testContent = "Subject: test\n\nHello.\n.\nBye\n"

// request makes a delivery request for recipients of a message.
func request(t testing.TB, nexthop, content string, rcpts ...string) *deliver.Request {
	t.Helper()
	f, offset, size := queueFile(t, content)
	now := time.Now()
	req := &deliver.Request{QueueName: "active", QueueID: "4ABCDEF", NextHop: nexthop, Sender: "sender@example.org",
		File: f, Offset: offset, Size: size, Flags: deliver.FlagMarkDone | deliver.FlagBounce,
		Times: outcome.Times{Arrival: now, Active: now, HandOff: now}}
	if len(rcpts) == 0 {
		rcpts = []string{"rcpt@example.com"}
	}
	for _, r := range rcpts {
		req.Recipients = append(req.Recipients, dsn.Recipient{Address: r})
	}
	return req
}

// run delivers a request and returns what was recorded, with the port that
// changes from run to run replaced.
func run(t testing.TB, e *Engine, req *deliver.Request) (*testRecorder, dsn.DSN) {
	t.Helper()
	rec := &testRecorder{req: req}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	hop := e.deliver(ctx, req, rec)
	return rec, hop
}

// A scripted server plays a given dialogue and remembers what it got.
type scripted struct {
	addr  netip.AddrPort
	mu    sync.Mutex
	lines []string // commands
	data  []string // contents, with line ends
	conns int
}

// dialogue says what a scripted server answers: by command verb, "." for the
// end of data, "CONNECT" for the greeting. The value "!" closes the connection
// at once, "~" answers nothing, ever.
type dialogue map[string]string

func (d dialogue) answer(verb, standard string) string {
	if text, ok := d[verb]; ok {
		return text
	}
	return standard
}

// serve starts the server on a port of the loopback address.
func serve(t testing.TB, d dialogue) *scripted {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, l, d)
}

func serveOn(t testing.TB, l net.Listener, d dialogue) *scripted {
	s := &scripted{}
	if a, ok := l.Addr().(*net.TCPAddr); ok {
		s.addr = a.AddrPort()
	}
	var wg sync.WaitGroup
	stop := make(chan struct{})
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.conns++
			s.mu.Unlock()
			wg.Add(1)
			go func() {
				defer wg.Done()
				defer c.Close()
				go func() { <-stop; c.Close() }()
				s.talk(c, d)
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); close(stop); wg.Wait() })
	return s
}

func (s *scripted) nexthop() string { return fmt.Sprintf("[127.0.0.1]:%d", s.addr.Port()) }
func (s *scripted) relay() string   { return fmt.Sprintf("127.0.0.1[127.0.0.1]:%d", s.addr.Port()) }

func (s *scripted) note(to *[]string, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	*to = append(*to, text)
}

func (s *scripted) commands() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.lines, "|")
}

func (s *scripted) content() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.data, "====")
}

// talk plays the dialogue on one connection.
func (s *scripted) talk(c net.Conn, d dialogue) {
	in := bufio.NewReaderSize(c, 64<<10)
	reply := func(text string) bool {
		switch text {
		case "!":
			return false
		case "~":
			_, _ = in.Peek(64 << 10) // until the client hangs up
			return false
		}
		closing := strings.HasSuffix(text, "!")
		text = strings.TrimSuffix(text, "!")
		_, err := c.Write([]byte(strings.ReplaceAll(text, "\n", "\r\n") + "\r\n"))
		return err == nil && !closing
	}
	if !reply(d.answer("CONNECT", "220 server.example ESMTP")) {
		return
	}
	rcpts := 0
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		s.note(&s.lines, line)
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		standard := "250 2.0.0 Ok"
		switch verb {
		case "EHLO", "LHLO":
			standard = "250-server.example\n250-PIPELINING\n250-SIZE\n250-8BITMIME\n250-ENHANCEDSTATUSCODES\n250 DSN"
		case "HELO":
			standard = "250 server.example"
		case "DATA":
			standard = "354 go ahead"
		case "QUIT":
			standard = "221 2.0.0 Bye!"
		case "MAIL":
			rcpts = 0
		case "RCPT":
			rcpts++
			if text, ok := d[line]; ok {
				if text[0] != '2' {
					rcpts--
				}
				if !reply(text) {
					return
				}
				continue
			}
		}
		text := d.answer(verb, standard)
		if verb == "RCPT" && text[0] != '2' {
			rcpts--
		}
		if !reply(text) {
			return
		}
		if verb == "DATA" && text[0] == '3' {
			var body strings.Builder
			for {
				line, err := in.ReadString('\n')
				if err != nil {
					s.note(&s.data, body.String()+"[lost]")
					return
				}
				if line == ".\r\n" {
					break
				}
				body.WriteString(line)
				if d["body"] != "" {
					reply(d["body"])
					return
				}
			}
			s.note(&s.data, body.String())
			answers := 1
			if d["lmtp"] != "" {
				answers = rcpts
			}
			for i := range answers {
				text := d.answer(fmt.Sprintf(".%d", i+1), d.answer(".", "250 2.0.0 Ok: queued as ABC"))
				if !reply(text) {
					return
				}
			}
		}
	}
}

// connections counts the clients so far.
func (s *scripted) connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.conns
}

// forget takes the last client out of the count.
func (s *scripted) forget() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns--
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
