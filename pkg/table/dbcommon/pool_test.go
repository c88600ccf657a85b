package dbcommon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"suffix/pkg/table/tabletest"
)

// fakeConn is a connection of a fakeNet.
type fakeConn struct {
	net    *fakeNet
	server string
	closed bool
}

func (c *fakeConn) Close() error {
	c.net.mu.Lock()
	defer c.net.mu.Unlock()
	c.closed = true
	c.net.open--
	return nil
}

// fakeNet has servers that are up or down.
type fakeNet struct {
	mu    sync.Mutex
	up    map[string]bool
	open  int
	dials []string
	clock time.Time
}

func (n *fakeNet) dial(_ context.Context, t *Target) (*fakeConn, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.dials = append(n.dials, t.Text)
	if !n.up[t.Text] {
		return nil, errors.New("refused")
	}
	n.open++
	return &fakeConn{net: n, server: t.Text}, nil
}

func newPool(t *testing.T, conf string, up ...string) (*Pool[*fakeConn], *fakeNet) {
	t.Helper()
	n := &fakeNet{up: make(map[string]bool), clock: time.Unix(1e9, 0)}
	for _, server := range up {
		n.up[server] = true
	}
	s := source(t, conf)
	p := NewPool(s, s.Hosts(func(item string) bool { return strings.HasPrefix(item, "uri:") }), n.dial)
	if s.Err() != nil {
		t.Fatal(s.Err())
	}
	p.now = func() time.Time { return n.clock }
	t.Cleanup(func() {
		if err := p.Close(); err != nil || n.open != 0 {
			t.Error(err, n.open, "connections are open")
		}
	})
	return p, n
}

// ask uses the pool once, and says which servers were asked.
func ask(p *Pool[*fakeConn], outcome func(server string) Outcome) (servers []string, err error) {
	err = p.Do(func(_ context.Context, c *fakeConn, t *Target) Outcome {
		if c.closed || c.server != t.Text {
			panic("connection is not good")
		}
		servers = append(servers, c.server)
		return outcome(c.server)
	})
	return servers, err
}

func done(string) Outcome { return Done }

func TestPoolOrder(t *testing.T) {
	p, n := newPool(t, "hosts = uri:x, tcp1 unix:/u1 inet:tcp2, unix:/u2", "unix:/u1", "unix:/u2", "tcp1", "inet:tcp2", "uri:x")
	var order []string
	if _, err := ask(p, func(server string) Outcome { order = append(order, server); return Refused }); err == nil {
		t.Error("no error")
	}
	if len(order) != 5 || !strings.HasPrefix(order[0], "unix:") || !strings.HasPrefix(order[1], "unix:") || order[4] != "uri:x" {
		t.Error(order)
	}
	// The connections are used again.
	before := len(n.dials)
	if servers, err := ask(p, done); err != nil || !strings.HasPrefix(servers[0], "unix:") || len(n.dials) != before {
		t.Error(servers, err, n.dials)
	}
}

func TestPoolChoosesAtRandom(t *testing.T) {
	first := make(map[string]bool)
	for range 100 {
		p, _ := newPool(t, "hosts = a b", "a", "b")
		servers, err := ask(p, done)
		if err != nil {
			t.Fatal(err)
		}
		first[servers[0]] = true
	}
	if !first["a"] || !first["b"] {
		t.Error(first)
	}
}

func TestPoolFailover(t *testing.T) {
	p, n := newPool(t, "hosts = unix:/down up\nretry_interval = 30", "up")
	logged := tabletest.Logged(t, func() {
		if servers, err := ask(p, done); err != nil || !slices.Equal(servers, []string{"up"}) {
			t.Error(servers, err)
		}
	})
	if !slices.Equal(logged, []string{"warning: connect to test server unix:/down: refused"}) {
		t.Error(logged)
	}
	n.up["unix:/down"] = true
	// The active connection goes first; without it, the server stays down for a while.
	for i, want := range []string{"up", "up", "unix:/down"} {
		switch i {
		case 1:
			n.clock = n.clock.Add(29 * time.Second)
			p.drop(p.hosts[1])
		case 2:
			n.clock = n.clock.Add(time.Second)
			p.drop(p.hosts[1])
		}
		if servers, err := ask(p, done); err != nil || !slices.Equal(servers, []string{want}) {
			t.Error(i, servers, err)
		}
	}
}

func TestPoolAllDown(t *testing.T) {
	p, n := newPool(t, "hosts = a b")
	for i, dials := range []int{2, 2, 4} {
		logged := tabletest.Logged(t, func() {
			if _, err := ask(p, done); err == nil {
				t.Error("no error")
			}
		})
		if len(n.dials) != dials || i == 1 && len(logged) > 0 {
			t.Error(i, n.dials, logged)
		}
		if i == 1 {
			n.clock = n.clock.Add(time.Minute)
		}
	}
}

// One server counts as two, so that a failure is followed by another try.
func TestPoolSingleHost(t *testing.T) {
	p, n := newPool(t, "hosts = a", "a")
	tries := 0
	logged := tabletest.Logged(t, func() {
		_, err := ask(p, func(string) Outcome {
			if tries++; tries == 1 {
				return Broken
			}
			return Done
		})
		if err != nil {
			t.Error(err)
		}
	})
	if tries != 2 || len(n.dials) != 2 || len(logged) != 0 {
		t.Error(tries, n.dials, logged)
	}
}

// A server that was restarted has lost all connections; a new one is made.
func TestPoolRestart(t *testing.T) {
	p, n := newPool(t, "hosts = unix:/b a", "a")
	tabletest.Logged(t, func() {
		for range 3 {
			if _, err := ask(p, done); err != nil {
				t.Error(err)
			}
		}
	})
	fresh := len(n.dials)
	tries := 0
	if _, err := ask(p, func(string) Outcome {
		if tries++; tries == 1 {
			return Broken
		}
		return Done
	}); err != nil || len(n.dials) != fresh+1 {
		t.Error(err, n.dials)
	}
}

func TestPoolBrokenServer(t *testing.T) {
	p, n := newPool(t, "hosts = a b", "a", "b")
	servers, err := ask(p, func(string) Outcome { return Broken })
	slices.Sort(servers)
	if err == nil || !slices.Equal(servers, []string{"a", "b"}) {
		t.Error(servers, err)
	}
	if _, err := ask(p, done); err == nil || len(n.dials) != 2 {
		t.Error(err, n.dials)
	}
}

func TestPoolIdle(t *testing.T) {
	p, n := newPool(t, "hosts = a\nidle_interval = 10", "a")
	if _, err := ask(p, done); err != nil {
		t.Fatal(err)
	}
	for _, step := range []struct {
		seconds time.Duration
		open    int
	}{{9, 1}, {1, 0}, {100, 0}} {
		n.clock = n.clock.Add(step.seconds * time.Second)
		p.reap()
		if n.open != step.open {
			t.Error(step, n.open)
		}
	}
	if _, err := ask(p, done); err != nil || n.open != 1 {
		t.Error(err, n.open)
	}
}

func TestPoolMany(t *testing.T) {
	p, n := newPool(t, "hosts = a", "a")
	const lookups = 3 * maxConnections
	var at, most int
	var mu sync.Mutex
	full := make(chan struct{})
	var all sync.WaitGroup
	for range lookups {
		all.Add(1)
		go func() {
			defer all.Done()
			if _, err := ask(p, func(string) Outcome {
				mu.Lock()
				if at++; at > most {
					if most = at; most == maxConnections {
						close(full)
					}
				}
				mu.Unlock()
				<-full
				mu.Lock()
				at--
				mu.Unlock()
				return Done
			}); err != nil {
				t.Error(err)
			}
		}()
	}
	all.Wait()
	if most != maxConnections || n.open > maxConnections {
		t.Error(most, n.open)
	}
}

// A client library that panics costs a connection only.
func TestPoolPanic(t *testing.T) {
	p, n := newPool(t, "hosts = a", "a")
	logged := tabletest.Logged(t, func() {
		if _, err := ask(p, func(string) Outcome { panic("garbage") }); err == nil {
			t.Error("no error")
		}
		p.dial = func(context.Context, *Target) (*fakeConn, error) { panic("garbage") }
		n.clock = n.clock.Add(time.Hour)
		if _, err := ask(p, done); err == nil {
			t.Error("no error")
		}
	})
	use, dial := "warning: test server a: protocol error: garbage", "warning: connect to test server a: protocol error: garbage"
	if !slices.Equal(logged, []string{use, use, dial, dial}) {
		t.Errorf("%q", logged)
	}
}

func TestPoolClosed(t *testing.T) {
	p, n := newPool(t, "hosts = a", "a")
	if _, err := ask(p, func(string) Outcome {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		return Done
	}); err != nil || n.open != 0 {
		t.Error(err, n.open)
	}
	if _, err := ask(p, done); err == nil {
		t.Error("a closed pool was used")
	}
}

func TestPoolIntervals(t *testing.T) {
	s := source(t, "retry_interval = 1 h")
	NewPool(s, nil, (&fakeNet{}).dial)
	if want := s.Name() + ": bad numerical configuration: retry_interval = 1 h"; s.Err() == nil || s.Err().Error() != want {
		t.Error(s.Err())
	}
	// Without a wait a server is asked again at once.
	p, n := newPool(t, "hosts = a b\nretry_interval = 0")
	tabletest.Logged(t, func() {
		for range 2 {
			if _, err := ask(p, done); err == nil {
				t.Error("no error")
			}
		}
	})
	if len(n.dials) != 4 {
		t.Error(n.dials)
	}
}

func TestCutPort(t *testing.T) {
	for address, want := range map[string]string{
		"host": "host||false", "host:25": "host|25|true", "host:": "host||true", ":25": "|25|true", "1.2.3.4:5": "1.2.3.4|5|true", "::1": "::1||false", "::1:25": "::1|25|true",
		"[::1]:25": "::1|25|true", "[::1]": "::1||false", "2001:db8::5": "2001:db8::5||false", "[x": "[x||false", "[1.2.3.4]:x": "1.2.3.4|x|true",
	} {
		host, port, given := CutPort(address)
		if got := fmt.Sprintf("%s|%s|%v", host, port, given); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}

func TestHosts(t *testing.T) {
	s := source(t, "hosts = a, inet:b:1\tunix:/c,,{d}\n")
	want := []Target{{TCP, "a", "a"}, {TCP, "inet:b:1", "b:1"}, {Unix, "unix:/c", "/c"}, {TCP, "{d}", "{d}"}}
	if got := s.Hosts(nil); !slices.Equal(got, want) {
		t.Error(got)
	}
	if got := source(t, "hosts = ,").Hosts(nil); !slices.Equal(got, []Target{{TCP, "localhost", "localhost"}}) {
		t.Error(got)
	}
}
