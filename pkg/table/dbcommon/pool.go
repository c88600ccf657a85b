package dbcommon

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/table"
)

const (
	// maxConnections is how many lookups in one table are under way at once,
	// each with a connection of its own; others wait.
	maxConnections = 16
	// ConnectTime limits setting up one connection, greeting and login included.
	ConnectTime = 10 * time.Second
	// QueryTime limits one query on one connection.
	QueryTime = 60 * time.Second
	// LookupTime limits a lookup, whatever number of servers is tried.
	LookupTime = 150 * time.Second
)

// A Pool has the servers that one table can ask, and connections to them. A
// server that fails is left alone for a while and another one is asked;
// connections that nobody uses are closed after a while.
type Pool[C io.Closer] struct {
	// Limits on the time that is spent, as the constants say.
	Connect, Query, Lookup time.Duration

	typ   string // of the table, for messages
	dial  Dial[C]
	retry time.Duration
	idle  time.Duration
	slots chan struct{}
	now   func() time.Time

	mu     sync.Mutex
	hosts  []*host[C]
	timer  *time.Timer // closes idle connections; nil: there are none
	closed bool
}

// ErrLogged is the error of a Dial that has logged what is wrong.
var ErrLogged = errors.New("logged")

// Dial connects to a server. The text of the error is logged.
type Dial[C io.Closer] func(ctx context.Context, t *Target) (C, error)

// host is a server with its connections, guarded by Pool.mu.
type host[C io.Closer] struct {
	Target
	spare []spare[C] // not in use, the one used last at the end
	busy  int
	down  time.Time // not to be asked before that
}

type spare[C io.Closer] struct {
	conn  C
	since time.Time
}

// NewPool returns a pool for the servers in parameter hosts, with the
// parameters retry_interval and idle_interval. A single server is treated as
// two, so that a query that fails there is tried once more.
func NewPool[C io.Closer](s *Source, targets []Target, dial Dial[C]) *Pool[C] {
	retry, idle := 60, 60
	if !s.options.Dialect37() {
		retry = s.Int("retry_interval", 60, 0, 0)
		idle = s.Int("idle_interval", 60, 0, 0)
	}
	p := &Pool[C]{Connect: ConnectTime, Query: QueryTime, Lookup: LookupTime, typ: s.typ, dial: dial, slots: make(chan struct{}, maxConnections), now: time.Now,
		retry: time.Duration(retry) * time.Second, idle: time.Duration(idle) * time.Second}
	for _, t := range targets {
		p.hosts = append(p.hosts, &host[C]{Target: t})
	}
	if len(targets) == 1 && !s.options.Dialect37() {
		p.hosts = append(p.hosts, &host[C]{Target: targets[0]})
	}
	return p
}

// Outcome is how the use of a connection ended.
type Outcome int

const (
	Done    Outcome = iota // there is a result; the connection can be used again
	Refused                // the server cannot answer this query, another may; the connection is good
	Broken                 // the connection is lost
)

// Do has use work with a connection, one server after the other until use is
// done. The error is temporary: no server gave an answer.
func (p *Pool[C]) Do(use func(ctx context.Context, c C, t *Target) Outcome) error {
	ctx, cancel := context.WithTimeout(context.Background(), p.Lookup)
	defer cancel()
	select {
	case p.slots <- struct{}{}:
		defer func() { <-p.slots }()
	case <-ctx.Done():
		maillog.Warnf("%s: all %d connections are in use", p.typ, maxConnections)
		return &table.Error{}
	}
	tried := make(map[*host[C]]bool, len(p.hosts))
	for ctx.Err() == nil {
		h, conn, fresh := p.choose(tried)
		if h == nil {
			break
		}
		if fresh {
			var err error
			if conn, err = p.connect(ctx, h); err != nil {
				if !errors.Is(err, ErrLogged) {
					maillog.Warnf("connect to %s server %s: %s", p.typ, h.Text, err)
				}
				p.lost(h, true)
				tried[h] = true
				continue
			}
		}
		switch p.use(ctx, h, conn, use) {
		case Done:
			p.release(h, conn)
			return nil
		case Refused:
			p.release(h, conn)
			tried[h] = true
		default:
			_ = conn.Close() // it is lost already
			p.drop(h)
			// A connection that was idle may be lost because the server was
			// restarted: it gets another chance.
			p.lost(h, fresh)
			tried[h] = fresh
		}
	}
	return &table.Error{}
}

// use runs a query. A client library that stumbles over what a server sends
// costs the connection, not the program.
func (p *Pool[C]) use(ctx context.Context, h *host[C], conn C, use func(context.Context, C, *Target) Outcome) (outcome Outcome) {
	ctx, cancel := context.WithTimeout(ctx, p.Query)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			maillog.Warnf("%s server %s: protocol error: %v", p.typ, h.Text, r)
			outcome = Broken
		}
	}()
	return use(ctx, conn, &h.Target)
}

func (p *Pool[C]) connect(ctx context.Context, h *host[C]) (conn C, err error) {
	ctx, cancel := context.WithTimeout(ctx, p.Connect)
	defer cancel()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("protocol error: %v", r)
		}
	}()
	return p.dial(ctx, &h.Target)
}

// choose finds a server to ask: first one with a spare connection, then one
// with connections that others use, then any that is not down. h is nil where
// there is none. fresh: a connection must be made; h counts it as busy already.
func (p *Pool[C]) choose(tried map[*host[C]]bool) (h *host[C], conn C, fresh bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, conn, false
	}
	now := p.now()
	up := func(h *host[C]) bool { return !tried[h] && !now.Before(h.down) }
	if h = p.pick(func(h *host[C]) bool { return !tried[h] && len(h.spare) > 0 }); h != nil {
		last := len(h.spare) - 1
		conn = h.spare[last].conn
		h.spare = h.spare[:last]
		h.busy++
		return h, conn, false
	}
	if h = p.pick(func(h *host[C]) bool { return up(h) && h.busy > 0 }); h == nil {
		h = p.pick(up)
	}
	if h != nil {
		h.busy++
	}
	return h, conn, true
}

// pick returns a random server among those of the lowest kind that are good.
func (p *Pool[C]) pick(good func(h *host[C]) bool) *host[C] {
	var found []*host[C]
	for _, h := range p.hosts {
		if !good(h) {
			continue
		}
		if len(found) > 0 && h.Kind < found[0].Kind {
			found = found[:0]
		}
		if len(found) == 0 || h.Kind == found[0].Kind {
			found = append(found, h)
		}
	}
	if len(found) == 0 {
		return nil
	}
	return found[rand.IntN(len(found))]
}

// release gives back a good connection.
func (p *Pool[C]) release(h *host[C], conn C) {
	p.mu.Lock()
	h.busy--
	h.down = time.Time{}
	if p.closed {
		p.mu.Unlock()
		p.discard(h, conn)
		return
	}
	h.spare = append(h.spare, spare[C]{conn, p.now()})
	if p.timer == nil {
		p.timer = time.AfterFunc(p.idle, p.reap)
	}
	p.mu.Unlock()
}

// lost counts a connection as gone. down: the server is left alone for some time.
func (p *Pool[C]) lost(h *host[C], down bool) {
	p.mu.Lock()
	h.busy--
	if down {
		h.down = p.now().Add(p.retry)
	}
	p.mu.Unlock()
}

// drop closes the spare connections of a server that has lost one.
func (p *Pool[C]) drop(h *host[C]) {
	p.mu.Lock()
	spare := h.spare
	h.spare = nil
	p.mu.Unlock()
	for _, s := range spare {
		p.discard(h, s.conn)
	}
}

func (p *Pool[C]) discard(h *host[C], conn C) {
	if err := conn.Close(); err != nil {
		maillog.Debugf("close connection to %s server %s: %s", p.typ, h.Text, err)
	}
}

// reap closes connections that have been idle for too long.
func (p *Pool[C]) reap() {
	type closing struct {
		h    *host[C]
		conn C
	}
	var old []closing
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return
	}
	var next time.Duration
	for _, h := range p.hosts {
		kept := h.spare[:0]
		for _, s := range h.spare {
			if left := p.idle - p.now().Sub(s.since); left > 0 {
				kept = append(kept, s)
				if next == 0 || left < next {
					next = left
				}
			} else {
				old = append(old, closing{h, s.conn})
			}
		}
		clear(h.spare[len(kept):])
		h.spare = kept
	}
	p.timer = nil
	if next > 0 {
		p.timer = time.AfterFunc(next, p.reap)
	}
	p.mu.Unlock()
	for _, c := range old {
		p.discard(c.h, c.conn)
	}
}

// Close closes the connections that are not in use; the others follow when
// their lookups are done.
func (p *Pool[C]) Close() error {
	p.mu.Lock()
	p.closed = true
	if p.timer != nil {
		p.timer.Stop()
	}
	p.mu.Unlock()
	for _, h := range p.hosts {
		p.drop(h)
	}
	return nil
}
