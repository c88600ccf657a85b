package maillog

import (
	"os"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// appending is the log file, where this process writes into it by itself.
var appending atomic.Pointer[logFile]

type logFile struct {
	file *os.File // keeps the descriptor open
	fd   int
}

// AppendTo makes this process write its records into the log file, instead of
// handing each to postlogd, which costs two more processes' attention for
// every line. Whole lines are appended in one system call each, so they mix
// well with those of postlogd and of other processes.
//
// It is for daemons that can open the file before they lose their rights, and
// that learn of it when the file is about to be moved away: they call
// StopAppending then. When a record cannot be written it goes to postlogd.
func AppendTo(path, mode string) error {
	f, err := OpenFile(path, mode)
	if err != nil {
		return err
	}
	appending.Store(&logFile{f, int(f.Fd())})
	return nil
}

// StopAppending hands further records to postlogd. The file stays open: a
// record may be on its way into it.
func StopAppending() { appending.Store(nil) }

// appendRecord writes a record into the file; false when that is not to be done,
// or cannot be done whole.
func appendRecord(record []byte) bool {
	f := appending.Load()
	if f == nil {
		return false
	}
	line := append(record, '\n')
	for {
		n, err := unix.Write(f.fd, line)
		if err == unix.EINTR {
			continue
		}
		return err == nil && n == len(line)
	}
}
