package tlsmgr

import (
	"sync"
	"time"
)

// Limits of what a cache may hold in memory: sessions come from the network.
const (
	maxSessions    = 50000
	maxSessionSize = 16 << 10
	maxIDSize      = 1 << 10
	maxTotal       = 64 << 20 // IDs and sessions together
)

// A sessionCache keeps serialised TLS sessions for a time.
type sessionCache struct {
	enabled bool
	timeout time.Duration

	mu       sync.Mutex
	sessions map[string]session
	total    int // bytes of IDs and sessions
	swept    time.Time
}

type session struct {
	data   []byte
	stored time.Time
}

func newSessionCache(enabled bool, timeout time.Duration) *sessionCache {
	return &sessionCache{enabled: enabled, timeout: max(timeout, 0), sessions: make(map[string]session), swept: time.Now()}
}

func (c *sessionCache) lookup(id string) ([]byte, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s, ok := c.sessions[id]
	if ok && time.Since(s.stored) > c.timeout {
		c.drop(id)
		return nil, false
	}
	return s.data, ok
}

// drop forgets a session, where there is one.
func (c *sessionCache) drop(id string) {
	if s, ok := c.sessions[id]; ok {
		c.total -= len(id) + len(s.data)
		delete(c.sessions, id)
	}
}

// update stores a session, unless the cache is full of younger ones.
func (c *sessionCache) update(id string, data []byte) {
	if len(data) > maxSessionSize || len(id) > maxIDSize {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if now.Sub(c.swept) > c.timeout {
		for id, s := range c.sessions {
			if now.Sub(s.stored) > c.timeout {
				c.drop(id)
			}
		}
		c.swept = now
	}
	c.drop(id)
	if len(c.sessions) >= maxSessions || maxTotal-c.total < len(id)+len(data) {
		return
	}
	c.sessions[id] = session{data, now}
	c.total += len(id) + len(data)
}

func (c *sessionCache) delete(id string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.sessions[id]
	c.drop(id)
	return ok
}
