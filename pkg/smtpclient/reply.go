package smtpclient

import (
	"bufio"
	"errors"
	"strings"
	"unicode/utf8"

	"suffix/pkg/dsn"
)

// Limits on what a server may send as one reply (spec hardening, SC4).
const (
	maxReplyLines   = 1000 // lines, kept or not
	readLineFactor  = 2    // times the line limit: bytes read of one line
	shownOfLongLine = 30   // bytes of it in the warning
)

// A reply is what a server answered to one command.
type reply struct {
	code   int    // 0 where the last line has none
	status string // enhanced status code of the last line, or its substitute
	text   string // sanitised lines, joined by newlines
}

// ok says that the command was accepted.
func (r *reply) ok() bool { return r.code/100 == 2 }

// oneLine returns the text as it appears in reasons: lines joined by spaces.
func (r *reply) oneLine() string { return strings.ReplaceAll(r.text, "\n", " ") }

// errTooMuch says that a server does not stop talking.
var errTooMuch = errors.New("endless reply")

// A replyReader reads replies and reports oddities.
type replyReader struct {
	r     *bufio.Reader
	limit int  // line_length_limit
	utf8  bool // keep valid UTF-8

	// longLine and longText are told of text that was cut, garbage of a line
	// that is no reply line, each with the text. They may be nil.
	longLine, longText, garbage func(text string)
	// filter may replace a line; its error ends the reading.
	filter func(line string) (string, error)

	line []byte
	text []byte
}

// read reads one reply. After an error nothing may be read any more.
func (p *replyReader) read(out *reply) error {
	*out = reply{}
	p.text = p.text[:0]
	cut := false
	for range maxReplyLines {
		if err := p.readLine(); err != nil {
			return err
		}
		line := p.sanitised()
		if p.filter != nil {
			filtered, err := p.filter(line)
			if err != nil {
				return err
			}
			line = filtered
		}
		code, final, valid := splitLine(line)
		if len(p.text)+len(line) < p.limit {
			if len(p.text) > 0 {
				p.text = append(p.text, '\n')
			}
			p.text = append(p.text, line...)
		} else if len(p.text) == 0 {
			p.text = append(p.text, line[:min(len(line), p.limit)]...)
		} else if !cut {
			cut = true
			if p.longText != nil {
				p.longText(line[:min(len(line), shownOfLongLine)])
			}
		}
		if !valid {
			if p.garbage != nil {
				p.garbage(line)
			}
			continue
		}
		if final {
			out.code = code
			out.status = lineStatus(code, line)
			out.text = string(p.text)
			return nil
		}
	}
	return errTooMuch
}

// splitLine recognises `ddd` and `ddd text` (final), `ddd-text` (not final).
func splitLine(line string) (code int, final, valid bool) {
	if len(line) < 3 {
		return 0, false, false
	}
	for i := range 3 {
		if line[i] < '0' || line[i] > '9' {
			return 0, false, false
		}
		code = code*10 + int(line[i]-'0')
	}
	if len(line) == 3 || line[3] == ' ' {
		return code, true, true
	}
	return code, false, line[3] == '-'
}

// lineStatus returns the enhanced status code of a final line, or what stands
// for it where the server sent none that fits.
func lineStatus(code int, line string) string {
	class := byte('0' + code/100)
	switch class {
	case '2', '4', '5':
	default:
		return "5.5.0"
	}
	if len(line) > 4 {
		if status, _ := dsn.Split(line[4:], ""); dsn.Class(status) == class {
			return status
		}
	}
	return string(class) + ".0.0"
}

// readLine reads one line without its end into p.line; text beyond the limit
// is dropped.
func (p *replyReader) readLine() error {
	p.line = p.line[:0]
	total := 0
	for {
		chunk, err := p.r.ReadSlice('\n')
		total += len(chunk)
		if room := p.limit + 2 - len(p.line); room > 0 {
			p.line = append(p.line, chunk[:min(room, len(chunk))]...)
		}
		full := errors.Is(err, bufio.ErrBufferFull)
		if err != nil && !full {
			return err
		}
		if most := readLineFactor * p.limit; total > most || full && total == most {
			return errTooMuch
		}
		if !full {
			break
		}
	}
	for n := len(p.line); n > 0 && (p.line[n-1] == '\n' || p.line[n-1] == '\r'); n-- {
		p.line = p.line[:n-1]
	}
	if len(p.line) > p.limit || total > p.limit+2 {
		p.line = p.line[:min(len(p.line), p.limit)]
		if p.longLine != nil {
			p.longLine(printable(string(p.line[:min(len(p.line), shownOfLongLine)]), p.utf8))
		}
	}
	return nil
}

func (p *replyReader) sanitised() string {
	for _, c := range p.line {
		if c < 32 || c >= 127 {
			return printable(string(p.line), p.utf8)
		}
	}
	return string(p.line)
}

// printable replaces what may not stand in replies and logs by "?".
func printable(s string, keepUTF8 bool) string {
	var b strings.Builder
	b.Grow(len(s))
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf {
			if c < 32 || c == 127 {
				c = '?'
			}
			b.WriteByte(c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(s[i:])
		if keepUTF8 && r != utf8.RuneError {
			b.WriteString(s[i : i+n])
		} else {
			for range n {
				b.WriteByte('?')
			}
		}
		i += n
	}
	return b.String()
}
