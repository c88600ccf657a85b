// Postqueue lists the mail queue and asks for delivery of mail in it
// (spec queue-files §16). It is installed set-gid, so that it reaches the
// sockets in the public directory.
//
// It talks to showq, flush, qmgr and pickup. It reads authorized_flush_users,
// authorized_mailq_users, daemon_directory, enable_long_queue_ids,
// fast_flush_domains, flush_service_name, import_environment, ipc_timeout,
// mail_owner, pickup_service_name, queue_directory, queue_service_name,
// showq_service_name and smtputf8_enable.
package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"suffix/pkg/cleanenv"
	"suffix/pkg/config"
	"suffix/pkg/getopt"
	"suffix/pkg/logconf"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/submit"

	_ "suffix/pkg/table/bdb"
	_ "suffix/pkg/table/netblock"
	_ "suffix/pkg/table/simple"
)

const program = "postqueue"

// exitUnavailable is the status of every failure.
const exitUnavailable = 69

var errUsage = errors.New("usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site")

func main() {
	syscall.Umask(022)
	submit.CloseFrom(3, 99)
	maillog.Init(program, maillog.WithStderr(program))
	signal.Ignore(syscall.SIGPIPE)
	if err := run(os.Args[1:]); err != nil {
		maillog.Logf(maillog.Fatal, "%s", err)
		os.Exit(exitUnavailable)
	}
}

// request is what the command line asks for.
type request struct {
	what    byte // option letter; 0: none
	value   string
	confDir string
	verbose int
}

func parse(args []string) (r request, err error) {
	opts, rest, err := getopt.Parse(args, "c:fi:jps:v")
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %s\n", program, err)
		return r, errUsage
	}
	for _, o := range opts {
		switch o.Letter {
		case 'c':
			r.confDir = o.Value
		case 'v':
			r.verbose++
		default:
			if r.what != 0 {
				return r, errUsage
			}
			r.what, r.value = o.Letter, o.Value
		}
	}
	if r.what == 0 || len(rest) > 0 {
		return r, errUsage
	}
	return r, nil
}

func run(args []string) error {
	r, err := parse(args)
	if os.Geteuid() == 0 { // everybody may run this program
		maillog.SetVerbose(r.verbose)
	}
	if err != nil {
		return err
	}
	if r.confDir != "" {
		if err := config.UseDir(r.confDir); err != nil {
			return err
		}
	}
	cfg, err := config.LoadCommand(config.Options{
		Program: program, Service: program,
		Warn:  func(text string) { maillog.Warnf("%s", text) },
		Error: func(text string) { maillog.Errorf("%s", text) },
	})
	if err != nil {
		return err
	}
	if err := logconf.Apply(cfg, program); err != nil {
		return err
	}
	if err := cleanenv.Import(cfg.Items(params.ImportEnvironment)); err != nil {
		return err
	}
	if err := submit.Chdir(cfg.String(params.QueueDirectory)); err != nil {
		return err
	}
	submit.UsePostmap(cfg)
	action := submit.Flush
	if r.what == 'p' || r.what == 'j' {
		action = submit.List
	}
	if err := authorize(cfg, action, os.Getuid()); err != nil {
		return err
	}
	switch r.what {
	case 'p':
		return showQueue(cfg, newTable(os.Stdout, cfg.Bool(params.EnableLongQueueIds)))
	case 'j':
		return showQueue(cfg, newJSON(os.Stdout, cfg.Bool(params.Smtputf8Enable)))
	case 'f':
		return flushQueue(cfg)
	case 'i':
		return flushFile(cfg, r.value)
	}
	return flushSite(cfg, r.value)
}

// authorize checks that the user may do this. Root and mail_owner may do all.
func authorize(cfg *config.Main, action submit.Action, uid int) error {
	if uid == 0 {
		return nil
	}
	err := submit.Check(cfg, action, uid)
	if err != nil && submit.User(uid) == cfg.String(params.MailOwner) {
		return nil
	}
	return err
}
