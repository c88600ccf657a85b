// Postsuper maintains the mail queue: it repairs names and places of queue
// files, removes leftovers, and deletes, requeues, holds, releases and expires
// messages (spec queue-files §18).
//
// It talks to no service. It reads enable_long_queue_ids, hash_queue_depth,
// hash_queue_names, import_environment, mail_owner, queue_directory and the
// parameters about logging. Only the superuser may run it; it works with the
// rights of mail_owner.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"suffix/pkg/account"
	"suffix/pkg/cleanenv"
	"suffix/pkg/config"
	"suffix/pkg/getopt"
	"suffix/pkg/logconf"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/queue"
	"suffix/pkg/syserr"
)

const program = "postsuper"

const usage = "usage: postsuper [-c config_dir] [-d queue_id (delete)] [-e queue_id (expire)] " +
	"[-f queue_id (expire and/or un-hold)] [-h queue_id (hold)] [-H queue_id (un-hold)] " +
	"[-p (purge temporary files)] [-r queue_id (requeue)] [-s (structure fix)] " +
	"[-S (redundant structure fix)][-v (verbose)] [queue...]"

func main() {
	syscall.Umask(022)
	maillog.Init(program, maillog.WithStderr(program))
	s := &super{log: maillog.Logf}
	err := run(s, os.Args[1:])
	if err != nil {
		maillog.Logf(maillog.Fatal, "%s", err)
		s.warnIncomplete()
		os.Exit(1)
	}
}

// command is what the command line asks for.
type command struct {
	structure bool // -s or -S
	redundant bool // -S
	purge     bool
	actions   []action
	queues    []string
	verbose   int
}

// action is one option that is about messages.
type action struct {
	option byte
	target string // queue ID, ALL, or - for standard input
}

func parse(args []string) (c command, err error) {
	opts, rest, err := getopt.Parse(args, "c:d:e:f:h:H:pr:sSv")
	for _, o := range opts {
		switch o.Letter {
		case 'c':
			if !strings.HasPrefix(o.Value, "/") {
				return c, errors.New("-c requires absolute pathname")
			}
			if err := config.UseDir(o.Value); err != nil {
				return c, err
			}
		case 'p':
			c.purge = true
		case 's':
			c.structure = true
		case 'S':
			c.structure, c.redundant = true, true
		case 'v':
			c.verbose++
		default:
			c.actions = append(c.actions, action{o.Letter, o.Value})
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %s\n", program, err)
		return c, errors.New(usage)
	}
	if len(c.actions) == 0 && !c.purge && !c.structure {
		c.purge, c.structure = true, true
	}
	if c.queues = rest; len(rest) == 0 {
		c.queues = []string{queue.Defer, queue.Bounce, queue.Maildrop, queue.Incoming, queue.Active, queue.Deferred, queue.Hold, queue.Flush}
	}
	return c, nil
}

func run(s *super, args []string) error {
	c, err := parse(args)
	if err != nil {
		return err
	}
	maillog.SetVerbose(c.verbose)
	cfg, err := config.LoadCommand(config.Options{
		Program: program, Service: program,
		Warn:  func(text string) { maillog.Warnf("%s", text) },
		Error: func(text string) { maillog.Errorf("%s", text) },
	})
	if err != nil {
		return err
	}
	owner, err := account.Lookup(cfg.String(params.MailOwner))
	// In a private instance mail_owner may be an ordinary user.
	if os.Getuid() != 0 && (err != nil || owner.UID != os.Getuid()) {
		return errors.New("use of this command is reserved for the superuser")
	}
	if err != nil {
		return fmt.Errorf("file %s/main.cf: parameter mail_owner: unknown user name value: %s", cfg.Dir(), cfg.String(params.MailOwner))
	}
	if err := cleanenv.Import(cfg.Items(params.ImportEnvironment)); err != nil {
		return err
	}
	s.tree = queue.New(cfg, maillog.Warnf)
	queueDir := cfg.String(params.QueueDirectory)
	settings := logconf.Settings(cfg, program)
	settings.Fallback = true
	if err := maillog.Configure(settings); err != nil {
		return err
	}
	if err := cfg.Err(); err != nil {
		return err
	}
	if s.tree.IsHashed(queue.Maildrop) {
		return errors.New("maildrop queue must not be hashed")
	}
	if err := os.Chdir(queueDir); err != nil {
		return fmt.Errorf("chdir %s: %s", queueDir, syserr.Text(err))
	}
	if err := account.Become(owner); err != nil {
		return err
	}
	s.warnOnSignal()
	return s.execute(c, os.Stdin)
}

// warnOnSignal says so when the work is interrupted half-way.
func (s *super) warnOnSignal() {
	signals := make(chan os.Signal, 1)
	for _, sig := range []os.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGTERM} {
		if !signal.Ignored(sig) {
			signal.Notify(signals, sig)
		}
	}
	go func() {
		<-signals
		s.warnIncomplete()
		os.Exit(1)
	}()
}

// execute does the work, in the working directory.
func (s *super) execute(c command, stdin io.Reader) error {
	s.queues, s.verbose, s.redundant = c.queues, c.verbose > 0, c.redundant
	if c.structure || c.purge {
		if err := s.repair(c.structure, c.purge); err != nil {
			return err
		}
		if s.renamed+int(s.marked.Load()) > 0 && len(c.actions) > 0 {
			s.log(maillog.Error, "QUEUE FILE NAMES WERE CHANGED TO MATCH INODE NUMBERS")
			return errors.New("CHECK YOUR QUEUE IDS AND RE-ISSUE THE COMMAND")
		}
	}
	for _, a := range c.actions {
		if err := s.act(a, stdin); err != nil {
			return err
		}
	}
	s.summary(c)
	return nil
}

// summary reports the counts, each where its option was given.
func (s *super) summary(c command) {
	given := map[byte]bool{}
	for _, a := range c.actions {
		given[a.option] = true
	}
	report := func(wanted bool, what string, n int) {
		if !wanted {
			return
		}
		plural := "s"
		if n == 1 {
			plural = ""
		}
		s.log(maillog.Info, "%s: %d message%s", what, n, plural)
	}
	report(given['r'], "Requeued", s.requeued)
	report(given['d'], "Deleted", s.deleted)
	report(given['e'] || given['f'], "Force-expired", s.expired)
	report(given['h'], "Placed on hold", s.held)
	report(given['H'] || given['f'], "Released from hold", s.released)
	report(s.renamed > 0, "Renamed to match inode number", s.renamed)
	if s.renamed > 0 {
		s.log(maillog.Warning, "QUEUE FILE NAMES WERE CHANGED TO MATCH INODE NUMBERS")
	}
}
