package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/queue"
	"suffix/pkg/record"
	"suffix/pkg/safefile"
)

// status is the outcome for the client: the bits of cleanup's protocol.
type status int

const (
	statusBad    status = 1
	statusWrite  status = 2
	statusSize   status = 4
	statusNoPerm status = 512
)

var errCanceled = errors.New("canceled")

// The records that each segment may have; the first one ends it.
var segments = []record.Set{"MCFSRVAin", "XLN", "EAR"}

const flushSize = 64 << 10

// message is a file in the maildrop queue while it is received.
type message struct {
	uid       int
	cfg       *config.Main
	file      *os.File
	limit     int64 // message_size_limit, 0 for none
	maxRecord int
	dialect37 bool

	buf     []byte
	written int64
	err     error // of writing

	senders, recipients int
	status              status
	reason              string
}

func (m *message) putTime(now time.Time) {
	m.buf = record.AppendTime(m.buf, now.Unix(), int64(now.Nanosecond()/1000))
}

func (m *message) put(t record.Type, data []byte) {
	if m.buf = record.Append(m.buf, t, data); len(m.buf) >= flushSize {
		m.flush()
	}
}

func (m *message) flush() {
	if m.err == nil {
		if m.limit > 0 && int64(len(m.buf)) > m.limit-m.written {
			m.err = syscall.EFBIG
		} else {
			_, m.err = m.file.Write(m.buf)
		}
		m.written += int64(len(m.buf))
	}
	m.buf = m.buf[:0]
}

// copy takes the records of a message and writes those that it may have. What
// comes after the first problem is read and dropped. The error is fatal.
func (m *message) copy(in *bufio.Reader) error {
	r := record.NewReader(in, "stdin", m.maxRecord)
	segment := 0
	for {
		t, data, err := r.Next()
		switch {
		case errors.Is(err, io.EOF):
			return errCanceled
		case err != nil:
			maillog.Warnf("%v", err)
			return errors.New("malformed input")
		}
		if m.status != 0 || m.err != nil {
			if t == record.End {
				return nil
			}
			continue
		}
		if !segments[segment].Has(t) {
			return fmt.Errorf("unexpected record type: %d", t)
		}
		if t != record.Text && t != record.Fragment {
			if i := bytes.IndexAny(data, "\r\n\x00"); i >= 0 {
				text := data
				if i := bytes.IndexByte(data, 0); i >= 0 {
					text = data[:i]
				}
				if len(text) > 200 {
					text = text[:200]
				}
				return fmt.Errorf("null or line break in '%s' record type: %s", t.Name(), maillog.Printable(string(text)))
			}
		}
		m.take(t, data)
		if t == record.Type(segments[segment][0]) {
			segment++
		}
		if segment == len(segments) {
			if m.status == 0 && m.err == nil && (m.senders == 0 || m.recipients == 0) {
				m.status = statusBad
			}
			return nil
		}
	}
}

// take handles one permitted record.
func (m *message) take(t record.Type, data []byte) {
	switch t {
	case record.Attr:
		m.attribute(data)
		return
	case record.Sender:
		m.senders++
		m.authorize(string(data))
	case record.Recipient:
		m.recipients++
	}
	if m.status == 0 {
		m.put(t, data)
	}
}

// attribute writes a named attribute that a user may give.
func (m *message) attribute(data []byte) {
	nameBytes, valueBytes, err := record.SplitAttr(data)
	if err != nil {
		maillog.Warnf("uid=%d: ignoring malformed record: %v: %s", m.uid, err, maillog.Printable(cut(string(data), 200)))
		return
	}
	name, value := string(nameBytes), string(valueBytes)
	ok := false
	switch name {
	case "encoding":
		ok = value == "7bit" || value == "8bit" || value == ""
	case "rewrite_context":
		ok = value == "local" || value == "remote"
	case "envelope_id", "notify_flags", "dsn_orig_rcpt", "ret_flags", "create_time":
		ok = true
	case "trace_flags":
		digits := value
		if i := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); i >= 0 {
			digits = digits[:i]
		}
		if digits != "512" && digits != "1024" {
			maillog.Warnf("uid=%d: ignoring unexpected trace flags: %s", m.uid, maillog.Printable(cut(value, 200)))
			return
		}
		ok, value = true, digits
	}
	if !ok {
		maillog.Warnf("uid=%d: ignoring attribute record: %s=%s", m.uid,
			maillog.Printable(cut(name, 200)), maillog.Printable(cut(value, 200)))
		return
	}
	m.put(record.Attr, []byte(name+"="+value))
}

func cut(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

// finish makes the file complete and durable.
func (m *message) finish(tree *queue.Tree) error {
	m.flush()
	if m.err != nil {
		m.file.Close()
		return m.err
	}
	return tree.Finish(m.file, queue.Maildrop, queue.ModeReadable)
}

// errorText is the system's text for an error, without what was being done.
func errorText(err error) string { return safefile.ErrorText(err) }
