package bdb

import (
	"fmt"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
)

// lockTime is how long a reader keeps its shared lock for the lookups that
// follow. Whoever wants to write waits so much longer at most.
const lockTime = 5 * time.Millisecond

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
	first stamp // when it was opened

	mu      sync.Mutex
	locked  bool
	unlock  *time.Timer // ends the lock
	closed  bool
	mapping []byte
	mapped  stamp
	im      *image
	null    nulls
	stat    unix.Stat_t
}

// stamp tells one state of a file from another.
type stamp struct {
	size  int64
	mtime unix.Timespec
}

func stampOf(st *unix.Stat_t) stamp { return stamp{st.Size, st.Mtim} }

func openReader(typ, name string, o table.Options) (table.Table, error) {
	path := name + suffix
	f, err := os.Open(path)
	if err != nil {
		return nil, openError(path, err)
	}
	r := &reader{name: typ + ":" + path, path: path, btree: typ == "btree", lock: o.Flags&table.Lock != 0, quiet: o.Command,
		f: f, fd: int(f.Fd()), null: nullsOf(o.Flags)}
	if err := r.lockAndMap(); err != nil {
		f.Close()
		return nil, openError(path, err)
	}
	r.endLock()
	r.first = r.mapped
	r.uid = int(r.stat.Uid)
	if info, err := f.Stat(); err == nil && r.lock {
		warnIfOlder(name, info)
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
	var st unix.Stat_t
	if err := unix.Fstat(r.fd, &st); err != nil {
		return true
	}
	return st.Nlink == 0 || st.Mtim != r.first.mtime
}

// Close unmaps the file.
func (r *reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed, r.locked = true, false
	if r.unlock != nil {
		r.unlock.Stop()
	}
	r.unmap()
	return r.f.Close()
}

func (r *reader) unmap() {
	if r.mapping != nil {
		if err := unix.Munmap(r.mapping); err != nil {
			maillog.Warnf("munmap %s: %s", r.path, syserr.Text(err))
		}
	}
	r.mapping, r.im = nil, nil
}

func flock(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); err != unix.EINTR {
			return err
		}
	}
}

// acquire locks table and file, and maps the file anew if it has changed. The
// file's lock ends by itself; the caller ends that of the table.
func (r *reader) acquire() error {
	r.mu.Lock()
	if r.locked {
		return nil
	}
	if err := r.lockAndMap(); err != nil {
		r.endLock()
		r.mu.Unlock()
		return err
	}
	if r.locked {
		if r.unlock == nil {
			r.unlock = time.AfterFunc(lockTime, r.unlockNow)
		} else {
			r.unlock.Reset(lockTime)
		}
	}
	return nil
}

func (r *reader) lockAndMap() error {
	if r.closed {
		return os.ErrClosed
	}
	if r.lock {
		if err := flock(r.fd, unix.LOCK_SH); err != nil {
			return err
		}
		r.locked = true
	}
	if err := unix.Fstat(r.fd, &r.stat); err != nil {
		return err
	}
	if now := stampOf(&r.stat); r.im == nil || now != r.mapped {
		return r.remap(now)
	}
	return nil
}

func (r *reader) unlockNow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.endLock()
}

func (r *reader) endLock() {
	if !r.locked {
		return
	}
	r.locked = false
	if err := flock(r.fd, unix.LOCK_UN); err != nil {
		maillog.Warnf("%s: unlock dictionary: %s", r.path, syserr.Text(err))
	}
}

func (r *reader) remap(now stamp) error {
	r.unmap()
	if now.size < metaSize {
		return errCorrupt
	}
	if int64(int(now.size)) != now.size {
		return unix.EFBIG
	}
	data, err := unix.Mmap(r.fd, 0, int(now.size), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return err
	}
	r.mapping, r.mapped = data, now
	err = guarded(func() error {
		r.im, err = parse(data, r.btree)
		return err
	})
	if err != nil {
		r.unmap()
	}
	return err
}

// guarded runs f, which reads mapped memory. Where a program that does not
// lock cuts the file short meanwhile, the access faults; that is an error, not
// the end of the process.
func guarded(f func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if r := recover(); r != nil {
			if _, fault := r.(interface{ Addr() uintptr }); !fault {
				panic(r)
			}
			err = errCorrupt
		}
	}()
	return f()
}

func (r *reader) locking(f func(im *image) error) error {
	if err := r.acquire(); err != nil {
		return err
	}
	defer r.mu.Unlock()
	return guarded(func() error { return f(r.im) })
}

// access runs f on the current content.
func (r *reader) access(f func(im *image) error) error {
	err := r.locking(f)
	if err == nil {
		return nil
	}
	reason := syserr.Text(err)
	if err == errCorrupt {
		reason = "Invalid argument"
		r.unlockNow() // look again next time
	}
	if !r.quiet {
		maillog.Logf(maillog.Error, "error reading %s: %s", r.path, reason)
	}
	return &table.Error{Err: fmt.Errorf("error reading %s: %s", r.path, reason)}
}

// Lookup finds the value of a key.
func (r *reader) Lookup(key string) (value string, found bool, err error) {
	err = r.access(func(im *image) error {
		get := im.hashLookup
		if im.btree {
			get = im.btreeLookup
		}
		v, ok, err := r.null.find(key, get)
		if ok {
			value, found = text(v), true
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
	return text(p.key), text(p.value), true, nil
}
