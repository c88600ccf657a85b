package cleanup

import "suffix/pkg/record"

// extracted takes a record of the third segment.
func (m *Message) extracted(t record.Type, data []byte) {
	switch {
	case t == record.Flags:
		m.extraFlags(data)
		return
	case !record.ExtractedSet.Has(t):
		m.rejectf("unexpected record type %d in extracted envelope", t)
		return
	}
	var name, value []byte
	if t == record.Attr {
		name, value, _ = record.SplitAttr(data) // others are copied as they are
	}
	m.order(t, name)
	if t == record.End || recipientLike(t) {
		m.putMeta()
	}
	switch {
	case t == record.End:
		m.endExtracted()
	case t == record.Attr && string(name) == "dsn_orig_rcpt":
		m.takeORCPT(value)
	case t == record.Attr && string(name) == "notify_flags":
		m.takeNotify(value)
	default:
		m.recipientRecord(t, data)
	}
}

// putMeta writes what was found out about the content, once.
func (m *Message) putMeta() {
	if m.metaWritten {
		return
	}
	m.metaWritten = true
	if m.filter != "" {
		m.putString(record.Filter, m.filter)
	}
	if m.redirect != "" {
		m.putString(record.Redirect, m.redirect)
	}
	if m.messageID != "" && !m.e.set.dialect37 {
		m.putAttr("message_id", m.messageID)
	}
	if encoding := m.attrs.get("encoding"); encoding != "" {
		m.putAttr("encoding", encoding)
	}
	if m.milters {
		m.putNumber(record.Pointer, 0, record.NumberWidth)
	}
}

// endExtracted adds the automatic recipients and ends the message.
func (m *Message) endExtracted() {
	if bcc := m.e.set.alwaysBCC; bcc != "" && m.wantsBCC() && m.seenRecipients > 0 {
		m.automatic(bcc)
	}
	for _, bcc := range m.bcc {
		m.automatic(bcc)
	}
	m.putString(record.End, "")
	m.segment = atEnd
}
