package proxymapclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"suffix/pkg/attr"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
)

// ServeCommand is the first argument of a proxymap that a command starts for
// itself. The second one is the name under which it logs, others are -v. Its
// standard input is a socket; when that closes it ends.
const ServeCommand = "--serve-command"

// startTime is how long a process may take to start.
const startTime = 30 * time.Second

// server is the process that has the tables of this command. It is started
// for the first of them, and ends with the command.
type server struct {
	path string // of the program

	mu   sync.Mutex
	conn *attr.Conn
	err  error // it could not be started
}

var (
	serversMu sync.Mutex
	servers   = make(map[string]*server)
)

func command(c table.Config) caller {
	dir := params.Of(params.DaemonDirectory).Default
	if c != nil {
		dir = c.String(params.DaemonDirectory)
	}
	serversMu.Lock()
	defer serversMu.Unlock()
	s := servers[dir]
	if s == nil {
		s = &server{path: filepath.Join(dir, "proxymap")}
		servers[dir] = s
	}
	return s
}

// Call makes a request. It is made again, once, where the process has gone
// since the last one.
func (s *server) Call(_ context.Context, f func(c *attr.Conn) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		fresh := s.conn == nil
		if fresh {
			if s.err == nil {
				s.conn, s.err = s.start()
			}
			if s.err != nil {
				return s.err
			}
		}
		err := f(s.conn)
		if err == nil {
			return nil
		}
		var value *attr.ValueError
		if errors.As(err, &value) {
			return err
		}
		s.conn.Close()
		s.conn = nil
		if fresh {
			return fmt.Errorf("%s ended early: %s", s.path, syserr.Text(err))
		}
	}
}

func (s *server) start() (conn *attr.Conn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %s", syserr.Text(err))
	}
	theirs := os.NewFile(uintptr(fds[1]), "proxymap")
	ours := os.NewFile(uintptr(fds[0]), "proxymap")
	c, err := net.FileConn(ours)
	ours.Close()
	if err != nil {
		theirs.Close()
		return nil, fmt.Errorf("socketpair: %s", syserr.Text(err))
	}
	args := []string{ServeCommand, filepath.Base(os.Args[0])}
	for range maillog.Verbose() {
		args = append(args, "-v")
	}
	cmd := exec.Command(s.path, args...)
	cmd.Stdin, cmd.Stderr = theirs, os.Stderr
	err = cmd.Start()
	theirs.Close()
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("cannot start %s, which has the client for such tables: %s", s.path, syserr.Text(err))
	}
	go func() {
		// How it ends is seen at the socket.
		_ = cmd.Wait()
	}()
	conn = attr.NewConn(c, attr.Null, "proxymap socket", startTime)
	if err = conn.R.Protocol(Protocol); err == nil {
		err = conn.R.End()
	}
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("%s has no client for such tables: it is not the one of Suffix", s.path)
	}
	conn.SetTimeout(0) // the drivers have their own limits
	return conn, nil
}
