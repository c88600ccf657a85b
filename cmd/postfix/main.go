// Postfix starts, stops and checks the mail system (postfix(1)).
//
// The work of Postfix's postfix-script and post-install is done in this
// program, which logs it under their names. It runs master, postsuper,
// postqueue and postconf.
//
// The superuser runs it; an ordinary user may, for a private instance whose
// mail_owner he is. Owners and groups of files are then left as they are.
//
// It reads the directories and names of the installation, mail_owner,
// setgid_group, import_environment, the multi_instance parameters, and the
// parameters of the log.
package main

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"

	"suffix/pkg/account"
	"suffix/pkg/cleanenv"
	"suffix/pkg/config"
	"suffix/pkg/getopt"
	"suffix/pkg/logconf"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/safefile"

	"golang.org/x/sys/unix"
)

func main() {
	unix.Umask(0o022)
	openStandardStreams()
	maillog.Init("postfix", maillog.WithStderr("postfix"))
	maillog.Fatalf("%v", run(os.Args[1:]))
}

// openStandardStreams makes sure that no file gets the number of one.
func openStandardStreams() {
	for fd := 0; fd <= 2; fd++ {
		if _, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == unix.EBADF {
			if _, err := unix.Open("/dev/null", unix.O_RDWR, 0); err != nil {
				os.Exit(1)
			}
		}
	}
}

// run does not return unless it fails.
func run(args []string) error {
	usage := errors.New("usage: postfix [-c config_dir] [-Dv] command")
	if os.Getuid() != os.Geteuid() {
		return errors.New("the postfix command must not run as a set-uid process")
	}
	if os.Getuid() != 0 && !mayBePrivate(args) {
		return notSuperuser()
	}
	found, words, err := getopt.Parse(args, "c:Dv")
	if err != nil {
		fmt.Fprintf(os.Stderr, "postfix: %v\n", err)
		return usage
	}
	for _, opt := range found {
		switch opt.Letter {
		case 'c':
			if !filepath.IsAbs(opt.Value) {
				return errors.New("-c requires absolute pathname")
			}
			err = config.UseDir(opt.Value)
		case 'D':
			err = os.Setenv("MAIL_DEBUG", "")
		case 'v':
			err = os.Setenv("MAIL_VERBOSE", "")
		}
		if err != nil {
			return err
		}
	}
	cfg, err := config.Load(config.Options{Program: "postfix", Warn: func(text string) { maillog.Warnf("%s", text) }})
	if err != nil {
		return err
	}
	settings := logconf.Settings(cfg, "postfix")
	settings.BareTag, settings.Fallback = true, true
	if err := maillog.Configure(settings); err != nil {
		return err
	}
	if err := cfg.Check(); err != nil {
		return err
	}
	if os.Getuid() != 0 {
		owner, err := account.Lookup(cfg.String(params.MailOwner))
		if err != nil || owner.UID != os.Getuid() {
			return notSuperuser()
		}
	}
	_, chosen := os.LookupEnv("MAIL_CONFIG")
	imported := cfg.Items(params.ImportEnvironment)
	if err := cfg.Err(); err != nil {
		return err
	}
	if err := cleanenv.Import(imported); err != nil {
		return err
	}
	compatibilityNotice(cfg)
	if err := export(cfg, settings); err != nil {
		return err
	}
	for _, id := range []params.String{params.CommandDirectory, params.DaemonDirectory, params.QueueDirectory} {
		if err := os.Chdir(cfg.String(id)); err != nil {
			return fmt.Errorf("chdir(%s): %w", cfg.String(id), safefile.Cause(err))
		}
	}
	if !chosen && len(cfg.List(params.MultiInstanceDirectories)) > 0 {
		return runWrapper(cfg, words)
	}
	return newScript(cfg).run(words)
}

// mayBePrivate says whether an ordinary user has named an instance of his own.
// The default one can only be the superuser's.
func mayBePrivate(args []string) bool {
	if _, ok := os.LookupEnv("MAIL_CONFIG"); ok {
		return true
	}
	found, _, err := getopt.Parse(args, "c:Dv")
	if err != nil {
		return false
	}
	for _, opt := range found {
		if opt.Letter == 'c' {
			return true
		}
	}
	return false
}

func notSuperuser() error {
	maillog.Errorf("to submit mail, use the Postfix sendmail command")
	return errors.New("the postfix command is reserved for the superuser")
}

// compatibilityNotice tells about defaults of the past.
func compatibilityNotice(cfg *config.Main) {
	const level = "3.11"
	if !cfg.CompatLevelBelow(level) {
		return
	}
	maillog.Infof("Postfix is using backwards-compatible default settings")
	maillog.Infof("See https://www.postfix.org/COMPATIBILITY_README.html for details")
	maillog.Infof("To disable backwards compatibility use \"postconf compatibility_level=%s\" and \"postfix reload\"", level)
}

// exported are the parameters that programs started from here find in the
// environment, under their names.
var exported = []params.String{
	params.CommandDirectory, params.DaemonDirectory, params.DataDirectory, params.MetaDirectory,
	params.QueueDirectory, params.ConfigDirectory, params.ShlibDirectory, params.MailOwner, params.SetgidGroup,
	params.SendmailPath, params.MailqPath, params.NewaliasesPath, params.ManpageDirectory,
	params.SampleDirectory, params.ReadmeDirectory, params.HtmlDirectory,
}

const searchPath = "/bin:/usr/bin:/sbin:/usr/sbin"

func export(cfg *config.Main, log maillog.Settings) error {
	set := map[string]string{
		"PATH": searchPath, "MAIL_CONFIG": cfg.Dir(), "MAIL_LOGTAG": log.SyslogName,
	}
	for _, id := range exported {
		set[params.Of(id).Name] = cfg.String(id)
	}
	if log.File != "" {
		set["POSTLOG_SERVICE"] = log.Socket
		set["POSTLOG_HOSTNAME"], _, _ = strings.Cut(log.Hostname, ".")
	}
	for name, value := range set {
		if err := os.Setenv(name, value); err != nil {
			return fmt.Errorf("set environment variable %s: %w", name, err)
		}
	}
	return cfg.Err()
}

// runWrapper leaves the command to the manager of several instances.
func runWrapper(cfg *config.Main, words []string) error {
	wrapper := config.SplitList(cfg.String(params.MultiInstanceWrapper))
	if len(wrapper) == 0 {
		return errors.New("multi-instance support is requested, but multi_instance_wrapper is empty")
	}
	os.Unsetenv("MAIL_CONFIG")
	argv := append(wrapper, words...)
	return fmt.Errorf("%s: %w", argv[0], safefile.Cause(syscall.Exec(argv[0], argv, os.Environ())))
}
