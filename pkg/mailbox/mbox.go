package mailbox

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"syscall"
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/safefile"
	"suffix/pkg/syserr"
)

// Locking says how mbox files are locked (spec delivery §5).
type Locking struct {
	Flock, Fcntl, Dotlock bool
	Attempts              int           // deliver_lock_attempts
	Delay                 time.Duration // deliver_lock_delay
	Stale                 time.Duration // stale_lock_time
}

// ParseLocking reads a list of lock methods, "fcntl, dotlock".
func ParseLocking(parameter, value string) (l Locking, err error) {
	for _, word := range strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }) {
		switch strings.ToLower(word) {
		case "flock":
			l.Flock = true
		case "fcntl":
			l.Fcntl = true
		case "dotlock":
			l.Dotlock = true
		default:
			return l, fmt.Errorf("unknown %s value \"%s\" in \"%s\"", parameter, word, value)
		}
	}
	return l, nil
}

// An OpenError says why a mailbox file could not be opened or locked; its text
// is the reason that the sender sees.
type OpenError struct {
	Reason string
	Status string
}

func (e *OpenError) Error() string { return e.Reason }

// Mbox is an open, locked mailbox file.
type Mbox struct {
	*os.File
	Info    os.FileInfo
	path    string
	dotlock bool
}

// OpenMbox opens a mailbox file for appending, creating it with mode 0600, and
// locks it. Status is the code for errors without one of their own. A tolerant
// caller goes on when the dot lock cannot be made for want of permission.
func OpenMbox(path string, l Locking, status string, tolerant bool) (*Mbox, error) {
	m := &Mbox{path: path}
	if l.Dotlock && lockable(path) {
		err := safefile.DotLock(path, l.Attempts, l.Delay, l.Stale)
		switch {
		case err == nil:
			m.dotlock = true
		case errors.Is(err, fs.ErrExist):
			return nil, &OpenError{err.Error(), "4.2.0"}
		case !tolerant:
			return nil, &OpenError{err.Error(), Status(err, status)}
		default:
			maillog.Warnf("%v", err)
		}
	}
	if err := m.open(path, l, status); err != nil {
		m.Close()
		return nil, err
	}
	return m, nil
}

// Close releases the locks.
func (m *Mbox) Close() error {
	var err error
	if m.File != nil {
		err = m.File.Close()
	}
	if m.dotlock {
		if rmErr := safefile.DotUnlock(m.path); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
			maillog.Warnf("%s: cannot remove lock file: %s", m.path, syserr.Text(rmErr))
		}
	}
	return err
}

func (m *Mbox) open(path string, l Locking, status string) error {
	f, err := safefile.Open(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|syscall.O_NONBLOCK, 0o600)
	if err != nil {
		return &OpenError{err.Error(), Status(err, status)}
	}
	m.File = f
	info, err := f.Stat()
	if err != nil {
		return &OpenError{"cannot get file status: " + syserr.Text(err), status}
	}
	m.Info = info
	if !info.Mode().IsRegular() {
		return nil
	}
	if err := kernelLocks(f, l); err != nil {
		code := Status(err, status)
		return &OpenError{"unable to lock for exclusive access: " + syserr.Text(err), code}
	}
	if info, err = f.Stat(); err != nil || links(info) != 1 {
		maillog.Warnf("%s: file status changed unexpectedly", path)
		return &OpenError{"target file status changed unexpectedly", "4.2.0"}
	}
	m.Info = info
	return nil
}

// lockable says whether a dot lock makes sense for the file.
func lockable(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.Mode().IsRegular()
}

func kernelLocks(f *os.File, l Locking) error {
	if l.Flock {
		if err := retry(l, func() error { return safefile.Lock(f, true, false) }); err != nil {
			return err
		}
	}
	if l.Fcntl {
		return retry(l, func() error { return safefile.LockOpenFile(f) })
	}
	return nil
}

func retry(l Locking, lock func() error) error {
	var err error
	for try := range max(l.Attempts, 1) {
		if try > 0 {
			safefile.Pause(l.Delay)
		}
		if err = lock(); !errors.Is(err, syscall.EAGAIN) {
			return err
		}
	}
	return err
}

func links(info os.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink)
	}
	return 1
}
