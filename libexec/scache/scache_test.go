package scache

import (
	"net"
	"os"
	"testing"
	"time"

	"suffix/pkg/attr"
)

// client is a delivery agent of another release.
type client struct {
	t *testing.T
	c *attr.Conn
	s *net.UnixConn
}

func connectTo(t *testing.T, c *cache) *client {
	t.Helper()
	path := t.TempDir() + "/scache"
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go serve(c, attr.NewConn(conn, attr.Null, "scache socket", time.Minute), conn.(*net.UnixConn))
		}
	}()
	s, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	p := &client{t, attr.NewConn(s, attr.Null, "private/scache socket", time.Minute), s}
	if err := p.c.R.Protocol("connection_cache_protocol"); err != nil {
		t.Fatal(err)
	}
	if err := p.c.R.End(); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *client) status(properties ...*string) int {
	p.t.Helper()
	status, _ := p.c.R.Int("status")
	for _, to := range properties {
		*to, _ = p.c.R.Str("property")
	}
	if err := p.c.R.End(); err != nil {
		p.t.Fatal(err)
	}
	return status
}

func (p *client) save(ttl int, label, property string, f *os.File) int {
	p.t.Helper()
	p.c.W.Str("request", "save_endp").Int("ttl", ttl).Str("label", label).Str("property", property).End()
	if ttl <= 0 {
		return p.status()
	}
	p.dummy()
	if err := attr.SendFile(p.s, f); err != nil {
		p.t.Fatal(err)
	}
	return p.status()
}

func (p *client) dummy() {
	p.t.Helper()
	if _, err := p.c.R.Str("dummy"); err != nil {
		p.t.Fatal(err)
	}
	if err := p.c.R.End(); err != nil {
		p.t.Fatal(err)
	}
}

func (p *client) receive() string {
	p.t.Helper()
	p.c.W.Str("dummy", "").End()
	f, err := attr.ReceiveFile(p.s)
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	p.c.W.Str("dummy", "").End()
	b := make([]byte, 10)
	n, err := f.ReadAt(b, 0)
	if n == 0 {
		p.t.Fatal(err)
	}
	return string(b[:n])
}

func (p *client) file(text string) *os.File {
	p.t.Helper()
	f, err := os.CreateTemp(p.t.TempDir(), "")
	if err != nil {
		p.t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		p.t.Fatal(err)
	}
	return f
}

func TestEndpoints(t *testing.T) {
	p := connectTo(t, newCache(time.Minute))
	for _, text := range []string{"one", "two"} {
		f := p.file(text)
		if status := p.save(60, "a\n25\n", "property "+text, f); status != 0 {
			t.Fatalf("save: status %d", status)
		}
		f.Close()
	}
	for _, want := range []string{"one", "two"} {
		p.c.W.Str("request", "find_endp").Str("label", "a\n25\n").End()
		var property string
		if status := p.status(&property); status != 0 || property != "property "+want {
			t.Fatalf("find: status %d, %q", status, property)
		}
		if got := p.receive(); got != want {
			t.Errorf("received %q, want %q", got, want)
		}
	}
	p.c.W.Str("request", "find_endp").Str("label", "a\n25\n").End()
	var property string
	if status := p.status(&property); status != statusFail || property != "" {
		t.Errorf("third find: status %d", status)
	}
}

func TestDestinations(t *testing.T) {
	p := connectTo(t, newCache(time.Minute))
	bind := func(endpoint, property string) {
		p.c.W.Str("request", "save_dest").Int("ttl", 60).Str("label", "dest").Str("property", property).Str("label", endpoint).End()
		if status := p.status(); status != 0 {
			t.Fatalf("save_dest: status %d", status)
		}
	}
	bind("gone", "old")
	bind("here", "first")
	bind("here", "second")
	f := p.file("conn")
	p.save(60, "here", "endpoint property", f)
	f.Close()
	p.c.W.Str("request", "find_dest").Str("label", "dest").End()
	var dest, endp string
	if status := p.status(&dest, &endp); status != 0 || dest != "second" || endp != "endpoint property" {
		t.Fatalf("find_dest: status %d, %q, %q", status, dest, endp)
	}
	if got := p.receive(); got != "conn" {
		t.Errorf("received %q", got)
	}
	p.c.W.Str("request", "find_dest").Str("label", "dest").End()
	if status := p.status(&dest, &endp); status != statusFail {
		t.Errorf("second find_dest: status %d", status)
	}
}

func TestBadRequests(t *testing.T) {
	p := connectTo(t, newCache(time.Minute))
	if status := p.save(0, "a", "b", nil); status != statusBad {
		t.Errorf("ttl 0: status %d", status)
	}
	p.c.W.Str("request", "nonsense").Str("label", "x").End()
	if status := p.status(); status != statusBad {
		t.Errorf("unknown request: status %d", status)
	}
}

func TestExpiry(t *testing.T) {
	c := newCache(time.Nanosecond)
	p := connectTo(t, c)
	f := p.file("x")
	p.save(60, "a", "b", f)
	for deadline := time.Now().Add(10 * time.Second); ; {
		c.mu.Lock()
		open := c.open
		c.mu.Unlock()
		if open == 0 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the connection is still kept")
		}
	}
}
