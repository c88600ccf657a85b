package service

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"suffix/pkg/attr"
)

// Under a foreign master, one client at a time, with reports around it.
func TestClassic(t *testing.T) {
	r := newRig(t, "single")
	p := r.start(nil, "-t", "unix")
	for range 2 {
		c := r.dial()
		if got := c.ask("hello"); got != "hello" {
			t.Fatalf("%q", got)
		}
		r.expect(p, Taken)
		c.Close()
		r.expect(p, Available)
	}
	if _, err := os.Stat(filepath.Join(r.in.Queue(), "pid/unix.single")); err != nil {
		t.Error(err)
	}
	// A second client waits until the first is done.
	first, second := r.dial(), r.dial()
	first.ask("one")
	second.Write([]byte("two\n"))
	second.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := second.r.Peek(1); err == nil {
		t.Error("two clients at once")
	}
	second.SetReadDeadline(time.Now().Add(patience))
	first.Close()
	if _, err := second.r.ReadString('\n'); err != nil {
		t.Error(err)
	}
	r.expect(p, Taken, Available, Taken)
	// Master's end of the channel goes: the client is served to its end.
	r.status.Close()
	r.peer.Close()
	if got := second.ask("still"); got != "still" {
		t.Errorf("%q", got)
	}
	second.Close()
	if status := r.ends(p); status != 0 {
		t.Errorf("exit status %d", status)
	}
	r.noted("exits", "exit\n")
}

// Processes of one service take turns: two of them serve two clients.
func TestClassicTurns(t *testing.T) {
	r := newRig(t, "single")
	r.start(nil, "-t", "unix")
	r.start(nil, "-t", "unix")
	a, b := r.dial(), r.dial()
	a.ask("x")
	b.ask("y")
	if x, y := r.report(), r.report(); x.PID == y.PID || x.State != Taken || y.State != Taken {
		t.Errorf("%+v %+v", x, y)
	}
}

func TestMaxUse(t *testing.T) {
	r := newRig(t, "single")
	p := r.start(nil, "-t", "unix", "-o", "max_use=2")
	for range 2 {
		c := r.dial()
		c.ask("x")
		c.Close()
		r.expect(p, Taken, Available)
	}
	if status := r.ends(p); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

func TestMaxIdle(t *testing.T) {
	r := newRig(t, "single")
	p := r.start(nil, "-t", "unix", "-i", "1s")
	if status := r.ends(p); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// Our master's child serves as many clients as the limit says, and no more.
func TestSessions(t *testing.T) {
	r := newRig(t, "single")
	p := r.start([]string{EnvSessionLimit + "=3", EnvInProcess + "=private/rewrite=trivial-rewrite public/cleanup=cleanup"}, "-t", "unix")
	first := r.dial()
	if got := first.ask("stress"); got != "false" {
		t.Errorf("stress %s", got)
	}
	if got := first.ask("inside"); got != "true" {
		t.Errorf("inside %s", got)
	}
	if got := first.ask("env"); got != "" {
		t.Errorf("master's variables are passed on: %s", got)
	}
	first.Close()
	// The first completed session is news: the process works.
	r.expect(p, Available)
	var clients []*client
	for range 3 {
		c := r.dial()
		c.ask("x")
		clients = append(clients, c)
	}
	r.expect(p, Taken)
	if got := clients[0].ask("stress"); got != "true" {
		t.Errorf("stress %s", got)
	}
	fourth := r.dial()
	fourth.Write([]byte("y\n"))
	fourth.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, err := fourth.r.Peek(1); err == nil {
		t.Error("four clients at once")
	}
	fourth.SetReadDeadline(time.Now().Add(patience))
	clients[0].Close()
	r.expect(p, Available)
	if _, err := fourth.r.ReadString('\n'); err != nil {
		t.Error(err)
	}
	r.expect(p, Taken)
	fourth.Close()
	r.expect(p, Available)
	// A reload: no more clients, but those there are stay.
	r.status.Close()
	r.peer.Close()
	r.status, r.peer = nil, nil
	r.newStatus()
	r.noted("drained", "yes\n")
	late := r.dial()
	if got := clients[1].ask("still"); got != "still" {
		t.Errorf("%q", got)
	}
	clients[1].Close()
	clients[2].Close()
	if status := r.ends(p); status != 0 {
		t.Errorf("exit status %d", status)
	}
	// The one at the door is for the next process.
	r.start([]string{EnvSessionLimit + "=3"}, "-t", "unix")
	if got := late.ask("hello"); got != "hello" {
		t.Errorf("%q", got)
	}
}

// max_use counts for each of the clients that may be there at once.
func TestSessionsRetire(t *testing.T) {
	r := newRig(t, "single")
	p := r.start([]string{EnvSessionLimit + "=2"}, "-t", "unix", "-m", "2")
	stays := r.dial()
	stays.ask("x")
	for range 2 {
		c := r.dial()
		c.ask("x")
		c.Close()
		r.expect(p, Taken, Available)
	}
	last := r.dial()
	last.ask("x")
	r.expect(p, Retiring)
	last.Close()
	if got := stays.ask("y"); got != "y" {
		t.Errorf("%q", got)
	}
	stays.Close()
	if status := r.ends(p); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// The client after a change of a table meets a process that knows it.
func TestTableChange(t *testing.T) {
	for _, env := range [][]string{nil, {EnvSessionLimit + "=5"}} {
		r := newRig(t, "single")
		p := r.start(env, "-t", "unix")
		stays := r.dial()
		stays.ask("x")
		if env == nil {
			stays.Close()
		}
		if err := os.WriteFile(filepath.Join(r.in.Queue(), "changed"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		late := r.dial()
		r.logged("]: table hash:test has changed -- restarting")
		if env != nil {
			r.expect(p, Retiring)
			if got := stays.ask("still"); got != "still" {
				t.Errorf("%q", got)
			}
			stays.Close()
		}
		if status := r.ends(p); status != 0 {
			t.Errorf("exit status %d", status)
		}
		if err := os.Remove(filepath.Join(r.in.Queue(), "changed")); err != nil {
			t.Fatal(err)
		}
		r.start(env, "-t", "unix")
		if got := late.ask("hello"); got != "hello" {
			t.Errorf("%q", got)
		}
	}
}

// A panic is one session's; many of them are the process's.
func TestPanic(t *testing.T) {
	r := newRig(t, "single")
	p := r.start([]string{EnvSessionLimit + "=5"}, "-t", "unix")
	other := r.dial()
	other.ask("x")
	for i := range 4 {
		c := r.dial()
		c.Write([]byte("panic\n"))
		c.gone()
		r.logged("]: panic: client (local): oops: daemon_test.go:")
		if i < 3 {
			if got := other.ask("still"); got != "still" {
				t.Errorf("%q", got)
			}
		}
	}
	r.logged("]: fatal: too many panics - program terminated")
	if status := r.ends(p); status != 1 {
		t.Errorf("exit status %d", status)
	}
}

// Persistent clients of any number share a process; a reload cuts them off
// between requests.
func TestMulti(t *testing.T) {
	for _, env := range [][]string{nil, {EnvSessionLimit + "=1"}} {
		r := newRig(t, "multi")
		p := r.start(env, "-t", "unix", "-l")
		var clients []*client
		for range 5 {
			c := r.dial()
			c.ask("x")
			clients = append(clients, c)
		}
		clients[0].Close()
		r.expect(p, Taken, Available)
		r.status.Close()
		r.peer.Close()
		for _, c := range clients[1:] {
			c.gone()
		}
		if status := r.ends(p); status != 0 {
			t.Errorf("exit status %d", status)
		}
	}
}

// The sessions of an event-driven daemon outlive a reload.
func TestEvent(t *testing.T) {
	r := newRig(t, "event")
	p := r.start([]string{EnvSessionLimit + "=1"}, "-t", "unix", "-l")
	c := r.dial()
	c.ask("x")
	r.status.Close()
	r.peer.Close()
	r.noted("drained", "yes\n")
	if got := c.ask("still"); got != "still" {
		t.Errorf("%q", got)
	}
	c.Close()
	if status := r.ends(p); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// Under a foreign master, which makes a new process only when the old one has
// ended, it ends at once, while its sessions go on.
func TestEventClassic(t *testing.T) {
	r := newRig(t, "event")
	p := r.start(nil, "-t", "unix", "-l")
	c := r.dial()
	c.ask("x")
	r.status.Close()
	r.peer.Close()
	if status := r.ends(p); status != 0 {
		t.Errorf("exit status %d", status)
	}
	r.noted("drained", "yes\n")
	if got := c.ask("still"); got != "still" {
		t.Errorf("%q", got)
	}
	c.Close()
	r.noted("exits", "exit\n")
	r.newStatus()
	p = r.start(nil, "-t", "unix", "-l", "-m", "1")
	c = r.dial()
	c.ask("x")
	c.Close()
	r.expect(p, Taken, Available)
	if status := r.ends(p); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

func TestPass(t *testing.T) {
	r := newRig(t, "single")
	r.start(nil, "-t", "pass")
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer tcp.Close()
	outside, err := net.Dial("tcp", tcp.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer outside.Close()
	inner, err := tcp.Accept()
	if err != nil {
		t.Fatal(err)
	}
	f, err := inner.(*net.TCPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	inner.Close()
	local := r.dial()
	if err := attr.SendFile(local.Conn.(*net.UnixConn), f); err != nil {
		t.Fatal(err)
	}
	f.Close()
	if err := attr.NewWriter(local, attr.Null).Str("client_address", "192.0.2.1").Str("client_port", "25").End(); err != nil {
		t.Fatal(err)
	}
	local.gone()
	c := &client{outside, local.r, t}
	c.r.Reset(outside)
	if got := c.ask("pass"); got != "192.0.2.1 25" {
		t.Errorf("%q", got)
	}
}

// Stand-alone, the client is at standard input and output, and may be slow.
func TestStandalone(t *testing.T) {
	r := newRig(t, "single")
	theirIn, in, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	out, theirOut, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.stdin, r.stdout = theirIn, theirOut
	p := r.start(nil, "-S")
	theirIn.Close()
	theirOut.Close()
	answers := bufio.NewReader(out)
	for range 2 {
		if _, err := in.WriteString("hello\n"); err != nil {
			t.Fatal(err)
		}
		if line, err := answers.ReadString('\n'); err != nil || !strings.HasSuffix(line, " hello\n") {
			t.Fatalf("%q %v", line, err)
		}
	}
	in.Close()
	if status := r.ends(p); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

func TestTriggers(t *testing.T) {
	for _, kind := range []string{"trigger", "loop"} {
		r := newRig(t, kind)
		p := r.start(nil, "-t", "unix", "-l")
		c := r.dial()
		c.Write([]byte("FADI"))
		c.gone()
		r.noted("triggers", "FADI\n")
		r.expect(p, Taken, Available)
		c = r.dial()
		c.Write([]byte("W"))
		c.gone()
		r.noted("triggers", "FADI\nW\n")
		r.silent()
		r.status.Close()
		r.peer.Close()
		if status := r.ends(p); status != 0 {
			t.Errorf("exit status %d", status)
		}
		if kind == "loop" {
			r.noted("triggers", "FADI\nW\nend\n")
		}
	}
}

func TestDatagrams(t *testing.T) {
	r := newRig(t, "dgram")
	c, err := net.Dial("unixgram", r.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	// Two wait at the door already.
	c.Write([]byte("one"))
	c.Write([]byte(strings.Repeat("x", 5000)))
	p := r.start(nil, "-t", "unix-dgram", "-l")
	r.expect(p, Taken, Available)
	c.Write([]byte("three"))
	r.noted("packets", "one\n"+strings.Repeat("x", 4096)+"\nthree\n")
	r.status.Close()
	r.peer.Close()
	if status := r.ends(p); status != 0 {
		t.Errorf("exit status %d", status)
	}
}

// What master.cf cannot have is refused in Postfix's words.
func TestFatal(t *testing.T) {
	cases := []struct{ kind, args, want string }{
		{"single", "-x", "invalid option: x"},
		{"single", "-s 0 -t unix", "invalid socket_count: 0"},
		{"single", "-r x -t unix", "invalid retirement time: x"},
		{"single", "", "no transport type specified"},
		{"single", "-t fifo", "unsupported transport type: fifo"},
		{"trigger", "-t inet -l", "unsupported transport type: inet"},
		{"dgram", "-S", "invalid option: S"},
		{"single", "-t unix word", "unexpected command-line argument: word"},
		{"single", "-t unix -o =x", `invalid "-o =x" option value: missing attribute name`},
		{"single", "-t unix -o x", `invalid "-o x" option value: missing '=' after attribute name`},
		{"one", "-t unix -n svc", "service svc requires a process limit of 1"},
		{"zero", "-t unix -l", "service zero requires a process limit of 0"},
		{"root", "-t unix -u", "service root requires privileged operation"},
	}
	for _, c := range cases {
		t.Run(c.kind+" "+c.args, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, c.kind)
			p := r.start(nil, strings.Fields(c.args)...)
			r.logged("]: fatal: " + c.want)
			if status := r.ends(p); status != 1 {
				t.Errorf("exit status %d", status)
			}
		})
	}
}

// A daemon tells what is set for it in vain.
func TestIneffectiveSettings(t *testing.T) {
	r := newRig(t, "single")
	r.program = "smtpd"
	p := r.start(nil, "-t", "unix", "-o", "smtpd_tls_cert_file=/x", "-o", "smtpd_tls_key_file = /y", "-o", "smtpd_tls_ask_ccert=no")
	r.logged("]: warning: " + r.in.Config() + "/master.cf: smtpd_tls_cert_file, smtpd_tls_key_file are set, but TLS is not supported yet")
	r.dial().ask("x")
	p.Process.Kill()
}

func TestBadGeneration(t *testing.T) {
	r := newRig(t, "single")
	p := r.start([]string{"GENERATION=9"}, "-t", "unix")
	r.logged("]: fatal: bad generation: 9")
	if status := r.ends(p); status != 1 {
		t.Errorf("exit status %d", status)
	}
}

func TestReportBytes(t *testing.T) {
	got := Report{PID: 23561, Generation: 2, State: Taken}.Append(nil)
	want := []byte{0x09, 0x5c, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0}
	if string(got) != string(want) {
		t.Errorf("% x", got)
	}
	if back := ParseReport([12]byte(got)); back != (Report{23561, 2, Taken}) {
		t.Errorf("%+v", back)
	}
}

func FuzzOptions(f *testing.F) {
	f.Add("-l -t unix -o {a = b} -s 3 word")
	f.Add("-ozz -r -1")
	f.Fuzz(func(t *testing.T, line string) {
		o, err := parseOptions(&Daemon{}, strings.Fields(line))
		if err == nil && (o.sockets < 1 || o.sockets > 1000 || o.retire < 0) {
			t.Errorf("%q: %+v", line, o)
		}
	})
}
