package cdb

import (
	"fmt"
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"suffix/pkg/syserr"
	"suffix/pkg/table"
	"suffix/pkg/table/dbfile"
)

// reader is a table that is open for lookups. Those of several goroutines run
// side by side.
type reader struct {
	name  string // "cdb:PATH.cdb"
	path  string
	quiet bool // errors are returned, not logged too
	uid   int
	f     *os.File
	first dbfile.Stamp

	mapping sync.RWMutex // held for writing by Close
	im      image        // no data: closed

	mu   sync.Mutex
	null dbfile.Nulls
}

// sequencer is a reader whose entries can be listed. Postfix 3.7 cannot do
// that.
type sequencer struct{ *reader }

func openReader(name string, o table.Options) (table.Table, error) {
	path := name + suffix
	f, err := os.Open(path)
	if err != nil {
		return nil, dbfile.OpenError(path, err)
	}
	r := &reader{name: "cdb:" + path, path: path, quiet: o.Command, f: f, null: dbfile.NullsOf(o.Flags)}
	if err := r.mapFile(); err != nil {
		f.Close()
		return nil, fmt.Errorf("dict_cdbq_open: unable to init %s: %s", path, syserr.Text(err))
	}
	if info, err := f.Stat(); err == nil {
		dbfile.WarnIfOlder(name, suffix, info)
	}
	if o.Dialect37() {
		return r, nil
	}
	return sequencer{r}, nil
}

func (r *reader) mapFile() error {
	var st unix.Stat_t
	if err := unix.Fstat(int(r.f.Fd()), &st); err != nil {
		return err
	}
	r.uid, r.first = int(st.Uid), dbfile.StampOf(&st)
	if st.Size < headerSize || st.Size > maxSize {
		return errCorrupt
	}
	data, err := dbfile.Map(int(r.f.Fd()), st.Size)
	if err != nil {
		return err
	}
	err = dbfile.Guarded(errCorrupt, func() error {
		var err error
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

// Flags tells clients of proxymap how keys are stored.
func (r *reader) Flags() table.Flags {
	r.mu.Lock()
	defer r.mu.Unlock()
	return table.FixedKeys | table.Flags(r.null)
}

// Changed compares the file's time and looks whether it still has a name.
func (r *reader) Changed() bool {
	r.mapping.RLock()
	defer r.mapping.RUnlock()
	return r.im.data == nil || dbfile.Replaced(int(r.f.Fd()), r.first)
}

// Close unmaps the file.
func (r *reader) Close() error {
	r.mapping.Lock()
	defer r.mapping.Unlock()
	dbfile.Unmap(r.im.data, r.path)
	r.im = image{}
	return r.f.Close()
}

// access runs f on the content.
func (r *reader) access(f func(im image) error) error {
	r.mapping.RLock()
	defer r.mapping.RUnlock()
	err := os.ErrClosed
	if r.im.data != nil {
		err = dbfile.Guarded(errCorrupt, func() error { return f(r.im) })
	}
	if err != nil {
		return dbfile.Failed(r.quiet, "reading", r.path, syserr.Text(err))
	}
	return nil
}

// Lookup finds the value of a key.
func (r *reader) Lookup(key string) (value string, found bool, err error) {
	err = r.access(func(im image) error {
		r.mu.Lock()
		null := r.null
		r.mu.Unlock()
		before := null
		v, ok, err := null.Find(key, im.lookup)
		if ok {
			value, found = dbfile.Text(v), true
		}
		if null != before {
			r.mu.Lock()
			r.null = null
			r.mu.Unlock()
		}
		return err
	})
	return value, found, err
}

// Cursor lists the records in the order in which they were written.
func (s sequencer) Cursor() (table.Cursor, error) { return &cursor{s.reader, headerSize}, nil }

type cursor struct {
	r   *reader
	pos uint32
}

// Next returns the next record.
func (c *cursor) Next() (key, value string, ok bool, err error) {
	err = c.r.access(func(im image) error {
		k, v, after, more, err := im.next(c.pos)
		key, value, ok, c.pos = dbfile.Text(k), dbfile.Text(v), more, after
		return err
	})
	return key, value, ok, err
}
