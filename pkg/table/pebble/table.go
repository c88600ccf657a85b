// Package pebble has the table type pebble: a sorted table for very many
// entries, in the file NAME.sst. The file is an sstable as the Pebble database
// makes them; postmap(1) writes it whole and renames it into place.
//
// This package reads such tables, without the database's library: programs that
// only look up keys are spared its start and its memory. The file is mapped; its
// blocks are not compressed, and all processes share one copy of them. A key is
// found by a search in the index and one in a block, so that no filter is needed
// for keys that are not there. The package store writes tables.
//
// Keys and values are stored without trailing NULs; -N of postmap(1) has no
// effect.
package pebble

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"suffix/pkg/syserr"
	"suffix/pkg/table"
	"suffix/pkg/table/dbfile"
)

// Type is the name of the table type.
const Type = "pebble"

// Suffix of the file behind a table.
const Suffix = ".sst"

// DatabaseSuffix of the directory behind a cache of a daemon.
const DatabaseSuffix = ".pebble"

func init() { table.Register(Type, table.Type{Open: open, Bulk: true}) }

// Hooks of programs that are linked with the database's library. Where one is
// nil, the program cannot do that.
var (
	// OpenStore opens a table for writing (package store).
	OpenStore table.Opener
	// OpenDatabase reads the cache of a daemon, the directory name with
	// DatabaseSuffix (package cache).
	OpenDatabase table.Opener
)

func open(typ, name string, o table.Options) (table.Table, error) {
	if o.Mode == table.ReadOnly {
		return openReader(typ, name, o)
	}
	if OpenStore == nil {
		return nil, fmt.Errorf("%s:%s map requires O_RDONLY access mode", typ, name)
	}
	return OpenStore(typ, name, o)
}

// OpenError is the reason why a table cannot be opened.
func OpenError(path string, err error) error {
	if err == errCorrupt {
		err = unix.EINVAL
	}
	return dbfile.OpenError(path, err)
}

// reader is a table that is open for lookups. Its file does not change: a new
// one takes its place.
type reader struct {
	name  string
	path  string
	quiet bool
	f     *os.File
	first dbfile.Stamp
	uid   int

	mu sync.RWMutex // against Close
	im *image       // nil: closed
}

func openReader(typ, name string, o table.Options) (table.Table, error) {
	path := name + Suffix
	f, err := os.Open(path)
	if os.IsNotExist(err) && OpenDatabase != nil {
		if info, err := os.Stat(name + DatabaseSuffix); err == nil && info.IsDir() {
			return OpenDatabase(typ, name, o)
		}
	}
	if err != nil {
		return nil, OpenError(path, err)
	}
	r := &reader{name: typ + ":" + path, path: path, quiet: o.Command, f: f}
	if err := r.load(); err != nil {
		f.Close()
		return nil, OpenError(path, err)
	}
	if info, err := f.Stat(); err == nil && o.Flags&table.Lock != 0 {
		dbfile.WarnIfOlder(name, Suffix, info)
	}
	return r, nil
}

func (r *reader) load() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(r.f.Fd()), &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG || st.Size < int64(footerSize) {
		return errCorrupt
	}
	r.first, r.uid = dbfile.StampOf(&st), int(st.Uid)
	data, err := dbfile.Map(int(r.f.Fd()), st.Size)
	if err != nil {
		return err
	}
	err = dbfile.Guarded(errCorrupt, func() (err error) {
		r.im, err = parse(data)
		return err
	})
	if err != nil {
		dbfile.Unmap(data, r.path)
	}
	return err
}

func (r *reader) Name() string                 { return r.name }
func (r *reader) Fixed() bool                  { return true }
func (r *reader) Owner() (uid int, known bool) { return r.uid, true }

// Changed compares the file's time and looks whether it still has a name.
func (r *reader) Changed() bool { return dbfile.Replaced(int(r.f.Fd()), r.first) }

// Close unmaps the file.
func (r *reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.im == nil {
		return os.ErrClosed
	}
	data := r.im.data
	dbfile.Unmap(data[:cap(data)], r.path)
	r.im = nil
	return r.f.Close()
}

// access runs f on the content.
func (r *reader) access(f func(im *image) error) error {
	r.mu.RLock()
	defer r.mu.RUnlock()
	err := os.ErrClosed
	if r.im != nil {
		err = dbfile.Guarded(errCorrupt, func() error { return f(r.im) })
	}
	if err == nil {
		return nil
	}
	if err == errCorrupt {
		err = unix.EINVAL
	}
	return dbfile.Failed(r.quiet, "reading", r.path, syserr.Text(err))
}

// Lookup finds the value of a key.
func (r *reader) Lookup(key string) (value string, found bool, err error) {
	err = r.access(func(im *image) error {
		v, ok, err := im.lookup([]byte(key))
		if ok {
			value, found = dbfile.Text(v), true
		}
		return err
	})
	return value, found, err
}

// Cursor lists the table by keys.
func (r *reader) Cursor() (table.Cursor, error) { return &cursor{r: r}, nil }

type cursor struct {
	r     *reader
	scan  scanner
	ready []pair
	next  int   // in ready
	err   error // what comes after ready
	end   bool
}

type pair struct{ key, value string }

// batch is how many entries a cursor copies at a time.
const batch = 64

// Next returns the next entry.
func (c *cursor) Next() (key, value string, ok bool, err error) {
	if c.next == len(c.ready) {
		if c.end {
			return "", "", false, c.err
		}
		c.fill()
		return c.Next()
	}
	p := c.ready[c.next]
	c.next++
	return p.key, p.value, true, nil
}

func (c *cursor) fill() {
	c.ready, c.next = c.ready[:0], 0
	c.err = c.r.access(func(im *image) error {
		c.scan.im = im
		for len(c.ready) < batch {
			k, v, ok, err := c.scan.Next()
			if err != nil || !ok {
				c.end = true
				return err
			}
			c.ready = append(c.ready, pair{dbfile.Text(k), dbfile.Text(v)})
		}
		return nil
	})
	if c.err != nil {
		c.end = true
	}
}
