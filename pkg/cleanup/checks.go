package cleanup

import (
	"strings"

	"suffix/pkg/cleanupclient"
	"suffix/pkg/dsn"
	"suffix/pkg/header"
	"suffix/pkg/maps"
	"suffix/pkg/mime"
	"suffix/pkg/record"
)

// verdict is what a check decided about a header or a line.
type verdict uint8

const (
	keep verdict = iota
	drop
	replace
	prepend
)

// checkHeader looks a header up in the table for its place, and returns the
// text to go on with; keep is false if there is none.
func (m *Message) checkHeader(block mime.Block, info *header.Info, text []byte) (_ []byte, ok bool) {
	table := m.e.headerChecks
	switch {
	case info != nil && info.Class&header.MIME != 0, block == mime.Part:
		table = m.e.mimeChecks
	case block == mime.Nested:
		table = m.e.nestedChecks
	}
	if table.Empty() {
		return text, true
	}
	what, arg := m.check1(table, "header", text)
	switch what {
	case drop:
		return nil, false
	case replace:
		return []byte(arg), true
	case prepend:
		m.putHeaderString(arg)
	}
	return text, true
}

// checkBody looks a record of body text up and writes what shall stay.
func (m *Message) checkBody(t record.Type, data []byte) {
	what, arg := m.check1(m.e.bodyChecks, "body", data)
	switch what {
	case drop:
	case replace:
		m.putText(t, []byte(arg))
	case prepend:
		m.putText(record.Text, []byte(arg))
		m.putText(t, data)
	default:
		m.putText(t, data)
	}
}

// check1 looks a header or body line up and does what the result says
// (spec cleanup §7).
func (m *Message) check1(table *maps.Maps, context string, text []byte) (verdict, string) {
	result, found, err := table.Find(string(text))
	// A result with a line break would write more than one line.
	if err != nil || found && strings.ContainsAny(result, "\r\n\x00") {
		m.warnf("%s map lookup problem -- message not accepted, try again later", table.Title())
		m.status |= cleanupclient.Write
		return keep, ""
	}
	if !found {
		return keep, ""
	}
	word, arg := result, ""
	if i := strings.IndexAny(result, " \t\r\n"); i >= 0 {
		word, arg = result[:i], strings.TrimLeft(result[i:], " \t\r\n")
	}
	title := table.Title()
	switch strings.ToUpper(word) {
	case "REJECT":
		reason := "5.7.1 message content rejected"
		if arg != "" {
			status, rest := dsn.Split(arg, "5.7.1")
			if class := dsn.Class(status); class != '4' && class != '5' {
				m.e.log.Warnf("bad DSN action in %s -- need 4.x.x or 5.x.x", arg)
				status = dsn.WithClass(status, '4')
			}
			reason = status + " " + rest
		}
		m.rejectContent(context, text, reason)
		return keep, ""
	case "WARN":
		m.logCheck("warning", context, text, arg)
		return keep, ""
	case "INFO":
		m.logCheck("info", context, text, arg)
		return keep, ""
	case "FILTER":
		switch {
		case arg == "":
			m.e.log.Warnf("missing FILTER command argument in %s map", title)
		case !strings.Contains(arg, ":"):
			m.e.log.Warnf("bad FILTER command %s in %s -- need transport:destination", arg, title)
		default:
			m.filter = arg
			m.logCheck("filter", context, text, arg)
		}
		return keep, ""
	case "PASS":
		m.logCheck("pass", context, text, arg)
		m.flags &^= cleanupclient.Filter | cleanupclient.Milter
		return keep, ""
	case "DISCARD":
		m.logCheck("discard", context, text, arg)
		m.flags |= cleanupclient.Discard
		m.flags &^= cleanupclient.Filter | cleanupclient.Milter
		return keep, ""
	case "HOLD":
		if m.flags&(cleanupclient.Hold|cleanupclient.Discard) == 0 {
			m.logCheck("hold", context, text, arg)
			m.flags |= cleanupclient.Hold
		}
		return keep, ""
	case "PREPEND", "REPLACE":
		name := strings.ToUpper(word)
		switch {
		case arg == "":
			m.e.log.Warnf("%s action without text in %s map", name, title)
			return keep, ""
		case context == "header" && !header.Is(arg):
			m.e.log.Warnf("bad %s header text \"%s\" in %s map -- need \"headername: headervalue\"", name, arg, title)
			return keep, ""
		}
		m.logCheck(strings.ToLower(name), context, text, arg)
		if name == "REPLACE" {
			return replace, arg
		}
		return prepend, arg
	case "REDIRECT":
		if !strings.Contains(arg, "@") {
			m.e.log.Warnf("bad REDIRECT target \"%s\" in %s map -- need user@domain", arg, title)
			return keep, ""
		}
		m.redirect = arg
		m.logCheck("redirect", context, text, arg)
		m.flags &^= cleanupclient.Filter | cleanupclient.Milter
		return keep, ""
	case "BCC":
		if !strings.Contains(arg, "@") {
			m.e.log.Warnf("bad BCC address \"%s\" in %s map -- need user@domain", arg, title)
			return keep, ""
		}
		m.bcc = append(m.bcc, arg)
		m.logCheck("bcc", context, text, arg)
		return keep, ""
	case "STRIP":
		m.logCheck("strip", context, text, arg)
		return drop, ""
	case "IGNORE":
		return drop, ""
	case "DUNNO", "OK":
		return keep, ""
	}
	m.e.log.Warnf("unknown command in %s map: %s", title, result)
	return keep, ""
}

// rejectContent refuses the message for what it says.
func (m *Message) rejectContent(context string, text []byte, reason string) {
	m.logCheck("reject", context, text, reason)
	if dsn.Class(reason) == '4' {
		m.fail(cleanupclient.Defer, reason)
	} else {
		m.fail(cleanupclient.Cont, reason)
	}
	m.flags &^= cleanupclient.Filter | cleanupclient.Milter
}

// logCheck writes the line about a check that matched.
func (m *Message) logCheck(action, context string, text []byte, arg string) {
	var b strings.Builder
	b.WriteString(m.id + ": " + action + ": " + context + " " + shown(text, 200) + " from " + m.attrs.get("log_message_origin") + ";")
	b.WriteString(" from=<" + m.logAddress(m.sender) + ">")
	if m.lastRecipient != "" {
		b.WriteString(" to=<" + m.logAddress(m.lastRecipient) + ">")
	}
	if proto := m.attrs.get("log_protocol_name"); proto != "" {
		b.WriteString(" proto=" + proto)
	}
	if helo := m.attrs.get("log_helo_name"); helo != "" {
		b.WriteString(" helo=<" + helo + ">")
	}
	if arg != "" {
		b.WriteString(": " + arg)
	}
	m.e.log.Infof("%s", b.String())
}
