package cleanup

import (
	"errors"
	"strings"

	"suffix/pkg/address"
	"suffix/pkg/cleanupclient"
	"suffix/pkg/header"
)

var errRewrite = errors.New("address rewriting failed")

// missingHeaders completes the message's own headers (spec cleanup §6.3).
func (m *Message) missingHeaders() {
	if m.stopped() {
		return
	}
	if m.hops == 0 {
		m.rejectf("no Received: header")
		return
	}
	set := m.e.set
	active := m.context != "" || set.always
	prefix, msgID, date, from := "", header.MessageID, header.Date, header.From
	if m.resent {
		prefix, msgID, date, from = "Resent-", header.ResentMessageID, header.ResentDate, header.ResentFrom
	}
	if active && !m.headers.has(msgID) {
		id := "<" + m.id + "@" + set.myhostname + ">"
		if !set.longIDs {
			id = "<" + m.idTime.UTC().Format("20060102150405") + "." + m.id + "@" + set.myhostname + ">"
		}
		m.putHeaderString(prefix + "Message-Id: " + id)
		if m.resent {
			m.infof("resent-message-id=%s", id)
		} else {
			m.logMessageID("message-id", []byte(id))
		}
	}
	if !m.hasMsgID {
		m.infof("message-id=<>")
	}
	if active && !m.headers.has(date) {
		m.putHeaderString(prefix + "Date: " + cleanupclient.Date(m.arrival, set.dialect37))
	}
	if active && !m.headers.has(from) {
		m.putHeaderString(prefix + "From: " + m.fromText())
	}
	if active && set.undisclosed != "" && !m.headers.has(header.To) && !m.headers.has(header.Cc) &&
		!m.headers.has(header.ResentTo) && !m.headers.has(header.ResentCc) {
		if header.Is(set.undisclosed) {
			m.putHeaderString(set.undisclosed)
		} else {
			m.e.log.Warnf("bad undisclosed_recipients_header header text \"%s\" -- need \"headername: headervalue\"", set.undisclosed)
		}
	}
	if set.requireTLSHead && m.sendOpts&sendRequireTLS != 0 && !m.wantsTLS {
		m.putHeaderString("Require-TLS-ESMTP: yes")
	}
}

// fromText makes the value of a From: header.
func (m *Message) fromText() string {
	if m.sender == "" {
		return mailerDaemon
	}
	addr := address.Quote(m.sender)
	name := strings.Join(strings.Fields(strings.Map(func(r rune) rune {
		if r < ' ' || r == 127 {
			return ' '
		}
		return r
	}, m.fullName)), " ")
	switch {
	case name == "":
		return addr
	case m.e.set.obsoleteFrom:
		if !isASCII(name) {
			return foldWords(addr, encodeWords(name, m.e.set.nameCharset, obsoleteSpecials), "(", ")")
		}
		return addr + " (" + commentText(name) + ")"
	case !isASCII(name):
		words := encodeWords(name, m.e.set.nameCharset, standardSpecials)
		return foldFrom(strings.Join(words, "\n") + "\n<" + addr + ">")
	}
	if strings.ContainsAny(name, "()<>@,;:\\\".[]%!") {
		return foldFrom(quotedString(name) + "\n<" + addr + ">")
	}
	return foldFrom(strings.ReplaceAll(name, " ", "\n") + "\n<" + addr + ">")
}

// foldFrom folds pieces behind "From: ".
func foldFrom(pieces string) string {
	return strings.TrimPrefix(string(header.AppendFolded(nil, "From: "+pieces)), "From: ")
}

func foldWords(addr string, words []string, open, closing string) string {
	return foldFrom(addr + "\n" + open + strings.Join(words, "\n") + closing)
}

func quotedString(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for i := 0; i < len(text); i++ {
		if text[i] == '"' || text[i] == '\\' {
			b.WriteByte('\\')
		}
		b.WriteByte(text[i])
	}
	b.WriteByte('"')
	return b.String()
}

// commentText makes parentheses balance and removes a trailing backslash.
func commentText(text string) string {
	var b strings.Builder
	level := 0
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '\\' && i+1 == len(text):
			continue
		case c == '\\':
			b.WriteByte(c)
			i++
			c = text[i]
		case c == '(':
			level++
		case c == ')':
			if level == 0 {
				continue
			}
			level--
		}
		b.WriteByte(c)
	}
	b.WriteString(strings.Repeat(")", level))
	return b.String()
}
