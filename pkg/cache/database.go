package cache

import (
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/cockroachdb/pebble/v2"
	"golang.org/x/sys/unix"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
)

// database is a cache in files of its own.
type database struct {
	files *files
	db    *pebble.DB // nil: closed, or lost
	write *pebble.WriteOptions

	// Work in the background that has failed, one time after the other.
	failures atomic.Int32
	last     atomic.Pointer[error]
}

// maxFailures is how often work in the background may fail before the database
// is given up. Between two attempts there is a pause.
const (
	maxFailures  = 3
	failurePause = time.Second
)

// backgroundError hears of failed work in the background, which the library
// tries again at once.
func (d *database) backgroundError(err error) {
	d.last.Store(&err)
	n := d.failures.Add(1)
	if n <= maxFailures {
		maillog.Warnf("database %s: %s", d.files.path, reason(err))
	}
	if n >= maxFailures {
		time.Sleep(failurePause)
	}
}

// A failure is trouble with the files.
type failure struct {
	d   *database
	err error
	// lost: the library has given up in the middle of something, so that
	// nothing can be asked of it any more.
	lost bool
}

func (f *failure) Error() string { return reason(f.err) }
func (f *failure) Unwrap() error { return f.err }

// reason is what an error says, on one line.
func reason(err error) string {
	text, _, _ := strings.Cut(syserr.Text(err), "\n")
	return text
}

// openDatabase opens what is there, or starts anew. It returns memory where
// that fails too.
func openDatabase(f *files, c *Cache) backend {
	d := &database{files: f, write: pebble.Sync}
	var err error
	if f.volatile {
		d.write = pebble.NoSync
		err = f.empty(false)
	}
	if err == nil {
		err = d.open()
	}
	if err != nil && !cannotWrite(err) {
		err = d.anew(c, err)
	}
	if err != nil {
		return d.giveUp(c, err)
	}
	if f.old != nil {
		d.importOld()
	}
	return d
}

// cannotWrite says that the trouble is not in the files themselves.
func cannotWrite(err error) bool {
	for _, e := range []unix.Errno{unix.ENOSPC, unix.EDQUOT, unix.EROFS, unix.EACCES, unix.EPERM, unix.EMFILE, unix.ENFILE, unix.ENOMEM, unix.EFBIG} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// anew sets the files aside.
func (d *database) anew(c *Cache, cause error) error {
	c.log.Warnf("%s: damaged database %s starts anew, its files are in %s: %s", c.name, d.files.path, damaged, reason(cause))
	if err := d.files.empty(true); err != nil {
		return err
	}
	d.failures.Store(0)
	return d.open()
}

func (d *database) giveUp(c *Cache, cause error) backend {
	c.log.Warnf("%s: database %s: %s -- keeping entries in memory, until this process ends", c.name, d.files.path, reason(cause))
	d.files.close()
	return newMemory()
}

// recover goes on after a failure.
func (d *database) recover(c *Cache, f *failure) backend {
	corrupt := pebble.IsCorruptionError(f.err)
	if !f.lost {
		if err := d.shut(); err != nil {
			c.log.Warnf("%s: close: %s", c.name, reason(err))
		}
	}
	d.db = nil
	if corrupt && !f.lost {
		next := &database{files: d.files, write: d.write}
		err := next.anew(c, f.err)
		if err == nil {
			return next
		}
		f.err = err
	}
	return d.giveUp(c, f.err)
}

// The library's settings for a small database.
const (
	memTable  = 512 << 10
	blocks    = 1 << 20 // cache of blocks
	openFiles = 64
)

func (d *database) open() error {
	return d.guard(func() error {
		o := &pebble.Options{
			FS: newRootFS(d.files.root, d.files.perm), Logger: logger{}, DisableWAL: d.files.volatile,
			CacheSize: blocks, MemTableSize: memTable, MaxOpenFiles: openFiles,
			EventListener: &pebble.EventListener{
				BackgroundError: d.backgroundError,
				FlushEnd:        func(i pebble.FlushInfo) { d.succeeded(i.Err) },
				CompactionEnd:   func(i pebble.CompactionInfo) { d.succeeded(i.Err) },
				DataCorruption:  func(pebble.DataCorruptionInfo) {}, // whoever reads the data gets the error
			},
		}
		db, err := pebble.Open(".", o)
		if err == nil {
			d.db = db
		}
		return err
	})
}

func (d *database) succeeded(err error) {
	if err == nil {
		d.failures.Store(0)
	}
}

// guard runs an operation of the library, unless work in the background has
// failed too often.
func (d *database) guard(f func() error) error {
	if d.failures.Load() >= maxFailures {
		// Damaged files can be closed and set aside as ever.
		err := *d.last.Load()
		return &failure{d, err, !pebble.IsCorruptionError(err)}
	}
	return d.run(f)
}

// run runs an operation of the library, which ends the program where it does
// not know better, or panics.
func (d *database) run(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			d.db = nil
			err = &failure{d, fmt.Errorf("%v", r), true}
		}
	}()
	if err := f(); err != nil {
		return &failure{d, err, false}
	}
	return nil
}

// logger hears what the library has to say.
type logger struct{}

func (logger) Infof(string, ...any)              {}
func (logger) Errorf(format string, args ...any) { maillog.Debugf("pebble: "+format, args...) }
func (logger) Fatalf(format string, args ...any) {
	// In the course of an operation, guard takes over. Work in the background
	// has locks that nobody would give back: only a new process can go on.
	var stack [64]uintptr
	frames := runtime.CallersFrames(stack[:runtime.Callers(2, stack[:])])
	for {
		frame, more := frames.Next()
		if strings.HasSuffix(frame.Function, "cache.(*database).run") {
			panic(fmt.Sprintf(format, args...))
		}
		if !more {
			break
		}
	}
	maillog.Fatalf("database: "+format, args...)
}

func (d *database) get(key string) (value string, found bool, err error) {
	err = d.guard(func() error {
		v, closer, err := d.db.Get([]byte(key))
		if errors.Is(err, pebble.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		value, found = string(v), true
		return closer.Close()
	})
	return value, found, err
}

func (d *database) put(key, value string) error {
	return d.guard(func() error { return d.db.Set([]byte(key), []byte(value), d.write) })
}

func (d *database) del(key string) (found bool, err error) {
	if _, found, err = d.get(key); err != nil || !found {
		return false, err
	}
	return true, d.guard(func() error { return d.db.Delete([]byte(key), d.write) })
}

func (d *database) shut() error {
	if d.db == nil {
		return nil
	}
	return d.run(func() error { return d.db.Close() })
}

func (d *database) close() error {
	err := d.shut()
	d.db = nil
	d.files.close()
	return err
}

func (d *database) cursor() (table.Cursor, error) {
	return &dbCursor{each: func(from []byte, f func(key, value []byte) bool) error {
		if d.db == nil {
			return nil // what the cursor was made for is gone
		}
		return d.guard(func() error { return list(d.db, from, f) })
	}}, nil
}

// list calls f with the entries from a key on, until it returns false.
func list(db *pebble.DB, from []byte, f func(key, value []byte) bool) error {
	it, err := db.NewIter(&pebble.IterOptions{LowerBound: from})
	if err != nil {
		return err
	}
	for ok := it.First(); ok && f(it.Key(), it.Value()); ok = it.Next() {
	}
	return it.Close()
}

// dbCursor lists the entries in the order of keys. Between two portions of them
// nothing is held.
type dbCursor struct {
	each  func(from []byte, f func(key, value []byte) bool) error
	ready []pair
	from  []byte // where the next portion begins
	end   bool
}

type pair struct{ key, value string }

const portion = 64

func (c *dbCursor) Next() (key, value string, ok bool, err error) {
	if len(c.ready) == 0 && !c.end {
		err := c.each(c.from, func(key, value []byte) bool {
			c.ready = append(c.ready, pair{string(key), string(value)})
			return len(c.ready) < portion
		})
		if err != nil {
			return "", "", false, err
		}
		if c.end = len(c.ready) < portion; len(c.ready) > 0 {
			c.from = append([]byte(c.ready[len(c.ready)-1].key), 0)
		}
	}
	if len(c.ready) == 0 {
		return "", "", false, nil
	}
	p := c.ready[0]
	c.ready = c.ready[1:]
	return p.key, p.value, true, nil
}

// importBatch is how much is imported at once, in bytes.
const importBatch = 4 << 20

// importOld takes over what Postfix's daemon has known.
func (d *database) importOld() {
	f := d.files
	n := 0
	err := d.guard(func() error {
		scan, ok := f.old.(table.Sequencer)
		if !ok {
			return fmt.Errorf("no listing of %s", f.oldName)
		}
		cursor, err := scan.Cursor()
		if err != nil {
			return err
		}
		batch := d.db.NewBatch()
		for {
			key, value, more, err := cursor.Next()
			if err != nil || !more {
				return errors.Join(err, batch.Commit(d.write))
			}
			if key == "" || len(key)+len(value) > maxEntry {
				continue
			}
			n++
			if err := batch.Set([]byte(key), []byte(value), nil); err != nil {
				return err
			}
			if batch.Len() > importBatch {
				if err := batch.Commit(d.write); err != nil {
					return err
				}
				batch = d.db.NewBatch()
			}
		}
	})
	if err != nil {
		maillog.Warnf("cache %s: earlier content in %s: %s", f.path, f.oldName, reason(err))
	} else {
		maillog.Infof("cache %s: %d entries taken over from %s", f.path, n, f.oldName)
	}
	if err := f.old.Close(); err != nil {
		maillog.Warnf("close %s: %s", f.oldName, syserr.Text(err))
	}
	f.old = nil
}
