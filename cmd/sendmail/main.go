// Command sendmail is the mail system's interface for programs that send mail
// (sendmail(1), spec submission §2). Under the name mailq it lists the queue,
// as newaliases it rebuilds the alias database.
//
// It runs postdrop for messages, and postqueue, postalias, postfix or smtpd
// for everything else. Parameters: alias_database, alternate_config_directories,
// authorized_submit_users, command_directory, daemon_directory,
// default_verp_delimiters, export_environment,
// header_size_limit, import_environment, line_length_limit, message_size_limit,
// queue_directory, requiretls_enable, sendmail_fix_line_endings,
// smtputf8_enable, verp_delimiter_filter.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"suffix/pkg/cleanenv"
	"suffix/pkg/config"
	"suffix/pkg/logconf"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/submit"

	_ "suffix/pkg/table/bdb"
	_ "suffix/pkg/table/netblock"
	_ "suffix/pkg/table/simple"
)

// exitTemporary is the status of every error: whatever it is, the caller may
// try again.
const exitTemporary = 75

// fatalf ends the program with a message, at once.
func fatalf(format string, args ...any) {
	maillog.Logf(maillog.Fatal, format, args...)
	os.Exit(exitTemporary)
}

func main() {
	syscall.Umask(022)
	submit.CloseFrom(3, 99)
	name := filepath.Base(os.Args[0])
	setuid := os.Getuid() != os.Geteuid() || os.Getgid() != os.Getegid()
	maillog.Init("sendmail", maillog.WithStderr(name))
	verbose := 0
	if _, set := os.LookupEnv("MAIL_VERBOSE"); set && !setuid {
		verbose = 1
	}
	if os.Geteuid() == 0 && os.Getuid() != 0 {
		maillog.Warnf("the Postfix sendmail command has set-uid root file permissions")
		maillog.Warnf("or the command is run from a set-uid root process")
		maillog.Warnf("the Postfix sendmail command must be installed without set-uid root file permissions")
		if err := syscall.Setreuid(os.Getuid(), os.Getuid()); err != nil {
			fatalf("setreuid: %v", err)
		}
	}
	cfg := configure(os.Args)
	if err := cleanenv.Update(cfg.Items(params.ImportEnvironment)); err != nil {
		fatalf("%v", err)
	}
	if err := submit.Chdir(cfg.String(params.QueueDirectory)); err != nil {
		fatalf("%v", err)
	}
	signal.Ignore(syscall.SIGPIPE, syscall.SIGXFSZ)

	c := &command{cfg: cfg, uid: os.Getuid(), verbose: verbose}
	c.mode = modeOf(name)
	if err := c.parse(os.Args); err != nil {
		fatalf("%v", err)
	}
	if err := c.check(); err != nil {
		fatalf("%v", err)
	}
	maillog.SetVerbose(c.verbose)
	if err := c.run(); err != nil {
		fatalf("%v", err)
	}
}

// configure reads main.cf from where option -C says.
func configure(args []string) *config.Main {
	first := &command{firstPass: true}
	if err := first.parse(args); err != nil {
		fatalf("%v", err)
	}
	if dir := first.configDir; dir != "" {
		if filepath.Base(dir) == "main.cf" {
			dir = filepath.Dir(dir)
		}
		if err := allowed(dir); err != nil {
			fatalf("%v", err)
		}
		if err := config.UseDir(dir); err != nil {
			fatalf("%v", err)
		}
	}
	cfg, err := config.LoadCommand(config.Options{
		Program: "sendmail", Service: "sendmail",
		Warn:  func(text string) { maillog.Warnf("%s", text) },
		Error: func(text string) { maillog.Errorf("%s", text) },
	})
	if err != nil {
		fatalf("%v", err)
	}
	if err := logconf.Apply(cfg, "sendmail"); err != nil {
		fatalf("%v", err)
	}
	return cfg
}

// allowed checks that the default main.cf lists a directory that a user other
// than root chose with option -C.
func allowed(dir string) error {
	if dir == config.DefaultDir || os.Geteuid() == 0 {
		return nil
	}
	path := config.DefaultDir + "/main.cf"
	list, err := config.ReadSettings(path, func(text string) { maillog.Warnf("%s", text) })
	if err != nil {
		return errors.New("open file " + strings.TrimPrefix(err.Error(), "open "))
	}
	for _, s := range list {
		if s.Name == "alternate_config_directories" || s.Name == "multi_instance_directories" {
			if slices.Contains(config.SplitList(s.Value), dir) {
				return nil
			}
		}
	}
	maillog.Errorf("unauthorized configuration directory name: %s", dir)
	return fmt.Errorf("specify \"alternate_config_directories = %s\" or \"multi_instance_directories = %s\" in %s", dir, dir, path)
}

// mode is what the program is asked to do.
type mode int

const (
	deliver mode = iota
	daemon
	standalone
	listQueue
	flushQueue
	flushSite
	flushID
	newAliases
)

// modeOf chooses by the name of the program.
func modeOf(name string) mode {
	switch name {
	case "mailq":
		return listQueue
	case "newaliases":
		return newAliases
	case "smtpd":
		return daemon
	}
	return deliver
}

// run does what the options ask for.
func (c *command) run() error {
	bin := func(name string) string { return filepath.Join(c.cfg.String(params.CommandDirectory), name) }
	v := strings.Fields(strings.Repeat("-v ", c.verbose))
	switch c.mode {
	case daemon:
		return c.startSystem(bin("postfix"), append(v, "start"))
	case standalone:
		if err := submit.Check(c.cfg, submit.Submit, c.uid); err != nil {
			return err
		}
		return replace(filepath.Join(c.cfg.String(params.DaemonDirectory), "smtpd"), append([]string{"-S"}, v...))
	case listQueue:
		return replace(bin("postqueue"), append([]string{"-p"}, v...))
	case flushQueue:
		return replace(bin("postqueue"), append([]string{"-f"}, v...))
	case flushSite:
		return replace(bin("postqueue"), append([]string{"-s", c.site}, v...))
	case flushID:
		return replace(bin("postqueue"), append([]string{"-i", c.queueID}, v...))
	case newAliases:
		databases := c.cfg.List(params.AliasDatabase)
		if c.aliases != "" {
			databases = []string{c.aliases}
		}
		if len(databases) == 0 {
			return nil
		}
		return replace(bin("postalias"), append(append(v, "--"), databases...))
	}
	return c.deliver(bin("postdrop"))
}

// replace turns this process into another program.
func replace(path string, args []string) error {
	err := syscall.Exec(path, append([]string{filepath.Base(path)}, args...), os.Environ())
	return fmt.Errorf("execvp %s: %w", path, err)
}

// startSystem runs a program and does not wait for it.
func (c *command) startSystem(path string, args []string) error {
	_, err := os.StartProcess(path, append([]string{filepath.Base(path)}, args...),
		&os.ProcAttr{Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}})
	if err != nil {
		maillog.Warnf("execvp %s: %v", path, err)
		os.Exit(1)
	}
	return nil
}
