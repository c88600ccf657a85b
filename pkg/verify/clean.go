package verify

import (
	"context"

	"suffix/pkg/cache"
)

// Clean removes old entries from time to time, until ctx ends. Requests are
// served between two entries.
func (e *Engine) Clean(ctx context.Context) { e.cache.Clean(ctx, e.cleaning()) }

func (e *Engine) cleaning() cache.Cleaning {
	return cache.Cleaning{Interval: e.cleanup, Keep: e.keep, Now: e.now}
}

// keep says whether an entry is of use.
func (e *Engine) keep(_, value string) bool {
	known, err := parseEntry(value)
	now := e.now().Unix()
	return err == nil && (now-known.probed < probeTimeout || !known.expired(&e.times, now))
}
