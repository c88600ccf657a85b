package dbfile

import (
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
)

// LeaseTime is how long a table keeps its lock on a file for the operations
// that follow. Whoever else wants the lock waits so much longer at most.
const LeaseTime = 5 * time.Millisecond

// A Lease is a lock on a file that ends by itself after LeaseTime. Under load
// it serves many operations: locking costs more than they. Its methods are
// called under the table's mutex, also while the table is being opened.
type Lease struct {
	Path string
	// Unlock gives the lock back. Expire does the same on its own, later: it
	// takes the table's mutex and calls End.
	Unlock func() error
	Expire func()

	held  bool
	timer *time.Timer
}

// Held says that the lock is there.
func (l *Lease) Held() bool { return l.held }

// Begin says that the lock has been taken. It starts the time that the lock
// lasts.
func (l *Lease) Begin() {
	l.held = true
	if l.timer == nil {
		l.timer = time.AfterFunc(LeaseTime, l.Expire)
	} else {
		l.timer.Reset(LeaseTime)
	}
}

// End gives the lock back, if it is there.
func (l *Lease) End() {
	if !l.held {
		return
	}
	l.held = false
	l.timer.Stop()
	if err := l.Unlock(); err != nil {
		maillog.Warnf("%s: unlock dictionary: %s", l.Path, syserr.Text(err))
	}
}

// Drop forgets a lock that ends with the descriptor of its file.
func (l *Lease) Drop() {
	l.held = false
	if l.timer != nil {
		l.timer.Stop()
	}
}
