// Command postdrop puts a message from standard input into the maildrop queue
// (postdrop(1), spec submission §3). It is installed set-gid, and is run by
// sendmail and by smtpd in stand-alone mode.
//
// It talks to pickup, which it wakes up. Parameters: authorized_submit_users,
// empty_address_local_login_sender_maps_lookup_key, import_environment,
// line_length_limit, local_login_sender_maps, message_size_limit,
// pickup_service_name, queue_directory, recipient_delimiter, and those that
// name new queue files.
package main

import (
	"bufio"
	"context"
	"errors"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/cleanenv"
	"suffix/pkg/config"
	"suffix/pkg/getopt"
	"suffix/pkg/logconf"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/queue"
	"suffix/pkg/submit"

	_ "suffix/pkg/table/bdb"
	_ "suffix/pkg/table/netblock"
	_ "suffix/pkg/table/simple"
)

const program = "postdrop"

func main() {
	syscall.Umask(022)
	submit.CloseFrom(3, 99)
	maillog.Init(program, maillog.WithStderr(program))
	cfg := configure(os.Args[1:])
	uid := os.Getuid()
	if err := submit.LimitFileSize(cfg.Long(params.MessageSizeLimit)); err != nil {
		maillog.Fatalf("%v", err)
	}
	if err := cleanenv.Import(cfg.Items(params.ImportEnvironment)); err != nil {
		maillog.Fatalf("%v", err)
	}
	if err := submit.Chdir(cfg.String(params.QueueDirectory)); err != nil {
		maillog.Fatalf("%v", err)
	}
	var unfinished pathToRemove
	catchSignals(&unfinished)
	submit.UsePostmap(cfg)
	if err := submit.Check(cfg, submit.Submit, uid); err != nil {
		maillog.Fatalf("%v", err)
	}
	os.Exit(int(drop(cfg, uid, &unfinished)) & 0xff)
}

// configure reads options and main.cf.
func configure(args []string) *config.Main {
	dir, verbose := "", 0
	found, rest, err := getopt.Parse(args, "c:rv")
	for _, o := range found {
		switch o.Letter {
		case 'c':
			dir = o.Value
		case 'v':
			verbose++
		}
	}
	if os.Geteuid() == 0 {
		maillog.SetVerbose(verbose)
	}
	if err != nil || len(rest) > 0 {
		maillog.Fatalf("usage: postdrop [-c config_dir] [-v]")
	}
	if dir != "" {
		if err := config.UseDir(dir); err != nil {
			maillog.Fatalf("%v", err)
		}
	}
	cfg, err := config.LoadCommand(config.Options{
		Program: program, Service: program,
		Warn:  func(text string) { maillog.Warnf("%s", text) },
		Error: func(text string) { maillog.Errorf("%s", text) },
	})
	if err != nil {
		maillog.Fatalf("%v", err)
	}
	if err := logconf.Apply(cfg, program); err != nil {
		maillog.Fatalf("%v", err)
	}
	return cfg
}

// pathToRemove is the name of the unfinished file. Whoever takes it removes
// the file; nobody does so after success was reported.
type pathToRemove struct{ path atomic.Pointer[string] }

func (p *pathToRemove) set(path string) { p.path.Store(&path) }
func (p *pathToRemove) keep()           { p.path.Store(nil) }

func (p *pathToRemove) remove() {
	if path := p.path.Swap(nil); path != nil {
		if err := os.Remove(*path); err != nil && !errors.Is(err, os.ErrNotExist) {
			maillog.Warnf("uid=%d: remove %s: %v", os.Getuid(), *path, err)
		}
	}
}

// catchSignals removes the unfinished file when the program is interrupted.
// Hangup and termination stay ignored where the parent ignores them.
func catchSignals(unfinished *pathToRemove) {
	maillog.AtFatal(unfinished.remove)
	signal.Ignore(syscall.SIGPIPE, syscall.SIGXFSZ)
	caught := make(chan os.Signal, 1)
	signal.Notify(caught, syscall.SIGINT, syscall.SIGQUIT)
	for _, s := range []os.Signal{syscall.SIGTERM, syscall.SIGHUP} {
		if !signal.Ignored(s) {
			signal.Notify(caught, s)
		}
	}
	go func() {
		s := <-caught
		unfinished.remove()
		os.Exit(int(s.(syscall.Signal)))
	}()
}

// drop receives one message and returns the status to exit with.
func drop(cfg *config.Main, uid int, unfinished *pathToRemove) status {
	tree := queue.New(cfg, maillog.Warnf)
	tree.Info = maillog.Infof
	file, id, _, err := tree.Create(context.Background(), queue.Maildrop, queue.ModeMaildrop)
	if err != nil {
		maillog.Fatalf("%v", err)
	}
	unfinished.set(tree.Path(queue.Maildrop, id))
	out := attr.NewWriter(os.Stdout, attr.Null)
	if err := out.Str("protocol", "postdrop_protocol").Str("queue_id", id).End(); err != nil {
		maillog.Fatalf("uid=%d: write to client: %v", uid, err)
	}
	m := &message{
		uid: uid, cfg: cfg, file: file,
		limit: cfg.Long(params.MessageSizeLimit), maxRecord: cfg.Int(params.LineLengthLimit),
		dialect37: cfg.Dialect37(),
	}
	m.putTime(time.Now())
	switch err := m.copy(bufio.NewReaderSize(os.Stdin, 16<<10)); {
	case errors.Is(err, errCanceled):
		unfinished.remove()
		return 0
	case err != nil:
		maillog.Fatalf("uid=%d: %v", uid, err)
	}
	if m.status == 0 {
		if err := m.finish(tree); err != nil {
			maillog.Warnf("uid=%d: %s", uid, errorText(err))
			unfinished.remove()
			m.status = statusWrite
			if errors.Is(err, syscall.EFBIG) {
				m.status = statusSize
			}
		}
	}
	// A message that was not accepted for its envelope stays, incomplete, until
	// it is purged: as with Postfix.
	m.flush()
	unfinished.keep()
	if m.status == 0 {
		if err := submit.Trigger("public", cfg.String(params.PickupServiceName), "W"); err != nil {
			maillog.Warnf("%v", err)
		}
	}
	if err := out.Int("status", int(m.status)).Str("reason", m.reason).End(); err != nil {
		maillog.Warnf("uid=%d: write to client: %v", uid, err)
	}
	return m.status
}
