// Package master is the master(8) program: it takes the place of its command
// line, locks and terminal, and runs the supervisor of pkg/master.
//
// It reads master.cf and, of main.cf, what pkg/master and every daemon read:
// queue_directory, data_directory, mail_owner, import_environment,
// default_process_limit, service_throttle_time, inet_interfaces,
// inet_protocols, and the parameters of the log.
//
// Postfix's master is for the superuser only. Here an ordinary user may run a
// private instance whose mail_owner is that user.
package master

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"suffix/pkg/account"
	"suffix/pkg/cleanenv"
	"suffix/pkg/config"
	"suffix/pkg/getopt"
	"suffix/pkg/maillog"
	"suffix/pkg/master"
	"suffix/pkg/params"
	"suffix/pkg/safefile"
	"suffix/pkg/service"

	"golang.org/x/sys/unix"
)

// options is the command line.
type options struct {
	master.Options
	debug  bool
	stdout bool
	test   bool
	wait   bool
}

// Main runs the program.
func Main() {
	unix.Umask(0o077)
	signal.Ignore(syscall.SIGPIPE)
	maillog.Init(filepath.Base(os.Args[0]))
	if err := run(); err != nil {
		maillog.Fatalf("%v", err)
	}
}

func run() error {
	o, err := parse(os.Args[1:])
	if err != nil {
		return err
	}
	if err := checkUser(); err != nil {
		return err
	}
	ready := takeReadyPipe()
	closeInherited()
	if o.wait && ready == nil {
		return startAndWait()
	}
	if err := detach(o); err != nil {
		return err
	}
	cfg, err := master.Load()
	if err != nil {
		return err
	}
	if err := checkOwner(cfg); err != nil {
		return err
	}
	if err := cleanenv.Import(cfg.Items(params.ImportEnvironment)); err != nil {
		return err
	}
	if err := cfg.Err(); err != nil {
		return err
	}
	queue := cfg.String(params.QueueDirectory)
	if err := os.Chdir(queue); err != nil {
		return fmt.Errorf("chdir %s: %w", queue, safefile.Cause(err))
	}
	program := filepath.Base(os.Args[0])
	if o.test {
		if master.Running(program) {
			os.Exit(1)
		}
		os.Exit(0)
	}
	m, err := master.New(cfg, o.Options)
	if err != nil {
		return err
	}
	if err := m.Lock(program); err != nil {
		return err
	}
	if o.debug {
		if err := service.Debugger(cfg); err != nil {
			return err
		}
	}
	if err := exportEnvironment(cfg); err != nil {
		return err
	}
	if err := m.Start(); err != nil {
		return err
	}
	m.CatchSignals()
	if err := m.Begin(); err != nil {
		return err
	}
	if ready != nil {
		if _, err := ready.Write([]byte{0}); err != nil {
			maillog.Warnf("tell the parent process: %v", err)
		}
		ready.Close()
	}
	return m.Run()
}

const usage = "usage: %s [-c config_dir] [-D (debug)] [-d (don't detach from terminal)] [-e exit_time] [-t (test)] [-v] [-w (wait for initialization)]"

func parse(args []string) (*options, error) {
	o := &options{}
	_, o.debug = os.LookupEnv("MAIL_DEBUG")
	_, o.Verbose = os.LookupEnv("MAIL_VERBOSE")
	found, rest, err := getopt.Parse(args, "c:Dde:istvw")
	wrong := fmt.Errorf(usage, os.Args[0])
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		return nil, wrong
	}
	for _, opt := range found {
		switch opt.Letter {
		case 'c':
			if err := config.UseDir(opt.Value); err != nil {
				return nil, err
			}
		case 'D':
			o.debug = true
		case 'd':
			o.KeepTerminal = true
		case 'e':
			n, err := strconv.Atoi(opt.Value)
			if err != nil || n < 0 {
				return nil, wrong
			}
			o.Lifetime = time.Duration(n) * time.Second
		case 'i':
			if os.Getpid() != 1 {
				return nil, errors.New("-i is allowed only for PID 1 process")
			}
			o.Init, o.stdout = true, true
		case 's':
			o.stdout = true
		case 't':
			o.test = true
		case 'v':
			o.Verbose = true
		case 'w':
			o.wait = true
		}
	}
	switch {
	case len(rest) > 0:
		return nil, wrong
	case o.test && o.wait:
		return nil, errors.New("the -t and -w options cannot be used together")
	case o.Init && (o.debug || o.KeepTerminal || o.wait):
		return nil, errors.New("the -i option cannot be used with -D, -d, or -w")
	}
	return o, nil
}

// checkUser refuses what can be refused before main.cf is read.
func checkUser() error {
	if os.Getuid() != os.Geteuid() {
		if os.Geteuid() != 0 {
			return errors.New("the master command is reserved for the superuser")
		}
		return errors.New("the master command must not run as a set-uid process")
	}
	return nil
}

// checkOwner lets those in who are root or, for a private instance, mail_owner.
func checkOwner(cfg *config.Main) error {
	if os.Getuid() == 0 {
		return nil
	}
	owner, err := account.Lookup(cfg.String(params.MailOwner))
	if err != nil || owner.UID != os.Getuid() {
		return errors.New("the master command is reserved for the superuser")
	}
	return nil
}

// detach leaves the terminal and the parent's process group.
func detach(o *options) error {
	if !o.KeepTerminal {
		null, err := os.OpenFile("/dev/null", os.O_RDWR, 0)
		if err != nil {
			return fmt.Errorf("open /dev/null: %w", safefile.Cause(err))
		}
		for fd := 0; fd <= 2; fd++ {
			if fd == 1 && o.stdout {
				continue
			}
			if err := unix.Dup3(int(null.Fd()), fd, 0); err != nil {
				return fmt.Errorf("redirect standard streams: %w", safefile.Cause(err))
			}
		}
		null.Close()
	}
	if o.test || o.Init || o.debug || o.KeepTerminal {
		return nil
	}
	if _, err := unix.Setsid(); err != nil && unix.Getpgrp() != os.Getpid() {
		return fmt.Errorf("unable to set session and process group ID: %w", safefile.Cause(err))
	}
	return nil
}

// exportEnvironment adds what children find beside the imported variables.
func exportEnvironment(cfg *config.Main) error {
	return os.Setenv("MAIL_LOGTAG", cfg.String(params.SyslogName))
}

// Waiting for the initialization, with -w: the waiting process starts another
// one, which writes a byte to a pipe when it is ready.
const (
	readyVariable = "SUFFIX_MASTER_READY"
	readyTimeout  = 100 * time.Second
)

// takeReadyPipe returns the pipe to a waiting parent, nil if there is none.
func takeReadyPipe() *os.File {
	text, ok := os.LookupEnv(readyVariable)
	if !ok {
		return nil
	}
	os.Unsetenv(readyVariable)
	fd, err := strconv.Atoi(text)
	if err != nil || fd < 3 {
		return nil
	}
	unix.CloseOnExec(fd)
	return os.NewFile(uintptr(fd), "ready pipe")
}

// closeInherited closes what the caller left open, such as the pipe of a shell
// that waits for its end. Descriptors of this program's own have the
// close-on-exec flag.
func closeInherited() {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return
	}
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil || fd < 3 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 {
			unix.Close(fd)
		}
	}
}

func startAndWait() error {
	r, w, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("pipe: %w", safefile.Cause(err))
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("find my own program: %w", err)
	}
	const childFD = 3
	pid, err := syscall.ForkExec(self, os.Args, &syscall.ProcAttr{
		Env:   append(os.Environ(), readyVariable+"="+strconv.Itoa(childFD)),
		Files: []uintptr{0, 1, 2, w.Fd()},
	})
	if err != nil {
		return fmt.Errorf("fork: %w", safefile.Cause(err))
	}
	w.Close()
	if err := r.SetReadDeadline(time.Now().Add(readyTimeout)); err != nil {
		return fmt.Errorf("pipe: %w", err)
	}
	var b [1]byte
	n, err := r.Read(b[:])
	if n == 1 {
		os.Exit(0)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		maillog.Warnf("%v while waiting for daemon initialization", safefile.Cause(syscall.ETIMEDOUT))
		if err := unix.Kill(pid, unix.SIGKILL); err != nil {
			maillog.Warnf("kill process %d: %v", pid, err)
		}
	}
	return errors.New("daemon initialization failure -- see logs for details")
}
