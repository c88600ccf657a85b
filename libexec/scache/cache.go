package scache

import (
	"os"
	"sync"
	"time"

	"suffix/pkg/maillog"
)

// An endpoint is one open connection.
type endpoint struct {
	label, property string
	file            *os.File
	expiry          *time.Timer
}

// A destination says that connections with the label of an endpoint serve a
// next-hop destination.
type destination struct {
	endpoint, property string
	expiry             *time.Timer
}

// A cache keeps open connections. It is safe for concurrent use.
type cache struct {
	limit time.Duration

	mu           sync.Mutex
	endpoints    map[string][]*endpoint // by label, the oldest first
	destinations map[string][]*destination
	open         int
	statistics
}

// statistics are counted since start.
type statistics struct {
	start                             time.Time
	domainHits, domainMisses          int
	addressHits, addressMisses        int
	maxDomains, maxAddresses, maxOpen int
}

func newCache(limit time.Duration) *cache {
	return &cache{
		limit: limit, endpoints: make(map[string][]*endpoint), destinations: make(map[string][]*destination),
		statistics: statistics{start: time.Now()},
	}
}

func (c *cache) saveEndpoint(ttl time.Duration, label, property string, f *os.File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := &endpoint{label: label, property: property, file: f}
	c.endpoints[label] = append(c.endpoints[label], e)
	c.open++
	c.maxAddresses = max(c.maxAddresses, len(c.endpoints))
	c.maxOpen = max(c.maxOpen, c.open)
	e.expiry = time.AfterFunc(min(ttl, c.limit), func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.take(e) {
			e.file.Close()
		}
	})
}

// take removes an endpoint; false when it was taken already.
func (c *cache) take(e *endpoint) bool {
	list := c.endpoints[e.label]
	for i, other := range list {
		if other == e {
			e.expiry.Stop()
			if len(list) == 1 {
				delete(c.endpoints, e.label)
			} else {
				c.endpoints[e.label] = append(list[:i:i], list[i+1:]...)
			}
			c.open--
			return true
		}
	}
	return false
}

// findEndpoint takes the oldest connection with a label out of the cache.
func (c *cache) findEndpoint(label string) (property string, f *os.File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if list := c.endpoints[label]; len(list) > 0 {
		c.addressHits++
		c.take(list[0])
		return list[0].property, list[0].file
	}
	c.addressMisses++
	return "", nil
}

func (c *cache) saveDestination(ttl time.Duration, label, property, endpointLabel string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	ttl = min(ttl, c.limit)
	for _, d := range c.destinations[label] {
		if d.endpoint == endpointLabel {
			d.property = property
			d.expiry.Reset(ttl)
			return
		}
	}
	d := &destination{endpoint: endpointLabel, property: property}
	c.destinations[label] = append(c.destinations[label], d)
	c.maxDomains = max(c.maxDomains, len(c.destinations))
	d.expiry = time.AfterFunc(ttl, func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.forget(label, d)
	})
}

func (c *cache) forget(label string, d *destination) {
	list := c.destinations[label]
	for i, other := range list {
		if other == d {
			d.expiry.Stop()
			if len(list) == 1 {
				delete(c.destinations, label)
			} else {
				c.destinations[label] = append(list[:i:i], list[i+1:]...)
			}
			return
		}
	}
}

// findDestination takes a connection to any endpoint of a destination.
func (c *cache) findDestination(label string) (property, endpointProperty string, f *os.File) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for len(c.destinations[label]) > 0 {
		d := c.destinations[label][0]
		if list := c.endpoints[d.endpoint]; len(list) > 0 {
			c.domainHits++
			c.take(list[0])
			return d.property, list[0].property, list[0].file
		}
		c.forget(label, d)
	}
	c.domainMisses++
	return "", "", nil
}

// logStatistics logs what happened since the last time, where anything did.
func (c *cache) logStatistics() {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.statistics
	c.statistics = statistics{start: time.Now()}
	if s.domainHits+s.domainMisses+s.addressHits+s.addressMisses+s.maxDomains+s.maxAddresses+s.maxOpen == 0 {
		return
	}
	maillog.Infof("statistics: start interval %s", s.start.Format("Jan 02 15:04:05"))
	lookups := func(what string, hits, misses int) {
		if total := hits + misses; total > 0 {
			maillog.Infof("statistics: %s lookup hits=%d miss=%d success=%d%%", what, hits, misses, hits*100/total)
		}
	}
	lookups("domain", s.domainHits, s.domainMisses)
	lookups("address", s.addressHits, s.addressMisses)
	if s.maxDomains+s.maxAddresses+s.maxOpen > 0 {
		maillog.Infof("statistics: max simultaneous domains=%d addresses=%d connection=%d", s.maxDomains, s.maxAddresses, s.maxOpen)
	}
}
