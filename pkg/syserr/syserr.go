// Package syserr renders system errors in the words of the C library
// ("Connection refused"), which log lines, replies and notices carry and
// people search for.
package syserr

import (
	"errors"
	"io"
	"os"
	"syscall"
)

// Cause returns the system error behind err where there is one, else err.
// A deadline that passed counts as ETIMEDOUT.
func Cause(err error) error {
	var errno syscall.Errno
	switch {
	case errors.As(err, &errno):
		return errno
	case errors.Is(err, os.ErrDeadlineExceeded):
		return syscall.ETIMEDOUT
	case errors.Is(err, os.ErrNotExist):
		return syscall.ENOENT
	case errors.Is(err, os.ErrExist):
		return syscall.EEXIST
	case errors.Is(err, os.ErrPermission):
		return syscall.EACCES
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return io.EOF
	}
	return err
}

// Text renders the cause of an error: "No such file or directory".
func Text(err error) string {
	cause := Cause(err)
	if errno, ok := cause.(syscall.Errno); ok {
		return errnoText(errno)
	}
	if cause == io.EOF {
		return "Unexpected end of input"
	}
	return cause.Error()
}
