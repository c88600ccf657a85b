package service

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"syscall"
	"time"

	"suffix/pkg/account"
	"suffix/pkg/config"
	"suffix/pkg/logconf"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/safefile"

	"golang.org/x/sys/unix"
)

// Run parses the command line of a daemon, starts it as master expects, and
// serves. It does not return.
func Run(d Daemon) {
	program := filepath.Base(os.Args[0])
	maillog.Fatalf("%v", run(&d, program, os.Args[1:]))
}

// run does not return unless it fails.
func run(d *Daemon, program string, args []string) error {
	signal.Ignore(syscall.SIGPIPE, syscall.SIGXFSZ)
	maillog.Init(program)
	o, err := parseOptions(d, args)
	if err != nil {
		return err
	}
	p, err := newProcess(d, program, o)
	if err != nil {
		return err
	}
	if err := checkLimits(d, p); err != nil {
		return err
	}
	var lockFile *os.File
	if !o.standalone {
		if p.Transport, err = checkTransport(d, o.transport); err != nil {
			return err
		}
		p.master = &channel{fd: statusFD, pid: os.Getpid(), generation: p.generation}
		if d.Kind == Event && !p.ours {
			if err := p.front(); err != nil {
				return err
			}
		}
		if lockFile, err = p.openLock(d); err != nil {
			return err
		}
		for fd := flowReadFD; fd < listenFD+o.sockets; fd++ {
			unix.CloseOnExec(fd)
		}
	}
	if _, ok := os.LookupEnv("MAIL_DEBUG"); ok || o.debug {
		if err := p.startDebugger(); err != nil {
			return err
		}
	}
	if err := p.enter(d); err != nil {
		return err
	}
	// What the start needed is garbage now, and the process may live for
	// days with little to do.
	debug.FreeOSMemory()
	if o.standalone {
		p.serveStandalone(d)
	}
	return p.serve(d, lockFile)
}

// newProcess reads main.cf and what master says in the environment.
func newProcess(d *Daemon, program string, o *options) (*Process, error) {
	p := &Process{
		Program: program, Service: o.name, Args: o.args, Standalone: o.standalone, options: o,
		NoMaxUse: d.NoMaxUse, NoMaxIdle: d.NoMaxIdle,
	}
	if p.Service == "" {
		p.Service = program
	}
	if _, ok := os.LookupEnv("MAIL_VERBOSE"); ok {
		o.verbose++
	}
	maillog.SetVerbose(o.verbose)
	if !o.standalone && !o.keepTTY && isTerminal(0) {
		fmt.Fprintf(os.Stderr, "%s: fatal: do not run this command by hand\n", program)
		return nil, fmt.Errorf("do not run this command by hand")
	}
	if o.stderr {
		maillog.Init(program, maillog.WithStderrTag())
	}
	cfg, err := config.Load(config.Options{
		Overrides: o.overrides, Program: program, Service: p.Service,
		Warn: func(text string) { maillog.Warnf("%s", text) },
	})
	if err != nil {
		return nil, err
	}
	p.Config = cfg
	if err := logconf.Apply(cfg, program); err != nil {
		return nil, err
	}
	if err := cfg.Check(); err != nil {
		return nil, err
	}
	if !o.standalone {
		for _, text := range cfg.Ineffective(program) {
			maillog.Warnf("%s", text)
		}
	}
	if len(o.args) > 0 && !d.Arguments {
		return nil, fmt.Errorf("unexpected command-line argument: %s", o.args[0])
	}
	if p.generation, err = generation(); err != nil {
		return nil, err
	}
	maillog.Debugf("process generation: %d (%o)", p.generation, p.generation)
	p.inside = parseInside(os.Getenv(EnvInProcess))
	p.SessionLimit = 1
	if text, ok := os.LookupEnv(EnvSessionLimit); ok && !o.standalone {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return nil, fmt.Errorf("bad %s: %s", EnvSessionLimit, text)
		}
		p.ours, p.slots, p.SessionLimit = true, n, n
		p.openLogFile(d)
	}
	if d.Kind == Multi || d.Kind == Event {
		p.SessionLimit = 0
	}
	// Meant for this process, not for programs that it starts.
	os.Unsetenv(EnvSessionLimit)
	os.Unsetenv(EnvInProcess)
	os.Unsetenv(EnvGeneration)
	return p, nil
}

func isTerminal(fd int) bool {
	_, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	return err == nil
}

// checkLimits refuses a master.cf entry that the daemon cannot work with.
func checkLimits(d *Daemon, p *Process) error {
	o := p.options
	switch {
	case o.standalone:
		return nil
	case d.Limit == LimitOne && !o.limitOne:
		return fmt.Errorf("service %s requires a process limit of 1", p.Service)
	case d.Limit == LimitZero && !o.limitZero:
		return fmt.Errorf("service %s requires a process limit of 0", p.Service)
	case d.Privileged && o.unprivileged:
		return fmt.Errorf("service %s requires privileged operation", p.Service)
	}
	return nil
}

// openLock opens the file whose lock the processes of a service pass on; nil
// where one process has all clients.
func (p *Process) openLock(d *Daemon) (*os.File, error) {
	if p.ours || p.options.limitOne || d.Kind != Single {
		return nil, nil
	}
	path := "pid/" + p.Transport + "." + p.Service
	f, err := safefile.Open(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open lock file %s: %w", path, err)
	}
	return f, nil
}

// startDebugger runs debugger_command, and gives it time to attach itself.
func (p *Process) startDebugger() error {
	return Debugger(p.Config)
}

// Debugger runs debugger_command in the background and waits three seconds.
func Debugger(cfg *config.Main) error {
	command := cfg.String(params.DebuggerCommand)
	if command == "" {
		return fmt.Errorf("no debugger_command variable set up")
	}
	maillog.Infof("running: %s", command)
	cmd := exec.Command("/bin/sh", "-c", command)
	cmd.Env = append(os.Environ(), "process_name="+filepath.Base(os.Args[0]), "process_id="+strconv.Itoa(os.Getpid()))
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("run debugger_command: %w", err)
	}
	go func() {
		if err := cmd.Wait(); err != nil {
			maillog.Warnf("debugger_command: %v", err)
		}
	}()
	time.Sleep(3 * time.Second)
	return nil
}

// enter goes from the process as started to the daemon at work: queue
// directory, Setup, loss of privileges, Ready.
func (p *Process) enter(d *Daemon) error {
	queue := p.Config.String(params.QueueDirectory)
	if err := os.Chdir(queue); err != nil {
		return fmt.Errorf("chdir(\"%s\"): %w", queue, safefile.Cause(err))
	}
	if d.Setup != nil {
		if err := d.Setup(p); err != nil {
			return err
		}
	}
	if err := p.Config.Err(); err != nil {
		return err
	}
	// The time zone file may be out of reach in a chroot jail.
	zone, _ := time.Now().Zone()
	maillog.Debugf("time zone: %s", zone)
	if err := p.dropPrivileges(queue); err != nil {
		return err
	}
	if d.Ready != nil {
		return d.Ready(p)
	}
	return nil
}

func (p *Process) dropPrivileges(queue string) error {
	o := p.options
	if o.verbose > 1 {
		maillog.Infof("chroot %s user %s", orNone(o.chroot, queue), orNone(o.unprivileged, p.Config.String(params.MailOwner)))
	}
	var owner *account.User
	if o.unprivileged {
		name := p.Config.String(params.MailOwner)
		u, err := account.Lookup(name)
		if err != nil {
			return fmt.Errorf("unknown user: %s", name)
		}
		if err := account.SetGroups(u); err != nil {
			return err
		}
		owner = u
	}
	if o.chroot {
		if os.Geteuid() != 0 {
			// A private instance of an ordinary user has no jail to go to;
			// its daemons have that user's rights and no others.
			maillog.Warnf("service %s: not running as root: ignoring chroot", p.Service)
		} else {
			if err := syscall.Chroot(queue); err != nil {
				return fmt.Errorf("chroot(%s): %w", queue, safefile.Cause(err))
			}
			if err := os.Chdir("/"); err != nil {
				return fmt.Errorf("chdir(/): %w", safefile.Cause(err))
			}
		}
	}
	if owner != nil {
		return account.SetUser(owner)
	}
	return nil
}

func orNone(on bool, text string) string {
	if on {
		return text
	}
	return "(none)"
}

// serve takes over the inherited sockets, and does not return unless that
// fails.
func (p *Process) serve(d *Daemon, lockFile *os.File) error {
	s := newServer(d, p)
	s.lockFile = lockFile
	p.server = s
	if d.Kind == Datagram {
		s.runDatagrams(listenFD)
	}
	if p.Transport == "fifo" {
		if err := unix.SetNonblock(listenFD, true); err != nil {
			return fmt.Errorf("fifo %d: %w", listenFD, err)
		}
		s.runTriggers(os.NewFile(listenFD, "fifo"))
	}
	for i := range p.options.sockets {
		l, err := inherit(listenFD + i)
		if err != nil {
			return err
		}
		s.listeners = append(s.listeners, l)
	}
	if d.Kind == Trigger {
		s.runTriggers(nil)
	}
	s.run()
	return nil
}

// serveStandalone has one session, or one trigger, on standard input and
// output, and does not return.
func (p *Process) serveStandalone(d *Daemon) {
	s := newServer(d, p)
	p.server = s
	ctx := context.Background()
	if d.Kind != Trigger {
		c := standalone()
		func() {
			defer s.recovered("standard input")
			d.Serve(ctx, p, s.conn(c))
		}()
		c.Close()
		p.exit(d)
	}
	buf := make([]byte, maxTrigger)
	n, err := os.Stdin.Read(buf)
	if n == 0 && err != nil {
		p.exit(d)
	}
	if d.Loop == nil {
		d.Trigger(ctx, p, buf[:n])
		p.exit(d)
	}
	// The loop gets its one request, does it, and is then asked to end.
	ctx, cancel := context.WithCancel(ctx)
	requests := make(chan []byte)
	go func() {
		requests <- buf[:n]
		cancel()
	}()
	if err := d.Loop(ctx, p, requests); err != nil {
		maillog.Fatalf("%v", strings.TrimSpace(err.Error()))
	}
	p.exit(d)
}

// openLogFile spares postlogd the records of this process, where the log is a
// file: this process may open it now, before it loses its rights, and hears
// from our master before the file is moved away.
func (p *Process) openLogFile(d *Daemon) {
	path := p.Config.String(params.MaillogFile)
	if path == "" || strings.HasPrefix(path, "/dev/") || d.Kind == Datagram {
		return
	}
	if err := maillog.AppendTo(path, p.Config.String(params.MaillogFilePermissions)); err != nil {
		maillog.Debugf("records go to postlogd: %v", err)
	}
}
