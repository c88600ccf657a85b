package cleanupclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/ipc"
	"suffix/pkg/maillog"
	"suffix/pkg/record"
)

// Timeout bounds each read and write of messages opened with Open: ipc_timeout.
// A daemon sets it once, from its configuration.
var Timeout = time.Hour

// flushSize is how many bytes of records are collected before they are sent.
const flushSize = 16 << 10

// Open starts a message: in this process where InProcess is set, otherwise
// with the named service below public/. A service that is not there is waited
// for (spec ipc §4, class wait-connect).
func Open(ctx context.Context, service string, flags Flags) (Stream, error) {
	if InProcess != nil {
		s, err := InProcess(ctx, service, flags)
		if !errors.Is(err, ErrElsewhere) {
			return s, err
		}
	}
	conn, err := ipc.DialWait(ctx, ipc.Public, service, Timeout, func(text string) { maillog.Warnf("%s", text) })
	if err != nil {
		return nil, err
	}
	return Greet(conn, flags)
}

// Greet starts a message on a connection to a cleanup server, and closes the
// connection if that fails.
func Greet(conn *attr.Conn, flags Flags) (Stream, error) {
	s := &stream{conn: conn}
	if err := s.greet(flags); err != nil {
		conn.Close()
		return nil, fmt.Errorf("handshake with cleanup: %w", err)
	}
	return s, nil
}

// stream is a message sent over a socket.
type stream struct {
	conn   *attr.Conn
	id     string
	buf    []byte
	err    error
	closed bool
}

func (s *stream) greet(flags Flags) error {
	if err := s.conn.R.Protocol("cleanup_protocol"); err != nil {
		return err
	}
	id, err := s.conn.R.Str("queue_id")
	if err != nil {
		return err
	}
	if err := s.conn.R.End(); err != nil {
		return err
	}
	s.id = id
	// The records follow in the same write.
	s.conn.W.Int("flags", int(flags)).Terminate()
	return nil
}

func (s *stream) QueueID() string { return s.id }

func (s *stream) Put(t record.Type, data string) {
	if s.buf = record.Append(s.buf, t, data); len(s.buf) >= flushSize {
		s.send()
	}
}

func (s *stream) PutBytes(t record.Type, data []byte) {
	if s.buf = record.Append(s.buf, t, data); len(s.buf) >= flushSize {
		s.send()
	}
}

func (s *stream) Flush() error {
	s.send()
	return s.err
}

// send is called with little in buf, or a flushSize of it: it keeps the
// buffer's memory for the rest of the message.
func (s *stream) send() {
	if s.err == nil && !s.closed {
		s.err = s.conn.W.Bytes(s.buf).Flush()
	}
	s.buf = s.buf[:0]
}

func (s *stream) Finish() (Status, string, error) {
	s.send()
	defer s.Abort()
	// The server may have answered and closed before it read everything.
	status, err := s.conn.R.Int("status")
	if err == nil {
		var reason string
		if reason, err = s.conn.R.Str("reason"); err == nil {
			err = s.conn.R.End()
		}
		if err == nil {
			if status == 0 && s.err != nil {
				return Write, "", fmt.Errorf("write to cleanup: %w", s.err)
			}
			return Status(status), reason, nil
		}
	}
	if s.err != nil {
		err = s.err
	}
	return Write, "", fmt.Errorf("conversation with cleanup: %w", err)
}

func (s *stream) Abort() {
	if !s.closed {
		s.closed = true
		s.conn.Close()
	}
}
