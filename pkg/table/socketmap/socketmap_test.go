package socketmap

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"suffix/pkg/params"
	"suffix/pkg/table"
	"suffix/pkg/table/clienttest"
	"suffix/pkg/table/tabletest"
)

func TestMain(m *testing.M) { clienttest.Main(m, nil) }

// replies are what the test server sends, by key, to the letter.
var replies = map[string]string{
	"ok": "6:OK val,", "okempty": "3:OK ,", "okonly": "2:OK,", "nf": "9:NOTFOUND ,", "nf2": "8:NOTFOUND,", "nf3": "14:NOTFOUND extra,",
	"temp": "11:TEMP why me,", "temp0": "4:TEMP,", "tmo": "12:TIMEOUT slow,", "perm": "8:PERM bad,", "perm0": "5:PERM ,",
	"unk": "7:FOO bar,", "unk0": "3:FOO,", "empty": "0:,", "lc": "6:ok val,", "garb": "hello world", "nolen": ":abc,",
	"zero": "03:abc,", "nocomma": "6:OK valx", "huge": "100001:", "long": "99999999999999999999:",
	"max": "100000:OK " + strings.Repeat("x", 99997) + ",", "over": "100001:OK " + strings.Repeat("x", 99998) + ",",
	"nul": "6:OK a\x00b,", "bin": "5:OK \xff\xfe,", "nl": "6:OK a\nb,", "half": "6:OK", "tab": "6:OK\tval,", "sp2": "8:OK  val ,",
	"neg": "-1:", "sp": " 6:OK val,", "two": "4:OK a,4:OK b,", "np": "10:TEMP a\x01\xff b,", "digit": "1", "disc": "",
}

// serve answers requests as replies say. What has no whole reply ends the
// connection.
func serve(c net.Conn, _ int) {
	in := bufio.NewReader(c)
	for {
		request, err := readNetstring(in, 1<<24)
		if err != nil {
			return
		}
		_, key, _ := strings.Cut(request, " ")
		reply, ok := replies[key]
		if !ok {
			reply = "9:NOTFOUND ,"
		}
		io.WriteString(c, reply)
		if !strings.HasSuffix(reply, ",") {
			return
		}
	}
}

type settings struct {
	table.Config
	query, reply int
	old          bool
}

func (s settings) Int(p params.Int) int {
	if p == params.SocketmapMaxQuerySize {
		return s.query
	}
	return s.reply
}
func (s settings) Bool(params.Bool) bool { return true }
func (s settings) Dialect37() bool       { return s.old }

func TestReplies(t *testing.T) {
	for _, network := range []string{"tcp", "unix"} {
		s := clienttest.Serve(t, network, serve)
		spec := "socketmap:" + map[string]string{"tcp": "inet:", "unix": "unix:"}[network] + s.Addr + ":m"
		h := tabletest.Open(t, spec, table.Options{})
		for _, c := range []struct{ key, want, log string }{
			{"ok", "val", ""}, {"okempty", "", ""}, {"okonly", "", ""}, {"nf", "none", ""}, {"nf2", "none", ""}, {"nf3", "none", ""},
			{"sp2", " val ", ""}, {"nul", "a", ""}, {"nl", "a\nb", ""}, {"max", strings.Repeat("x", 99997), ""},
			{"a\x00b", "none", ""},
			{"temp", "error", spec + " socketmap server temporary error: why me"},
			{"temp0", "error", spec + " socketmap server temporary error"},
			{"tmo", "error", spec + " socketmap server timeout error: slow"},
			{"perm", "config", spec + " socketmap server permanent error: bad"},
			{"perm0", "config", spec + " socketmap server permanent error"},
			{"unk", "error", spec + " socketmap server unknown error: bar"},
			{"empty", "error", spec + " socketmap server unknown error"},
			{"tab", "error", spec + " socketmap server unknown error"},
			{"garb", "error", "table " + spec + " lookup error: input format error"},
			{"nocomma", "error", "table " + spec + " lookup error: input format error"},
			{"neg", "error", "table " + spec + " lookup error: input format error"},
			{"over", "error", "table " + spec + " lookup error: input exceeds size limit"},
			{"long", "error", "table " + spec + " lookup error: input exceeds size limit"},
			{"half", "error", "table " + spec + " lookup error: unexpected disconnect"},
			{"digit", "error", "table " + spec + " lookup error: unexpected disconnect"},
			{"disc", "error", "table " + spec + " lookup error: unexpected disconnect"},
		} {
			var got string
			log := tabletest.Logged(t, func() {
				value, found, err := h.Lookup(c.key)
				switch {
				case table.IsConfig(err):
					got = "config"
				case err != nil:
					got = "error"
				case found:
					got = value
				default:
					got = "none"
				}
			})
			if got != c.want {
				t.Errorf("%s %q: %.50q, want %.50q", network, c.key, got, c.want)
			}
			if want := "warning: " + c.log; c.log == "" && len(log) > 0 || c.log != "" && !slices.Equal(log, []string{want}) {
				t.Errorf("%s %q: logged %q, want %q", network, c.key, log, c.log)
			}
		}
	}
}

// All maps of a server share its connection; a reply that nobody asked for
// ends it, so that it cannot be taken for the answer to another request.
func TestConnections(t *testing.T) {
	s := clienttest.Serve(t, "tcp", serve)
	a := tabletest.Open(t, "socketmap:inet:"+s.Addr+":a", table.Options{})
	b := tabletest.Open(t, "socketmap:inet:"+s.Addr+":b", table.Options{})
	for range 3 {
		if got := tabletest.Find(t, a, "ok") + tabletest.Find(t, b, "ok"); got != "valval" {
			t.Error(got)
		}
	}
	if n := s.Conns.Load(); n != 1 {
		t.Errorf("%d connections for two maps", n)
	}
	if got := tabletest.Find(t, a, "two"); got != "a" {
		t.Error(got)
	}
	if got := tabletest.Find(t, a, "ok"); got != "val" {
		t.Errorf("after an extra reply: %q", got)
	}
	if n := s.Conns.Load(); n != 2 {
		t.Errorf("%d connections, want a second one", n)
	}
}

// A connection that the server has closed is made anew without a word, and a
// request over a fresh one that is lost is made once more.
func TestReconnect(t *testing.T) {
	s := clienttest.Serve(t, "tcp", func(c net.Conn, n int) {
		if _, err := readNetstring(bufio.NewReader(c), 1000); err == nil && n > 1 {
			io.WriteString(c, "6:OK val,")
		}
	})
	h := tabletest.Open(t, "socketmap:inet:"+s.Addr+":a", table.Options{})
	log := tabletest.Logged(t, func() {
		for range 3 {
			if got := tabletest.Find(t, h, "x"); got != "val" {
				t.Error(got)
			}
		}
	})
	if len(log) > 0 {
		t.Errorf("%q", log)
	}
	if n := s.Conns.Load(); n != 4 {
		t.Errorf("%d connections", n)
	}
}

func TestLimits(t *testing.T) {
	s := clienttest.Serve(t, "tcp", serve)
	spec := "socketmap:inet:" + s.Addr + ":a"
	h := tabletest.Open(t, spec, table.Options{Config: settings{query: 200, reply: 5}})
	log := tabletest.Logged(t, func() {
		if got := tabletest.Find(t, h, strings.Repeat("k", 201)); got != "none" {
			t.Error(got)
		}
		if got := tabletest.Find(t, h, strings.Repeat("k", 200)); got != "error" {
			t.Error(got) // NOTFOUND is too long a reply
		}
	})
	want := []string{"warning: table " + spec + " query too large: '" + strings.Repeat("k", 100) + "', returning 'not found'",
		"warning: table " + spec + " lookup error: input exceeds size limit"}
	if !slices.Equal(log, want) {
		t.Errorf("%q", log)
	}
	old := tabletest.Open(t, spec, table.Options{Config: settings{query: 200, reply: 100, old: true}})
	if got := tabletest.Find(t, old, "okonly"); got != "none" {
		t.Errorf("3.7: %q", got)
	}
}

// A server that does not answer costs the time limit, once.
func TestTimeout(t *testing.T) {
	saved := timeout
	timeout = 50 * time.Millisecond
	defer func() { timeout = saved }()
	s := clienttest.Serve(t, "unix", func(c net.Conn, _ int) { io.Copy(io.Discard, c) })
	h := tabletest.Open(t, "socketmap:unix:"+s.Addr+":m", table.Options{})
	log := tabletest.Logged(t, func() {
		if _, _, err := h.Lookup("x"); err == nil || err.Error() != "Connection timed out" {
			t.Error(err)
		}
	})
	if want := "warning: table socketmap:unix:" + s.Addr + ":m lookup error: time limit exceeded"; !slices.Equal(log, []string{want}) {
		t.Errorf("%q", log)
	}
	if n := s.Conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

func TestOpenErrors(t *testing.T) {
	for _, c := range []struct {
		spec string
		o    table.Options
		want string
	}{
		{"socketmap:x", table.Options{}, "socketmap requires server:socketmap argument"},
		{"socketmap:foo:bar", table.Options{}, `need service transport:endpoint instead of "foo"`},
		{"socketmap:foo:1:bar", table.Options{}, `invalid transport name: foo in service: foo:1`},
		{"socketmap:inet:a:b:c:bar", table.Options{}, "a:b:c: valid hostname or network address required"},
		{"socketmap:inet:[::1:bar", table.Options{}, `[::1: missing "]"`},
		{"socketmap:unix::bar", table.Options{}, `need service transport:endpoint instead of "unix:"`},
		{"socketmap:unix:/x:bar", table.Options{Mode: table.ReadWrite}, "socketmap:unix:/x:bar map requires O_RDONLY access mode"},
		{"socketmap:unix:/x:bar", table.Options{Flags: table.NoUnauth}, "socketmap:unix:/x:bar map is not allowed for security-sensitive data"},
	} {
		c.o.Command = true
		h := table.Open(c.spec, c.o)
		if h.Err() == nil || h.Err().Error() != c.want {
			t.Errorf("%s: %v, want %s", c.spec, h.Err(), c.want)
		}
		h.Close()
	}
}

func TestNoServer(t *testing.T) {
	address := clienttest.Free(t)
	h := tabletest.Open(t, "socketmap:inet:"+address+":m", table.Options{})
	log := tabletest.Logged(t, func() {
		if _, _, err := h.Lookup("x"); err == nil || err.Error() != "Connection refused" {
			t.Error(err)
		}
	})
	if want := []string{"warning: connect to " + address + ": Connection refused",
		"warning: table socketmap:inet:" + address + ":m lookup error: Connection refused"}; !slices.Equal(log, want) {
		t.Errorf("%q", log)
	}
}

// A server that stops in the middle of its reply, wherever: an error, never a
// wrong value.
func TestCutReplies(t *testing.T) {
	const whole = "6:OK val,"
	for n := range len(whole) + 1 {
		s := clienttest.Serve(t, "tcp", func(c net.Conn, _ int) {
			if _, err := readNetstring(bufio.NewReader(c), 1<<21); err == nil {
				io.WriteString(c, whole[:n])
			}
		})
		spec := "socketmap:inet:" + s.Addr + ":m"
		h := tabletest.Open(t, spec, table.Options{})
		want, lines := "error", []string{"warning: table " + spec + " lookup error: unexpected disconnect"}
		if n == len(whole) {
			want, lines = "val", nil
		}
		var got string
		log := tabletest.Logged(t, func() { got = tabletest.Find(t, h, "key\nwith\xffanything") })
		if got != want || !slices.Equal(log, lines) {
			t.Errorf("%q: %s %q", whole[:n], got, log)
		}
	}
}

// Memory grows with what the server sends, not with what it announces.
func TestAnnouncedLength(t *testing.T) {
	r := bufio.NewReader(strings.NewReader("999999999:abc"))
	allocated := testing.AllocsPerRun(1, func() {
		if _, err := readNetstring(r, 1<<30); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	})
	if allocated > 100 {
		t.Errorf("%v allocations", allocated)
	}
}

// Whatever arrives, nothing longer than the limit comes out, and a netstring
// that is accepted is what its text makes.
func FuzzNetstring(f *testing.F) {
	for _, reply := range replies {
		f.Add(reply)
	}
	f.Fuzz(func(t *testing.T, in string) {
		text, err := readNetstring(bufio.NewReader(strings.NewReader(in)), 1000)
		if err != nil {
			return
		}
		made := string(appendNetstring(nil, text))
		if len(text) > 1000 || !strings.HasPrefix(strings.TrimLeft(in, "0"), strings.TrimLeft(made, "0")) {
			t.Errorf("%q from %q", text, in)
		}
	})
}

// Lookups at the same time do not get each other's replies.
func TestConcurrent(t *testing.T) {
	s := clienttest.Serve(t, "tcp", func(c net.Conn, _ int) {
		in := bufio.NewReader(c)
		for n := 1; n < 20; n++ { // then the client has to connect again
			request, err := readNetstring(in, 1000)
			if err != nil {
				return
			}
			c.Write(appendNetstring(nil, "OK "+request))
		}
	})
	h := tabletest.Open(t, "socketmap:inet:"+s.Addr+":m", table.Options{})
	var wait sync.WaitGroup
	for i := range 8 {
		wait.Go(func() {
			for j := range 100 {
				key := fmt.Sprint("key", i, "-", j)
				if value, found, err := h.Lookup(key); value != "m "+key || !found || err != nil {
					t.Errorf("%s: %q %v %v", key, value, found, err)
				}
			}
		})
	}
	wait.Wait()
}
