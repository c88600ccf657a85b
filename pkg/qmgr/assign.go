package qmgr

import (
	"strings"
	"time"

	"suffix/pkg/address"
	"suffix/pkg/dsn"
	"suffix/pkg/outcome"
	"suffix/pkg/record"
	"suffix/pkg/syserr"
)

// entered takes a message that was read for the first time into the tables.
func (m *Manager) entered(msg *message, batch []resolved) {
	m.messages[msg.id] = msg
	if msg.traceFlags&traceProbe != 0 {
		m.probes++
	}
	msg.retry = msg.expireNow
	msg.lastRead = time.Now()
	msg.refs++
	m.assign(msg, batch)
	m.release(msg)
}

// assign makes entries of recipients (spec qmgr §5, from rule 6).
func (m *Manager) assign(msg *message, batch []resolved) {
	for i := range batch {
		r := &batch[i]
		if m.isDoubleBounce(r) {
			m.discard(msg, r.Recipient)
			continue
		}
		q, why := m.destination(msg, r)
		if q == nil {
			m.deferNow(msg, []dsn.Recipient{r.Recipient}, why)
			continue
		}
		m.entryFor(msg, q).add(r.Recipient)
	}
	for _, j := range msg.jobs {
		if j.selected < j.read {
			j.link()
		}
	}
	if msg.nextOffset == 0 {
		msg.returnAllSlots()
	}
}

// entryFor returns an entry of the message for a queue that has room for one
// more recipient.
func (m *Manager) entryFor(msg *message, q *queueState) *entry {
	j := msg.jobFor(q.t)
	limit := q.t.rcptLimit
	if msg.verp != "" {
		limit = 1
	}
	if p := j.peerOf[q]; p != nil {
		if e := p.todo.last(); e != nil && (limit == 0 || len(e.rcpts) < limit) {
			return e
		}
	}
	return m.newEntry(j, q)
}

// destination selects transport and queue for a recipient. A nil queue means
// that the recipient must be deferred at once, and why.
func (m *Manager) destination(msg *message, r *resolved) (*queueState, dsn.DSN) {
	s := &m.settings
	switch {
	case s.deferTransports[r.transport] && !msg.flush:
		r.transport, r.nexthop = s.retryService, "4.3.2 deferred transport"
	case msg.traceFlags&traceProbe != 0 && m.probes > s.maxProbes:
		r.transport, r.nexthop = s.retryService, "4.3.2 Too many address verification requests"
	}
	t := m.transport(r.transport)
	if msg.flushMode {
		t.unthrottle()
	}
	if t.dead != nil {
		return m.retryQueue(*t.dead), *t.dead
	}
	q := t.queue(m.queueName(t, r), r.nexthop)
	if msg.flushMode && q.window == 0 {
		q.unthrottle()
	}
	if q.window == 0 {
		return m.retryQueue(*q.dead), *q.dead
	}
	return q, dsn.DSN{}
}

// queueName names the queue of a recipient: the next hop, or for transports
// that deliver to one recipient at a time also the user.
func (m *Manager) queueName(t *transport, r *resolved) string {
	if t.rcptLimit != 1 || t.name == m.settings.errorService || t.name == m.settings.retryService {
		return strings.ToLower(r.nexthop)
	}
	local, _, _ := address.Split(r.Address)
	user, _ := m.extension.Split(local)
	return strings.ToLower(user + "@" + r.nexthop)
}

// retryQueue returns the queue of the retry transport for mail that is put off
// for a reason, nil when that transport cannot be used.
func (m *Manager) retryQueue(why dsn.DSN) *queueState {
	t := m.transport(m.settings.retryService)
	if t.dead != nil {
		return nil
	}
	nexthop := why.Status + " " + why.Reason
	q := t.queue(strings.ToLower(nexthop), nexthop)
	if q.window == 0 {
		return nil
	}
	return q
}

// outcomeMessage is what the recorder of outcomes must know about a message.
func (msg *message) outcomeMessage() *outcome.Message {
	return &outcome.Message{
		QueueID: msg.id,
		Flags:   msg.traceFlags,
		Times:   outcome.Times{Arrival: msg.arrival, Active: msg.active, Delivered: time.Now()},
	}
}

// nowhere is the attempt that a recipient's log line tells of when the queue
// manager itself decides.
var nowhere = outcome.Attempt{Relay: "none"}

// deferNow puts recipients off without an agent.
func (m *Manager) deferNow(msg *message, rcpts []dsn.Recipient, why dsn.DSN) {
	m.decide(msg, func(info *outcome.Message) bool {
		again := false
		for _, rcpt := range rcpts {
			if m.recorder.Defer(info, rcpt, nowhere, why) == outcome.Done && m.markDone(msg.id, rcpt) == nil {
				continue
			}
			again = true
		}
		return again
	})
}

// discard completes a recipient that gets no mail.
func (m *Manager) discard(msg *message, rcpt dsn.Recipient) {
	m.decide(msg, func(info *outcome.Message) bool {
		d := dsn.DSN{Status: "2.0.0", Reason: "undeliverable postmaster notification discarded"}
		return m.recorder.Sent(info, rcpt, nowhere, d) != outcome.Done || m.markDone(msg.id, rcpt) != nil
	})
}

// decide runs work about recipients outside the owner; it returns whether some
// of them must be tried again.
func (m *Manager) decide(msg *message, work func(*outcome.Message) (again bool)) {
	msg.refs++
	info := msg.outcomeMessage()
	go func() {
		again := work(info)
		m.post(func() {
			msg.retry = msg.retry || again
			m.release(msg)
		})
	}()
}

// markDone notes in the queue file that a recipient is done with.
func (m *Manager) markDone(id string, rcpt dsn.Recipient) error {
	f, err := m.activeFile(id)
	if err != nil {
		m.log.Warnf("%s", err)
		return err
	}
	defer f.Close()
	if err := record.MarkDone(f, rcpt.Offset); err != nil {
		m.log.Warnf("%s: %s", f.Name(), err)
		return err
	}
	return nil
}

// refill reads more recipients of a message that has some left in its file.
func (m *Manager) refill(msg *message) {
	limit := max(1, min(maxBatch, msg.rcptLimit-msg.rcptCount))
	reserved := min(limit, max(msg.unread, 0))
	m.rcptCount += reserved
	msg.reading = true
	msg.refs++
	msg.lastRead = time.Now()
	part := *msg // the reader has its own
	go func() {
		batch, err := m.readMore(&part, limit)
		m.post(func() {
			m.rcptCount -= reserved
			msg.reading = false
			switch err {
			case nil:
				msg.unread, msg.nextOffset, msg.inTail = part.unread, part.nextOffset, part.inTail
				m.assign(msg, batch)
			case errSkipped:
				msg.corrupt, msg.unread, msg.nextOffset = true, 0, 0
			default:
				m.fail("%w", err)
				return
			}
			m.release(msg)
		})
	}()
}

// readMore reads and resolves the next batch. It runs outside the owner.
func (m *Manager) readMore(msg *message, limit int) ([]resolved, error) {
	f, err := m.openActive(msg.id)
	if err != nil {
		m.log.Warnf("open active %s: %s", msg.id, syserr.Text(err))
		return nil, m.saveCorrupt(msg.id)
	}
	defer f.close()
	rcpts, err := m.readEnvelope(msg, f, f.path, limit)
	if err == errCorrupt {
		return nil, m.saveCorrupt(msg.id)
	} else if err != nil {
		return nil, err
	}
	return m.resolveAll(msg, rcpts)
}
