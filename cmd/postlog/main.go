// Postlog writes its arguments, or the lines of its standard input, to the
// mail log (postlog(1)). Installed set-gid, it reaches the postlog service for
// every user.
//
// It reads the parameters of the log and import_environment.
package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"suffix/pkg/cleanenv"
	"suffix/pkg/config"
	"suffix/pkg/getopt"
	"suffix/pkg/logconf"
	"suffix/pkg/maillog"
	"suffix/pkg/params"

	"golang.org/x/sys/unix"
)

const usage = "usage: %s [-c config_dir] [-i] [-p priority] [-t tag] [-v] [text]"

func main() {
	program := filepath.Base(os.Args[0])
	unix.Umask(0o22)
	_ = unix.CloseRange(3, 99, 0) // an old kernel leaves open what a parent left
	maillog.Init("postlog", maillog.WithStderr(program))
	if err := run(program, os.Args[1:]); err != nil {
		maillog.Fatalf("%v", err)
	}
}

func run(program string, args []string) error {
	found, rest, err := getopt.Parse(args, "c:ip:t:v")
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
		return fmt.Errorf(usage, program)
	}
	level, tag, verbose := maillog.Info, "", 0
	for _, opt := range found {
		switch opt.Letter {
		case 'c':
			if err := config.UseDir(opt.Value); err != nil {
				return err
			}
		case 'p':
			var ok bool
			if level, ok = maillog.ParseLevel(strings.ToLower(opt.Value)); !ok {
				return fmt.Errorf("bad severity: \"%s\"", opt.Value)
			}
		case 't':
			tag = opt.Value
		case 'v':
			// Debugging output is not for everybody in a set-gid program.
			if os.Geteuid() == 0 {
				verbose++
			}
		}
	}
	maillog.SetVerbose(verbose)
	cfg, err := config.LoadCommand(config.Options{Program: program, Warn: func(text string) { maillog.Warnf("%s", text) }})
	if err != nil {
		return err
	}
	settings := logconf.Settings(cfg, "postlog")
	settings.Fallback = true
	settings.Tag = tag
	if tag != "" && isTerminal(os.Stderr) {
		settings.StderrName = maillog.Printable(tag)
	}
	imported := cfg.Items(params.ImportEnvironment)
	if err := cfg.Err(); err != nil {
		return err
	}
	if err := cleanenv.Import(imported); err != nil {
		return err
	}
	if err := maillog.Configure(settings); err != nil {
		return err
	}
	if len(rest) > 0 {
		log(level, strings.Join(rest, " "))
		return nil
	}
	return logLines(level, os.Stdin)
}

func isTerminal(f *os.File) bool {
	_, err := unix.IoctlGetTermios(int(f.Fd()), unix.TCGETS)
	return err == nil
}

// log writes one record. The graver levels take a second, as they do in
// programs that end with them.
func log(level maillog.Level, text string) {
	maillog.Logf(level, "%s", text)
	if level >= maillog.Fatal {
		time.Sleep(time.Second)
	}
}

// maxLine is how much of a line is looked at, in bytes; a record is shorter.
const maxLine = 64 * 1024

func logLines(level maillog.Level, in io.Reader) error {
	r := bufio.NewReaderSize(in, maxLine)
	for {
		line, err := r.ReadSlice('\n')
		if len(line) > 0 {
			log(level, strings.TrimSuffix(string(line), "\n"))
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			// The rest of an endless line.
			_, err = r.ReadSlice('\n')
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read standard input: %w", err)
		}
	}
}
