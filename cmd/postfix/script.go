package main

//lint:file-ignore ST1005 The error texts are those that Postfix logs.

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
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

// script does what the admin asks (spec master §10.2). Its working directory
// is the queue directory.
type script struct {
	cfg     *config.Main
	command string // directories
	daemon  string
	data    string
	dir     string // configuration
	meta    string
	queue   string
	shlib   string
	owner   string
	group   string
	root    bool // this is the superuser

	secondary bool // shares programs with the default instance
}

func newScript(cfg *config.Main) *script {
	s := &script{
		cfg:     cfg,
		command: cfg.String(params.CommandDirectory), daemon: cfg.String(params.DaemonDirectory),
		data: cfg.String(params.DataDirectory), dir: cfg.Dir(), meta: cfg.String(params.MetaDirectory),
		queue: cfg.String(params.QueueDirectory), shlib: cfg.String(params.ShlibDirectory),
		owner: cfg.String(params.MailOwner), group: cfg.String(params.SetgidGroup),
		root: os.Getuid() == 0,
	}
	if s.dir != config.DefaultDir {
		if list, err := config.ReadSettings(filepath.Join(config.DefaultDir, "main.cf"), nil); err == nil {
			for _, setting := range list {
				if setting.Name == "multi_instance_directories" && slices.Contains(config.SplitList(setting.Value), s.dir) {
					s.secondary = true
				}
			}
		}
	}
	return s
}

// errFailed ends the program with status 1 after a program that was run has
// told why.
var errFailed = errors.New("failed")

const commandList = "postfix start (or stop, reload, abort, flush, check, status, set-permissions, upgrade-configuration, logrotate, tls, non-bdb)"

// run executes one command and does not return unless it fails.
func (s *script) run(words []string) error {
	signal.Ignore(unix.SIGHUP)
	settings := logconf.Settings(s.cfg, "postfix-script")
	settings.Fallback = true
	settings.StderrName = "postlog"
	if isTerminal(os.Stderr) {
		settings.StderrName = settings.SyslogName + "/postfix-script"
	}
	name, args := "", []string{}
	if len(words) > 0 {
		name, args = words[0], words[1:]
	}
	switch name {
	case "stop", "quick-stop", "abort", "drain":
		// What is on its way to postlogd ends with it.
		settings.Direct = settings.File != "" && !strings.HasPrefix(settings.File, "/dev/")
	}
	if err := maillog.Configure(settings); err != nil {
		return err
	}
	err := s.preconditions()
	if err == nil {
		err = s.dispatch(name, args)
	}
	var exit *exec.ExitError
	switch {
	case err == nil:
		os.Exit(0)
	case errors.Is(err, errFailed):
		os.Exit(1)
	case errors.As(err, &exit):
		os.Exit(exitStatus(exit))
	}
	return err
}

// exitStatus is the status that a shell gives to a program's end.
func exitStatus(e *exec.ExitError) int {
	if status, ok := e.Sys().(syscall.WaitStatus); ok && status.Signaled() {
		return 128 + int(status.Signal())
	}
	return e.ExitCode()
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// preconditions are those of every command.
func (s *script) preconditions() error {
	isDir := func(path string) bool {
		info, err := os.Stat(path)
		return err == nil && info.IsDir()
	}
	switch {
	case !isDir(s.command):
		return fmt.Errorf("no Postfix command directory %s!", s.command)
	case !isDir(s.daemon):
		return fmt.Errorf("no Postfix daemon directory %s!", s.daemon)
	case !isFile(s.daemon + "/master"):
		return fmt.Errorf("no Postfix master program %s/master!", s.daemon)
	case !isDir(s.dir):
		return fmt.Errorf("no Postfix configuration directory %s!", s.dir)
	case s.shlib != "no" && !isDir(s.shlib):
		return fmt.Errorf("no Postfix shared-library directory %s!", s.shlib)
	case !isDir(s.meta):
		return fmt.Errorf("no Postfix meta directory %s!", s.meta)
	case !isDir(s.queue):
		return fmt.Errorf("no Postfix queue directory %s!", s.queue)
	case unix.Access(s.command+"/postconf", unix.X_OK) != nil:
		return fmt.Errorf("cannot execute %s/postconf!", s.command)
	}
	return nil
}

func isFile(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular()
}

func (s *script) dispatch(name string, args []string) error {
	switch name {
	case "start":
		return s.start()
	case "start-fg":
		return s.startForeground()
	case "stop":
		return s.stop()
	case "quick-stop":
		if err := s.stop(); err != nil {
			return err
		}
		return os.WriteFile("quick-start", nil, 0o644)
	case "abort":
		return s.signalMaster("aborting the Postfix mail system", unix.SIGTERM)
	case "drain":
		return s.signalMaster("stopping the Postfix mail system", unix.SIGKILL)
	case "reload":
		return s.reload()
	case "flush":
		return s.program(s.command+"/postqueue", "-f")
	case "status":
		return s.status()
	case "check":
		if err := s.checkFatal(); err != nil {
			return err
		}
		s.migrateAliases()
		s.checkWarn()
		return nil
	case "check-alias-maps-migration":
		s.migrateAliases()
		return nil
	case "check-fatal":
		return s.checkFatal()
	case "check-warn":
		s.checkWarn()
		return nil
	case "set-permissions", "upgrade-configuration":
		return s.install(append([]string{"create-missing", name}, args...))
	case "post-install":
		return s.install(args)
	case "logrotate":
		return s.rotateLog(args)
	case "non-bdb":
		return s.nonBDB(args)
	case "tls":
		return fmt.Errorf("the '%s' command is not available in this version", name)
	case "start_msg":
		fmt.Println("Start postfix")
		return nil
	case "stop_msg":
		fmt.Println("Stop postfix")
		return nil
	}
	if strings.HasPrefix(name, "/") {
		return s.program(name, args...)
	}
	return fmt.Errorf("unknown command: '%s'. Usage: %s", name, commandList)
}

// program runs another program on our standard streams.
func (s *script) program(path string, args ...string) error {
	cmd := exec.Command(path, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		maillog.Errorf("%s: %v", path, safefile.Cause(err))
		return errFailed
	}
	return err
}

// running says whether master is there.
func (s *script) running() bool { return s.program(s.daemon+"/master", "-t") != nil }

func (s *script) mustRun() error {
	if !s.running() {
		return errors.New("the Postfix mail system is not running")
	}
	return nil
}

// masterPID reads the lock file of master.
func (s *script) masterPID() (int, error) {
	content, err := os.ReadFile("pid/master.pid")
	if err != nil {
		return 0, fmt.Errorf("open pid/master.pid: %w", safefile.Cause(err))
	}
	line, _, _ := strings.Cut(string(content), "\n")
	pid, err := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || pid <= 1 {
		return 0, fmt.Errorf("bad process ID in pid/master.pid: %q", line)
	}
	return pid, nil
}

// prepare is what start and start-fg have in common.
func (s *script) prepare() error {
	if s.running() {
		return errors.New("the Postfix mail system is already running")
	}
	if isFile("quick-start") {
		if err := os.Remove("quick-start"); err != nil {
			return fmt.Errorf("remove quick-start: %w", safefile.Cause(err))
		}
	} else {
		if err := s.checkFatal(); err != nil {
			if !errors.Is(err, errFailed) {
				maillog.Logf(maillog.Fatal, "%v", err)
				time.Sleep(time.Second)
			}
			return errors.New("Postfix integrity check failed!")
		}
		s.checkWarn()
		s.migrateAliases()
	}
	maillog.Infof("starting the Postfix mail system")
	return nil
}

func (s *script) start() error {
	if err := s.prepare(); err != nil {
		return err
	}
	if s.program(s.daemon+"/master", "-w") != nil {
		return errors.New("mail system startup failed")
	}
	return nil
}

func (s *script) startForeground() error {
	if len(s.cfg.List(params.MultiInstanceDirectories)) > 0 {
		return errors.New("start-fg does not support multi_instance_directories")
	}
	if err := s.prepare(); err != nil {
		return err
	}
	if os.Getpid() == 1 {
		master := s.daemon + "/master"
		err := syscall.Exec(master, []string{master, "-i"}, os.Environ())
		maillog.Warnf("exec %s: %v", master, safefile.Cause(err))
		return errors.New("cannot start-fg the master daemon")
	}
	return s.program(s.daemon+"/master", "-s")
}

// stopTries is how many seconds stop waits before it uses force.
const stopTries = 5

func (s *script) stop() error {
	if err := s.signalMaster("stopping the Postfix mail system", unix.SIGTERM); err != nil {
		return err
	}
	for range stopTries {
		if !s.running() {
			return nil
		}
		maillog.Infof("waiting for the Postfix mail system to terminate")
		time.Sleep(time.Second)
	}
	maillog.Warnf("stopping the Postfix mail system with force")
	pid, err := s.masterPID()
	if err != nil {
		return err
	}
	if err := unix.Kill(-pid, unix.SIGKILL); err != nil {
		return fmt.Errorf("kill process group %d: %w", pid, safefile.Cause(err))
	}
	return errFailed
}

// signalMaster announces and sends a signal.
func (s *script) signalMaster(announcement string, sig unix.Signal) error {
	if err := s.mustRun(); err != nil {
		return err
	}
	maillog.Infof("%s", announcement)
	pid, err := s.masterPID()
	if err != nil {
		return err
	}
	if err := unix.Kill(pid, sig); err != nil {
		return fmt.Errorf("kill process %d: %w", pid, safefile.Cause(err))
	}
	return nil
}

func (s *script) reload() error {
	s.warnDeprecated()
	if err := s.mustRun(); err != nil {
		return err
	}
	maillog.Infof("refreshing the Postfix mail system")
	if s.program(s.command+"/postsuper", "active") != nil {
		return errFailed
	}
	pid, err := s.masterPID()
	if err != nil {
		return err
	}
	if err := unix.Kill(pid, unix.SIGHUP); err != nil {
		return fmt.Errorf("kill process %d: %w", pid, safefile.Cause(err))
	}
	// The rest of the queue is looked after in the background.
	cmd := exec.Command(s.command + "/postsuper")
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s/postsuper: %w", s.command, safefile.Cause(err))
	}
	return cmd.Process.Release()
}

func (s *script) status() error {
	s.warnDeprecated()
	if !s.running() {
		maillog.Infof("the Postfix mail system is not running")
		return errFailed
	}
	pid, err := s.masterPID()
	if err != nil {
		return err
	}
	maillog.Infof("the Postfix mail system is running: PID: %d", pid)
	return nil
}

// warnDeprecated has postconf show its warnings; the listing is not wanted.
func (s *script) warnDeprecated() {
	cmd := exec.Command(s.command + "/postconf")
	cmd.Stderr = os.Stderr
	if err := cmd.Run(); err != nil {
		maillog.Warnf("%s/postconf: %v", s.command, err)
	}
}

// rotateLog renames the log file and has a new one started.
func (s *script) rotateLog(args []string) error {
	if len(args) > 0 {
		return errors.New("usage postfix logrotate (no arguments)")
	}
	file := s.cfg.String(params.MaillogFile)
	compressor := s.cfg.String(params.MaillogFileCompressor)
	suffix := s.cfg.String(params.MaillogFileRotateSuffix)
	if err := s.cfg.Err(); err != nil {
		return err
	}
	for _, p := range []struct{ name, value string }{
		{"maillog_file", file}, {"maillog_file_compressor", compressor}, {"maillog_file_rotate_suffix", suffix},
	} {
		if p.value == "" {
			return fmt.Errorf("empty '%s' parameter value - logfile rotation failed", p.name)
		}
	}
	if strings.HasPrefix(file, "/dev/") {
		return fmt.Errorf("not rotating '%s'", file)
	}
	failed := func(err error) error { return fmt.Errorf("logfile '%s' rotation failed: %w", file, err) }
	date, err := exec.Command("date", "+"+suffix).Output()
	if err != nil {
		return failed(err)
	}
	rotated := file + "." + strings.TrimSpace(string(date))
	if err := os.Rename(file, rotated); err != nil {
		return failed(safefile.Cause(err))
	}
	if s.running() {
		pid, err := s.masterPID()
		if err == nil {
			err = unix.Kill(pid, unix.SIGHUP)
		}
		if err != nil {
			return failed(err)
		}
		// Until the old logger has closed the file, it must not be compressed.
		time.Sleep(time.Second)
	}
	if out, err := exec.Command(compressor, rotated).CombinedOutput(); err != nil {
		return failed(errors.New(strings.TrimSpace(string(out) + " " + err.Error())))
	}
	return nil
}

// uid of mail_owner and gid of setgid_group.
func (s *script) identities() (uid, gid int, err error) {
	owner, err := account.Lookup(s.owner)
	if err != nil {
		return 0, 0, err
	}
	group, err := account.LookupGroup(s.group)
	if err != nil {
		return 0, 0, err
	}
	return owner.UID, group.GID, nil
}

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
