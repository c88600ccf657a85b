package cache

import (
	"maps"
	"slices"

	"suffix/pkg/table"
)

// memory is a cache that ends with the process.
type memory struct{ entries map[string]string }

func newMemory() *memory { return &memory{make(map[string]string)} }

// NewMemory returns a cache in memory.
func NewMemory(name string) *Cache { return newCache(name, newMemory()) }

// maxMemory bounds the entries in memory: strangers choose the keys.
const maxMemory = 100_000

func (m *memory) get(key string) (string, bool, error) {
	value, found := m.entries[key]
	return value, found, nil
}

func (m *memory) put(key, value string) error {
	if _, known := m.entries[key]; !known && len(m.entries) >= maxMemory {
		for other := range m.entries {
			delete(m.entries, other)
			break
		}
	}
	m.entries[key] = value
	return nil
}

func (m *memory) del(key string) (bool, error) {
	_, found := m.entries[key]
	delete(m.entries, key)
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
