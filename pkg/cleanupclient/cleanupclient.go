// Package cleanupclient hands messages to cleanup(8), which writes them into
// the incoming queue (spec ipc §8).
//
// A message is a stream of queue-file records: envelope, content, extracted
// information. When Finish returns status 0 the message is on disk, and the
// mail system is responsible for it. A message that is not finished leaves no
// trace.
package cleanupclient

import (
	"context"
	"errors"

	"suffix/pkg/record"
)

// Flags say what cleanup shall do with a message (spec ipc §8.1).
type Flags int

const (
	Bounce      Flags = 1    // return bad mail to the sender, do not report it
	Filter      Flags = 2    // header and body checks, MIME checks
	Hold        Flags = 4    // put into the hold queue
	Discard     Flags = 8    // throw away, report success
	BCC         Flags = 16   // automatic BCC recipients
	Map         Flags = 32   // canonical, virtual alias and masquerade mapping
	Milter      Flags = 64   // Milters
	SMTPReply   Flags = 128  // the reason may be a whole SMTP reply
	SMTPUTF8    Flags = 256  // the client asked for SMTPUTF8
	AutoUTF8    Flags = 512  // find out whether SMTPUTF8 is needed
	RequireTLS  Flags = 1024 // the client asked for REQUIRETLS
	clientFlags       = Bounce | Filter | Hold | Discard | BCC | Map | Milter | SMTPReply | SMTPUTF8 | AutoUTF8 | RequireTLS
)

// Known returns the flags that a client may send.
func (f Flags) Known() Flags { return f & clientFlags }

// Status is the outcome of a message: a set of problems, zero for success.
type Status int

const (
	Bad    Status = 1     // protocol error
	Write  Status = 2     // queue file write error
	Size   Status = 4     // message too big
	Cont   Status = 8     // content rejected
	Hops   Status = 16    // too many hops
	Rcpt   Status = 64    // no recipients
	Proxy  Status = 128   // before-queue filter failure, smtpd only
	Defer  Status = 256   // not now
	NoPerm Status = 512   // sender not allowed, postdrop only
	BareLF Status = 65536 // bare LF received, smtpd only
)

// A Detail describes one bit of Status.
type Detail struct {
	Status Status
	Code   int    // SMTP reply code
	DSN    string // enhanced status code
	Text   string
}

// details, the most important first.
var details = []Detail{
	{Defer, 451, "4.7.1", "service unavailable"},
	{Proxy, 451, "4.3.0", "queue file write error"},
	{Bad, 451, "4.3.0", "internal protocol error"},
	{Rcpt, 550, "5.1.0", "no recipients specified"},
	{Hops, 554, "5.4.0", "too many hops"},
	{Size, 552, "5.3.4", "message file too big"},
	{Cont, 550, "5.7.1", "message content rejected"},
	{Write, 451, "4.3.0", "queue file write error"},
	{NoPerm, 550, "5.7.1", "service denied"},
	{BareLF, 521, "5.5.2", "bare <LF> received"},
}

// Detail returns the reply code, status code and text of the bit that decides
// (spec cleanup §3.1). Unknown bits count as a protocol error.
func (s Status) Detail() Detail {
	if s == 0 {
		return Detail{0, 250, "2.0.0", "Success"}
	}
	for _, d := range details {
		if s&d.Status != 0 {
			return d
		}
	}
	return details[2]
}

// A Stream is one message on its way to cleanup. Errors of Put and Flush need
// no attention: Finish reports them. A Stream is used by one goroutine.
type Stream interface {
	// QueueID returns the name of the queue file, which exists already.
	QueueID() string
	// Put adds one record. Nothing needs to be sent at once.
	Put(t record.Type, data string)
	// PutBytes is Put for data that the caller reuses after the call.
	PutBytes(t record.Type, data []byte)
	// Flush sends what was put so far.
	Flush() error
	// Finish waits for the verdict; the last record must have been End. The
	// reason is a status code and text, or with SMTPReply perhaps a whole
	// reply; often it is empty. When the conversation failed the error says
	// so, and status is Write.
	Finish() (status Status, reason string, err error)
	// Abort gives up the message. After Finish it does nothing.
	Abort()
}

// ErrElsewhere is returned by an InProcess hook for a service that it does not
// answer for: the client then talks to the service's socket.
var ErrElsewhere = errors.New("service is not in this process")

// InProcess, when a daemon sets it before its first message, opens messages in
// place of the service. It must log and be configured as that service.
var InProcess func(ctx context.Context, service string, flags Flags) (Stream, error)

// PutAttr adds a named attribute.
func PutAttr(s Stream, name, value string) { s.Put(record.Attr, name+"="+value) }
