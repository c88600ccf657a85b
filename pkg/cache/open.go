package cache

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"suffix/pkg/account"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
	"suffix/pkg/table/dbfile"
	"suffix/pkg/table/pebble"
)

// Options say how a cache is opened.
type Options struct {
	Config table.Config // for data_directory, mail_owner
	Perm   os.FileMode  // of files, 0: 0644
	// Truncate: the cache starts empty, and nothing in it needs to survive the
	// process.
	Truncate bool
}

// fileTypes are the types whose caches are databases of our own, with the
// suffix of the file that Postfix makes.
var fileTypes = map[string]string{
	pebble.Type: "", "btree": ".db", "hash": ".db", "lmdb": ".lmdb", "cdb": ".cdb",
}

// tableFlags are for caches that are tables.
const tableFlags = table.ReplaceDup | table.SyncUpdate | table.OpenLock | table.UTF8Request

// Open finds the cache that main.cf names; with an empty name it is in memory.
// It may be called as root: directories are made and opened as mail_owner, and
// stay open when the process changes its root directory. The database itself is
// opened by Start. Errors are in Postfix's words.
func Open(spec string, o Options) (*Cache, error) {
	typ, name, ok := strings.Cut(spec, ":")
	if spec == "" || ok && typ == "internal" {
		return NewMemory(spec), nil
	}
	if _, isFile := fileTypes[typ]; !isFile || name == "" {
		h := table.Open(spec, table.Options{Mode: table.ReadWrite, Config: o.Config, Perm: o.Perm, Flags: tableFlags, Command: true})
		if err := h.Err(); err != nil {
			return nil, err
		}
		return newCache(spec, tableBackend{h}), nil
	}
	if o.Perm == 0 {
		o.Perm = 0o644
	}
	owner, err := account.Lookup(o.Config.String(params.MailOwner))
	if err != nil {
		return nil, err
	}
	name = place(typ, name, o.Config.String(params.DataDirectory), owner.UID)
	c := newCache(typ+":"+name, nil)
	f := &files{path: name + pebble.DatabaseSuffix, perm: o.Perm, volatile: o.Truncate}
	err = account.WithFileRights(owner, func() error { return f.enter(typ, name) })
	if err == unix.EAGAIN {
		return nil, &LockedError{c.name}
	}
	if err != nil {
		return nil, dbfile.OpenError(f.path, err)
	}
	c.pending = f
	return c, nil
}

// A LockedError says that another process has the cache.
type LockedError struct{ Name string }

func (e *LockedError) Error() string {
	return e.Name + ": unable to get exclusive lock: " + syserr.Text(unix.EAGAIN)
}

// place returns where the cache is: in data_directory, if the directory that
// main.cf names is not one of mail_owner's (spec tables §13.4).
func place(typ, name, data string, owner int) string {
	dir := filepath.Dir(name)
	info, err := os.Stat(dir)
	if err != nil {
		return name // which will be told
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) == owner {
		return name
	}
	maillog.Warnf("request to update table %s:%s in non-postfix directory %s", typ, name, dir)
	maillog.Warnf("redirecting the request to postfix-owned data_directory %s", data)
	return filepath.Join(data, filepath.Base(name))
}

// files is the directory of a database.
type files struct {
	path     string
	perm     os.FileMode
	volatile bool
	root     *os.Root
	lock     *os.File
	old      table.Table // Postfix's file, to be read once; nil: none
	oldName  string
}

// lockPatience is how long an earlier process may need to end. Tests change it.
var lockPatience = 5 * time.Second

const lockInterval = 20 * time.Millisecond

// enter makes and locks the directory.
func (f *files) enter(typ, name string) (err error) {
	made := false
	switch err := os.Mkdir(f.path, dirMode(f.perm)); {
	case err == nil:
		made = true
	case !os.IsExist(err):
		return err
	}
	if f.root, err = os.OpenRoot(f.path); err != nil {
		return err
	}
	if f.lock, err = f.root.Open("."); err != nil {
		return errors.Join(err, f.root.Close())
	}
	for end := time.Now().Add(lockPatience); ; time.Sleep(lockInterval) {
		err = dbfile.Flock(int(f.lock.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err != unix.EAGAIN || time.Now().After(end) {
			break
		}
	}
	if err != nil {
		f.close()
		return err
	}
	if made && !f.volatile {
		f.findOld(typ, name)
	}
	return nil
}

// findOld opens the file that Postfix has for the cache.
func (f *files) findOld(typ, name string) {
	var failure error
	for _, typ := range []string{typ, "btree", "hash", "lmdb"} {
		suffix := fileTypes[typ]
		if _, err := os.Stat(name + suffix); suffix == "" || err != nil {
			continue
		}
		driver, known := table.LookupType(typ)
		if !known {
			continue
		}
		// Without locks: Postfix's daemon would hold its own until it ends.
		t, err := driver.Open(typ, name, table.Options{Command: true})
		if err == nil {
			f.old, f.oldName = t, name+suffix
			return
		}
		failure = err
	}
	if failure != nil {
		maillog.Warnf("cache %s: earlier content is not used: %s", f.path, failure)
	}
}

func (f *files) close() {
	if f.old != nil {
		if err := f.old.Close(); err != nil {
			maillog.Warnf("close %s: %s", f.oldName, syserr.Text(err))
		}
		f.old = nil
	}
	if err := errors.Join(f.lock.Close(), f.root.Close()); err != nil {
		maillog.Warnf("close %s: %s", f.path, syserr.Text(err))
	}
}

// damaged is the directory in the database's where files go that are of no use.
const damaged = "damaged"

// empty removes all files, or keeps them under damaged.
func (f *files) empty(keep bool) error {
	if err := f.root.RemoveAll(damaged); err != nil {
		return err
	}
	names, err := newRootFS(f.root, f.perm).List(".")
	if err != nil {
		return err
	}
	if keep {
		if err := f.root.Mkdir(damaged, dirMode(f.perm)); err != nil {
			return err
		}
	}
	for _, name := range names {
		if keep {
			err = f.root.Rename(name, damaged+"/"+name)
		} else {
			err = f.root.RemoveAll(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}
