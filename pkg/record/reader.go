package record

import (
	"bufio"
	"errors"
	"fmt"
	"io"
)

// A BadError says that the input is not a sequence of records. Its text is
// what Postfix logs as a warning. Cause is the error of the underlying read
// where that failed otherwise than by its end, such as a timeout.
type BadError struct {
	Text  string
	Cause error
}

func (e *BadError) Error() string { return e.Text }

// Unwrap returns the cause.
func (e *BadError) Unwrap() error { return e.Cause }

// IsBad reports whether err is due to malformed input, in contrast to io.EOF
// or a failed read.
func IsBad(err error) bool {
	var bad *BadError
	return errors.As(err, &bad)
}

func errTooManyBits(name string, t Type) error {
	return &BadError{Text: fmt.Sprintf("%s: too many length bits, record type %d", name, t)}
}

func errLength(name string, t Type, length int64) error {
	return &BadError{Text: fmt.Sprintf("%s: illegal length %d, record type %d", name, length, t)}
}

func errEOFInLength(name string, t Type, cause error) error {
	return &BadError{Text: fmt.Sprintf("%s: unexpected EOF reading length, record type %d", name, t), Cause: notEOF(cause)}
}

func errEOFInData(name string, t Type, length int64, cause error) error {
	return &BadError{Text: fmt.Sprintf("%s: unexpected EOF in data, record type %d length %d", name, t, length), Cause: notEOF(cause)}
}

func notEOF(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return nil
	}
	return err
}

// maxLengthBytes bounds the length field: 4 bytes of 7 bits.
const maxLengthBytes = 4

// A Reader takes records from a stream: the cleanup socket, or postdrop's
// standard input. It treats pointers and padding as any other record.
type Reader struct {
	r    *bufio.Reader
	name string
	max  int
	buf  []byte
}

// NewReader returns a Reader. The name appears in error texts. Records longer
// than maxLen are refused; 0 means no limit. A *bufio.Reader is used as it is,
// so that a caller can read something else from it between two records.
func NewReader(r io.Reader, name string, maxLen int) *Reader {
	br, ok := r.(*bufio.Reader)
	if !ok {
		br = bufio.NewReaderSize(r, 8192)
	}
	return &Reader{r: br, name: name, max: maxLen}
}

// Buffered returns the number of bytes that can be read without waiting.
func (r *Reader) Buffered() int { return r.r.Buffered() }

// Next returns the next record. The payload is valid until the next call. The
// error is io.EOF at the end of the stream, a *BadError for malformed input,
// or that of the underlying read.
func (r *Reader) Next() (Type, []byte, error) {
	b, err := r.r.ReadByte()
	if err != nil {
		return 0, nil, err
	}
	t := Type(b)
	length := 0
	for shift := 0; ; shift += 7 {
		if shift == 7*maxLengthBytes {
			return t, nil, errTooManyBits(r.name, t)
		}
		b, err := r.r.ReadByte()
		if err != nil {
			return t, nil, errEOFInLength(r.name, t, err)
		}
		length |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			break
		}
	}
	if r.max > 0 && length > r.max {
		return t, nil, errLength(r.name, t, int64(length))
	}
	if length <= r.r.Size() {
		data, err := r.r.Peek(length)
		if err != nil {
			return t, nil, errEOFInData(r.name, t, int64(length), err)
		}
		if _, err := r.r.Discard(length); err != nil {
			return t, nil, errEOFInData(r.name, t, int64(length), err)
		}
		return t, data, nil
	}
	// A length that the sender only claims gets no memory: the buffer grows
	// with what really arrives.
	r.buf = r.buf[:0]
	for len(r.buf) < length {
		chunk, err := r.r.Peek(min(length-len(r.buf), r.r.Size()))
		if err != nil {
			return t, nil, errEOFInData(r.name, t, int64(length), err)
		}
		r.buf = append(r.buf, chunk...)
		if _, err := r.r.Discard(len(chunk)); err != nil {
			return t, nil, errEOFInData(r.name, t, int64(length), err)
		}
	}
	return t, r.buf, nil
}
