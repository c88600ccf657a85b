package memcache

import (
	"bufio"
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
	_ "suffix/pkg/table/simple"
	"suffix/pkg/table/tabletest"
)

func TestMain(m *testing.M) { clienttest.Main(m, setup) }

// setup is replaced where the tests have a real server.
var setup func() (stop func(), err error)

// values are the replies to get, by key, to the letter.
var values = map[string]string{
	"hit": "VALUE hit 0 3\r\nval\r\nEND\r\n", "err": "ERROR\r\n", "serr": "SERVER_ERROR out of mem\r\n", "cerr": "CLIENT_ERROR bad\r\n",
	"bad": "hello\r\n", "badlen": "VALUE badlen 0 x\r\nval\r\nEND\r\n", "short": "VALUE short 0 5\r\nval\r\nEND\r\n",
	"long": "VALUE long 0 2\r\nval\r\nEND\r\n", "big": "VALUE big 0 10241\r\n" + strings.Repeat("x", 10241) + "\r\nEND\r\n",
	"max": "VALUE max 0 10240\r\n" + strings.Repeat("x", 10240) + "\r\nEND\r\n", "neg": "VALUE neg 0 -1\r\nval\r\nEND\r\n",
	"other": "VALUE foo 0 3\r\nval\r\nEND\r\n", "noend": "VALUE noend 0 3\r\nval\r\nFOO\r\n",
	"empty": "VALUE empty 0 0\r\n\r\nEND\r\n", "lf": "VALUE lf 0 3\nval\nEND\n", "lfline": "VALUE lf 0 3\nval\r\nEND\r\n",
	"extra": "VALUE extra 0 3 77\r\nval\r\nEND\r\n", "nof": "VALUE nof 3\r\nval\r\nEND\r\n",
	"two": "VALUE two 0 1\r\na\r\nVALUE two 0 1\r\nb\r\nEND\r\n", "nul": "VALUE nul 0 3\r\na\x00b\r\nEND\r\n",
	"bin": "VALUE bin 0 2\r\n\xff\xfe\r\nEND\r\n", "blank": "\r\n", "flags": "VALUE flags x 3\r\nval\r\nEND\r\n",
	"lc": "value lc 0 3\r\nval\r\nEND\r\n", "crval": "VALUE crval 0 4\r\na\r\nb\r\nEND\r\n", "endx": "ENDX\r\n", "end2": "END foo\r\n",
	"hi": "VALUE hi 0 99999999999\r\nv\r\nEND\r\n", "longtext": strings.Repeat("abcdefghi ", 30) + "\r\n",
	"line1024": "END" + strings.Repeat(" ", 1021) + "\r\n", "len3x": "VALUE len3x 0 3x\r\nval\r\nEND\r\n",
	"valuex": "VALUEx valuex 0 3\r\nval\r\nEND\r\n", "blanks": "VALUE   blanks  0   3\r\nval\r\nEND\r\n", "lead": " VALUE lead 0 3\r\nval\r\nEND\r\n",
	"n8": strings.Repeat("x", 1022) + "\r\n", "n9": strings.Repeat("x", 1023) + "\r\n", "n10": strings.Repeat("x", 1024) + "\r\n", "n11": strings.Repeat("x", 1025) + "\r\n",
}

// These end the connection.
var lost = map[string]string{"disc": "", "half": "VALUE half 0 3\r\nva", "dropend": "VALUE dropend 0 3\r\nval\r\n", "partial": "VALUE par",
	"longline": strings.Repeat("x", 1100)}

var stored = map[string]string{"snot": "NOT_STORED\r\n", "serr": "SERVER_ERROR object too large for cache and more words\r\n", "sdisc": ""}
var deleted = map[string]string{"dnf": "NOT_FOUND\r\n", "derr": "ERROR\r\n", "dlong": "CLIENT_ERROR " + strings.Repeat("x", 200) + "\r\n", "ddisc": ""}

// recorder serves as the tables above say, and remembers the requests.
type recorder struct {
	mu       sync.Mutex
	requests []string
}

func (r *recorder) note(text string) {
	r.mu.Lock()
	r.requests = append(r.requests, text)
	r.mu.Unlock()
}

// take returns what was requested since the last call.
func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	got := r.requests
	r.requests = nil
	return got
}

func (r *recorder) serve(c net.Conn, _ int) {
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		words := append(strings.Fields(line), "", "")
		reply, ok := "", false
		switch words[0] {
		case "get":
			r.note(strings.TrimSpace(line))
			if reply, ok = lost[words[1]]; ok {
				io.WriteString(c, reply)
				return
			}
			if reply, ok = values[words[1]]; !ok {
				reply = "END\r\n"
			}
		case "set":
			data, _ := in.ReadString('\n')
			r.note(strings.TrimSpace(line) + "|" + strings.TrimSuffix(data, "\r\n"))
			if reply, ok = stored[words[1]]; !ok {
				reply = "STORED\r\n"
			}
		case "delete":
			r.note(strings.TrimSpace(line))
			if reply, ok = deleted[words[1]]; !ok {
				reply = "DELETED\r\n"
			}
		}
		if reply == "" {
			return
		}
		io.WriteString(c, reply)
	}
}

func quick(t *testing.T) {
	saved := second
	second = time.Millisecond
	t.Cleanup(func() { second = saved })
}

func start(t *testing.T, o table.Options, lines ...string) (*table.Handle, *recorder, string) {
	t.Helper()
	quick(t)
	r := new(recorder)
	s := clienttest.Serve(t, "tcp", r.serve)
	path := clienttest.File(t, append(lines, "memcache = inet:"+s.Addr)...)
	return tabletest.Open(t, "memcache:"+path, o), r, path
}

func TestLookup(t *testing.T) {
	h, _, path := start(t, table.Options{})
	reply := "warning: " + path + ": unexpected memcache server reply: "
	const inProgress = ": I/O error: Operation now in progress"
	for _, c := range []struct{ key, want, log string }{
		{"hit", "val", ""}, {"miss", "none", ""}, {"max", strings.Repeat("x", 10240), ""}, {"other", "val", ""}, {"noend", "val", ""},
		{"empty", "", ""}, {"extra", "val", ""}, {"nul", "a", ""}, {"crval", "a\r\nb"[:4], ""}, {"two", "a", ""}, {"dropend", "val", ""},
		{"a b", "none", ""}, {"a\x01", "none", ""}, {"a\r\nb", "none", ""}, {"a\x00b", "none", ""}, {"a\x7fb", "none", ""},
		{"err", "error", reply + "ERROR"}, {"serr", "error", reply + "SERVER_ERROR out of mem"}, {"bad", "error", reply + "hello"},
		{"badlen", "error", reply + "VALUE badlen 0 x"}, {"neg", "error", reply + "VALUE neg 0 -1"}, {"big", "error", reply + "VALUE big 0 10241"},
		{"hi", "error", reply + "VALUE hi 0 99999999999"}, {"nof", "error", reply + "VALUE nof 3"},
		{"short", "error", "warning: " + path + ": EOF receiving memcache server reply"},
		{"half", "error", "warning: " + path + ": EOF receiving memcache server reply"},
		{"disc", "error", "warning: database memcache:" + path + inProgress},
		{"partial", "error", "warning: database memcache:" + path + inProgress},
		{"longline", "error", "warning: database memcache:" + path + inProgress},
	} {
		var got string
		log := tabletest.Logged(t, func() { got = tabletest.Find(t, h, c.key) })
		if got != c.want {
			t.Errorf("%q: %.50q, want %.50q", c.key, got, c.want)
		}
		if c.log == "" && len(log) > 0 || c.log != "" && !slices.Equal(log, []string{c.log}) {
			t.Errorf("%q: logged %q, want %q", c.key, log, c.log)
		}
	}
}

// A hit in the backup is stored at the server; a failing server does not hide
// the backup.
func TestBackup(t *testing.T) {
	h, r, path := start(t, table.Options{}, "backup = inline:{one=1 snot=2 disc=3 hit=4}", "ttl = 77", "flags = 5")
	for _, c := range []struct {
		key, want string
		requests  []string
		logged    int
	}{
		{"hit", "val", []string{"get hit"}, 0},
		{"one", "1", []string{"get one", "set one 5 77 1|1"}, 0},
		{"none", "none", []string{"get none"}, 0},
		{"snot", "2", []string{"get snot", "set snot 5 77 1|2", "set snot 5 77 1|2"}, 1},
		{"disc", "3", []string{"get disc", "get disc", "set disc 5 77 1|3"}, 1},
	} {
		var got string
		log := tabletest.Logged(t, func() { got = tabletest.Find(t, h, c.key) })
		if requests := r.take(); got != c.want || !slices.Equal(requests, c.requests) || len(log) != c.logged {
			t.Errorf("%s: %q, %q, %q", c.key, got, requests, log)
		}
	}
	cursor, err := h.Cursor()
	if err != nil {
		t.Fatal(err)
	}
	if key, value, ok, err := cursor.Next(); key == "" || value == "" || !ok || err != nil {
		t.Errorf("%q %q %v %v", key, value, ok, err)
	}
	if uid, known := h.Owner(); known {
		t.Errorf("owner %d: the server has none", uid)
	}
	if h.Flags()&(table.MultiWriter|table.FixedKeys) != table.MultiWriter|table.FixedKeys {
		t.Errorf("flags %s", h.Flags())
	}
	_ = path
}

// Changes go to the server and to the backup.
func TestChanges(t *testing.T) {
	h, r, path := start(t, table.Options{Mode: table.ReadWrite, Flags: table.ReplaceDup}, "backup = internal:x")
	log := tabletest.Logged(t, func() {
		for _, key := range []string{"a", "snot", "sdisc", "b c"} {
			if err := h.Update(key, "v"); err != nil {
				t.Errorf("%s: %v", key, err)
			}
		}
	})
	want := []string{"set a 0 3600 1|v", "set snot 0 3600 1|v", "set snot 0 3600 1|v", "set sdisc 0 3600 1|v", "set sdisc 0 3600 1|v"}
	if got := r.take(); !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	if want := []string{"warning: database memcache:" + path + ": update failed: NOT_STORED",
		"warning: database memcache:" + path + ": I/O error: Operation now in progress",
		"warning: " + path + `: skipping update for name "b c": name contains space or controls`}; !slices.Equal(log, want) {
		t.Errorf("%q", log)
	}
	for _, key := range []string{"a", "b"} {
		h.Update(key, "v")
		if got := tabletest.Find(t, h, key); got != "v" {
			t.Errorf("%s: %s", key, got)
		}
		if found, err := h.Delete(key); !found || err != nil {
			t.Errorf("delete %s: %v %v", key, found, err)
		}
		if got := tabletest.Find(t, h, key); got != "none" {
			t.Errorf("%s after delete: %s", key, got)
		}
	}
}

// Without a backup the server's word counts.
func TestServerAlone(t *testing.T) {
	h, r, path := start(t, table.Options{Mode: table.ReadWrite}, "data_size_limit = 4")
	log := tabletest.Logged(t, func() {
		for key, good := range map[string]bool{"a": true, "snot": false} {
			if err := h.Update(key, "v"); (err == nil) != good {
				t.Errorf("%s: %v", key, err)
			}
		}
		if err := h.Update("long", "12345"); err == nil {
			t.Error("a value was kept that is too long")
		}
		for key, want := range map[string]string{"a": "true <nil>", "dnf": "false <nil>", "derr": "false Operation now in progress", "x y": "false <nil>"} {
			found, err := h.Delete(key)
			if got := fmt.Sprint(found, err); got != want && got != strings.Replace(want, " ", "", 1) {
				t.Errorf("%s: %s", key, got)
			}
		}
		if cursor, err := h.Cursor(); err != nil {
			t.Error(err)
		} else if _, _, ok, err := cursor.Next(); ok || err != nil {
			t.Error(ok, err)
		}
	})
	slices.Sort(log)
	if want := []string{
		"warning: database memcache:" + path + ": data for key long is too long (data_size_limit=4) -- not stored",
		"warning: database memcache:" + path + ": delete failed: ERROR",
		"warning: database memcache:" + path + ": first/next support requires backup database",
		"warning: database memcache:" + path + ": update failed: NOT_STORED",
	}; !slices.Equal(log, want) {
		t.Errorf("%q", log)
	}
	for _, request := range r.take() {
		if strings.Contains(request, "x y") || strings.Contains(request, "long") {
			t.Errorf("%q", request)
		}
	}
}

func TestKeys(t *testing.T) {
	for _, c := range []struct{ setting, key, want string }{
		{"key_format = p:%s", "a@b.c", "get p:a@b.c"}, {"key_format = %u", "a@b.c", "get a"}, {"key_format = %d", "a", ""},
		{"key_format = %2.%1", "a@b.c", "get b.c"}, {"key_format = a b", "x", ""}, {"key_format =", "x", ""},
		{"domain = b.c", "a@b.c", "get a@b.c"}, {"domain = b.c", "a@b.d", ""}, {"domain = b.c", "a", ""}, {"domain = b.c", "@b.c", ""},
		{"key_digest = sha256", "abc", "get ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},
		{"key_digest = md5", "a b\n", "get 7557d2f3a6ad1a3a8ebd23a94ab0c642"},
		{"key_digest = SHA1", "abc", "get a9993e364706816aba3e25717850c26c9cd0d89d"},
	} {
		h, r, _ := start(t, table.Options{}, c.setting)
		tabletest.Find(t, h, c.key)
		got := strings.Join(r.take(), ",")
		if got != c.want {
			t.Errorf("%s, %q: %q, want %q", c.setting, c.key, got, c.want)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	for _, c := range []struct {
		setting string
		o       table.Options
		want    string
	}{
		{"max_try = 0", table.Options{}, "PATH: invalid max_try parameter value 0 < 1"},
		{"ttl = 1h", table.Options{}, "PATH: bad numerical configuration: ttl = 1h"},
		{"key_format = %x", table.Options{}, "db_common_parse: PATH: Invalid query template: %x"},
		{"key_digest = rot13", table.Options{}, "PATH: unknown digest algorithm: key_digest = rot13"},
		{"memcache = localhost:1", table.Options{}, "invalid transport name: localhost in service: localhost:1"},
		{"memcache =", table.Options{}, `need service transport:endpoint instead of ""`},
		{"backup = foo:x", table.Options{}, "unsupported dictionary type: foo"},
		{"", table.Options{Mode: table.Bulk}, "memcache:PATH map requires O_RDONLY or O_RDWR access mode"},
		{"", table.Options{Flags: table.NoUnauth}, "memcache:PATH map is not allowed for security-sensitive data"},
	} {
		path := clienttest.File(t, c.setting)
		c.o.Command = true
		h := table.Open("memcache:"+path, c.o)
		if want := strings.ReplaceAll(c.want, "PATH", path); h.Err() == nil || h.Err().Error() != want {
			t.Errorf("%s: %v, want %s", c.setting, h.Err(), want)
		}
		h.Close()
	}
}

// The settings may stand in main.cf.
func TestMainCf(t *testing.T) {
	s := clienttest.Serve(t, "unix", new(recorder).serve)
	h := tabletest.Open(t, "memcache:mine", table.Options{Config: &mainCf{"mine_memcache": "unix:" + s.Addr}})
	if got := tabletest.Find(t, h, "hit"); got != "val" {
		t.Error(got)
	}
}

type mainCf map[string]string

func (m *mainCf) Lookup(name string) (string, bool) { v, ok := (*m)[name]; return v, ok }
func (m *mainCf) String(params.String) string       { return "" }
func (m *mainCf) Bool(params.Bool) bool             { return false }
func (m *mainCf) Int(params.Int) int                { return 0 }
func (m *mainCf) Time(params.Time) time.Duration    { return 0 }
func (m *mainCf) Dialect37() bool                   { return false }

// Servers that hang, or never end: time and memory are bounded.
func TestHostileServers(t *testing.T) {
	quick(t)
	for name, serve := range map[string]func(c net.Conn, _ int){
		"hang":    func(c net.Conn, _ int) { io.Copy(io.Discard, c) },
		"endless": func(c net.Conn, _ int) { endless(c, "x") },
		"value":   func(c net.Conn, _ int) { io.WriteString(c, "VALUE x 0 10240\r\n"); endless(c, "x") },
		"lines":   func(c net.Conn, _ int) { endless(c, "VALUE x 0 5\r\n") },
		"close":   func(c net.Conn, _ int) {},
	} {
		s := clienttest.Serve(t, "tcp", serve)
		h := tabletest.Open(t, "memcache:"+clienttest.File(t, "memcache = inet:"+s.Addr, "timeout = 1"), table.Options{})
		h.Driver().(*memcache).timeout = 50 * time.Millisecond
		log := tabletest.Logged(t, func() {
			if got := tabletest.Find(t, h, "x"); got != "error" {
				t.Errorf("%s: %s", name, got)
			}
		})
		if len(log) != 1 || s.Conns.Load() != 2 {
			t.Errorf("%s: %d connections, %q", name, s.Conns.Load(), log)
		}
	}
}

func endless(c net.Conn, text string) {
	block := []byte(strings.Repeat(text, 1000))
	for {
		if _, err := c.Write(block); err != nil {
			return
		}
	}
}

// Every beginning of a good reply is either an error or the value; never
// something else, and never a wait for more than the time limit.
func TestCutReplies(t *testing.T) {
	const whole = "VALUE hit 0 3\r\nval\r\nEND\r\n"
	for n := range len(whole) + 1 {
		r := bufio.NewReader(strings.NewReader(whole[:n]))
		line, err := readLine(r, 1024)
		if err != nil {
			continue
		}
		length, ok := parseValue(line)
		if !ok {
			t.Errorf("%q: %q", whole[:n], line)
			continue
		}
		if data, err := readData(r, length); err == nil && data != "val" {
			t.Errorf("%q: %q", whole[:n], data)
		}
	}
}

func FuzzReply(f *testing.F) {
	for _, reply := range values {
		f.Add(reply)
	}
	f.Fuzz(func(t *testing.T, in string) {
		r := bufio.NewReader(strings.NewReader(in))
		line, err := readLine(r, 100)
		if err != nil {
			return
		}
		if len(line) > 100 || strings.Contains(line, "\n") {
			t.Errorf("line %q", line)
		}
		length, ok := parseValue(line)
		if !ok || length > 1000 {
			return
		}
		if data, err := readData(r, length); err == nil && len(data) != length {
			t.Errorf("%d bytes, want %d", len(data), length)
		}
	})
}
