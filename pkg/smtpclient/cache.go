package smtpclient

import (
	"strings"
	"sync"
	"time"
)

// A cache keeps idle connections for the next delivery (spec smtp-client §11,
// hardening §3.4). It is shared by all requests of the process; every entry is
// known under the name of its server and, mostly, of its destination.
type cache struct {
	mu      sync.Mutex
	byDest  map[string][]*idle
	byPoint map[string][]*idle
}

// An idle connection.
type idle struct {
	s           *session
	dest, point string // keys; dest may be empty
	timer       *time.Timer
}

func newCache() *cache {
	return &cache{byDest: make(map[string][]*idle), byPoint: make(map[string][]*idle)}
}

// save puts a connection away for at most ttl.
func (c *cache) save(s *session, dest, point string, ttl time.Duration) {
	e := &idle{s: s, dest: dest, point: point}
	c.mu.Lock()
	defer c.mu.Unlock()
	if dest != "" {
		c.byDest[dest] = append(c.byDest[dest], e)
	}
	c.byPoint[point] = append(c.byPoint[point], e)
	e.timer = time.AfterFunc(ttl, func() {
		c.mu.Lock()
		mine := c.remove(e)
		c.mu.Unlock()
		if mine {
			e.s.close()
		}
	})
}

// findDest takes the oldest connection of a destination; nil: there is none.
func (c *cache) findDest(key string) *session { return c.take(c.byDest, key) }

// findPoint takes the oldest connection to a server.
func (c *cache) findPoint(key string) *session { return c.take(c.byPoint, key) }

func (c *cache) take(from map[string][]*idle, key string) *session {
	c.mu.Lock()
	defer c.mu.Unlock()
	list := from[key]
	if len(list) == 0 {
		return nil
	}
	e := list[0]
	e.timer.Stop()
	c.remove(e)
	return e.s
}

// remove forgets an entry; it returns false when that was done before.
func (c *cache) remove(e *idle) bool {
	found := cut(c.byPoint, e.point, e)
	if e.dest != "" {
		cut(c.byDest, e.dest, e)
	}
	return found
}

func cut(from map[string][]*idle, key string, e *idle) bool {
	list := from[key]
	for i := range list {
		if list[i] != e {
			continue
		}
		if len(list) == 1 {
			delete(from, key)
		} else {
			from[key] = append(list[:i:i], list[i+1:]...)
		}
		return true
	}
	return false
}

// closeAll ends all idle connections.
func (c *cache) closeAll() {
	c.mu.Lock()
	var all []*idle
	for _, list := range c.byPoint {
		all = append(all, list...)
	}
	c.byPoint, c.byDest = make(map[string][]*idle), make(map[string][]*idle)
	c.mu.Unlock()
	for _, e := range all {
		e.timer.Stop()
		e.s.close()
	}
}

// size counts the idle connections.
func (c *cache) size() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	n := 0
	for _, list := range c.byPoint {
		n += len(list)
	}
	return n
}

// destKey and pointKey have every property that took part in the choice of the
// connection: a message must not travel over one that another message was
// content with.
func (d *delivery) destKey() string {
	return cacheKey(d.cfg.Service, d.req.NextHop, d.cfg.TLSLevel, d.requireTLSText(), flagText(d.needUTF8))
}

func (d *delivery) pointKey(where string, port uint16) string {
	return cacheKey(d.cfg.Service, where, portText(port), d.cfg.TLSLevel, d.requireTLSText(), flagText(d.needUTF8))
}

func cacheKey(fields ...string) string {
	var b strings.Builder
	for _, f := range fields {
		b.WriteString(strings.ReplaceAll(strings.ReplaceAll(f, `\`, `\\`), "\n", `\n`))
		b.WriteByte('\n')
	}
	return b.String()
}

func flagText(on bool) string {
	if on {
		return "1"
	}
	return "0"
}

func (d *delivery) requireTLSText() string { return flagText(d.wantsRequireTLS()) }

// revive makes sure that a cached connection still works.
func (d *delivery) revive(s *session) *session {
	if s == nil {
		return nil
	}
	s.messageID = d.req.QueueID
	if !time.Now().Before(s.expires) {
		s.quit()
		s.close()
		return nil
	}
	var r reply
	if err := s.ask("sending RSET probe", d.cfg.RsetTimeout, &r, "RSET"); err != nil || !r.ok() {
		s.close()
		return nil
	}
	s.reuse++
	s.fromCache = true
	return s
}
