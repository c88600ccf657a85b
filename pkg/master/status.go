package master

import (
	"fmt"

	"suffix/pkg/maillog"
	"suffix/pkg/safefile"
	frame "suffix/pkg/service"
	"suffix/pkg/syserr"

	"golang.org/x/sys/unix"
)

// statusPair is the channel on which the processes of a service report. Master
// keeps both ends: the children inherit one. When its own end says nothing
// more, the children know that they are of the past.
type statusPair struct {
	read    int // master's end
	inherit int // the children's end, -1 when there will be no more children
	service string
}

func newStatusPair() (*statusPair, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", safefile.Cause(err))
	}
	if err := unix.SetNonblock(fds[0], true); err != nil {
		return nil, fmt.Errorf("socketpair: %w", safefile.Cause(err))
	}
	return &statusPair{read: fds[0], inherit: fds[1]}, nil
}

// close ends the channel: the children read an end of file, and fail to write.
func (p *statusPair) close() {
	unix.Close(p.read)
	if p.inherit >= 0 {
		unix.Close(p.inherit)
	}
}

// replaceStatus tells the processes of a service to finish, and opens a channel
// for the next ones. Those of ours may still report, until they have ended:
// that they retire is news.
func (m *Master) replaceStatus(s *service, ours bool) error {
	old := s.status
	fresh, err := newStatusPair()
	if err != nil {
		return err
	}
	s.status = fresh
	if !ours || len(s.children) == 0 {
		old.close()
	} else {
		unix.Close(old.inherit)
		old.inherit, old.service = -1, s.entry.Name
		if err := unix.Shutdown(old.read, unix.SHUT_WR); err != nil {
			return fmt.Errorf("shutdown status channel: %w", safefile.Cause(err))
		}
		m.retired = append(m.retired, old)
	}
	if s.entry.MaxProc != 1 {
		s.accepting = nil
	}
	return nil
}

// readStatus takes the reports that have arrived. ok is false when the last
// process of a replaced channel has gone.
func (m *Master) readStatus(p *statusPair, s *service) (ok bool) {
	name := p.service
	if s != nil {
		name = s.entry.Name + "(" + s.canonical + ")"
	}
	for {
		var message [frame.ReportSize]byte
		n, err := unix.Read(p.read, message[:])
		switch {
		case err == unix.EINTR:
			continue
		case err == unix.EAGAIN:
			return true
		case err != nil:
			maillog.Warnf("master_status_event: read: %s", syserr.Text(err))
			return false
		case n == 0:
			return false
		case n != len(message):
			var pid int32
			if n >= 4 {
				pid = frame.ParseReport(message).PID
			}
			maillog.Warnf("service %s: child (pid %d) sent partial status update (%d bytes)", name, pid, n)
			return true
		}
		m.report(frame.ParseReport(message))
	}
}

func (m *Master) report(r frame.Report) {
	if m.o.Verbose {
		maillog.Infof("master_status_event: pid %d gen %d avail %d", r.PID, r.Generation, r.State)
	}
	c := m.children[int(r.PID)]
	switch {
	case c == nil:
		return
	case c.generation != r.Generation:
		maillog.Infof("ignoring status update from child pid %d generation %d", r.PID, r.Generation)
		return
	}
	s := c.service
	switch {
	case r.State == frame.Available:
		if !c.avail || s.ours {
			c.uses++
		}
		if !c.avail {
			c.avail = true
			s.avail++
			m.debugf("master_avail_more: pid %d (%s)", c.pid, s.entry.Name)
		}
	case r.State == frame.Taken:
		if c.avail {
			c.avail = false
			s.avail--
			m.debugf("master_avail_less: pid %d (%s)", c.pid, s.entry.Name)
		}
		if s.ours && s.accepting == c && s.entry.MaxProc > 1 {
			m.atLimit(s)
		}
	case r.State == frame.Retiring && s.ours:
		c.uses++
		c.retired = true
		if s.accepting == c {
			s.accepting = nil
		}
	default:
		// The two numbers stand in this order in Postfix too.
		maillog.Warnf("master_status_event: ignoring unknown status: %d allegedly from pid: %d", r.PID, r.State)
	}
	m.checkLimit(s)
}

func (m *Master) debugf(format string, args ...any) {
	if m.o.Verbose {
		maillog.Infof(format, args...)
	}
}
