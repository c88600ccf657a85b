// Package showqclient reads the listing of the mail queue that showq(8) sends
// (spec ipc §14, queue-files §16.1). It understands the form of Postfix 3.7
// and that of 3.11.
package showqclient

import (
	"errors"
	"fmt"

	"suffix/pkg/attr"
	"suffix/pkg/maillog"
)

// Protocol is what the server announces.
const Protocol = "mail_queue_list_protocol"

// A Message is one message in the queue.
type Message struct {
	Queue  string
	ID     string
	Time   int64 // arrival, in seconds
	Size   int64 // of the content, in bytes
	Forced bool  // forced expiration
	Sender string
}

// A Recipient is one recipient that a message still has, or that is in one of
// its logs.
type Recipient struct {
	Original string // before rewriting; empty where it is not known
	Address  string
	Class    string // defer or bounce: the log that has the reason
	Reason   string // empty where no delivery was tried
}

// A Handler gets the listing piece by piece. An error ends the reading.
type Handler interface {
	Message(*Message) error
	Recipient(*Recipient) error // of the last message
	End() error                 // of the last message
}

// ErrMalformed says that what comes from the server is no listing.
var ErrMalformed = errors.New("malformed showq server response")

// Read reads a whole listing. The error is that of the handler, or wraps
// ErrMalformed. Bytes that are not printable become question marks.
func Read(r *attr.Reader, h Handler) error {
	if err := r.Protocol(Protocol); err != nil {
		return malformed(err)
	}
	if err := r.End(); err != nil {
		return malformed(err)
	}
	for {
		more, err := readMessage(r, h)
		if err != nil || !more {
			return err
		}
	}
}

func malformed(err error) error { return fmt.Errorf("%w: %w", ErrMalformed, err) }

func readMessage(r *attr.Reader, h Handler) (more bool, err error) {
	name, value, ok, err := r.Next()
	if err != nil {
		return false, malformed(err)
	}
	if !ok { // an empty list ends the listing
		r.Reset()
		return false, nil
	}
	if name != "queue_name" {
		return false, malformed(&attr.UnexpectedError{Got: name, Want: "queue_name", Stream: r.Stream()})
	}
	m := Message{Queue: maillog.Printable(value)}
	f := &fields{r: r}
	m.ID = f.str("queue_id")
	m.Time = f.long("time")
	m.Size = f.long("size")
	m.Forced = f.long("forced_expire") != 0
	m.Sender = f.str("sender")
	if f.err != nil {
		return false, malformed(f.err)
	}
	if err := h.Message(&m); err != nil {
		return false, err
	}
	for {
		name, value, ok, err := r.Next()
		if err != nil {
			return false, malformed(err)
		}
		if !ok {
			r.Reset()
			return true, h.End()
		}
		rcpt, err := readRecipient(f, name, maillog.Printable(value))
		if err != nil {
			return false, malformed(err)
		}
		if err := h.Recipient(rcpt); err != nil {
			return false, err
		}
	}
}

// readRecipient reads the rest of a recipient whose first attribute is at hand.
func readRecipient(f *fields, name, value string) (*Recipient, error) {
	rcpt := &Recipient{}
	switch name {
	case "original_recipient":
		rcpt.Original = value
		rcpt.Address = f.str("recipient")
		rcpt.Class = f.str("log_class")
		rcpt.Reason = f.str("reason")
	case "recipient": // 3.7: there is only the defer log
		rcpt.Address = value
		rcpt.Reason = f.str("reason")
		if rcpt.Reason != "" {
			rcpt.Class = "defer"
		}
	default:
		return nil, &attr.UnexpectedError{Got: name, Want: "original_recipient", Stream: f.r.Stream()}
	}
	return rcpt, f.err
}

// fields reads attributes and remembers the first error.
type fields struct {
	r   *attr.Reader
	err error
}

func (f *fields) str(name string) string {
	if f.err != nil {
		return ""
	}
	var value string
	value, f.err = f.r.Str(name)
	return maillog.Printable(value)
}

func (f *fields) long(name string) int64 {
	if f.err != nil {
		return 0
	}
	var n int64
	n, f.err = f.r.Long(name)
	return n
}
