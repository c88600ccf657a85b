// Package verifyclient asks verify(8) whether an address can be delivered to,
// and reports what a delivery agent found out (spec ipc §10).
package verifyclient

import (
	"context"
	"errors"
	"fmt"

	"suffix/pkg/attr"
)

// A Verdict is what is known about an address.
type Verdict int

const (
	Deliverable   Verdict = iota // a probe would have been delivered
	Deferred                     // a probe met a temporary problem
	Undeliverable                // a probe was refused for good
	InProgress                   // a probe is under way: ask again
)

// Errors of the server.
var (
	ErrFailed  = errors.New("verify service failed")          // status -1
	ErrRequest = errors.New("verify service refused request") // status -2
)

// A Caller runs a conversation with the verify service on a greeted connection.
type Caller interface {
	Call(ctx context.Context, fn func(*attr.Conn) error) error
}

// A Client asks and reports. It is safe for concurrent use.
type Client struct{ caller Caller }

// NewWith returns a Client that reaches the service through caller.
func NewWith(caller Caller) *Client { return &Client{caller: caller} }

// Query returns what is known about an address (internal form) and the text
// that explains it. The first query of an address starts a probe.
func (c *Client) Query(ctx context.Context, address string) (verdict Verdict, reason string, err error) {
	var result error
	err = c.caller.Call(ctx, func(conn *attr.Conn) error {
		if err := conn.W.Str("request", "query").Str("address", address).End(); err != nil {
			return err
		}
		status, _ := conn.R.Int("status")
		state, _ := conn.R.Int("recipient_status")
		reason, _ = conn.R.Str("reason")
		if err := conn.R.End(); err != nil {
			return err
		}
		verdict = Verdict(state)
		if result = statusError(status); result == nil && (state < int(Deliverable) || state > int(InProgress)) {
			result = fmt.Errorf("verify service: bad recipient status %d", state)
		}
		return nil
	})
	if err == nil {
		err = result
	}
	return verdict, reason, err
}

// Update reports the outcome of a probe: Deliverable, Deferred or
// Undeliverable, with the reply of the remote system or the reason.
func (c *Client) Update(ctx context.Context, address string, verdict Verdict, reason string) error {
	var result error
	err := c.caller.Call(ctx, func(conn *attr.Conn) error {
		w := conn.W.Str("request", "update").Str("address", address)
		if err := w.Int("recipient_status", int(verdict)).Str("reason", reason).End(); err != nil {
			return err
		}
		status, _ := conn.R.Int("status")
		if err := conn.R.End(); err != nil {
			return err
		}
		result = statusError(status)
		return nil
	})
	if err != nil {
		return err
	}
	return result
}

func statusError(status int) error {
	switch status {
	case 0:
		return nil
	case -2:
		return ErrRequest
	}
	return ErrFailed
}
