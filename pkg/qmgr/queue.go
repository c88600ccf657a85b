package qmgr

import (
	"time"

	"suffix/pkg/dsn"
)

// A queueState is the queue of one destination of a transport (spec qmgr §6).
type queueState struct {
	t       *transport
	name    string // key: next hop, or user@nexthop
	nexthop string
	place   link[queueState]

	todo list[entry] // entries that wait
	busy int         // entries that agents work on

	// window is how many may be busy: above 0 the queue is ready, 0 dead,
	// suspended (below 0) by a rate delay.
	window      int
	success     float64
	failure     float64
	failCohorts float64
	dead        *dsn.DSN    // why, while window is 0
	timer       *time.Timer // ends death or suspension
	ready       int         // share in the transport's ready

	lastDone   time.Time // when the last delivery ended
	cache      int       // connection cache flags for agents
	blockerTag int
	clogTime   time.Time // of the last warning
}

const suspended = -1

// queue returns the queue with a name, which comes to be with its first use.
func (t *transport) queue(name, nexthop string) *queueState {
	if q := t.queues[name]; q != nil {
		return q
	}
	q := &queueState{t: t, name: name, nexthop: nexthop, window: t.initialConcurrency}
	q.place.owner = q
	t.queues[name] = q
	t.order.pushBack(&q.place)
	t.m.queueCount++
	return q
}

// changed brings the transport's count of possible deliveries up to date.
func (q *queueState) changed() {
	n := 0
	if q.window > 0 {
		n = max(0, min(q.window-q.busy, q.todo.n))
	}
	q.t.ready += n - q.ready
	q.ready = n
}

// dropIfIdle forgets a ready queue without entries, with all that it learned,
// and a dead one when there are too many queues.
func (q *queueState) dropIfIdle() {
	if q.busy > 0 || q.todo.n > 0 || !q.place.linked() {
		return
	}
	if q.window == 0 && q.t.m.queueCount > 2*q.t.m.settings.rcptLimit {
		q.unthrottle()
	}
	if q.window <= 0 {
		return
	}
	q.place.remove()
	delete(q.t.queues, q.name)
	q.t.m.queueCount--
}

// unthrottle counts a success: it revives a dead queue, and widens the window
// of a ready one (spec qmgr §9.3).
func (q *queueState) unthrottle() {
	t := q.t
	q.failCohorts = 0
	if q.window == 0 {
		q.stopTimer()
		q.dead = nil
		q.window = t.initialConcurrency
		if q.busy > 0 {
			q.window = q.busy
		}
		q.success, q.failure = 0, 0
		q.changed()
		return
	}
	if q.window < 0 || t.concurrencyLimit > 0 && q.window >= t.concurrencyLimit || q.window >= q.busy+t.initialConcurrency {
		return
	}
	f := t.positive.value(q.window)
	q.success += f
	for q.success+f/2 >= 1 {
		q.window++
		q.success--
		q.failure = 0
	}
	if t.concurrencyLimit > 0 {
		q.window = min(q.window, t.concurrencyLimit)
	}
	q.changed()
	q.logFeedback("unthrottle", f)
}

// throttle counts a failure of the destination as a whole: it narrows the
// window or, after too many, declares the queue dead (spec qmgr §9.4).
func (q *queueState) throttle(why dsn.DSN) {
	t := q.t
	if q.window <= 0 {
		return
	}
	f := t.negative.value(q.window)
	q.failCohorts += 1 / float64(q.window)
	// The sum of fractions may fall short of a whole by its rounding.
	if t.failedCohorts > 0 && q.failCohorts >= float64(t.failedCohorts)-1e-9 {
		q.window = 0
		why.Reason = "delivery temporarily suspended: " + why.Reason
		q.dead = &why
		q.cache = 0
		q.startTimer(t.m.settings.minimalBackoff, func() {
			q.unthrottle()
			q.dropIfIdle()
		})
		q.changed()
		q.logFeedback("throttle", f)
		q.deferWaiting(why)
		return
	}
	q.failure -= f
	for q.failure-f/2 < 0 {
		q.window--
		q.success = 0
		q.failure++
	}
	q.window = max(q.window, 1)
	q.changed()
	q.logFeedback("throttle", f)
}

func (q *queueState) logFeedback(what string, f float64) {
	m := q.t.m
	if !m.settings.feedbackDebug || q.t.name == m.settings.retryService || q.t.name == m.settings.errorService {
		return
	}
	m.log.Infof("qmgr_queue_%s: feedback %g", what, f)
	m.log.Infof("qmgr_queue_%s: queue %s: limit %d window %d success %g failure %g fail_cohorts %g",
		what, q.name, q.t.concurrencyLimit, q.window, q.success, q.failure, q.failCohorts)
}

// suspend keeps a queue from being used for destination_rate_delay.
func (q *queueState) suspend() {
	if q.window == 0 {
		q.unthrottle()
	}
	q.window = suspended
	q.changed()
	q.startTimer(q.t.destinationDelay, func() {
		q.timer = nil
		q.window = 1
		q.changed()
		q.unblock()
		q.dropIfIdle()
	})
}

// startTimer has the owner run a function later, unless stopTimer comes first.
func (q *queueState) startTimer(delay time.Duration, event func()) {
	q.stopTimer()
	var timer *time.Timer
	timer = q.t.m.after(delay, func() {
		if q.timer == timer {
			event()
		}
	})
	q.timer = timer
}

func (q *queueState) stopTimer() {
	if q.timer != nil {
		q.timer.Stop()
		q.timer = nil
	}
}

// room says whether an entry of the queue can be given to an agent.
func (q *queueState) room() bool { return q.window > q.busy }

// unblock looks whether a queue that held jobs up does so no more (spec qmgr
// §7.7).
func (q *queueState) unblock() {
	if q.blockerTag != q.t.blockerTag {
		return
	}
	if q.room() && q.todo.n > 0 {
		q.t.unblockAll()
	}
	if q.room() || q.window == 0 {
		q.blockerTag = 0
	}
}

// touchCache decides about the reuse of connections when an entry is selected:
// it pays while deliveries follow each other closely.
func (q *queueState) touchCache() {
	const load, store = 0x800, 0x1000
	recent := !q.lastDone.IsZero() && time.Since(q.lastDone) <= time.Second
	switch {
	case q.cache&store == 0 && recent:
		q.cache |= load | store
	case q.cache&store != 0 && q.busy <= 1 && !recent:
		q.cache &^= store
	}
}
