package mailbox

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"suffix/pkg/maillog"
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
	dotlock string
}

// OpenMbox opens a mailbox file for appending, creating it with mode 0600, and
// locks it. Status is the code for errors without one of their own. A tolerant
// caller goes on when the dot lock cannot be made for want of permission.
func OpenMbox(path string, l Locking, status string, tolerant bool) (*Mbox, error) {
	m := &Mbox{}
	if l.Dotlock && lockable(path) {
		if err := dotlock(path+".lock", l); err == nil {
			m.dotlock = path + ".lock"
		} else {
			reason := fmt.Sprintf("unable to create lock file %s.lock: %s", path, syserr.Text(err))
			code := Status(err, status)
			if errors.Is(err, fs.ErrExist) {
				code = "4.2.0"
			}
			if !tolerant || errors.Is(err, fs.ErrExist) {
				return nil, &OpenError{reason, code}
			}
			maillog.Warnf("%s", reason)
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
	if m.dotlock != "" {
		if rmErr := os.Remove(m.dotlock); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
			maillog.Warnf("%s: cannot remove lock file: %s", m.dotlock, syserr.Text(rmErr))
		}
	}
	return err
}

func (m *Mbox) open(path string, l Locking, status string) error {
	f, info, err := openAppend(path)
	if err != nil {
		var refused *refusal
		if errors.As(err, &refused) {
			return &OpenError{refused.reason, status}
		}
		return &OpenError{err.Error(), Status(err, status)}
	}
	m.File, m.Info = f, info
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

// refusal is an unsafe file.
type refusal struct{ reason string }

func (r *refusal) Error() string { return r.reason }

// openError carries the error number along with Postfix's words.
type openError struct {
	what string
	err  error
}

func (e *openError) Error() string { return e.what + ": " + syserr.Text(e.err) }
func (e *openError) Unwrap() error { return e.err }

func openAppend(path string) (*os.File, os.FileInfo, error) {
	for range 10 {
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND|syscall.O_NONBLOCK, 0)
		if err == nil {
			info, err := checkOpened(path, f)
			if err != nil {
				f.Close()
			}
			return f, info, err
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, nil, &openError{"cannot open file", err}
		}
		f, err = os.OpenFile(path, os.O_WRONLY|os.O_APPEND|os.O_CREATE|os.O_EXCL, 0o600)
		if err == nil {
			info, err := f.Stat()
			return f, info, err
		}
		if !errors.Is(err, fs.ErrExist) {
			return nil, nil, &openError{"cannot create file exclusively", err}
		}
	}
	return nil, nil, &refusal{"file status changed unexpectedly"}
}

// checkOpened makes sure that the open file is the one that the name says, and
// not what somebody put there to have us write elsewhere.
func checkOpened(path string, f *os.File) (os.FileInfo, error) {
	opened, err := f.Stat()
	if err != nil {
		return nil, &openError{"cannot open file", err}
	}
	if opened.IsDir() {
		return nil, &refusal{"file is a directory"}
	}
	if n := links(opened); n != 1 {
		return nil, &refusal{fmt.Sprintf("file has %d hard links", n)}
	}
	named, err := os.Lstat(path)
	if err != nil {
		return nil, &refusal{"file status changed unexpectedly"}
	}
	if named.Mode().Type() == fs.ModeSymlink {
		parent, err := os.Stat(filepath.Dir(path))
		if err != nil || owner(named) != 0 || owner(parent) != 0 || parent.Mode()&0o022 != 0 {
			return nil, &refusal{"file is a symbolic link"}
		}
		if named, err = os.Stat(path); err != nil {
			return nil, &refusal{"file status changed unexpectedly"}
		}
	}
	if !os.SameFile(opened, named) {
		return nil, &refusal{"file status changed unexpectedly"}
	}
	return opened, nil
}

func links(info os.FileInfo) uint64 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return uint64(st.Nlink)
	}
	return 1
}

func owner(info os.FileInfo) uint32 {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return st.Uid
	}
	return 0
}

// lockable says whether a dot lock makes sense for the file.
func lockable(path string) bool {
	info, err := os.Stat(path)
	return err != nil || info.Mode().IsRegular()
}

func dotlock(lock string, l Locking) error {
	var err error
	for try := range max(l.Attempts, 1) {
		if try > 0 {
			pause(l.Delay)
		}
		var f *os.File
		if f, err = os.OpenFile(lock, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0); err == nil {
			return f.Close()
		}
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		if stale(lock, l.Stale) {
			if rmErr := os.Remove(lock); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
				return rmErr
			}
		}
	}
	return err
}

func stale(lock string, after time.Duration) bool {
	info, err := os.Lstat(lock)
	if err != nil {
		return false
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && time.Since(time.Unix(st.Ctim.Sec, st.Ctim.Nsec)) > after
}

// pause waits for another program to release a lock, a quarter more or less
// than asked for, so that two waiters do not go in step.
func pause(d time.Duration) {
	time.Sleep(time.Duration(float64(d) * (0.75 + rand.Float64()/2)))
}

func kernelLocks(f *os.File, l Locking) error {
	if l.Flock {
		if err := retry(l, func() error { return unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB) }); err != nil {
			return err
		}
	}
	if l.Fcntl {
		// A lock of the open file, not of the process: other sessions of this
		// process must be kept out too. It conflicts with ordinary ones.
		whole := unix.Flock_t{Type: unix.F_WRLCK, Whence: 0}
		return retry(l, func() error { return unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &whole) })
	}
	return nil
}

func retry(l Locking, lock func() error) error {
	var err error
	for try := range max(l.Attempts, 1) {
		if try > 0 {
			pause(l.Delay)
		}
		err = lock()
		if errors.Is(err, syscall.EACCES) {
			err = syscall.EAGAIN
		}
		if !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
	return err
}
