package main

import (
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A counter reads the running count of messages that smtp-sink -c prints.
type counter struct {
	mu   sync.Mutex
	last string
	n    int
}

// Write takes output of smtp-sink: numbers, each after a carriage return.
func (c *counter) Write(b []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	text := c.last + string(b)
	fields := strings.FieldsFunc(text, func(r rune) bool { return r < '0' || r > '9' })
	for _, f := range fields {
		if n, err := strconv.Atoi(f); err == nil && n > c.n {
			c.n = n
		}
	}
	c.last = ""
	if last := text[len(text)-1]; last >= '0' && last <= '9' && len(fields) > 0 {
		c.last = fields[len(fields)-1]
	}
	return len(b), nil
}

func (c *counter) count() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n
}

// await waits until the sink has seen so many messages.
func (c *counter) await(n int, limit time.Duration) error {
	for deadline := time.Now().Add(limit); c.count() < n; {
		if time.Now().After(deadline) {
			return fmt.Errorf("only %d of %d messages have arrived after %v", c.count(), n, limit)
		}
		time.Sleep(2 * time.Millisecond)
	}
	return nil
}
