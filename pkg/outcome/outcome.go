// Package outcome records what became of a recipient: it tells the bounce,
// defer, trace and verify services what they must know, and writes the
// delivery status line to the log (spec delivery §3, qmgr §16).
//
// Every program that decides about recipients uses it: the delivery agents,
// the queue manager, and cleanup when it returns a message by itself.
package outcome

import (
	"context"
	"strconv"
	"strings"
	"time"

	"suffix/pkg/address"
	"suffix/pkg/bounceclient"
	"suffix/pkg/config"
	"suffix/pkg/dsn"
	"suffix/pkg/flushclient"
	"suffix/pkg/maillog"
	"suffix/pkg/maps"
	"suffix/pkg/params"
	"suffix/pkg/verifyclient"
)

// Flags of a delivery request that govern what is recorded.
const (
	FlagClean        = 1    // delete the log on failure (cleanup only)
	FlagProbe        = 256  // address verification by the mail system
	FlagUserProbe    = 512  // sendmail -bv
	FlagRecord       = 1024 // sendmail -v
	FlagReportDelays = 8192 // report success after a delay was reported
)

// Result says whether the recipient is done with.
type Result bool

const (
	Done  Result = true  // the recipient may be marked as done
	Retry Result = false // it must be tried again later
)

// A Message is what the Recorder needs to know about the message.
type Message struct {
	QueueID string
	Flags   int // of the request
	Times   Times
}

// An Attempt describes where a recipient went.
type Attempt struct {
	Relay string // host and address, service name, or "none"
	TLS   string // summary for the log, empty where TLS plays no part
}

// A Recorder is made once by a program and is safe for concurrent use.
type Recorder struct {
	Bounces *bounceclient.Client

	log           *maillog.Logger
	verify        *verifyclient.Client
	flush         *flushclient.Client
	filter        *maps.Maps
	filterName    string
	softBounce    bool
	negativeCache bool
	digits        int
	internalForm  bool
	ctx           context.Context
}

// New makes a Recorder from main.cf. The filter parameter names the delivery
// status filter of the program; programs without one pass a table list nil.
func New(cfg *config.Main, filterName string, filter *maps.Maps) *Recorder {
	return &Recorder{
		Bounces:       bounceclient.New(cfg),
		log:           maillog.Default(),
		verify:        verifyclient.New(cfg),
		flush:         flushclient.New(cfg),
		filter:        filter,
		filterName:    filterName,
		softBounce:    cfg.Bool(params.SoftBounce),
		negativeCache: cfg.Bool(params.AddressVerifyNegativeCache),
		digits:        cfg.Int(params.DelayLoggingResolutionLimit),
		internalForm:  cfg.String(params.InfoLogAddressFormat) == "internal",
		ctx:           context.Background(),
	}
}

// WithLog returns a Recorder that writes to another log: for an engine that
// answers in another program's stead.
func (r *Recorder) WithLog(log *maillog.Logger) *Recorder {
	other := *r
	other.log = log
	return &other
}

// Sent records a delivery.
func (r *Recorder) Sent(m *Message, rcpt dsn.Recipient, at Attempt, d dsn.DSN) Result {
	d = r.checked(d, '2', "sent: ", "2.0.0")
	d, _ = r.filtered(d)
	switch {
	case m.Flags&FlagProbe != 0:
		d.Action = "deliverable"
		return r.probed(m, rcpt, at, verifyclient.Deliverable, d)
	case m.Flags&FlagUserProbe != 0:
		d.Action = "deliverable"
		return r.userProbed(m, rcpt, at, d)
	}
	if d.Action == "" {
		d.Action = "delivered"
	}
	traced := m.Flags&FlagRecord != 0 ||
		m.Flags&FlagReportDelays != 0 && (rcpt.Notify == 0 || rcpt.Notify&dsn.NotifyDelay != 0)
	if traced && !r.trace(m, rcpt, at, d) || rcpt.Notify&dsn.NotifySuccess != 0 && !r.trace(m, rcpt, at, d) {
		return r.deferred(m, rcpt, at, dsn.DSN{Status: "4.3.0", Reason: m.QueueID + ": trace service failed"})
	}
	r.line(m, rcpt, at, d.Status, "sent", d.Reason)
	return Done
}

// Bounce records a permanent failure. The sender is told when the queue
// manager has finished with the message.
func (r *Recorder) Bounce(m *Message, rcpt dsn.Recipient, at Attempt, d dsn.DSN) Result {
	return r.bounce(m, rcpt, at, d, nil)
}

// BounceOne records a permanent failure and tells a sender other than that of
// the message at once (spec delivery §8.9).
func (r *Recorder) BounceOne(m *Message, n bounceclient.Notice, rcpt dsn.Recipient, at Attempt, d dsn.DSN) Result {
	return r.bounce(m, rcpt, at, d, &n)
}

func (r *Recorder) bounce(m *Message, rcpt dsn.Recipient, at Attempt, d dsn.DSN, one *bounceclient.Notice) Result {
	d = r.checked(d, '5', "bounce_append: ", "5.0.0")
	d, switched := r.filtered(d)
	if switched {
		return r.deferred(m, rcpt, at, d)
	}
	return r.bounced(m, rcpt, at, d, one)
}

func (r *Recorder) bounced(m *Message, rcpt dsn.Recipient, at Attempt, d dsn.DSN, one *bounceclient.Notice) Result {
	switch {
	case m.Flags&FlagProbe != 0:
		d.Action = "undeliverable"
		return r.probed(m, rcpt, at, verifyclient.Undeliverable, d)
	case m.Flags&FlagUserProbe != 0:
		d.Action = "undeliverable"
		return r.userProbed(m, rcpt, at, d)
	}
	d.Action = "failed"
	if r.softBounce {
		if m.Flags&FlagClean != 0 {
			return Retry
		}
		d.Status, d.Action = dsn.WithClass(d.Status, '4'), "delayed"
		if err := r.Bounces.Append(r.Bounces.Defer, m.Flags, m.QueueID, rcpt, d); err != nil {
			r.log.Warnf("%v", err)
			r.log.Warnf("%s: defer service failure", m.QueueID)
		}
		r.line(m, rcpt, at, d.Status, "SOFTBOUNCE", d.Reason)
		return Retry
	}
	var err error
	if one != nil {
		err = r.Bounces.One(*one, rcpt, d)
	} else {
		err = r.Bounces.Append(r.Bounces.Bounce, m.Flags&FlagClean, m.QueueID, rcpt, d)
	}
	if err != nil {
		r.log.Warnf("%v", err)
	}
	if err != nil || m.Flags&FlagRecord != 0 && !r.trace(m, rcpt, at, d) {
		if m.Flags&FlagClean != 0 {
			return Retry
		}
		return r.deferred(m, rcpt, at, dsn.DSN{Status: "4.3.0", Reason: "bounce or trace service failure"})
	}
	r.line(m, rcpt, at, d.Status, "bounced", d.Reason)
	return Done
}

// Defer records a temporary failure.
func (r *Recorder) Defer(m *Message, rcpt dsn.Recipient, at Attempt, d dsn.DSN) Result {
	d = r.checked(d, '4', "defer_append: ", "4.0.0")
	d, switched := r.filtered(d)
	if switched {
		return r.bounced(m, rcpt, at, d, nil)
	}
	return r.deferred(m, rcpt, at, d)
}

func (r *Recorder) deferred(m *Message, rcpt dsn.Recipient, at Attempt, d dsn.DSN) Result {
	switch {
	case m.Flags&FlagProbe != 0:
		d.Action = "undeliverable"
		return r.probed(m, rcpt, at, verifyclient.Deferred, d)
	case m.Flags&FlagUserProbe != 0:
		d.Action = "undeliverable"
		return r.userProbed(m, rcpt, at, d)
	}
	d.Action = "delayed"
	if err := r.Bounces.Append(r.Bounces.Defer, m.Flags&FlagClean, m.QueueID, rcpt, d); err != nil {
		r.log.Warnf("%v", err)
		r.log.Warnf("%s: defer service failure", m.QueueID)
	}
	r.line(m, rcpt, at, d.Status, "deferred", d.Reason)
	if m.Flags&FlagRecord != 0 {
		r.trace(m, rcpt, at, d)
	}
	if _, domain, ok := address.Split(rcpt.Address); ok {
		if status := r.flush.Add(domain, m.QueueID); status != flushclient.OK && status != flushclient.Denied {
			r.log.Warnf("%s: flush service failure", m.QueueID)
		}
	}
	return Retry
}

// Expanded records that an alias was expanded, in the trace log only.
func (r *Recorder) Expanded(m *Message, rcpt dsn.Recipient, at Attempt, action string) Result {
	return Result(r.trace(m, rcpt, at, dsn.DSN{Status: "2.0.0", Action: action, Reason: "alias expanded"}))
}

// probed tells verify what became of a probe.
func (r *Recorder) probed(m *Message, rcpt dsn.Recipient, at Attempt, status verifyclient.Verdict, d dsn.DSN) Result {
	if status != verifyclient.Deliverable && !r.negativeCache {
		r.line(m, rcpt, at, d.Status, "undeliverable-but-not-cached", d.Reason)
		return Done
	}
	addresses := []string{rcpt.Address}
	if rcpt.Original != "" && rcpt.Original != rcpt.Address {
		addresses = []string{rcpt.Original, rcpt.Address}
	}
	for _, addr := range addresses {
		if err := r.verify.Update(r.ctx, addr, status, d.Reason); err != nil {
			r.log.Warnf("%s: verify service failure", m.QueueID)
			return Retry
		}
	}
	r.line(m, rcpt, at, d.Status, d.Action, d.Reason)
	return Done
}

// userProbed adds the outcome of a sendmail -bv probe to the trace log.
func (r *Recorder) userProbed(m *Message, rcpt dsn.Recipient, at Attempt, d dsn.DSN) Result {
	if !r.trace(m, rcpt, at, d) {
		return Retry
	}
	r.line(m, rcpt, at, d.Status, d.Action, d.Reason)
	return Done
}

func (r *Recorder) trace(m *Message, rcpt dsn.Recipient, at Attempt, d dsn.DSN) bool {
	if at.Relay != "none" {
		d.Reason = "delivery via " + at.Relay + ": " + d.Reason
	}
	if err := r.Bounces.Append(r.Bounces.Trace, m.Flags, m.QueueID, rcpt, d); err != nil {
		r.log.Warnf("%v", err)
		r.log.Warnf("%s: trace service failure", m.QueueID)
		return false
	}
	return true
}

// checked replaces a status code that does not fit the outcome.
func (r *Recorder) checked(d dsn.DSN, class byte, where, standard string) dsn.DSN {
	if dsn.Class(d.Status) != class || !dsn.Valid(d.Status) {
		r.log.Warnf("%signoring dsn code \"%s\"", where, d.Status)
		d.Status = standard
	}
	return d
}

// filtered applies the delivery status filter. switched says that a temporary
// failure became a permanent one or the reverse.
func (r *Recorder) filtered(d dsn.DSN) (_ dsn.DSN, switched bool) {
	if r.filter == nil || r.filter.Empty() {
		return d, false
	}
	result, found, err := r.filter.Find(d.Status + " " + d.Reason)
	if err != nil || !found {
		return d, false
	}
	status, reason := dsn.Split(result, "")
	class, was := dsn.Class(status), dsn.Class(d.Status)
	if !dsn.Valid(result) || (class == '2') != (was == '2') {
		r.log.Warnf("%s: bad status code: %s", r.filterName, result)
		return d, false
	}
	d.Status, d.Reason = status, reason
	if class != was {
		d.Action = map[byte]string{'4': "delayed", '5': "failed"}[class]
		return d, true
	}
	return d, false
}

// line writes the delivery status line.
func (r *Recorder) line(m *Message, rcpt dsn.Recipient, at Attempt, status, word, reason string) {
	b := make([]byte, 0, 256)
	b = append(append(b, m.QueueID...), ": to=<"...)
	b = append(append(b, r.LogAddress(rcpt.Address)...), '>')
	if rcpt.Original != "" && !strings.EqualFold(rcpt.Original, rcpt.Address) {
		b = append(append(append(b, ", orig_to=<"...), r.LogAddress(rcpt.Original)...), '>')
	}
	b = append(append(append(b, ", relay="...), at.Relay...), ", "...)
	if m.Times.Reuse > 0 {
		b = append(b, "conn_use="...)
		b = strconv.AppendInt(b, int64(m.Times.Reuse+1), 10)
		b = append(b, ", "...)
	}
	b = m.Times.appendDelays(b, r.digits, time.Now())
	if at.TLS != "" {
		b = append(append(b, ", tls="...), at.TLS...)
	}
	b = append(append(append(b, ", dsn="...), status...), ", status="...)
	b = append(append(append(b, word...), " ("...), reason...)
	b = append(b, ')')
	r.log.Infof("%s", b)
}

// LogAddress gives an address the form that info_log_address_format asks for.
func (r *Recorder) LogAddress(internal string) string {
	if r.internalForm {
		return internal
	}
	return address.Quote(internal)
}
