package pickup

import (
	"errors"
	"io"
	"strconv"
	"time"

	"suffix/pkg/cleanupclient"
	"suffix/pkg/maillog"
	"suffix/pkg/record"
)

// mail is a message on its way from maildrop to cleanup.
type mail struct {
	s        *scanner
	out      cleanupclient.Stream
	name     string // in maildrop
	path     string
	id       string // in incoming
	uid      uint32
	mtime    time.Time
	requeued bool // by postsuper: a whole queue file

	hasTime, hasSender bool
	sender             string
}

// Sets of records in each segment. The first ends the segment.
const (
	envelopeSet  = record.EnvelopeSet
	contentSet   = record.ContentSet
	extractedSet = record.ExtractedSet
)

// copy sends the three segments. ok is false when the message cannot be used.
func (m *mail) copy(r *record.FileReader) (what verdict, ok bool) {
	if ok := m.segment(r, envelopeSet, record.Content, m.envelope); !ok {
		return removeFile, false
	}
	if !m.hasSender {
		m.s.log.Warnf("%s: uid=%d: no envelope sender", m.id, m.uid)
		return removeFile, false
	}
	if m.requeued {
		m.s.log.Infof("%s: uid=%d from=<%s> orig_id=%s", m.id, m.uid, maillog.Printable(m.s.logAddress(m.sender)), m.name)
	} else {
		m.s.log.Infof("%s: uid=%d from=<%s>", m.id, m.uid, maillog.Printable(m.s.logAddress(m.sender)))
	}
	m.out.Put(record.Content, "")
	first, second := m.received()
	m.out.Put(record.Text, first)
	m.out.Put(record.Text, second)
	begun := false
	if ok := m.segment(r, contentSet, record.Extracted, func(t record.Type, data []byte) {
		if !begun && len(data) > 0 && (data[0] == ' ' || data[0] == '\t') {
			m.out.Put(record.Text, "") // it must not continue our header
		}
		begun = true
		m.out.PutBytes(t, data)
	}); !ok {
		return removeFile, false
	}
	m.out.Put(record.Extracted, "")
	if ok := m.segment(r, extractedSet, record.End, m.extracted); !ok {
		return removeFile, false
	}
	m.out.Put(record.End, "")
	return keepFile, true
}

// segment passes records to take, up to the one that ends the segment.
func (m *mail) segment(r *record.FileReader, set record.Set, end record.Type, take func(record.Type, []byte)) bool {
	for {
		t, data, err := r.Next()
		if err != nil || !set.Has(t) {
			number := int(t)
			switch {
			case errors.Is(err, io.EOF):
				number = -1
			case err != nil:
				m.s.log.Warnf("%v", err)
				number = -2
			}
			m.s.log.Warnf("uid=%d: unexpected or malformed record type %d", m.uid, number)
			return false
		}
		if t == end {
			return true
		}
		take(t, data)
	}
}

func (m *mail) envelope(t record.Type, data []byte) {
	switch t {
	case record.Filter, record.Redirect:
		return
	case record.Time:
		m.hasTime = true
	case record.Sender:
		if !m.hasTime {
			m.out.Put(record.Time, strconv.FormatInt(m.mtime.Unix(), 10))
			m.hasTime = true
		}
		if !m.hasSender {
			m.sender = string(data)
		}
		m.hasSender = true
	}
	m.out.PutBytes(t, data)
}

func (m *mail) extracted(t record.Type, data []byte) {
	switch t {
	case record.Filter, record.Redirect, record.ReturnReceipt, record.ErrorsTo:
		return
	case record.Attr:
		name, _, err := record.SplitAttr(data)
		if err != nil {
			return
		}
		switch string(name) {
		case "dsn_orig_rcpt", "notify_flags", "envelope_id", "ret_flags", "create_time":
		default:
			return
		}
	}
	m.out.PutBytes(t, data)
}
