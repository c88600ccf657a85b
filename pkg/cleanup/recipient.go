package cleanup

import (
	"bytes"
	"strconv"
	"strings"
	"unicode/utf8"

	"suffix/pkg/address"
	"suffix/pkg/cleanupclient"
	"suffix/pkg/dsn"
	"suffix/pkg/outcome"
	"suffix/pkg/record"
	"suffix/pkg/rewriteclient"
)

// takeSender rewrites and writes the envelope sender (spec cleanup §8.1).
func (m *Message) takeSender(sender string) {
	m.hasSender = true
	addr, ok := m.rewriteInternal(rewriteclient.Local, sender)
	if !ok {
		return
	}
	if len(addr) > len(mailerDaemon) && strings.EqualFold(addr[:len(mailerDaemon)+1], mailerDaemon+"@") {
		if own, ok := m.rewriteInternal(rewriteclient.Local, mailerDaemon); ok && strings.EqualFold(own, addr) {
			addr = ""
		}
	}
	if m.flags&cleanupclient.Map != 0 && addr != "" {
		set := m.e.set
		if set.senderClasses&envelopeSender != 0 {
			addr = m.canonicalize(addr, m.e.senderCanonical)
		}
		if set.canonicalClasses&envelopeSender != 0 {
			addr = m.canonicalize(addr, m.e.canonical)
		}
		if set.masqueradeClasses&envelopeSender != 0 {
			addr = m.masquerade(addr)
		}
	}
	if m.isUTF8(addr) {
		m.sendOpts |= sendUTF8Sender
		if m.flags&cleanupclient.AutoUTF8 != 0 {
			m.sendOpts |= sendSMTPUTF8
		}
	}
	m.sender = addr
	m.putString(record.Sender, addr)
	m.reserve(record.Pointer, len(addr))
	if m.flags&cleanupclient.BCC != 0 && addr != "" {
		m.mappedBCC(m.e.senderBCC, addr)
	}
}

const mailerDaemon = "MAILER-DAEMON"

// isUTF8 says whether an address is valid text outside of ASCII.
func (m *Message) isUTF8(addr string) bool {
	if !m.e.set.utf8 || isASCII(addr) {
		return false
	}
	return utf8.ValidString(addr)
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// reserve makes room for a pointer behind a short record, so that a Milter can
// replace the record in place later.
func (m *Message) reserve(t record.Type, length int) {
	if m.milters && length < 15 {
		m.putNumber(t, 0, max(1, 13-length))
	}
}

// recipientRecord takes a record about a recipient or one that is copied, in
// either segment that has recipients.
func (m *Message) recipientRecord(t record.Type, data []byte) {
	switch t {
	case record.OrigRecipient:
		if m.rcpt.hasOrig {
			m.warnf("ignoring out-of-order original recipient record <%s>", shown([]byte(m.rcpt.original), 200))
		}
		m.rcpt.original, m.rcpt.hasOrig = string(data), true
	case record.DSNOrigRcpt:
		m.takeORCPT(data)
	case record.DSNNotify:
		m.takeNotify(data)
	case record.Recipient:
		if !m.hasSender {
			m.rejectf("envelope recipient precedes sender")
			return
		}
		m.seenRecipients++
		if !m.rcpt.hasOrig {
			m.rcpt.original = string(data)
		}
		m.takeRecipient(string(data))
		m.forgetRecipient()
	case record.Done, record.Canceled:
		m.forgetRecipient()
	default:
		m.put(t, data)
	}
}

func (m *Message) forgetRecipient() {
	m.rcpt = pendingRecipient{}
}

func (m *Message) takeORCPT(value []byte) {
	if m.rcpt.hasORCPT {
		m.warnf("ignoring out-of-order DSN original recipient record <%s>", shown([]byte(m.rcpt.orcpt), 200))
	}
	m.rcpt.orcpt, m.rcpt.hasORCPT = string(value), true
}

func (m *Message) takeNotify(value []byte) {
	if m.rcpt.notify != 0 {
		m.warnf("ignoring out-of-order DSN notify record <%d>", m.rcpt.notify)
	}
	m.rcpt.notify = 0
	n, err := strconv.Atoi(string(bytes.TrimSpace(value)))
	if err != nil || n == 0 || !dsn.Notify(n).Valid() {
		m.warnf("ignoring malformed DSN notify record <%s>", shown(value, 100))
		return
	}
	m.rcpt.notify = dsn.Notify(n)
	m.options |= n << 1
}

// takeRecipient rewrites, expands and writes a recipient (spec cleanup §8.2).
func (m *Message) takeRecipient(addr string) {
	addr, ok := m.mapRecipient(addr)
	if !ok {
		return
	}
	m.lastRecipient = addr
	if !m.rcpt.hasORCPT || m.rcpt.orcpt == "" {
		if addr != "" {
			m.rcpt.orcpt = m.orcptType(addr) + addr
		}
	}
	m.expandRecipient(addr)
	if m.flags&cleanupclient.BCC != 0 && addr != "" {
		m.mappedBCC(m.e.rcptBCC, addr)
	}
}

func (m *Message) orcptType(addr string) string {
	if m.sendOpts&sendSMTPUTF8 != 0 && !isASCII(addr) {
		return "utf-8;"
	}
	return "rfc822;"
}

// mapRecipient does what comes before virtual aliases.
func (m *Message) mapRecipient(addr string) (string, bool) {
	if addr == "" {
		addr = m.e.set.emptyRecipient
	}
	addr, ok := m.rewriteInternal(rewriteclient.Local, addr)
	if !ok {
		return "", false
	}
	if m.flags&cleanupclient.Map != 0 {
		set := m.e.set
		if set.rcptClasses&envelopeRecipient != 0 {
			addr = m.canonicalize(addr, m.e.rcptCanonical)
		}
		if set.canonicalClasses&envelopeRecipient != 0 {
			addr = m.canonicalize(addr, m.e.canonical)
		}
		if set.masqueradeClasses&envelopeRecipient != 0 {
			addr = m.masquerade(addr)
		}
	}
	if m.flags&cleanupclient.AutoUTF8 != 0 && m.isUTF8(addr) {
		m.sendOpts |= sendSMTPUTF8
	}
	return addr, true
}

// expandRecipient writes a recipient, or the members of the virtual alias that
// it is (spec cleanup §8.4).
func (m *Message) expandRecipient(addr string) {
	members := m.expand(addr)
	if len(members) > 1 && m.traceFlags&outcome.FlagProbe != 0 {
		m.reportProbe(addr)
		return
	}
	notify := m.rcpt.notify
	if notify&dsn.NotifySuccess != 0 && (len(members) != 1 || members[0] != addr) && !m.stopped() {
		m.traced = true
		rcpt := dsn.Recipient{Address: addr, Original: m.rcpt.original, ORCPT: m.rcpt.orcpt, Notify: notify, Offset: 0}
		if m.e.results.Expanded(m.message(), rcpt, outcome.Attempt{Relay: "none"}, "expanded") == outcome.Retry {
			m.status |= cleanupclient.Write
		}
		if notify &^= dsn.NotifySuccess; notify == 0 {
			notify = dsn.NotifyNever
		}
	}
	for _, member := range members {
		m.putRecipient(member, notify)
	}
}

// putRecipient writes one recipient unless it was there before.
func (m *Message) putRecipient(addr string, notify dsn.Notify) {
	if m.duplicate(addr, notify) {
		return
	}
	if notify != 0 {
		m.putAttrInt("notify_flags", int64(notify))
	}
	if m.rcpt.orcpt != "" {
		m.putAttr("dsn_orig_rcpt", m.rcpt.orcpt)
	}
	m.putString(record.OrigRecipient, m.rcpt.original)
	m.putString(record.Recipient, addr)
	if !m.stopped() {
		m.recipients++
	}
}

// duplicate says whether the recipient was written already, and remembers it.
func (m *Message) duplicate(addr string, notify dsn.Notify) bool {
	key := addr
	if m.e.set.keepOriginal {
		key = m.rcpt.orcpt + "\x00" + strconv.Itoa(int(notify)) + "\x00" + m.rcpt.original + "\x00" + addr
	}
	key = strings.ToLower(key)
	if _, dup := m.seen[key]; dup {
		return true
	}
	if m.seen == nil {
		m.seen = make(map[string]struct{})
	}
	if limit := m.e.set.duplicateLimit; limit <= 0 || len(m.seen) < limit {
		m.seen[key] = struct{}{}
	}
	return false
}

// mappedBCC looks for automatic recipients in a BCC table.
func (m *Message) mappedBCC(table bccTable, addr string) {
	if table.Empty() {
		return
	}
	bcc, found, err := m.findBCC(table, addr)
	switch {
	case err != nil:
		m.warnf("%s map lookup problem -- message not accepted, try again later", table.Title())
		m.status |= cleanupclient.Write
	case found:
		m.automatic(bcc)
	}
}

// automatic adds a recipient that the sender did not ask for (spec §8.3).
func (m *Message) automatic(addr string) {
	saved := m.rcpt
	defer func() { m.rcpt = saved }()
	m.forgetRecipient()
	addr, ok := m.mapRecipient(address.Unquote(addr))
	if !ok {
		return
	}
	m.rcpt.notify = dsn.NotifyNever
	m.rcpt.original = addr
	m.expandRecipient(addr)
}
