// Package store writes tables of the type pebble. A program that makes or
// changes such tables imports it for that effect.
//
// A table is always written whole, to a file that then takes the place of the
// old one, with its owner and mode: readers see the old table or the new one.
// While a table is being changed, an exclusive lock (flock) on the old file
// keeps others from doing the same; it is held from the first change to Close
// by postmap(1), or else for one operation. Entries that do not fit into a part
// of memory are sorted in files without names, in the table's directory.
package store

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
	"suffix/pkg/table/dbfile"
	"suffix/pkg/table/pebble"
)

func init() { pebble.OpenStore = open }

// maxMemory is how much entries in memory may take, in bytes. Tests make it small.
var maxMemory = 64 << 20

// store is a table that is open for writing.
type store struct {
	name  string // "pebble:PATH.sst"
	path  string // PATH.sst
	real  string // path without symbolic links
	flags table.Flags
	bulk  bool // the old content does not matter
	hold  bool // the lock is kept, and changes are written by Close
	perm  os.FileMode
	must  bool // the file must exist
	quiet bool // errors are returned, not logged too

	mu      sync.Mutex
	f       *os.File     // the current file, by which we lock; nil: none yet
	base    *pebble.File // its content; nil: empty
	entries map[string]entry
	size    int // what entries take
	runs    []*run
	changed bool
	closed  bool
}

func open(typ, name string, o table.Options) (table.Table, error) {
	s := &store{name: typ + ":" + name + pebble.Suffix, path: name + pebble.Suffix, flags: o.Flags, perm: o.Perm,
		must: o.Existing, quiet: o.Command, bulk: o.Mode == table.Bulk, entries: make(map[string]entry)}
	if s.perm == 0 {
		s.perm = 0o644
	}
	s.hold = s.bulk || o.Flags&(table.BulkUpdate|table.OpenLock) != 0
	s.changed = s.bulk
	err := s.begin(o.Flags&table.OpenLock != 0 && !s.bulk)
	if err == nil {
		// Say now what could not be done at the end.
		err = unix.Faccessat(unix.AT_FDCWD, filepath.Dir(s.real), unix.W_OK|unix.X_OK, unix.AT_EACCESS)
	}
	if err != nil {
		s.drop()
		if err == unix.EAGAIN {
			return nil, fmt.Errorf("%s:%s: unable to get exclusive lock: %s", typ, name, syserr.Text(err))
		}
		return nil, pebble.OpenError(s.path, err)
	}
	if !s.hold {
		s.drop()
	}
	return s, nil
}

func (s *store) Name() string  { return s.name }
func (s *store) Fixed() bool   { return true }
func (s *store) Changed() bool { return false }

// Owner returns the owner of the file.
func (s *store) Owner() (uid int, known bool) {
	var st unix.Stat_t
	if err := unix.Stat(s.path, &st); err != nil {
		return 0, false
	}
	return int(st.Uid), true
}

// begin locks the file that has the table's name, if there is one, and opens
// what it has.
func (s *store) begin(noWait bool) error {
	how := unix.LOCK_EX
	if noWait {
		how |= unix.LOCK_NB
	}
	for {
		s.real = s.path
		if real, err := filepath.EvalSymlinks(s.path); err == nil {
			s.real = real
		}
		f, err := os.Open(s.real)
		if os.IsNotExist(err) && !s.must {
			return nil
		}
		if err != nil {
			return err
		}
		s.f = f
		if err := dbfile.Flock(int(f.Fd()), how); err != nil {
			s.drop()
			return err
		}
		var open, named unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &open); err != nil {
			s.drop()
			return err
		}
		if err := unix.Stat(s.path, &named); err == nil && open.Dev == named.Dev && open.Ino == named.Ino {
			break
		}
		s.drop() // replaced or removed while we waited
	}
	if s.bulk {
		return nil
	}
	// A descriptor of its own, so that the lock does not end with it.
	f, err := os.Open(s.real)
	if err != nil {
		return err
	}
	if s.base, err = pebble.OpenFile(f); err != nil {
		s.base = nil
		f.Close()
	}
	return err
}

// drop gives up the file and with it the lock.
func (s *store) drop() {
	var err error
	if s.base != nil {
		err = s.base.Close()
	}
	if s.f != nil {
		err = errors.Join(err, s.f.Close())
	}
	if err != nil {
		maillog.Warnf("close %s: %s", s.path, syserr.Text(err))
	}
	s.f, s.base = nil, nil
}

// operate runs f under the lock, and writes what it changes unless that can wait.
func (s *store) operate(verb string, f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	err := os.ErrClosed
	if !s.closed {
		err = nil
	}
	if err == nil && !s.hold {
		if err = s.begin(false); err == nil {
			defer s.drop()
		}
	}
	if err == nil {
		if err := f(); err != nil {
			return err
		}
		if s.changed && (!s.hold || !s.bulk && s.flags&table.SyncUpdate != 0) {
			err = s.commit()
		}
	}
	return s.failed(verb, err)
}

// failed words an error of the system; the table's own errors have their words.
func (s *store) failed(verb string, err error) error {
	if err == nil || errors.Is(err, table.ErrDuplicate) {
		return err
	}
	var told *table.Error
	if errors.As(err, &told) {
		return err
	}
	return dbfile.Failed(s.quiet, verb, s.path, syserr.Text(err))
}

// find looks for a key among the entries that are in memory, then in the file.
func (s *store) find(key string) (value string, found bool, err error) {
	if e, ok := s.entries[key]; ok {
		return e.value, e.kind != remove, nil
	}
	if s.base == nil {
		return "", false, nil
	}
	return s.base.Lookup(key)
}

// put notes a change; a lot of them goes to a file.
func (s *store) put(key string, e entry) error {
	if old, ok := s.entries[key]; ok {
		s.size -= len(old.value)
	} else {
		s.size += len(key) + overhead
	}
	s.entries[key] = e
	s.size += len(e.value)
	s.changed = true
	if s.size < maxMemory {
		return nil
	}
	r, err := newRun(filepath.Dir(s.real), s.entries)
	if err != nil {
		return s.failed("writing", err)
	}
	s.runs = append(s.runs, r)
	clear(s.entries)
	s.size = 0
	return nil
}

// Lookup finds the value of a key.
func (s *store) Lookup(key string) (value string, found bool, err error) {
	err = s.operate("reading", func() error {
		if len(s.runs) > 0 {
			if err := s.commit(); err != nil {
				return s.failed("writing", err)
			}
		}
		v, ok, err := s.find(key)
		value, found = dbfile.Text([]byte(v)), ok
		return err
	})
	return value, found, err
}

// duplicate says what becomes of an entry that is one too many.
func (s *store) duplicate(key string) error {
	switch {
	case s.flags&table.IgnoreDup != 0:
		return nil
	case s.flags&table.WarnDup != 0:
		maillog.Warnf("%s: duplicate entry: \"%s\"", s.path, dbfile.Text([]byte(key)))
		return nil
	}
	return fmt.Errorf("%s: %w: \"%s\"", s.path, table.ErrDuplicate, dbfile.Text([]byte(key)))
}

// Update stores a value.
func (s *store) Update(key, value string) error {
	return s.operate("writing", func() error {
		kind := byte(add)
		if s.flags&table.ReplaceDup != 0 {
			kind = replace
		} else if _, found, err := s.find(key); err != nil {
			return err
		} else if found {
			return s.duplicate(key)
		}
		if e, ok := s.entries[key]; ok && e.kind == remove {
			kind = replace
		}
		return s.put(key, entry{value, kind})
	})
}

// Put stores an entry and replaces an old one.
func (s *store) Put(key, value string, _ bool) error {
	return s.operate("writing", func() error { return s.put(key, entry{value, replace}) })
}

// Delete removes a key.
func (s *store) Delete(key string) (found bool, err error) {
	err = s.operate("deleting from", func() error {
		var err error
		if _, found, err = s.find(key); err != nil || !found {
			return err
		}
		return s.put(key, entry{kind: remove})
	})
	return found, err
}

// Cursor lists the table as it is now. What has changed is written first.
func (s *store) Cursor() (table.Cursor, error) {
	c := &cursor{}
	err := s.operate("reading", func() error {
		if s.changed {
			if err := s.commit(); err != nil {
				return s.failed("writing", err)
			}
		}
		if s.base == nil {
			return nil
		}
		for next := s.base.Scan(); ; {
			key, value, ok, err := next()
			if err != nil || !ok {
				return err
			}
			c.keys = append(c.keys, dbfile.Text(key))
			c.values = append(c.values, dbfile.Text(value))
		}
	})
	return c, err
}

type cursor struct{ keys, values []string }

func (c *cursor) Next() (key, value string, ok bool, err error) {
	if len(c.keys) == 0 {
		return "", "", false, nil
	}
	key, value = c.keys[0], c.values[0]
	c.keys, c.values = c.keys[1:], c.values[1:]
	return key, value, true, nil
}

// Close writes what is not yet written, and unlocks.
func (s *store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return os.ErrClosed
	}
	s.closed = true
	var err error
	if s.changed && s.hold {
		if err = s.commit(); err != nil && !errors.Is(err, table.ErrDuplicate) {
			err = fmt.Errorf("error writing %s: %s", s.path, syserr.Text(err))
		}
	}
	s.forget()
	s.drop()
	return err
}
