package qmgr

import (
	"errors"
	"io"
	"strconv"
	"strings"
	"sync"
	"time"

	"suffix/pkg/address"
	"suffix/pkg/dsn"
	"suffix/pkg/record"
)

// errCorrupt says that a queue file is damaged, which was logged.
var errCorrupt = errors.New("corrupt queue file")

// allowed are the types that may stand anywhere outside the content.
const allowed = record.EnvelopeSet + record.ExtractedSet

// readers are kept for the sake of their buffers.
var readers = sync.Pool{New: func() any {
	r := record.NewFileReader(nil, "")
	r.Raw = true
	return r
}}

// envelopeReader reads one batch of recipients, and with the first batch
// everything else that the queue file says (spec qmgr §4).
type envelopeReader struct {
	m     *Manager
	msg   *message
	r     *record.FileReader
	first bool
	limit int

	rcpts      []dsn.Recipient
	rcpt       dsn.Recipient // what is known about the next recipient
	tail       bool          // behind the content
	full       bool          // no more recipients are taken
	ended      bool          // the end record was seen
	haveSize   bool
	haveTime   bool
	haveSender bool
	logClient  bool // the file has log_client_* attributes
	oldClient  client
}

// readEnvelope reads at most limit recipients from a queue file with the given
// path. The error is errCorrupt, or a system error. It runs outside the owner and touches
// only those fields of msg that tell about the file.
func (m *Manager) readEnvelope(msg *message, f io.ReaderAt, path string, limit int) ([]dsn.Recipient, error) {
	r := readers.Get().(*record.FileReader)
	defer readers.Put(r)
	r.Reset(f, path)
	e := &envelopeReader{m: m, msg: msg, r: r, limit: limit, first: msg.nextOffset == 0}
	if !e.first {
		r.SeekTo(msg.nextOffset)
		e.tail = msg.inTail
		msg.nextOffset = 0
	}
	err := e.run()
	r.Reset(nil, "")
	if err != nil {
		return nil, err
	}
	return e.rcpts, nil
}

func (e *envelopeReader) warnf(format string, args ...any) { e.m.log.Warnf(format, args...) }

func (e *envelopeReader) run() error {
	for !e.ended {
		if !e.tail && e.msg.contentStart > 0 && e.r.NextOffset() == e.msg.contentStart {
			if err := e.skipContent(); err != nil {
				return err
			}
		}
		t, data, err := e.r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			var bad *record.BadError
			if !errors.As(err, &bad) || bad.Cause != nil {
				return err
			}
			e.warnf("%s", err)
			break
		}
		if t == record.Pointer {
			if err := e.r.Follow(data); err != nil {
				e.warnf("%s", err)
				break
			}
			continue
		}
		if !allowed.Has(t) {
			e.warnf("Unexpected record type '%c' at offset %d", t, e.r.Offset())
			return errCorrupt
		}
		done, err := e.record(t, data)
		if err != nil {
			return err
		}
		if done {
			return e.check()
		}
	}
	return e.check()
}

// skipContent goes on behind the content, where an Extracted record must stand.
func (e *envelopeReader) skipContent() error {
	e.r.SeekTo(e.msg.contentStart + e.msg.contentSize)
	e.tail = true
	t, _, err := e.r.Next()
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		e.warnf("%s", err)
		return e.check()
	case err != nil:
		return e.check()
	case t != record.Extracted:
		e.warnf("Unexpected record type '%c' at offset %d", t, e.r.Offset())
		return errCorrupt
	}
	return nil
}

// record handles one record. done says that nothing more need be read.
func (e *envelopeReader) record(t record.Type, data []byte) (done bool, err error) {
	msg := e.msg
	switch t {
	case record.End:
		e.ended = true
		return true, nil
	case record.Recipient:
		return e.recipient(string(data))
	case record.Done, record.Canceled:
		if !e.full {
			msg.unread--
		}
		e.rcpt = dsn.Recipient{}
		return false, nil
	case record.OrigRecipient, record.DSNOrigRcpt, record.DSNNotify:
		e.recipientAttribute(t, string(data))
		return false, nil
	case record.Attr:
		return false, e.attribute(data)
	}
	if !e.first {
		return false, nil
	}
	switch t {
	case record.Size:
		return false, e.size(data)
	case record.Time:
		if sec, usec, ok := record.ParseTime(data); ok && !e.haveTime {
			e.haveTime = true
			msg.arrival = time.Unix(sec, usec*1000)
		}
	case record.CreateTime:
		e.createTime(string(data))
	case record.Sender:
		if !e.haveSender {
			e.haveSender = true
			msg.sender = string(data)
			e.m.log.Infof("%s: from=<%s>, size=%d, nrcpt=%d (queue active)", msg.id, e.m.logAddress(msg.sender), msg.contentLen, msg.unread)
		}
	case record.Filter:
		msg.filter = string(data)
	case record.Inspector:
		msg.inspector = string(data)
	case record.Redirect:
		msg.redirect = string(data)
	case record.DSNEnvID:
		msg.envelopeID = string(data)
	case record.DSNRet:
		e.ret(string(data))
	case record.Warn:
		if msg.warnOffset == 0 {
			msg.warnOffset = e.r.Offset()
			// A time that cannot be read is no time.
			msg.warnTime, _ = record.ParseNumber(data)
		}
	case record.Verp:
		e.verp(string(data))
	}
	return false, nil
}

// recipient takes a recipient, or notes where the next batch begins.
func (e *envelopeReader) recipient(addr string) (done bool, err error) {
	msg := e.msg
	if e.full {
		e.rcpt = dsn.Recipient{}
		return e.skipRest()
	}
	e.rcpt.Address = addr
	e.rcpt.Offset = e.r.Offset()
	e.rcpts = append(e.rcpts, e.rcpt)
	e.rcpt = dsn.Recipient{}
	if msg.unread--; len(e.rcpts) < e.limit || msg.unread <= 0 {
		return false, nil
	}
	e.full = true
	msg.nextOffset, msg.inTail = e.r.NextOffset(), e.tail
	return e.skipRest()
}

// skipRest decides how to go on when no more recipients are taken: records
// other than recipients are still wanted from the first read.
func (e *envelopeReader) skipRest() (done bool, err error) {
	switch {
	case !e.first:
		return true, nil
	case e.msg.options&optMixed != 0:
		return false, nil
	case e.tail:
		return true, nil
	}
	return false, e.skipContent()
}

// recipientAttribute remembers what stands before a recipient.
func (e *envelopeReader) recipientAttribute(t record.Type, text string) {
	if e.full {
		return
	}
	switch t {
	case record.OrigRecipient:
		if e.rcpt.Original != "" {
			e.warnf("%s: ignoring out-of-order original recipient <%.200s>", e.msg.id, e.rcpt.Original)
		}
		e.rcpt.Original = text
	case record.DSNOrigRcpt:
		if e.rcpt.ORCPT != "" {
			e.warnf("%s: ignoring out-of-order DSN original recipient address <%.200s>", e.msg.id, e.rcpt.ORCPT)
		}
		e.rcpt.ORCPT = text
	case record.DSNNotify:
		if e.rcpt.Notify != 0 {
			e.warnf("%s: ignoring out-of-order DSN notify flags <%d>", e.msg.id, e.rcpt.Notify)
		}
		n, err := strconv.Atoi(text)
		if err != nil || !dsn.Notify(n).Valid() {
			e.warnf("%s: ignoring malformed DSN notify flags <%.200s>", e.msg.id, text)
			return
		}
		e.rcpt.Notify = dsn.Notify(n)
	}
}

func (e *envelopeReader) size(data []byte) error {
	msg := e.msg
	if e.haveSize {
		return nil
	}
	s, fields, err := record.ParseSizes(data)
	if err != nil || fields < 3 {
		e.warnf("%s: message rejected: weird size record", msg.id)
		return errCorrupt
	}
	if s.Offset <= 0 || s.Segment <= 0 || s.Content < 0 {
		e.warnf("%s: invalid size record: %.100s", msg.id, data)
		return errCorrupt
	}
	if s.Options&^optMask != 0 {
		e.warnf("%s: invalid flags in size record: %.100s", msg.id, data)
		return errCorrupt
	}
	e.haveSize = true
	msg.contentStart, msg.contentSize, msg.contentLen = s.Offset, s.Segment, s.Content
	msg.unread, msg.options, msg.sendOpts = s.Recipients, s.Options, s.SendOpts
	return nil
}

func (e *envelopeReader) createTime(text string) {
	if sec, err := strconv.ParseInt(strings.TrimSpace(text), 10, 64); err == nil && e.msg.created.IsZero() {
		e.msg.created = time.Unix(sec, 0)
	}
}

func (e *envelopeReader) ret(text string) {
	n, err := strconv.Atoi(text)
	if ret := dsn.Ret(n); err != nil || ret != dsn.RetFull && ret != dsn.RetHdrs {
		e.warnf("%s: ignoring malformed DSN RET flags in queue file record:%.100s", e.msg.id, text)
		return
	}
	e.msg.ret = dsn.Ret(n)
}

func (e *envelopeReader) verp(text string) {
	if e.msg.verp != "" {
		return
	}
	switch {
	case e.haveSender && e.msg.sender == "":
		e.warnf("%s: ignoring VERP request for null sender", e.msg.id)
	case len(text) != 2 || strings.Trim(text, e.m.settings.verpDelimiters) != "":
		e.warnf("%s: ignoring bad VERP request: \"%.100s\"", e.msg.id, text)
	default:
		e.msg.verp = text
	}
}

// check says whether the file is complete.
func (e *envelopeReader) check() error {
	msg := e.msg
	if e.first {
		switch {
		case !e.ended && !e.full:
			e.warnf("%s: message rejected: missing end record", msg.id)
			return errCorrupt
		case !e.haveTime:
			e.warnf("%s: message rejected: missing arrival time record", msg.id)
			return errCorrupt
		case !e.haveSender:
			e.warnf("%s: message rejected: missing sender record", msg.id)
			return errCorrupt
		case !e.haveSize:
			e.warnf("%s: message rejected: missing size record", msg.id)
			return errCorrupt
		}
		e.complete()
	} else if !e.ended && !e.full {
		e.warnf("%s: message rejected: missing end record", msg.id)
		return errCorrupt
	}
	if !e.full && msg.unread != 0 {
		e.warnf("%s: rcpt count mismatch (%d)", msg.id, msg.unread)
		msg.unread = 0
	}
	return nil
}

// complete fills in what the file does not say.
func (e *envelopeReader) complete() {
	msg := e.msg
	if msg.created.IsZero() {
		msg.created = time.Unix(msg.arrival.Unix(), 0)
	}
	c := &msg.client
	if c.rewriteContext == "" {
		c.rewriteContext = "local"
	}
	if !e.logClient {
		c.name, c.address, c.port, c.protocol, c.helo =
			e.oldClient.name, e.oldClient.address, e.oldClient.port, e.oldClient.protocol, e.oldClient.helo
	}
	if e.m.settings.delayCleared && msg.warnTime < 0 {
		msg.traceFlags |= traceDelay
	}
}

// logAddress gives an address the form that info_log_address_format asks for.
func (m *Manager) logAddress(internal string) string {
	if m.settings.internalForm {
		return internal
	}
	return address.QuoteUnlessEmpty(internal)
}
