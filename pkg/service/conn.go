package service

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"sync"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/maillog"
)

// stream is a client's connection whose reading side the frame can end: the
// request at hand is finished, and then the client seems to have gone.
type stream struct {
	net.Conn

	mu    sync.Mutex
	ended bool
}

// SetDeadline implements net.Conn.
func (s *stream) SetDeadline(t time.Time) error {
	if err := s.SetReadDeadline(t); err != nil {
		return err
	}
	return s.Conn.SetWriteDeadline(t)
}

// SetReadDeadline implements net.Conn. It has no effect after endInput.
func (s *stream) SetReadDeadline(t time.Time) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.ended {
		return nil
	}
	return s.Conn.SetReadDeadline(t)
}

// Read implements net.Conn.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.Conn.Read(p)
	if err != nil && errors.Is(err, os.ErrDeadlineExceeded) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.ended {
			err = io.EOF
		}
	}
	return n, err
}

func (s *stream) endInput() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
	// A connection that takes no deadline is closed already.
	_ = s.Conn.SetReadDeadline(time.Unix(1, 0))
}

// NetConn returns the connection without the frame's wrapping: for passing
// descriptors, and for protocols that are no attribute lists. The deadline of
// ipc_timeout does not apply to it.
func (c *Conn) NetConn() net.Conn { return c.stream.Conn }

// Unix returns the connection for the passing of descriptors; nil if it is
// none of the unix domain.
func (c *Conn) Unix() *net.UnixConn {
	u, _ := c.stream.Conn.(*net.UnixConn)
	return u
}

// passTimeout bounds the hand-over of a connection.
const passTimeout = 100 * time.Second

// receivePassed takes the connection that another daemon accepted, and what it
// knows about it, and closes the local one (spec ipc §6, §21).
func receivePassed(local net.Conn) (net.Conn, map[string]string, error) {
	defer local.Close()
	u, ok := local.(*net.UnixConn)
	if !ok {
		return nil, nil, errors.New("pass_accept_attr: not a local connection")
	}
	if err := local.SetDeadline(time.Now().Add(passTimeout)); err != nil {
		return nil, nil, fmt.Errorf("pass_accept_attr: %w", err)
	}
	f, err := attr.ReceiveFile(u)
	if err != nil {
		if errors.Is(err, os.ErrDeadlineExceeded) {
			return nil, nil, errors.New("pass_accept_attr: timeout receiving file descriptor: Connection timed out")
		}
		return nil, nil, fmt.Errorf("pass_accept_attr: cannot receive file descriptor: %w", err)
	}
	defer f.Close()
	c, err := net.FileConn(f)
	if err != nil {
		return nil, nil, fmt.Errorf("pass_accept_attr: cannot receive file descriptor: %w", err)
	}
	list := attr.NewConn(local, attr.Null, "pass socket", passTimeout)
	pass := make(map[string]string)
	for len(pass) < 100 {
		name, value, ok, err := list.R.Next()
		if err != nil {
			c.Close()
			return nil, nil, fmt.Errorf("pass_accept_attr: cannot receive connection attributes: %w", err)
		}
		if !ok {
			return c, pass, nil
		}
		pass[name] = value
	}
	c.Close()
	return nil, nil, errors.New("pass_accept_attr: cannot receive connection attributes: too many")
}

// standardStreams is the connection of a stand-alone session.
type standardStreams struct{ in, out *os.File }

func (s standardStreams) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s standardStreams) Write(p []byte) (int, error) { return s.out.Write(p) }
func (s standardStreams) Close() error                { return errors.Join(s.in.Close(), s.out.Close()) }
func (s standardStreams) LocalAddr() net.Addr         { return standardAddr{} }
func (s standardStreams) RemoteAddr() net.Addr        { return standardAddr{} }

func (s standardStreams) SetDeadline(t time.Time) error {
	return errors.Join(s.SetReadDeadline(t), s.SetWriteDeadline(t))
}

// Files and terminals know no deadlines: reading from them is not waiting for
// a peer.
func (s standardStreams) SetReadDeadline(t time.Time) error {
	return ignoreNoDeadline(s.in.SetReadDeadline(t))
}

func (s standardStreams) SetWriteDeadline(t time.Time) error {
	return ignoreNoDeadline(s.out.SetWriteDeadline(t))
}

func ignoreNoDeadline(err error) error {
	if errors.Is(err, os.ErrNoDeadline) {
		return nil
	}
	return err
}

type standardAddr struct{}

func (standardAddr) Network() string { return "stdio" }
func (standardAddr) String() string  { return "stdio" }

// standalone returns the connection on standard input and output. Where both
// are the same socket, as under inetd, it is that socket.
func standalone() net.Conn {
	// Only a socket is tried: on other files the attempt would leave the
	// non-blocking mode behind, which others may share.
	if info, err := os.Stdin.Stat(); err == nil && info.Mode()&os.ModeSocket != 0 {
		if c, err := net.FileConn(os.Stdin); err == nil {
			maillog.Debugf("standard input is a socket")
			return c
		}
	}
	return standardStreams{os.Stdin, os.Stdout}
}
