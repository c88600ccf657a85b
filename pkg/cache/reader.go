package cache

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"syscall"

	pebbledb "github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/vfs"

	"suffix/pkg/maillog"
	"suffix/pkg/table"
	"suffix/pkg/table/dbfile"
	"suffix/pkg/table/pebble"
)

func init() { pebble.OpenDatabase = openReader }

// reader is a table for postmap(1): the database of a cache as it was at one
// moment. The daemon may be using it and goes on meanwhile; nothing is locked.
type reader struct {
	name  string
	path  string
	uid   int
	quiet bool

	mu   sync.Mutex
	db   *pebbledb.DB
	view *snapshot
}

func openReader(typ, name string, o table.Options) (table.Table, error) {
	path := name + pebble.DatabaseSuffix
	r := &reader{name: typ + ":" + path, path: path, quiet: o.Command}
	info, err := os.Stat(path)
	if err == nil {
		if st, ok := info.Sys().(*syscall.Stat_t); ok {
			r.uid = int(st.Uid)
		}
		err = r.open()
	}
	if err != nil {
		return nil, fmt.Errorf("open database %s: %s", path, reason(err))
	}
	return r, nil
}

func (r *reader) open() (err error) {
	if r.view, err = takeSnapshot(r.path); err != nil {
		return err
	}
	err = r.guard(func() (err error) {
		r.db, err = pebbledb.Open(".", &pebbledb.Options{FS: r.view, ReadOnly: true, Logger: logger{}, MaxOpenFiles: openFiles,
			EventListener: &pebbledb.EventListener{DataCorruption: func(pebbledb.DataCorruptionInfo) {}}})
		return err
	})
	if err != nil {
		r.view.close()
	}
	return err
}

// guard is that of a database.
func (r *reader) guard(f func() error) error { return new(database).guard(f) }

func (r *reader) Name() string                 { return r.name }
func (r *reader) Fixed() bool                  { return true }
func (r *reader) Owner() (uid int, known bool) { return r.uid, true }

// Changed is false: a cache always changes.
func (r *reader) Changed() bool { return false }

func (r *reader) access(f func() error) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	err := os.ErrClosed
	if r.db != nil {
		err = r.guard(f)
	}
	if err != nil {
		return dbfile.Failed(r.quiet, "reading", r.path, reason(err))
	}
	return nil
}

func (r *reader) Lookup(key string) (value string, found bool, err error) {
	err = r.access(func() error {
		v, closer, err := r.db.Get([]byte(key))
		if errors.Is(err, pebbledb.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		value, found = dbfile.Text(v), true
		return closer.Close()
	})
	return value, found, err
}

func (r *reader) Cursor() (table.Cursor, error) {
	return &dbCursor{each: func(from []byte, f func(key, value []byte) bool) error {
		return r.access(func() error { return list(r.db, from, f) })
	}}, nil
}

func (r *reader) Close() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.db == nil {
		return os.ErrClosed
	}
	err := r.guard(r.db.Close)
	r.db = nil
	r.view.close()
	return err
}

// A snapshot is a directory as it was at one moment: its files, open. They can
// still be read when the daemon has removed them, and what is appended to them
// afterwards does not count.
type snapshot struct {
	vfs.FS // paths
	files  map[string]opening
}

// opening is an open file, and how much of it counts.
type opening struct {
	*os.File
	size int64
}

// snapshotAttempts bounds how often a moment is sought at which the directory
// stands still.
const snapshotAttempts = 1000

func takeSnapshot(path string) (*snapshot, error) {
	root, err := os.OpenRoot(path)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	fs := newRootFS(root, 0)
	for range snapshotAttempts {
		before, err := fs.List(".")
		if err != nil {
			return nil, err
		}
		s := &snapshot{FS: vfs.Default, files: make(map[string]opening)}
		gone, err := s.open(root, before)
		if err != nil {
			s.close()
			return nil, err
		}
		after, err := fs.List(".")
		if err != nil {
			s.close()
			return nil, err
		}
		slices.Sort(before)
		slices.Sort(after)
		if !gone && slices.Equal(before, after) && s.manifestsStand(root) {
			return s, nil
		}
		s.close()
	}
	return nil, fmt.Errorf("%s changes too fast", path)
}

// open opens the files; gone says that one was removed meanwhile.
func (s *snapshot) open(root *os.Root, names []string) (gone bool, err error) {
	for _, name := range names {
		f, err := root.Open(name)
		if os.IsNotExist(err) {
			return true, nil
		}
		if err != nil {
			return false, err
		}
		info, err := f.Stat()
		if err != nil || !info.Mode().IsRegular() {
			if err := errors.Join(err, f.Close()); err != nil {
				return false, err
			}
			continue
		}
		s.files[name] = opening{f, info.Size()}
	}
	return false, nil
}

// manifestsStand says that no file has come into use, or gone out of use, while
// the files were opened: that is noted in the manifest.
func (s *snapshot) manifestsStand(root *os.Root) bool {
	for name, f := range s.files {
		if len(name) < 8 || name[:8] != "MANIFEST" {
			continue
		}
		if info, err := root.Stat(name); err != nil || info.Size() != f.size {
			return false
		}
	}
	return true
}

func (s *snapshot) close() {
	for name, f := range s.files {
		if err := f.Close(); err != nil {
			maillog.Warnf("close %s: %v", name, err)
		}
	}
}

func (s *snapshot) Open(name string, _ ...vfs.OpenOption) (vfs.File, error) {
	f, ok := s.files[name]
	if !ok {
		return nil, &os.PathError{Op: "open", Path: name, Err: os.ErrNotExist}
	}
	return &view{io.NewSectionReader(f, 0, f.size), f}, nil
}

func (s *snapshot) List(string) ([]string, error) {
	names := make([]string, 0, len(s.files))
	for name := range s.files {
		names = append(names, name)
	}
	return names, nil
}

func (s *snapshot) Stat(name string) (vfs.FileInfo, error) {
	f, ok := s.files[name]
	if !ok {
		return nil, &os.PathError{Op: "stat", Path: name, Err: os.ErrNotExist}
	}
	return (&view{nil, f}).Stat()
}

func (s *snapshot) OpenDir(string) (vfs.File, error)           { return &view{}, nil }
func (s *snapshot) Lock(string) (io.Closer, error)             { return io.NopCloser(nil), nil }
func (s *snapshot) MkdirAll(string, os.FileMode) error         { return nil }
func (s *snapshot) GetDiskUsage(string) (vfs.DiskUsage, error) { return vfs.DiskUsage{}, nil }
func (s *snapshot) Unwrap() vfs.FS                             { return nil }
func (s *snapshot) Link(string, string) error                  { return syscall.EROFS }
func (s *snapshot) Rename(string, string) error                { return syscall.EROFS }
func (s *snapshot) Remove(string) error                        { return syscall.EROFS }
func (s *snapshot) RemoveAll(string) error                     { return syscall.EROFS }
func (s *snapshot) Create(string, vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, syscall.EROFS
}
func (s *snapshot) OpenReadWrite(string, vfs.DiskWriteCategory, ...vfs.OpenOption) (vfs.File, error) {
	return nil, syscall.EROFS
}
func (s *snapshot) ReuseForWrite(string, string, vfs.DiskWriteCategory) (vfs.File, error) {
	return nil, syscall.EROFS
}

// view is a file of a snapshot.
type view struct {
	*io.SectionReader
	of opening
}

func (v *view) Stat() (vfs.FileInfo, error) {
	info, err := v.of.Stat()
	return sized{fileInfo{info}, v.of.size}, err
}

func (v *view) Close() error                       { return nil }
func (v *view) Write([]byte) (int, error)          { return 0, syscall.EROFS }
func (v *view) WriteAt([]byte, int64) (int, error) { return 0, syscall.EROFS }
func (v *view) Sync() error                        { return nil }
func (v *view) SyncData() error                    { return nil }
func (v *view) SyncTo(int64) (bool, error)         { return true, nil }
func (v *view) Preallocate(int64, int64) error     { return nil }
func (v *view) Prefetch(int64, int64) error        { return nil }
func (v *view) Fd() uintptr                        { return vfs.InvalidFd }

type sized struct {
	fileInfo
	size int64
}

func (s sized) Size() int64 { return s.size }
