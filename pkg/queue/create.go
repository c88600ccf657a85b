package queue

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strconv"
	"syscall"
	"time"

	"suffix/pkg/syserr"
)

const (
	createRetryDelay = 10 * time.Second
	maxRenames       = 1000
)

// Create makes an empty message file with a new queue ID in a queue and opens
// it for reading and writing (spec queue-files §2.5). The file has its final
// name at once; until Finish its mode says that it is incomplete. idTime is
// the time that the ID was made of.
//
// A file that cannot be created is tried again every ten seconds, with a
// warning, until ctx ends.
func (t *Tree) Create(ctx context.Context, queueName string, mode os.FileMode) (f *os.File, id string, idTime time.Time, err error) {
	f, temp, err := t.createTemp(ctx, queueName, mode)
	if err != nil {
		return nil, "", time.Time{}, err
	}
	fail := func(err error) (*os.File, string, time.Time, error) {
		f.Close()
		os.Remove(temp)
		return nil, "", time.Time{}, err
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(int(f.Fd()), &st); err != nil {
		return fail(fmt.Errorf("fstat %s: %w", temp, err))
	}
	for range maxRenames {
		now := time.Now().Truncate(time.Microsecond)
		id := MakeID(now, st.Ino, t.LongIDs)
		path := t.Path(queueName, id)
		err := t.rename(temp, path)
		switch {
		case err == nil:
			return f, id, now, nil
		case errors.Is(err, syscall.EPERM), errors.Is(err, syscall.EISDIR):
		case errors.Is(err, fs.ErrNotExist):
			if err := makeParents(path); err != nil {
				t.warnf("mail_queue_enter: %s: %s", path, syserr.Text(err))
			}
		default:
			t.warnf("mail_queue_enter: rename %s to %s: %s", temp, path, syserr.Text(err))
		}
		if ctx.Err() != nil {
			return fail(ctx.Err())
		}
	}
	return fail(fmt.Errorf("mail_queue_enter: rename %s to %s: giving up", temp, queueName))
}

func (t *Tree) createTemp(ctx context.Context, queueName string, mode os.FileMode) (*os.File, string, error) {
	if !ValidName(queueName) {
		return nil, "", fmt.Errorf("bad mail queue name: %s", queueName)
	}
	var buf [128]byte
	for {
		b := append(append(buf[:0], queueName...), '/')
		b = strconv.AppendInt(b, int64(time.Now().Nanosecond()/1000), 10)
		b = append(b, '.')
		temp := string(strconv.AppendInt(b, int64(os.Getpid()), 10))
		f, err := os.OpenFile(temp, os.O_RDWR|os.O_CREATE|os.O_EXCL|syscall.O_CLOEXEC, mode)
		if err == nil {
			return f, temp, nil
		}
		if !errors.Is(err, fs.ErrExist) {
			t.warnf("mail_queue_enter: create file %s: %s", temp, syserr.Text(err))
			select {
			case <-time.After(createRetryDelay):
			case <-ctx.Done():
				return nil, "", fmt.Errorf("mail_queue_enter: create file %s: %w", temp, err)
			}
		} else if ctx.Err() != nil {
			return nil, "", ctx.Err()
		}
	}
}

// clockSlack is how far the file system's clock may be behind, in seconds.
const clockSlack = 100

// Finish makes a message file complete and closes it: all buffered data must
// have been written. The mode becomes ModeReady plus extra, then the content
// is forced to the disk (spec queue-files §4.2). In the incoming queue it also
// checks, until it was right once, that the file system's clock is not ahead
// of ours, which would delay all mail.
func (t *Tree) Finish(f *os.File, queueName string, extra os.FileMode) error {
	fd := int(f.Fd())
	fail := func(err error) error {
		f.Close()
		return fmt.Errorf("finish queue file %s: %w", f.Name(), err)
	}
	if err := syscall.Fchmod(fd, uint32(ModeReady|extra)); err != nil {
		return fail(err)
	}
	if err := fsync(fd); err != nil {
		return fail(err)
	}
	var reset bool
	var now time.Time
	if queueName == Incoming && !t.clockOK.Load() {
		var st syscall.Stat_t
		if err := syscall.Fstat(fd, &st); err != nil {
			return fail(err)
		}
		now = time.Now()
		switch ahead := st.Mtim.Sec - now.Unix(); {
		case ahead > 0:
			reset = true
			if !t.slowFS.Swap(true) {
				t.warnf("file system clock is %d seconds ahead of local clock", ahead)
				t.warnf("resetting file time stamps - this hurts performance")
			}
		case ahead < -clockSlack:
			t.warnf("file system clock is %d seconds behind local clock", -ahead)
			t.clockOK.Store(true)
		default:
			t.clockOK.Store(true)
		}
		if reset {
			tv := []syscall.Timeval{syscall.NsecToTimeval(now.UnixNano()), syscall.NsecToTimeval(now.UnixNano())}
			if err := syscall.Futimes(fd, tv); err != nil {
				return fail(err)
			}
		}
	}
	if err := f.Close(); err != nil {
		return fmt.Errorf("finish queue file %s: %w", f.Name(), err)
	}
	return nil
}

func fsync(fd int) error {
	for {
		err := syscall.Fsync(fd)
		if err != syscall.EINTR {
			return err
		}
	}
}
