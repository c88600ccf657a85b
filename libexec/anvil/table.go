package anvil

import (
	"sync"
	"time"

	"suffix/pkg/maillog"
)

// A rate is something that is counted for each unit of time.
type rate int

const (
	rateConnect rate = iota
	rateMessage
	rateRecipient
	rateNewTLS
	rateAuth
	rateTLSTrace
	rates
)

// rateNames are the words of the statistics.
var rateNames = [rates]string{"connection", "message", "recipient", "newtls", "auth", "tlstrace"}

// A client is what is known about one SERVICE:ADDRESS.
type client struct {
	open  int // sessions
	start time.Time
	rates [rates]int
	idle  *time.Timer // removes the entry; runs while no session is open
}

// A peak is the largest value since the last statistics.
type peak struct {
	value int
	ident string
	when  time.Time
}

func (p *peak) see(value int, ident string, now time.Time) {
	if value > p.value {
		*p = peak{value, ident, now}
	}
}

// A table counts clients. It is safe for concurrent use.
type table struct {
	unit time.Duration
	now  func() time.Time

	mu      sync.Mutex
	clients map[string]*client
	open    peak
	rate    [rates]peak
	size    peak
}

func newTable(unit time.Duration, now func() time.Time) *table {
	return &table{unit: unit, now: now, clients: make(map[string]*client)}
}

// get returns a client, whose rates begin anew when their unit of time is over.
func (t *table) get(ident string) *client {
	now := t.now()
	c := t.clients[ident]
	if c == nil {
		c = &client{start: now}
		t.clients[ident] = c
		t.size.see(len(t.clients), ident, now)
	}
	if now.Sub(c.start) > t.unit {
		c.rates, c.start = [rates]int{}, now
	}
	return c
}

// connect registers a session.
func (t *table) connect(ident string) (count, perUnit int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.register(ident)
	return c.open, c.rates[rateConnect]
}

func (t *table) register(ident string) *client {
	c := t.get(ident)
	if c.idle != nil {
		c.idle.Stop()
		c.idle = nil
	}
	c.open++
	c.rates[rateConnect]++
	t.open.see(c.open, ident, t.now())
	t.rate[rateConnect].see(c.rates[rateConnect], ident, t.now())
	return c
}

// disconnect takes a session away. A client without sessions is forgotten
// after a unit of time.
func (t *table) disconnect(ident string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	c := t.clients[ident]
	if c == nil || c.open == 0 {
		return
	}
	if c.open--; c.open > 0 {
		return
	}
	c.idle = time.AfterFunc(t.unit, func() {
		t.mu.Lock()
		defer t.mu.Unlock()
		if t.clients[ident] == c && c.open == 0 {
			delete(t.clients, ident)
		}
	})
}

// count counts an event, or only asks when add is not set. A client that is
// not known, as after a restart of this process, is registered first.
func (t *table) count(ident string, event rate, add bool) (perUnit int, registers bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.clients[ident] == nil {
		if !add {
			return 0, false
		}
		t.register(ident)
		registers = true
	}
	c := t.get(ident)
	if add {
		c.rates[event]++
		t.rate[event].see(c.rates[event], ident, t.now())
	}
	return c.rates[event], registers
}

// lookup returns what is known about a client.
func (t *table) lookup(ident string) (client, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.clients[ident] == nil {
		return client{}, false
	}
	return *t.get(ident), true
}

// logStatistics logs the peaks and begins anew.
func (t *table) logStatistics() {
	t.mu.Lock()
	defer t.mu.Unlock()
	stamp := func(p peak) string { return p.when.Format("Jan 02 15:04:05") }
	ofRate := func(r rate) {
		if p := t.rate[r]; p.value > 0 {
			maillog.Infof("statistics: max %s rate %d/%ds for (%s) at %s", rateNames[r], p.value, int(t.unit.Seconds()), p.ident, stamp(p))
		}
	}
	ofRate(rateConnect)
	if t.open.value > 0 {
		maillog.Infof("statistics: max connection count %d for (%s) at %s", t.open.value, t.open.ident, stamp(t.open))
	}
	for r := rateMessage; r < rates; r++ {
		ofRate(r)
	}
	if t.size.value > 0 {
		maillog.Infof("statistics: max cache size %d at %s", t.size.value, stamp(t.size))
	}
	t.open, t.rate, t.size = peak{}, [rates]peak{}, peak{}
}
