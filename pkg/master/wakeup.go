package master

import (
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/mastercf"
	"suffix/pkg/safefile"
	"suffix/pkg/syserr"

	"golang.org/x/sys/unix"
)

// Limits on a wakeup call.
const (
	wakeupConnect = time.Second
	wakeupClose   = 101 * time.Second
)

// armWakeup starts the wakeup timer of a service, with a call at once; that of
// a service with ? starts with its first process.
func (m *Master) armWakeup(s *service) {
	if s.entry.Wakeup <= 0 || s.entry.WakeupIfUsed {
		return
	}
	m.debugf("master_wakeup_init: service %s time %d", s.entry.Name, s.entry.Wakeup)
	m.wakeup(s)
}

// wakeup calls a service and sets the time of the next call.
func (m *Master) wakeup(s *service) {
	m.debugf("master_wakeup_timer_event: service %s", s.entry.Name)
	s.wakeupAt = time.Now().Add(time.Duration(s.entry.Wakeup) * time.Second)
	if !s.throttledUntil.IsZero() {
		return
	}
	if err := m.trigger(s); err != nil {
		maillog.Warnf("master_wakeup_timer_event: service %s(%s): %s", s.entry.Name, s.canonical, syserr.Text(err))
	}
}

// trigger sends the wakeup byte. The process that takes the call may not exist
// yet: what has to wait for it does so in the background.
func (m *Master) trigger(s *service) error {
	switch s.entry.Type {
	case mastercf.Dgram:
		return unix.EOPNOTSUPP
	case mastercf.FIFO:
		return m.asOwner(func() error {
			f, err := safefile.Open(s.entry.Path(), os.O_WRONLY|unix.O_NONBLOCK, 0)
			if err != nil {
				return err
			}
			defer f.Close()
			_, err = f.Write([]byte{'W'})
			return err
		})
	}
	network, address := "unix", s.entry.Path()
	if s.entry.Type == mastercf.Inet {
		network = "tcp"
		sa, err := unix.Getsockname(s.listen[0])
		if err != nil {
			return err
		}
		switch sa := sa.(type) {
		case *unix.SockaddrInet4:
			address = fmt.Sprintf("%s:%d", net.IP(sa.Addr[:]), sa.Port)
		case *unix.SockaddrInet6:
			address = fmt.Sprintf("[%s]:%d", net.IP(sa.Addr[:]), sa.Port)
		}
	}
	c, err := net.DialTimeout(network, address, wakeupConnect)
	if err != nil {
		return err
	}
	go func() {
		defer c.Close()
		if err := callIn(c, s.entry.Type == mastercf.Pass); err != nil {
			maillog.Warnf("unix_trigger_event: read timeout for service %s", address)
		}
	}()
	return nil
}

// callIn makes the wakeup call over an open connection, and waits for the
// service to hang up. Only that it takes too long is an error.
func callIn(c net.Conn, pass bool) error {
	if err := c.SetDeadline(time.Now().Add(wakeupClose)); err != nil {
		return nil
	}
	if pass {
		return passPipe(c)
	}
	for _, b := range []byte{'W', 0} {
		if _, err := c.Write([]byte{b}); err != nil {
			return nil
		}
	}
	return awaitHangup(c)
}

func awaitHangup(c net.Conn) error {
	var answer [1]byte
	if _, err := c.Read(answer[:]); errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	return nil
}

// passPipe hands a pipe with the wakeup call to a service that expects to be
// handed connections.
func passPipe(c net.Conn) error {
	r, w, err := os.Pipe()
	if err != nil {
		return nil
	}
	defer r.Close()
	defer w.Close()
	u, ok := c.(*net.UnixConn)
	if !ok {
		return nil
	}
	if _, _, err := u.WriteMsgUnix([]byte{0}, unix.UnixRights(int(r.Fd())), nil); err != nil {
		return nil
	}
	if _, err := w.Write([]byte{'W', 0}); err != nil {
		return nil
	}
	return awaitHangup(c)
}
