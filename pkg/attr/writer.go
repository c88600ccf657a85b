package attr

import (
	"encoding/base64"
	"io"
	"strconv"
	"strings"
)

// A Writer collects attributes and sends them with one write. Errors stick:
// the first one is returned by Flush or End, and nothing is sent after it.
type Writer struct {
	w    io.Writer
	form Form
	buf  []byte
	err  error
}

// NewWriter returns a Writer that sends lists in the given form to w.
func NewWriter(w io.Writer, form Form) *Writer {
	return &Writer{w: w, form: form}
}

// Str adds a string attribute. A NUL (Null form) or LF (Plain form) in name or
// value is an error: it would forge another attribute.
func (w *Writer) Str(name, value string) *Writer {
	if w.err != nil {
		return w
	}
	switch w.form {
	case Null:
		if strings.IndexByte(name, 0) >= 0 || strings.IndexByte(value, 0) >= 0 {
			w.err = &ValueError{name, "null byte in value"}
			return w
		}
		w.buf = append(w.buf, name...)
		w.buf = append(w.buf, 0)
		w.buf = append(w.buf, value...)
		w.buf = append(w.buf, 0)
	case Plain:
		if strings.ContainsAny(value, "\x00\n") || strings.ContainsAny(name, "=\x00\n") {
			w.err = &ValueError{name, "null byte or newline in value"}
			return w
		}
		w.buf = append(w.buf, name...)
		w.buf = append(w.buf, '=')
		w.buf = append(w.buf, value...)
		w.buf = append(w.buf, '\n')
	case Base64:
		w.buf = base64.StdEncoding.AppendEncode(w.buf, []byte(name))
		w.buf = append(w.buf, ':')
		w.buf = base64.StdEncoding.AppendEncode(w.buf, []byte(value))
		w.buf = append(w.buf, '\n')
	}
	return w
}

// Int adds a 32-bit number. Negative values are sent as their unsigned
// two's complement, as the peers expect: -1 is 4294967295.
func (w *Writer) Int(name string, value int) *Writer {
	return w.Str(name, strconv.FormatUint(uint64(uint32(int32(value))), 10))
}

// Long adds a 64-bit number, in the same manner.
func (w *Writer) Long(name string, value int64) *Writer {
	return w.Str(name, strconv.FormatUint(uint64(value), 10))
}

// Data adds arbitrary bytes, base64-encoded.
func (w *Writer) Data(name string, value []byte) *Writer {
	return w.Str(name, base64.StdEncoding.EncodeToString(value))
}

// Hash adds a group of name/value pairs, in the order given: pairs[0] is a
// name, pairs[1] its value, and so on.
func (w *Writer) Hash(pairs ...string) *Writer {
	w.raw("{")
	for i := 0; i+1 < len(pairs); i += 2 {
		w.Str(pairs[i], pairs[i+1])
	}
	w.raw("}")
	return w
}

func (w *Writer) raw(token string) {
	switch w.form {
	case Null:
		w.buf = append(append(w.buf, token...), 0)
	case Plain:
		w.buf = append(append(w.buf, token...), '\n')
	case Base64:
		w.buf = base64.StdEncoding.AppendEncode(w.buf, []byte(token))
		w.buf = append(w.buf, '\n')
	}
}

// Bytes adds bytes that are already encoded, such as queue-file records that
// follow a list in the same write.
func (w *Writer) Bytes(b []byte) *Writer {
	w.buf = append(w.buf, b...)
	return w
}

// End adds the list terminator and sends everything collected.
func (w *Writer) End() error {
	w.Terminate()
	return w.Flush()
}

// Terminate adds the list terminator without sending.
func (w *Writer) Terminate() *Writer {
	if w.form == Null {
		w.buf = append(w.buf, 0)
	} else {
		w.buf = append(w.buf, '\n')
	}
	return w
}

// Flush sends what was collected, in one write.
func (w *Writer) Flush() error {
	if w.err == nil && len(w.buf) > 0 {
		_, w.err = w.w.Write(w.buf)
	}
	w.buf = w.buf[:0]
	return w.err
}
