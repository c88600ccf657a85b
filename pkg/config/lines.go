package config

import (
	"fmt"
	"strings"
)

// Lines cuts text into logical lines: a line that starts with white space
// continues the one before; empty lines and lines whose first other byte is #
// count for nothing, also between a line and its continuation (spec config §2.1).
type Lines struct {
	path string
	rest string
	line int // number of the last physical line taken
	warn func(string)
}

// NewLines returns the logical lines of text. Warnings name path; warn may be nil.
func NewLines(path, text string, warn func(string)) *Lines {
	return &Lines{path: path, rest: text, warn: warn}
}

// Next returns the next logical line without its line feeds and the number of
// its first physical line, counted from 1; ok is false at the end of the text.
// Text after a null byte is lost, so that the line may be empty.
// A line that starts with white space and continues nothing is skipped with a warning.
func (l *Lines) Next() (text string, number int, ok bool) {
	for {
		text, number, ok = l.next()
		if !ok || text == "" || !isSpace(text[0]) {
			return text, number, ok
		}
		shown := text
		if len(shown) > 30 {
			shown = shown[:30] + "..."
		}
		l.warnf("%s: logical line must not start with whitespace: %q", l.path, quoted(shown))
	}
}

func (l *Lines) next() (text string, first int, ok bool) {
	null, last := false, 0
	var joined []byte // nil while the logical line is one physical line
	for l.rest != "" {
		line, rest, _ := strings.Cut(l.rest, "\n")
		start := skipSpace(line)
		ignored := start == "" || start[0] == '#'
		if !ignored && first > 0 && !isSpace(line[0]) {
			break
		}
		l.rest = rest
		l.line++
		if strings.IndexByte(line, 0) >= 0 {
			if ignored {
				l.warnf("%s, line %d: text after null byte may be ignored", l.path, l.line)
			} else {
				null = true
			}
		}
		switch {
		case ignored:
			continue
		case first == 0:
			text, first = line, l.line
		default:
			if joined == nil {
				joined = append(joined, text...)
			}
			joined = append(joined, line...)
		}
		last = l.line
	}
	if first == 0 {
		return "", 0, false
	}
	if joined != nil {
		text = string(joined)
	}
	if null {
		where := fmt.Sprintf("line %d", first)
		if last > first {
			where = fmt.Sprintf("line %d-%d", first, last)
		}
		l.warnf("%s, %s: text after null byte may be ignored", l.path, where)
		text, _, _ = strings.Cut(text, "\x00")
	}
	return text, first, true
}

func (l *Lines) warnf(format string, args ...any) {
	if l.warn != nil {
		l.warn(fmt.Sprintf(format, args...))
	}
}

// quoted makes %q show text as it is between quotes: a message filter, not
// this package, decides about bytes that cannot be printed.
type quoted string

// Format writes the text in double quotes.
func (q quoted) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(`"` + string(q) + `"`)) }

// isSpace tells the bytes that surround names and values in a file.
func isSpace(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func skipSpace(s string) string {
	for s != "" && isSpace(s[0]) {
		s = s[1:]
	}
	return s
}

func trimSpace(s string) string {
	s = skipSpace(s)
	for s != "" && isSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}
