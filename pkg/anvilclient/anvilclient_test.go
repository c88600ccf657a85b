package anvilclient

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"suffix/pkg/attr"
)

func TestIdent(t *testing.T) {
	for _, c := range []struct {
		addr   string
		v4, v6 int
		want   string
	}{
		{"192.0.2.1", 32, 84, "smtp:192.0.2.1"},
		{"192.0.2.1", 24, 84, "smtp:192.0.2.0/24"},
		{"::ffff:192.0.2.1", 24, 84, "smtp:192.0.2.0/24"},
		{"2001:db8::1", 32, 84, "smtp:2001:db8::/84"},
		{"2001:db8::1", 32, 128, "smtp:2001:db8::1"},
		{"fe80::1%eth0", 32, 200, "smtp:fe80::1"},
	} {
		if got := Ident("smtp", netip.MustParseAddr(c.addr), c.v4, c.v6); got != c.want {
			t.Errorf("%s: %s, want %s", c.addr, got, c.want)
		}
	}
}

// serve is an anvil that answers each request with the next reply.
func serve(t *testing.T, replies ...string) (requests chan string) {
	t.Helper()
	t.Chdir(t.TempDir())
	if err := os.Mkdir("private", 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	requests = make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conn := attr.NewConn(c, attr.Plain, "anvil socket", 5*time.Second)
			if conn.W.Str("protocol", "anvil_protocol").End() != nil {
				return
			}
			for len(replies) > 0 {
				request, _ := conn.R.Str("request")
				ident, err := conn.R.Str("ident")
				if err != nil || conn.R.End() != nil {
					break
				}
				requests <- request + " " + ident
				reply := replies[0]
				replies = replies[1:]
				if reply == "close" {
					break
				}
				if _, err := c.Write([]byte(strings.ReplaceAll(reply, " ", "\n") + "\n\n")); err != nil {
					break
				}
			}
			c.Close()
		}
	}()
	return requests
}

func TestSession(t *testing.T) {
	requests := serve(t, "status=0 count=2 rate=7", "status=0 rate=3", "status=4294967295", "status=0 count=1 rate=2 mail=3 rcpt=4 newtls=5 auth=6 auth=7", "status=0")
	s := NewSession("smtp:192.0.2.1\n", 5*time.Second, func(text string) { t.Log(text) })
	ctx := context.Background()
	if count, rate, err := s.Connect(ctx); count != 2 || rate != 7 || err != nil {
		t.Error(count, rate, err)
	}
	if rate, err := s.Message(ctx); rate != 3 || err != nil {
		t.Error(rate, err)
	}
	if _, err := s.TLSTrace(ctx); !errors.Is(err, ErrFailed) {
		t.Error(err)
	}
	if c, err := s.Lookup(ctx); err != nil || c != (Counts{1, 2, 3, 4, 5, 6}) {
		t.Error(c, err)
	}
	if err := s.Disconnect(ctx); err != nil {
		t.Error(err)
	}
	for _, want := range []string{"connect", "message", "tlstr", "lookup", "disconnect"} {
		if got := <-requests; got != want+" smtp:192.0.2.1?" {
			t.Errorf("%q", got)
		}
	}
}

func TestReconnect(t *testing.T) {
	requests := serve(t, "close", "status=0 rate=3")
	warnings := 0
	s := NewSession("smtp:192.0.2.1", 5*time.Second, func(string) { warnings++ })
	defer s.Close()
	if rate, err := s.Recipient(context.Background()); rate != 3 || err != nil || warnings != 1 {
		t.Error(rate, err, warnings)
	}
	if len(requests) != 2 {
		t.Errorf("%d requests", len(requests))
	}
}

func TestNoService(t *testing.T) {
	t.Chdir(t.TempDir())
	s := NewSession("smtp:192.0.2.1", time.Second, nil)
	if _, _, err := s.Connect(context.Background()); err == nil {
		t.Error("no error")
	}
	if err := s.Disconnect(context.Background()); err != nil {
		t.Error(err)
	}
}
