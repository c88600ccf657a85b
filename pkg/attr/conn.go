package attr

import (
	"bufio"
	"errors"
	"net"
	"os"
	"time"
)

// A Conn is one end of an internal connection: a stream of attribute lists in
// both directions, with a deadline on every operation.
type Conn struct {
	net.Conn
	R *Reader
	W *Writer

	timeout time.Duration
}

// NewConn makes a Conn of an open connection. Every read and write must make
// progress within timeout (0: no limit). The stream name is used in error
// texts: "private/NAME socket" at the client, "NAME socket" at the server.
func NewConn(c net.Conn, form Form, stream string, timeout time.Duration) *Conn {
	conn := &Conn{Conn: c, timeout: timeout}
	conn.R = NewReader(bufio.NewReaderSize(conn, 4096), form, stream)
	conn.W = NewWriter(conn, form)
	return conn
}

// SetTimeout changes the limit for the operations that follow.
func (c *Conn) SetTimeout(timeout time.Duration) { c.timeout = timeout }

// Read implements net.Conn with the connection's deadline.
func (c *Conn) Read(p []byte) (int, error) {
	if c.timeout > 0 {
		if err := c.Conn.SetReadDeadline(time.Now().Add(c.timeout)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Read(p)
}

// Write implements net.Conn with the connection's deadline.
func (c *Conn) Write(p []byte) (int, error) {
	if c.timeout > 0 {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(c.timeout)); err != nil {
			return 0, err
		}
	}
	return c.Conn.Write(p)
}

// AwaitRequest waits until the peer says something, however long that takes:
// a client may keep its connection for later. The error says that it has gone.
func (c *Conn) AwaitRequest() error {
	for {
		if _, err := c.R.r.Peek(1); !errors.Is(err, os.ErrDeadlineExceeded) {
			return err
		}
	}
}

// AwaitClose waits until the peer closes the connection. Some servers leave
// the last close to the client, so that it reads the whole reply.
func (c *Conn) AwaitClose() {
	for {
		if _, err := c.R.r.Discard(c.R.r.Buffered() + 1); err != nil {
			return
		}
	}
}
