package cleanup

import (
	"strconv"
	"time"

	"suffix/pkg/cleanupclient"
	"suffix/pkg/dsn"
	"suffix/pkg/record"
	"suffix/pkg/rewriteclient"
)

// Bits of the sixth number of the Size record.
const (
	sendSMTPUTF8    = 1
	sendUTF8Header  = 2
	sendUTF8Sender  = 4
	sendTLSOptional = 16 // TLS-Required: no
	sendRequireTLS  = 32
	sendDerived     = 2 | 4 | 8 | 16
)

// optMixed is the queue manager flag for recipients among other records; the
// notify masks stand above it.
const optMixed = 1

// recipientLike are the records that belong to recipients.
func recipientLike(t record.Type) bool {
	switch t {
	case record.Content, record.Done, record.Recipient, record.OrigRecipient, record.Canceled,
		record.Killed, record.DSNOrigRcpt, record.DSNNotify:
		return true
	}
	return false
}

// envelope takes a record of the first segment (spec cleanup §4).
func (m *Message) envelope(t record.Type, data []byte) {
	switch t {
	case record.Flags:
		m.extraFlags(data)
		return
	case record.Milters:
		m.milterRecord(data)
		return
	}
	if !record.EnvelopeSet.Has(t) {
		m.rejectf("unexpected record type %d in envelope", t)
		return
	}
	var name, value []byte
	if t == record.Attr {
		var err error
		if name, value, err = record.SplitAttr(data); err != nil {
			m.rejectf("malformed attribute: %v: %s", err, shown(data, 100))
			return
		}
	}
	m.order(t, name)
	if recipientLike(t) && !m.checked && !m.checkEnvelope() {
		return
	}
	if m.stopped() {
		return
	}
	switch t {
	case record.Size:
		m.requested(data)
	case record.Time:
		m.time(data)
	case record.CreateTime:
	case record.FullName:
		if !m.hasName {
			m.fullName, m.hasName = string(data), true
			m.put(t, data)
		}
	case record.Sender:
		if m.hasSender {
			m.rejectf("multiple envelope sender records")
			return
		}
		m.takeSender(string(data))
	case record.Warn:
		if !m.hasWarn {
			m.hasWarn = true
			m.put(t, data)
		}
	case record.Verp:
		m.takeVerp(data)
	case record.Attr:
		m.attribute(data, name, value)
	case record.DSNEnvID:
		m.takeEnvelopeID(data, data)
	case record.DSNRet:
		m.takeRet(data, data)
	case record.Content:
		m.endEnvelope()
	default:
		m.recipientRecord(t, data)
	}
}

// order notices records between recipients.
func (m *Message) order(t record.Type, name []byte) {
	switch {
	case recipientLike(t), t == record.End:
		m.afterRecipient = true
	case t == record.Attr && (string(name) == "dsn_orig_rcpt" || string(name) == "notify_flags"):
	case m.afterRecipient:
		m.options |= optMixed
	}
}

// checkEnvelope makes sure before the first recipient that sender and time are
// known, and adds the time of a delay warning.
func (m *Message) checkEnvelope() bool {
	switch {
	case !m.hasSender:
		m.rejectf("missing sender envelope record")
		return false
	case !m.hasTime:
		m.rejectf("missing time envelope record")
		return false
	}
	m.checked = true
	if warning := m.e.set.delayWarning; !m.hasWarn && m.sender != "" && warning > 0 {
		m.putNumber(record.Warn, m.arrival.Unix()+int64(warning/time.Second), record.NumberWidth)
	}
	return true
}

func (m *Message) extraFlags(data []byte) {
	n, _ := strconv.ParseUint(string(data), 10, 31) // what is no number says nothing
	extra := cleanupclient.Flags(n)
	if bad := extra &^ (cleanupclient.Hold | cleanupclient.Discard); bad != 0 {
		m.warnf("ignoring bad extra flags: 0x%x", int(bad))
	}
	m.flags |= extra & (cleanupclient.Hold | cleanupclient.Discard)
}

// requested takes the send options of a message that is queued again.
func (m *Message) requested(data []byte) {
	if m.e.set.dialect37 {
		return
	}
	if s, fields, err := record.ParseSizes(data); err == nil && fields == 6 {
		m.sendOpts |= s.SendOpts &^ sendDerived
	}
}

func (m *Message) time(data []byte) {
	if sec, usec, ok := record.ParseTime(data); ok && !m.hasTime {
		m.arrival, m.hasTime = time.Unix(sec, usec*1000), true
		m.put(record.Time, data)
	}
	m.putAttrInt("create_time", time.Now().Unix())
}

func (m *Message) takeVerp(data []byte) {
	switch {
	case m.verp != "":
	case m.sender == "":
		m.warnf("ignoring VERP request for null sender")
	case len(data) != 2 || !contains(m.e.set.verpFilter, data[0]) || !contains(m.e.set.verpFilter, data[1]):
		m.warnf("ignoring bad VERP request: \"%s\"", shown(data, 100))
	default:
		m.verp = string(data)
		m.put(record.Verp, data)
	}
}

func contains(set string, c byte) bool {
	for i := 0; i < len(set); i++ {
		if set[i] == c {
			return true
		}
	}
	return false
}

// attribute takes a named attribute.
func (m *Message) attribute(data, name, value []byte) {
	switch string(name) {
	case "create_time":
		return
	case "envelope_id":
		m.takeEnvelopeID(data, value)
		return
	case "ret_flags":
		m.takeRet(data, value)
		return
	case "dsn_orig_rcpt":
		m.takeORCPT(value)
		return
	case "notify_flags":
		m.takeNotify(value)
		return
	}
	if len(value) == 0 {
		m.warnf("spurious null attribute value for \"%s\" -- ignored", shown(name, 100))
		return
	}
	switch string(name) {
	case "rewrite_context":
		switch {
		case string(value) == string(rewriteclient.Local):
			m.context = rewriteclient.Local
		case string(value) != string(rewriteclient.Remote):
			m.rejectf("bad rewriting context: %s", shown(value, 100))
			return
		case m.e.set.remoteDomain:
			m.context = rewriteclient.Remote
		default:
			m.context = ""
		}
	case "trace_flags":
		n, err := strconv.ParseUint(string(value), 10, 31)
		if err != nil {
			m.rejectf("bad TFLAG record <%s>", shown(value, 100))
			return
		}
		if m.traceFlags == 0 {
			m.traceFlags = int(n) & (256 | 512 | 1024 | 8192)
		}
	}
	if len(m.attrs.entries) >= m.e.set.attrLimit && !m.attrs.has(name) {
		m.rejectf("attribute count exceeds limit %d", m.e.set.attrLimit)
		return
	}
	m.attrs.set(string(name), string(value))
	m.put(record.Attr, data)
}

func (m *Message) takeEnvelopeID(data, value []byte) {
	for _, c := range value {
		if (c < ' ' || c > '~') && (c != '\t' || m.e.set.dialect37) {
			m.rejectf("bad DSN envelope ID record")
			return
		}
	}
	m.envelopeID = string(value)
	m.putDSN(record.DSNEnvID, "envelope_id", data, value)
}

func (m *Message) takeRet(data, value []byte) {
	n, err := strconv.Atoi(string(value))
	if err != nil || n != int(dsn.RetFull) && n != int(dsn.RetHdrs) {
		m.rejectf("bad DSN RET record <%s>", shown(value, 100))
		return
	}
	m.ret = dsn.Ret(n)
	m.putDSN(record.DSNRet, "ret_flags", data, value)
}

// putDSN writes a DSN value in the form in which it came.
func (m *Message) putDSN(old record.Type, name string, data, value []byte) {
	if len(data) == len(value) {
		m.put(old, value)
		return
	}
	m.put(record.Attr, data)
}

// endEnvelope begins the content segment.
func (m *Message) endEnvelope() {
	if m.milters {
		m.putNumber(record.Pointer, 0, record.NumberWidth)
	}
	m.putString(record.Content, "")
	m.contentAt = m.offset()
	m.segment = inContent
	m.startContent()
}

// milterRecord takes the announcement of Milters, or their hand-over. What
// follows a hand-over is no record: the conversation ends there.
func (m *Message) milterRecord(data []byte) {
	m.milters = true
	if n, err := strconv.Atoi(string(data)); err == nil && n == 0 {
		return
	}
	m.warnf("milter: %s filters were handed over, but this cleanup cannot talk to Milters; message not accepted, try again later", shown(data, 10))
	m.fail(cleanupclient.Defer, "4.3.5 Server configuration error")
	m.segment = atEnd
}

// fail adds a problem; the first reason counts.
func (m *Message) fail(status cleanupclient.Status, reason string) {
	m.status |= status
	if m.reason == "" {
		m.reason = reason
	}
}
