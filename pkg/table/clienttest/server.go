// Package clienttest helps the tests of table types that ask a server: small
// servers that behave as a test wants, and the comparison of our postmap(1)
// with the real one.
package clienttest

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A Server accepts connections and hands each to a function.
type Server struct {
	Addr  string // host:port, or the path of a socket
	Conns atomic.Int32

	listener net.Listener
	mu       sync.Mutex
	open     map[net.Conn]bool
	wait     sync.WaitGroup
}

// Serve starts a server on "tcp" (a free port of the loopback address) or on
// "unix" (a socket in a temporary directory). serve is called in a goroutine
// for each connection, with its number from 1 on, and the connection is closed
// when it returns. The test's end closes everything.
func Serve(t testing.TB, network string, serve func(c net.Conn, number int)) *Server {
	t.Helper()
	address := "127.0.0.1:0"
	if network == "unix" {
		address = filepath.Join(t.TempDir(), "s")
	}
	listener, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{Addr: listener.Addr().String(), listener: listener, open: make(map[net.Conn]bool)}
	s.wait.Add(1)
	go s.accept(serve)
	t.Cleanup(s.Stop)
	return s
}

func (s *Server) accept(serve func(c net.Conn, number int)) {
	defer s.wait.Done()
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		number := int(s.Conns.Add(1))
		s.mu.Lock()
		if s.open == nil {
			s.mu.Unlock()
			c.Close()
			return
		}
		s.open[c] = true
		s.wait.Add(1)
		s.mu.Unlock()
		go func() {
			defer s.wait.Done()
			serve(c, number)
			c.Close()
			s.mu.Lock()
			delete(s.open, c)
			s.mu.Unlock()
		}()
	}
}

// Stop closes the socket and all connections, and waits until nobody uses them.
func (s *Server) Stop() {
	s.listener.Close()
	s.mu.Lock()
	for c := range s.open {
		c.Close()
	}
	s.open = nil
	s.mu.Unlock()
	s.wait.Wait()
}

// Free returns a loopback address on which nobody listens.
func Free(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// File writes a client configuration file, and returns its path.
func File(t testing.TB, lines ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "client.cf")
	write(t, path, lines)
	return path
}

// write writes a file that looks old: Postfix reads one that has just changed
// again and again until it stays the same.
func write(t testing.TB, path string, lines []string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	hourAgo := time.Now().Add(-time.Hour)
	if err := os.Chtimes(path, hourAgo, hourAgo); err != nil {
		t.Fatal(err)
	}
}
