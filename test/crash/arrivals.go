package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// arrivals are the messages that came out of the mail system.
type arrivals struct {
	mu      sync.Mutex
	count   map[int]int // by number
	damaged int
}

func newArrivals() *arrivals { return &arrivals{count: make(map[int]int)} }

// add takes a message with LF line ends.
func (a *arrivals) add(message, where string) {
	header, text, _ := strings.Cut(message, "\n\n")
	number, want := -1, ""
	for line := range strings.Lines(header) {
		name, value, _ := strings.Cut(strings.TrimRight(line, "\n"), ": ")
		switch strings.ToLower(name) {
		case "x-crash-number":
			if n, err := strconv.Atoi(value); err == nil {
				number = n
			}
		case "x-crash-digest":
			want = value
		}
	}
	got := digest(strings.ReplaceAll(text, "\n", "\r\n"))
	a.mu.Lock()
	defer a.mu.Unlock()
	if number < 0 || got != want {
		a.damaged++
		fmt.Printf("damaged: message %d in %s\n", number, where)
		return
	}
	a.count[number]++
}

// readMaildir adds what was delivered to a maildir.
func (a *arrivals) readMaildir(dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "new", "*"))
	if err != nil {
		return err
	}
	for _, path := range files {
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		a.add(string(text), path)
	}
	return nil
}

// A sink is an SMTP server that takes everything.
type sink struct {
	net.Listener
	arrived *arrivals
}

func listen(arrived *arrivals) (*sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &sink{l, arrived}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go s.serve(c)
		}
	}()
	return s, nil
}

func (s *sink) port() int { return s.Addr().(*net.TCPAddr).Port }

func (s *sink) serve(c net.Conn) {
	defer c.Close()
	in := bufio.NewReader(c)
	reply := func(text string) bool {
		_, err := io.WriteString(c, text+"\r\n")
		return err == nil
	}
	if !reply("220 sink.test ESMTP") {
		return
	}
	for {
		if err := c.SetDeadline(time.Now().Add(5 * time.Minute)); err != nil {
			return
		}
		line, err := in.ReadString('\n')
		if err != nil {
			return
		}
		verb := strings.ToUpper(strings.TrimSpace(line))
		switch {
		case strings.HasPrefix(verb, "QUIT"):
			reply("221 bye")
			return
		case verb == "DATA":
			if !reply("354 go on") {
				return
			}
			message, err := readMessage(in)
			if err != nil {
				return // cut off: not accepted
			}
			s.arrived.add(message, "the sink")
			if !reply("250 2.0.0 taken") {
				return
			}
		default:
			if !reply("250 2.0.0 ok") {
				return
			}
		}
	}
}

// readMessage reads up to the end of the data, and takes the dots away.
func readMessage(in *bufio.Reader) (string, error) {
	var b strings.Builder
	for {
		line, err := in.ReadString('\n')
		if err != nil {
			return "", err
		}
		line = strings.TrimSuffix(strings.TrimSuffix(line, "\n"), "\r")
		if line == "." {
			return b.String(), nil
		}
		b.WriteString(strings.TrimPrefix(line, "."))
		b.WriteByte('\n')
	}
}
