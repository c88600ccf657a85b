package bdb

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"suffix/pkg/syserr"
	"suffix/pkg/table"
	"suffix/pkg/table/dbfile"
)

// reader is a table that is open for lookups. Other programs may rewrite the
// file in place, under an exclusive lock; so each access happens under a shared
// lock, and with every new lock comes a look whether the file is still what is
// mapped. Under load a lock serves many lookups: locking costs more than they.
type reader struct {
	name  string // "hash:PATH.db"
	path  string
	btree bool
	lock  bool
	quiet bool // errors are returned, not logged too
	uid   int
	f     *os.File
	fd    int
	first dbfile.Stamp // when it was opened

	mu      sync.Mutex
	lease   dbfile.Lease
	closed  bool
	mapping []byte
	mapped  dbfile.Stamp
	im      *image
	null    dbfile.Nulls
	stat    unix.Stat_t
}

func openReader(typ, name string, o table.Options) (table.Table, error) {
	path := name + suffix
	f, err := os.Open(path)
	if err != nil {
		return nil, openError(path, err)
	}
	r := &reader{name: typ + ":" + path, path: path, btree: typ == "btree", lock: o.Flags&table.Lock != 0, quiet: o.Command,
		f: f, fd: int(f.Fd()), null: dbfile.NullsOf(o.Flags)}
	r.lease = dbfile.Lease{Path: path, Unlock: func() error { return dbfile.Flock(r.fd, unix.LOCK_UN) }, Expire: r.unlockNow}
	r.mu.Lock() // from now on the lock may end by itself
	defer r.mu.Unlock()
	if err := r.lockAndMap(); err != nil {
		r.lease.Drop()
		f.Close()
		return nil, openError(path, err)
	}
	r.lease.End()
	r.first = r.mapped
	r.uid = int(r.stat.Uid)
	if info, err := f.Stat(); err == nil && r.lock {
		dbfile.WarnIfOlder(name, suffix, info)
	}
	return r, nil
}

func (r *reader) Name() string                 { return r.name }
func (r *reader) Fixed() bool                  { return true }
func (r *reader) Owner() (uid int, known bool) { return r.uid, true }

// Flags tells clients of proxymap how keys are stored.
func (r *reader) Flags() table.Flags {
	r.mu.Lock()
	defer r.mu.Unlock()
	return table.FixedKeys | table.Flags(r.null)
}

// Changed compares the file's time and looks whether it still has a name.
func (r *reader) Changed() bool {
	return dbfile.Replaced(r.fd, r.first)
}

// Close unmaps the file.
func (r *reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.lease.Drop()
	r.unmap()
	return r.f.Close()
}

func (r *reader) unmap() {
	dbfile.Unmap(r.mapping, r.path)
	r.mapping, r.im = nil, nil
}

// acquire locks table and file, and maps the file anew if it has changed. The
// file's lock ends by itself; the caller ends that of the table.
func (r *reader) acquire() error {
	r.mu.Lock()
	if r.lease.Held() {
		return nil
	}
	if err := r.lockAndMap(); err != nil {
		r.lease.End()
		r.mu.Unlock()
		return err
	}
	return nil
}

func (r *reader) lockAndMap() error {
	if r.closed {
		return os.ErrClosed
	}
	if r.lock {
		if err := dbfile.Flock(r.fd, unix.LOCK_SH); err != nil {
			return err
		}
		r.lease.Begin()
	}
	if err := unix.Fstat(r.fd, &r.stat); err != nil {
		return err
	}
	if now := dbfile.StampOf(&r.stat); r.im == nil || now != r.mapped {
		return r.remap(now)
	}
	return nil
}

func (r *reader) unlockNow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lease.End()
}

func (r *reader) remap(now dbfile.Stamp) error {
	r.unmap()
	if now.Size < metaSize {
		return errCorrupt
	}
	data, err := dbfile.Map(r.fd, now.Size)
	if err != nil {
		return err
	}
	r.mapping, r.mapped = data, now
	err = dbfile.Guarded(errCorrupt, func() error {
		r.im, err = parse(data, r.btree)
		return err
	})
	if err != nil {
		r.unmap()
	}
	return err
}

func (r *reader) locking(f func(im *image) error) error {
	if err := r.acquire(); err != nil {
		return err
	}
	defer r.mu.Unlock()
	return dbfile.Guarded(errCorrupt, func() error { return f(r.im) })
}

// access runs f on the current content.
func (r *reader) access(f func(im *image) error) error {
	err := r.locking(f)
	if err == nil {
		return nil
	}
	if err == errCorrupt {
		err = unix.EINVAL
		r.unlockNow() // look again next time
	}
	return dbfile.Failed(r.quiet, "reading", r.path, syserr.Text(err))
}

// Lookup finds the value of a key.
func (r *reader) Lookup(key string) (value string, found bool, err error) {
	err = r.access(func(im *image) error {
		get := im.hashLookup
		if im.btree {
			get = im.btreeLookup
		}
		v, ok, err := r.null.Find(key, get)
		if ok {
			value, found = dbfile.Text(v), true
		}
		return err
	})
	return value, found, err
}

// Cursor lists a hash table by buckets, a btree by keys.
func (r *reader) Cursor() (table.Cursor, error) { return &readerCursor{r: r}, nil }

type readerCursor struct {
	r     *reader
	scan  scanner
	ready []pair
}

// Next returns the next entry.
func (c *readerCursor) Next() (key, value string, ok bool, err error) {
	for len(c.ready) == 0 {
		err := c.r.access(func(im *image) error {
			var err error
			c.ready, ok, err = c.scan.next(im)
			return err
		})
		if err != nil || !ok {
			return "", "", false, err
		}
	}
	p := c.ready[0]
	c.ready = c.ready[1:]
	return dbfile.Text(p.key), dbfile.Text(p.value), true, nil
}
