package rewriteclient

import (
	"sync"
	"time"
)

const (
	recentTTL  = 5 * time.Second // how long a result counts: enough for one burst of mail
	recentSize = 4096            // results in one generation
)

// recent remembers results for a short while. It keeps two generations: when
// the young one is full or old it replaces the other, so that memory is
// bounded without a list of ages.
type recent[K comparable, V any] struct {
	mu         sync.Mutex
	young, old map[K]dated[V]
	started    time.Time // of the young generation
}

type dated[V any] struct {
	value V
	made  time.Time
}

func newRecent[K comparable, V any]() *recent[K, V] {
	return &recent[K, V]{young: make(map[K]dated[V])}
}

func (r *recent[K, V]) get(key K) (value V, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	entry, ok := r.young[key]
	if !ok {
		entry, ok = r.old[key]
	}
	if !ok || time.Since(entry.made) > recentTTL {
		return value, false
	}
	return entry.value, true
}

func (r *recent[K, V]) put(key K, value V) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.young) >= recentSize || now.Sub(r.started) > recentTTL {
		r.old, r.young, r.started = r.young, make(map[K]dated[V]), now
	}
	r.young[key] = dated[V]{value, now}
}
