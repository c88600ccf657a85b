package verify

import (
	"maps"
	"slices"
	"sync"

	"suffix/pkg/table"
)

// A store keeps entries: a table that can be updated, or memory.
type store interface {
	Lookup(key string) (value string, found bool, err error)
	Update(key, value string) error
	Delete(key string) (found bool, err error)
	Cursor() (table.Cursor, error)
}

// memory is the store where address_verify_map is empty.
type memory struct {
	mu sync.Mutex
	m  map[string]string
}

func (s *memory) Lookup(key string) (string, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	value, found := s.m[key]
	return value, found, nil
}

// maxMemory bounds the entries in memory: strangers choose the addresses.
const maxMemory = 100_000

func (s *memory) Update(key, value string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if _, known := s.m[key]; !known && len(s.m) >= maxMemory {
		for other := range s.m {
			delete(s.m, other)
			break
		}
	}
	s.m[key] = value
	return nil
}

func (s *memory) Delete(key string) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	_, found := s.m[key]
	delete(s.m, key)
	return found, nil
}

// Cursor walks through the keys of this moment.
func (s *memory) Cursor() (table.Cursor, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return &memoryCursor{s, slices.Collect(maps.Keys(s.m))}, nil
}

type memoryCursor struct {
	s    *memory
	keys []string
}

func (c *memoryCursor) Next() (key, value string, ok bool, err error) {
	for len(c.keys) > 0 {
		key, c.keys = c.keys[0], c.keys[1:]
		if value, ok, err = c.s.Lookup(key); ok || err != nil {
			return key, value, ok, err
		}
	}
	return "", "", false, nil
}
