package cleanup

import (
	"bytes"
	"context"
	"os"
	"time"

	"suffix/pkg/address"
	"suffix/pkg/cleanupclient"
	"suffix/pkg/dsn"
	"suffix/pkg/maillog"
	"suffix/pkg/queue"
	"suffix/pkg/record"
	"suffix/pkg/rewriteclient"
)

// segment is the part of a message that is being received.
type segment uint8

const (
	inEnvelope segment = iota
	inContent
	inExtracted
	atEnd
)

// A Message is a queue file in the making. It implements cleanupclient.Stream.
// One goroutine uses it.
type Message struct {
	e     *Engine
	ctx   context.Context
	flags cleanupclient.Flags
	buf   *buffers

	id        string
	idTime    time.Time
	file      *os.File
	path      string // while the file is incomplete
	queueName string
	written   int64 // bytes of the file that left the buffer
	traced    bool  // a trace log was made

	status cleanupclient.Status
	reason string
	closed bool

	// Envelope.
	segment    segment
	checked    bool // sender and time were looked for
	hasSender  bool
	sender     string // rewritten, internal form
	fullName   string
	hasName    bool
	hasTime    bool
	arrival    time.Time
	hasWarn    bool
	verp       string
	traceFlags int
	envelopeID string
	ret        dsn.Ret
	context    rewriteclient.Rule // for header addresses, "" for none
	milters    bool               // the client announced Milters
	attrs      attributes

	// The recipient being put together.
	rcpt              pendingRecipient
	afterRecipient    bool // a recipient came before, in this segment
	recipients        int  // records written
	seenRecipients    int  // records received
	lastRecipient     string
	seen              map[string]struct{}
	options, sendOpts int
	contentAt         int64 // offset of the first content record
	extractedAt       int64

	// Content.
	parsing     bool
	hops        int
	headers     headerSet
	resent      bool
	messageID   string
	hasMsgID    bool // one was logged
	wantsTLS    bool // Require-TLS-ESMTP: yes
	errors      mimeErrors
	filter      string // from FILTER
	redirect    string // from REDIRECT
	bcc         []string
	metaWritten bool
}

// pendingRecipient is what came in front of the recipient that it is about.
type pendingRecipient struct {
	orcpt    string // DSN original recipient
	original string // before rewriting
	hasORCPT bool
	hasOrig  bool
	notify   dsn.Notify
}

// Open makes an empty queue file and starts a message. The flags are those of
// the client.
func (e *Engine) Open(ctx context.Context, flags cleanupclient.Flags) (*Message, error) {
	m, err := e.create(ctx)
	if err != nil {
		return nil, err
	}
	m.SetFlags(flags)
	return m, nil
}

// create makes the queue file before the client has said anything.
func (e *Engine) create(ctx context.Context) (*Message, error) {
	f, id, idTime, err := e.tree.Create(ctx, queue.Incoming, queue.ModeEmbryo)
	if err != nil {
		return nil, err
	}
	m := &Message{
		e: e, ctx: ctx, buf: pool.Get().(*buffers), id: id, idTime: idTime, file: f,
		queueName: queue.Incoming, context: rewriteclient.Local,
	}
	m.path = e.tree.Path(queue.Incoming, id)
	e.open.add(m.path)
	m.attrs = attributes{data: m.buf.attrs[:0], entries: m.buf.entries[:0]}
	m.attrs.set("log_message_origin", "local")
	m.buf.out = record.AppendSizes(m.buf.out[:0], record.Sizes{})
	// The ID may have belonged to another message before.
	for _, name := range [...]string{queue.Defer, queue.Bounce, queue.Trace} {
		if e.tree.Remove(name, id) == nil {
			e.log.Warnf("%s: removed spurious %s log", name, id)
		}
	}
	return m, nil
}

// Create makes the queue file of a message whose flags are not known yet. The
// caller calls SetFlags before the first record.
func (e *Engine) Create(ctx context.Context) (*Message, error) { return e.create(ctx) }

// SetFlags says what the client wants.
func (m *Message) SetFlags(flags cleanupclient.Flags) {
	m.flags = flags.Known()
	if flags&cleanupclient.SMTPUTF8 != 0 {
		m.sendOpts |= sendSMTPUTF8
	}
	if flags&cleanupclient.RequireTLS != 0 && m.e.set.requireTLS {
		m.sendOpts |= sendRequireTLS
	}
}

// QueueID implements cleanupclient.Stream.
func (m *Message) QueueID() string { return m.id }

// Put implements cleanupclient.Stream.
func (m *Message) Put(t record.Type, data string) {
	m.buf.in = append(m.buf.in[:0], data...)
	m.PutBytes(t, m.buf.in)
}

// PutBytes implements cleanupclient.Stream.
func (m *Message) PutBytes(t record.Type, data []byte) {
	if m.closed || m.segment == atEnd {
		return
	}
	if t == record.Pointer || t == record.Padding {
		m.warnf("record type %d not allowed - discarding this message", t)
		m.status |= cleanupclient.Bad
	}
	switch {
	case m.stopped():
		if t == record.Milters && string(data) != "0" {
			m.segment = atEnd // no records follow
		}
	case m.segment == inEnvelope:
		m.envelope(t, m.oneLine(t, data))
	case m.segment == inContent:
		m.content(t, data)
	case m.segment == inExtracted:
		m.extracted(t, m.oneLine(t, data))
	}
	if t == record.End {
		m.segment = atEnd
	}
}

// oneLine makes envelope information harmless that would end a line or a string
// somewhere else (spec hardening §3.3). Other clients do not send such; a
// message from an old queue must not be lost for it.
func (m *Message) oneLine(t record.Type, data []byte) []byte {
	if bytes.IndexByte(data, '\n') < 0 && bytes.IndexByte(data, '\r') < 0 && bytes.IndexByte(data, 0) < 0 {
		return data
	}
	m.warnf("null or line break in '%s' record: %s", t.Name(), shown(data, 200))
	clean := bytes.Clone(data)
	for i, c := range clean {
		if c == '\n' || c == '\r' || c == 0 {
			clean[i] = '?'
		}
	}
	return clean
}

// Flush implements cleanupclient.Stream; nothing waits for it.
func (m *Message) Flush() error { return nil }

// Ended says that the End record came: the client now waits for the verdict.
func (m *Message) Ended() bool { return m.segment == atEnd }

// Fail adds a problem that the caller met, such as a broken connection.
func (m *Message) Fail(status cleanupclient.Status) { m.status |= status }

// stopped says that nothing more is to be written. With the Bounce flag a
// message that will be returned is written to its end.
func (m *Message) stopped() bool {
	if m.flags&cleanupclient.Discard != 0 {
		return true
	}
	if m.flags&cleanupclient.Bounce != 0 {
		return m.status&(cleanupclient.Bad|cleanupclient.Write|cleanupclient.Size|cleanupclient.Defer) != 0
	}
	return m.status != 0
}

func (m *Message) warnf(format string, args ...any) {
	m.e.log.Warnf("%s: "+format, append([]any{m.id}, args...)...)
}

func (m *Message) infof(format string, args ...any) {
	m.e.log.Infof("%s: "+format, append([]any{m.id}, args...)...)
}

// rejectf refuses a message that a client should not have sent.
func (m *Message) rejectf(format string, args ...any) {
	m.warnf("message rejected: "+format, args...)
	m.status |= cleanupclient.Bad
}

// logAddress gives an address the form that info_log_address_format asks for.
func (m *Message) logAddress(internal string) string {
	if m.e.set.internalForm {
		return internal
	}
	return address.QuoteUnlessEmpty(internal)
}

// shown cuts text from a message to fit into a log line.
func shown(text []byte, limit int) string {
	if len(text) > limit {
		text = text[:limit]
	}
	return maillog.Printable(string(text))
}
