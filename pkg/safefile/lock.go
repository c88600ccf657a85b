package safefile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Lock takes a flock(2) lock, shared or exclusive. With wait false it fails at
// once where another process holds a conflicting lock, with EAGAIN
// (errors.Is(err, unix.EAGAIN)).
func Lock(f *os.File, exclusive, wait bool) error {
	how := unix.LOCK_SH
	if exclusive {
		how = unix.LOCK_EX
	}
	if !wait {
		how |= unix.LOCK_NB
	}
	return flock(f, how)
}

// Unlock releases the flock(2) lock.
func Unlock(f *os.File) error { return flock(f, unix.LOCK_UN) }

func flock(f *os.File, how int) error {
	for {
		err := unix.Flock(int(f.Fd()), how)
		if err != unix.EINTR {
			if err != nil {
				return Cause(err)
			}
			return nil
		}
	}
}

// LockFcntl takes a POSIX record lock on the whole file, as programs do that
// agree on fcntl(2). Such a lock belongs to the process: it ends as soon as
// the process closes any descriptor of the file, and does not keep two
// goroutines apart.
func LockFcntl(f *os.File, exclusive, wait bool) error {
	kind := int16(unix.F_RDLCK)
	if exclusive {
		kind = unix.F_WRLCK
	}
	return fcntl(f, kind, wait)
}

// UnlockFcntl releases the record lock.
func UnlockFcntl(f *os.File) error { return fcntl(f, unix.F_UNLCK, true) }

func fcntl(f *os.File, kind int16, wait bool) error {
	command := unix.F_SETLK
	if wait {
		command = unix.F_SETLKW
	}
	for {
		err := unix.FcntlFlock(f.Fd(), command, &unix.Flock_t{Type: kind})
		switch err {
		case nil:
			return nil
		case unix.EINTR:
			continue
		case unix.EACCES:
			err = unix.EAGAIN
		}
		return Cause(err)
	}
}

// LockFile opens or creates a file of process-wide meaning and locks it
// exclusively without waiting: master.pid, for instance.
func LockFile(path string, mode os.FileMode) (*os.File, error) {
	f, err := Open(path, os.O_RDWR|os.O_CREATE, mode)
	if err != nil {
		return nil, err
	}
	if err := Lock(f, true, false); err != nil {
		f.Close()
		return nil, fmt.Errorf("unable to set exclusive lock: %w", err)
	}
	return f, nil
}

// LockOpenFile takes an exclusive POSIX record lock on the whole file, without
// waiting, that belongs to the open file and not to the process: it keeps other
// goroutines out as well as other programs, whichever kind of record lock those
// take. It ends when the file is closed.
func LockOpenFile(f *os.File) error {
	for {
		err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: unix.F_WRLCK})
		switch err {
		case nil:
			return nil
		case unix.EINTR:
			continue
		case unix.EACCES:
			err = unix.EAGAIN
		}
		return Cause(err)
	}
}

// DotLock makes the lock file PATH.lock, trying again up to attempts times
// with a delay between them, and removing a lock file older than stale.
func DotLock(path string, attempts int, delay, stale time.Duration) error {
	name := path + ".lock"
	for i := 0; ; i++ {
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0)
		if err == nil {
			return f.Close()
		}
		if !errors.Is(err, fs.ErrExist) || i+1 >= attempts {
			return fmt.Errorf("unable to create lock file %s: %w", name, Cause(err))
		}
		if changedBefore(name, stale) {
			if err := os.Remove(name); err == nil || errors.Is(err, fs.ErrNotExist) {
				continue
			}
		}
		Pause(delay)
	}
}

func changedBefore(name string, age time.Duration) bool {
	info, err := os.Lstat(name)
	if err != nil {
		return false
	}
	ctime := info.Sys().(*syscall.Stat_t).Ctim
	return time.Since(time.Unix(ctime.Sec, ctime.Nsec)) > age
}

// Pause waits for another program to release a lock: a quarter more or less
// than asked for, so that two who wait do not go in step.
func Pause(d time.Duration) {
	time.Sleep(time.Duration(float64(d) * (0.75 + rand.Float64()/2)))
}

// DotUnlock removes the lock file PATH.lock.
func DotUnlock(path string) error { return os.Remove(path + ".lock") }

// WriteAtomic replaces the file by one with the given content: written beside
// it, synced, renamed. Readers see the old content or the new, never a part.
func WriteAtomic(path string, content []byte, mode os.FileMode) error {
	tmp, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return fmt.Errorf("write %s: %w", path, Cause(err))
	}
	_, err = tmp.Write(content)
	if err == nil {
		err = tmp.Chmod(mode)
	}
	if err == nil {
		err = tmp.Sync()
	}
	if closeErr := tmp.Close(); err == nil {
		err = closeErr
	}
	if err == nil {
		err = os.Rename(tmp.Name(), path)
	}
	if err != nil {
		os.Remove(tmp.Name())
		return fmt.Errorf("write %s: %w", path, Cause(err))
	}
	return nil
}
