package verify

import (
	"context"
	"strconv"
	"time"
)

// completed is the key under which the time of the last cleaning is stored.
const completed = "_LAST_CACHE_CLEANUP_COMPLETED_"

// Clean removes old entries from time to time, until ctx ends. Requests are
// served between two entries.
func (e *Engine) Clean(ctx context.Context) {
	if e.cleanup <= 0 {
		return
	}
	for {
		timer := time.NewTimer(e.untilCleaning())
		select {
		case <-timer.C:
			e.cleanOnce(ctx)
		case <-ctx.Done():
			timer.Stop()
			return
		}
	}
}

func (e *Engine) untilCleaning() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	value, found, err := e.store.Lookup(completed)
	last, parseErr := strconv.ParseInt(value, 10, 64)
	if !found || err != nil || parseErr != nil {
		return 0
	}
	return max(0, time.Unix(last, 0).Add(e.cleanup).Sub(e.now()))
}

func (e *Engine) cleanOnce(ctx context.Context) {
	cursor, err := e.store.Cursor()
	kind, retained, dropped := "full", 0, 0
	for err == nil {
		if ctx.Err() != nil {
			kind = "partial"
			break
		}
		var key string
		var ok bool
		if key, _, ok, err = cursor.Next(); err != nil || !ok {
			break
		}
		switch keep, counted := e.check(key); {
		case !counted:
		case keep:
			retained++
		default:
			dropped++
		}
	}
	if err != nil {
		e.log.Warnf("%s: cache cleanup scan terminated due to error", e.tableName)
		return
	}
	if e.tableName != "" {
		e.log.Infof("cache %s %s cleanup: retained=%d dropped=%d entries", e.tableName, kind, retained, dropped)
	}
	if kind == "full" {
		e.mu.Lock()
		defer e.mu.Unlock()
		if err := e.store.Update(completed, strconv.FormatInt(e.now().Unix(), 10)); err != nil {
			e.log.Warnf("%s: update of %s: %s", e.tableName, completed, err)
		}
	}
}

// check deletes an entry that is of no use any more.
func (e *Engine) check(key string) (keep, counted bool) {
	if key == completed {
		return true, false
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	value, found, err := e.store.Lookup(key)
	if err != nil || !found {
		return true, false
	}
	now := e.now().Unix()
	if known, err := parseEntry(value); err == nil && (now-known.probed < probeTimeout || !known.expired(&e.times, now)) {
		return true, true
	}
	e.delete(key)
	return false, true
}
