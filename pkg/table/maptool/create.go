package maptool

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
)

// create makes a table from its source file, or with -i adds what stdin has.
func (t *tool) create(spec string) (err error) {
	typ, path, _ := strings.Cut(spec, ":")
	if typ == "proxy" {
		return fmt.Errorf("can't create maps via the proxy service")
	}
	if typ == "" || path == "" {
		return fmt.Errorf("open dictionary: expecting \"type:name\" form instead of \"%s\"", spec)
	}
	source, name := t.in, "stdin"
	if t.mode != 'i' {
		name = path
		if source, err = os.Open(path); err != nil {
			return fmt.Errorf("open %s: %s", path, syserr.Text(err))
		}
		defer source.Close()
	}
	info, err := source.Stat()
	if err != nil {
		return fmt.Errorf("fstat %s: %s", name, syserr.Text(err))
	}
	perm := os.FileMode(0o644)
	if info.Mode().IsRegular() && !t.defaultMode {
		perm &= info.Mode().Perm() | 0o700
	}
	defer syscall.Umask(syscall.Umask(0))
	restore, err := t.becomeOwner(path, info)
	if err != nil {
		return err
	}
	defer restore()

	mode := table.Bulk
	if t.mode == 'i' {
		mode = table.ReadWrite
	}
	if err := t.checkType(typ); err != nil {
		return err
	}
	h, err := t.open(spec, table.Options{Mode: mode, Flags: table.BulkUpdate, Perm: perm})
	if err != nil {
		return err
	}
	if t.alias {
		err = t.aliases(source, name, h)
	} else {
		err = t.entries(source, name, h)
	}
	if err != nil {
		return err
	}
	return h.Close()
}

// checkType refuses types that cannot be created.
func (t *tool) checkType(typ string) error {
	driver, known := table.LookupType(typ)
	old := t.cfg.Dialect37()
	switch {
	case !known && old:
		return fmt.Errorf("unsupported dictionary type: %s. Is the postfix-%s package installed?", typ, typ)
	case !known:
		return fmt.Errorf("unsupported map type: %s", typ)
	case !driver.Bulk && old:
		return fmt.Errorf("unsupported dictionary type: %s does not support bulk-mode creation.", typ)
	case !driver.Bulk && t.mode != 'i':
		return fmt.Errorf("no 'map create' support for this type: %s", typ)
	}
	return nil
}

// becomeOwner gives up root's rights for those of the owner of the source, so
// that nobody can make root write through a link of his (hardening TB14). It
// returns what takes the rights back.
func (t *tool) becomeOwner(path string, info os.FileInfo) (restore func(), err error) {
	st, ok := info.Sys().(*syscall.Stat_t)
	if t.keepRoot || syscall.Getuid() != 0 || !ok {
		return func() {}, nil
	}
	if st.Uid == 0 && (!t.cfg.Dialect37() || st.Gid == 0) {
		if !t.cfg.Dialect37() {
			warnForeignDirectory(path)
		}
		return func() {}, nil
	}
	groups, err := syscall.Getgroups()
	if err != nil {
		return nil, fmt.Errorf("getgroups: %s", syserr.Text(err))
	}
	if err = syscall.Setgroups([]int{int(st.Gid)}); err == nil {
		if err = syscall.Setegid(int(st.Gid)); err == nil {
			err = syscall.Seteuid(int(st.Uid))
		}
	}
	if err != nil {
		return nil, fmt.Errorf("set_eugid: euid %d: %s", st.Uid, syserr.Text(err))
	}
	return func() {
		err := syscall.Seteuid(0)
		if err == nil {
			err = syscall.Setegid(0)
		}
		if err == nil {
			err = syscall.Setgroups(groups)
		}
		if err != nil {
			maillog.Fatalf("set_eugid: euid 0: %s", syserr.Text(err))
		}
	}, nil
}

func warnForeignDirectory(path string) {
	dir := filepath.Dir(path)
	var st syscall.Stat_t
	if err := syscall.Stat(dir, &st); err == nil && st.Uid != 0 {
		maillog.Warnf("Creating root-owned database file(s) %s.* in non-root-owned directory %s. "+
			"Files %s, %s.*, and directory %s should have the same owner. Please fix ownership to avoid a privilege-escalation attack.",
			path, dir, path, path, dir)
	}
}

// lines calls f with each logical line of a source. Lines that are no UTF-8
// are left out where that matters.
func (t *tool) lines(source io.Reader, name string, h *table.Handle, f func(line []byte, number int) error) error {
	r := table.NewLineReader(source, name)
	r.Warn, r.AllowNUL = maillog.Warnf, t.cfg.Dialect37()
	for {
		line, err := r.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("read %s: %s", name, syserr.Text(err))
		}
		line = table.CutNUL(line)
		if h.Flags()&table.UTF8Active != 0 && !utf8.Valid(line) {
			maillog.Warnf("%s, line %d: non-UTF-8 input \"%s\" -- ignoring this line", name, r.Line(), line)
			continue
		}
		if err := f(line, r.Line()); err != nil {
			return err
		}
	}
}

// entries stores "key value" lines.
func (t *tool) entries(source io.Reader, name string, h *table.Handle) error {
	return t.lines(source, name, h, func(line []byte, number int) error {
		k, v, closed := table.SplitKeyValue(line)
		if !closed {
			maillog.Warnf("%s, line %d: unbalanced '\"' in '%s' -- ignoring this line", name, number, line)
			return nil
		}
		if len(k) == 0 || len(v) == 0 {
			maillog.Warnf("%s, line %d: expected format: key whitespace value", name, number)
			return nil
		}
		if k[len(k)-1] == ':' {
			maillog.Warnf("%s, line %d: record is in \"key: value\" format; is this an alias file?", name, number)
		}
		value := string(v)
		if t.files {
			encoded, err := table.FileValue(value)
			if err != nil {
				maillog.Warnf("%s, line %d: %s: skipping this entry", name, number, err)
				return nil
			}
			value = encoded
		}
		return t.put(h, string(k), value)
	})
}

func (t *tool) put(h *table.Handle, key, value string) error {
	if err := h.Update(key, value); err != nil {
		return failed(h, "write", err)
	}
	return nil
}

// putter is a table that can store a record apart from the rules for entries.
type putter interface {
	Put(key, value string, raw bool) error
}

// aliases stores "name: value" lines, and the records that say what the table
// is and when it was made.
func (t *tool) aliases(source io.Reader, name string, h *table.Handle) error {
	err := t.lines(source, name, h, func(line []byte, number int) error {
		key, value, err := parseAlias(string(line), t.cfg.Dialect37())
		if err != nil {
			maillog.Warnf("%s, line %d: %s", name, number, err)
			return nil
		}
		if key == "" {
			return nil
		}
		return t.put(h, key, value)
	})
	if err != nil {
		return err
	}
	p, ok := h.Driver().(putter)
	if !ok {
		return t.put(h, "@", "@")
	}
	for _, r := range []struct {
		key, value string
		raw        bool
	}{
		{"@", "@", false},
		{"YP_LAST_MODIFIED", fmt.Sprintf("%010d", time.Now().Unix()), true},
		{"YP_MASTER_NAME", t.cfg.String(params.Myhostname), true},
	} {
		if err := p.Put(r.key, r.value, r.raw); err != nil {
			return failed(h, "write", err)
		}
	}
	return t.cfg.Err()
}
