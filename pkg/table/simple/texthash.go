package simple

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
)

// coolDown is how long to wait before loading again a file that may still be
// changing, as its time is not in the past.
const coolDown = 300 * time.Millisecond

// texthash: a source file as postmap(1) takes it, read when it is opened.
func openTexthash(typ, name string, o table.Options) (table.Table, error) {
	if err := readOnly(typ, name, o); err != nil {
		return nil, err
	}
	for deadline := time.Now().Add(100 * time.Second); ; time.Sleep(coolDown) {
		t, modified, err := loadTexthash(typ, name, o)
		if err != nil {
			return nil, err
		}
		if modified.Unix() < time.Now().Unix() || time.Now().After(deadline) {
			return t, nil
		}
	}
}

func loadTexthash(typ, name string, o table.Options) (*memory, time.Time, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("open database %s: %s", name, syserr.Text(err))
	}
	defer f.Close()
	t := &memory{base: base{typ + ":" + name}, values: make(map[string]string)}
	lines := table.NewLineReader(f, name)
	lines.Warn, lines.AllowNUL = maillog.Warnf, o.Dialect37()
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, time.Time{}, fmt.Errorf("read %s: %s", name, syserr.Text(err))
		}
		if err := t.addLine(table.CutNUL(line), name, lines.Line(), o); err != nil {
			return nil, time.Time{}, err
		}
	}
	info, err := f.Stat()
	if err != nil {
		return nil, time.Time{}, fmt.Errorf("open database %s: %s", name, syserr.Text(err))
	}
	t.uid = table.FileOwner(info)
	return t, info.ModTime(), nil
}

func (t *memory) addLine(line []byte, path string, number int, o table.Options) error {
	warn := func(format string, args ...any) {
		maillog.Warnf("%s, line %d: %s", path, number, fmt.Sprintf(format, args...))
	}
	if o.Dialect37() && o.UTF8() && !utf8.Valid(line) {
		warn("non-UTF-8 input \"%s\" -- ignoring this line", line)
		return nil
	}
	k, v, closed := table.SplitKeyValue(line)
	if !closed {
		warn("unbalanced '\"' in '%s' -- ignoring this line", line)
		return nil
	}
	if len(k) == 0 || len(v) == 0 {
		warn("expected format: key whitespace value -- ignoring this line")
		return nil
	}
	if k[len(k)-1] == ':' {
		warn("record is in \"key: value\" format; is this an alias file?")
	}
	key, value := string(k), string(v)
	if o.Flags&table.FileValues != 0 {
		encoded, err := table.FileValue(value)
		if err != nil {
			warn("%s: skipping this entry", err)
			return nil
		}
		value = encoded
	}
	if o.Flags&table.FoldFix != 0 {
		key = table.Fold(key, o.UTF8() && o.Dialect37())
	}
	if _, dup := t.values[key]; dup {
		switch {
		case o.Flags&table.ReplaceDup != 0:
		case o.Flags&table.IgnoreDup != 0:
			return nil
		case o.Flags&table.WarnDup != 0:
			warn("duplicate entry: \"%s\"", key)
			return nil
		default:
			return fmt.Errorf("%s, line %d: duplicate entry: \"%s\"", path, number, key)
		}
	}
	t.values[key] = value
	return nil
}

func validText(s string) bool { return utf8.ValidString(s) }
