//go:build interop

package interop

import (
	"bufio"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
)

// A sink is the next hop: an SMTP or LMTP server that keeps what it gets. What
// it says about a recipient depends on how the address begins:
//
//	later   450 until the sink is opened
//	reject  550
//	full    550 after the content (LMTP: for that recipient alone)
//	hangup  the connection is closed
//	stall   no reply until the sink is opened
type sink struct {
	lmtp     bool
	keywords []string // of the reply to EHLO
	port     int
	tls      *tls.Config // for STARTTLS; nil: none
	open     atomic.Bool
	stalled  atomic.Int32 // sessions that wait

	mu       sync.Mutex
	messages []string // envelope and content
	sessions []string // how many messages each finished session had
}

func startSink(t *testing.T, lmtp bool, keywords ...string) *sink {
	t.Helper()
	s := &sink{lmtp: lmtp, keywords: keywords, port: freePort(t)}
	l, err := net.Listen("tcp4", fmt.Sprintf("127.0.0.1:%d", s.port))
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	conns := make(map[net.Conn]bool)
	wg.Add(1)
	go func() {
		defer wg.Done()
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			conns[c] = true
			mu.Unlock()
			wg.Add(1)
			go func() {
				defer wg.Done()
				s.serve(c)
				c.Close()
				mu.Lock()
				delete(conns, c)
				mu.Unlock()
			}()
		}
	}()
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for c := range conns {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return s
}

// received returns what has come, each message as text.
func (s *sink) received() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.messages)
}

// ended returns the numbers of messages of the sessions that have ended.
func (s *sink) ended() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.sessions)
}

func (s *sink) serve(c net.Conn) {
	in := bufio.NewReader(c)
	// The client reads the end of the connection when a reply cannot be written.
	say := func(format string, args ...any) { fmt.Fprintf(c, format+"\r\n", args...) }
	say("220 sink.test ready")
	var envelope, accepted []string
	count := 0
	defer func() {
		s.mu.Lock()
		s.sessions = append(s.sessions, fmt.Sprintf("session of %d messages", count))
		s.mu.Unlock()
	}()
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		line = strings.TrimRight(line, "\r\n")
		verb, _, _ := strings.Cut(strings.ToUpper(line), " ")
		switch verb {
		case "EHLO", "LHLO", "HELO":
			lines := append([]string{"sink.test"}, s.keywords...)
			if _, secure := c.(*tls.Conn); s.tls != nil && !secure {
				lines = append(lines, "STARTTLS")
			}
			for i, l := range lines {
				say("250%s%s", map[bool]string{true: " ", false: "-"}[i == len(lines)-1], l)
			}
		case "STARTTLS":
			say("220 2.0.0 go on")
			c = tls.Server(c, s.tls)
			in = bufio.NewReader(c)
		case "MAIL":
			envelope, accepted = []string{line}, nil
			say("250 2.1.0 Ok")
		case "RCPT":
			_, local, _ := strings.Cut(line, "<")
			address, _, _ := strings.Cut(local, ">")
			switch {
			case strings.HasPrefix(local, "later") && !s.open.Load():
				say("450 4.3.2 <%s> not now", address)
			case strings.HasPrefix(local, "reject"):
				say("550-5.1.1 no such")
				say("550 5.1.1 user here")
			case strings.HasPrefix(local, "hangup"):
				return
			case strings.HasPrefix(local, "stall") && !s.open.Load():
				s.stalled.Add(1)
				for !s.open.Load() {
					if _, err := in.Peek(in.Buffered() + 1); err != nil {
						return
					}
				}
			default:
				envelope = append(envelope, line)
				accepted = append(accepted, local)
				say("250 2.1.5 Ok")
			}
		case "DATA":
			if len(accepted) == 0 {
				say("554 5.5.1 no valid recipients")
				continue
			}
			say("354 go on")
			var content strings.Builder
			for {
				l, err := in.ReadString('\n')
				if err != nil {
					return
				}
				if l == ".\r\n" {
					break
				}
				content.WriteString(strings.TrimPrefix(l, "."))
			}
			replies := accepted
			if !s.lmtp {
				replies = accepted[:1]
			}
			kept := false
			for _, local := range replies {
				if strings.HasPrefix(local, "full") {
					say("550 5.2.2 no more room")
				} else {
					kept = true
					say("250 2.0.0 Ok: kept")
				}
			}
			if kept {
				count++
				s.mu.Lock()
				s.messages = append(s.messages, strings.Join(envelope, "\n")+"\n\n"+content.String())
				s.mu.Unlock()
			}
			envelope, accepted = nil, nil
		case "RSET", "NOOP":
			say("250 2.0.0 Ok")
		case "QUIT":
			say("221 2.0.0 Bye")
			return
		default:
			say("502 5.5.2 unknown")
		}
	}
}
