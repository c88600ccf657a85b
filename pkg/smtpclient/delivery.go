package smtpclient

import (
	"context"
	"net/netip"
	"strings"
	"time"

	"suffix/pkg/deliver"
	"suffix/pkg/dsn"
	"suffix/pkg/outcome"
)

// A Recorder takes the outcome of each recipient; *deliver.Request is one.
type Recorder interface {
	Sent(rcpt dsn.Recipient, at outcome.Attempt, d dsn.DSN) outcome.Result
	Bounce(rcpt dsn.Recipient, at outcome.Attempt, d dsn.DSN) outcome.Result
	Defer(rcpt dsn.Recipient, at outcome.Attempt, d dsn.DSN) outcome.Result
	// MarkCorrupt tells the queue manager that the queue file is damaged.
	MarkCorrupt(path string)
}

// The states of a recipient during a delivery.
type rcptState uint8

const (
	left rcptState = iota // to be dealt with by the current server
	next                  // to be tried with the next server
	done                  // recorded
)

type recipient struct {
	*dsn.Recipient
	state    rcptState
	accepted bool // by the current server
	reply    reply
}

// A delivery is one request on its way.
type delivery struct {
	e     *Engine
	cfg   *Config
	ctx   context.Context
	req   *deliver.Request
	rec   Recorder
	rcpts []recipient

	why       dsn.DSN // the last reason for not getting on
	hop       dsn.DSN // what the queue manager is told about the destination
	completed bool    // some session went through its dialogue
	final     bool    // there is no server after the current one
	loopCheck bool
	needUTF8  bool
	tls       string

	load, store bool // use of cached connections
	looked      bool // one was looked for under the destination's name
	stored      bool // one was saved under the destination's name
	visited     map[netip.AddrPort]bool
	fallback    bool // the current destination is a fallback relay
}

// left counts the recipients that wait for a server.
func (d *delivery) left() int {
	n := 0
	for i := range d.rcpts {
		if d.rcpts[i].state == left {
			n++
		}
	}
	return n
}

// attempt describes where a recipient went, for the log.
func (d *delivery) attempt(relay string) outcome.Attempt {
	at := outcome.Attempt{Relay: relay}
	if d.cfg.LogTLS {
		at.TLS = d.tls
	}
	return at
}

func (d *delivery) relay(s *session) string {
	if s == nil {
		return "none"
	}
	return s.nameAddrPort
}

// stampFailure stamps the moment of a failure where no mail transaction began.
func (d *delivery) stampFailure() {
	if d.req.Times.SetupDone.IsZero() {
		now := time.Now()
		d.req.Times.SetupDone, d.req.Times.Delivered = now, now
	} else if d.req.Times.Delivered.IsZero() {
		d.req.Times.Delivered = time.Now()
	}
}

// temporary says whether a failure leaves the recipients to the next server.
func (d *delivery) temporary(status string, softUntilFinal bool) bool {
	return !d.final && (dsn.Class(status) == '4' || softUntilFinal || d.cfg.SoftBounce)
}

// fail deals with a failure that ends the session's work: each recipient that
// is left goes to the next server, or is bounced or deferred.
func (d *delivery) fail(s *session, f *failure) {
	if s != nil {
		s.noCache = s.noCache || f.noCache || f.scope != scopeMessage
		s.dead = s.dead || f.dead
	}
	d.why = f.dsn
	if d.temporary(f.dsn.Status, f.softUntilFinal) {
		d.cfg.Log.Infof("%s: %s", d.req.QueueID, f.dsn.Reason)
		for i := range d.rcpts {
			if r := &d.rcpts[i]; r.state == left {
				r.state = next
			}
		}
		return
	}
	d.stampFailure()
	deferred := false
	for i := range d.rcpts {
		r := &d.rcpts[i]
		if r.state != left {
			continue
		}
		deferred = d.reject(r, s, f.dsn) || deferred
	}
	if deferred && f.scope != scopeMessage && !f.noThrottle {
		d.blame(f.dsn)
	}
}

// reject bounces or defers one recipient; it returns true for the latter.
func (d *delivery) reject(r *recipient, s *session, why dsn.DSN) bool {
	r.state = done
	if dsn.Class(why.Status) == '5' {
		d.rec.Bounce(*r.Recipient, d.attempt(d.relay(s)), why)
		return false
	}
	d.rec.Defer(*r.Recipient, d.attempt(d.relay(s)), why)
	return true
}

// blame tells the queue manager that the destination is in trouble. The first
// report counts.
func (d *delivery) blame(why dsn.DSN) {
	if d.hop.Status == "" {
		d.hop = why
	}
}

// failRecipient deals with the rejection of one recipient.
func (d *delivery) failRecipient(s *session, r *recipient, why dsn.DSN) {
	if d.temporary(why.Status, false) {
		d.cfg.Log.Infof("%s: %s", d.req.QueueID, why.Reason)
		d.why = why
		r.state = next
		return
	}
	stamps := d.req.Times
	if d.req.Times.Delivered.IsZero() {
		d.req.Times.Delivered = time.Now()
	}
	d.reject(r, s, why)
	d.req.Times = stamps
}

// sent records a delivery.
func (d *delivery) sent(s *session, r *recipient, answer *reply) {
	r.state = done
	rcpt := *r.Recipient
	action := "relayed"
	if s.has(featDSN) {
		rcpt.Notify &^= dsn.NotifySuccess
	} else if d.cfg.LMTP && d.cfg.Flags.Final {
		action = "delivered"
	}
	d.rec.Sent(rcpt, d.attempt(s.nameAddrPort), dsn.DSN{
		Status: answer.status, Action: action, Reason: answer.oneLine(),
		DiagType: "smtp", DiagText: answer.oneLine(), MTAType: "dns", MTAName: s.host,
	})
}

// endSession forgets what belongs to a server: recipients that are left to the
// next one become due again.
func (d *delivery) endSession() {
	for i := range d.rcpts {
		r := &d.rcpts[i]
		if r.state == next {
			r.state = left
		}
		r.accepted = false
	}
	t := &d.req.Times
	t.SetupDone, t.Delivered, t.Reuse = time.Time{}, time.Time{}, 0
	d.tls = ""
}

// failAll records one outcome for everybody, before any server was asked.
func (d *delivery) failAll(relay string, why dsn.DSN) {
	for i := range d.rcpts {
		r := &d.rcpts[i]
		if r.state == done {
			continue
		}
		r.state = done
		if dsn.Class(why.Status) == '5' {
			d.rec.Bounce(*r.Recipient, d.attempt(relay), why)
		} else {
			d.rec.Defer(*r.Recipient, d.attempt(relay), why)
		}
	}
}

// probe says that no message is to be sent: somebody wants to know whether the
// recipients exist.
func (d *delivery) probe() bool {
	return d.req.Flags&(outcome.FlagProbe|outcome.FlagUserProbe) != 0
}

// unsafeInCommand says whether text must not enter an SMTP command.
func unsafeInCommand(text string) bool {
	return strings.ContainsFunc(text, func(c rune) bool { return c < 32 || c == 127 })
}
