package simple

import (
	"slices"
	"sync"

	"suffix/pkg/table"
)

// memory is a table of fixed strings in memory.
type memory struct {
	base
	uid   int
	flags table.Flags

	mu     sync.RWMutex
	values map[string]string
}

func (t *memory) Fixed() bool                  { return true }
func (t *memory) Owner() (uid int, known bool) { return t.uid, true }

func (t *memory) Lookup(key string) (string, bool, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	value, found := t.values[key]
	return value, found, nil
}

// Cursor lists the entries in the order of their keys.
func (t *memory) Cursor() (table.Cursor, error) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	keys := make([]string, 0, len(t.values))
	for key := range t.values {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	return &memoryCursor{t, keys}, nil
}

type memoryCursor struct {
	t    *memory
	keys []string
}

func (c *memoryCursor) Next() (key, value string, ok bool, err error) {
	for len(c.keys) > 0 {
		key, c.keys = c.keys[0], c.keys[1:]
		if value, ok, err = c.t.Lookup(key); ok || err != nil {
			return key, value, ok, err
		}
	}
	return "", "", false, nil
}

// internal: empty at first, changed by its one process.
type internal struct{ memory }

func openInternal(typ, name string, o table.Options) (table.Table, error) {
	return &internal{memory{base: base{typ + ":" + name}, flags: o.Flags, values: make(map[string]string)}}, nil
}

// Update stores a value; the newest counts unless the flags say otherwise.
func (t *internal) Update(key, value string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.values[key] = value
	return nil
}

func (t *internal) Delete(key string) (bool, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	_, found := t.values[key]
	delete(t.values, key)
	return found, nil
}
