package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"
)

// load sends messages and remembers which were accepted.
type load struct {
	addr string

	mu       sync.Mutex
	accepted map[int]bool
}

// worker sends every step-th message until it is told to stop. A message whose
// fate is unknown is not sent again: it may arrive, but need not.
func (l *load) worker(first, step int, stop <-chan struct{}) {
	var c *client
	defer func() {
		if c != nil {
			c.Close()
		}
	}()
	for n := first; ; n += step {
		select {
		case <-stop:
			return
		default:
		}
		var err error
		if c == nil {
			if c, err = dial(l.addr); err != nil {
				time.Sleep(20 * time.Millisecond)
				n -= step
				continue
			}
		}
		if err = c.send(n); err != nil {
			c.Close()
			c = nil
			continue
		}
		l.mu.Lock()
		l.accepted[n] = true
		l.mu.Unlock()
	}
}

// body makes the text of a message, with what needs care on the way: dots at
// line starts, empty lines, "From ".
func body(n int) string {
	random := rand.New(rand.NewPCG(uint64(n), 1))
	var b strings.Builder
	for range 5 + random.IntN(100) {
		switch random.IntN(8) {
		case 0:
			b.WriteString("\r\n")
		case 1:
			b.WriteString(".\r\n")
		case 2:
			b.WriteString("From here on\r\n")
		default:
			fmt.Fprintf(&b, "%x\r\n", random.Uint64())
		}
	}
	b.WriteString("end\r\n")
	return b.String()
}

func digest(text string) string {
	sum := sha256.Sum256([]byte(text))
	return hex.EncodeToString(sum[:])
}

// recipient alternates between the maildir and the relay.
func recipient(n int) string {
	if n%2 == 0 {
		return fmt.Sprintf("n%d@mail.suffix.test", n)
	}
	return fmt.Sprintf("n%d@remote.test", n)
}

// A client is an SMTP session.
type client struct {
	net.Conn
	in *bufio.Reader
}

func dial(addr string) (*client, error) {
	conn, err := net.DialTimeout("tcp", addr, 10*time.Second)
	if err != nil {
		return nil, err
	}
	c := &client{conn, bufio.NewReader(conn)}
	if err := c.expect("220"); err != nil {
		c.Close()
		return nil, err
	}
	if err := c.command("HELO crash.test", "250"); err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

func (c *client) expect(code string) error {
	if err := c.SetDeadline(time.Now().Add(time.Minute)); err != nil {
		return err
	}
	line, err := c.in.ReadString('\n')
	if err != nil {
		return err
	}
	if !strings.HasPrefix(line, code) {
		return fmt.Errorf("reply %q", line)
	}
	return nil
}

func (c *client) command(line, code string) error {
	if _, err := c.Write([]byte(line + "\r\n")); err != nil {
		return err
	}
	return c.expect(code)
}

// send sends one message; nil means that it was accepted.
func (c *client) send(n int) error {
	for _, step := range []struct{ line, code string }{
		{"MAIL FROM:<>", "250"}, {"RCPT TO:<" + recipient(n) + ">", "250"}, {"DATA", "354"},
	} {
		if err := c.command(step.line, step.code); err != nil {
			return err
		}
	}
	text := body(n)
	head := fmt.Sprintf("X-Crash-Number: %d\r\nX-Crash-Digest: %s\r\n\r\n", n, digest(text))
	stuffed := strings.ReplaceAll("\r\n"+text, "\r\n.", "\r\n..")[2:]
	if _, err := c.Write([]byte(head + stuffed)); err != nil {
		return err
	}
	return c.command(".", "250")
}
