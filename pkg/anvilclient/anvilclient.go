// Package anvilclient counts clients, and what they do, with anvil(8), which
// sees all processes of a service (spec ipc §15, smtpd §19).
//
// One Session stands for one remote client: the server forgets the client when
// the session's connection closes. When the service cannot be reached the
// caller goes on without limits.
package anvilclient

import (
	"context"
	"errors"
	"fmt"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/ipc"
	"suffix/pkg/syserr"
)

// Endpoint is where the service listens, relative to the queue directory.
const Endpoint = "private/anvil"

// ErrFailed is returned when the server answered that it could not serve the
// request: it does not know it, for example.
var ErrFailed = errors.New("anvil service failed")

// A Session is the connection that stands for one remote client. It is for
// one goroutine at a time.
type Session struct {
	ident   string
	timeout time.Duration
	warn    func(string)
	conn    *attr.Conn
}

// NewSession returns the session of a client; the ident is SERVICE:ADDRESS, see
// Ident. Nothing is sent until the first call. Each step of a conversation may
// take timeout (ipc_timeout); failures are reported to warn.
func NewSession(ident string, timeout time.Duration, warn func(string)) *Session {
	return &Session{ident: printable(ident), timeout: timeout, warn: warn}
}

// Close drops the connection, which the server takes as Disconnect.
func (s *Session) Close() {
	if s.conn != nil {
		s.conn.Close()
		s.conn = nil
	}
}

// Connect registers the client: count is the number of its open sessions,
// rate that of its connections in the current time unit.
func (s *Session) Connect(ctx context.Context) (count, rate int, err error) {
	values, err := s.ask(ctx, "connect", "count", "rate")
	return values[0], values[1], err
}

// Message counts a message delivery request.
func (s *Session) Message(ctx context.Context) (rate int, err error) { return s.rate(ctx, "message") }

// Recipient counts a recipient address.
func (s *Session) Recipient(ctx context.Context) (rate int, err error) {
	return s.rate(ctx, "recipient")
}

// Auth counts an AUTH command.
func (s *Session) Auth(ctx context.Context) (rate int, err error) { return s.rate(ctx, "auth") }

// NewTLS counts a TLS session that was not resumed.
func (s *Session) NewTLS(ctx context.Context) (rate int, err error) { return s.rate(ctx, "newtls") }

// NewTLSStatus returns the rate of new TLS sessions without counting one.
func (s *Session) NewTLSStatus(ctx context.Context) (rate int, err error) {
	return s.rate(ctx, "newtls_status")
}

// TLSTrace counts a TLS trace file. A server older than 3.12 answers ErrFailed.
func (s *Session) TLSTrace(ctx context.Context) (rate int, err error) { return s.rate(ctx, "tlstr") }

// Disconnect tells that the client is gone, and closes the connection.
func (s *Session) Disconnect(ctx context.Context) error {
	defer s.Close()
	if s.conn == nil {
		return nil
	}
	_, err := s.ask(ctx, "disconnect")
	return err
}

// Counts is what the server knows about a client.
type Counts struct {
	Open                                     int // sessions now
	Rate, Messages, Recipients, NewTLS, Auth int // per time unit
}

// Lookup returns the counts of the session's client without changing them.
func (s *Session) Lookup(ctx context.Context) (Counts, error) {
	v, err := s.ask(ctx, "lookup", "count", "rate", "mail", "rcpt", "newtls", "auth")
	return Counts{v[0], v[1], v[2], v[3], v[4], v[5]}, err
}

func (s *Session) rate(ctx context.Context, request string) (int, error) {
	values, err := s.ask(ctx, request, "rate")
	return values[0], err
}

// Tries and their distance when the server does not answer.
const (
	tries      = 2
	retryDelay = time.Second
)

// ask sends one request and reads the numbers that follow the status. After a
// failure it tries once more, on a new connection.
func (s *Session) ask(ctx context.Context, request string, names ...string) (values [6]int, err error) {
	for try := 1; ; try++ {
		var failed bool
		values, failed, err = s.exchange(request, names)
		switch {
		case err == nil && failed:
			return values, ErrFailed
		case err == nil:
			return values, nil
		}
		s.Close()
		if s.warn != nil {
			s.warn("problem talking to server " + Endpoint + ": " + syserr.Text(err))
		}
		if try == tries {
			return [6]int{}, fmt.Errorf("anvil service: %w", err)
		}
		select {
		case <-ctx.Done():
			return [6]int{}, ctx.Err()
		case <-time.After(retryDelay):
		}
	}
}

func (s *Session) exchange(request string, names []string) (values [6]int, failed bool, err error) {
	if s.conn == nil {
		if err := s.connect(); err != nil {
			return values, false, err
		}
	}
	if err := s.conn.W.Str("request", request).Str("ident", s.ident).End(); err != nil {
		return values, false, err
	}
	status, err := s.conn.R.Int("status")
	if err != nil {
		return values, false, err
	}
	if status == 0 {
		for i, name := range names {
			values[i], _ = s.conn.R.Int(name)
		}
	}
	return values, status != 0, s.conn.R.End()
}

func (s *Session) connect() error {
	conn, err := ipc.DialForm(ipc.Private, "anvil", attr.Plain, s.timeout)
	if err != nil {
		return err
	}
	conn.R.Lenient = true
	if err := conn.R.Protocol("anvil_protocol"); err != nil {
		conn.Close()
		return err
	}
	if err := conn.R.End(); err != nil {
		conn.Close()
		return err
	}
	s.conn = conn
	return nil
}

// printable replaces what may not stand in an ident.
func printable(text string) string {
	b := []byte(text)
	for i, c := range b {
		if c < 32 || c > 126 {
			b[i] = '?'
		}
	}
	return string(b)
}
