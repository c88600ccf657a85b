package mysql

import (
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"suffix/pkg/table"
	"suffix/pkg/table/dbcommon"
	"suffix/pkg/table/dbcommon/dbtest"
	"suffix/pkg/table/tabletest"
)

// open opens a table with a client file.
func open(t *testing.T, conf string) *table.Handle {
	t.Helper()
	return tabletest.Open(t, "mysql:"+dbtest.Write(t, filepath.Join(t.TempDir(), "m.cf"), conf), table.Options{Flags: table.Reader})
}

// fakeServer speaks enough of MySQL's protocol to misbehave in it.
type fakeServer struct {
	t       *testing.T
	l       net.Listener
	sqlMode string
	// greet, if set, is done instead of a greeting; it says whether to go on.
	greet func(c *fakeClient) bool

	mu      sync.Mutex
	queries []string
	hung    chan struct{} // closed at the end of the test
	fault   string        // as if each query contained it
}

type fakeClient struct {
	net.Conn
	number byte // of the next packet
}

func newFakeServer(t *testing.T) *fakeServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{t: t, l: l, hung: make(chan struct{})}
	t.Cleanup(func() { close(s.hung) })
	s.accept(l)
	return s
}

func (s *fakeServer) accept(l net.Listener) {
	s.t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				s.serve(&fakeClient{Conn: c})
			}()
		}
	}()
}

func (s *fakeServer) hosts() string { return "hosts = " + s.l.Addr().String() + "\n" }

// asked lists the queries that are no part of the login.
func (s *fakeServer) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queries)
}

func (c *fakeClient) packet(body string) {
	head := binary.LittleEndian.AppendUint32(nil, uint32(len(body)))
	head[3] = c.number
	c.number++
	io.WriteString(c, string(head)+body)
}

func (c *fakeClient) receive() (string, bool) {
	head := make([]byte, 4)
	if _, err := io.ReadFull(c, head); err != nil {
		return "", false
	}
	c.number = head[3] + 1
	body := make([]byte, int(head[0])|int(head[1])<<8|int(head[2])<<16)
	_, err := io.ReadFull(c, body)
	return string(body), err == nil
}

func (c *fakeClient) ok()           { c.packet("\x00\x00\x00\x02\x00\x00\x00") }
func (c *fakeClient) end()          { c.packet("\xfe\x00\x00\x02\x00") }
func (c *fakeClient) fail(s string) { c.packet("\xff\x50\x04#42000" + s) }
func lenenc(s string) string        { return string([]byte{byte(len(s))}) + s }
func (c *fakeClient) columns(n int) { c.packet(string([]byte{byte(n)})) }
func (c *fakeClient) row(v ...string) {
	var b strings.Builder
	for _, s := range v {
		if s == "NULL" {
			b.WriteByte(0xfb)
		} else {
			b.WriteString(lenenc(s))
		}
	}
	c.packet(b.String())
}

func (c *fakeClient) column(kind byte) {
	c.packet(lenenc("def") + lenenc("") + lenenc("") + lenenc("") + lenenc("c") + lenenc("") + "\x0c\x2d\x00\x00\x01\x00\x00" + string([]byte{kind}) + "\x00\x00\x00\x00\x00")
}

const (
	typeLong   = 3
	typeDouble = 5
	typeString = 253
)

func (s *fakeServer) serve(c *fakeClient) {
	s.mu.Lock()
	greet := s.greet
	s.mu.Unlock()
	if greet != nil && !greet(c) {
		return
	}
	c.packet("\x0a5.5.5-fake\x00\x01\x00\x00\x00saltsalt\x00\x00\xa2\x2d\x02\x00\x08\x00\x15" + strings.Repeat("\x00", 10) + "saltsaltsalt\x00mysql_native_password\x00")
	if _, ok := c.receive(); !ok {
		return
	}
	c.ok()
	for {
		command, ok := c.receive()
		if !ok || command[0] != 3 {
			return
		}
		query := command[1:]
		switch {
		case strings.HasPrefix(query, "SET NAMES"):
			c.ok()
			continue
		case strings.Contains(query, "sql_mode"):
			c.columns(1)
			c.column(typeString)
			c.end()
			c.row(s.sqlMode)
			c.end()
			continue
		}
		s.mu.Lock()
		s.queries = append(s.queries, query)
		s.mu.Unlock()
		query += s.fault
		switch {
		case strings.Contains(query, "hang"):
			<-s.hung
			return
		case strings.Contains(query, "close"):
			return
		case strings.Contains(query, "half"):
			c.columns(1)
			c.column(typeString)
			c.end()
			io.WriteString(c, "\x20\x00\x00\x04\x10half")
			return
		case strings.Contains(query, "garbage"):
			io.WriteString(c, "\x05\x00\x00\x01\x01garbage that is no protocol")
			return
		case strings.Contains(query, "huge"):
			c.columns(1)
			c.column(typeString)
			c.end()
			io.WriteString(c, "\xff\xff\xff\x04\xfe\xff\xff\xff\xff\xff\xff\xff\x7f")
			return
		case strings.Contains(query, "killed"):
			c.packet("\xff\x1d\x04#08S01Server shutdown in progress")
			return
		case strings.Contains(query, "error"):
			c.fail("no such thing")
		default:
			c.columns(4)
			for _, kind := range []byte{typeLong, typeDouble, typeString, typeString} {
				c.column(kind)
			}
			c.end()
			c.row("00042", "1.50", "NULL", "text")
			c.row("NULL", "NULL", "NULL", "NULL")
			c.end()
		}
	}
}

const login = "user = u\ndbname = d\nquery = '%s'\n"

// pool gives access to a table's limits.
func pool(h *table.Handle) *dbcommon.Pool[*conn] { return h.Driver().(*mysqlTable).servers }

const shortTime = 100 * time.Millisecond

// Values are as the server writes them, and NULL is nothing.
func TestValues(t *testing.T) {
	s := newFakeServer(t)
	h := open(t, s.hosts()+login)
	if value := tabletest.Find(t, h, "x"); value != "00042,1.50,text" {
		t.Error(value)
	}
}

// Whatever a server does, the answer comes in bounded time.
func TestFaults(t *testing.T) {
	for key, want := range map[string]string{
		"hang": "Lost connection to server during query (time limit exceeded)", "close": "Lost connection to server during query",
		"half": "Lost connection to server during query", "garbage": "Lost connection to server during query", "huge": "Lost connection to server during query",
		"killed": "Server shutdown in progress", "error": "no such thing",
	} {
		t.Run(key, func(t *testing.T) {
			s := newFakeServer(t)
			h := open(t, s.hosts()+login)
			if key == "hang" {
				pool(h).Query = shortTime
			}
			logged := tabletest.Logged(t, func() {
				if value := tabletest.Find(t, h, key); value != "error" {
					t.Error(value)
				}
			})
			// One server counts as two.
			line := "warning: " + h.Name() + ": query failed: " + want
			if len(logged) != 2 || !strings.HasPrefix(logged[0], line) || !strings.HasPrefix(logged[1], line) {
				t.Errorf("%q", logged)
			}
			if asked := s.asked(); !slices.Equal(asked, []string{"'" + key + "'", "'" + key + "'"}) {
				t.Error(asked)
			}
			if key == "error" {
				return
			}
			// The server is left alone now, until its time has come.
			if value := tabletest.Find(t, h, "x"); value != "error" || len(s.asked()) != 2 {
				t.Error(value, s.asked())
			}
		})
	}
}

// The next server is asked.
func TestFailover(t *testing.T) {
	sick, well := newFakeServer(t), newFakeServer(t)
	sick.fault = "close"
	socket := filepath.Join(t.TempDir(), "s") // is tried first
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	sick.accept(l)
	h := open(t, "hosts = "+well.l.Addr().String()+" unix:"+socket+"\nuser = u\ndbname = d\nquery = '%u' %d\n")
	logged := tabletest.Logged(t, func() {
		if value := tabletest.Find(t, h, "x@y"); value != "00042,1.50,text" {
			t.Error(value)
		}
	})
	if len(logged) != 1 || len(sick.asked()) != 1 || len(well.asked()) != 1 {
		t.Error(logged, sick.asked(), well.asked())
	}
}

// An error that concerns the query only does not keep others from the server.
func TestRefusedQuery(t *testing.T) {
	s := newFakeServer(t)
	h := open(t, s.hosts()+login)
	tabletest.Logged(t, func() {
		if value := tabletest.Find(t, h, "error"); value != "error" {
			t.Error(value)
		}
	})
	if value := tabletest.Find(t, h, "x"); value != "00042,1.50,text" {
		t.Error(value)
	}
}

func TestGreetings(t *testing.T) {
	for name, c := range map[string]struct {
		greet func(s *fakeServer, c *fakeClient) bool
		want  string
	}{
		"hang":     {func(s *fakeServer, _ *fakeClient) bool { <-s.hung; return false }, "Lost connection to server at 'handshake: reading initial communication packet', system error: 110"},
		"close":    {func(*fakeServer, *fakeClient) bool { return false }, "Lost connection to server at 'handshake: reading initial communication packet', system error: 0"},
		"garbage":  {func(_ *fakeServer, c *fakeClient) bool { io.WriteString(c, "220 mail.example ESMTP\r\n"); return false }, "Lost connection"},
		"too many": {func(_ *fakeServer, c *fakeClient) bool { c.packet("\xff\x10\x04Too many connections"); return false }, "Too many connections"},
		"short":    {func(_ *fakeServer, c *fakeClient) bool { c.packet("\x0a"); return false }, "protocol error: "},
	} {
		t.Run(name, func(t *testing.T) {
			s := newFakeServer(t)
			s.mu.Lock()
			s.greet = func(f *fakeClient) bool { return c.greet(s, f) }
			s.mu.Unlock()
			h := open(t, s.hosts()+login)
			if name == "hang" {
				pool(h).Connect = shortTime
			}
			logged := tabletest.Logged(t, func() {
				if value := tabletest.Find(t, h, "x"); value != "error" {
					t.Error(value)
				}
			})
			prefix := "warning: connect to mysql server " + s.l.Addr().String() + ": " + c.want
			if len(logged) != 2 || !strings.HasPrefix(logged[0], prefix) || !strings.HasPrefix(logged[1], prefix) {
				t.Errorf("%q", logged)
			}
			// It is left alone now.
			if logged := tabletest.Logged(t, func() { tabletest.Find(t, h, "x") }); len(logged) != 0 {
				t.Errorf("%q", logged)
			}
		})
	}
}

func TestQuotingOfKeys(t *testing.T) {
	s := newFakeServer(t)
	h := open(t, s.hosts()+login)
	plain := newFakeServer(t)
	plain.sqlMode = "ANSI,NO_BACKSLASH_ESCAPES"
	p := open(t, plain.hosts()+login)
	long := strings.Repeat("a'", 1<<19)
	for _, key := range []string{"a'b", `a\b`, "a\nb\rc\x00d\x1ae", `a"b`, "é", long} {
		tabletest.Find(t, h, key)
		tabletest.Find(t, p, key)
	}
	want := []string{`'a\'b'`, `'a\\b'`, `'a\nb\rc\0d\Ze'`, `'a\"b'`, "'é'", "'" + strings.ReplaceAll(long, "'", `\'`) + "'"}
	if got := s.asked(); !slices.Equal(got, want) {
		t.Errorf("%.200q", got)
	}
	want = []string{"'a''b'", `'a\b'`, "'a\nb\rc\x00d\x1ae'", `'a"b'`, "'é'", "'" + strings.ReplaceAll(long, "'", "''") + "'"}
	if got := plain.asked(); !slices.Equal(got, want) {
		t.Errorf("%.200q", got)
	}
}

// Without backslash escapes there is no quoting that is right in double quotes.
func TestDoubleQuotes(t *testing.T) {
	s := newFakeServer(t)
	s.sqlMode = "NO_BACKSLASH_ESCAPES"
	h := open(t, s.hosts()+"dbname = d\nquery = select \"%s\"\n")
	tabletest.Logged(t, func() {
		for key, want := range map[string]string{"x": "00042,1.50,text", `" or 1=1 -- `: "error"} {
			if value := tabletest.Find(t, h, key); value != want {
				t.Errorf("%s: %s", key, value)
			}
		}
	})
	if got := s.asked(); !slices.Equal(got, []string{`select "x"`}) {
		t.Error(got)
	}
}

// In these character sets a backslash can be half of a character, and half of
// a character must not swallow the quote behind it.
func TestQuoteInCharset(t *testing.T) {
	for _, c := range []struct{ charset, text, want string }{
		{"utf8mb4", "\xc3\x5c'", "\xc3\\\\\\'"}, {"gbk", "\xbf'", "\\\xbf\\'"}, {"gbk", "\xbf\\'", "\xbf\\\\'"}, {"gbk", "\xbf", "\\\xbf"},
		{"sjis", "\x95\\'", "\x95\\\\'"}, {"sjis", "\xa0'", "\xa0\\'"}, {"cp932", "\x81'", "\\\x81\\'"}, {"big5", "\xa4\\'", "\xa4\\\\'"},
		{"gb18030", "\x81\x30\x81\x30'", "\x81\x30\x81\x30\\'"}, {"gb18030", "\x81\\", "\x81\\"}, {"latin1", "\xbf'", "\xbf\\'"},
	} {
		session := &conn{charset: c.charset}
		if got := string(session.quote(nil, c.text)); got != c.want {
			t.Errorf("%s %q: %q, want %q", c.charset, c.text, got, c.want)
		}
	}
}

// Reading a literal back as the server does gives the text.
func FuzzQuote(f *testing.F) {
	f.Add("a'b\\c\"d\x00\n\r\x1a%", false)
	f.Fuzz(func(t *testing.T, text string, noBackslash bool) {
		session := &conn{charset: "utf8mb4", noBackslash: noBackslash}
		literal := string(session.quote(nil, text))
		var back strings.Builder
		for i := 0; i < len(literal); i++ {
			c := literal[i]
			switch {
			case noBackslash && c == '\'':
				if i++; i == len(literal) || literal[i] != '\'' {
					t.Fatalf("%q ends the literal", literal)
				}
			case !noBackslash && c == '\'':
				t.Fatalf("%q ends the literal", literal)
			case !noBackslash && c == '\\':
				if i++; i == len(literal) {
					t.Fatalf("%q swallows the end of the literal", literal)
				}
				c = literal[i]
				if at := strings.IndexByte("0nrZ", c); at >= 0 {
					c = "\x00\n\r\x1a"[at]
				}
			}
			back.WriteByte(c)
		}
		if back.String() != text {
			t.Errorf("%q: %q", text, literal)
		}
	})
}

func TestHostErrors(t *testing.T) {
	for hosts, want := range map[string]string{
		"a:99999": "bad port number: 99999", "a:nosuchservice": "unknown service: nosuchservice/tcp", "a:": "unknown service: /tcp", "a:0": "unknown service: 0/tcp",
	} {
		path := dbtest.Write(t, filepath.Join(t.TempDir(), "m.cf"), "hosts = "+hosts+"\n"+login)
		h := table.Open("mysql:"+path, table.Options{Command: true})
		if h.Err() == nil || h.Err().Error() != want {
			t.Error(h.Err())
		}
		h.Close()
	}
}

func TestCharset(t *testing.T) {
	for charset, want := range map[string]string{"latin1; DROP TABLE x": "bad character set name: charset = latin1; drop table x", "": "bad string length 0 < 1: charset = "} {
		path := dbtest.Write(t, filepath.Join(t.TempDir(), "m.cf"), "charset = "+charset+"\n"+login)
		h := table.Open("mysql:"+path, table.Options{Command: true})
		if h.Err() == nil || h.Err().Error() != path+": "+want {
			t.Error(h.Err())
		}
		h.Close()
	}
}

func TestTLSIsRequired(t *testing.T) {
	s := newFakeServer(t)
	h := open(t, s.hosts()+login+"tls_verify_cert = yes\n")
	logged := tabletest.Logged(t, func() {
		if value := tabletest.Find(t, h, "x"); value != "error" {
			t.Error(value)
		}
	})
	if want := "TLS/SSL error: SSL is required, but the server does not support it"; len(logged) != 2 || !strings.HasSuffix(logged[0], want) {
		t.Errorf("%q", logged)
	}
	// Wanted, but not required.
	if value := tabletest.Find(t, open(t, s.hosts()+login+"tls_ciphers = ECDHE-RSA-AES128-GCM-SHA256\n"), "x"); value != "00042,1.50,text" {
		t.Error(value)
	}
	// Settings that cannot be used are no reason to do without.
	h = open(t, s.hosts()+login+"tls_cert_file = /nonexistent\n")
	if logged := tabletest.Logged(t, func() { tabletest.Find(t, h, "x") }); len(logged) != 2 || !strings.HasSuffix(logged[0], "TLS/SSL error: /nonexistent: No such file or directory") {
		t.Errorf("%q", logged)
	}
}

func TestOptionFile(t *testing.T) {
	dir := t.TempDir()
	dbtest.Write(t, dir+"/more.cnf", "[mine]\nport=1\n!include "+dir+"/my.cnf\n")
	dbtest.Write(t, dir+"/my.cnf", "user = nobody\n[client]\nuser=\"a \\\"b\" # x\npassword = 'p#w'\nssl_ca = /ca # comment\n[other]\nuser=x\n [mine] \nsocket=a\\sb\nflag\n!include "+dir+"/more.cnf\n; x\n[")
	got := readOptions(dir+"/my.cnf", "mine")
	want := map[string]string{"user": `a \`, "password": "p#w", "ssl-ca": "/ca", "socket": "a b", "flag": "", "port": "1"}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Error(got)
	}
	logged := tabletest.Logged(t, func() {
		// A path below a file cannot be opened; only the file that was asked for matters.
		saved := defaultOptionFiles
		defer func() { defaultOptionFiles = saved }()
		defaultOptionFiles = []string{dir + "/my.cnf/x"}
		for _, file := range []string{"/nonexistent", dir, "", dir + "/my.cnf/x"} {
			if got := readOptions(file, "client"); len(got) != 0 {
				t.Error(got)
			}
		}
	})
	if !slices.Equal(logged, []string{"warning: open " + dir + "/my.cnf/x: Not a directory"}) {
		t.Error(logged)
	}
}

func FuzzOptions(f *testing.F) {
	f.Add("[client]\nuser=\"a\" #\n!include x\n[\n=\n")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "!") {
			return // other files
		}
		r := &optionReader{settings: make(map[string]string), groups: []string{"client"}}
		r.parse(text)
		if !strings.Contains(text, "client") && len(r.settings) > 0 {
			t.Error(r.settings)
		}
	})
}

func TestCipherNames(t *testing.T) {
	for name, want := range map[string]string{
		"TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256", "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
		"TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305", "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
	} {
		if got := openSSLName(name); got != want {
			t.Errorf("%s: %s, want %s", name, got, want)
		}
	}
	if ids := cipherSuites("nonsense:ECDHE-RSA-AES128-GCM-SHA256,AES256-SHA"); len(ids) != 2 {
		t.Error(ids)
	}
}
