package endpoint

import (
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/table"
	"suffix/pkg/table/clienttest"
	"suffix/pkg/table/tabletest"
)

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"inet:a.example:25": "a.example 25", "inet:25": " 25", "inet:[::1]:smtp": "::1 smtp", "inet:::1:25": "::1 25", "inet:[a]:1": "a 1",
		"unix:/a:b": "/a:b", "x": `need service transport:endpoint instead of "x"`, "inet:": `need service transport:endpoint instead of "inet:"`,
		"foo:x": "invalid transport name: foo in service: foo:x", "inet:a:": "a:: missing service information",
		"inet:[a": `[a: missing "]"`, "inet:[a]b": `[a]b: garbage after "]"`, "inet:[]:1": "[]:1: valid hostname or network address required",
		"inet:a/b:1": "a/b:1: valid hostname or network address required",
	} {
		e, err := Parse(text, nil)
		got := ""
		switch {
		case err != nil:
			got = err.Error()
		case e.Local():
			got = e.path
		default:
			got = e.host + " " + e.port
		}
		if got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

// onlyIPv6 is a configuration with one protocol.
type onlyIPv6 struct{ table.Config }

func (onlyIPv6) Protocols() config.Protocols      { return config.Protocols{IPv6: true} }
func (onlyIPv6) KnownTCPPorts() map[string]uint16 { return map[string]uint16{"mine": 7} }

func TestDialProblems(t *testing.T) {
	for _, c := range []struct {
		text, want string
		config     table.Config
	}{
		{"127.0.0.1:0", "Servname not supported for ai_socktype", nil},
		{"127.0.0.1:99999", "Servname not supported for ai_socktype", nil},
		{"127.0.0.1:nosuchservice", "Servname not supported for ai_socktype", nil},
		{"127.0.0.1:mine", "Address family for hostname not supported", onlyIPv6{}},
	} {
		e, err := ParseInet(c.text, c.config)
		if err != nil {
			t.Fatal(err)
		}
		log := tabletest.Logged(t, func() {
			if _, err := e.Dial(time.Second); err != syscall.EADDRNOTAVAIL {
				t.Errorf("%s: %v", c.text, err)
			}
		})
		if len(log) != 1 || log[0] != "warning: host or service "+c.text+" not found: "+c.want {
			t.Errorf("%s: %q", c.text, log)
		}
	}
}

// echo sends back what it gets, until it gets "bye".
func echo(c net.Conn, _ int) {
	b := make([]byte, 100)
	for {
		n, err := c.Read(b)
		if err != nil || string(b[:n]) == "bye" {
			return
		}
		c.Write(b[:n])
	}
}

func pool(t *testing.T, idle, ttl time.Duration) (*Pool, *clienttest.Server) {
	s := clienttest.Serve(t, "tcp", echo)
	e, err := ParseInet(s.Addr, nil)
	if err != nil {
		t.Fatal(err)
	}
	p := &Pool{Endpoint: e, Timeout: 10 * time.Second, Idle: idle, TTL: ttl}
	p.Open()
	t.Cleanup(func() { p.Close() })
	return p, s
}

func use(t *testing.T, p *Pool, text string) *Conn {
	c, err := p.Get()
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(c, text)
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("%q %v", got, err)
	}
	return c
}

func TestPoolShares(t *testing.T) {
	p, s := pool(t, time.Hour, time.Hour)
	for range 3 {
		p.Put(use(t, p, "hello"))
	}
	if n := s.Conns.Load(); n != 1 {
		t.Errorf("%d connections", n)
	}
	a, b := use(t, p, "a"), use(t, p, "b")
	p.Put(a)
	p.Put(b)
	if len(p.free) != 2 {
		t.Errorf("%d kept", len(p.free))
	}
	p.Close()
	if len(p.free) != 0 || p.reaper != nil {
		t.Error("something is kept after the last user")
	}
}

// A connection is closed when it has been unused too long, or is too old.
func TestPoolForgets(t *testing.T) {
	p, s := pool(t, time.Millisecond, 0)
	c := use(t, p, "x")
	p.Put(c)
	if _, err := c.Conn.Read(make([]byte, 1)); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("idle connection: %v", err)
	}
	p.Put(use(t, p, "y"))
	if n := s.Conns.Load(); n != 2 {
		t.Errorf("%d connections", n)
	}
	p, s = pool(t, 0, time.Nanosecond)
	p.Put(use(t, p, "x"))
	p.Put(use(t, p, "y"))
	if n := s.Conns.Load(); n != 2 || len(p.free) != 0 {
		t.Errorf("old ones: %d connections, %d kept", n, len(p.free))
	}
}

// What the server sends unasked, read or not, ends the use of a connection.
func TestPoolDropsUnclean(t *testing.T) {
	p, s := pool(t, 0, 0)
	c := use(t, p, "x")
	io.WriteString(c, "more")
	if b, err := c.ReadByte(); b != 'm' || err != nil {
		t.Errorf("%q %v", b, err)
	}
	p.Put(c)
	if len(p.free) != 0 {
		t.Error("kept with unread text")
	}
	c = use(t, p, "x")
	io.WriteString(c, "bye")
	one := make([]byte, 1)
	raw, _ := c.Conn.(*net.TCPConn).SyscallConn()
	p.Put(c)
	raw.Read(func(fd uintptr) bool { // until the end has arrived
		_, _, err := syscall.Recvfrom(int(fd), one, syscall.MSG_PEEK)
		return err != syscall.EAGAIN
	})
	if c = use(t, p, "z"); !c.Fresh {
		t.Error("a dead connection was taken")
	}
	c.Close()
	if n := s.Conns.Load(); n != 3 {
		t.Errorf("%d connections", n)
	}
}
