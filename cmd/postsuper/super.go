package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"sync/atomic"

	"suffix/pkg/maillog"
	"suffix/pkg/queue"
	"suffix/pkg/syserr"

	"golang.org/x/sys/unix"
)

// super works on one queue directory, the current one.
type super struct {
	tree      *queue.Tree
	queues    []string // to scan or search, in this order
	verbose   bool
	redundant bool // -S: also check the inode in long names
	log       func(level maillog.Level, format string, args ...any)

	requeued, deleted, expired, held, released int

	marked  atomic.Int32 // messages that got a new name, not yet the final one
	renamed int          // messages that got their final name
}

var (
	messageQueues = []string{queue.Maildrop, queue.Incoming, queue.Active, queue.Deferred, queue.Hold}
	logQueues     = []string{queue.Bounce, queue.Defer, queue.Trace}
)

func hasMessages(queueName string) bool { return slices.Contains(messageQueues, queueName) }

// checkQueue refuses directories that this program does not work on.
func checkQueue(queueName string) error {
	if hasMessages(queueName) || slices.Contains(logQueues, queueName) || queueName == queue.Flush {
		return nil
	}
	return fmt.Errorf("invalid directory name: %s", queueName)
}

// warnIncomplete warns when a repair ends before all new names are final.
func (s *super) warnIncomplete() {
	if s.marked.Load() > 0 {
		s.log(maillog.Warning, "OPERATION INCOMPLETE -- RERUN COMMAND TO FIX THE QUEUE FIRST")
	}
}

func (s *super) debugf(format string, args ...any) {
	if s.verbose {
		s.log(maillog.Info, format, args...)
	}
}

// remove removes a file. One that is gone already does not count, and is no
// error.
func (s *super) remove(path string) (done bool, err error) {
	err = os.Remove(path)
	switch {
	case err == nil:
		s.debugf("removed file %s", path)
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	}
	return false, fmt.Errorf("remove file %s: %s", path, syserr.Text(err))
}

// rename renames a file, with the same exceptions as remove.
func (s *super) rename(from, to string) (done bool, err error) {
	err = s.tree.Rename(from, to)
	switch {
	case err == nil:
		s.debugf("renamed file %s as %s", from, to)
		return true, nil
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	}
	return false, fmt.Errorf("rename file %s as %s: %s", from, to, syserr.Text(err))
}

// renameFree is rename to a name that nobody has yet: another file of that
// name stays, and so does this one, for a later run.
func (s *super) renameFree(from, to string) (done bool, err error) {
	if _, err := os.Lstat(to); err == nil {
		s.log(maillog.Warning, "rename file %s as %s: %s", from, to, syserr.Text(fs.ErrExist))
		return false, nil
	}
	return s.rename(from, to)
}

// expire marks a message for forced expiration. One that is marked already
// does not count.
func (s *super) expire(path string) (done bool, err error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err == unix.ENOENT {
		return false, nil
	}
	if err != nil {
		s.log(maillog.Warning, "expire file %s: %s", path, syserr.Text(err))
		return false, nil
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, fmt.Errorf("expire file %s: %s", path, syserr.Text(err))
	}
	const bit = uint32(queue.ModeExpire)
	switch mode := st.Mode & 07777; {
	case st.Mode&unix.S_IFMT != unix.S_IFREG:
		s.log(maillog.Warning, "expire file %s: not a regular file", path)
		return false, nil
	case st.Nlink != 1:
		s.log(maillog.Warning, "expire file %s: file has %d hard links", path, st.Nlink)
		return false, nil
	case mode&bit != 0:
		return false, nil
	default:
		if err := unix.Fchmod(fd, mode|bit); err != nil {
			return false, fmt.Errorf("expire file %s: %s", path, syserr.Text(err))
		}
	}
	s.debugf("expired file %s", path)
	return true, nil
}
