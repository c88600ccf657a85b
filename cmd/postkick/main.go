// Postkick sends a request to a service of the mail system over its socket or
// FIFO, and waits until the service has taken it (postkick(1)).
//
// It reads queue_directory, trigger_timeout, application_event_drain_time and
// import_environment.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"suffix/pkg/cleanenv"
	"suffix/pkg/config"
	"suffix/pkg/getopt"
	"suffix/pkg/ipc"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/safefile"
)

func main() {
	program := filepath.Base(os.Args[0])
	maillog.Init("postkick", maillog.StderrOnly(program))
	if err := run(program, os.Args[1:]); err != nil {
		maillog.Fatalf("%v", err)
	}
}

func run(program string, args []string) error {
	usage := fmt.Errorf("usage: %s [-c config_dir] [-v] class service request", program)
	found, rest, err := getopt.Parse(args, "c:v")
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
		return usage
	}
	verbose := 0
	for _, opt := range found {
		switch opt.Letter {
		case 'c':
			if err := config.UseDir(opt.Value); err != nil {
				return err
			}
		case 'v':
			verbose++
		}
	}
	maillog.SetVerbose(verbose)
	if len(rest) != 3 {
		return usage
	}
	cfg, err := config.LoadCommand(config.Options{Program: program, Warn: func(text string) { maillog.Warnf("%s", text) }})
	if err != nil {
		return err
	}
	queue := cfg.String(params.QueueDirectory)
	timeout, wait := cfg.Time(params.TriggerTimeout), cfg.Time(params.ApplicationEventDrainTime)
	imported := cfg.Items(params.ImportEnvironment)
	if err := cfg.Err(); err != nil {
		return err
	}
	if err := cleanenv.Update(imported); err != nil {
		return err
	}
	if err := os.Chdir(queue); err != nil {
		return fmt.Errorf("chdir %s: %w", queue, safefile.Cause(err))
	}
	class, service, request := rest[0], rest[1], rest[2]
	if err := ipc.Trigger(class, service, request, timeout, wait); err != nil {
		maillog.Warnf("%v", err)
		maillog.Warnf("Cannot contact class %s service %s - perhaps the mail system is down", class, service)
		os.Exit(1)
	}
	return nil
}
