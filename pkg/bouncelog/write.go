package bouncelog

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"suffix/pkg/params"
	"suffix/pkg/queue"
	"suffix/pkg/syserr"
)

// Options of Append.
type Options struct {
	Compat       bool          // backwards_bounce_logfile_compatibility
	LockAttempts int           // deliver_lock_attempts
	LockDelay    time.Duration // deliver_lock_delay
}

// A Config is where ReadOptions takes parameters from: *config.Main.
type Config interface {
	Bool(params.Bool) bool
	Int(params.Int) int
	Time(params.Time) time.Duration
}

// ReadOptions returns the Options that main.cf describes.
func ReadOptions(cfg Config) Options {
	return Options{
		Compat:       cfg.Bool(params.BackwardsBounceLogfileCompatibility),
		LockAttempts: cfg.Int(params.DeliverLockAttempts),
		LockDelay:    cfg.Time(params.DeliverLockDelay),
	}
}

// Append adds an entry to a log and forces it to the disk. A log that cannot
// be written completely has its old length again. queueName is the name of the
// service: defer, bounce or trace.
func Append(ctx context.Context, tree *queue.Tree, queueName, id string, e *Entry, o Options) error {
	f, size, err := openLocked(ctx, tree, queueName, id, o)
	if err != nil {
		return err
	}
	defer f.Close()
	buf := e.AppendTo(make([]byte, 0, 1024), o.Compat)
	if _, err = f.Write(buf); err == nil {
		err = f.Sync()
	}
	if err != nil {
		if undo := f.Truncate(size); undo != nil {
			err = errors.Join(err, undo)
		}
		return fmt.Errorf("append file %s %s: %s", queueName, id, syserr.Text(err))
	}
	return nil
}

// openLocked opens and locks a log, and tells its size. One that was removed
// before it was locked is opened anew: an entry written into it would be lost.
func openLocked(ctx context.Context, tree *queue.Tree, queueName, id string, o Options) (*os.File, int64, error) {
	for {
		f, err := tree.Open(queueName, id, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0600)
		if err != nil {
			return nil, 0, fmt.Errorf("open file %s %s: %s", queueName, id, syserr.Text(err))
		}
		if err := lock(ctx, f, o); err != nil {
			f.Close()
			return nil, 0, fmt.Errorf("lock file %s %s: %s", queueName, id, syserr.Text(err))
		}
		var st unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &st); err != nil {
			f.Close()
			return nil, 0, fmt.Errorf("append file %s %s: %s", queueName, id, syserr.Text(err))
		}
		if st.Nlink > 0 {
			return f, st.Size, nil
		}
		f.Close()
	}
}

// lock takes the exclusive lock, trying again for a while.
func lock(ctx context.Context, f *os.File, o Options) error {
	for attempt := 1; ; attempt++ {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		switch {
		case err == nil:
			return nil
		case err != unix.EINTR && err != unix.EWOULDBLOCK:
			return err
		case attempt >= o.LockAttempts:
			return err
		}
		select {
		case <-time.After(o.LockDelay/2 + rand.N(o.LockDelay+1)):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
