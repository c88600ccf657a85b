package attr

import (
	"bufio"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"strings"
)

// A Reader takes attributes from a stream in the order in which it is asked
// for them (spec ipc §2.2).
//
// After the first failure every further call fails with the same error until
// the next call of Reset or End. Errors carry the text that Postfix logs as a
// warning; the caller logs it, except for ErrEOF.
type Reader struct {
	r      *bufio.Reader
	form   Form
	stream string

	// Lenient skips attributes that were not asked for, instead of failing.
	Lenient bool

	// MaxValue bounds the length of one value in bytes; 0 means DefaultMaxValue.
	MaxValue int

	started bool
	ended   bool
	skipped int    // attributes of this list that nobody asked for
	rest    string // value part of a Plain or Base64 line whose name was read
	err     error
}

// DefaultMaxValue is the largest value that a Reader accepts by default. It
// is far above what any peer sends, and keeps a broken one from filling memory.
const DefaultMaxValue = 1 << 20

// NewReader returns a Reader of lists in the given form. The stream name, such
// as "rewrite socket", appears in error texts.
func NewReader(r *bufio.Reader, form Form, stream string) *Reader {
	return &Reader{r: r, form: form, stream: stream}
}

// Stream returns the name used in error texts.
func (r *Reader) Stream() string { return r.stream }

// Buffered returns the underlying reader, for protocols that continue with
// something other than attributes.
func (r *Reader) Buffered() *bufio.Reader { return r.r }

// Reset forgets the state of the current list: the next call starts a new one.
func (r *Reader) Reset() { r.started, r.ended, r.skipped, r.err = false, false, 0, nil }

// Err returns the first error met in the current list.
func (r *Reader) Err() error { return r.err }

// Str reads the string attribute called name.
func (r *Reader) Str(name string) (string, error) {
	if r.err != nil {
		return "", r.err
	}
	for {
		got, value, hasValue, err := r.item(name)
		switch {
		case err != nil:
			return "", r.fail(err)
		case got == "" && !hasValue:
			r.ended = true
			return "", r.fail(&MissingError{Name: name, Stream: r.stream})
		case got == name && hasValue:
			return value, nil
		case !r.Lenient:
			return "", r.fail(&UnexpectedError{Got: got, Want: name, Stream: r.stream})
		}
		if err := r.skip(); err != nil {
			return "", r.fail(err)
		}
	}
}

// skip counts an attribute that a lenient Reader passes over.
func (r *Reader) skip() error {
	if r.skipped++; r.skipped > maxSkipped {
		return fmt.Errorf("attribute count exceeds limit %d in input from %s", maxSkipped, r.stream)
	}
	return nil
}

// uint reads a number the way C programs scan an unsigned one: leading blanks
// and a sign are accepted.
func (r *Reader) uint(name string) (uint64, error) {
	text, err := r.Str(name)
	if err != nil {
		return 0, err
	}
	return r.parseUint(text)
}

func (r *Reader) parseUint(text string) (uint64, error) {
	trimmed := strings.TrimLeft(text, " \t\n\v\f\r")
	digits := strings.TrimPrefix(trimmed, "+")
	negative := false
	if digits == trimmed {
		digits = strings.TrimPrefix(trimmed, "-")
		negative = digits != trimmed
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		if len(text) > 100 {
			text = text[:100]
		}
		return 0, r.fail(fmt.Errorf("malformed numerical data from %s while reading input attribute value: %s", r.stream, text))
	}
	if negative {
		n = -n
	}
	return n, nil
}

// Int reads a 32-bit number; 4294967295 is -1.
func (r *Reader) Int(name string) (int, error) {
	n, err := r.uint(name)
	return int(int32(uint32(n))), err
}

// IntOf reads a 32-bit number whose attribute has one of several names:
// releases renamed some.
func (r *Reader) IntOf(names ...string) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	got, value, hasValue, err := r.item(names[0])
	switch {
	case err != nil:
		return 0, r.fail(err)
	case got == "" && !hasValue:
		r.ended = true
		return 0, r.fail(&MissingError{Name: names[0], Stream: r.stream})
	case !hasValue || !slices.Contains(names, got):
		return 0, r.fail(&UnexpectedError{Got: got, Want: names[0], Stream: r.stream})
	}
	n, err := r.parseUint(value)
	return int(int32(uint32(n))), err
}

// Long reads a 64-bit number.
func (r *Reader) Long(name string) (int64, error) {
	n, err := r.uint(name)
	return int64(n), err
}

// Data reads base64-encoded bytes.
func (r *Reader) Data(name string) ([]byte, error) {
	text, err := r.Str(name)
	if err != nil {
		return nil, err
	}
	data, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		if len(text) > 100 {
			text = text[:100]
		}
		return nil, r.fail(fmt.Errorf("malformed base64 data from %s while reading input attribute value: %s", r.stream, text))
	}
	return data, nil
}

// Next reads whatever attribute comes next. ok is false at the end of the list.
func (r *Reader) Next() (name, value string, ok bool, err error) {
	if r.err != nil {
		return "", "", false, r.err
	}
	name, value, hasValue, err := r.item("(any attribute)")
	if err != nil {
		return "", "", false, r.fail(err)
	}
	if !hasValue {
		if name != "" {
			return "", "", false, r.fail(fmt.Errorf("unexpected end-of-input from %s while reading %s", r.stream, name))
		}
		r.ended = true
		return "", "", false, nil
	}
	return name, value, true, nil
}

// Hash reads a group of name/value pairs. The first of several entries with
// one name counts.
func (r *Reader) Hash() (map[string]string, error) {
	if r.err != nil {
		return nil, r.err
	}
	hash := make(map[string]string)
	name, value, hasValue, err := r.item("(hash)")
	braces := err == nil && name == "{" && !hasValue
	if braces {
		name, value, hasValue, err = r.item("(hash)")
	}
	for ; err == nil; name, value, hasValue, err = r.item("(hash)") {
		if !hasValue {
			if name == "" {
				r.ended = true
			}
			if braces && name != "}" {
				return nil, r.fail(&MissingError{Name: "}", Stream: r.stream})
			}
			return hash, nil
		}
		if len(hash) >= maxHashEntries {
			return nil, r.fail(fmt.Errorf("attribute count exceeds limit %d in input from %s", maxHashEntries, r.stream))
		}
		if _, dup := hash[name]; !dup {
			hash[name] = value
		} else if !r.Lenient {
			return nil, r.fail(fmt.Errorf("duplicate attribute %s in input from %s", name, r.stream))
		}
	}
	return nil, r.fail(err)
}

// End consumes the list terminator. Attributes before it are an error unless
// the Reader is lenient. It also ends the error state: the next call reads the
// next list.
func (r *Reader) End() error {
	defer r.Reset()
	if r.err != nil || r.ended {
		return r.err
	}
	for {
		name, hasMore, err := r.name("(list terminator)")
		if err != nil {
			return err
		}
		if name == "" {
			return nil
		}
		if !r.Lenient {
			return &UnexpectedError{Got: name, Want: "(list terminator)", Stream: r.stream}
		}
		if err := r.skip(); err != nil {
			return err
		}
		if hasMore {
			if _, err := r.value(name); err != nil {
				return err
			}
		}
	}
}

// Protocol reads a greeting attribute and checks that it announces the
// protocol that this side speaks. It does not read the list terminator.
func (r *Reader) Protocol(want string) error {
	got, err := r.Str("protocol")
	if err != nil {
		return err
	}
	if got != want {
		return r.fail(fmt.Errorf("unexpected protocol %s from %s (expected: %s)", got, r.stream, want))
	}
	return nil
}

func (r *Reader) fail(err error) error {
	r.err = err
	return err
}

// item reads one name and, where there is one, its value.
func (r *Reader) item(asked string) (name, value string, hasValue bool, err error) {
	if r.ended {
		return "", "", false, nil
	}
	name, more, err := r.name(asked)
	if err != nil || !more {
		return name, "", false, err
	}
	value, err = r.value(name)
	return name, value, true, err
}

// name reads up to the end of an attribute name; more says that a value
// follows. The empty name is the list terminator.
func (r *Reader) name(asked string) (name string, more bool, err error) {
	if r.form == Null {
		name, err = r.until(0, maxNameLength, "name", asked)
		if err != nil || name == "" || name == "{" || name == "}" {
			return name, false, err
		}
		return name, true, nil
	}
	line, err := r.until('\n', maxNameLength+r.maxValue(), "name", asked)
	if err != nil || line == "" {
		return "", false, err
	}
	sep := byte('=')
	if r.form == Base64 {
		sep = ':'
	}
	i := strings.IndexByte(line, sep)
	if i < 0 {
		if r.form == Base64 {
			line, err = r.decode(line)
		}
		return line, false, err
	}
	r.rest = line[i+1:]
	name = line[:i]
	if r.form == Base64 {
		name, err = r.decode(name)
	}
	return name, true, err
}

// value reads the value of the attribute whose name was just read.
func (r *Reader) value(name string) (string, error) {
	switch r.form {
	case Null:
		return r.until(0, r.maxValue(), "value", name)
	case Base64:
		return r.decode(r.rest)
	}
	return r.rest, nil
}

func (r *Reader) maxValue() int {
	if r.MaxValue > 0 {
		return r.MaxValue
	}
	return DefaultMaxValue
}

func (r *Reader) decode(text string) (string, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return "", fmt.Errorf("malformed base64 data from %s while reading input attribute name: %s", r.stream, text)
	}
	return string(b), nil
}

// until reads up to the delimiter, which it drops.
func (r *Reader) until(delim byte, limit int, what, asked string) (string, error) {
	var long []byte
	for {
		chunk, err := r.r.ReadSlice(delim)
		if len(chunk) > 0 {
			r.started = true
		}
		switch {
		case err == nil && len(long) == 0:
			return string(chunk[:len(chunk)-1]), nil
		case err == nil:
			return string(append(long, chunk[:len(chunk)-1]...)), nil
		case errors.Is(err, bufio.ErrBufferFull):
			if len(long)+len(chunk) > limit {
				return "", fmt.Errorf("attribute %s too long in input from %s", what, r.stream)
			}
			long = append(long, chunk...)
		case !r.started && errors.Is(err, io.EOF):
			return "", ErrEOF
		case errors.Is(err, os.ErrDeadlineExceeded):
			return "", fmt.Errorf("timeout on %s while reading input attribute %s", r.stream, what)
		case errors.Is(err, io.EOF) && len(chunk)+len(long) == 0 && what == "name":
			return "", fmt.Errorf("unexpected end-of-input from %s while reading %s", r.stream, asked)
		default:
			return "", fmt.Errorf("premature end-of-input on %s while reading input attribute %s", r.stream, what)
		}
	}
}
