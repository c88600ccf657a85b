package lmdb

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"suffix/pkg/table"
	"suffix/pkg/table/dbfile"
)

// reader is a table that is open for lookups.
type reader struct {
	name  string // "lmdb:PATH"
	lock  bool
	quiet bool // errors are returned, not logged too

	mu     sync.Mutex
	h      *file
	lease  dbfile.Lease
	null   dbfile.Nulls
	closed bool
}

func openReader(name string, o table.Options) (table.Table, error) {
	path := name + suffix
	f, err := os.Open(path)
	if err != nil {
		return nil, openError(path, err)
	}
	r := &reader{name: "lmdb:" + name, lock: o.Flags&table.Lock != 0, quiet: o.Command,
		h: newHandle(path, f), null: dbfile.NullsOf(o.Flags)}
	r.lease = dbfile.Lease{Path: path, Unlock: r.h.unlock, Expire: r.expire}
	r.mu.Lock() // from now on the lock may end by itself
	defer r.mu.Unlock()
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = unix.EISDIR
	}
	if err == nil {
		err = r.acquire()
		r.lease.End()
	}
	if err != nil {
		r.h.close()
		if err == errInvalid && info.Size() == 0 {
			err = unix.EBADF // the library would write its first pages
		}
		return nil, openError(path, err)
	}
	if r.lock {
		dbfile.WarnIfOlder(name, suffix, info)
	}
	return r, nil
}

func (r *reader) Name() string { return r.name }
func (r *reader) Fixed() bool  { return true }

// Owner returns the owner of the file.
func (r *reader) Owner() (uid int, known bool) { return r.h.owner() }

// Flags tells clients of proxymap how keys are stored, and that several
// programs may write.
func (r *reader) Flags() table.Flags {
	r.mu.Lock()
	defer r.mu.Unlock()
	return table.FixedKeys | table.MultiWriter | table.Flags(r.null)
}

// Changed says that the file has been replaced. What is changed in place needs
// no new reader.
func (r *reader) Changed() bool { return r.h.unlinked() }

// Close unmaps the file.
func (r *reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.lease.Drop()
	return r.h.close()
}

func (r *reader) expire() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lease.End()
}

// acquire locks the file and looks what is in it now: even under the lock the
// content may change, when a rebuild ends.
func (r *reader) acquire() error {
	if r.closed {
		return os.ErrClosed
	}
	if r.lock && !r.lease.Held() {
		if err := r.h.lock(unix.F_RDLCK); err != nil {
			return err
		}
		r.lease.Begin()
	}
	return r.h.refresh()
}

// access runs f on the current content.
func (r *reader) access(f func(im *image) error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := r.acquire()
	if err == nil {
		err = dbfile.Guarded(errNoPage, func() error { return f(&r.h.im) })
	}
	if err != nil {
		r.lease.End() // look again next time
		return failed(r.quiet, "reading", r.name, err)
	}
	return nil
}

// Lookup finds the value of a key.
func (r *reader) Lookup(key string) (value string, found bool, err error) {
	err = r.access(func(im *image) error {
		v, ok, err := r.null.Find(key, func(stored []byte) ([]byte, bool, error) {
			return lookup(im, &im.meta.main, stored)
		})
		if ok {
			value, found = dbfile.Text(v), true
		}
		return err
	})
	return value, found, err
}

// Cursor lists the entries in the order of their keys.
func (r *reader) Cursor() (table.Cursor, error) {
	return &cursor{access: func(f func(pages, *meta, bool) error) error {
		return r.access(func(im *image) error { return f(im, &im.meta, false) })
	}}, nil
}
