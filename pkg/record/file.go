package record

import (
	"errors"
	"fmt"
	"io"
)

const (
	windowSize      = 16 << 10
	maxReverseJumps = 10000
)

// A FileReader takes records from a queue file. It reads by offset, so that
// several readers may share one open file, and keeps no position in the file.
type FileReader struct {
	// Raw makes Next return pointers and padding like other records and go on
	// after End. The caller then follows pointers with Follow. Set it before
	// the first call of Next.
	Raw bool

	f    io.ReaderAt
	name string
	max  int

	window []byte // file content at base
	base   int64
	last   bool  // the window ends where the file ends
	next   int64 // where the next record starts
	offset int64 // where the last record started
	ended  bool
	big    []byte // a record larger than the window

	jumps      int
	lastTarget int64
}

// NewFileReader returns a reader that starts at offset 0. The name, usually
// the path, appears in error texts.
func NewFileReader(f io.ReaderAt, name string) *FileReader {
	return &FileReader{f: f, name: name}
}

// Reset makes the reader start over with another file; buffers are kept.
func (r *FileReader) Reset(f io.ReaderAt, name string) {
	*r = FileReader{Raw: r.Raw, max: r.max, f: f, name: name, window: r.window[:0], big: r.big}
}

// SetMax refuses records longer than n bytes; 0 means no limit.
func (r *FileReader) SetMax(n int) { r.max = n }

// Name returns the name used in error texts.
func (r *FileReader) Name() string { return r.name }

// Offset returns the file offset of the type byte of the record that Next
// returned last.
func (r *FileReader) Offset() int64 { return r.offset }

// NextOffset returns the file offset where the next call of Next will read.
func (r *FileReader) NextOffset() int64 { return r.next }

// SeekTo sets the file offset where the next call of Next will read.
func (r *FileReader) SeekTo(offset int64) {
	r.next = offset
	r.ended = false
}

// Next returns the next record. The payload is valid until the next call. The
// error is io.EOF at the end of the file (and, unless Raw is set, after an End
// record), a *BadError for a malformed file, or that of the underlying read.
func (r *FileReader) Next() (Type, []byte, error) {
	for {
		t, data, err := r.nextRaw()
		if err != nil || r.Raw {
			return t, data, err
		}
		switch t {
		case Pointer:
			if err := r.Follow(data); err != nil {
				return t, nil, err
			}
		case Padding:
		case End:
			r.ended = true
			return t, data, nil
		default:
			return t, data, nil
		}
	}
}

// Follow continues at the offset that a pointer's payload names. The value 0
// is a placeholder and does nothing. More than 10000 jumps to an offset that
// is not beyond the previous jump's target are an error.
func (r *FileReader) Follow(payload []byte) error {
	target, err := ParsePointer(payload)
	if err != nil {
		return &BadError{Text: fmt.Sprintf("%s: malformed pointer record value: %s", r.name, printable(payload))}
	}
	if target == 0 {
		return nil
	}
	if target <= r.lastTarget {
		if r.jumps++; r.jumps > maxReverseJumps {
			return &BadError{Text: r.name + ": too many reverse jump records"}
		}
	}
	r.lastTarget = target
	r.SeekTo(target)
	return nil
}

func (r *FileReader) nextRaw() (Type, []byte, error) {
	if r.ended {
		return 0, nil, io.EOF
	}
	r.offset = r.next
	// Type, length and, mostly, payload are in the window already.
	head, err := r.at(r.next, 1+maxLengthBytes)
	if len(head) == 0 {
		if err == nil || errors.Is(err, io.EOF) {
			return 0, nil, io.EOF
		}
		return 0, nil, fmt.Errorf("%s: %w", r.name, err)
	}
	t := Type(head[0])
	length, used := 0, 1
	for shift := 0; ; shift += 7 {
		if shift == 7*maxLengthBytes {
			return t, nil, errTooManyBits(r.name, t)
		}
		if used == len(head) {
			return t, nil, errEOFInLength(r.name, t, err)
		}
		b := head[used]
		used++
		length |= int(b&0x7f) << shift
		if b&0x80 == 0 {
			break
		}
	}
	if r.max > 0 && length > r.max {
		return t, nil, errLength(r.name, t, int64(length))
	}
	start := r.next + int64(used)
	var data []byte
	if length <= windowSize {
		data, err = r.at(start, length)
	} else {
		data, err = r.large(start, length)
	}
	if len(data) < length {
		return t, nil, errEOFInData(r.name, t, int64(length), err)
	}
	r.next = start + int64(length)
	return t, data[:length:length], nil
}

// at returns at least n bytes at off, or as many as the file has; n is at most
// the window size.
func (r *FileReader) at(off int64, n int) ([]byte, error) {
	if i := off - r.base; i >= 0 && i+int64(n) <= int64(len(r.window)) {
		return r.window[i:], nil
	} else if r.last && i >= 0 && i <= int64(len(r.window)) {
		return r.window[i:], io.EOF
	}
	if r.window == nil || cap(r.window) < windowSize {
		r.window = make([]byte, 0, windowSize)
	}
	got, err := r.f.ReadAt(r.window[:windowSize], off)
	r.window, r.base, r.last = r.window[:got], off, errors.Is(err, io.EOF)
	return r.window, err
}

// large reads a record that exceeds the window. Memory grows with what the
// file really holds.
func (r *FileReader) large(off int64, n int) ([]byte, error) {
	r.big = r.big[:0]
	for len(r.big) < n {
		chunk, err := r.at(off+int64(len(r.big)), min(windowSize, n-len(r.big)))
		if len(chunk) == 0 {
			return r.big, err
		}
		r.big = append(r.big, chunk[:min(len(chunk), n-len(r.big))]...)
	}
	return r.big, nil
}
