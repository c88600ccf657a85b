// Postcat shows the content of queue files: envelope records, message header
// and body, as text (spec queue-files §17).
//
// It reads the parameters queue_directory and those that say where a queue
// file stands: hash_queue_names, hash_queue_depth.
package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"syscall"

	"suffix/pkg/config"
	"suffix/pkg/getopt"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/queue"
	"suffix/pkg/syserr"
)

const program = "postcat"

const usage = "usage: postcat [-b (body text)] [-c config_dir] [-d (decimal record type)] [-e (envelope records)] " +
	"[-h (header text)] [-q (access queue)] [-v] [file(s)...]"

func main() {
	maillog.Init(program, maillog.StderrOnly(os.Args[0]))
	out := bufio.NewWriterSize(os.Stdout, 16<<10)
	err := run(os.Args[1:], os.Stdin, out, maillog.Warnf)
	if flushErr := out.Flush(); err == nil && flushErr != nil && !errors.Is(flushErr, syscall.EPIPE) {
		err = fmt.Errorf("write error: %s", syserr.Text(flushErr))
	}
	if err != nil {
		maillog.Logf(maillog.Fatal, "%s", err)
		os.Exit(1)
	}
}

// run executes one command line. Its error is what a fatal message says.
func run(args []string, stdin *os.File, out *bufio.Writer, warn func(string, ...any)) error {
	opts, files, err := getopt.Parse(args, "bc:defhoqrs:v")
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %s\n", os.Args[0], err)
		return errors.New(usage)
	}
	c := &cat{out: out, warn: warn}
	search := false
	for _, o := range opts {
		switch o.Letter {
		case 'b':
			c.body = true
		case 'c':
			if err := config.UseDir(o.Value); err != nil {
				return fmt.Errorf("out of memory")
			}
		case 'd':
			c.decimal = true
		case 'e':
			c.envelope = true
		case 'f':
			c.name = true
		case 'h':
			c.header = true
		case 'o':
			c.offset = true
		case 'q':
			search = true
		case 'r':
			c.fileOrder = true
		case 's':
			if c.start, err = strconv.ParseInt(o.Value, 10, 64); err != nil || c.start < 0 {
				return fmt.Errorf("bad offset: %s", o.Value)
			}
		case 'v':
			c.verbose = true
		}
	}
	if !c.body && !c.envelope && !c.header {
		c.body, c.envelope, c.header = true, true, true
	}
	cfg, err := config.LoadCommand(config.Options{Program: program, Warn: func(text string) { warn("%s", text) }})
	if err != nil {
		return err
	}
	tree := queue.New(cfg, warn)
	queueDir := cfg.String(params.QueueDirectory)
	if err := cfg.Err(); err != nil {
		return err
	}
	switch {
	case search:
		return c.search(tree, queueDir, files)
	case len(files) == 0:
		return c.stream(stdin)
	}
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return fmt.Errorf("open %s: %s", name, syserr.Text(err))
		}
		err = c.show(f, name)
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// stream shows the standard input. A pipe, which has no offsets to go to, is
// read as a whole first.
func (c *cat) stream(in *os.File) error {
	if _, err := in.Seek(0, io.SeekCurrent); err == nil {
		return c.show(in, "stdin")
	}
	all, err := io.ReadAll(in)
	if err != nil {
		return fmt.Errorf("read stdin: %s", syserr.Text(err))
	}
	return c.show(bytes.NewReader(all), "stdin")
}

// search shows messages that are named by their queue IDs.
func (c *cat) search(tree *queue.Tree, queueDir string, ids []string) error {
	if err := os.Chdir(queueDir); err != nil {
		return fmt.Errorf("chdir %s: %s", queueDir, syserr.Text(err))
	}
	for _, id := range ids {
		if !queue.ValidID(id) {
			return fmt.Errorf("bad mail queue ID: %s", id)
		}
		f, err := find(tree, id)
		if err != nil {
			return fmt.Errorf("open queue file %s: %s", id, syserr.Text(err))
		}
		err = c.show(f, f.Name())
		f.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// find opens a message wherever it is. The second round meets one that was
// moved during the first.
func find(tree *queue.Tree, id string) (*os.File, error) {
	for range 2 {
		for _, name := range []string{queue.Maildrop, queue.Incoming, queue.Active, queue.Deferred, queue.Hold, queue.Saved} {
			f, err := tree.Open(name, id, os.O_RDONLY, 0)
			if err == nil || !errors.Is(err, fs.ErrNotExist) {
				return f, err
			}
		}
	}
	return nil, syscall.ENOENT
}
