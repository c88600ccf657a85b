package smtpserver

import (
	"bytes"
	"errors"
	"net"
	"os"
	"sync"
	"time"
)

// A lineEnd says how a piece of input ended.
type lineEnd uint8

const (
	noEnd   lineEnd = iota // a fragment: the line goes on
	bareLF                 // LF without CR before it
	crlfEnd                // CR LF
)

// A newlineMode says how line ends are judged (spec hardening §2.1).
type newlineMode uint8

const (
	newlineAny       newlineMode = iota // no: LF and CRLF are alike
	newlineNormalize                    // normalize, yes
	newlineNote                         // as normalize, and noted in the log
	newlineReject                       // bare LF is refused
)

var (
	// errLineTooLong: a command line exceeded the limit; its end was found.
	errLineTooLong = errors.New("command line too long")
	// errInputDisabled: a command line had no end within twice the limit, or
	// too much input would have to be skipped. Nothing more may be read.
	errInputDisabled = errors.New("input disabled")
	// errTimeout: the client did not send or take data in time.
	errTimeout = errors.New("timeout")
	// errLost: the client went away.
	errLost = errors.New("lost connection")
)

// Sizes of the input buffer: small while a session exchanges commands or
// waits, larger while content flows.
const (
	commandBuffer = 1024
	contentBuffer = 32 * 1024
)

// A reader takes command lines and content from the client. The zero buffer
// grows on use, so that a waiting session costs little.
type reader struct {
	conn     net.Conn
	limit    int // line_length_limit
	mode     newlineMode
	timeout  time.Duration // one wait, or one request with perRequest
	request  bool          // smtpd_per_request_deadline
	minRate  int           // bytes a second that extend the budget in content
	beforeIO func() error  // called before waiting: sends buffered replies

	buf      []byte
	r, w     int
	deadline time.Time // end of the budget, with request
	disabled bool
}

// startRequest begins the time budget of a request.
func (r *reader) startRequest() {
	if r.request {
		r.deadline = time.Now().Add(r.timeout)
	}
}

// earn extends the budget for n bytes of content.
func (r *reader) earn(n int) {
	if !r.request || n == 0 {
		return
	}
	r.deadline = r.deadline.Add(time.Duration(n) * time.Second / time.Duration(r.minRate))
	if max := time.Now().Add(r.timeout); r.deadline.After(max) {
		r.deadline = max
	}
}

// buffered returns the input that was received and not used yet.
func (r *reader) buffered() []byte { return r.buf[r.r:r.w] }

// discard forgets all buffered input.
func (r *reader) discard() { r.r, r.w = 0, 0 }

// disable makes every later read fail. What the client sent is never parsed
// (spec hardening SM4a).
func (r *reader) disable() {
	r.discard()
	r.buf = nil
	r.disabled = true
}

// fill waits for more input. There is room for size bytes afterwards, of which
// at least one is new.
func (r *reader) fill(size int) error {
	if r.disabled {
		return errInputDisabled
	}
	if r.r == r.w {
		r.r, r.w = 0, 0
	}
	if size < commandBuffer {
		size = commandBuffer
	}
	if r.r > 0 && (r.w == len(r.buf) || len(r.buf)-r.r < size) {
		copy(r.buf, r.buf[r.r:r.w])
		r.r, r.w = 0, r.w-r.r
	}
	if len(r.buf) < size {
		grown := newBuffer(size)
		copy(grown, r.buf[:r.w])
		r.buf = grown
	}
	if err := r.beforeIO(); err != nil {
		return err
	}
	deadline := r.deadline
	if !r.request {
		deadline = time.Now().Add(r.timeout)
	}
	if err := r.conn.SetReadDeadline(deadline); err != nil {
		return errLost
	}
	n, err := r.conn.Read(r.buf[r.w:])
	r.w += n
	if n > 0 {
		return nil
	}
	return ioError(err)
}

// ioError reduces a connection's error to the two that a session tells apart.
func ioError(err error) error {
	var timeout interface{ Timeout() bool }
	if errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &timeout) && timeout.Timeout() {
		return errTimeout
	}
	return errLost
}

// command reads one command line of at most limit bytes, without its end. The
// line is valid until the next read. With errLineTooLong and errInputDisabled
// it holds the beginning of the line.
func (r *reader) command() (line []byte, end lineEnd, err error) {
	r.startRequest()
	for scanned := 0; ; {
		b := r.buffered()
		i := bytes.IndexByte(b[scanned:], '\n') + scanned
		if i >= scanned && (i < r.limit || i == r.limit && b[i-1] == '\r') {
			r.r += i + 1
			line, end = r.strip(b[:i])
			return line, end, nil
		}
		if i >= scanned || len(b) > r.limit {
			return r.skipLine()
		}
		scanned = len(b)
		size := commandBuffer
		if len(b) >= size {
			size = 2 * r.limit
		}
		if err := r.fill(size); err != nil {
			return nil, noEnd, err
		}
	}
}

// skipLine drops a command line that is too long: at most limit bytes beyond
// the limit are looked at for its end.
func (r *reader) skipLine() (start []byte, end lineEnd, err error) {
	start = bytes.Clone(r.buffered()[:min(30, r.w-r.r)])
	r.r += r.limit
	for left := r.limit; left > 0; {
		b := r.buffered()
		if len(b) > left {
			b = b[:left]
		}
		if i := bytes.IndexByte(b, '\n'); i >= 0 {
			r.r += i + 1
			return start, crlfEnd, errLineTooLong
		}
		r.r += len(b)
		if left -= len(b); left > 0 {
			if err := r.fill(commandBuffer); err != nil {
				return start, noEnd, err
			}
		}
	}
	return start, noEnd, errInputDisabled
}

// strip removes the CR before the LF that ended a line: exactly one, or all in
// mode newlineAny.
func (r *reader) strip(raw []byte) ([]byte, lineEnd) {
	n := len(raw)
	if n == 0 || raw[n-1] != '\r' {
		return raw, bareLF
	}
	if n--; r.mode == newlineAny {
		for n > 0 && raw[n-1] == '\r' {
			n--
		}
	}
	return raw[:n], crlfEnd
}

// cut finds the first piece of content in b: a line of at most limit bytes, or
// a fragment of exactly limit bytes. A CR in the last place belongs to the
// line end if an LF follows it, so that one byte of look-ahead is needed. n is
// the number of bytes used; 0 if b does not hold a whole piece.
func (r *reader) cut(b []byte) (n int, piece []byte, end lineEnd) {
	if i := bytes.IndexByte(b[:min(len(b), r.limit+1)], '\n'); i >= 0 && (i < r.limit || b[i-1] == '\r') {
		piece, end = r.strip(b[:i])
		return i + 1, piece, end
	}
	if len(b) > r.limit || len(b) == r.limit && b[r.limit-1] != '\r' {
		return r.limit, b[:r.limit], noEnd
	}
	return 0, nil, noEnd
}

// contentSize is the room for content: always enough for one piece.
func (r *reader) contentSize() int { return max(contentBuffer, 2*r.limit) }

// piece reads the next piece of DATA content, valid until the next read.
func (r *reader) piece() (piece []byte, end lineEnd, err error) {
	for {
		n, piece, end := r.cut(r.buffered())
		if n > 0 {
			r.r += n
			return piece, end, nil
		}
		before := r.w - r.r
		if err := r.fill(r.contentSize()); err != nil {
			return nil, noEnd, err
		}
		r.earn(r.w - r.r - before)
	}
}

// chunk reads size bytes of BDAT content and calls put for each piece. Part
// of a line that the chunk leaves unfinished is returned and given back with
// the next chunk.
func (r *reader) chunk(size int64, carry []byte, put func(piece []byte, end lineEnd)) ([]byte, error) {
	for size > 0 {
		if r.r == r.w {
			if err := r.fill(r.contentSize()); err != nil {
				return carry, err
			}
			r.earn(r.w - r.r)
		}
		window := r.buffered()
		if int64(len(window)) > size {
			window = window[:size]
		}
		used := 0
		if len(carry) == 0 {
			for {
				n, piece, end := r.cut(window[used:])
				if n == 0 {
					break
				}
				put(piece, end)
				used += n
			}
			carry = append(carry, window[used:]...)
			used = len(window)
		} else {
			used = min(len(window), r.limit+1-len(carry))
			if i := bytes.IndexByte(window[:used], '\n'); i >= 0 {
				used = i + 1
			}
			carry = append(carry, window[:used]...)
			carry = r.drain(carry, put)
		}
		r.r += used
		size -= int64(used)
	}
	return carry, nil
}

// drain calls put for the whole pieces in carry and returns what remains.
func (r *reader) drain(carry []byte, put func(piece []byte, end lineEnd)) []byte {
	used := 0
	for {
		n, piece, end := r.cut(carry[used:])
		if n == 0 {
			return append(carry[:0], carry[used:]...)
		}
		put(piece, end)
		used += n
	}
}

// skip reads and drops size bytes.
func (r *reader) skip(size int64) error {
	for size > 0 {
		if r.r == r.w {
			if err := r.fill(r.contentSize()); err != nil {
				return err
			}
			r.earn(r.w - r.r)
		}
		n := min(int64(r.w-r.r), size)
		r.r += int(n)
		size -= n
	}
	return nil
}

// shrink gives the content buffer back when content is over.
func (r *reader) shrink() {
	if len(r.buf) > 4*commandBuffer && r.w-r.r <= commandBuffer {
		small := make([]byte, commandBuffer)
		r.w = copy(small, r.buf[r.r:r.w])
		releaseBuffer(r.buf)
		r.r, r.buf = 0, small
	}
}

// contentBuffers are large buffers that no session uses now.
var contentBuffers = sync.Pool{New: func() any { return new([contentBuffer]byte) }}

func newBuffer(size int) []byte {
	if size == contentBuffer {
		return contentBuffers.Get().(*[contentBuffer]byte)[:]
	}
	return make([]byte, size)
}

func releaseBuffer(buf []byte) {
	if len(buf) == contentBuffer {
		contentBuffers.Put((*[contentBuffer]byte)(buf))
	}
}
