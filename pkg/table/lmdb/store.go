package lmdb

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/table"
	"suffix/pkg/table/dbfile"
)

// store is a table that is open for updates. Each update is a transaction;
// those that a command makes one after the other are one, for as long as the
// lock lasts that the first has taken.
type store struct {
	name  string // "lmdb:PATH"
	flags table.Flags
	quiet bool

	mu     sync.Mutex
	h      *file
	lease  dbfile.Lease
	write  bool // the lock is for writing
	tx     *txn // open transaction
	failed error
	null   dbfile.Nulls
	closed bool
}

// openStore opens a table for updates; it is made where it is missing.
func openStore(name string, o table.Options) (table.Table, error) {
	h, err := openWritable(name+suffix, o)
	if err != nil {
		return nil, err
	}
	s := &store{name: "lmdb:" + name, flags: o.Flags, quiet: o.Command, h: h, null: dbfile.NullsOf(o.Flags)}
	s.lease = dbfile.Lease{Path: h.path, Unlock: h.unlock, Expire: s.expire}
	if err := h.unlock(); err != nil {
		h.close()
		return nil, openError(h.path, err)
	}
	if info, err := h.f.Stat(); err == nil && (o.Existing || o.Flags&table.BulkUpdate == 0) {
		dbfile.WarnIfOlder(name, suffix, info)
	}
	return s, nil
}

// openWritable opens a file, makes an empty table of it if it is empty, and
// leaves it locked for writing. As with the library, a missing file is made even
// where an entry is only to be deleted.
func openWritable(path string, o table.Options) (*file, error) {
	perm := o.Perm
	if perm == 0 {
		perm = 0o644
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, perm)
	if err != nil {
		return nil, openError(path, err)
	}
	h := newHandle(path, f)
	err = h.lock(unix.F_WRLCK)
	if err == nil {
		err = h.initialise(mapSizeOf(o))
	}
	if err != nil {
		h.close()
		return nil, openError(path, err)
	}
	return h, nil
}

// mapSizeOf is the size of the mapping that a new file asks for.
func mapSizeOf(o table.Options) uint64 {
	size := int64(16777216)
	if c, ok := o.Config.(interface{ Long(params.Long) int64 }); ok {
		size = c.Long(params.LmdbMapSize)
	}
	return uint64(max(size, 2*minPageSize))
}

func (h *file) initialise(mapSize uint64) error {
	size, err := h.size()
	if err != nil {
		return err
	}
	if size == 0 {
		pageSize := min(max(os.Getpagesize(), minPageSize), maxPageSize)
		mapSize += -mapSize % uint64(pageSize)
		if _, err := h.f.WriteAt(newFile(pageSize, mapSize), 0); err != nil {
			return err
		}
	}
	return h.refresh()
}

func (s *store) Name() string  { return s.name }
func (s *store) Fixed() bool   { return true }
func (s *store) Changed() bool { return false }

// Owner returns the owner of the file.
func (s *store) Owner() (uid int, known bool) { return s.h.owner() }

// Flags says that several programs may write.
func (s *store) Flags() table.Flags {
	s.mu.Lock()
	defer s.mu.Unlock()
	return table.FixedKeys | table.MultiWriter | table.Flags(s.null)
}

// expire ends the lock, and what it was for.
func (s *store) expire() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.end(); err != nil && s.failed == nil {
		s.failed = err
	}
}

// end commits the open transaction and gives the lock back.
func (s *store) end() error {
	err := s.commit()
	s.lease.End()
	return err
}

func (s *store) commit() error {
	t := s.tx
	s.tx = nil
	if t == nil || !t.changed() {
		return nil
	}
	err := dbfile.Guarded(errNoPage, func() error { return s.h.commit(t) })
	if err == nil {
		err = s.h.refresh()
	}
	return err
}

// acquire locks the file.
func (s *store) acquire(write bool) error {
	if s.closed {
		return os.ErrClosed
	}
	if s.lease.Held() && (s.write || !write) {
		if s.tx != nil {
			return nil
		}
		return s.h.refresh()
	}
	// Not from one lock to the other: two who read and want to write would
	// wait for each other.
	s.lease.End()
	how := int16(unix.F_RDLCK)
	if write {
		how = unix.F_WRLCK
	}
	if err := s.h.lock(how); err != nil {
		return err
	}
	s.write = write
	s.lease.Begin()
	return s.h.refresh()
}

// operate runs f under a lock. If f wants to write, it does so in the
// transaction that it gets.
func (s *store) operate(verb string, write bool, f func(src pages, m *meta) error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.failed
	s.failed = nil
	if err == nil {
		err = s.acquire(write)
	}
	if err == nil {
		if write && s.tx == nil {
			s.tx = begin(s.h.im)
		}
		err = dbfile.Guarded(errNoPage, func() error {
			if s.tx != nil {
				return f(s.tx, &s.tx.meta)
			}
			return f(&s.h.im, &s.h.im.meta)
		})
		if err != nil && write && !refused(err) {
			s.tx = nil // what was done of it is worth nothing
		}
		if err != nil || write && (s.flags&table.BulkUpdate == 0 || s.flags&table.SyncUpdate != 0) {
			if endErr := s.end(); err == nil {
				err = endErr
			}
		}
	}
	switch {
	case err == nil:
		return nil
	case isDuplicate(err):
		return err
	}
	return failed(s.quiet, verb, s.name, err)
}

// Lookup finds the value of a key.
func (s *store) Lookup(key string) (value string, found bool, err error) {
	err = s.operate("reading", false, func(src pages, m *meta) error {
		v, ok, err := s.null.Find(key, func(stored []byte) ([]byte, bool, error) {
			return lookup(src, &m.main, stored)
		})
		if ok {
			value, found = dbfile.Text(v), true
		}
		return err
	})
	return value, found, err
}

// Update stores a value.
func (s *store) Update(key, value string) error {
	return s.operate("updating", true, func(_ pages, m *meta) error {
		s.null.Settle(dbfile.Null1)
		k := []byte(s.null.Stored(key))
		if len(k) == 0 || len(k) > maxKey {
			return errKeySize
		}
		if s.flags&table.ReplaceDup == 0 {
			_, dup, err := m.main.get(s.tx, k, byBytes)
			if err != nil {
				return err
			}
			if dup {
				return duplicate(s.flags, s.name, key)
			}
		}
		return s.tx.put(&m.main, k, []byte(s.null.Stored(value)), byBytes)
	})
}

// refused: errors by which an operation does nothing.
func refused(err error) bool { return err == errKeySize || isDuplicate(err) }

// Put stores an entry and replaces an old one. A raw one is stored as it
// stands, without NULs. The extra records of postalias(1) are written by this.
func (s *store) Put(key, value string, raw bool) error {
	return s.operate("updating", true, func(_ pages, m *meta) error {
		s.null.Settle(dbfile.Null1)
		if !raw {
			key, value = s.null.Stored(key), s.null.Stored(value)
		}
		if len(key) == 0 || len(key) > maxKey {
			return errKeySize
		}
		return s.tx.put(&m.main, []byte(key), []byte(value), byBytes)
	})
}

// Delete removes a key.
func (s *store) Delete(key string) (found bool, err error) {
	err = s.operate("deleting from", true, func(_ pages, m *meta) error {
		for _, by := range []dbfile.Nulls{dbfile.Null1, dbfile.Null0} {
			if s.null&by == 0 {
				continue
			}
			k := []byte(by.Stored(key))
			if len(k) == 0 {
				return errKeySize
			}
			if len(k) > maxKey {
				continue
			}
			var err error
			if found, err = s.tx.del(&m.main, k, byBytes); found || err != nil {
				if found {
					s.null = by
				}
				return err
			}
		}
		return nil
	})
	return found, err
}

// Cursor lists the entries in the order of their keys.
func (s *store) Cursor() (table.Cursor, error) {
	return &cursor{access: func(f func(pages, *meta, bool) error) error {
		return s.operate("reading", false, func(src pages, m *meta) error { return f(src, m, s.tx != nil) })
	}}, nil
}

// Close commits what is open.
func (s *store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := s.failed
	if endErr := s.end(); err == nil {
		err = endErr
	}
	s.closed = true
	if closeErr := s.h.close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("error updating %s: %s", s.name, reason(err))
	}
	return nil
}

// duplicateError reports a key that is there already, where no flag says what
// to do with it.
type duplicateError struct{ name, key string }

func (e *duplicateError) Error() string {
	return fmt.Sprintf("%s: %s: \"%s\"", e.name, table.ErrDuplicate, e.key)
}

func (e *duplicateError) Unwrap() error { return table.ErrDuplicate }

func isDuplicate(err error) bool { _, ok := err.(*duplicateError); return ok }

// duplicate does what the flags say of a key that is there already.
func duplicate(flags table.Flags, name, key string) error {
	switch {
	case flags&table.IgnoreDup != 0:
		return nil
	case flags&table.WarnDup != 0:
		maillog.Warnf("%s: duplicate entry: \"%s\"", name, key)
		return nil
	}
	return &duplicateError{name, key}
}
