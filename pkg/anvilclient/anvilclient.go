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
	"time"

	"suffix/pkg/attr"
)

// Endpoint is where the service listens, relative to the queue directory.
const Endpoint = "private/anvil"

// ErrFailed is returned when the server answered that it could not serve the
// request: it does not know it, for example.
var ErrFailed = errors.New("anvil service failed")

// A Caller runs a conversation with the anvil service on a greeted connection
// of its own in the plain form, which stays open between calls.
type Caller interface {
	Call(ctx context.Context, fn func(*attr.Conn) error) error
	Close() error
}

// A Session is the connection that stands for one remote client. It is for
// one goroutine at a time.
type Session struct {
	caller Caller
	ident  string
}

// NewSession returns the session of a client. Nothing is sent until Connect.
// The ident is SERVICE:ADDRESS, see Ident.
func NewSession(caller Caller, ident string) *Session {
	return &Session{caller: caller, ident: printable(ident)}
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
	_, err := s.ask(ctx, "disconnect")
	if closeErr := s.caller.Close(); err == nil {
		err = closeErr
	}
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

// ask sends one request and reads the numbers that follow the status.
func (s *Session) ask(ctx context.Context, request string, names ...string) (values [6]int, err error) {
	failed := false
	err = s.caller.Call(ctx, func(conn *attr.Conn) error {
		conn.R.Lenient = true
		if err := conn.W.Str("request", request).Str("ident", s.ident).End(); err != nil {
			return err
		}
		status, err := conn.R.Int("status")
		if err != nil {
			return err
		}
		if failed = status != 0; !failed {
			for i, name := range names {
				values[i], _ = conn.R.Int(name)
			}
		}
		return conn.R.End()
	})
	if err == nil && failed {
		err = ErrFailed
	}
	return values, err
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

// DefaultTimeout bounds each step of a conversation where the configuration
// says nothing.
const DefaultTimeout = 3600 * time.Second
