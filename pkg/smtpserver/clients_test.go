package smtpserver

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
)

// serveAnvil answers as anvil(8) does, with counts that grow by one.
func serveAnvil(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.Mkdir("private", 0o755); err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("unix", "private/anvil")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	var mu sync.Mutex
	counts := make(map[string]int)
	serve := func(conn net.Conn) {
		defer conn.Close()
		fmt.Fprint(conn, "protocol=anvil_protocol\n\n")
		r := bufio.NewReader(conn)
		for {
			op, err := r.ReadString('\n')
			if err != nil {
				break
			}
			ident, _ := r.ReadString('\n')
			_, _ = r.ReadString('\n')
			op = strings.TrimSpace(strings.TrimPrefix(op, "request="))
			mu.Lock()
			counts[op]++
			n := counts[op]
			mu.Unlock()
			switch op {
			case "connect":
				fmt.Fprintf(conn, "status=0\ncount=%d\nrate=%d\n\n", n, n)
			case "disconnect":
				fmt.Fprint(conn, "status=0\n\n")
			default:
				fmt.Fprintf(conn, "status=0\nrate=%d\n\n", n)
			}
			if ident != "ident=smtp:127.0.0.1\n" {
				t.Errorf("ident %q", ident)
			}
		}
	}
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			go serve(conn)
		}
	}()
}

func TestClientLimits(t *testing.T) {
	serveAnvil(t)
	ts := newTestServer(t, "smtpd_client_connection_count_limit = 1", "smtpd_client_message_rate_limit = 1", "smtpd_client_recipient_rate_limit = 1")
	c := ts.connect()
	c.do("HELO x", "250", "MAIL FROM:<a@b>", "250", "RCPT TO:<u@example.test>", "250",
		"RCPT TO:<u@example.test>", "450 4.7.1 Error: too many recipients from 127.0.0.1",
		"RSET", "250", "MAIL FROM:<a@b>", "450 4.7.1 Error: too much mail from 127.0.0.1")
	second := ts.dial()
	second.want("421 4.7.0 mx.example.test Error: too many connections from 127.0.0.1")
	if got := second.reply(); got != "EOF" {
		t.Errorf("after 421: %q", got)
	}
	ts.quit(c)
	ts.log.has(t, "warning: Connection concurrency limit exceeded: 2 from unknown[127.0.0.1] for service smtp")
	ts.log.has(t, "warning: Message delivery request rate limit exceeded: 2 from unknown[127.0.0.1] for service smtp")
	ts.log.has(t, "warning: Recipient address rate limit exceeded: 2 from unknown[127.0.0.1] for service smtp")
}

// A connection that postscreen hands over has its endpoints in attributes.
func TestHandOver(t *testing.T) {
	ts := newTestServer(t)
	good := map[string]string{"client_address": "2001:db8::9", "client_port": "99", "server_address": "192.0.2.1", "server_port": "25"}
	session := func(pass map[string]string) string {
		server, conn := net.Pipe()
		done := make(chan struct{})
		go func() {
			ts.server.Serve(context.Background(), server, pass, false)
			server.Close()
			close(done)
		}()
		c := &client{t, conn, bufio.NewReader(conn)}
		greeting := c.reply()
		if strings.HasPrefix(greeting, "220") {
			c.do("QUIT", "221")
		}
		<-done
		return greeting
	}
	if got := session(good); !strings.HasPrefix(got, "220") {
		t.Error(got)
	}
	ts.log.has(t, "disconnect from unknown[2001:db8::9] quit=1 commands=1")
	for name, want := range map[string]string{"client_address": "missing client address from proxy", "server_port": "missing server port from proxy"} {
		bad := map[string]string{}
		for k, v := range good {
			if k != name {
				bad[k] = v
			}
		}
		if got := session(bad); got != "421 4.3.0 mx.example.test Server local error" {
			t.Errorf("without %s: %q", name, got)
		}
		ts.log.has(t, "warning: "+want)
	}
	ts.log.has(t, "disconnect from unknown[unknown] commands=0/0")
}
