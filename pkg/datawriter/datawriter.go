// Package datawriter writes message content between the reply to DATA and the
// final dot. It is the only writer of such content: the SMTP and LMTP client
// and the proxy filter client use it, so that the rule of spec hardening §2.3
// holds in one place:
//
//   - CR stands only before LF, and LF only after CR;
//   - each line that starts with a dot gets a second one;
//   - the only line with nothing but a dot is the last.
//
// Content comes as pieces of lines, in the way queue files hold it: no piece
// has a line end, and a line may consist of any number of pieces. What stray CR
// and LF a piece does contain becomes spaces.
package datawriter

import (
	"bytes"
	"io"
	"sync"
)

// bufferSize is how much is collected before a write.
const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any {
	b := make([]byte, 0, bufferSize)
	return &b
}}

// A Writer turns pieces of lines into SMTP content. The zero value is not
// usable; see New.
type Writer struct {
	// LineLimit is the largest length of a line in bytes, without CR LF and
	// without an added dot (smtp_line_length_limit); a longer line is broken
	// with CR LF SPACE. 0 means no limit.
	LineLimit int
	// Stuffed says that the content already has its leading dots doubled:
	// then only a line with a single leading dot gets another.
	Stuffed bool

	// Broken is set when a line was broken, Repaired when a dot was added to
	// content that should have had it, Replaced when a stray CR or LF became
	// a space. They stay set until Reset.
	Broken, Repaired, Replaced bool

	w      io.Writer
	pooled *[]byte
	buf    []byte
	column int  // bytes in the current output line
	start  bool // nothing of the current line was seen
	dot    bool // Stuffed: the line consists of one dot so far
	err    error
	sent   int64
}

// New returns a Writer to w. Call Release when done.
func New(w io.Writer) *Writer {
	p := buffers.Get().(*[]byte)
	return &Writer{w: w, pooled: p, buf: (*p)[:0], start: true}
}

// Release gives the buffer back. The Writer must not be used after it.
func (w *Writer) Release() {
	if w.pooled == nil {
		return
	}
	*w.pooled = w.buf[:0]
	buffers.Put(w.pooled)
	w.pooled, w.buf = nil, nil
}

// Text adds a piece of the current line. Errors of the underlying writer stick.
func (w *Writer) Text(p []byte) error {
	if len(p) == 0 || w.err != nil {
		return w.err
	}
	if w.start {
		w.start = false
		if p[0] == '.' {
			w.buf = append(w.buf, '.')
			if w.Stuffed {
				w.column, w.dot = 1, true
				p = p[1:]
			}
		}
	}
	if w.dot && len(p) > 0 {
		w.dot = false
		if p[0] != '.' {
			w.buf = append(w.buf, '.')
			w.Repaired = true
		}
	}
	for len(p) > 0 {
		n := len(p)
		if w.LineLimit > 0 {
			// The space of a continuation line needs a byte after it.
			limit := max(w.LineLimit, 2)
			if w.column >= limit {
				w.buf = append(w.buf, "\r\n "...)
				w.column = 1
				w.Broken = true
				continue
			}
			n = min(n, limit-w.column)
		}
		n = min(n, bufferSize)
		w.plain(p[:n])
		w.column += n
		p = p[n:]
		if len(w.buf) >= bufferSize-512 {
			w.flush()
		}
	}
	return w.err
}

// plain adds bytes within a line; CR and LF become spaces.
func (w *Writer) plain(p []byte) {
	at := len(w.buf)
	w.buf = append(w.buf, p...)
	if bytes.IndexByte(p, '\r') < 0 && bytes.IndexByte(p, '\n') < 0 {
		return
	}
	w.Replaced = true
	for i, c := range w.buf[at:] {
		if c == '\r' || c == '\n' {
			w.buf[at+i] = ' '
		}
	}
}

// EndLine ends the current line.
func (w *Writer) EndLine() error {
	if w.dot {
		w.buf = append(w.buf, '.')
		w.Repaired = true
	}
	w.buf = append(w.buf, '\r', '\n')
	w.column, w.start, w.dot = 0, true, false
	if len(w.buf) >= bufferSize-512 {
		w.flush()
	}
	return w.err
}

// Line adds a whole line.
func (w *Writer) Line(p []byte) error {
	if err := w.Text(p); err != nil {
		return err
	}
	return w.EndLine()
}

// End ends the content: it completes an open line, adds the final dot and
// then the bytes of after (a pipelined command), and sends everything.
func (w *Writer) End(after string) error {
	if !w.start {
		if err := w.EndLine(); err != nil {
			return err
		}
	}
	w.buf = append(w.buf, ".\r\n"...)
	w.buf = append(w.buf, after...)
	return w.flush()
}

// Flush sends what was collected.
func (w *Writer) Flush() error { return w.flush() }

// Sent returns the number of bytes handed to the underlying writer.
func (w *Writer) Sent() int64 { return w.sent }

func (w *Writer) flush() error {
	if w.err == nil && len(w.buf) > 0 {
		var n int
		n, w.err = w.w.Write(w.buf)
		w.sent += int64(n)
	}
	w.buf = w.buf[:0]
	return w.err
}
