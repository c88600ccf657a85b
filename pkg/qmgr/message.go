package qmgr

import (
	"os"
	"time"

	"suffix/pkg/dsn"
	"suffix/pkg/queue"
)

// A message is one queue file in the active queue, as far as it was read.
//
// It belongs to the owner of the tables, except while it is being read or
// finished: then it has no entries, or the reader touches only what its
// comment says.
type message struct {
	id     string
	active time.Time // when it entered the active queue
	queued int64     // the same in seconds: the order of jobs

	// What the queue file says. Set by the first read.
	arrival      time.Time
	created      time.Time
	contentStart int64 // offset of the first content record
	contentSize  int64 // bytes of content records
	contentLen   int64 // as logged and told to agents
	options      int   // optMixed, notify masks << 1
	sendOpts     int
	sender       string
	encoding     string
	envelopeID   string
	ret          dsn.Ret
	filter       string // content filter: transport:nexthop
	inspector    string
	redirect     string
	verp         string // the two delimiters, empty: no VERP
	traceFlags   int
	traceOffset  int64 // of the trace_flags record to kill after the report, 0: none
	warnTime     int64 // when to send a delay warning, 0 or less: never
	warnOffset   int64
	client       client

	// The part that was not read yet. Changed by each read.
	unread     int   // recipients
	nextOffset int64 // where the next read begins, 0: everything was read
	inTail     bool  // that is behind the content

	// Requests that came with the file's mode, or with the scan.
	flush       bool // forget dead destinations, ignore defer_transports
	flushMode   bool // the former was asked for this message alone
	forceExpire bool
	expireNow   bool // return it without another attempt, its defer log stands

	retry     bool // some recipients must be tried again
	refs      int  // entries, reads and other work in progress
	reading   bool // its file is being read, or its round finished
	corrupt   bool // its file was saved in the corrupt queue
	lastRead  time.Time
	rcptCount int // recipients in memory
	rcptLimit int
	jobs      []*job
}

// client is what the log lines and requests say about where a message is from.
type client struct {
	name, address, port, protocol, helo  string
	saslMethod, saslUsername, saslSender string
	logIdent, rewriteContext             string
}

// Bits of message.options.
const (
	optMixed         = 1                           // recipients stand between other records
	optNotifySuccess = int(dsn.NotifySuccess) << 1 // somebody wants to hear of success
	optMask          = 31
)

// Trace flags that a queue file may have.
const (
	traceProbe     = 0x100  // address probe of the mail system
	traceUserProbe = 0x200  // sendmail -bv
	traceRecord    = 0x400  // sendmail -v
	traceDelay     = 0x2000 // a delay warning was sent
	traceMask      = traceProbe | traceUserProbe | traceRecord | traceDelay
)

func newMessage(c candidate, queuedAt time.Time, flags scanFlags, rcptLimit int) *message {
	return &message{
		id:          c.id,
		active:      queuedAt,
		queued:      queuedAt.Unix(),
		flush:       flags&scanFlush != 0 || c.info.Mode&queue.ModeFlush != 0,
		flushMode:   c.info.Mode&queue.ModeFlush != 0,
		forceExpire: c.info.Mode&queue.ModeExpire != 0,
		rcptLimit:   rcptLimit,
	}
}

// job returns the message's job for a transport, nil if there is none.
func (msg *message) job(t *transport) *job {
	for _, j := range msg.jobs {
		if j.transport == t {
			return j
		}
	}
	return nil
}

// probe says whether the message is an address probe of any kind.
func (msg *message) probe() bool { return msg.traceFlags&(traceProbe|traceUserProbe) != 0 }

// release ends one piece of work on a message. The last one finishes the
// delivery round.
func (m *Manager) release(msg *message) {
	if msg.refs--; msg.refs > 0 {
		return
	}
	m.roundDone(msg)
}

// forget removes a message from memory; what becomes of its file is decided.
func (m *Manager) forget(msg *message) {
	for _, j := range msg.jobs {
		j.free()
	}
	msg.jobs = nil
	if msg.traceFlags&traceProbe != 0 {
		m.probes--
	}
	delete(m.messages, msg.id)
}

// activeFile opens a message file of the active queue.
func (m *Manager) activeFile(id string) (*os.File, error) {
	return m.tree.Open(queue.Active, id, os.O_RDWR, 0)
}
