package mastercf

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"suffix/pkg/config"
	"suffix/pkg/params"
	"suffix/pkg/syserr"
)

// Options of a reading.
type Options struct {
	// DefaultProcessLimit stands for "-" in the max_proc field.
	DefaultProcessLimit int
	// ChrootByDefault is the meaning of "-" in the chroot field:
	// compatibility_level below 1.
	ChrootByDefault bool
	// Disable lists services to leave out (master_service_disable).
	Disable []string
	// NoInet leaves inet services out: inet_protocols is empty.
	NoInet bool
	// CheckHost, if set, tells whether the host of an inet service can be
	// used. It runs where Postfix looks the name up: before the other fields
	// are read. Its error becomes the reader's, with file and line in front.
	CheckHost func(e *Entry) error
	// Warn and Info get messages of these severities. They may be nil.
	Warn, Info func(text string)
}

// FromConfig returns the options that main.cf asks for. The caller checks
// cfg.Err afterwards.
func FromConfig(cfg *config.Main, warn, info func(text string)) Options {
	return Options{
		DefaultProcessLimit: cfg.Int(params.DefaultProcessLimit),
		ChrootByDefault:     cfg.CompatLevelBelow("1"),
		Disable:             cfg.List(params.MasterServiceDisable),
		NoInet:              cfg.Protocols().None(),
		Warn:                warn,
		Info:                info,
	}
}

// A Reader returns the entries of a file one by one, so that a caller can act
// on what stands before a mistake.
type Reader struct {
	path  string
	o     Options
	lines *config.Lines

	warnedInet bool
}

// NewReader reads entries from text; messages name path.
func NewReader(path, text string, o Options) *Reader {
	return &Reader{path: path, o: o, lines: config.NewLines(path, text, o.Warn)}
}

// Open reads the file at path. The error has Postfix's fatal text.
func Open(path string, o Options) (*Reader, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("open %s: %s", path, syserr.Text(err))
	}
	return NewReader(path, string(text), o), nil
}

// Parse returns all entries of the file at path.
func Parse(path string, o Options) ([]Entry, error) {
	r, err := Open(path, o)
	if err != nil {
		return nil, err
	}
	var list []Entry
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			return list, nil
		}
		if err != nil {
			return list, err
		}
		list = append(list, *e)
	}
}

// Next returns the next service that is not disabled, io.EOF after the last.
// Other errors have Postfix's fatal text; nothing may be read after one.
func (r *Reader) Next() (*Entry, error) {
	for {
		text, line, ok := r.lines.Next()
		if !ok {
			return nil, io.EOF
		}
		e, err := r.entry(text, line)
		if err != nil {
			return nil, fmt.Errorf("%s: line %d: %w", r.path, line, err)
		}
		if e != nil {
			return e, nil
		}
	}
}

// entry reads one line; the entry is nil for a disabled service.
func (r *Reader) entry(text string, line int) (*Entry, error) {
	f := fields{rest: text}
	e := &Entry{Line: line}
	var err error
	e.Name, _ = f.word()
	if e.Type, err = f.take("transport type", ""); err != nil {
		return nil, err
	}
	if disabled(e, r.o.Disable) {
		return nil, nil
	}
	switch e.Type {
	case Inet:
		if r.o.NoInet {
			r.warnNoInet()
			return nil, nil
		}
		var problem string
		e.Host, e.Port, problem = splitInet(e.Name, func(h string) bool { return config.ValidHostname(h) == "" })
		if problem != "" {
			return nil, fmt.Errorf("%s in \"%s\"", problem, e.Name)
		}
		if r.o.CheckHost != nil {
			if err := r.o.CheckHost(e); err != nil {
				return nil, err
			}
		}
	case Unix, FIFO, Pass, Dgram:
	default:
		return nil, fmt.Errorf("bad transport type: %s", e.Type)
	}
	if e.Private, _, err = f.yesNo("private", true); err != nil {
		return nil, err
	}
	if e.Type == Inet && e.Private {
		return nil, errors.New("inet service cannot be private")
	}
	if e.Unprivileged, _, err = f.yesNo("unprivileged", true); err != nil {
		return nil, err
	}
	if e.Chroot, e.ChrootUnset, err = f.yesNo("chroot", r.o.ChrootByDefault); err != nil {
		return nil, err
	}
	if e.ChrootUnset && r.o.ChrootByDefault && r.o.Info != nil {
		r.o.Info(fmt.Sprintf("%s: line %d: using backwards-compatible default setting chroot=y", r.path, line))
	}
	var wakeup string
	if e.Wakeup, wakeup, err = f.number("wakeup_time", 0); err != nil {
		return nil, err
	}
	e.WakeupIfUsed = e.Wakeup > 0 && strings.HasSuffix(wakeup, "?")
	if e.MaxProc, _, err = f.number("max_proc", r.o.DefaultProcessLimit); err != nil {
		return nil, err
	}
	if e.Command, err = f.take("command", ""); err != nil {
		return nil, err
	}
	e.Args, err = arguments(f.rest)
	return e, err
}

func (r *Reader) warnNoInet() {
	if r.o.Warn != nil && !r.warnedInet {
		r.o.Warn("all network protocols are disabled (inet_protocols = )")
		r.o.Warn("disabling all type \"inet\" services in master.cf")
	}
	r.warnedInet = true
}

// arguments cuts the end of an entry into words; a word that starts with { is
// a group, whose braces go away.
func arguments(text string) ([]string, error) {
	words := config.SplitBraceBlank(text)
	for i, word := range words {
		if word[0] != '{' {
			continue
		}
		inner, problem := config.Unwrap(word)
		if problem != "" {
			return nil, errors.New(problem)
		}
		words[i] = inner
	}
	return words, nil
}

// fields takes the words of an entry one by one.
type fields struct{ rest string }

const blanks = " \t\r\n"

func (f *fields) word() (word string, ok bool) {
	f.rest = strings.TrimLeft(f.rest, blanks)
	n := strings.IndexAny(f.rest, blanks)
	if n < 0 {
		n = len(f.rest)
	}
	word, f.rest = f.rest[:n], f.rest[n:]
	return word, word != ""
}

// take returns the next field; "-" becomes def, or is an error where def is "".
func (f *fields) take(name, def string) (string, error) {
	word, ok := f.word()
	switch {
	case !ok:
		return "", fmt.Errorf("missing \"%s\" field", name)
	case word != "-":
		return word, nil
	case def == "":
		return "", fmt.Errorf("field \"%s\" has no default value", name)
	}
	return def, nil
}

func (f *fields) yesNo(name string, def bool) (value, unset bool, err error) {
	word, err := f.take(name, "-")
	if err != nil {
		return false, false, err
	}
	switch word {
	case "y":
		return true, false, nil
	case "n":
		return false, false, nil
	case "-":
		return def, true, nil
	}
	return false, false, badValue(name, word)
}

// number reads leading digits and ignores what follows them.
func (f *fields) number(name string, def int) (value int, word string, err error) {
	if word, err = f.take(name, "-"); err != nil || word == "-" {
		return def, word, err
	}
	n, err := strconv.ParseInt(word[:leadingDigits(word)], 10, 32)
	if err != nil {
		return 0, word, badValue(name, word)
	}
	return int(n), word, nil
}

func badValue(name, word string) error {
	return fmt.Errorf("field \"%s\": bad value: \"%s\"", name, word)
}

// disabled tells whether a list of types and name/type pairs takes a service
// out; the first item that fits decides, and ! in front of it means: keep.
func disabled(e *Entry, list []string) bool {
	for _, item := range list {
		off := true
		for strings.HasPrefix(item, "!") {
			off, item = !off, item[1:]
		}
		if i := strings.LastIndexByte(item, '.'); i >= 0 && !strings.Contains(item, "/") {
			item = item[:i] + "/" + item[i+1:]
		}
		if strings.EqualFold(item, e.Type) || strings.EqualFold(item, e.Name+"/"+e.Type) {
			return off
		}
	}
	return false
}
