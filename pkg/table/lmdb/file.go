package lmdb

import (
	"os"

	"golang.org/x/sys/unix"

	"suffix/pkg/table/dbfile"
)

// file is an open database file. Its methods are called under the lock of the
// table; those that read the content need the lock on the file too.
type file struct {
	path string // with suffix
	f    *os.File
	fd   int
	out  writerAt // f, but for tests of crashes

	mapping []byte
	im      image // as of the last refresh
}

func newHandle(path string, f *os.File) *file {
	return &file{path: path, f: f, fd: int(f.Fd()), out: f}
}

// lock locks the file: unix.F_RDLCK, unix.F_WRLCK, unix.F_UNLCK.
func (h *file) lock(how int16) error { return dbfile.RecordLock(h.fd, how) }

func (h *file) unlock() error { return h.lock(unix.F_UNLCK) }

// refresh reads the metas, and maps what the file has grown by.
func (h *file) refresh() error {
	for {
		err := h.parse()
		if err == nil && h.complete() {
			return nil
		}
		size, sizeErr := h.size()
		if sizeErr != nil {
			return sizeErr
		}
		if int64(len(h.mapping)) == size {
			// Pages that are missing are noticed where they are read.
			return err
		}
		if err := h.remap(size); err != nil {
			return err
		}
	}
}

func (h *file) parse() error {
	return dbfile.Guarded(errInvalid, func() error {
		im, err := parse(h.mapping)
		if err == nil {
			h.im = im
		}
		return err
	})
}

// complete says that all pages in use are mapped.
func (h *file) complete() bool {
	return uint64(len(h.mapping))/uint64(h.im.pageSize) > h.im.meta.last
}

func (h *file) size() (int64, error) {
	var st unix.Stat_t
	if err := unix.Fstat(h.fd, &st); err != nil {
		return 0, err
	}
	return st.Size, nil
}

func (h *file) remap(size int64) error {
	h.unmap()
	if size == 0 {
		return errInvalid
	}
	data, err := dbfile.Map(h.fd, size)
	if err != nil {
		return err
	}
	h.mapping = data
	return nil
}

func (h *file) unmap() {
	dbfile.Unmap(h.mapping, h.path)
	h.mapping, h.im = nil, image{}
}

func (h *file) close() error {
	h.unmap()
	return h.f.Close()
}

// owner returns the owner of the file.
func (h *file) owner() (uid int, known bool) {
	var st unix.Stat_t
	if err := unix.Fstat(h.fd, &st); err != nil {
		return 0, false
	}
	return int(st.Uid), true
}

// unlinked says that the file has lost its name. Its time does not matter: a
// reader sees all changes that are made in place.
func (h *file) unlinked() bool {
	var st unix.Stat_t
	return unix.Fstat(h.fd, &st) != nil || st.Nlink == 0
}

// lookup finds a stored key in a tree of users.
func lookup(src pages, t *tree, key []byte) (data []byte, found bool, err error) {
	switch {
	case len(key) == 0:
		return nil, false, errKeySize
	case len(key) > maxKey:
		return nil, false, nil
	}
	return t.get(src, key, byBytes)
}

// failed is the error of an operation on an open table.
func failed(quiet bool, verb, name string, err error) error {
	return dbfile.Failed(quiet, verb, name, reason(err))
}
