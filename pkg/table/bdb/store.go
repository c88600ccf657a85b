package bdb

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
	"suffix/pkg/table/dbfile"
)

// store is a table that is open for writing. Its entries are in memory; a
// commit writes the whole file. The exclusive lock on the file is held from
// open to Close (bulk updates, persistent locks) or for one operation.
type store struct {
	name  string // "hash:PATH.db"
	path  string // PATH.db
	real  string // path without symbolic links
	btree bool
	flags table.Flags
	bulk  bool // the old content does not matter
	hold  bool // the lock is kept
	perm  os.FileMode
	must  bool // the file must exist
	quiet bool // errors are returned, not logged too

	mu      sync.Mutex
	f       *os.File // the current file, by which we lock
	loaded  state    // what entries stand for
	entries map[string]string
	fresh   *dbfile.Records // bulk updates: instead of entries
	null    dbfile.Nulls
	dirty   bool
}

// state identifies the content of a path.
type state struct {
	dev, ino uint64
	dbfile.Stamp
}

func stateOf(st *unix.Stat_t) state { return state{st.Dev, st.Ino, dbfile.StampOf(st)} }

func openStore(typ, name string, o table.Options) (table.Table, error) {
	s := &store{name: typ + ":" + name + suffix, path: name + suffix, btree: typ == "btree", flags: o.Flags,
		perm: o.Perm, must: o.Existing, quiet: o.Command, null: dbfile.NullsOf(o.Flags)}
	if s.perm == 0 {
		s.perm = 0o644
	}
	s.bulk = o.Mode == table.Bulk
	s.hold = s.bulk || o.Flags&(table.BulkUpdate|table.OpenLock) != 0
	if err := s.begin(o.Flags&table.OpenLock != 0 && !s.bulk); err != nil {
		if err == unix.EAGAIN {
			return nil, fmt.Errorf("%s: unable to get exclusive lock: %s", typ+":"+name, syserr.Text(err))
		}
		return nil, openError(s.path, err)
	}
	if !s.hold {
		s.end()
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

// begin locks the file that has the table's name, makes it where it is
// missing, and loads what another process has changed.
func (s *store) begin(noWait bool) error {
	how := unix.LOCK_EX
	if noWait {
		how |= unix.LOCK_NB
	}
	for {
		if s.f == nil {
			if err := s.openFile(); err != nil {
				return err
			}
		}
		if err := dbfile.Flock(int(s.f.Fd()), how); err != nil {
			s.drop()
			return err
		}
		var open, named unix.Stat_t
		if err := unix.Fstat(int(s.f.Fd()), &open); err != nil {
			s.drop()
			return err
		}
		err := unix.Stat(s.path, &named)
		if err == nil && open.Dev == named.Dev && open.Ino == named.Ino {
			if open.Size == 0 {
				maillog.Warnf("removing zero-length database file: %s", s.path)
				if err := os.Remove(s.path); err != nil {
					s.drop()
					return err
				}
				s.drop()
				continue
			}
			return s.load(stateOf(&open))
		}
		if err != nil && err != unix.ENOENT {
			s.drop()
			return err
		}
		s.drop() // replaced or removed while we waited
	}
}

// end gives the lock back.
func (s *store) end() {
	if s.f == nil {
		return
	}
	if err := dbfile.Flock(int(s.f.Fd()), unix.LOCK_UN); err != nil {
		maillog.Warnf("%s: unlock dictionary: %s", s.path, syserr.Text(err))
	}
}

func (s *store) drop() {
	if s.f != nil {
		if err := s.f.Close(); err != nil {
			maillog.Warnf("close %s: %s", s.path, syserr.Text(err))
		}
	}
	s.f = nil
}

// openFile opens the file; a missing one is made as an empty table.
func (s *store) openFile() error {
	s.real = s.path
	if real, err := filepath.EvalSymlinks(s.path); err == nil {
		s.real = real
	}
	f, err := os.OpenFile(s.path, os.O_RDWR, 0)
	if err == nil || !os.IsNotExist(err) || s.must {
		s.f = f
		return err
	}
	temp, err := s.newFile()
	if err != nil {
		return err
	}
	if err = s.writeTo(temp, nil); err == nil {
		// Not rename: another process may have made the table meanwhile.
		if err = os.Link(temp.Name(), s.path); os.IsExist(err) {
			err = nil
		}
	}
	closeErr := temp.Close()
	removeErr := os.Remove(temp.Name())
	for _, e := range []error{err, closeErr, removeErr} {
		if e != nil {
			return e
		}
	}
	s.f, err = os.OpenFile(s.path, os.O_RDWR, 0)
	return err
}

// newFile makes an empty file beside the table.
func (s *store) newFile() (*os.File, error) {
	dir, base := filepath.Split(s.real)
	for i := uint64(0); ; i++ {
		name := dir + "__db." + base + "." + strconv.FormatUint(uint64(os.Getpid()), 10) + "." +
			strconv.FormatUint(uint64(time.Now().UnixNano())+i, 36)
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, s.perm)
		if !os.IsExist(err) {
			return f, err
		}
	}
}

// load reads the entries, unless they are known. The lock is held.
func (s *store) load(now state) error {
	if s.bulk {
		if s.fresh == nil {
			s.fresh, s.dirty = dbfile.NewRecords(), true
		}
		return nil
	}
	if s.entries != nil && s.loaded == now {
		return nil
	}
	size := now.Size
	if size < metaSize {
		return errCorrupt
	}
	data, err := dbfile.Map(int(s.f.Fd()), size)
	if err != nil {
		return err
	}
	entries := make(map[string]string)
	err = dbfile.Guarded(errCorrupt, func() error {
		im, err := parse(data, s.btree)
		if err != nil {
			return err
		}
		for scan := (scanner{}); ; {
			pairs, ok, err := scan.next(im)
			if err != nil || !ok {
				return err
			}
			for _, p := range pairs {
				entries[string(p.key)] = string(p.value)
			}
		}
	})
	dbfile.Unmap(data, s.path)
	if err != nil {
		return err
	}
	s.entries, s.loaded, s.dirty = entries, now, false
	return nil
}

// commit writes the entries as the new content of the file. The lock is held,
// and goes over to the new file.
func (s *store) commit() error {
	temp, err := s.replacement()
	if err != nil {
		return err
	}
	if temp == nil {
		err = s.writeTo(s.f, s.records())
	} else {
		err = s.writeTo(temp, s.records())
		if err == nil {
			err = dbfile.Flock(int(temp.Fd()), unix.LOCK_EX)
		}
		if err == nil {
			err = os.Rename(temp.Name(), s.real)
		}
		if err != nil {
			temp.Close()
			os.Remove(temp.Name())
			return err
		}
		s.drop()
		s.f = temp
	}
	if err != nil {
		return err
	}
	var st unix.Stat_t
	if err := unix.Fstat(int(s.f.Fd()), &st); err != nil {
		return err
	}
	s.loaded, s.dirty = stateOf(&st), false
	return nil
}

// replacement makes the file that will replace the current one, with the same
// owner and mode. It is nil where we may write the file, but not its directory:
// then the file is rewritten in place, under the lock.
func (s *store) replacement() (*os.File, error) {
	var st unix.Stat_t
	if err := unix.Fstat(int(s.f.Fd()), &st); err != nil {
		return nil, err
	}
	temp, err := s.newFile()
	if err != nil {
		if os.IsPermission(err) || syserr.Cause(err) == unix.EROFS {
			return nil, nil
		}
		return nil, err
	}
	var mine unix.Stat_t
	err = unix.Fstat(int(temp.Fd()), &mine)
	if err == nil && (mine.Uid != st.Uid || mine.Gid != st.Gid) {
		err = temp.Chown(int(st.Uid), int(st.Gid))
	}
	if err == nil {
		err = temp.Chmod(os.FileMode(st.Mode & 0o777))
	}
	if err == nil {
		return temp, nil
	}
	temp.Close()
	os.Remove(temp.Name())
	if os.IsPermission(err) {
		return nil, nil
	}
	return nil, err
}

// records are the entries, for writing.
func (s *store) records() []record {
	if s.bulk {
		return freshRecords(s.fresh)
	}
	records := make([]record, 0, len(s.entries))
	for k, v := range s.entries {
		records = append(records, record{key: k, value: v})
	}
	return records
}

// writeTo writes records as the whole content of f, to the disk.
func (s *store) writeTo(f *os.File, records []record) error {
	if err := f.Truncate(0); err != nil {
		return err
	}
	if err := write(f, s.btree, records); err != nil {
		return err
	}
	return unix.Fdatasync(int(f.Fd()))
}

// Close writes what is not yet written, and unlocks.
func (s *store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if s.dirty && s.hold {
		if err = s.commit(); err != nil {
			err = fmt.Errorf("error writing %s: %s", s.path, syserr.Text(err))
		}
	}
	s.drop()
	return err
}

// operate runs f on the current entries, under the lock, and commits what it changes.
func (s *store) operate(verb string, f func() error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var err error
	if !s.hold {
		if err = s.begin(false); err == nil {
			defer s.end()
		}
	}
	if err == nil {
		if err := f(); err != nil {
			return err
		}
		if s.dirty && (!s.hold || s.flags&table.SyncUpdate != 0) {
			if err = s.commit(); err != nil && !s.hold {
				s.entries = nil // what the file has counts
			}
		}
	}
	if err != nil {
		return dbfile.Failed(s.quiet, verb, s.path, syserr.Text(err))
	}
	return nil
}

func (s *store) get(stored []byte) ([]byte, bool, error) {
	if s.bulk {
		v, ok := s.fresh.Find(string(stored))
		return v, ok, nil
	}
	v, ok := s.entries[string(stored)]
	return []byte(v), ok, nil
}

// Lookup finds the value of a key.
func (s *store) Lookup(key string) (value string, found bool, err error) {
	err = s.operate("reading", func() error {
		var v []byte
		v, found, err = s.null.Find(key, s.get)
		value = dbfile.Text(v)
		return err
	})
	return value, found, err
}

// Update stores a value.
func (s *store) Update(key, value string) error {
	return s.operate("writing", func() error {
		s.null.Settle(dbfile.Null1)
		key, value := s.null.Stored(key), s.null.Stored(value)
		if s.bulk {
			if there := s.fresh.Put(key, value, s.flags&table.ReplaceDup != 0); there {
				return s.duplicate(key)
			}
			return nil
		}
		if _, dup := s.entries[key]; dup && s.flags&table.ReplaceDup == 0 {
			return s.duplicate(key)
		}
		s.entries[key] = value
		s.dirty = true
		return nil
	})
}

// duplicate says of a key that is there already what the flags want.
func (s *store) duplicate(key string) error {
	switch {
	case s.flags&(table.ReplaceDup|table.IgnoreDup) != 0:
		return nil
	case s.flags&table.WarnDup != 0:
		maillog.Warnf("%s: duplicate entry: \"%s\"", s.path, dbfile.Text([]byte(key)))
		return nil
	}
	return fmt.Errorf("%s: %w: \"%s\"", s.path, table.ErrDuplicate, dbfile.Text([]byte(key)))
}

// Put stores an entry and replaces an old one. A raw one is stored as it
// stands, without NULs. The extra records of postalias(1) are written by this.
func (s *store) Put(key, value string, raw bool) error {
	return s.operate("writing", func() error {
		s.null.Settle(dbfile.Null1)
		if !raw {
			key, value = s.null.Stored(key), s.null.Stored(value)
		}
		if s.bulk {
			s.fresh.Put(key, value, true)
			return nil
		}
		s.entries[key] = value
		s.dirty = true
		return nil
	})
}

// Delete removes a key.
func (s *store) Delete(key string) (found bool, err error) {
	err = s.operate("deleting from", func() error {
		for _, stored := range []struct {
			by  dbfile.Nulls
			key string
		}{{dbfile.Null1, key + "\x00"}, {dbfile.Null0, key}} {
			if _, ok := s.entries[stored.key]; ok && !found && s.null&stored.by != 0 {
				delete(s.entries, stored.key)
				s.null, s.dirty, found = stored.by, true, true
			}
		}
		return nil
	})
	return found, err
}

// Cursor lists the keys that are there now, in their order.
func (s *store) Cursor() (table.Cursor, error) {
	c := &storeCursor{s: s}
	err := s.operate("reading", func() error {
		c.keys = make([]string, 0, len(s.entries))
		for key := range s.entries {
			c.keys = append(c.keys, key)
		}
		return nil
	})
	slices.Sort(c.keys)
	return c, err
}

type storeCursor struct {
	s    *store
	keys []string
}

func (c *storeCursor) Next() (key, value string, ok bool, err error) {
	for len(c.keys) > 0 && !ok && err == nil {
		key = c.keys[0]
		c.keys = c.keys[1:]
		err = c.s.operate("reading", func() error {
			value, ok = c.s.entries[key]
			return nil
		})
	}
	return dbfile.Text([]byte(key)), dbfile.Text([]byte(value)), ok, err
}
