// Package master supervises the daemons: it owns their listen sockets, starts
// them when clients arrive, restarts them when they die, wakes them up, and
// replaces them after a change of configuration (spec master §2-4).
//
// It runs Postfix's daemons exactly as Postfix's master does: a process per
// client, up to the limit in master.cf. A service whose program is the same
// file as master's own executable is ours: it gets one process that serves as
// many clients at once as the limit permits, and is told so in its environment
// (package service). Its old process may finish with its clients while a new
// one takes the next.
//
// An ordinary user may run a private instance if mail_owner is that user:
// nothing then changes identity. Postfix refuses that.
package master

import (
	"fmt"
	"os"
	"path/filepath"
	"time"

	"suffix/pkg/account"
	"suffix/pkg/config"
	"suffix/pkg/logconf"
	"suffix/pkg/maillog"
	"suffix/pkg/mastercf"
	"suffix/pkg/params"
	"suffix/pkg/safefile"

	"golang.org/x/sys/unix"
)

// Options are what the command line says.
type Options struct {
	KeepTerminal bool // -d
	Init         bool // -i
	Verbose      bool
	Lifetime     time.Duration // -e
}

// Master is the supervisor. All of it belongs to one goroutine, that of Run.
type Master struct {
	o     Options
	cfg   *config.Main
	owner *account.User

	services   []*service
	children   map[int]*child
	retired    []*statusPair // replaced, but still written to by old children
	generation uint32
	flow       [2]int // flow control pipe: read end, write end
	executable []os.FileInfo
	inside     string // services that our daemons may answer in-process
	inet       string // inet_interfaces when its first service was made
	stopAt     time.Time

	signals chan os.Signal
	wakeFD  [2]int // a byte arrives with each signal
	locks   []*os.File
}

// New prepares a master in the current directory, which is the queue
// directory, with the configuration as read.
func New(cfg *config.Main, o Options) (*Master, error) {
	m := &Master{o: o, cfg: cfg, children: make(map[int]*child), signals: make(chan os.Signal, 64)}
	name := cfg.String(params.MailOwner)
	owner, err := account.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("unknown user: %s", name)
	}
	m.owner = owner
	if err := unix.Pipe2(m.flow[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("pipe: %w", safefile.Cause(err))
	}
	if err := unix.Pipe2(m.wakeFD[:], unix.O_NONBLOCK|unix.O_CLOEXEC); err != nil {
		return nil, fmt.Errorf("pipe: %w", safefile.Cause(err))
	}
	if o.Lifetime > 0 {
		m.stopAt = time.Now().Add(o.Lifetime)
	}
	return m, nil
}

// Lock takes the lock files that keep a second master from the same queue and
// data directories. The files stay locked for the life of the process.
func (m *Master) Lock(program string) error {
	path := "pid/" + program + ".pid"
	f, err := lockPID(path)
	if err != nil {
		return fmt.Errorf("open lock file %s: %w", path, err)
	}
	m.locks = append(m.locks, f)
	path = filepath.Join(m.cfg.String(params.DataDirectory), program+".lock")
	err = m.asOwner(func() error {
		f, err := lockPID(path)
		if err == nil {
			m.locks = append(m.locks, f)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("open lock file %s: %w", path, err)
	}
	return nil
}

// lockPID locks a file and writes the process ID into it: 32 columns and a
// newline, so that a shorter number covers a longer one.
func lockPID(path string) (*os.File, error) {
	f, err := safefile.LockFile(path, 0o600)
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(f, "%32d\n", os.Getpid()); err != nil {
		f.Close()
		return nil, fmt.Errorf("cannot update lock file %s: %w", path, safefile.Cause(err))
	}
	return f, nil
}

// Running says whether another master holds the lock file (master -t).
func Running(program string) bool {
	path := "pid/" + program + ".pid"
	if _, err := os.Lstat(path); err != nil {
		return false
	}
	f, err := safefile.Open(path, os.O_RDWR, 0)
	if err != nil {
		return true
	}
	defer f.Close()
	return safefile.Lock(f, true, false) != nil
}

// asOwner runs f with the rights of mail_owner and its primary group.
func (m *Master) asOwner(f func() error) error {
	return account.AsUser(m.owner.UID, m.owner.GID, []int{m.owner.GID}, f)
}

// Start reads master.cf and makes the services in it, one by one: those before
// a mistake are there when it is found.
func (m *Master) Start() error {
	m.findExecutable()
	if err := m.readServices(nil); err != nil {
		return err
	}
	m.inside = m.insideList()
	return nil
}

// readServices reads master.cf and starts or updates each service in it. seen
// gets the services that the file has.
func (m *Master) readServices(seen map[*service]bool) error {
	o := mastercf.FromConfig(m.cfg,
		func(text string) { maillog.Warnf("%s", text) },
		func(text string) { maillog.Infof("%s", text) })
	var addresses *endpoint
	o.CheckHost = func(e *mastercf.Entry) (err error) {
		addresses, err = m.resolve(e)
		return err
	}
	r, err := mastercf.Open(filepath.Join(m.cfg.Dir(), "master.cf"), o)
	if err != nil {
		return err
	}
	present := make(map[*service]bool)
	for {
		e, err := r.Next()
		if isEOF(err) {
			break
		}
		if err != nil {
			return err
		}
		if e.Type != mastercf.Inet {
			addresses = &endpoint{canonical: e.Path()}
		}
		s := m.find(addresses.canonical, e.Type)
		switch {
		case s == nil:
			s, err = m.startService(e, addresses)
			if err != nil {
				return err
			}
			m.services = append(m.services, s)
		case present[s]:
			maillog.Warnf("duplicate master.cf entry for service \"%s\" (%s) -- using the last entry", e.Name, s.canonical)
			m.configure(s, e)
		default:
			if e.Type == mastercf.Inet && m.cfg.String(params.InetInterfaces) != m.inet {
				maillog.Warnf("service %s: ignoring inet_interfaces change", e.Name)
				maillog.Warnf("to change inet_interfaces, stop and start Postfix")
			}
			if err := m.restartService(s, e); err != nil {
				return err
			}
		}
		present[s] = true
		if seen != nil {
			seen[s] = true
		}
	}
	return nil
}

// find returns the service with the identity, nil if there is none.
func (m *Master) find(canonical, kind string) *service {
	for _, s := range m.services {
		if s.canonical == canonical && s.entry.Type == kind {
			return s
		}
	}
	return nil
}

// configureLog sets up the log as main.cf says; master may write the log file
// itself, and does so with direct.
func configureLog(cfg *config.Main, direct bool) error {
	settings := logconf.Settings(cfg, "master")
	settings.Fallback, settings.Direct = true, direct
	return maillog.Configure(settings)
}

// Begin is the last step before Run: the log goes to the postlog service from
// here on, if there is one, and tells that the mail system is up.
func (m *Master) Begin() error {
	if err := configureLog(m.cfg, false); err != nil {
		return err
	}
	maillog.Infof("daemon started -- version %s, configuration %s", version(m.cfg), m.cfg.Dir())
	return nil
}
