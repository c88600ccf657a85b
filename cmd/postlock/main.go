// Postlock locks a mailbox as the delivery agents do, runs a command, and
// takes the lock off again (postlock(1)).
//
// It reads mailbox_delivery_lock, deliver_lock_attempts, deliver_lock_delay,
// stale_lock_time, fork_attempts, fork_delay and import_environment.
package main

//lint:file-ignore ST1005 The error texts are those that Postfix prints.

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"suffix/pkg/cleanenv"
	"suffix/pkg/config"
	"suffix/pkg/getopt"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/safefile"
)

// exitTempFail is the status of every failure that is not the command's.
const exitTempFail = 75

func main() {
	maillog.Init("postlock", maillog.StderrOnly(os.Args[0]))
	status, err := run(os.Args[1:])
	if err != nil {
		maillog.Exitf(exitTempFail, "%v", err)
	}
	os.Exit(status)
}

func run(args []string) (status int, err error) {
	usage := fmt.Errorf("usage: %s [-c config_dir] [-l lock_style] [-v] folder command...", os.Args[0])
	found, rest, err := getopt.Parse(args, "c:l:v")
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", os.Args[0], err)
		return 0, usage
	}
	style, verbose := "", 0
	for _, opt := range found {
		switch opt.Letter {
		case 'c':
			if err := config.UseDir(opt.Value); err != nil {
				return 0, err
			}
		case 'l':
			style = opt.Value
		case 'v':
			verbose++
		}
	}
	maillog.SetVerbose(verbose)
	if len(rest) < 2 {
		return 0, usage
	}
	cfg, err := config.LoadCommand(config.Options{Program: "postlock", Warn: func(text string) { maillog.Warnf("%s", text) }})
	if err != nil {
		return 0, err
	}
	if style == "" {
		style = cfg.String(params.MailboxDeliveryLock)
	}
	l := &locker{
		attempts: cfg.Int(params.DeliverLockAttempts),
		delay:    cfg.Time(params.DeliverLockDelay),
		stale:    cfg.Time(params.StaleLockTime),
	}
	forks, forkDelay := cfg.Int(params.ForkAttempts), cfg.Time(params.ForkDelay)
	imported := cfg.Items(params.ImportEnvironment)
	if err := cfg.Err(); err != nil {
		return 0, err
	}
	if err := l.parse(style); err != nil {
		return 0, err
	}
	if err := cleanenv.Update(imported); err != nil {
		return 0, err
	}
	path := rest[0]
	f, err := l.lock(path)
	if err != nil {
		return 0, fmt.Errorf("open file %s: %w", path, err)
	}
	status, err = command(rest[1:], forks, forkDelay)
	if l.dot {
		if e := safefile.DotUnlock(path); e != nil {
			maillog.Warnf("remove lock file %s.lock: %v", path, safefile.Cause(e))
		}
	}
	f.Close()
	return status, err
}

// locker takes the locks that mailbox_delivery_lock names.
type locker struct {
	dot, flock, fcntl bool
	attempts          int
	delay, stale      time.Duration
}

func (l *locker) parse(styles string) error {
	for _, name := range config.SplitList(styles) {
		switch strings.ToLower(name) {
		case "dotlock":
			l.dot = true
		case "flock":
			l.flock = true
		case "fcntl":
			l.fcntl = true
		default:
			return fmt.Errorf("unknown mailbox_delivery_lock value \"%s\" in \"%s\"", name, styles)
		}
	}
	return nil
}

// lock opens and locks the file.
func (l *locker) lock(path string) (*os.File, error) {
	if l.dot {
		if err := safefile.DotLock(path, l.attempts, l.delay, l.stale); err != nil {
			return nil, err
		}
	}
	f, err := l.open(path)
	if err != nil && l.dot {
		if e := safefile.DotUnlock(path); e != nil {
			maillog.Warnf("remove lock file %s.lock: %v", path, safefile.Cause(e))
		}
	}
	return f, err
}

func (l *locker) open(path string) (*os.File, error) {
	f, err := safefile.Open(path, os.O_APPEND|os.O_WRONLY|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	take := func(on bool, lock func(*os.File, bool, bool) error) error {
		if !on {
			return nil
		}
		for i := 0; ; i++ {
			err := lock(f, true, false)
			if err == nil {
				return nil
			}
			if i+1 >= l.attempts || !errors.Is(err, syscall.EAGAIN) {
				return fmt.Errorf("unable to lock for exclusive access: %w", err)
			}
			time.Sleep(l.delay)
		}
	}
	if err := errors.Join(take(l.flock, safefile.Lock), take(l.fcntl, safefile.LockFcntl)); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// command runs the command and returns its status: 1 if a signal ended it, or
// if it could not be executed.
func command(argv []string, attempts int, delay time.Duration) (int, error) {
	for i := 1; ; i++ {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
		err := cmd.Run()
		var exit *exec.ExitError
		switch {
		case err == nil:
			return 0, nil
		case errors.As(err, &exit):
			if exit.ExitCode() < 0 {
				return 1, nil
			}
			return exit.ExitCode(), nil
		case !errors.Is(err, syscall.EAGAIN) && !errors.Is(err, syscall.ENOMEM):
			text := err
			if errors.Is(err, exec.ErrNotFound) {
				text = syscall.ENOENT
			}
			maillog.Logf(maillog.Fatal, "execvp %s: %v", argv[0], safefile.Cause(text))
			return 1, nil
		case i >= attempts:
			return 0, fmt.Errorf("fork %s: %w", argv[0], safefile.Cause(err))
		}
		maillog.Warnf("fork %s: %v", argv[0], safefile.Cause(err))
		time.Sleep(delay)
	}
}
