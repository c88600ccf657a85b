package cleanup

import (
	"errors"
	"io"
	"os"
	"strconv"

	"suffix/pkg/bounceclient"
	"suffix/pkg/cleanupclient"
	"suffix/pkg/dsn"
	"suffix/pkg/outcome"
	"suffix/pkg/queue"
	"suffix/pkg/record"
)

func (m *Message) wantsBCC() bool { return m.flags&cleanupclient.BCC != 0 }

// Finish implements cleanupclient.Stream: it makes the message durable, or
// removes it (spec cleanup §2 step 4). The error is always nil.
func (m *Message) Finish() (cleanupclient.Status, string, error) {
	if m.closed {
		return cleanupclient.Bad, "", nil
	}
	if m.status == 0 && m.flags&cleanupclient.Discard == 0 {
		if m.segment != atEnd {
			m.status |= cleanupclient.Bad
		}
		if m.seenRecipients == 0 {
			m.status |= cleanupclient.Rcpt
		}
	}
	discard := m.flags&cleanupclient.Discard != 0
	if discard {
		m.status, m.reason = 0, ""
	}
	if m.status == 0 && !discard {
		m.refuseMilters()
	}
	if m.extractedAt > 0 && !discard && m.status&(cleanupclient.Write|cleanupclient.Size) == 0 {
		m.patchSizes()
	}
	m.flush()
	if m.status != 0 && m.mayBounce() {
		m.bounce()
		discard = m.status == 0
	}
	if m.status == 0 && !discard && m.commit() {
		m.release()
		return 0, m.reason, nil
	}
	status, reason := m.status, m.reason
	m.remove(status == 0)
	m.release()
	return status, reason, nil
}

// refuseMilters defers a message that Milters should see: they never are
// passed over in silence.
func (m *Message) refuseMilters() {
	if m.flags&cleanupclient.Milter != 0 && !m.milters && m.e.set.miltersWant != "" {
		m.warnf("milter: non_smtpd_milters is set (%s), but this cleanup cannot talk to Milters; message not accepted, try again later", m.e.set.miltersWant)
		m.fail(cleanupclient.Defer, "4.3.5 Server configuration error")
	}
}

// commit puts the file on disk and tells the queue manager.
func (m *Message) commit() bool {
	m.e.open.done(m.path)
	name := queue.Incoming
	if m.flags&cleanupclient.Hold != 0 {
		if err := m.e.tree.Move(queue.Incoming, queue.Hold, m.id); err != nil {
			m.warnf("move to hold queue: %v", err)
			m.status |= cleanupclient.Write
			return false
		}
		name, m.queueName = queue.Hold, queue.Hold
	}
	file := m.file
	m.file = nil
	if err := m.e.tree.Finish(file, name, 0); err != nil {
		m.writeError(err)
		return false
	}
	if name == queue.Hold {
		if m.e.OnHold != nil {
			m.e.OnHold()
		}
	} else {
		m.e.qmgr.fire()
	}
	return true
}

// remove deletes the file and what belongs to it.
func (m *Message) remove(discarded bool) {
	if m.file != nil {
		m.file.Close()
		m.file = nil
	}
	if m.traced {
		if err := m.e.tree.Remove(queue.Trace, m.id); err != nil && !errors.Is(err, os.ErrNotExist) {
			m.warnf("remove trace log: %v", err)
		}
	}
	if err := m.e.tree.Remove(m.queueName, m.id); err != nil {
		m.warnf("remove queue file: %v", err)
	}
	m.e.open.done(m.path)
	if m.e.set.dialect37 {
		return
	}
	if discarded {
		m.infof("removed (discarded)")
	} else {
		m.infof("removed (canceled)")
	}
}

// Abort implements cleanupclient.Stream.
func (m *Message) Abort() {
	if !m.closed {
		m.status |= cleanupclient.Bad
		m.remove(false)
		m.release()
	}
}

func (m *Message) release() {
	m.closed = true
	b := m.buf
	m.buf = nil
	b.attrs, b.entries = m.attrs.data, m.attrs.entries
	b.out = b.out[:0]
	b.release()
}

// mayBounce says whether the message is returned by cleanup itself.
func (m *Message) mayBounce() bool {
	return m.flags&cleanupclient.Bounce != 0 && m.hasSender &&
		m.status&(cleanupclient.Bad|cleanupclient.Write|cleanupclient.Defer|cleanupclient.Rcpt) == 0
}

// message describes the message for the records of outcomes.
func (m *Message) message() *outcome.Message {
	return &outcome.Message{QueueID: m.id, Flags: outcome.FlagClean | m.traceFlags, Times: outcome.Times{Arrival: m.arrival}}
}

// bounce returns the message to its sender (spec cleanup §3.2). Success clears
// the status.
func (m *Message) bounce() {
	fail := func(err error) {
		if err != nil {
			m.e.log.Warnf("%v", err)
		}
		m.warnf("bounce message failure")
		m.status |= cleanupclient.Write
	}
	detail := m.status.Detail()
	d := dsn.DSN{Status: detail.DSN, Reason: detail.Text}
	if m.reason != "" {
		d.Status, d.Reason = dsn.Split(m.reason, "5.0.0")
	}
	if dsn.Class(d.Status) != '5' {
		d.Status = dsn.WithClass(d.Status, '5')
	}
	if err := m.bounceRecipients(d); err != nil {
		fail(err)
		return
	}
	notice := bounceclient.Notice{
		Flags: bounceclient.FlagClean, QueueName: queue.Incoming, QueueID: m.id,
		Encoding: m.attrs.get("encoding"), SendOpts: m.sendOpts,
		Sender: m.sender, EnvelopeID: m.envelopeID, Ret: m.ret,
	}
	if m.status&(cleanupclient.Cont|cleanupclient.Size) != 0 {
		notice.Ret = dsn.RetHdrs
	}
	bounces := m.e.results.Bounces
	var err error
	if m.verp != "" && m.e.set.verpBounces {
		err = bounces.FlushVERP(bounces.Bounce, notice, m.verp)
	} else {
		err = bounces.Flush(bounces.Bounce, notice)
	}
	if err != nil {
		fail(err)
		return
	}
	m.status = 0
}

var errBounce = errors.New("bounce log was not written")

// bounceRecipients logs every recipient in the file as undeliverable.
func (m *Message) bounceRecipients(d dsn.DSN) error {
	r := record.NewFileReader(m.file, m.e.tree.Path(m.queueName, m.id))
	var rcpt dsn.Recipient
	bounced := 0
	one := func() error {
		bounced++
		if m.e.results.Bounce(m.message(), rcpt, outcome.Attempt{Relay: "none"}, d) == outcome.Retry {
			return errBounce
		}
		rcpt = dsn.Recipient{}
		return nil
	}
	for {
		t, data, err := r.Next()
		if err != nil {
			// The file ends where the message was given up.
			if errors.Is(err, io.EOF) || record.IsBad(err) {
				break
			}
			return err
		}
		switch t {
		case record.Attr:
			name, value, err := record.SplitAttr(data)
			switch {
			case err != nil:
			case string(name) == "dsn_orig_rcpt":
				rcpt.ORCPT = string(value)
			case string(name) == "notify_flags":
				n, _ := strconv.Atoi(string(value)) // written by this program
				rcpt.Notify = dsn.Notify(n)
			}
		case record.OrigRecipient:
			rcpt.Original = string(data)
		case record.Recipient:
			rcpt.Address, rcpt.Offset = string(data), r.Offset()
			if err := one(); err != nil {
				return err
			}
		}
	}
	if bounced == 0 {
		rcpt = dsn.Recipient{Address: "unknown"}
		return one()
	}
	return nil
}

// reportProbe tells the verify service about a probe for an address that is
// an alias for several: nothing needs to be delivered.
func (m *Message) reportProbe(addr string) {
	rcpt := dsn.Recipient{Address: addr, Original: m.rcpt.original, ORCPT: m.rcpt.orcpt}
	d := dsn.DSN{Status: "2.0.0", Reason: "aliased to multiple recipients"}
	if m.e.results.Sent(m.message(), rcpt, outcome.Attempt{Relay: "none"}, d) == outcome.Retry {
		m.status |= cleanupclient.Write
	}
}
