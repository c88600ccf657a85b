package ipc

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"syscall"
	"time"

	"suffix/pkg/syserr"
)

// Trigger sends a request of single-byte codes to a trigger service, such as
// qmgr or pickup, and waits until the service has taken it: it closes the
// connection, or says something, which is not read (spec ipc §5). A fifo gets
// the bytes only.
//
// Connecting and writing must be done within timeout; wait bounds how long the
// service may take to close, 0 means 100 seconds more than timeout.
func Trigger(class, service, request string, timeout, wait time.Duration) error {
	path := class + "/" + service
	info, err := os.Stat(path)
	if err != nil {
		return fmt.Errorf("unable to look up %s: %s", path, syserr.Text(err))
	}
	switch info.Mode().Type() {
	case fs.ModeSocket:
		return triggerSocket(path, request, timeout, wait)
	case fs.ModeNamedPipe:
		f, err := os.OpenFile(path, os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("open %s: %w", path, err)
		}
		defer f.Close()
		if _, err := f.WriteString(request); err != nil {
			return fmt.Errorf("write %s: %w", path, err)
		}
		return nil
	}
	return fmt.Errorf("%s is not a socket or a fifo", path)
}

func triggerSocket(path, request string, timeout, wait time.Duration) error {
	c, err := net.DialTimeout("unix", path, timeout)
	if err != nil {
		return &ConnectError{Path: path, Err: err}
	}
	defer c.Close()
	if err := c.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	// The server reads once: the terminator may come with the request.
	if _, err := c.Write(append([]byte(request), 0)); err != nil {
		return fmt.Errorf("write %s: %w", path, err)
	}
	if wait <= 0 {
		wait = timeout + 100*time.Second
	}
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return err
	}
	if _, err := c.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
		return fmt.Errorf("unix_trigger_event: read timeout for service %s", path)
	}
	return nil
}
