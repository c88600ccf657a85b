package master

import (
	"path/filepath"
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/mastercf"
	"suffix/pkg/params"

	"golang.org/x/sys/unix"
)

// service is one line of master.cf at work.
type service struct {
	entry     mastercf.Entry
	canonical string
	path      string // of the program
	throttle  time.Duration
	remote    bool // clients come from other machines
	ours      bool // the program serves many clients at once

	listen []int // sockets, in the order of the inherited descriptors
	status *statusPair

	total, avail int
	children     map[int]*child
	accepting    *child // ours: the process that takes the clients

	throttledUntil time.Time // zero: not throttled
	stressUntil    time.Time
	warnedUntil    time.Time // no further warning about the process limit
	wakeupAt       time.Time // zero: no timer
	removed        bool
}

// child is a process of a service.
type child struct {
	pid        int
	generation uint32
	service    *service
	avail      bool
	retired    bool // ours: takes no more clients
	uses       int  // requests that it completed, as far as it tells
}

// startService makes a service: sockets, status channel, wakeup.
func (m *Master) startService(e *mastercf.Entry, ep *endpoint) (*service, error) {
	fds, err := m.listen(e, ep)
	if err != nil {
		return nil, err
	}
	s := &service{canonical: ep.canonical, listen: fds, children: make(map[int]*child)}
	switch e.Type {
	case mastercf.Inet:
		for _, a := range ep.addresses {
			if !a.Addr().IsLoopback() {
				s.remote = true
			}
		}
	case mastercf.Pass:
		s.remote = true
	}
	m.configure(s, e)
	if s.status, err = newStatusPair(); err != nil {
		return nil, err
	}
	m.armWakeup(s)
	return s, nil
}

// configure takes over what master.cf says now.
func (m *Master) configure(s *service, e *mastercf.Entry) {
	s.entry = *e
	s.path = filepath.Join(m.cfg.String(params.DaemonDirectory), e.Command)
	s.throttle = m.cfg.Time(params.ServiceThrottleTime)
	s.ours = m.isOurs(s.path)
}

// restartService applies a new entry to a service that exists: the sockets
// stay, the processes are replaced as they finish.
func (m *Master) restartService(s *service, e *mastercf.Entry) error {
	wasOurs := s.ours
	m.configure(s, e)
	if err := m.replaceStatus(s, wasOurs); err != nil {
		return err
	}
	s.wakeupAt = time.Time{}
	m.armWakeup(s)
	return nil
}

// stopService ends a service that master.cf no longer has. The socket's name
// stays in the file system.
func (m *Master) stopService(s *service) {
	s.removed = true
	s.wakeupAt = time.Time{}
	s.status.close()
	for pid := range s.children {
		if err := unix.Kill(pid, unix.SIGTERM); err != nil && err != unix.ESRCH {
			maillog.Warnf("kill process %d: %v", pid, err)
		}
	}
	for len(s.children) > 0 {
		m.reap(0)
	}
	for _, fd := range s.listen {
		unix.Close(fd)
	}
}

// wanted says whether a new client needs a new process.
func (s *service) wanted() bool {
	switch {
	case s.removed || !s.throttledUntil.IsZero():
		return false
	case s.ours && s.entry.MaxProc != 1:
		return s.accepting == nil
	case s.ours:
		// One process at a time, but for one that has said that it only
		// finishes with its clients.
		for _, c := range s.children {
			if !c.retired {
				return false
			}
		}
		return true
	}
	return s.avail == 0 && (s.entry.MaxProc == 0 || s.total < s.entry.MaxProc)
}

// stressAware says whether the processes are told about stress.
func (s *service) stressAware() bool { return s.remote && s.entry.MaxProc > 1 }

// stressTime is how long a service that reached its process limit is taken to
// be under stress, and how long one warning about that lasts.
const stressTime = 1000 * time.Second

// atLimit warns that clients have to wait.
func (m *Master) atLimit(s *service) {
	now := time.Now()
	if !s.stressAware() || now.Before(s.warnedUntil) {
		return
	}
	s.warnedUntil = now.Add(stressTime)
	maillog.Warnf("service \"%s\" (%s) has reached its process limit \"%d\": new clients may experience noticeable delays",
		s.entry.Name, s.canonical, s.entry.MaxProc)
	maillog.Warnf("to avoid this condition, increase the process count in master.cf or reduce the service time per client")
	scheme := "https"
	if m.cfg.Dialect37() {
		scheme = "http"
	}
	maillog.Warnf("see %s://www.postfix.org/STRESS_README.html for examples of stress-adapting configuration settings", scheme)
}

// checkLimit warns about a classic service whose processes are all busy.
func (m *Master) checkLimit(s *service) {
	if !s.ours && s.avail == 0 && s.entry.MaxProc > 0 && s.total >= s.entry.MaxProc {
		m.atLimit(s)
	}
}
