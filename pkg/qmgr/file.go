package qmgr

import (
	"errors"
	"io"
	"os"

	"suffix/pkg/queue"

	"golang.org/x/sys/unix"
)

// A queueFile is a message file of the active queue that is open for reading.
// It takes one system call where os.File, which tries to wait for regular files
// as for sockets, takes several.
type queueFile struct {
	fd   int
	path string
}

func (m *Manager) openActive(id string) (*queueFile, error) {
	path := m.tree.Path(queue.Active, id)
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC|unix.O_NOFOLLOW, 0)
		if err == nil {
			return &queueFile{fd, path}, nil
		}
		if !errors.Is(err, unix.EINTR) {
			return nil, &os.PathError{Op: "open", Path: path, Err: err}
		}
	}
}

// lock takes the exclusive lock, unless an agent has one.
func (f *queueFile) lock() error {
	for {
		if err := unix.Flock(f.fd, unix.LOCK_EX|unix.LOCK_NB); !errors.Is(err, unix.EINTR) {
			return err
		}
	}
}

// ReadAt implements io.ReaderAt. A file that gives less than was asked for is
// at its end.
func (f *queueFile) ReadAt(p []byte, offset int64) (int, error) {
	for {
		n, err := unix.Pread(f.fd, p, offset)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return 0, &os.PathError{Op: "read", Path: f.path, Err: err}
		case n < len(p):
			return n, io.EOF
		}
		return n, nil
	}
}

// clearMode takes permission bits off the file.
func (f *queueFile) clearMode(bits os.FileMode) error {
	var st unix.Stat_t
	if err := unix.Fstat(f.fd, &st); err != nil {
		return err
	}
	return unix.Fchmod(f.fd, st.Mode&0o777&^uint32(bits))
}

// close gives up the lock with the file. Nothing was written.
func (f *queueFile) close() { _ = unix.Close(f.fd) }
