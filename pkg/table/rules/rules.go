// Package rules is what the pattern tables regexp:, pcre: and cidr: share:
// source text from a file or from the table's name, IF and ENDIF, and results
// with $number (spec tables §1.2 and §9).
package rules

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
)

// A Line is a logical line of a source.
type Line struct {
	Number int
	Text   string // without whitespace at its end
}

// A Source is the text of a pattern table.
type Source struct {
	Type, Name string
	Lines      []Line
	UID        int // owner
	flags      table.Flags
}

// Read reads the source of a table: the file name, or the rules in name itself
// if that begins with a brace. The error is one for table.Opener.
func Read(typ, name string, o table.Options) (*Source, error) {
	if o.Mode != table.ReadOnly {
		return nil, fmt.Errorf("%s:%s map requires O_RDONLY access mode", typ, name)
	}
	s := &Source{Type: typ, Name: name, flags: o.Flags}
	if strings.HasPrefix(name, "{") {
		s.UID = os.Getuid()
		return s, s.inline()
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %s", name, syserr.Text(err))
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open %s: %s", name, syserr.Text(err))
	}
	s.UID = table.FileOwner(info)
	lines := table.NewLineReader(f, name)
	lines.Warn, lines.AllowNUL = maillog.Warnf, o.Dialect37()
	for {
		line, err := lines.Next()
		if errors.Is(err, io.EOF) {
			return s, nil
		}
		if err != nil {
			return nil, fmt.Errorf("read %s: %s", name, syserr.Text(err))
		}
		if text := table.TrimRight(string(table.CutNUL(line))); text != "" {
			s.Lines = append(s.Lines, Line{lines.Line(), text})
		}
	}
}

func (s *Source) inline() error {
	inner, err := table.Unbrace(s.Name)
	if err != nil {
		return fmt.Errorf("%s map: %w", s.Type, err)
	}
	for i, item := range table.SplitList(inner) {
		text, err := table.Unbrace(item)
		if err != nil {
			return fmt.Errorf("%s map: %w", s.Type, err)
		}
		if text != "" {
			s.Lines = append(s.Lines, Line{i + 1, text})
		}
	}
	return nil
}

// Warn logs a warning about a line.
func (s *Source) Warn(line int, format string, args ...any) {
	maillog.Warnf("%s map %s, line %d: %s", s.Type, s.Name, line, fmt.Sprintf(format, args...))
}

// Value returns the result of a rule as it is to be used: with FileValues, the
// contents of the files that it names.
func (s *Source) Value(text string) (string, error) {
	if s.flags&table.FileValues == 0 {
		return text, nil
	}
	return table.FileValue(text)
}

// Base has what is the same in the pattern tables.
type Base struct {
	typ, name string
	uid       int
}

// Base makes the part of the table that comes from its source.
func (s *Source) Base() Base { return Base{s.Type, s.Name, s.UID} }

// Name is the table's name.
func (b Base) Name() string { return b.typ + ":" + b.name }

// Fixed is false: keys are matched whole.
func (b Base) Fixed() bool { return false }

// Changed is false: pattern files are read once.
func (b Base) Changed() bool { return false }

// Close has nothing to do.
func (b Base) Close() error { return nil }

// Owner returns the owner of the file.
func (b Base) Owner() (uid int, known bool) { return b.uid, true }

// CutWord returns the rest of a line that begins with a word, in any case,
// with no letter or digit behind it.
func CutWord(line, word string) (rest string, ok bool) {
	if len(line) < len(word) || !strings.EqualFold(line[:len(word)], word) {
		return "", false
	}
	rest = line[len(word):]
	if rest != "" && Alphanumeric(rest[0]) {
		return "", false
	}
	return strings.TrimLeft(rest, " \t\n\v\f\r"), true
}

// Alphanumeric is C's isalnum in ASCII.
func Alphanumeric(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// CutNegation cuts "!" and blanks off a pattern. Each "!" toggles.
func CutNegation(text string) (rest string, negate bool) {
	for text != "" && (text[0] == '!' || table.IsSpace(text[0])) {
		if text[0] == '!' {
			negate = !negate
		}
		text = text[1:]
	}
	return text, negate
}
