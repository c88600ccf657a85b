// Package bounceclient asks the bounce, defer and trace services to log what
// became of a recipient, and to tell the sender (spec ipc §11).
//
// Every call makes one connection and one request, without retry: the caller
// decides what a failure means for the recipient.
package bounceclient

import (
	"errors"
	"fmt"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/config"
	"suffix/pkg/dsn"
	"suffix/pkg/ipc"
	"suffix/pkg/params"
)

// Request flags.
const (
	FlagClean        = 1 // delete the log when the request fails
	FlagDeleteLogged = 2 // mark the logged recipients as done in the queue file
)

// Values of nrequest.
const (
	requestAppend = iota
	requestFlush
	requestWarn
	requestVERP
	requestOne
	requestTrace
)

// A Notice describes the message about which a sender is told.
type Notice struct {
	Flags      int    // FlagDeleteLogged, and trace flags of the delivery request
	QueueName  string // where the message is: "active"
	QueueID    string
	Encoding   string // "7bit", "8bit" or empty
	SendOpts   int
	Sender     string // internal form
	EnvelopeID string
	Ret        dsn.Ret
}

// A Client knows the names and the dialect of the three services.
type Client struct {
	Bounce, Defer, Trace string        // service names
	Timeout              time.Duration // of one operation
	Dialect37            bool          // speak the form of release 3.7
}

// New returns a Client with the names that main.cf gives.
func New(cfg *config.Main) *Client {
	return &Client{
		Bounce:    cfg.String(params.BounceServiceName),
		Defer:     cfg.String(params.DeferServiceName),
		Trace:     cfg.String(params.TraceServiceName),
		Timeout:   cfg.Time(params.IpcTimeout),
		Dialect37: cfg.Dialect37(),
	}
}

// ErrRefused is returned when the service answered that it failed.
var ErrRefused = errors.New("service reported failure")

// Append adds one recipient to a log of the named service.
func (c *Client) Append(service string, flags int, queueID string, rcpt dsn.Recipient, d dsn.DSN) error {
	return c.call(service, func(w *attr.Writer) {
		w.Int("nrequest", requestAppend).Int("flags", flags).Str("queue_id", queueID)
		putRecipient(w, rcpt)
		PutDSN(w, d)
	})
}

// Flush sends the notice for a log of the named service, and removes the log.
func (c *Client) Flush(service string, n Notice) error {
	return c.call(service, func(w *attr.Writer) { c.putNotice(w, requestFlush, n) })
}

// Warn sends a delay notice for the recipients in the defer log, and keeps it.
func (c *Client) Warn(n Notice) error {
	return c.call(c.Defer, func(w *attr.Writer) { c.putNotice(w, requestWarn, n) })
}

// FlushVERP sends one notice for each recipient in a log of the named service,
// to VERP addresses with the given pair of delimiters.
func (c *Client) FlushVERP(service string, n Notice, delimiters string) error {
	return c.call(service, func(w *attr.Writer) {
		c.putNotice(w, requestVERP, n)
		w.Str("verp_delimiters", delimiters)
	})
}

// One sends a notice for one recipient at once, without log.
func (c *Client) One(n Notice, rcpt dsn.Recipient, d dsn.DSN) error {
	return c.call(c.Bounce, func(w *attr.Writer) {
		c.putNotice(w, requestOne, n)
		putRecipient(w, rcpt)
		PutDSN(w, d)
	})
}

// Report sends the notice for a trace log.
func (c *Client) Report(n Notice) error {
	return c.call(c.Trace, func(w *attr.Writer) { c.putNotice(w, requestTrace, n) })
}

func (c *Client) putNotice(w *attr.Writer, request int, n Notice) {
	sendOpts := "sendopts"
	if c.Dialect37 {
		sendOpts = "smtputf8"
	}
	w.Int("nrequest", request).Int("flags", n.Flags).
		Str("queue_name", n.QueueName).Str("queue_id", n.QueueID).
		Str("encoding", n.Encoding).Int(sendOpts, n.SendOpts).
		Str("sender", n.Sender).Str("envelope_id", n.EnvelopeID).Int("ret_flags", int(n.Ret))
}

func putRecipient(w *attr.Writer, r dsn.Recipient) {
	w.Str("original_recipient", r.Original).Str("recipient", r.Address).
		Long("offset", r.Offset).Str("dsn_orig_rcpt", r.ORCPT).Int("notify_flags", int(r.Notify))
}

// PutDSN writes the seven attributes of an outcome, in their order.
func PutDSN(w *attr.Writer, d dsn.DSN) {
	w.Str("status", d.Status).Str("diag_type", d.DiagType).Str("diag_text", d.DiagText).
		Str("mta_type", d.MTAType).Str("mta_mname", d.MTAName).
		Str("action", d.Action).Str("reason", d.Reason)
}

// ReadDSN reads them.
func ReadDSN(r *attr.Reader) (d dsn.DSN, err error) {
	for _, a := range []struct {
		name string
		to   *string
	}{
		{"status", &d.Status}, {"diag_type", &d.DiagType}, {"diag_text", &d.DiagText},
		{"mta_type", &d.MTAType}, {"mta_mname", &d.MTAName}, {"action", &d.Action}, {"reason", &d.Reason},
	} {
		if *a.to, err = r.Str(a.name); err != nil {
			return d, err
		}
	}
	return d, nil
}

func (c *Client) call(service string, put func(*attr.Writer)) error {
	conn, err := ipc.Dial(ipc.Private, service, c.Timeout)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.R.Protocol("delivery_status_protocol"); err != nil {
		return err
	}
	if err := conn.R.End(); err != nil {
		return err
	}
	put(conn.W)
	if err := conn.W.End(); err != nil {
		return fmt.Errorf("write %s/%s: %w", ipc.Private, service, err)
	}
	status, err := conn.R.Int("status")
	if err != nil {
		return fmt.Errorf("read %s/%s: %w", ipc.Private, service, err)
	}
	if err := conn.R.End(); err != nil {
		return err
	}
	if status != 0 {
		return fmt.Errorf("%s: %w", service, ErrRefused)
	}
	return nil
}
