package cdb

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
	"suffix/pkg/table/dbfile"
)

// writer is a table that is being built. Close gives it its name.
type writer struct {
	path  string // without suffix
	flags table.Flags
	quiet bool

	mu   sync.Mutex
	null dbfile.Nulls
	f    *os.File // PATH.cdb.tmp, locked
	b    *builder
}

func openWriter(name string, o table.Options) (table.Table, error) {
	w := &writer{path: name, flags: o.Flags, quiet: o.Command, null: dbfile.NullsOf(o.Flags)}
	w.null.Settle(dbfile.Null0)
	perm := o.Perm
	if perm == 0 {
		perm = 0o644
	}
	f, err := lockTemp(name+tempSuffix, perm)
	if err != nil {
		return nil, err
	}
	w.f, w.b = f, newBuilder(f)
	return w, nil
}

// lockTemp opens and locks the temporary file, and empties it. Another
// process may have renamed the file while we waited: then there is a new one.
func lockTemp(path string, perm os.FileMode) (*os.File, error) {
	for {
		f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, perm)
		if err != nil {
			return nil, dbfile.OpenError(path, err)
		}
		var opened, named unix.Stat_t
		if err = dbfile.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
			err = fmt.Errorf("lock %s: %s", path, syserr.Text(err))
		} else if err = unix.Fstat(int(f.Fd()), &opened); err != nil {
			err = fmt.Errorf("fstat %s: %s", path, syserr.Text(err))
		} else if err = unix.Stat(path, &named); err != nil && err != unix.ENOENT {
			err = fmt.Errorf("stat %s: %s", path, syserr.Text(err))
		} else if err != nil || opened.Dev != named.Dev || opened.Ino != named.Ino {
			f.Close()
			continue
		} else if err = f.Truncate(0); err != nil {
			err = fmt.Errorf("truncate %s: %s", path, syserr.Text(err))
		}
		if err != nil {
			f.Close()
			return nil, err
		}
		return f, nil
	}
}

func (w *writer) Name() string  { return "cdb:" + w.path }
func (w *writer) Fixed() bool   { return true }
func (w *writer) Changed() bool { return false }

// Owner returns the owner of the new file.
func (w *writer) Owner() (uid int, known bool) {
	info, err := w.f.Stat()
	if err != nil {
		return 0, false
	}
	return table.FileOwner(info), true
}

// Lookup is not possible before the table is complete.
func (w *writer) Lookup(string) (value string, found bool, err error) {
	return "", false, &table.NotSupportedError{Table: w.Name(), Operation: "lookup"}
}

func (w *writer) failed(err error) error {
	return dbfile.Failed(w.quiet, "writing", w.path+tempSuffix, syserr.Text(err))
}

// Update stores a value. With IgnoreDup a duplicate is stored too, and the
// first entry is the one that is found.
func (w *writer) Update(key, value string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	k, v := w.null.Stored(key), w.null.Stored(value)
	if w.flags&table.IgnoreDup == 0 {
		old, err := w.b.find(k)
		if err != nil {
			return w.failed(err)
		}
		switch {
		case old == nil:
		case w.flags&table.ReplaceDup != 0:
			w.b.remove(old)
		case w.flags&table.WarnDup != 0:
			maillog.Warnf("%s: duplicate entry: \"%s\"", w.path, key)
			return nil
		default:
			return fmt.Errorf("%s: %w: \"%s\"", w.path, table.ErrDuplicate, key)
		}
	}
	if err := w.b.add(k, v); err != nil {
		return w.failed(err)
	}
	return nil
}

// Put stores an entry and replaces an old one. A raw one is stored as it
// stands, without NULs. The extra records of postalias(1) are written by this.
func (w *writer) Put(key, value string, raw bool) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !raw {
		key, value = w.null.Stored(key), w.null.Stored(value)
	}
	old, err := w.b.find(key)
	if err == nil {
		if old != nil {
			w.b.remove(old)
		}
		err = w.b.add(key, value)
	}
	if err != nil {
		return w.failed(err)
	}
	return nil
}

// Delete is not possible: a table is only built.
func (w *writer) Delete(string) (found bool, err error) {
	return false, &table.NotSupportedError{Table: w.Name(), Operation: "delete"}
}

// Close completes the file, writes it to the disk, and renames it. A file that
// cannot be completed is removed; the old table stays.
func (w *writer) Close() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	temp := w.path + tempSuffix
	err := w.b.finish()
	if err == nil {
		err = unix.Fdatasync(int(w.f.Fd()))
	}
	if err != nil {
		err = fmt.Errorf("error writing %s: %s", temp, syserr.Text(err))
	} else if err = unix.Rename(temp, w.path+suffix); err != nil {
		err = fmt.Errorf("rename database from %s to %s: %s", temp, w.path+suffix, syserr.Text(err))
	}
	if err != nil {
		if rmErr := os.Remove(temp); rmErr != nil {
			maillog.Warnf("remove %s: %s", temp, syserr.Text(rmErr))
		}
	}
	if closeErr := w.f.Close(); err == nil && closeErr != nil {
		err = fmt.Errorf("close database %s: %s", w.path+suffix, syserr.Text(closeErr))
	}
	return err
}
