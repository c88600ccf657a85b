// Package cache keeps what a daemon remembers from one run to the next: the
// results of address probes, TLS sessions, clients that have passed the tests of
// postscreen (spec tables §15). One process writes a cache.
//
// Where main.cf names a cache by a type that is a file (pebble, btree, hash,
// lmdb, cdb), it is a database of its own: the directory NAME.pebble, made by
// the Pebble library. A file that Postfix has left there is read once, when the
// directory is made, and stays as it is. Other types (proxy, memcache) are
// tables; internal, or no name, means the memory of this process.
//
// A cache is never worth a daemon: a damaged database is set aside, and one that
// cannot be written gives way to memory, with a warning. postmap -s pebble:NAME
// lists a database, also while the daemon uses it.
package cache

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/table"
)

// A Cache is a set of keys with values, all text. It is safe for concurrent use.
type Cache struct {
	name string
	log  *maillog.Logger

	mu      sync.Mutex
	pending *files // to be opened; then there is no backend yet
	b       backend
	warned  time.Time // the last error that was logged
}

func newCache(name string, b backend) *Cache {
	return &Cache{name: name, log: maillog.Default(), b: b}
}

// A backend holds the entries of a cache, which calls it one operation after
// the other.
type backend interface {
	get(key string) (value string, found bool, err error)
	put(key, value string) error
	del(key string) (found bool, err error)
	cursor() (table.Cursor, error)
	close() error
}

// Name returns the cache's name for the log: "type:name".
func (c *Cache) Name() string { return c.name }

// Start opens the database. A daemon calls it when it has become the user whose
// files these are; else the first operation does it.
func (c *Cache) Start() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.start()
}

func (c *Cache) start() {
	if c.pending != nil {
		c.b = openDatabase(c.pending, c)
		c.pending = nil
	}
}

// InMemory says that the entries are lost with the process.
func (c *Cache) InMemory() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.b.(*memory)
	return ok
}

// operate runs one operation; of errors, at most one per second is logged.
func (c *Cache) operate(complaint string, f func(b backend) error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.start()
	err := f(c.b)
	var broken *failure
	if errors.As(err, &broken) {
		// Trouble with the files: go on with others, or without.
		c.b = broken.d.recover(c, broken)
		err = f(c.b)
	}
	if err != nil && time.Since(c.warned) >= time.Second {
		c.warned = time.Now()
		c.log.Warnf("%s: %s", c.name, complaint)
	}
	return err
}

// Lookup finds the value of a key. An error has been logged.
func (c *Cache) Lookup(key string) (value string, found bool, err error) {
	err = c.operate("cache lookup for '"+key+"' failed due to error", func(b backend) (err error) {
		value, found, err = b.get(key)
		return err
	})
	return value, found, err
}

// Update stores a value. An error has been logged.
func (c *Cache) Update(key, value string) error {
	return c.operate("could not update entry for "+key, func(b backend) error {
		if len(key)+len(value) > maxEntry {
			return errTooLarge
		}
		return b.put(key, value)
	})
}

// maxEntry bounds key and value together, in bytes.
const maxEntry = 1 << 20

var errTooLarge = fmt.Errorf("entry larger than %d bytes", maxEntry)

// Delete removes a key, and reports whether it was there. An error has been
// logged.
func (c *Cache) Delete(key string) (found bool, err error) {
	err = c.operate("could not delete entry for "+key, func(b backend) (err error) {
		found, err = b.del(key)
		return err
	})
	return found, err
}

// Cursor lists the entries; entries that come or go meanwhile may appear or not.
func (c *Cache) Cursor() (table.Cursor, error) {
	var inner table.Cursor
	err := c.operate("sequence error", func(b backend) (err error) {
		inner, err = b.cursor()
		return err
	})
	return &cursor{c: c, inner: inner}, err
}

type cursor struct {
	c     *Cache
	inner table.Cursor
}

// Next returns the next entry. An error has been logged.
func (w *cursor) Next() (key, value string, ok bool, err error) {
	for {
		err = w.c.operate("sequence error", func(backend) (err error) {
			key, value, ok, err = w.inner.Next()
			return err
		})
		if err != nil || !ok || key != completed {
			return key, value, ok, err
		}
	}
}

// Close ends the use of the cache. What comes afterwards is forgotten.
func (c *Cache) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.pending != nil {
		c.pending.close()
		c.pending = nil
		c.b = newMemory()
	}
	b := c.b
	c.b = newMemory()
	return b.close()
}

// tableBackend is a cache in a table that can be updated.
type tableBackend struct{ h *table.Handle }

func (b tableBackend) get(key string) (string, bool, error)   { return b.h.Lookup(key) }
func (b tableBackend) put(key, value string) error            { return b.h.Update(key, value) }
func (b tableBackend) del(key string) (found bool, err error) { return b.h.Delete(key) }
func (b tableBackend) cursor() (table.Cursor, error)          { return b.h.Cursor() }
func (b tableBackend) close() error                           { return b.h.Close() }
