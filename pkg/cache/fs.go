package cache

import (
	"errors"
	"io"
	"os"
	"path/filepath"

	"github.com/cockroachdb/pebble/v2/vfs"
	"golang.org/x/sys/unix"
)

// rootFS gives the library the files of one directory, by its descriptor: the
// daemon may have changed its root directory since it was opened.
type rootFS struct {
	vfs.FS // paths
	root   *os.Root
	perm   os.FileMode
}

func newRootFS(root *os.Root, perm os.FileMode) *rootFS { return &rootFS{vfs.Default, root, perm} }

func (fs *rootFS) Create(name string, _ vfs.DiskWriteCategory) (vfs.File, error) {
	// A new file in any case: others may have the old one open.
	if err := fs.root.Remove(name); err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return fs.open(name, os.O_RDWR|os.O_CREATE|os.O_EXCL)
}

func (fs *rootFS) open(name string, flags int) (vfs.File, error) {
	f, err := fs.root.OpenFile(name, flags, fs.perm)
	if err != nil {
		return nil, err
	}
	return file{f}, nil
}

func (fs *rootFS) Open(name string, options ...vfs.OpenOption) (vfs.File, error) {
	return opened(fs.open(name, os.O_RDONLY))(options)
}

func (fs *rootFS) OpenReadWrite(name string, _ vfs.DiskWriteCategory, options ...vfs.OpenOption) (vfs.File, error) {
	return opened(fs.open(name, os.O_RDWR|os.O_CREATE))(options)
}

func opened(f vfs.File, err error) func(options []vfs.OpenOption) (vfs.File, error) {
	return func(options []vfs.OpenOption) (vfs.File, error) {
		if err == nil {
			for _, o := range options {
				o.Apply(f)
			}
		}
		return f, err
	}
}

func (fs *rootFS) OpenDir(name string) (vfs.File, error) { return fs.open(name, os.O_RDONLY) }
func (fs *rootFS) Link(oldname, newname string) error    { return fs.root.Link(oldname, newname) }
func (fs *rootFS) Remove(name string) error              { return fs.root.Remove(name) }
func (fs *rootFS) RemoveAll(name string) error           { return fs.root.RemoveAll(name) }
func (fs *rootFS) Rename(oldname, newname string) error  { return fs.root.Rename(oldname, newname) }
func (fs *rootFS) MkdirAll(dir string, _ os.FileMode) error {
	return fs.root.MkdirAll(dir, dirMode(fs.perm))
}

// ReuseForWrite does not reuse a log file: a reader may have it open.
func (fs *rootFS) ReuseForWrite(oldname, newname string, category vfs.DiskWriteCategory) (vfs.File, error) {
	if err := fs.root.Remove(oldname); err != nil {
		return nil, err
	}
	return fs.Create(newname, category)
}

// Lock is for the tools of the library; we have the lock on the directory.
func (fs *rootFS) Lock(name string) (io.Closer, error) {
	f, err := fs.root.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_TRUNC, fs.perm)
	if err != nil {
		return nil, err
	}
	lock := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_SETLK, &lock); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

func (fs *rootFS) List(dir string) ([]string, error) {
	f, err := fs.root.Open(dir)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return f.Readdirnames(-1)
}

func (fs *rootFS) Stat(name string) (vfs.FileInfo, error) {
	info, err := fs.root.Stat(name)
	return fileInfo{info}, err
}

func (fs *rootFS) GetDiskUsage(path string) (vfs.DiskUsage, error) {
	f, err := fs.root.Open(path)
	if err != nil {
		return vfs.DiskUsage{}, err
	}
	defer f.Close()
	var st unix.Statfs_t
	if err := unix.Fstatfs(int(f.Fd()), &st); err != nil {
		return vfs.DiskUsage{}, err
	}
	size := uint64(st.Bsize)
	return vfs.DiskUsage{AvailBytes: size * st.Bavail, TotalBytes: size * st.Blocks, UsedBytes: size * (st.Blocks - st.Bfree)}, nil
}

func (fs *rootFS) PathJoin(elem ...string) string { return filepath.Join(elem...) }
func (fs *rootFS) Unwrap() vfs.FS                 { return nil }

// file is a file of the database.
type file struct{ *os.File }

func (f file) Stat() (vfs.FileInfo, error) {
	info, err := f.File.Stat()
	return fileInfo{info}, err
}

func (f file) SyncData() error                   { return unix.Fdatasync(int(f.File.Fd())) }
func (f file) SyncTo(int64) (full bool, _ error) { return true, f.SyncData() }
func (f file) Preallocate(int64, int64) error    { return nil }
func (f file) Prefetch(int64, int64) error       { return nil }
func (f file) Fd() uintptr                       { return vfs.InvalidFd }

// fileInfo does not tell devices apart: there is one.
type fileInfo struct{ os.FileInfo }

func (fileInfo) DeviceID() vfs.DeviceID { return vfs.DeviceID{} }

// dirMode lets those enter a directory who may read files of mode perm.
func dirMode(perm os.FileMode) os.FileMode { return perm | perm>>2&0o111 | 0o700 }
