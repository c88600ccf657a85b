package service

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// listener is an inherited socket on which clients arrive. It has two
// descriptors for one socket: package net cannot wait for a client without
// taking it.
type listener struct {
	net.Listener
	file *os.File
	raw  syscall.RawConn
	set  func(time.Time) error
}

// inherit takes a listening socket over from its descriptor number.
func inherit(fd int) (*listener, error) {
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, fmt.Errorf("listen socket %d: %w", fd, err)
	}
	f := os.NewFile(uintptr(fd), "listen socket")
	inner, err := net.FileListener(f)
	if err != nil {
		return nil, fmt.Errorf("listen socket %d: %w", fd, err)
	}
	raw, err := f.SyscallConn()
	if err != nil {
		return nil, fmt.Errorf("listen socket %d: %w", fd, err)
	}
	l := &listener{Listener: inner, file: f, raw: raw}
	switch inner := inner.(type) {
	case *net.TCPListener:
		l.set = inner.SetDeadline
	case *net.UnixListener:
		inner.SetUnlinkOnClose(false)
		l.set = inner.SetDeadline
	default:
		return nil, fmt.Errorf("unexpected kind of listen socket: %s", inner.Addr().Network())
	}
	return l, nil
}

// wait returns when a client is at the door, or with os.ErrDeadlineExceeded
// after interrupt.
func (l *listener) wait() error {
	return l.raw.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		return err == nil && n > 0
	})
}

// acceptTimeout bounds the wait for a client that seemed to be there, but whom
// another process of the service took.
const acceptTimeout = 100 * time.Millisecond

func (l *listener) accept() (net.Conn, error) {
	if err := l.set(time.Now().Add(acceptTimeout)); err != nil {
		return nil, err
	}
	c, err := l.Accept()
	// A failure to take the deadline back shows as a failure of the next wait.
	_ = l.set(time.Time{})
	return c, err
}

// interrupt ends wait, now and ever after.
func (l *listener) interrupt() {
	// The listener is open until the process ends: this cannot fail.
	_ = l.file.SetReadDeadline(time.Unix(1, 0))
	_ = l.set(time.Unix(1, 0))
}

// isTransient says whether a failure to accept a client is the client's.
func isTransient(err error) bool {
	for _, e := range []error{
		unix.EAGAIN, unix.ECONNREFUSED, unix.ECONNRESET, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.EINTR,
		unix.ENETDOWN, unix.ENETUNREACH, unix.ENOTCONN, unix.ENOBUFS, unix.ECONNABORTED, unix.EPROTO,
	} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// stackSummary condenses the trace of a panic to one line: the innermost
// places in the program's own code.
func stackSummary(trace string) string {
	var places []string
	lines := strings.Split(trace, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, "panic(") {
			places = places[:0]
			continue
		}
		if !strings.HasPrefix(line, "\t") || i == 0 {
			continue
		}
		function, _, _ := strings.Cut(lines[i-1], "(0x")
		if !strings.HasPrefix(function, "suffix/") {
			continue
		}
		place := strings.TrimSpace(line)
		if j := strings.LastIndexByte(place, '/'); j >= 0 {
			place = place[j+1:]
		}
		place, _, _ = strings.Cut(place, " ")
		places = append(places, place)
	}
	if len(places) > 5 {
		places = places[:5]
	}
	return strings.Join(places, " ")
}
