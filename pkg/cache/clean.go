package cache

import (
	"context"
	"strconv"
	"time"
)

// completed is the key under which the time of the last cleaning is stored.
const completed = "_LAST_CACHE_CLEANUP_COMPLETED_"

// Cleaning says how a cache is cleaned.
type Cleaning struct {
	Interval time.Duration // 0: never
	// Keep says whether an entry is of use. It does not use the cache.
	Keep func(key, value string) bool
	Now  func() time.Time // nil: time.Now
}

func (o *Cleaning) now() time.Time {
	if o.Now == nil {
		return time.Now()
	}
	return o.Now()
}

// Clean removes entries of no use from time to time, until ctx ends: for the
// first time when Interval has passed since the last cleaning, maybe in an
// earlier run of the daemon. Other operations take place between two entries.
func (c *Cache) Clean(ctx context.Context, o Cleaning) {
	if o.Interval <= 0 {
		return
	}
	for {
		timer := time.NewTimer(c.UntilCleaning(o))
		select {
		case <-timer.C:
		case <-ctx.Done():
			timer.Stop()
			return
		}
		if !c.CleanOnce(ctx, o) {
			// Not at once again: what is wrong now is wrong for a while.
			timer.Reset(o.Interval)
			select {
			case <-timer.C:
			case <-ctx.Done():
				timer.Stop()
				return
			}
		}
	}
}

// UntilCleaning returns the time until the next cleaning.
func (c *Cache) UntilCleaning(o Cleaning) time.Duration {
	value, found, err := c.Lookup(completed)
	last, parseErr := strconv.ParseInt(value, 10, 64)
	if !found || err != nil || parseErr != nil {
		return 0
	}
	return min(o.Interval, max(0, time.Unix(last, 0).Add(o.Interval).Sub(o.now())))
}

// CleanOnce goes through the whole cache once, and reports whether it came to
// the end.
func (c *Cache) CleanOnce(ctx context.Context, o Cleaning) bool {
	retained, dropped, err := c.sweep(ctx, o.Keep)
	kind := "full"
	switch {
	case err != nil:
		c.log.Warnf("%s: cache cleanup scan terminated due to error", c.name)
		kind = "partial"
	case ctx.Err() != nil:
		kind = "partial"
	}
	c.log.Infof("cache %s %s cleanup: retained=%d dropped=%d entries", c.name, kind, retained, dropped)
	return kind == "full" && c.Update(completed, strconv.FormatInt(o.now().Unix(), 10)) == nil
}

// Sweep removes the entries that keep does not want, without a word in the log.
func (c *Cache) Sweep(ctx context.Context, keep func(key, value string) bool) error {
	_, _, err := c.sweep(ctx, keep)
	return err
}

func (c *Cache) sweep(ctx context.Context, keep func(key, value string) bool) (retained, dropped int, err error) {
	cursor, err := c.Cursor()
	for err == nil && ctx.Err() == nil {
		var key string
		var ok bool
		if key, _, ok, err = cursor.Next(); err != nil || !ok {
			break
		}
		var kept, there bool
		kept, there, err = c.keepOrDelete(key, keep)
		switch {
		case !there:
		case kept:
			retained++
		default:
			dropped++
		}
	}
	return retained, dropped, err
}

// keepOrDelete decides by the value that the key has now: it may be a new one.
func (c *Cache) keepOrDelete(key string, keep func(key, value string) bool) (kept, there bool, err error) {
	err = c.operate("could not delete entry for "+key, func(b backend) error {
		value, found, err := b.get(key)
		if err != nil || !found {
			return err
		}
		there = true
		if kept = keep(key, value); !kept {
			_, err = b.del(key)
		}
		return err
	})
	return kept, there, err
}
