package master

import (
	"os"
	"os/signal"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/syserr"

	"golang.org/x/sys/unix"
)

// turnTime is the longest that the loop sleeps; watchdogTime how long one turn
// of it may last.
const (
	turnTime     = 500 * time.Second
	watchdogTime = 1000 * time.Second
)

// CatchSignals makes signals wake the loop.
func (m *Master) CatchSignals() {
	caught := make(chan os.Signal, 64)
	signal.Notify(caught, unix.SIGHUP, unix.SIGTERM, unix.SIGINT, unix.SIGQUIT, unix.SIGCHLD)
	go func() {
		for sig := range caught {
			m.signals <- sig
			// A full pipe wakes as well.
			_, _ = unix.Write(m.wakeFD[1], []byte{0})
		}
	}()
}

// Run supervises until a signal or the lifetime ends it. The error is fatal.
func (m *Master) Run() error {
	watchdog := time.AfterFunc(watchdogTime, func() { maillog.Fatalf("watchdog timeout") })
	for {
		watchdog.Reset(watchdogTime)
		done, err := m.turn()
		if done || err != nil {
			return err
		}
	}
}

// source is what a polled descriptor belongs to.
type source struct {
	service *service
	pair    *statusPair
	listen  bool
}

// turn waits for something to happen and handles it.
func (m *Master) turn() (done bool, err error) {
	wait, done := m.runTimers(time.Now())
	if done {
		return true, nil
	}
	fds := []unix.PollFd{{Fd: int32(m.wakeFD[0]), Events: unix.POLLIN}}
	sources := []source{{}}
	add := func(fd int, s source) {
		fds = append(fds, unix.PollFd{Fd: int32(fd), Events: unix.POLLIN})
		sources = append(sources, s)
	}
	for _, s := range m.services {
		add(s.status.read, source{service: s, pair: s.status})
		if s.wanted() {
			for _, fd := range s.listen {
				add(fd, source{service: s, listen: true})
			}
		}
	}
	for _, p := range m.retired {
		add(p.read, source{pair: p})
	}
	if _, err := unix.Poll(fds, int(wait.Milliseconds())+1); err != nil && err != unix.EINTR {
		maillog.Warnf("poll: %s", syserr.Text(err))
	}
	// Reports come first: they say who is there for the clients at the door.
	for i, s := range sources {
		if fds[i].Revents != 0 && s.pair != nil && (s.service == nil || s.service.status == s.pair) {
			if !m.readStatus(s.pair, s.service) && s.service == nil {
				m.forget(s.pair)
			}
		}
	}
	if fds[0].Revents != 0 {
		if err := m.handleSignals(); err != nil {
			return false, err
		}
	}
	for i, s := range sources {
		if fds[i].Revents != 0 && s.listen && s.service.wanted() {
			m.spawn(s.service)
		}
	}
	return false, nil
}

// forget closes a replaced status channel that nobody writes to any more.
func (m *Master) forget(p *statusPair) {
	for i, q := range m.retired {
		if p == q {
			p.close()
			m.retired = append(m.retired[:i], m.retired[i+1:]...)
			return
		}
	}
}

// runTimers does what is due and returns how long nothing else will be.
func (m *Master) runTimers(now time.Time) (wait time.Duration, done bool) {
	wait = turnTime
	due := func(t time.Time) bool {
		if t.IsZero() {
			return false
		}
		if d := t.Sub(now); d > 0 {
			wait = min(wait, d)
			return false
		}
		return true
	}
	if due(m.stopAt) {
		maillog.Infof("master exit time has arrived")
		return 0, true
	}
	for _, s := range m.services {
		if due(s.throttledUntil) {
			m.debugf("throttle released for command %s", s.path)
			s.throttledUntil = time.Time{}
		}
		if due(s.wakeupAt) {
			m.wakeup(s)
			due(s.wakeupAt)
		}
	}
	return wait, false
}

func (m *Master) handleSignals() error {
	var bytes [64]byte
	for {
		if n, err := unix.Read(m.wakeFD[0], bytes[:]); err != nil || n <= 0 {
			break
		}
	}
	reload, children := false, false
	for {
		select {
		case sig := <-m.signals:
			switch sig {
			case unix.SIGCHLD:
				m.debugf("got sigchld")
				children = true
			case unix.SIGHUP:
				reload = true
			default:
				return m.die(sig.(unix.Signal))
			}
		default:
			// One at a time: where all processes are told to end at once,
			// this one must not take care of the others first.
			if children {
				children = m.reap(unix.WNOHANG)
				continue
			}
			if reload {
				return m.reload()
			}
			return nil
		}
	}
}

// die ends the whole mail system: every process of the group.
func (m *Master) die(sig unix.Signal) error {
	// The group includes this process: nobody reads its share of signals
	// any more, until they are given back to the system.
	time.AfterFunc(5*time.Second, func() { os.Exit(1) })
	if m.o.Init {
		if err := unix.Kill(-1, unix.SIGTERM); err != nil && err != unix.ESRCH {
			maillog.Warnf("master_sigdeath: kill all processes: %s", syserr.Text(err))
		}
		maillog.Infof("terminating on signal %d", sig)
		os.Exit(0)
	}
	if err := unix.Kill(-os.Getpid(), unix.SIGTERM); err != nil {
		maillog.Fatalf("master_sigdeath: kill process group: %s", syserr.Text(err))
	}
	maillog.Infof("terminating on signal %d", sig)
	signal.Reset(sig)
	if err := unix.Kill(os.Getpid(), sig); err != nil {
		os.Exit(1)
	}
	select {}
}

// Settings that only a new start can change.
var fixed = []string{"config_directory", "queue_directory", "inet_protocols"}

// reload applies main.cf and master.cf as they are now.
func (m *Master) reload() error {
	maillog.Infof("reload -- version %s, configuration %s", version(m.cfg), m.cfg.Dir())
	cfg, err := Load()
	if err != nil {
		return err
	}
	var keep []config.Override
	for _, name := range fixed {
		old, _ := m.cfg.Lookup(name)
		if value, _ := cfg.Lookup(name); value != old {
			maillog.Warnf("ignoring %s parameter value change", name)
			maillog.Warnf("old value: \"%s\", new value: \"%s\"", old, value)
			maillog.Warnf("to change %s, stop and start Postfix", name)
			keep = append(keep, config.Override{Name: name, Value: old})
		}
	}
	if len(keep) > 0 {
		cfg = cfg.With(keep...)
	}
	m.cfg = cfg
	m.findExecutable()
	present := make(map[*service]bool)
	if err := m.readServices(present); err != nil {
		return err
	}
	var kept []*service
	for _, s := range m.services {
		if present[s] {
			kept = append(kept, s)
		} else {
			m.stopService(s)
		}
	}
	m.services = kept
	m.inside = m.insideList()
	return configureLog(cfg, false)
}
