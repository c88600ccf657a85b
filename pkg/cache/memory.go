package cache

import (
	"maps"
	"slices"

	"suffix/pkg/table"
)

// memory is a cache that ends with the process.
type memory struct {
	entries map[string]string
	size    int // of keys and values, in bytes
}

func newMemory() *memory { return &memory{entries: make(map[string]string)} }

// NewMemory returns a cache in memory.
func NewMemory(name string) *Cache { return newCache(name, newMemory()) }

// Bounds of what is in memory: strangers choose the keys. Where they are
// reached, a new entry takes the place of others, whichever they are.
const (
	maxEntries = 100_000
	maxSize    = 64 << 20
)

func (m *memory) get(key string) (string, bool, error) {
	value, found := m.entries[key]
	return value, found, nil
}

func (m *memory) put(key, value string) error {
	m.del(key)
	m.size += len(key) + len(value)
	for other := range m.entries {
		if len(m.entries) < maxEntries && m.size <= maxSize {
			break
		}
		m.del(other)
	}
	m.entries[key] = value
	return nil
}

func (m *memory) del(key string) (bool, error) {
	value, found := m.entries[key]
	if found {
		m.size -= len(key) + len(value)
		delete(m.entries, key)
	}
	return found, nil
}

// cursor walks through the keys of this moment.
func (m *memory) cursor() (table.Cursor, error) {
	return &memoryCursor{m, slices.Collect(maps.Keys(m.entries))}, nil
}

func (m *memory) close() error { return nil }

type memoryCursor struct {
	m    *memory
	keys []string
}

func (c *memoryCursor) Next() (key, value string, ok bool, err error) {
	for len(c.keys) > 0 {
		key, c.keys = c.keys[0], c.keys[1:]
		if value, ok, _ = c.m.get(key); ok {
			return key, value, true, nil
		}
	}
	return "", "", false, nil
}
