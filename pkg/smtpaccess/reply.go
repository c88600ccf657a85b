package smtpaccess

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// An ErrorClass is a kind of trouble that notify_classes can name.
type ErrorClass uint8

const (
	ClassPolicy ErrorClass = 1 << iota
	ClassProtocol
	ClassResource
	ClassSoftware
	ClassData
	ClassBounce
)

// ErrorClasses maps the words of notify_classes to classes. Words that other
// programs act on are absent.
var ErrorClasses = map[string]ErrorClass{
	"policy":   ClassPolicy,
	"protocol": ClassProtocol,
	"resource": ClassResource,
	"software": ClassSoftware,
	"data":     ClassData,
	"bounce":   ClassBounce,
}

// A Reply refuses a request. The zero Reply refuses nothing.
type Reply struct {
	Text   string // complete reply, without line end; empty: not refused
	Class  ErrorClass
	HangUp bool // drop the connection without a reply
}

// Refused says that the request was refused.
func (r Reply) Refused() bool { return r.Text != "" || r.HangUp }

// A deferral is a recorded reply that takes effect later (spec smtpd-access
// §3). The zero value is an inactive one.
type deferral struct {
	active    bool
	class     ErrorClass
	code      int
	dsn, text string
}

// maxReply is where the text of a reply is cut.
const maxReply = 510

// replyText builds the text of a refusal. A wrong code or status in the
// configuration becomes a temporary reply with a warning.
func (e *evaluation) replyText(code int, dsn, text string) string {
	reply := fmt.Sprintf("%d %s %s", code, dsn, text)
	switch {
	case code < 400 || code > 599:
		e.s.Log.Warnf("SMTP reply code configuration error: %s", reply)
		return "450 4.7.1 Service unavailable"
	case !validStatus(dsn):
		e.s.Log.Warnf("DSN detail code configuration error: %s", reply)
		return "450 4.7.1 Service unavailable"
	}
	reply = printable(cutText(reply, maxReply), e.c.smtputf8)
	if e.c.softBounce && reply[0] == '5' {
		reply = "4" + reply[1:]
	}
	return reply[:4] + reply[:1] + reply[5:]
}

// cutText cuts a text to at most n bytes, not inside a character.
func cutText(text string, n int) string {
	if len(text) <= n {
		return text
	}
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return text[:n]
}

// printable makes a space of each byte that is neither printable ASCII nor, with
// utf8, part of a valid longer character.
func printable(text string, utf8 bool) string {
	for i := 0; i < len(text); i++ {
		if text[i] < ' ' || text[i] > '~' {
			return printableSlow(text, utf8)
		}
	}
	return text
}

func printableSlow(text string, multibyte bool) string {
	var b strings.Builder
	for i := 0; i < len(text); {
		r, n := utf8.DecodeRuneInString(text[i:])
		if n == 1 && (r < ' ' || r > '~') || n > 1 && !multibyte || r == utf8.RuneError {
			b.WriteByte(' ')
			i++
			continue
		}
		b.WriteString(text[i : i+n])
		i += n
	}
	return b.String()
}

// validStatus says whether text is an enhanced status code of class 2, 4 or 5.
func validStatus(text string) bool { return statusLength(text) == len(text) && text != "" }

// statusLength returns the length of the enhanced status code at the start of
// text, 0 if there is none.
func statusLength(text string) int {
	if len(text) < 5 || text[0] != '2' && text[0] != '4' && text[0] != '5' || text[1] != '.' {
		return 0
	}
	subject := digits(text[2:])
	if subject == 0 || subject > 3 || len(text) <= 2+subject || text[2+subject] != '.' {
		return 0
	}
	detail := digits(text[3+subject:])
	if detail == 0 || detail > 3 {
		return 0
	}
	end := 3 + subject + detail
	if end < len(text) && text[end] != ' ' && text[end] != '\t' {
		return 0
	}
	return end
}

// digits returns the number of digits at the start of text.
func digits(text string) int {
	n := 0
	for n < len(text) && text[n] >= '0' && text[n] <= '9' {
		n++
	}
	return n
}

// splitStatus takes an enhanced status code from the start of text; def is used
// where there is none.
func splitStatus(text, def string) (status, rest string) {
	if n := statusLength(text); n > 0 {
		return text[:n], strings.TrimLeft(text[n:], " \t")
	}
	return def, text
}

// mapStatus adjusts the detail of an enhanced status code to what is being
// refused: an address status makes no sense about a client, and a sender status
// none about a recipient (spec smtpd-access §15).
func (e *evaluation) mapStatus(status, class string) string {
	if len(status) < 5 || status[2:4] != "1." {
		return status
	}
	mapped := "0.0"
	detail, err := strconv.Atoi(status[4:])
	known := err == nil && detail >= 1 && detail < len(senderDetail)
	switch class {
	case classSender:
		mapped = "1.0"
		if known {
			mapped = senderDetail[detail]
		}
	case classRecipient:
		mapped = "1.0"
		if known {
			mapped = recipientDetail[detail]
		}
	}
	if mapped = status[:2] + mapped; mapped != status {
		e.s.Log.Infof("mapping DSN status %s into %s status %s", status, class, mapped)
	}
	return mapped
}

var (
	senderDetail    = [...]string{"", "1.7", "1.8", "1.7", "1.7", "1.0", "1.7", "1.7", "1.8"}
	recipientDetail = [...]string{"", "1.1", "1.2", "1.3", "1.4", "1.5", "1.6", "1.3", "1.2"}
)
