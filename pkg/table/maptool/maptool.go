// Package maptool is postmap(1) and postalias(1): it makes tables from source
// files, looks up and removes keys, and lists tables (spec tables §7 and §8).
package maptool

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"suffix/pkg/config"
	"suffix/pkg/getopt"
	"suffix/pkg/logconf"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/table"
)

// tool is one run of one of the two commands.
type tool struct {
	alias   bool // postalias
	program string
	usage   string
	cfg     *config.Main

	mode        byte // d, i, q, s, or 0: create
	key         string
	flags       table.Flags
	fold        bool
	utf8        int // 0: default, 1: -U, -1: -u
	files       bool
	bodies      bool // -b
	headers     bool // -h
	mime        bool // -m
	json        bool
	keepRoot    bool // -o
	defaultMode bool // -p

	in  *os.File
	out *bufio.Writer
}

const (
	postmapOptions   = "bfFhijmnNoprsuUvwc:d:q:"
	postaliasOptions = "Nfijnoprsuvwc:d:q:"
	postmapUsage     = "usage: %s [-bfFhimnNoprsuUvw] [-c config_dir] [-d key] [-q key] [map_type:]file..."
	postaliasUsage   = "usage: %s [-Nfinoprsuvw] [-c config_dir] [-d key] [-q key] [map_type:]file..."
)

// Main runs postmap(1), or with alias set postalias(1), and returns its exit status.
func Main(alias bool) int {
	program := filepath.Base(os.Args[0])
	name := "postmap"
	if alias {
		name = "postalias"
	}
	maillog.Init(name, maillog.WithStderr(program))
	t := newTool(alias, program, os.Stdin, os.Stdout)
	status, err := t.run(os.Args[1:])
	if err != nil {
		maillog.Fatalf("%s", err)
	}
	return status
}

func newTool(alias bool, program string, in *os.File, out io.Writer) *tool {
	return &tool{alias: alias, program: program, fold: true, flags: table.WarnDup, in: in, out: bufio.NewWriterSize(out, 64<<10)}
}

func (t *tool) run(args []string) (status int, err error) {
	rest, err := t.options(args)
	if err != nil {
		return 1, err
	}
	t.cfg, err = config.LoadCommand(config.Options{Program: t.program, Warn: func(text string) { maillog.Warnf("%s", text) }})
	if err != nil {
		return 1, err
	}
	if err := logconf.Apply(t.cfg, t.name()); err != nil {
		return 1, err
	}
	if t.json && t.mode != 'q' && t.mode != 's' {
		return 1, fmt.Errorf("option -j requires -q or -s")
	}
	if t.bodies || t.headers {
		if t.utf8 != 1 {
			t.utf8 = -1
		}
	} else if t.mime {
		maillog.Warnf("ignoring -m option without -b or -h")
	}
	t.flags |= table.Lock
	if t.fold {
		t.flags |= table.FoldFix
	}
	if t.utf8 >= 0 {
		t.flags |= table.UTF8Request
	}
	if t.files {
		t.flags |= table.FileValues
	}
	defaultType := t.cfg.String(params.DefaultDatabaseType)
	if err := t.cfg.Err(); err != nil {
		return 1, err
	}
	for i, spec := range rest {
		if !strings.Contains(spec, ":") {
			rest[i] = defaultType + ":" + spec
		}
	}
	status, err = t.work(rest)
	if err != nil {
		return 1, err
	}
	return status, t.out.Flush()
}

func (t *tool) work(tables []string) (status int, err error) {
	if len(tables) == 0 {
		if t.mode == 's' {
			return 1, nil
		}
		return 1, fmt.Errorf(t.usage, t.program)
	}
	switch {
	case t.mode == 'd':
		return t.remove(tables)
	case t.mode == 's':
		if t.cfg.Dialect37() && strings.HasPrefix(tables[0], "proxy:") {
			return 1, fmt.Errorf("can't sequence maps via the proxy service")
		}
		return 0, t.list(tables[0])
	case t.mode == 'q':
		return t.query(tables)
	}
	for _, spec := range tables {
		if err := t.create(spec); err != nil {
			return 1, err
		}
	}
	return 0, nil
}

func (t *tool) name() string {
	if t.alias {
		return "postalias"
	}
	return "postmap"
}

func (t *tool) options(args []string) (rest []string, err error) {
	spec := postmapOptions
	t.usage = postmapUsage
	if t.alias {
		spec, t.usage = postaliasOptions, postaliasUsage
	}
	found, rest, err := getopt.Parse(args, spec)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", t.program, err)
		return nil, fmt.Errorf(t.usage, t.program)
	}
	verbose := 0
	if os.Getenv("MAIL_VERBOSE") != "" {
		verbose++
	}
	for _, opt := range found {
		switch opt.Letter {
		case 'b':
			t.bodies = true
		case 'h':
			t.headers = true
		case 'm':
			t.mime = true
		case 'c':
			if err := config.UseDir(opt.Value); err != nil {
				return nil, err
			}
		case 'd', 'i', 'q', 's':
			if t.mode != 0 {
				return nil, fmt.Errorf("specify only one of -d -i -q or -s")
			}
			t.mode, t.key = opt.Letter, opt.Value
		case 'f':
			t.fold = false
		case 'F':
			t.files = true
		case 'j':
			t.json = true
		case 'N':
			t.flags = t.flags&^table.Try0Null | table.Try1Null
		case 'n':
			t.flags = t.flags&^table.Try1Null | table.Try0Null
		case 'o':
			t.keepRoot = true
		case 'p':
			t.defaultMode = true
		case 'r':
			t.flags = t.flags&^(table.WarnDup|table.IgnoreDup) | table.ReplaceDup
		case 'w':
			t.flags = t.flags&^(table.WarnDup|table.ReplaceDup) | table.IgnoreDup
		case 'u':
			t.utf8 = -1
		case 'U':
			t.utf8 = 1
		case 'v':
			verbose++
		}
	}
	maillog.SetVerbose(verbose)
	if (t.bodies || t.headers || t.mime) && (t.mode != 'q' || t.key != "-") {
		return nil, fmt.Errorf("specify -b -h or -m only with \"-q -\"")
	}
	return rest, nil
}

// open opens a table for this command; an unusable one is an error.
func (t *tool) open(spec string, o table.Options) (*table.Handle, error) {
	o.Config, o.Command = t.cfg, true
	o.Flags |= t.flags
	h := table.Open(spec, o)
	if err := h.Err(); err != nil {
		return nil, err
	}
	return h, nil
}

// failed words the error of an operation on a table.
func failed(h *table.Handle, operation string, err error) error {
	if _, ok := err.(*table.NotSupportedError); ok {
		return err
	}
	var e *table.Error
	if errors.As(err, &e) && e.Whole || strings.HasPrefix(err.Error(), "error ") {
		return err // the driver's own, complete text
	}
	if table.IsConfig(err) {
		return fmt.Errorf("table %s: %s error", h.Name(), operation)
	}
	return fmt.Errorf("table %s: %s error: %s", h.Name(), operation, err)
}
