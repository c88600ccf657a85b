package main

import (
	"bufio"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// peer is a server that takes everything, or answers a verb as told.
type peer struct {
	mu       sync.Mutex
	sessions int
	lines    []string
}

func startPeer(t *testing.T, network, address string, replies map[string]string) (*peer, string) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	p := &peer{}
	var wg sync.WaitGroup
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			wg.Add(1)
			go func() {
				defer wg.Done()
				defer c.Close()
				p.talk(c, replies)
			}()
		}
	}()
	t.Cleanup(func() { l.Close(); wg.Wait() })
	return p, l.Addr().String()
}

func (p *peer) talk(c net.Conn, replies map[string]string) {
	p.mu.Lock()
	p.sessions++
	p.mu.Unlock()
	send := func(text string) { _, _ = c.Write([]byte(text + "\r\n")) }
	send("220 peer")
	in := bufio.NewReader(c)
	data, rcpts := false, 0
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		p.mu.Lock()
		p.lines = append(p.lines, strings.TrimSuffix(line, "\r\n"))
		p.mu.Unlock()
		verb, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		switch {
		case data && line == ".\r\n":
			data = false
			for range max(rcpts, 1) {
				send("250 ok")
			}
			rcpts = 0
		case data:
		case replies[verb] != "":
			send(replies[verb])
		case verb == "DATA":
			data = true
			send("354 go")
		default:
			if verb == "RCPT" && replies["lmtp"] != "" {
				rcpts++
			}
			send("250-first\r\n250 ok")
		}
	}
}

func (p *peer) dialogue() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return strings.Join(p.lines, "|")
}

func runSource(t *testing.T, args ...string) error {
	t.Helper()
	o, err := parseOptions(args)
	if err != nil {
		t.Fatal(err)
	}
	return newSource(o).run()
}

func TestDialogue(t *testing.T) {
	p, addr := startPeer(t, "tcp", "127.0.0.1:0", nil)
	file := filepath.Join(t.TempDir(), "mail")
	if err := os.WriteFile(file, []byte("Subject: x\n\n.dot\nlast"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := runSource(t, "-M", "me.example", "-f", "a@b", "-t", "c@d", "-r", "2", "-F", file, addr); err != nil {
		t.Fatal(err)
	}
	want := "HELO me.example|MAIL FROM:<a@b>|RCPT TO:<2c@d>|RCPT TO:<c@d>|DATA|Subject: x||..dot|last|.|QUIT"
	if p.dialogue() != want {
		t.Errorf("got  %s\nwant %s", p.dialogue(), want)
	}
}

func TestLength(t *testing.T) {
	p, addr := startPeer(t, "tcp", "127.0.0.1:0", nil)
	if err := runSource(t, "-l", "200", "-S", "hello", "-M", "me", addr); err != nil {
		t.Fatal(err)
	}
	head, body, _ := strings.Cut(p.dialogue(), "||")
	if !strings.Contains(head, "|From: <foo@me>|To: <foo@me>|Date: ") || !strings.HasSuffix(head, "|Subject: hello") {
		t.Errorf("head %s", head)
	}
	body = strings.TrimSuffix(body, ".|QUIT")
	if n := len(strings.ReplaceAll(body, "|", "\r\n")); n != 200 {
		t.Errorf("%d bytes of content", n)
	}
}

func TestSessions(t *testing.T) {
	p, addr := startPeer(t, "tcp", "127.0.0.1:0", nil)
	if err := runSource(t, "-s", "3", "-m", "10", addr); err != nil {
		t.Fatal(err)
	}
	if p.sessions != 10 || strings.Count("|"+p.dialogue()+"|", "|DATA") != 10 {
		t.Errorf("%d sessions, %s", p.sessions, p.dialogue())
	}
	p, addr = startPeer(t, "tcp", "127.0.0.1:0", nil)
	if err := runSource(t, "-d", "-N", "-s", "2", "-m", "10", addr); err != nil {
		t.Fatal(err)
	}
	if p.sessions > 2 || strings.Count(p.dialogue(), "RCPT TO:<10foo@") != 1 {
		t.Errorf("%d sessions, %s", p.sessions, p.dialogue())
	}
}

func TestLMTPAndOld(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sock")
	p, _ := startPeer(t, "unix", path, map[string]string{"lmtp": "yes"})
	if err := runSource(t, "-L", "-r", "3", "-M", "me", "unix:"+path); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(p.dialogue(), "LHLO me|MAIL FROM:<foo@me>|RCPT TO:<3foo@me>|") || !strings.HasSuffix(p.dialogue(), ".|QUIT") {
		t.Errorf("got %s", p.dialogue())
	}
	p, addr := startPeer(t, "tcp", "127.0.0.1:0", nil)
	if err := runSource(t, "-o", "-M", "me", addr); err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(p.dialogue(), "MAIL FROM:<foo@me>|RCPT TO:<foo@me>|DATA|Line 1") {
		t.Errorf("got %s", p.dialogue())
	}
}

func TestErrors(t *testing.T) {
	_, addr := startPeer(t, "tcp", "127.0.0.1:0", map[string]string{"RCPT": "550 no such user"})
	if err := runSource(t, addr); err == nil || err.Error() != "bad reply to RCPT TO: 550 no such user" {
		t.Errorf("got %v", err)
	}
	if err := runSource(t, "-A", "-m", "3", addr); err != nil {
		t.Errorf("-A: %v", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := runSource(t, "-C", "3", l.Addr().String()); err == nil || err.Error() != "connect: Connection refused" {
		t.Errorf("got %v", err)
	}
	for _, args := range [][]string{{}, {"-z", "x"}, {"-m", "0", "x"}, {"-f", "a\nb", "x"}, {"a", "b"}} {
		if _, err := parseOptions(args); err == nil {
			t.Errorf("%v: no error", args)
		}
	}
}
