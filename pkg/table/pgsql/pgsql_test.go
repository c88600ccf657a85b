package pgsql

import (
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"suffix/pkg/table"
	"suffix/pkg/table/dbcommon"
	"suffix/pkg/table/dbcommon/dbtest"
	"suffix/pkg/table/tabletest"
)

// open opens a table with a client file.
func open(t *testing.T, conf string) *table.Handle {
	t.Helper()
	return tabletest.Open(t, "pgsql:"+dbtest.Write(t, filepath.Join(t.TempDir(), "p.cf"), conf), table.Options{Flags: table.Reader})
}

// pool gives access to a table's limits.
func pool(h *table.Handle) *dbcommon.Pool[*conn] { return h.Driver().(*pgsqlTable).servers }

const shortTime = 100 * time.Millisecond

// fakeServer speaks enough of PostgreSQL's protocol to misbehave in it.
type fakeServer struct {
	l          net.Listener
	parameters map[string]string
	// greet, if set, is done instead of a login; it says whether to go on.
	greet func(c net.Conn) bool
	fault string // as if each query contained it
	hung  chan struct{}

	mu      sync.Mutex
	queries []string
}

func newFakeServer(t *testing.T, network, address string) *fakeServer {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &fakeServer{l: l, hung: make(chan struct{}), parameters: map[string]string{"client_encoding": "UTF8", "standard_conforming_strings": "on"}}
	t.Cleanup(func() {
		l.Close()
		close(s.hung)
	})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				s.serve(c)
			}()
		}
	}()
	return s
}

func newTCPServer(t *testing.T) *fakeServer {
	t.Helper()
	return newFakeServer(t, "tcp", "127.0.0.1:0")
}

func (s *fakeServer) hosts() string { return "hosts = " + s.l.Addr().String() + "\n" }

// asked lists the queries that are no part of the login.
func (s *fakeServer) asked() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.queries)
}

func (s *fakeServer) serve(c net.Conn) {
	b := pgproto3.NewBackend(c, c)
	for login := false; !login; {
		m, err := b.ReceiveStartupMessage()
		if err != nil {
			return
		}
		switch m.(type) {
		case *pgproto3.SSLRequest, *pgproto3.GSSEncRequest:
			io.WriteString(c, "N")
		default:
			login = true
		}
	}
	s.mu.Lock()
	greet := s.greet
	s.mu.Unlock()
	if greet != nil && !greet(c) {
		return
	}
	b.Send(&pgproto3.AuthenticationOk{})
	for name, value := range s.parameters {
		b.Send(&pgproto3.ParameterStatus{Name: name, Value: value})
	}
	b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	b.Flush()
	for {
		m, err := b.Receive()
		if err != nil {
			return
		}
		q, ok := m.(*pgproto3.Query)
		if !ok {
			return
		}
		if strings.HasPrefix(q.String, "SET client_encoding") {
			if strings.Contains(q.String, "NONSENSE") {
				b.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Message: "no such encoding"})
			} else {
				b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SET")})
			}
			b.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
			b.Flush()
			continue
		}
		s.mu.Lock()
		s.queries = append(s.queries, q.String)
		s.mu.Unlock()
		query := q.String + s.fault
		status := byte('I')
		switch {
		case strings.Contains(query, "hang"):
			<-s.hung
			return
		case strings.Contains(query, "close"):
			return
		case strings.Contains(query, "half"):
			io.WriteString(c, "T\x00\x00\x00\x1a\x00\x01c\x00\x00\x00")
			return
		case strings.Contains(query, "garbage"):
			io.WriteString(c, "220 mail.example ESMTP\r\n")
			return
		case strings.Contains(query, "huge"):
			io.WriteString(c, "D\x7f\xff\xff\xff\x7f\xff")
			<-s.hung
			return
		case strings.Contains(query, "columns"):
			io.WriteString(c, "T\x00\x00\x00\x06\xff\xff")
			return
		case strings.Contains(query, "shutdown"):
			b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Message: "terminating connection"})
			b.Flush()
			return
		case strings.Contains(query, "error"):
			b.Send(&pgproto3.ErrorResponse{Severity: "ERROR", Message: "no such thing", Position: 3, Hint: "look"})
			if strings.Contains(query, "transaction") {
				status = 'E'
			}
		default:
			b.Send(&pgproto3.RowDescription{Fields: []pgproto3.FieldDescription{{Name: []byte("a")}, {Name: []byte("b")}}})
			b.Send(&pgproto3.DataRow{Values: [][]byte{[]byte("one"), []byte("two")}})
			b.Send(&pgproto3.DataRow{Values: [][]byte{nil, []byte("three")}})
			b.Send(&pgproto3.CommandComplete{CommandTag: []byte("SELECT 2")})
		}
		b.Send(&pgproto3.ReadyForQuery{TxStatus: status})
		b.Flush()
	}
}

const (
	login  = "user = u\ndbname = d\nquery = '%s'\n"
	answer = "one,two,three"
)

// A NULL is skipped like an empty value, with a warning.
func TestValues(t *testing.T) {
	h := open(t, newTCPServer(t).hosts()+login)
	logged := tabletest.Logged(t, func() {
		if value := tabletest.Find(t, h, "x"); value != answer {
			t.Error(value)
		}
	})
	if len(logged) != 1 || !strings.HasSuffix(logged[0], `empty lookup result for: "x" -- ignored`) {
		t.Error(logged)
	}
}

// Whatever a server does, the answer comes in bounded time.
func TestFaults(t *testing.T) {
	const lost = "server closed the connection unexpectedly"
	for key, want := range map[string]string{
		"hang": "time limit exceeded?", "close": lost, "half": lost, "garbage": lost, "huge": lost, "columns": lost, "shutdown": "FATAL:  terminating connection?" + lost,
		"error": "ERROR:  no such thing?LINE 1: 'error'?          ^?HINT:  look?",
	} {
		t.Run(key, func(t *testing.T) {
			s := newTCPServer(t)
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
			line := "warning: pgsql query failed: fatal error from host " + s.l.Addr().String() + ": " + want
			if len(logged) != 2 || !strings.HasPrefix(logged[0], line) || !strings.HasPrefix(logged[1], line) {
				t.Errorf("%q", logged)
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
	dir := t.TempDir()
	sick, well := newFakeServer(t, "unix", dir+"/.s.PGSQL.5432"), newTCPServer(t)
	sick.fault = "close"
	h := open(t, "hosts = "+well.l.Addr().String()+" unix:"+dir+"\nuser = u\ndbname = d\nquery = '%s'\n")
	tabletest.Logged(t, func() {
		if value := tabletest.Find(t, h, "x"); value != answer {
			t.Error(value)
		}
	})
	if len(sick.asked()) != 1 || len(well.asked()) != 1 {
		t.Error(sick.asked(), well.asked())
	}
}

// An error that concerns the query only does not keep others from the server,
// and a transaction that failed does not spoil the next query.
func TestRefusedQuery(t *testing.T) {
	for _, key := range []string{"error", "error in transaction"} {
		h := open(t, newTCPServer(t).hosts()+login+"retry_interval = 1\n")
		tabletest.Logged(t, func() {
			if value := tabletest.Find(t, h, key); value != "error" {
				t.Error(value)
			}
			if key == "error" {
				if value := tabletest.Find(t, h, "x"); value != answer {
					t.Error(value)
				}
			}
		})
	}
}

func TestLogins(t *testing.T) {
	for name, c := range map[string]struct {
		greet func(s *fakeServer, c net.Conn) bool
		want  string
	}{
		"hang":    {func(s *fakeServer, _ net.Conn) bool { <-s.hung; return false }, "timeout expired?"},
		"close":   {func(*fakeServer, net.Conn) bool { return false }, ""},
		"garbage": {func(_ *fakeServer, c net.Conn) bool { io.WriteString(c, "220 mail.example ESMTP\r\n"); return false }, ""},
		"short":   {func(_ *fakeServer, c net.Conn) bool { io.WriteString(c, "R\x00\x00\x00\x04"); return false }, ""},
		"refused": {func(_ *fakeServer, c net.Conn) bool {
			b := pgproto3.NewBackend(c, c)
			b.Send(&pgproto3.ErrorResponse{Severity: "FATAL", Message: "no entry"})
			b.Flush()
			return false
		}, "FATAL:  no entry?"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newTCPServer(t)
			s.mu.Lock()
			s.greet = func(f net.Conn) bool { return c.greet(s, f) }
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
			host, port, _ := strings.Cut(s.l.Addr().String(), ":")
			prefix := "warning: connect to pgsql server " + s.l.Addr().String() + `: connection to server at "` + host + `", port ` + port + " failed: " + c.want
			if len(logged) != 2 || !strings.HasPrefix(logged[0], prefix) || !strings.HasPrefix(logged[1], prefix) {
				t.Errorf("%q", logged)
			}
		})
	}
}

func TestEncoding(t *testing.T) {
	s := newTCPServer(t)
	h := open(t, s.hosts()+login+"encoding = NONSENSE\n")
	logged := tabletest.Logged(t, func() {
		if value := tabletest.Find(t, h, "x"); value != "error" {
			t.Error(value)
		}
	})
	line := "warning: dict_pgsql: cannot set the encoding to NONSENSE, skipping " + s.l.Addr().String()
	if !slices.Equal(logged, []string{line, line}) {
		t.Errorf("%q", logged)
	}
}

func TestQuotingOfKeys(t *testing.T) {
	plain, old := newTCPServer(t), newTCPServer(t)
	old.parameters["standard_conforming_strings"] = "off"
	p, o := open(t, plain.hosts()+login), open(t, old.hosts()+login)
	long := strings.Repeat("a'", 1<<19)
	tabletest.Logged(t, func() {
		for _, key := range []string{"a'b", `a\b`, "a\nb\rc\x1ae", `a"b`, "é", long} {
			tabletest.Find(t, p, key)
			tabletest.Find(t, o, key)
		}
	})
	want := []string{"'a''b'", `'a\b'`, "'a\nb\rc\x1ae'", `'a"b'`, "'é'", "'" + strings.ReplaceAll(long, "'", "''") + "'"}
	if got := plain.asked(); !slices.Equal(got, want) {
		t.Errorf("%.200q", got)
	}
	want[1] = `'a\\b'`
	if got := old.asked(); !slices.Equal(got, want) {
		t.Errorf("%.200q", got)
	}
}

// Keys that no text of the database can be equal to are not found.
func TestInvalidKeys(t *testing.T) {
	s := newTCPServer(t)
	spec := "pgsql:" + dbtest.Write(t, filepath.Join(t.TempDir(), "p.cf"), s.hosts()+login)
	h := tabletest.Open(t, spec, table.Options{})
	logged := tabletest.Logged(t, func() {
		for _, key := range []string{"a\x00b", "\xff", "a\xc3'"} {
			if value := tabletest.Find(t, h, key); value != "none" {
				t.Errorf("%q: %s", key, value)
			}
		}
	})
	line := "warning: dict pgsql: (host " + s.l.Addr().String() + ") cannot escape input string: invalid multibyte character"
	if !slices.Equal(logged, []string{line, line}) || len(s.asked()) != 0 {
		t.Errorf("%q %q", logged, s.asked())
	}
	// A backslash that is half of a character cannot be doubled.
	s.parameters = map[string]string{"client_encoding": "SJIS", "standard_conforming_strings": "off"}
	h = tabletest.Open(t, spec, table.Options{Flags: table.Lock})
	logged = tabletest.Logged(t, func() {
		for key, want := range map[string]string{"\x95\\": "none", `a\`: answer} {
			if value := tabletest.Find(t, h, key); value != want {
				t.Errorf("%q: %s", key, value)
			}
		}
	})
	if !slices.Equal(s.asked(), []string{`'a\\'`}) || len(logged) != 2 {
		t.Error(s.asked(), logged)
	}
}

func TestHostErrors(t *testing.T) {
	for conf, want := range map[string]string{
		"hosts = postgresql://a/b c\n":     "pgsql:PATH host target 'c' requires dbname setting",
		"hosts = a\nencoding =\n":          "PATH: bad string length 0 < 1: encoding = ",
		"hosts = a\ndbname = d\nquery =\n": "PATH: bad string length 0 < 1: table = ",
	} {
		path := dbtest.Write(t, filepath.Join(t.TempDir(), "p.cf"), conf)
		h := table.Open("pgsql:"+path, table.Options{Command: true})
		if want = strings.ReplaceAll(want, "PATH", path); h.Err() == nil || h.Err().Error() != want {
			t.Error(h.Err())
		}
		h.Close()
	}
	// A connection string needs no dbname.
	s := newTCPServer(t)
	h := open(t, "hosts = postgres://"+s.l.Addr().String()+"/d?user=u\nquery = '%s'\n")
	tabletest.Logged(t, func() {
		if value := tabletest.Find(t, h, "x"); value != answer {
			t.Error(value)
		}
	})
	// A bad one does not show its password.
	h = open(t, "hosts = postgres://u:secret@h:bad/d\nquery = '%s'\n")
	for _, line := range tabletest.Logged(t, func() { tabletest.Find(t, h, "x") }) {
		if text := strings.Replace(line, "server postgres://u:secret@h:bad/d: ", "", 1); strings.Contains(text, "secret") {
			t.Error(line)
		}
	}
}

func TestExcerpt(t *testing.T) {
	a := strings.Repeat("a", 100)
	for _, c := range []struct {
		query string
		at    int
		want  string
	}{
		{"select x", 7, "LINE 1: select x\n               ^\n"}, {"a\nb\tc\nd", 4, "LINE 2: b c\n          ^\n"}, {a, 0, "LINE 1: " + a[:60] + "...\n        ^\n"},
		{a, 100, "LINE 1: ..." + a[:60] + "\n" + strings.Repeat(" ", 71) + "^\n"}, {a, 70, "LINE 1: ..." + a[:60] + "...\n" + strings.Repeat(" ", 61) + "^\n"}, {"x", 5, ""}, {"é\xff", 1, "LINE 1: é?\n         ^\n"},
	} {
		if got := excerpt(c.query, c.at); got != c.want {
			t.Errorf("%q", got)
		}
	}
}

func FuzzServerText(f *testing.F) {
	f.Add("select 1\nfrom x", int32(9), "ERROR", "hint")
	f.Fuzz(func(t *testing.T, query string, position int32, severity, hint string) {
		text := serverText(&pgconn.PgError{Severity: severity, Message: "m", Position: position, Hint: hint}, query)
		if !strings.HasPrefix(text, severity+":  m\n") || !strings.HasSuffix(text, "\n") {
			t.Errorf("%q", text)
		}
	})
}
