package tcp

import (
	"bufio"
	"io"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"suffix/pkg/table"
	"suffix/pkg/table/clienttest"
	"suffix/pkg/table/tabletest"
)

func TestMain(m *testing.M) { clienttest.Main(m, nil) }

// replies are what the test server sends, by key as it is on the wire.
var replies = map[string]string{
	"ok": "200 val\n", "2": "2 val\n", "299": "299 val\n", "20": "20\n", "200": "200\n", "2000": "2000 v\n",
	"enc": "200 a%20b%41%0ac\n", "encbad": "200 a%zz\n", "enc2": "200 a%2\n", "enc3": "200 %c3%a9 x\n", "enc4": "500 %\n",
	"nf": "500 none\n", "nf2": "599\n", "err": "400 trouble\n", "err2": "499 tr%20ouble\n", "bad": "hello\n", "bad3": "300 x\n",
	"bad1": "100 x\n", "empty": "\n", "sp": " 200 x\n", "cr": "200 val\r\n", "sp2": "200   val  x \n", "tab": "200\tval\n",
	"x2": "2x0 val\n", "2xx": "200val\n", "two": "200 a\n200 b\n", "long": "200 " + strings.Repeat("x", 4091) + "\n",
	"badlong": "foo " + strings.Repeat("x", 500) + "\n", "bin": "200 \xff\xfe\n", "nul": "200 a\x00b\n", "e00": "200 a%00b\n",
	"emptyval": "200 \n", "6": "600 x\n", "0": "0\n", "-": "-200 x\n", "5": "5\n", "4": "4\n", "a%20b%25c%C3%A9": "200 strange\n",
	"a%01%7F%C3%A9+=~\"": "200 stranger\n",
}

// lost are replies after which the server ends the connection: the client
// tries ten times.
var lost = map[string]string{"eof": "200 val", "disc": "", "long2": "200 " + strings.Repeat("x", 4092) + "\n"}

func serve(c net.Conn, _ int) {
	in := bufio.NewReader(c)
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		key := strings.TrimSuffix(strings.TrimPrefix(line, "get "), "\n")
		if reply, ok := lost[key]; ok {
			io.WriteString(c, reply)
			return
		}
		reply, ok := replies[key]
		if !ok {
			reply = "500 not found\n"
		}
		io.WriteString(c, reply)
	}
}

// quick makes the pauses and waits of this package short.
func quick(t *testing.T) {
	savedPause, savedTimeout := pause, timeout
	pause, timeout = time.Millisecond, 20*time.Millisecond
	t.Cleanup(func() { pause, timeout = savedPause, savedTimeout })
}

func TestReplies(t *testing.T) {
	s := clienttest.Serve(t, "tcp", serve)
	h := tabletest.Open(t, "tcp:"+s.Addr, table.Options{})
	const read = "warning: read TCP map reply from "
	for _, c := range []struct{ key, want, log string }{
		{"ok", "val", ""}, {"299", "val", ""}, {"enc", "a bA\nc", ""}, {"enc3", "é x", ""}, {"nf", "none", ""}, {"cr", "val\r", ""},
		{"sp2", "  val  x ", ""}, {"tab", "val", ""}, {"nul", "a", ""}, {"e00", "a", ""}, {"emptyval", "", ""}, {"a b%cé", "strange", ""},
		{"a\x01\x7fé+=~\"", "stranger", ""}, {"long", strings.Repeat("x", 4091), ""}, {"x\x00", "none", ""},
		{"err", "error", ""}, {"err2", "error", ""},
		{"2", "error", "malformed reply: 2 val"}, {"20", "error", "malformed reply: 20"}, {"200", "error", "malformed reply: 200"},
		{"2000", "error", "malformed reply: 2000 v"}, {"encbad", "error", "malformed reply: 200 a%zz"},
		{"enc2", "error", "malformed reply: 200 a%2"}, {"enc4", "error", "malformed reply: 500 %"}, {"nf2", "error", "malformed reply: 599"},
		{"bad", "error", "malformed reply: hello"}, {"bad3", "error", "bad status code: 300 x"}, {"bad1", "error", "bad status code: 100 x"},
		{"empty", "error", "malformed reply: "}, {"sp", "error", "malformed reply:  200 x"}, {"2xx", "error", "malformed reply: 200val"},
		{"badlong", "error", "malformed reply: foo " + strings.Repeat("x", 96)},
	} {
		var got string
		log := tabletest.Logged(t, func() { got = tabletest.Find(t, h, c.key) })
		if got != c.want {
			t.Errorf("%q: %.50q, want %.50q", c.key, got, c.want)
		}
		if want := read + s.Addr + ": " + c.log; c.log == "" && len(log) > 0 || c.log != "" && !slices.Equal(log, []string{strings.TrimSpace(want)}) && !slices.Equal(log, []string{want}) {
			t.Errorf("%q: logged %q, want %q", c.key, log, c.log)
		}
	}
}

// One connection serves many requests; it is dropped after trouble, and after
// a line that nobody asked for.
func TestConnection(t *testing.T) {
	s := clienttest.Serve(t, "tcp", serve)
	h := tabletest.Open(t, "tcp:"+s.Addr, table.Options{})
	for i, c := range []struct {
		key, want string
		conns     int32
	}{{"ok", "val", 1}, {"nf", "none", 1}, {"ok", "val", 1}, {"err", "error", 1}, {"ok", "val", 2}, {"two", "a", 2}, {"ok", "val", 3}, {"nf", "none", 3}} {
		if got := tabletest.Find(t, h, c.key); got != c.want || s.Conns.Load() != c.conns {
			t.Errorf("%d %s: %s, %d connections", i, c.key, got, s.Conns.Load())
		}
	}
}

// The client tries ten times, and says each time what was wrong.
func TestTries(t *testing.T) {
	quick(t)
	s := clienttest.Serve(t, "tcp", serve)
	h := tabletest.Open(t, "tcp:"+s.Addr, table.Options{})
	const read = "warning: read TCP map reply from "
	for key, text := range map[string]string{
		"eof": "text longer than 4096", "long2": "text longer than 4096", "disc": "unexpected EOF (Operation now in progress)",
	} {
		before := s.Conns.Load()
		log := tabletest.Logged(t, func() {
			if got := tabletest.Find(t, h, key); got != "error" {
				t.Errorf("%s: %s", key, got)
			}
		})
		if !slices.Equal(log, slices.Repeat([]string{read + s.Addr + ": " + text}, 10)) {
			t.Errorf("%s: %q", key, log)
		}
		if n := s.Conns.Load() - before; n != 10 {
			t.Errorf("%s: %d connections", key, n)
		}
	}
}

// A server that comes up while the client tries is found.
func TestServerComesUp(t *testing.T) {
	saved := pause
	pause = 50 * time.Millisecond
	defer func() { pause = saved }()
	s := clienttest.Serve(t, "tcp", func(c net.Conn, n int) {
		if n >= 4 {
			serve(c, n)
		}
	})
	h := tabletest.Open(t, "tcp:"+s.Addr, table.Options{})
	log := tabletest.Logged(t, func() {
		if got := tabletest.Find(t, h, "ok"); got != "val" {
			t.Error(got)
		}
	})
	if len(log) != 3 || s.Conns.Load() != 4 {
		t.Errorf("%d connections, %q", s.Conns.Load(), log)
	}
}

func TestNobodyThere(t *testing.T) {
	quick(t)
	address := clienttest.Free(t)
	h := tabletest.Open(t, "tcp:"+address, table.Options{})
	log := tabletest.Logged(t, func() {
		if _, _, err := h.Lookup("x"); err == nil || err.Error() != "Connection refused" {
			t.Error(err)
		}
	})
	if !slices.Equal(log, slices.Repeat([]string{"warning: connect to TCP map " + address + ": Connection refused"}, 10)) {
		t.Errorf("%q", log)
	}
}

func TestHangingServer(t *testing.T) {
	quick(t)
	s := clienttest.Serve(t, "tcp", func(c net.Conn, _ int) { io.Copy(io.Discard, c) })
	h := tabletest.Open(t, "tcp:"+s.Addr, table.Options{})
	log := tabletest.Logged(t, func() {
		if _, _, err := h.Lookup("x"); err == nil || err.Error() != "Connection timed out" {
			t.Error(err)
		}
	})
	if !slices.Equal(log, slices.Repeat([]string{"warning: read TCP map reply from " + s.Addr + ": unexpected EOF (Connection timed out)"}, 10)) {
		t.Errorf("%q", log)
	}
}

// A server that never ends its line costs no more memory than a line.
func TestEndlessReply(t *testing.T) {
	quick(t)
	s := clienttest.Serve(t, "tcp", func(c net.Conn, _ int) {
		block := []byte(strings.Repeat("2", 1<<16))
		for {
			if _, err := c.Write(block); err != nil {
				return
			}
		}
	})
	h := tabletest.Open(t, "tcp:"+s.Addr, table.Options{})
	log := tabletest.Logged(t, func() { tabletest.Find(t, h, "x") })
	if len(log) != 10 || !strings.HasSuffix(log[9], ": text longer than 4096") {
		t.Errorf("%q", log)
	}
}

// A server that stops in the middle of its reply, wherever: an error, never a
// wrong value. Keys may be of any kind.
func TestCutReplies(t *testing.T) {
	quick(t)
	const whole = "200 val\n"
	for n := range len(whole) + 1 {
		s := clienttest.Serve(t, "tcp", func(c net.Conn, _ int) {
			if line, err := bufio.NewReader(c).ReadString('\n'); err == nil && strings.HasPrefix(line, "get %0A%FFkkk") {
				io.WriteString(c, whole[:n])
			}
		})
		h := tabletest.Open(t, "tcp:"+s.Addr, table.Options{})
		want, lines := "error", tries
		if n == len(whole) {
			want, lines = "val", 0
		}
		var got string
		log := tabletest.Logged(t, func() { got = tabletest.Find(t, h, "\n\xff"+strings.Repeat("k", 1<<10)) })
		if got != want || len(log) != lines {
			t.Errorf("%q: %s %q", whole[:n], got, log)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	for _, c := range []struct {
		spec string
		o    table.Options
		want string
	}{
		{"tcp:a:b:1", table.Options{}, "a:b:1: valid hostname or network address required"},
		{"tcp:127.0.0.1:1", table.Options{Mode: table.ReadWrite}, "tcp:127.0.0.1:1 map requires O_RDONLY access mode"},
		{"tcp:127.0.0.1:1", table.Options{Flags: table.NoUnauth}, "tcp:127.0.0.1:1 map is not allowed for security sensitive data"},
	} {
		c.o.Command = true
		h := table.Open(c.spec, c.o)
		if h.Err() == nil || h.Err().Error() != c.want {
			t.Errorf("%s: %v, want %s", c.spec, h.Err(), c.want)
		}
		h.Close()
	}
}

// What is quoted comes back.
func FuzzQuote(f *testing.F) {
	f.Add("a b%c\n\xff")
	f.Fuzz(func(t *testing.T, text string) {
		if strings.Contains(text, "\x00") {
			return
		}
		line := string(quote([]byte("200 "), text))
		if strings.ContainsAny(line, "\n\r\t\x7f") {
			t.Errorf("%q", line)
		}
		if code, back, ok := parseReply(line); !ok || code != '2' || back != text {
			t.Errorf("%q: %q %v", text, back, ok)
		}
	})
}

func FuzzReply(f *testing.F) {
	for _, reply := range replies {
		f.Add(reply)
	}
	f.Fuzz(func(t *testing.T, in string) {
		line, err := readLine(bufio.NewReader(strings.NewReader(in)))
		if err != nil {
			return
		}
		if len(line) >= maxLine || strings.ContainsAny(line, "\n\x00") {
			t.Errorf("%q", line)
		}
		if code, text, ok := parseReply(line); ok && (!isDigit(code) || len(text) > len(line)-4 || strings.Contains(text, "\x00")) {
			t.Errorf("%q: %q", line, text)
		}
	})
}
