package cleanup

import (
	"bytes"
	"strings"

	"suffix/pkg/address"
	"suffix/pkg/cleanupclient"
	"suffix/pkg/header"
	"suffix/pkg/mime"
	"suffix/pkg/record"
)

// mimeErrors are the MIME violations of a message.
type mimeErrors = mime.Error

// headerSet is a set of known headers that were seen.
type headerSet uint64

func (s headerSet) has(k header.Kind) bool { return s&(1<<k) != 0 }
func (s *headerSet) add(k header.Kind)     { *s |= 1 << k }

// milterHeaderLimit is the largest header that Milters accept.
const milterHeaderLimit = 60000

func (m *Message) startContent() {
	opt := m.e.set.mime
	if m.flags&cleanupclient.Filter == 0 {
		opt.Report = 0
	}
	if m.milters || m.e.set.miltersWant != "" {
		opt.HeaderLimit = min(opt.HeaderLimit, milterHeaderLimit)
	}
	m.afterRecipient = false
	m.parsing = true
	m.buf.parser.Init((*contentHandler)(m), opt)
}

// content takes a record of the second segment.
func (m *Message) content(t record.Type, data []byte) {
	switch t {
	case record.Text, record.Fragment:
		if data = m.characters(data); !m.stopped() {
			m.buf.parser.Text(t, data)
		}
	case record.Extracted:
		m.endContent()
	default:
		m.e.log.Warnf("cleanup_message_headerbody: message rejected: unexpected record type %d in message content", t)
		m.status |= cleanupclient.Bad
	}
}

// characters replaces, rejects and removes bytes of a line (spec §5.4).
func (m *Message) characters(data []byte) []byte {
	set := m.e.set
	owned := false
	own := func() {
		if !owned {
			m.buf.line = append(m.buf.line[:0], data...)
			data, owned = m.buf.line, true
		}
	}
	if set.strayCRLF && (bytes.IndexByte(data, '\r') >= 0 || bytes.IndexByte(data, '\n') >= 0) {
		own()
		for i, c := range data {
			if c == '\r' || c == '\n' {
				data[i] = ' '
			}
		}
	}
	if m.flags&cleanupclient.Filter == 0 {
		return data
	}
	if set.reject != nil && hasByte(data, set.reject) {
		m.rejectContent("content", data, "5.7.1 disallowed character")
		return data
	}
	if set.strip != nil && hasByte(data, set.strip) {
		own()
		kept := data[:0]
		for _, c := range data {
			if !set.strip[c] {
				kept = append(kept, c)
			}
		}
		data = kept
	}
	return data
}

func hasByte(data []byte, set *[256]bool) bool {
	for _, c := range data {
		if set[c] {
			return true
		}
	}
	return false
}

// endContent begins the extracted segment.
func (m *Message) endContent() {
	if m.buf.parser.Finish() {
		m.putText(record.Text, nil) // the last line had no end
	}
	m.parsing = false
	if m.errors != 0 && m.reason == "" {
		m.fail(cleanupclient.Cont, "5.6.0 "+m.errors.Error())
	}
	if m.milters {
		m.putNumber(record.Pointer, 0, record.NumberWidth)
	}
	m.extractedAt = m.offset()
	m.putString(record.Extracted, "")
	m.segment = inExtracted
}

// contentHandler is a Message as the MIME parser's client.
type contentHandler Message

// Header implements mime.Handler: spec cleanup §6.1.
func (h *contentHandler) Header(block mime.Block, info *header.Info, text []byte) {
	m := (*Message)(h)
	if info != nil && info.Kind == header.Received {
		m.hops++
	}
	if m.flags&cleanupclient.Filter != 0 {
		var keep bool
		if text, keep = m.checkHeader(block, info, text); !keep || m.stopped() {
			return
		}
		if name, _, ok := header.Split(text); ok {
			info = header.Lookup(text[:name]) // it may have been replaced
		}
	}
	if info == nil {
		if name, _, ok := header.Split(text); ok && block == mime.Primary && m.e.set.dropped(nil, text[:name]) {
			return
		}
		m.putHeader(text)
		return
	}
	if info.Kind == header.ContentTransferEncoding && m.e.set.detect8Bit {
		value := bytes.TrimRight(header.Value(text), " \t\n")
		if bytes.EqualFold(value, []byte("8bit")) || bytes.EqualFold(value, []byte("binary")) {
			m.attrs.set("encoding", "8bit")
		}
	}
	if block != mime.Primary || info.Class&header.MIME != 0 {
		m.putHeader(text)
		return
	}
	m.knownHeader(info, text)
}

// knownHeader handles a header of the message itself.
func (m *Message) knownHeader(info *header.Info, text []byte) {
	m.headers.add(info.Kind)
	switch info.Kind {
	case header.MessageID:
		m.logMessageID("message-id", header.Value(text))
	case header.ResentMessageID:
		m.logMessageID("resent-message-id", header.Value(text))
	case header.Received:
		if m.hops >= m.e.set.hopLimit && m.status&cleanupclient.Hops == 0 {
			m.warnf("message rejected: hopcount exceeded")
			m.status |= cleanupclient.Hops
		}
	case header.TLSRequired:
		if m.e.set.tlsRequired {
			if bytes.EqualFold(bytes.TrimRight(header.Value(text), " \t\n"), []byte("no")) {
				m.sendOpts |= sendTLSOptional
			} else {
				m.e.log.Warnf("ignoring malformed header: '%s'", shown(text, 200))
			}
		}
	case header.RequireTLSESMTP:
		if m.e.set.requireTLSHead && bytes.EqualFold(bytes.TrimRight(header.Value(text), " \t\n"), []byte("yes")) {
			m.sendOpts |= sendRequireTLS
			m.wantsTLS = true
		}
	}
	if info.Class&header.Resent != 0 {
		m.resent = true
	}
	if info.Class&(header.Sender|header.Recipient) != 0 && m.context != "" {
		text = m.rewriteHeader(info, text)
	}
	if m.e.set.dropped(info, nil) {
		return
	}
	m.putHeader(text)
}

func (m *Message) logMessageID(what string, value []byte) {
	m.infof("%s=%s", what, value)
	if what == "message-id" {
		m.hasMsgID = true
		if m.messageID == "" {
			m.messageID = balanced(value)
		}
	}
}

// balanced returns the leading <…> of a value, with matching brackets, or "".
func balanced(value []byte) string {
	if len(value) == 0 || value[0] != '<' {
		return ""
	}
	level := 0
	for i, c := range value {
		switch c {
		case '<':
			level++
		case '>':
			if level--; level == 0 {
				return strings.Map(func(r rune) rune {
					if r < ' ' || r == 127 {
						return ' '
					}
					return r
				}, string(value[:i+1]))
			}
		}
	}
	return ""
}

// rewriteHeader rewrites the addresses of a header (spec cleanup §6.2).
func (m *Message) rewriteHeader(info *header.Info, text []byte) []byte {
	if bytes.IndexByte(text, 0) >= 0 {
		return text // there is no address with such a byte to be completed
	}
	set := m.e.set
	class, own, ownClasses := headerSender, m.e.senderCanonical, set.senderClasses
	if info.Class&header.Recipient != 0 {
		class, own, ownClasses = headerRecipient, m.e.rcptCanonical, set.rcptClasses
	}
	name, colon, _ := header.Split(text)
	list := address.Parse(string(text[colon+1:]), set.tokenLimit)
	changed, err := list.Rewrite(func(addr string) (string, error) {
		addr, ok := m.rewriteInternal(m.context, addr)
		if !ok {
			return "", errRewrite
		}
		if m.flags&cleanupclient.Map != 0 {
			if ownClasses&class != 0 {
				addr = m.canonicalize(addr, own)
			}
			if set.canonicalClasses&class != 0 {
				addr = m.canonicalize(addr, m.e.canonical)
			}
			if set.masqueradeClasses&class != 0 {
				addr = m.masquerade(addr)
			}
		}
		return addr, nil
	})
	if err != nil || !changed {
		return text
	}
	list.Trim(maxNonAddress, func(text string) {
		m.e.log.Warnf("stripping too many comments from address: %s...", shown([]byte(text), 100))
	})
	m.buf.fold = header.AppendFolded(m.buf.fold[:0], string(text[:name])+": "+list.Header())
	return m.buf.fold
}

// maxNonAddress is how much text besides the address one item of an address
// list may have once the list is rewritten.
const maxNonAddress = 250

// EndPrimary implements mime.Handler.
func (h *contentHandler) EndPrimary() {
	m := (*Message)(h)
	m.missingHeaders()
	if m.milters {
		m.putNumber(record.Pointer, 0, record.NumberWidth)
	}
}

// Body implements mime.Handler.
func (h *contentHandler) Body(t record.Type, data []byte, offset int64) {
	m := (*Message)(h)
	if m.flags&cleanupclient.Filter != 0 && len(data) > 0 && !m.e.bodyChecks.Empty() &&
		(m.e.set.bodyLimit == 0 || offset < m.e.set.bodyLimit) {
		m.checkBody(t, data)
		return
	}
	m.putText(t, data)
}

// Error implements mime.Handler.
func (h *contentHandler) Error(e mime.Error, detail []byte) {
	m := (*Message)(h)
	m.errors |= e
	rcpt := "unknown"
	if m.lastRecipient != "" {
		rcpt = m.logAddress(m.lastRecipient)
	}
	m.infof("reject: mime-error %s: %s from %s; from=<%s> to=<%s>", e.Error(), shown(detail, 100),
		m.attrs.get("log_message_origin"), m.logAddress(m.sender), rcpt)
}

// putHeader writes a header, a record for each line.
func (m *Message) putHeader(text []byte) {
	if m.e.set.utf8 && m.sendOpts&sendUTF8Header == 0 && has8Bit(text) {
		m.sendOpts |= sendUTF8Header
		if m.flags&cleanupclient.AutoUTF8 != 0 {
			m.sendOpts |= sendSMTPUTF8
		}
	}
	for first := true; ; first = false {
		i := bytes.IndexByte(text, '\n')
		if i < 0 {
			m.putText(record.Text, text)
			if first {
				m.reserve(record.Padding, len(text))
			}
			return
		}
		m.putText(record.Text, text[:i])
		if first {
			m.reserve(record.Padding, i)
		}
		text = text[i+1:]
	}
}

func has8Bit(text []byte) bool {
	for _, c := range text {
		if c >= 0x80 {
			return true
		}
	}
	return false
}

// putHeaderString is putHeader for headers that are made here. Release 3.7
// writes them without another look.
func (m *Message) putHeaderString(text string) {
	if m.e.set.dialect37 {
		for line := range strings.SplitSeq(text, "\n") {
			m.putText(record.Text, []byte(line))
		}
		return
	}
	m.putHeader([]byte(text))
}
