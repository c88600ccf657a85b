// Package dsn holds the vocabulary of delivery status notifications: enhanced
// status codes (RFC 3463), NOTIFY and RET values (RFC 3461), and the set of
// fields with which every program of the mail system tells another what became
// of a recipient.
package dsn

import "strings"

// A DSN is the outcome of one delivery attempt for one recipient.
type DSN struct {
	Status   string // enhanced status code, "5.1.1"
	Action   string // failed, delayed, delivered, relayed, expanded, …
	DiagType string // "smtp", "x-unix"; empty when there is no diagnostic
	DiagText string // what the remote server or the command said
	MTAType  string // "dns", or empty
	MTAName  string // the remote server
	Reason   string // text for people
}

// A Recipient is an envelope recipient with its DSN parameters.
type Recipient struct {
	Address  string // after rewriting and aliasing, internal form
	Original string // before that, internal form; may be empty
	ORCPT    string // "rfc822;address", decoded; may be empty
	Notify   Notify
	Offset   int64 // of the R record in the queue file; -1: do not mark
}

// Notify is a set of NOTIFY conditions (RFC 3461 §4.1); zero: not specified.
type Notify int

const (
	NotifyNever Notify = 1 << iota
	NotifySuccess
	NotifyFailure
	NotifyDelay
)

// Ret is a RET value (RFC 3461 §4.3); zero: not specified.
type Ret int

const (
	RetFull Ret = 1
	RetHdrs Ret = 2
)

// notifyNames are the keywords in the order in which they are listed.
var notifyNames = []struct {
	bit  Notify
	name string
}{{NotifyNever, "NEVER"}, {NotifySuccess, "SUCCESS"}, {NotifyFailure, "FAILURE"}, {NotifyDelay, "DELAY"}}

// ParseNotify reads a NOTIFY value: NEVER alone, or any of the others
// separated by commas, in any case. ok is false for anything else.
func ParseNotify(text string) (n Notify, ok bool) {
	for word := range strings.SplitSeq(text, ",") {
		found := false
		for _, k := range notifyNames {
			if strings.EqualFold(word, k.name) {
				if n&k.bit != 0 {
					return 0, false
				}
				n, found = n|k.bit, true
			}
		}
		if !found {
			return 0, false
		}
	}
	return n, n.Valid()
}

// String returns the value in ESMTP form, empty when nothing is specified.
func (n Notify) String() string {
	var words []string
	for _, k := range notifyNames {
		if n&k.bit != 0 {
			words = append(words, k.name)
		}
	}
	return strings.Join(words, ",")
}

// Valid reports whether n is a combination that RFC 3461 permits.
func (n Notify) Valid() bool {
	return n == NotifyNever || n > 0 && n&^(NotifySuccess|NotifyFailure|NotifyDelay) == 0
}

// ParseRet reads a RET value, FULL or HDRS in any case.
func ParseRet(text string) (r Ret, ok bool) {
	switch {
	case strings.EqualFold(text, "FULL"):
		return RetFull, true
	case strings.EqualFold(text, "HDRS"):
		return RetHdrs, true
	}
	return 0, false
}

// String returns the value in ESMTP form.
func (r Ret) String() string {
	switch r {
	case RetFull:
		return "FULL"
	case RetHdrs:
		return "HDRS"
	}
	return ""
}

// codeLen returns the length of the enhanced status code at the start of text,
// 0 if there is none. The code must be followed by white space or the end.
func codeLen(text string) int {
	if len(text) < 5 || text[0] != '2' && text[0] != '4' && text[0] != '5' || text[1] != '.' {
		return 0
	}
	i := 2
	for field := 0; field < 2; field++ {
		digits := 0
		for i < len(text) && text[i] >= '0' && text[i] <= '9' {
			digits++
			i++
		}
		if digits < 1 || digits > 3 {
			return 0
		}
		if field == 0 {
			if i >= len(text) || text[i] != '.' {
				return 0
			}
			i++
		}
	}
	if i < len(text) && !isSpace(text[i]) {
		return 0
	}
	return i
}

func isSpace(b byte) bool { return b == ' ' || b >= '\t' && b <= '\r' }

// Valid reports whether text begins with an enhanced status code of class 2, 4
// or 5.
func Valid(text string) bool { return codeLen(text) > 0 }

// ValidStatus reports whether text is such a code and nothing else.
func ValidStatus(text string) bool { return text != "" && codeLen(text) == len(text) }

// Split separates a leading enhanced status code from the text after it. Text
// without one keeps the given default.
func Split(text, defaultStatus string) (status, rest string) {
	trimmed := strings.TrimLeft(text, " \t\n\v\f\r")
	n := codeLen(trimmed)
	if n == 0 {
		return defaultStatus, trimmed
	}
	return trimmed[:n], strings.TrimLeft(trimmed[n:], " \t\n\v\f\r")
}

// Class returns the first digit of a status code, 0 for an empty one.
func Class(status string) byte {
	if status == "" {
		return 0
	}
	return status[0]
}

// WithClass returns the status code with another first digit.
func WithClass(status string, class byte) string {
	if status == "" {
		return status
	}
	return string(class) + status[1:]
}
