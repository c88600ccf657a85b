// Package dbfile is what the drivers of indexed table files (hash, btree, cdb,
// lmdb) have in common: names of errors, the convention of trailing NULs, locks
// that serve several lookups, and reading of mapped files that somebody may
// truncate (spec tables §13 and §14.1).
package dbfile

import (
	"fmt"
	"os"
	"runtime/debug"
	"time"

	"golang.org/x/sys/unix"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
)

// OpenError is the reason why a table cannot be opened, in the words that
// Postfix has for the types with an index file.
func OpenError(path string, err error) error {
	return fmt.Errorf("open database %s: %s", path, syserr.Text(err))
}

// Failed is the error of an operation on an open table: "error VERB NAME:
// REASON". Unless quiet is set it is logged too, because the users of a table
// in a daemon only say that the lookup has failed.
func Failed(quiet bool, verb, name, reason string) error {
	if !quiet {
		maillog.Logf(maillog.Error, "error %s %s: %s", verb, name, reason)
	}
	return &table.Error{Err: fmt.Errorf("error %s %s: %s", verb, name, reason)}
}

// WarnIfOlder warns of a table that does not show what its source file says.
// The index file is source with the suffix.
func WarnIfOlder(source, suffix string, index os.FileInfo) {
	src, err := os.Stat(source)
	if err == nil && src.ModTime().Unix() > index.ModTime().Unix() && time.Since(src.ModTime()) > 100*time.Second {
		maillog.Warnf("database %s is older than source file %s", source+suffix, source)
	}
}

// Guarded runs f, which reads mapped memory. Where another program cuts the
// file short meanwhile, the access faults; then the result is fault, and the
// process goes on.
func Guarded(fault error, f func() error) (err error) {
	before := debug.SetPanicOnFault(true)
	defer func() {
		debug.SetPanicOnFault(before)
		if r := recover(); r != nil {
			if _, ok := r.(interface{ Addr() uintptr }); !ok {
				panic(r)
			}
			err = fault
		}
	}()
	return f()
}

// Map maps a file for reading. A file that is too large for the address space
// is unix.EFBIG.
func Map(fd int, size int64) ([]byte, error) {
	if int64(int(size)) != size {
		return nil, unix.EFBIG
	}
	return unix.Mmap(fd, 0, int(size), unix.PROT_READ, unix.MAP_SHARED)
}

// Unmap ends a mapping, which may be nil.
func Unmap(data []byte, path string) {
	if data == nil {
		return
	}
	if err := unix.Munmap(data); err != nil {
		maillog.Warnf("munmap %s: %s", path, syserr.Text(err))
	}
}

// Flock is flock(2), repeated when a signal interrupts it.
func Flock(fd, how int) error {
	for {
		if err := unix.Flock(fd, how); err != unix.EINTR {
			return err
		}
	}
}

// RecordLock locks a whole file by fcntl(2): how is F_RDLCK, F_WRLCK or
// F_UNLCK. It waits for the locks of others. The lock belongs to the open file,
// not to the process (F_OFD_SETLKW): so two tables of one process exclude each
// other, and closing another descriptor of the file does not end it. It
// conflicts with the process-wide locks that other programs take.
func RecordLock(fd int, how int16) error {
	l := unix.Flock_t{Type: how}
	for {
		if err := unix.FcntlFlock(uintptr(fd), unix.F_OFD_SETLKW, &l); err != unix.EINTR {
			return err
		}
	}
}

// A Stamp tells one state of a file from another.
type Stamp struct {
	Size  int64
	Mtime unix.Timespec
}

// StampOf returns the state that fstat(2) has seen.
func StampOf(st *unix.Stat_t) Stamp { return Stamp{st.Size, st.Mtim} }

// Replaced says that a file has changed since first, or has lost its name.
func Replaced(fd int, first Stamp) bool {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return true
	}
	return st.Nlink == 0 || st.Mtim != first.Mtime
}
