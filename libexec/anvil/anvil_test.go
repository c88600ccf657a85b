package anvil

import (
	"bufio"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"suffix/pkg/attr"
)

// peer is a server process talking to anvil.
type peer struct {
	t    *testing.T
	c    net.Conn
	in   *bufio.Reader
	done chan struct{}
}

func connectTo(t *testing.T, clients *table) *peer {
	t.Helper()
	a, b := net.Pipe()
	p := &peer{t, a, bufio.NewReader(a), make(chan struct{})}
	go func() {
		defer close(p.done)
		defer b.Close()
		serve(clients, attr.NewConn(b, attr.Plain, "anvil socket", time.Minute))
	}()
	if got := p.reply(); got != "protocol=anvil_protocol\n\n" {
		t.Fatalf("greeting %q", got)
	}
	return p
}

func (p *peer) close() {
	p.c.Close()
	<-p.done
}

func (p *peer) reply() string {
	p.t.Helper()
	var all strings.Builder
	for {
		line, err := p.in.ReadString('\n')
		if err != nil {
			p.t.Fatalf("after %q: %v", all.String(), err)
		}
		all.WriteString(line)
		if line == "\n" {
			return all.String()
		}
	}
}

func (p *peer) want(request, ident, want string) {
	p.t.Helper()
	if _, err := p.c.Write([]byte("request=" + request + "\nident=" + ident + "\n\n")); err != nil {
		p.t.Fatal(err)
	}
	if got := p.reply(); got != strings.ReplaceAll(want, " ", "\n")+"\n\n" {
		p.t.Errorf("%s %s: %q, want %q", request, ident, got, want)
	}
}

func TestProtocol(t *testing.T) {
	now := time.Unix(1795359600, 0)
	clients := newTable(60*time.Second, func() time.Time { return now })
	a, b := connectTo(t, clients), connectTo(t, clients)
	a.want("connect", "smtp:192.0.2.1", "status=0 count=1 rate=1")
	b.want("connect", "smtp:192.0.2.1", "status=0 count=2 rate=2")
	a.want("message", "smtp:192.0.2.1", "status=0 rate=1")
	b.want("message", "smtp:192.0.2.1", "status=0 rate=2")
	a.want("recipient", "smtp:192.0.2.1", "status=0 rate=1")
	a.want("auth", "smtp:192.0.2.1", "status=0 rate=1")
	a.want("newtls_status", "smtp:192.0.2.1", "status=0 rate=0")
	a.want("newtls", "smtp:192.0.2.1", "status=0 rate=1")
	a.want("newtls_status", "smtp:192.0.2.1", "status=0 rate=1")
	a.want("tlstr", "smtp:192.0.2.1", "status=0 rate=1")
	a.want("lookup", "smtp:192.0.2.1", "status=0 count=2 rate=2 mail=2 rcpt=1 newtls=1 auth=1 auth=1")
	a.want("lookup", "smtp:198.51.100.1", "status=0 count=0 rate=0 mail=0 rcpt=0 newtls=0 auth=0")
	a.want("disconnect", "smtp:192.0.2.1", "status=0")
	b.close()
	c := connectTo(t, clients)
	c.want("connect", "smtp:192.0.2.1", "status=0 count=1 rate=3")
	now = now.Add(61 * time.Second)
	c.want("message", "smtp:192.0.2.1", "status=0 rate=1")
	c.want("nonsense", "smtp:192.0.2.1", "status=4294967295")
	c.close()
	a.close()
}

func TestUnknownClientIsRegistered(t *testing.T) {
	clients := newTable(time.Minute, time.Now)
	a := connectTo(t, clients)
	a.want("message", "smtp:192.0.2.1", "status=0 rate=1")
	a.want("lookup", "smtp:192.0.2.1", "status=0 count=1 rate=1 mail=1 rcpt=0 newtls=0 auth=0 auth=0")
	a.close()
	if v, _ := clients.lookup("smtp:192.0.2.1"); v.open != 0 {
		t.Errorf("%d sessions are left", v.open)
	}
}

// A server that goes on with another client has left the one before.
func TestOneClientPerConnection(t *testing.T) {
	clients := newTable(time.Minute, time.Now)
	a := connectTo(t, clients)
	a.want("connect", "smtp:192.0.2.1", "status=0 count=1 rate=1")
	a.want("message", "smtp:192.0.2.2", "status=0 rate=1")
	a.close()
	for _, ident := range []string{"smtp:192.0.2.1", "smtp:192.0.2.2"} {
		if v, known := clients.lookup(ident); !known || v.open != 0 {
			t.Errorf("%s: known %t, %d sessions are left", ident, known, v.open)
		}
	}
}

// idleConn is a connection on which nothing comes for several timeouts.
type idleConn struct {
	net.Conn
	timeouts int
}

func (c *idleConn) Read(p []byte) (int, error) {
	if c.timeouts > 0 {
		c.timeouts--
		return 0, os.ErrDeadlineExceeded
	}
	return c.Conn.Read(p)
}

func TestIdleClientStays(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	go func() {
		defer b.Close()
		serve(newTable(time.Minute, time.Now), attr.NewConn(&idleConn{b, 5}, attr.Plain, "anvil socket", time.Minute))
	}()
	p := &peer{t: t, c: a, in: bufio.NewReader(a)}
	p.reply()
	p.want("connect", "smtp:192.0.2.1", "status=0 count=1 rate=1")
}

func TestMalformedRequestCloses(t *testing.T) {
	a := connectTo(t, newTable(time.Minute, time.Now))
	if _, err := a.c.Write([]byte("ident=x\nrequest=connect\n\n")); err != nil {
		t.Fatal(err)
	}
	if line, err := a.in.ReadString('\n'); err == nil {
		t.Errorf("answered %q", line)
	}
	a.close()
}

func TestForgotten(t *testing.T) {
	clients := newTable(time.Nanosecond, time.Now)
	clients.connect("smtp:192.0.2.1")
	clients.disconnect("smtp:192.0.2.1")
	for deadline := time.Now().Add(10 * time.Second); ; {
		if _, known := clients.lookup("smtp:192.0.2.1"); !known {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("the client is still known")
		}
	}
}
