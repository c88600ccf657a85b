// Package ipc connects to the other services of the mail system over the
// sockets below public/ and private/ of the queue directory (spec ipc §1, §4).
//
// Paths are relative: every daemon's working directory is the queue directory.
// The kinds of client differ in what they do when a service does not answer:
// Dial gives up at once, DialWait waits for a service that is being restarted,
// Persistent keeps connections for request after request, and retries until
// its context ends, or, when bounded, a few times.
package ipc

import (
	"context"
	"fmt"
	"net"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/syserr"
)

// Classes of services: the folder of their sockets.
const (
	Public  = "public"
	Private = "private"
)

// Waits of clients that cannot do without the service.
const (
	connectTries = 10
	connectDelay = 10 * time.Second
	retryDelay   = time.Second
)

// Dial connects to a service, without retry. Every later operation on the
// connection must make progress within timeout.
func Dial(class, service string, timeout time.Duration) (*attr.Conn, error) {
	return DialForm(class, service, attr.Null, timeout)
}

// DialForm is Dial for a protocol in another attribute form.
func DialForm(class, service string, form attr.Form, timeout time.Duration) (*attr.Conn, error) {
	path := class + "/" + service
	c, err := net.DialTimeout("unix", path, timeout)
	if err != nil {
		return nil, &ConnectError{Path: path, Err: err}
	}
	return attr.NewConn(c, form, path+" socket", timeout), nil
}

// A ConnectError says that a service could not be reached.
type ConnectError struct {
	Path string // class/service
	Err  error
}

func (e *ConnectError) Error() string { return "connect to " + e.Path + ": " + syserr.Text(e.Err) }
func (e *ConnectError) Unwrap() error { return e.Err }

// DialWait connects to a service that may be starting: ten tries, ten seconds
// apart, each failure reported to warn; the error of the eleventh is final.
func DialWait(ctx context.Context, class, service string, timeout time.Duration, warn func(string)) (*attr.Conn, error) {
	for try := 1; ; try++ {
		conn, err := Dial(class, service, timeout)
		if err == nil {
			return conn, nil
		}
		text := fmt.Sprintf("connect #%d to subsystem %s/%s: %s", try, class, service, syserr.Text(err))
		if try > connectTries {
			return nil, fmt.Errorf("%s", text)
		}
		if warn != nil {
			warn(text)
		}
		if err := sleep(ctx, connectDelay); err != nil {
			return nil, err
		}
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
