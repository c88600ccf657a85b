package table

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// A LineReader reads the logical lines of a text file: comments and blank
// lines are dropped, a line that starts with whitespace continues the one
// before it (spec tables §6.1).
type LineReader struct {
	// Warn gets a text for each questionable line, without "warning: ".
	// nil: not told.
	Warn func(format string, args ...any)
	// AllowNUL: a null byte is nothing to warn of, as in Postfix 3.7.
	AllowNUL bool

	r       *bufio.Reader
	path    string
	line    []byte // the logical line returned last
	pending []byte // physical line read ahead
	ahead   bool
	number  int // physical lines read
	first   int // of the line returned last
	last    int
	err     error
}

// NewLineReader reads from r; path names it in warnings.
func NewLineReader(r io.Reader, path string) *LineReader {
	return &LineReader{r: bufio.NewReaderSize(r, 64<<10), path: path}
}

// Line is the number of the first physical line of the logical line that Next
// returned last.
func (l *LineReader) Line() int { return l.first }

// Next returns the next logical line, without its newline; it is valid until
// the next call. The error is io.EOF at the end.
func (l *LineReader) Next() ([]byte, error) {
	for {
		line, err := l.next()
		if err != nil || !IsSpace(line[0]) {
			return line, err
		}
		l.warnLeadingBlank()
	}
}

// next reads a logical line, also one at the start of the file that begins
// with whitespace.
func (l *LineReader) next() ([]byte, error) {
	l.line = l.line[:0]
	started := false
	for {
		if !l.ahead {
			if err := l.physical(); err != nil {
				if started && errors.Is(err, io.EOF) {
					break
				}
				return nil, err
			}
			if blankOrComment(l.pending) {
				continue
			}
		}
		if started && !IsSpace(l.pending[0]) {
			l.ahead = true
			break
		}
		l.ahead = false
		if !started {
			started, l.first = true, l.number
		}
		l.last = l.number
		l.line = append(l.line, l.pending...)
	}
	if l.Warn != nil && !l.AllowNUL && bytes.IndexByte(l.line, 0) >= 0 {
		if l.first == l.last {
			l.Warn("%s, line %d: text after null byte may be ignored", l.path, l.first)
		} else {
			l.Warn("%s, line %d-%d: text after null byte may be ignored", l.path, l.first, l.last)
		}
	}
	return l.line, nil
}

// physical reads the next physical line into pending, without the newline.
func (l *LineReader) physical() error {
	l.pending = l.pending[:0]
	if l.err != nil {
		return l.err
	}
	for {
		chunk, err := l.r.ReadSlice('\n')
		l.pending = append(l.pending, chunk...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			l.err = err
			if len(l.pending) == 0 || !errors.Is(err, io.EOF) {
				return err
			}
		}
		l.number++
		if n := len(l.pending); l.pending[n-1] == '\n' {
			l.pending = l.pending[:n-1]
		}
		return nil
	}
}

func blankOrComment(line []byte) bool {
	for _, c := range line {
		if !IsSpace(c) {
			return c == '#'
		}
	}
	return true
}

func (l *LineReader) warnLeadingBlank() {
	if l.Warn == nil {
		return
	}
	text, dots := l.line, ""
	if len(text) > 30 {
		text, dots = text[:30], "..."
	}
	l.Warn("%s: logical line must not start with whitespace: \"%s%s\"", l.path, text, dots)
}

// SplitKeyValue splits a line "key whitespace value". The key may contain
// quoted whitespace; it keeps its quotes and backslashes. closed is false when
// a quote is still open at the end of the line.
func SplitKeyValue(line []byte) (key, value []byte, closed bool) {
	quoted := false
	i := 0
scan:
	for ; i < len(line); i++ {
		switch c := line[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && IsSpace(c):
			break scan
		}
	}
	i = min(i, len(line))
	key = line[:i]
	value = line[i:]
	for len(value) > 0 && IsSpace(value[0]) {
		value = value[1:]
	}
	for len(value) > 0 && IsSpace(value[len(value)-1]) {
		value = value[:len(value)-1]
	}
	return key, value, !quoted
}

// CutNUL drops a NUL and what follows: parsers of table sources ignore it.
func CutNUL(line []byte) []byte {
	if i := bytes.IndexByte(line, 0); i >= 0 {
		return line[:i]
	}
	return line
}
