package tlsmgr

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"sync"
	"time"

	"suffix/pkg/cache"
	"suffix/pkg/maillog"
)

// Limits of what a cache may hold: sessions come from the network.
const (
	maxSessionSize = 16 << 10
	maxIDSize      = 1 << 10
	maxTotal       = 256 << 20 // IDs and stored values together, in bytes
)

// A sessionCache keeps serialised TLS sessions for a time (spec screen §18.1).
type sessionCache struct {
	label   string       // smtpd, smtp, lmtp
	store   *cache.Cache // nil: there is no cache
	timeout time.Duration
	now     func() time.Time

	mu    sync.Mutex
	total int // bytes that were stored, and were not swept out since
}

func newSessionCache(label string, store *cache.Cache, timeout time.Duration) *sessionCache {
	return &sessionCache{label: label, store: store, timeout: max(timeout, 0), now: time.Now}
}

// timeSize is the length of the time before a session.
const timeSize = 8

// encode gives a session the form in which it is stored: upper-case hexadecimal
// digits of the time and the session.
func encode(stored time.Time, session []byte) string {
	b := make([]byte, timeSize, timeSize+len(session))
	binary.NativeEndian.PutUint64(b, uint64(stored.Unix()))
	return strings.ToUpper(hex.EncodeToString(append(b, session...)))
}

// decode is the reverse. What it does not like is told.
func (c *sessionCache) decode(id, value string) (stored time.Time, session []byte, ok bool) {
	b, err := hex.DecodeString(value)
	what := "malformed"
	if err == nil && len(b) <= timeSize {
		what, err = "truncated", hex.ErrLength
	}
	if err != nil {
		maillog.Warnf("%s TLS cache: %s entry for %s: %.100s", c.label, what, maillog.Printable(id), value)
		return stored, nil, false
	}
	return time.Unix(int64(binary.NativeEndian.Uint64(b)), 0), b[timeSize:], true
}

// fresh says whether an entry is still of use, and returns its session.
func (c *sessionCache) fresh(id, value string) ([]byte, bool) {
	stored, session, ok := c.decode(id, value)
	return session, ok && !stored.Add(c.timeout).Before(c.now().Truncate(time.Second))
}

func (c *sessionCache) lookup(id string) ([]byte, bool) {
	value, found, err := c.store.Lookup(id)
	if err != nil || !found {
		return nil, false
	}
	session, ok := c.fresh(id, value)
	if !ok {
		c.delete(id)
		return nil, false
	}
	return session, true
}

// update stores a session, unless the cache is full of younger ones.
func (c *sessionCache) update(id string, session []byte) {
	if len(session) > maxSessionSize || len(id) > maxIDSize || id == "" {
		return
	}
	value := encode(c.now(), session)
	c.mu.Lock()
	full := c.total+len(id)+len(value) > maxTotal
	if !full {
		c.total += len(id) + len(value)
	}
	c.mu.Unlock()
	if !full {
		c.store.Update(id, value)
	}
}

// delete reports whether the session was there.
func (c *sessionCache) delete(id string) bool {
	found, err := c.store.Delete(id)
	return found && err == nil
}

// sweepFrom removes old sessions every timeout, until ctx ends.
func (c *sessionCache) sweepFrom(ctx context.Context) {
	ticker := time.NewTicker(c.timeout)
	defer ticker.Stop()
	for {
		c.sweep(ctx)
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

func (c *sessionCache) sweep(ctx context.Context) {
	c.mu.Lock()
	before := c.total
	c.mu.Unlock()
	kept := 0
	err := c.store.Sweep(ctx, func(id, value string) bool {
		if _, ok := c.fresh(id, value); !ok {
			return false
		}
		kept += len(id) + len(value)
		return true
	})
	if err != nil || ctx.Err() != nil {
		return
	}
	// What was stored meanwhile may be counted twice, until the next time.
	c.mu.Lock()
	c.total += kept - before
	c.mu.Unlock()
}
