package master

import (
	"suffix/pkg/maillog"

	"golang.org/x/sys/unix"
)

// reap takes note of one process that has ended, and says whether there was
// one. With options 0 it waits; with unix.WNOHANG it does not.
func (m *Master) reap(options int) bool {
	for {
		var status unix.WaitStatus
		pid, err := unix.Wait4(-1, &status, options|unix.WUNTRACED, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil || pid <= 0 {
			return false
		}
		m.debugf("master_reap_child: pid %d", pid)
		m.ended(pid, status)
		return true
	}
}

// ended handles one process that ended or stopped.
func (m *Master) ended(pid int, status unix.WaitStatus) {
	c := m.children[pid]
	if c == nil {
		// As process 1, master inherits everybody's orphans; otherwise it
		// is the debugger that was started by hand.
		return
	}
	s := c.service
	switch {
	case status.Stopped():
		maillog.Warnf("process %s pid %d stopped by signal %d", s.path, pid, status.StopSignal())
		return
	case status.Signaled():
		if !s.removed || status.Signal() != unix.SIGTERM {
			maillog.Warnf("process %s pid %d killed by signal %d", s.path, pid, status.Signal())
		}
	case status.ExitStatus() != 0:
		maillog.Warnf("process %s pid %d exit status %d", s.path, pid, status.ExitStatus())
	}
	failed := status.Signaled() || status.ExitStatus() != 0
	if failed && c.uses == 0 && !s.removed && s.throttledUntil.IsZero() {
		maillog.Warnf("%s: bad command startup -- throttling", s.path)
		m.throttle(s)
	}
	delete(m.children, pid)
	delete(s.children, pid)
	s.total--
	if c.avail {
		s.avail--
	}
	if s.accepting == c {
		s.accepting = nil
	}
	m.checkLimit(s)
}
