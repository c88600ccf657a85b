package smtpaccess

import (
	"strings"

	"suffix/pkg/params"
)

// A result is what an access table or policy service says about an item.
type result struct {
	table string // "type:name"
	value string
	key   string // the item that was looked up
	name  string // the item as it stands in replies
	class string
}

func (r result) text(reason string) string { return rejected(r.name, r.class, reason) }

// apply carries out the result of an access table (spec smtpd-access §15).
func (e *evaluation) apply(r result) verdict {
	if strings.ContainsAny(r.value, "\r\n\x00") {
		// It would end a line of a reply, a header or an envelope.
		e.s.Log.Warnf("%s: null or line break in result for \"%s\"", r.table, r.key)
		return e.misconfigured()
	}
	word, rest, _ := strings.Cut(strings.TrimLeft(r.value, " \t"), " ")
	if i := strings.IndexByte(word, '\t'); i >= 0 {
		word, rest = word[:i], word[i+1:]+" "+rest
	}
	rest = strings.Trim(rest, " \t")
	switch upper := strings.ToUpper(word); upper {
	case "":
		e.s.Log.Warnf("access table %s entry %s has empty value", r.table, r.value)
		return permit
	case "OK", "RELAY":
		e.logPermit(word, r.class, r.name, "from "+r.table)
		return permit
	case "DUNNO":
		return dunno
	case "REJECT":
		return e.refuseResult(r, e.c.code(params.AccessMapRejectCode), "5.7.1", rest, "Access denied")
	case "DEFER":
		return e.refuseResult(r, e.c.code(params.AccessMapDeferCode), "4.7.1", rest, "Access denied")
	case "DEFER_IF_PERMIT", "DEFER_IF_REJECT":
		status, text := splitStatus(rest, "4.7.1")
		if text == "" {
			text = "Service unavailable"
		}
		status = e.mapStatus(status, r.class)
		if upper == "DEFER_IF_PERMIT" {
			return e.deferIfPermit(ClassPolicy, e.c.code(params.AccessMapDeferCode), status, r.text(text))
		}
		return e.deferIfReject(ClassPolicy, e.c.code(params.AccessMapDeferCode), status, r.text(text))
	case "INFO", "WARN":
		e.s.LogAction(e.c.style, strings.ToLower(word), rest)
		return dunno
	case "HANGUP":
		e.s.LogAction(e.c.style, "hangup", rest)
		e.reply = Reply{HangUp: true, Class: ClassPolicy}
		return reject
	case "HOLD", "DISCARD", "FILTER", "REDIRECT", "BCC", "PREPEND":
		return e.messageAction(r, upper, word, rest)
	default:
		switch n := digits(word); {
		case n == len(word) && rest == "":
			e.logPermit(word, r.class, r.name, "from "+r.table)
			return permit
		case n == 3 && len(word) == 3 && (word[0] == '4' || word[0] == '5'):
			code := int(word[0]-'0')*100 + int(word[1]-'0')*10 + int(word[2]-'0')
			return e.refuseResult(r, code, word[:1]+".7.1", rest, "Access denied")
		}
	}
	return e.nested(r)
}

// refuseResult refuses with the text of a table entry, which may begin with
// an enhanced status code.
func (e *evaluation) refuseResult(r result, code int, status, text, def string) verdict {
	status, text = splitStatus(text, status)
	if text == "" {
		text = def
	}
	return e.refuse(ClassPolicy, code, e.mapStatus(status, r.class), r.text(text))
}

// messageAction records an effect on the whole message.
func (e *evaluation) messageAction(r result, action, word, text string) verdict {
	log := e.s.Log
	switch {
	case e.c.proxyFilter && action != "PREPEND":
		log.Warnf("access table %s: with smtpd_proxy_filter specified, action %s is unavailable", r.table, action)
		return dunno
	case e.stage == stageEtrn || e.s.Stage == "ETRN":
		log.Warnf("access table %s: action %s is unavailable in smtpd_etrn_restrictions", r.table, action)
		return dunno
	case !e.s.Tx.HasSender:
		log.Warnf("access table %s: with smtpd_delay_reject=no, action %s is always skipped in Client host or Helo command restrictions", r.table, action)
		return dunno
	}
	actions := &e.s.Tx.Actions
	record := func(what string) {
		e.s.LogAction(e.c.style, strings.ToLower(action), "<"+r.name+">: "+r.class+" "+what)
	}
	triggers := func(def string) string {
		if text != "" {
			return text
		}
		return def
	}
	switch action {
	case "HOLD":
		if !actions.Hold {
			actions.Hold = true
			record(triggers("triggers HOLD action"))
		}
		return dunno
	case "DISCARD":
		actions.Discard = true
		record(triggers("triggers DISCARD action"))
		e.logPermit(word, r.class, r.name, "from "+r.table)
		return permit
	case "FILTER":
		switch {
		case text == "":
			log.Warnf("access table %s entry \"%s\" has FILTER entry without value", r.table, r.key)
		case !strings.Contains(text, ":"):
			log.Warnf("access table %s entry \"%s\" requires transport:destination", r.table, r.key)
		default:
			actions.Filter = text
			record("triggers FILTER " + text)
		}
	case "REDIRECT", "BCC":
		if !strings.Contains(text, "@") {
			log.Warnf("access table %s entry \"%s\" requires user@domain target", r.table, r.key)
			break
		}
		record("triggers " + action + " " + text)
		if action == "BCC" {
			actions.BCC = append(actions.BCC, text)
		} else {
			actions.Redirect = text
		}
	case "PREPEND":
		switch {
		case e.stage == stageEndOfData:
			log.Warnf("access table %s: action PREPEND must be used before smtpd_end_of_data_restrictions", r.table)
		case !isHeader(text) || strings.ContainsAny(text, "\r\n\x00"):
			log.Warnf("access table %s entry \"%s\" requires header: text", r.table, r.key)
		default:
			actions.Prepend = append(actions.Prepend, text)
		}
	}
	return dunno
}

// isHeader says that text begins with a header name and a colon.
func isHeader(text string) bool {
	i := strings.IndexByte(text, ':')
	if i <= 0 {
		return false
	}
	for _, c := range []byte(strings.TrimRight(text[:i], " \t")) {
		if c <= ' ' || c >= 0x7f {
			return false
		}
	}
	return true
}

// nested evaluates a table entry that is a restriction list.
func (e *evaluation) nested(r result) verdict {
	log := e.s.Log
	if strings.Contains(r.value, ":") {
		log.Warnf("access table %s has entry with lookup table: %s", r.table, r.value)
		log.Warnf("do not specify lookup tables inside SMTPD access maps")
		log.Warnf("define a restriction class and specify its name instead.")
		return e.misconfigured()
	}
	if e.depth >= maxRecursion {
		log.Warnf("access table %s entry %s causes unreasonable recursion", r.table, r.value)
		return e.misconfigured()
	}
	name, class := e.name, e.class
	e.name, e.class = r.name, r.class
	e.depth++
	v := e.list(e.c.compile(r.value, false))
	e.depth--
	e.name, e.class = name, class
	return v
}
