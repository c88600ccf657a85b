// Package deliver is the protocol between the queue manager and the delivery
// agents, from both sides, and the frame in which an agent runs (spec ipc §12).
package deliver

import (
	"context"
	"fmt"
	"os"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/bounceclient"
	"suffix/pkg/dsn"
	"suffix/pkg/outcome"
)

// Protocol is what an agent announces on a new connection.
const Protocol = "delivery_request_protocol"

// Flags of a request.
const (
	FlagMarkDone  = 1    // mark recipients that are done with in the queue file
	FlagBounce    = 2    // always set by the queue manager
	FlagConnLoad  = 2048 // a cached connection may be used
	FlagConnStore = 4096 // the connection may be kept for others
)

// Bits of SendOpts.
const (
	OptSMTPUTF8       = 1  // requested by the client
	OptHeaderUTF8     = 2  // needed by a header
	OptSenderUTF8     = 4  // needed by the sender
	OptRecipientUTF8  = 8  // needed by a recipient
	OptTLSNotRequired = 16 // header "TLS-Required: no"
	OptRequireTLS     = 32 // ESMTP parameter REQUIRETLS
)

// maxRecipients bounds the recipients of one request; the queue manager never
// has more than its memory allows, and a broken peer must not fill ours.
const maxRecipients = 1 << 20

// A Request is one delivery: a message, a destination, some recipients.
type Request struct {
	Flags     int
	QueueName string
	QueueID   string
	Offset    int64 // of the first content record in the queue file
	Size      int64 // of the content in bytes
	NextHop   string
	Encoding  string // 7bit, 8bit or empty
	SendOpts  int

	Sender     string // internal form, empty is the null sender
	EnvelopeID string
	Ret        dsn.Ret
	Times      outcome.Times

	ClientName, ClientAddress, ClientPort, ClientProtocol, ClientHelo string
	SASLMethod, SASLUsername, SASLSender                              string
	LogIdent, RewriteContext                                          string

	Recipients []dsn.Recipient

	// File is the queue file, opened and locked by the agent's frame.
	File *os.File

	recorder *outcome.Recorder
	retry    bool
	markErr  error
}

// clientAttributes lists the attributes about the client in their wire order.
func (r *Request) clientAttributes() []struct {
	name string
	to   *string
} {
	return []struct {
		name string
		to   *string
	}{
		{"log_client_name", &r.ClientName}, {"log_client_address", &r.ClientAddress},
		{"log_client_port", &r.ClientPort}, {"log_protocol_name", &r.ClientProtocol},
		{"log_helo_name", &r.ClientHelo}, {"sasl_method", &r.SASLMethod},
		{"sasl_username", &r.SASLUsername}, {"sasl_sender", &r.SASLSender},
		{"log_ident", &r.LogIdent}, {"rewrite_context", &r.RewriteContext},
	}
}

// Put writes the request to w, which is not flushed: the whole request leaves
// with one write. Dialect37 selects the form of release 3.7.
func (r *Request) Put(w *attr.Writer, dialect37 bool) {
	sendOpts := "sendopts"
	if dialect37 {
		sendOpts = "smtputf8"
	}
	w.Int("flags", r.Flags).Str("queue_name", r.QueueName).Str("queue_id", r.QueueID).
		Long("offset", r.Offset).Long("size", r.Size).Str("nexthop", r.NextHop).
		Str("encoding", r.Encoding).Int(sendOpts, r.SendOpts).
		Str("sender", r.Sender).Str("envelope_id", r.EnvelopeID).Int("ret_flags", int(r.Ret)).
		Data("time", r.Times.Encode())
	for _, a := range r.clientAttributes() {
		w.Str(a.name, *a.to)
	}
	w.Int("recipient_count", len(r.Recipients)).Terminate()
	for i := range r.Recipients {
		rcpt := &r.Recipients[i]
		w.Str("original_recipient", rcpt.Original).Str("recipient", rcpt.Address).
			Long("offset", rcpt.Offset).Str("dsn_orig_rcpt", rcpt.ORCPT).
			Int("notify_flags", int(rcpt.Notify)).Terminate()
	}
}

// ReadRequest reads a request in either dialect.
func ReadRequest(in *attr.Reader) (*Request, error) {
	r := &Request{}
	r.Flags, _ = in.Int("flags")
	r.QueueName, _ = in.Str("queue_name")
	r.QueueID, _ = in.Str("queue_id")
	r.Offset, _ = in.Long("offset")
	r.Size, _ = in.Long("size")
	r.NextHop, _ = in.Str("nexthop")
	r.Encoding, _ = in.Str("encoding")
	r.SendOpts, _ = in.IntOf("sendopts", "smtputf8")
	r.Sender, _ = in.Str("sender")
	r.EnvelopeID, _ = in.Str("envelope_id")
	ret, _ := in.Int("ret_flags")
	r.Ret = dsn.Ret(ret)
	stamps, _ := in.Data("time")
	for _, a := range r.clientAttributes() {
		*a.to, _ = in.Str(a.name)
	}
	count, err := in.Int("recipient_count")
	if err != nil {
		in.Reset()
		return nil, err
	}
	if r.Times, err = outcome.DecodeTimes(stamps); err != nil {
		return nil, err
	}
	if err := in.End(); err != nil {
		return nil, err
	}
	if count < 0 || count > maxRecipients {
		return nil, &recipientError{fmt.Errorf("bad recipient count %d in input from %s", count, in.Stream())}
	}
	for range count {
		var rcpt dsn.Recipient
		rcpt.Original, _ = in.Str("original_recipient")
		rcpt.Address, _ = in.Str("recipient")
		rcpt.Offset, _ = in.Long("offset")
		rcpt.ORCPT, _ = in.Str("dsn_orig_rcpt")
		notify, err := in.Int("notify_flags")
		if err != nil {
			in.Reset()
			return nil, &recipientError{err}
		}
		rcpt.Notify = dsn.Notify(notify)
		if err := in.End(); err != nil {
			return nil, &recipientError{err}
		}
		r.Recipients = append(r.Recipients, rcpt)
	}
	return r, nil
}

// recipientError tells a bad recipient list from a bad request list.
type recipientError struct{ error }

// A Reply is what an agent answers.
type Reply struct {
	// Hop says why the destination as a whole is unusable; empty otherwise.
	Hop dsn.DSN
	// Retry says that some recipients must be tried again.
	Retry bool
}

// Put writes the reply and its terminator to w, without flushing.
func (p Reply) Put(w *attr.Writer) {
	status := 0
	if p.Retry {
		status = -1
	}
	bounceclient.PutDSN(w, p.Hop)
	w.Int("status", status).Terminate()
}

// ReadReply reads an agent's answer.
func ReadReply(in *attr.Reader) (p Reply, err error) {
	if p.Hop, err = bounceclient.ReadDSN(in); err != nil {
		return p, err
	}
	status, err := in.Int("status")
	if err != nil {
		return p, err
	}
	p.Retry = status != 0
	return p, in.End()
}

// Message gives the part of the request that the Recorder looks at.
func (r *Request) Message() *outcome.Message {
	m := &outcome.Message{QueueID: r.QueueID, Flags: r.Flags &^ (FlagMarkDone | FlagBounce), Times: r.Times}
	if m.Times.Delivered.IsZero() {
		m.Times.Delivered = time.Now()
	}
	return m
}

// Sent records a delivery and marks the recipient as done.
func (r *Request) Sent(rcpt dsn.Recipient, at outcome.Attempt, d dsn.DSN) outcome.Result {
	return r.finish(rcpt, r.recorder.Sent(r.Message(), rcpt, at, d))
}

// Bounce records a permanent failure and marks the recipient as done.
func (r *Request) Bounce(rcpt dsn.Recipient, at outcome.Attempt, d dsn.DSN) outcome.Result {
	return r.finish(rcpt, r.recorder.Bounce(r.Message(), rcpt, at, d))
}

// BounceOne records a permanent failure and tells another sender at once.
func (r *Request) BounceOne(n bounceclient.Notice, rcpt dsn.Recipient, at outcome.Attempt, d dsn.DSN) outcome.Result {
	return r.finish(rcpt, r.recorder.BounceOne(r.Message(), n, rcpt, at, d))
}

// Defer records a temporary failure.
func (r *Request) Defer(rcpt dsn.Recipient, at outcome.Attempt, d dsn.DSN) outcome.Result {
	return r.finish(rcpt, r.recorder.Defer(r.Message(), rcpt, at, d))
}

// Expanded records the expansion of an alias in the trace log.
func (r *Request) Expanded(rcpt dsn.Recipient, at outcome.Attempt, action string) outcome.Result {
	return r.recorder.Expanded(r.Message(), rcpt, at, action)
}

// Recorder returns the recorder of the agent that serves the request.
func (r *Request) Recorder() *outcome.Recorder { return r.recorder }

// KeepForRetry makes the reply say that a recipient must be tried again, for
// failures that are not recorded with any recipient.
func (r *Request) KeepForRetry() { r.retry = true }

func (r *Request) finish(rcpt dsn.Recipient, result outcome.Result) outcome.Result {
	if result == outcome.Retry {
		r.retry = true
		return result
	}
	r.MarkDone(rcpt)
	return result
}

// MarkDone overwrites the recipient's record in the queue file, so that no
// later delivery round repeats it. Where the mark cannot be written the
// request fails as a whole: delivering twice beats losing.
func (r *Request) MarkDone(rcpt dsn.Recipient) {
	if r.Flags&FlagMarkDone == 0 || rcpt.Offset <= 0 || r.File == nil {
		return
	}
	if _, err := r.File.WriteAt([]byte{'D'}, rcpt.Offset); err != nil {
		r.markErr = err
	}
}

// Deliverer is what an agent does with a request. It records the outcome of
// every recipient through the request; the returned DSN is that of the
// destination as a whole, empty when that is usable.
type Deliverer func(ctx context.Context, r *Request) dsn.DSN
