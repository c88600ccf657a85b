package qmgr

import (
	"time"

	"suffix/pkg/dsn"
)

// An entry is one delivery request: recipients of one message for one queue.
type entry struct {
	job     *job
	peer    *peer
	queue   *queueState
	rcpts   []dsn.Recipient
	inQueue link[entry] // while it waits
	inPeer  link[entry]
}

// newEntry makes a waiting entry. The job goes on the lists with it.
func (m *Manager) newEntry(j *job, q *queueState) *entry {
	p := j.peer(q)
	e := &entry{job: j, peer: p, queue: q}
	e.inQueue.owner, e.inPeer.owner = e, e
	p.todo.pushBack(&e.inPeer)
	q.todo.pushBack(&e.inQueue)
	q.changed()
	j.read++
	j.msg.refs++
	m.warnClogged(q)
	return e
}

// add puts recipients into the entry.
func (e *entry) add(rcpts ...dsn.Recipient) {
	e.rcpts = append(e.rcpts, rcpts...)
	e.count(len(rcpts))
}

func (e *entry) count(n int) {
	e.job.rcptCount += n
	e.job.msg.rcptCount += n
	e.queue.t.m.rcptCount += n
}

// take removes a waiting entry from the lists of those that wait.
func (e *entry) take() {
	e.inQueue.remove()
	e.inPeer.remove()
	e.peer.dropIfIdle()
	e.queue.changed()
}

// putBack undoes the selection of an entry that could not be handed over.
func (e *entry) putBack() {
	q, j := e.queue, e.job
	q.busy--
	j.selected--
	j.slotsOpen--
	j.slotsUsed--
	e.peer = j.peer(q)
	e.peer.todo.pushFront(&e.inPeer)
	q.todo.pushFront(&e.inQueue)
	q.changed()
	j.link()
}

// done ends an entry that an agent had.
func (e *entry) done() {
	q, j := e.queue, e.job
	msg, m := j.msg, q.t.m
	q.busy--
	q.lastDone = time.Now()
	q.changed()
	e.count(-len(e.rcpts))
	if msg.nextOffset == 0 {
		j.returnSlots()
	} else {
		for _, other := range msg.jobs {
			if !other.byTime.linked() {
				other.returnSlots()
			}
		}
	}
	if q.t.destinationDelay > 0 {
		q.suspend()
	}
	q.unblock()
	q.dropIfIdle()
	m.release(msg)
}

// deferWaiting sends all that waits for a queue to the retry transport.
func (q *queueState) deferWaiting(why dsn.DSN) {
	for e := q.todo.first(); e != nil; e = q.todo.first() {
		e.reroute(why)
	}
	q.blockerTag = 0
}

// reroute moves a waiting entry, whole, to the retry transport, or defers its
// recipients here and now when that is unavailable.
func (e *entry) reroute(why dsn.DSN) {
	j, m := e.job, e.queue.t.m
	msg := j.msg
	e.take()
	j.read--
	e.count(-len(e.rcpts))
	var retry *queueState
	if e.queue.t.name != m.settings.retryService {
		retry = m.retryQueue(why)
	}
	if retry == nil {
		m.deferNow(msg, e.rcpts, why)
	} else {
		other := msg.jobFor(retry.t)
		m.newEntry(other, retry).add(e.rcpts...)
		other.link()
	}
	m.release(msg)
}

// warnClogged tells the admin about a destination that fills the active queue
// (spec qmgr §6.1).
func (m *Manager) warnClogged(q *queueState) {
	s := &m.settings
	n := q.todo.n + q.busy
	if n <= s.activeLimit/5 || !s.helpful || s.clogWarnTime <= 0 {
		return
	}
	now := time.Now()
	if now.Sub(q.clogTime) <= s.clogWarnTime && !q.clogTime.IsZero() {
		return
	}
	q.clogTime = now
	warn, t := m.log.Warnf, q.t
	share := float64(n) / float64(max(len(m.messages), 1))
	warn("mail for %s is using up %d of %d active queue entries", q.nexthop, n, len(m.messages))
	if share < 0.9 {
		warn("this may slow down other mail deliveries")
	}
	switch {
	case t.concurrencyLimit > 0 && t.concurrencyLimit <= q.busy+1:
		warn("you may need to increase the main.cf %s_destination_concurrency_limit from %d", t.name, t.concurrencyLimit)
	case float64(q.window) > float64(s.activeLimit)*share:
		warn("you may need to increase the main.cf qmgr_message_active_limit from %d", s.activeLimit)
	case t.order.n > 1:
		warn("you may need a separate master.cf transport for %s", q.nexthop)
	default:
		warn("you may need to reduce %s connect and helo timeouts", t.name)
		warn("so that Postfix quickly skips unavailable hosts")
		warn("you may need to increase the main.cf minimal_backoff_time and maximal_backoff_time")
		warn("so that Postfix wastes less time on undeliverable mail")
		warn("you may need to increase the master.cf %s process limit", t.name)
	}
	warn("please avoid flushing the whole queue when you have")
	warn("lots of deferred mail, that is bad for performance")
	warn("to turn off these warnings specify: qmgr_clog_warn_time = 0")
}
