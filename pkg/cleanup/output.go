package cleanup

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"syscall"

	"suffix/pkg/cleanupclient"
	"suffix/pkg/mime"
	"suffix/pkg/record"
	"suffix/pkg/syserr"
)

// flushSize is how much output is collected before it is written.
const flushSize = 64 << 10

// buffers are the memory of a message, reused by later ones.
type buffers struct {
	out     []byte // records not written yet
	in      []byte // input that came as a string
	line    []byte // a content line whose characters were changed
	fold    []byte // a rewritten header
	attrs   []byte // names and values of attributes
	entries []attribute
	parser  mime.Parser
}

var pool = sync.Pool{New: func() any { return &buffers{out: make([]byte, 0, 8<<10)} }}

// maxKept bounds the memory that an unusual message leaves in the pool.
const maxKept = 256 << 10

func (b *buffers) release() {
	if cap(b.out) > maxKept || cap(b.in) > maxKept || cap(b.line) > maxKept || cap(b.fold) > maxKept || cap(b.attrs) > maxKept {
		return
	}
	pool.Put(b)
}

// offset is where the next record goes.
func (m *Message) offset() int64 { return m.written + int64(len(m.buf.out)) }

// put writes one record, unless the message has failed.
func (m *Message) put(t record.Type, data []byte) {
	if m.stopped() {
		return
	}
	m.buf.out = record.Append(m.buf.out, t, data)
	m.check()
}

func (m *Message) putString(t record.Type, data string) {
	if m.stopped() {
		return
	}
	m.buf.out = record.Append(m.buf.out, t, data)
	m.check()
}

func (m *Message) putAttr(name, value string) {
	if m.stopped() {
		return
	}
	m.buf.out = record.AppendAttr(m.buf.out, name, value)
	m.check()
}

func (m *Message) putAttrInt(name string, value int64) {
	var digits [20]byte
	m.putAttr(name, string(strconv.AppendInt(digits[:0], value, 10)))
}

func (m *Message) putNumber(t record.Type, value int64, width int) {
	if m.stopped() {
		return
	}
	m.buf.out = record.AppendNumber(m.buf.out, t, value, width)
	m.check()
}

// putText writes content, in pieces of at most line_length_limit bytes.
func (m *Message) putText(t record.Type, data []byte) {
	if m.stopped() {
		return
	}
	m.buf.out = record.AppendText(m.buf.out, data, m.e.set.lineLimit, t)
	m.check()
}

// check writes the buffer when it is full.
func (m *Message) check() {
	if len(m.buf.out) >= flushSize {
		m.flush()
	}
}

// flush writes what is in the buffer. Trouble sets a status bit.
func (m *Message) flush() {
	if len(m.buf.out) == 0 || m.file == nil || m.status&(cleanupclient.Write|cleanupclient.Size) != 0 {
		m.buf.out = m.buf.out[:0]
		return
	}
	err := error(syscall.EFBIG)
	if limit := m.e.set.sizeLimit; limit <= 0 || int64(len(m.buf.out)) <= limit-m.written {
		_, err = m.file.Write(m.buf.out)
	}
	m.written += int64(len(m.buf.out))
	m.buf.out = m.buf.out[:0]
	if err != nil {
		m.writeError(err)
	}
}

func (m *Message) writeError(err error) {
	if errors.Is(err, syscall.EFBIG) {
		m.warnf("queue file size limit exceeded")
		m.status |= cleanupclient.Size
		return
	}
	m.warnf("write queue file: %s", syserr.Text(err))
	m.status |= cleanupclient.Write
}

// patchSizes puts the final Size record at the start of the file.
func (m *Message) patchSizes() {
	record0 := record.AppendSizes(make([]byte, 0, 2+record.SizeLength), record.Sizes{
		Segment:    m.extractedAt - m.contentAt,
		Offset:     m.contentAt,
		Recipients: m.recipients,
		Options:    m.options,
		Content:    m.extractedAt - m.contentAt,
		SendOpts:   m.sendOpts,
	})
	if m.written == 0 {
		copy(m.buf.out, record0)
		return
	}
	if _, err := m.file.WriteAt(record0, 0); err != nil {
		m.writeError(fmt.Errorf("update size record: %w", err))
	}
}
