// Package safefile opens, locks and replaces files that a more privileged
// program handles in places where others may have put a link or a trap
// (spec master §8, hardening §3.6).
package safefile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"suffix/pkg/syserr"
)

// Open opens a file with the given flags (os.O_WRONLY, os.O_APPEND and so on).
// With os.O_CREATE, a file that is missing is created, and created exclusively.
//
// An existing file must be no directory and have exactly one link, and its
// name must be no symbolic link, unless root made the link in a directory that
// only root can change. The error is the bare reason, to stand behind the
// caller's own words: "open lock file pid/master.pid: REASON".
func Open(path string, flags int, mode os.FileMode) (*os.File, error) {
	f, err := openExisting(path, flags&^(os.O_CREATE|os.O_EXCL))
	if err == nil || flags&os.O_CREATE == 0 || !errors.Is(err, fs.ErrNotExist) {
		return f, err
	}
	f, err = os.OpenFile(path, flags|os.O_CREATE|os.O_EXCL, mode)
	if err == nil {
		return f, nil
	}
	if !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("cannot create file exclusively: %w", Cause(err))
	}
	// Another program created it meanwhile: it is an existing file now.
	if f, again := openExisting(path, flags&^(os.O_CREATE|os.O_EXCL)); again == nil {
		return f, nil
	}
	return nil, fmt.Errorf("cannot create file exclusively: %w", Cause(err))
}

func openExisting(path string, flags int) (*os.File, error) {
	f, err := os.OpenFile(path, flags, 0)
	if err != nil {
		return nil, fmt.Errorf("cannot open file: %w", Cause(err))
	}
	if err := verify(f, path); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// verify checks that an open file is the one that its name promises.
func verify(f *os.File, path string) error {
	open, err := f.Stat()
	if err != nil {
		return fmt.Errorf("cannot get file status: %w", Cause(err))
	}
	if n := open.Sys().(*syscall.Stat_t).Nlink; n != 1 && !open.IsDir() {
		return fmt.Errorf("file has %d hard links", n)
	}
	if open.IsDir() {
		return errors.New("file is a directory")
	}
	named, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("file status changed unexpectedly: %w", Cause(err))
	}
	if named.Mode()&fs.ModeSymlink == 0 {
		if !os.SameFile(open, named) {
			return errors.New("file status changed unexpectedly")
		}
		return nil
	}
	if named.Sys().(*syscall.Stat_t).Uid == 0 {
		parent, err := os.Lstat(filepath.Dir(path))
		if err == nil && parent.IsDir() && parent.Sys().(*syscall.Stat_t).Uid == 0 && parent.Mode().Perm()&0o022 == 0 {
			return nil
		}
	}
	return errors.New("file is a symbolic link")
}

// Cause strips the operation and path that package os puts around the text of
// a system error: the rest prints as strerror(3) would, and is still the same
// error for errors.Is.
func Cause(err error) error {
	var errno syscall.Errno
	if errors.As(err, &errno) {
		return sysError{errno}
	}
	return err
}

// ErrorText returns the system's text for an error, as strerror(3) does:
// capitalised, without the operation and path.
func ErrorText(err error) string { return syserr.Text(err) }

// A sysError is a system error that prints as strerror(3) does.
type sysError struct{ errno syscall.Errno }

func (e sysError) Unwrap() error { return e.errno }

func (e sysError) Error() string { return syserr.Text(e.errno) }
