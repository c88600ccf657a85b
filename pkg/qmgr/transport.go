package qmgr

import (
	"time"

	"suffix/pkg/config"
	"suffix/pkg/dsn"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
)

// transportConfig has the parameters of one transport (spec qmgr §17.2).
type transportConfig struct {
	concurrencyLimit   int // 0: unlimited
	initialConcurrency int
	rcptLimit          int // recipients of one delivery, 0: unlimited
	positive, negative feedback
	failedCohorts      int // 0: never dead
	destinationDelay   time.Duration
	transportDelay     time.Duration
	rcptPool           int // recipients in memory
	extraRcpts         int // and of jobs that preempt
	refillLimit        int
	refillDelay        time.Duration
	slotCost           int
	slotLoan           int
	slotDiscount       int
	minimumSlots       int
}

func readTransport(cfg *config.Main, name string, log *maillog.Logger) transportConfig {
	number := func(suffix string, def params.Int) int { return cfg.ServiceInt(name+suffix, def) }
	delay := func(suffix string, def params.Time) time.Duration { return cfg.ServiceTime(name+suffix, def) }
	response := func(suffix string, def params.String) feedback {
		source := name + suffix
		if !cfg.Explicit(source) {
			source = params.Of(def).Name
		}
		return parseFeedback(source, cfg.ServiceString(name+suffix, def), log)
	}
	c := transportConfig{
		concurrencyLimit:   number("_destination_concurrency_limit", params.DefaultDestinationConcurrencyLimit),
		initialConcurrency: number("_initial_destination_concurrency", params.InitialDestinationConcurrency),
		rcptLimit:          number("_destination_recipient_limit", params.DefaultDestinationRecipientLimit),
		positive:           response("_destination_concurrency_positive_feedback", params.DefaultDestinationConcurrencyPositiveFeedback),
		negative:           response("_destination_concurrency_negative_feedback", params.DefaultDestinationConcurrencyNegativeFeedback),
		failedCohorts:      number("_destination_concurrency_failed_cohort_limit", params.DefaultDestinationConcurrencyFailedCohortLimit),
		destinationDelay:   delay("_destination_rate_delay", params.DefaultDestinationRateDelay),
		transportDelay:     delay("_transport_rate_delay", params.DefaultTransportRateDelay),
		rcptPool:           number("_recipient_limit", params.DefaultRecipientLimit),
		extraRcpts:         number("_extra_recipient_limit", params.DefaultExtraRecipientLimit),
		refillLimit:        number("_recipient_refill_limit", params.DefaultRecipientRefillLimit),
		refillDelay:        delay("_recipient_refill_delay", params.DefaultRecipientRefillDelay),
		slotCost:           number("_delivery_slot_cost", params.DefaultDeliverySlotCost),
		slotLoan:           number("_delivery_slot_loan", params.DefaultDeliverySlotLoan),
		slotDiscount:       number("_delivery_slot_discount", params.DefaultDeliverySlotDiscount),
		minimumSlots:       number("_minimum_delivery_slots", params.DefaultMinimumDeliverySlots),
	}
	if c.destinationDelay > 0 {
		c.concurrencyLimit = 1
	}
	if c.concurrencyLimit > 0 {
		c.initialConcurrency = min(c.initialConcurrency, c.concurrencyLimit)
	}
	c.initialConcurrency = max(c.initialConcurrency, 1)
	return c
}

// A transport is one delivery service.
type transport struct {
	m    *Manager
	name string
	transportConfig
	place link[transport]

	dead       *dsn.DSN // why it cannot be used, nil when it can
	retryTimer *time.Timer
	pending    int  // connections whose agent did not answer yet
	locked     bool // by transport_rate_delay: one delivery at a time
	ready      int  // deliveries that could start now

	queues map[string]*queueState
	order  list[queueState]

	byTime     list[job]      // by when the message became active
	byPriority list[job]      // the same, but for jobs that preempt another
	current    *job           // the next delivery is looked for from here on
	nextUnread *job           // the first in byTime whose message is not read completely
	pool       int            // recipients that may be read, below zero: taken from the extra pool
	blockerTag int            // objects with this tag are blocked
	candidate  candidateCache // for preemption
}

// transport returns the transport with a name, which comes to be with its
// first use.
func (m *Manager) transport(name string) *transport {
	t := m.transports[name]
	if t != nil {
		return t
	}
	t = &transport{
		m:               m,
		name:            name,
		transportConfig: readTransport(m.conf, name, m.log),
		queues:          make(map[string]*queueState),
		blockerTag:      1,
	}
	t.pool = t.rcptPool
	t.place.owner = t
	m.transports[name] = t
	m.transportOrder.pushFront(&t.place)
	if m.settings.feedbackDebug {
		for _, f := range []feedback{t.positive, t.negative} {
			m.log.Infof("%s: %s feedback type %d value at %d: %g", name, f.parameter, f.kind, t.initialConcurrency, f.value(t.initialConcurrency))
		}
	}
	return t
}

// pendingLimit is how many connections of a transport may wait for an agent.
const pendingLimit = 2

// selectTransport returns a transport that has work for one more agent, nil if
// there is none, and makes it the last to be asked next time.
func (m *Manager) selectTransport() *transport {
	for t := m.transportOrder.first(); t != nil; t = t.place.after() {
		if t.dead == nil && !t.locked && t.pending < pendingLimit && t.ready > t.pending {
			t.place.moveToBack()
			return t
		}
	}
	return nil
}

// throttle stops the use of a transport for a while: no agent answers. What
// waits for it is sent to the retry transport.
func (t *transport) throttle(reason dsn.DSN) {
	if t.dead != nil {
		return
	}
	t.dead = &reason
	t.locked = false
	var timer *time.Timer
	timer = t.m.after(t.m.settings.transportRetry, func() {
		if t.retryTimer == timer {
			t.unthrottle()
		}
	})
	t.retryTimer = timer
	for _, q := range t.queueList() {
		q.deferWaiting(reason)
		q.dropIfIdle()
	}
}

// unthrottle makes a transport usable again.
func (t *transport) unthrottle() {
	if t.dead == nil {
		return
	}
	t.dead = nil
	t.retryTimer.Stop()
	t.retryTimer = nil
}

// queueList returns the queues, for loops that change the list.
func (t *transport) queueList() []*queueState {
	all := make([]*queueState, 0, t.order.n)
	for q := t.order.first(); q != nil; q = q.place.after() {
		all = append(all, q)
	}
	return all
}

// unthrottleAll forgets all dead transports and destinations.
func (m *Manager) unthrottleAll() {
	for t := m.transportOrder.first(); t != nil; t = t.place.after() {
		t.unthrottle()
		for _, q := range t.queueList() {
			if q.window == 0 {
				q.unthrottle()
				q.unblock()
				q.dropIfIdle()
			}
		}
	}
}
