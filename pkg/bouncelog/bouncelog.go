// Package bouncelog writes and reads the logs that say, per message, which
// recipients were deferred, failed or are to be reported: the files of the
// defer, bounce and trace queues (spec queue-files §13).
package bouncelog

import (
	"strconv"
	"strings"

	"suffix/pkg/address"
)

// An Entry describes what happened to one recipient.
//
// For Append, Recipient and Original are in internal form; the log has the
// external one. A Reader returns what the log has.
type Entry struct {
	Original  string // recipient before rewriting
	Recipient string
	Offset    int64  // of the recipient record in the queue file; 0 unknown
	DSNOrig   string // ORCPT: type;address
	Notify    int    // NOTIFY mask
	Status    string // X.Y.Z
	Action    string // delayed, failed, delivered, …
	DiagType  string // of the reply of the other side: smtp, x-unix
	DiagText  string
	MTAType   string // of MTAName: dns
	MTAName   string
	Reason    string
}

// AppendTo adds the text of the entry to buf. With compat set it begins with
// the line that very old releases read.
func (e *Entry) AppendTo(buf []byte, compat bool) []byte {
	recipient := address.Quote(e.Recipient)
	if e.Recipient == "" {
		recipient = "<>"
	}
	buf = append(buf, '\n')
	if compat {
		if e.Recipient == "" {
			buf = append(buf, "<>: "...)
		} else {
			buf = append(buf, '<')
			buf = appendPrintable(buf, recipient)
			buf = append(buf, ">: "...)
		}
		buf = appendPrintable(buf, e.Reason)
		buf = append(buf, '\n')
	}
	buf = appendLine(buf, "recipient", recipient)
	if e.Original != "" && !strings.EqualFold(e.Original, e.Recipient) {
		buf = appendLine(buf, "original_recipient", address.Quote(e.Original))
	}
	if e.Offset > 0 {
		buf = appendNumber(buf, "offset", e.Offset)
	}
	if e.DSNOrig != "" {
		buf = appendLine(buf, "dsn_orig_rcpt", e.DSNOrig)
	}
	if e.Notify != 0 {
		buf = appendNumber(buf, "notify_flags", int64(e.Notify))
	}
	if e.Status != "" {
		buf = appendLine(buf, "status", e.Status)
	}
	if e.Action != "" {
		buf = appendLine(buf, "action", e.Action)
	}
	if e.DiagType != "" && e.DiagText != "" {
		buf = appendLine(buf, "diag_type", e.DiagType)
		buf = appendLine(buf, "diag_text", e.DiagText)
	}
	if e.MTAType != "" && e.MTAName != "" {
		buf = appendLine(buf, "mta_type", e.MTAType)
		buf = appendLine(buf, "mta_mname", e.MTAName)
	}
	if e.Reason != "" {
		buf = appendLine(buf, "reason", e.Reason)
	}
	return append(buf, '\n')
}

func appendLine(buf []byte, name, value string) []byte {
	buf = append(buf, name...)
	buf = append(buf, '=')
	buf = appendPrintable(buf, value)
	return append(buf, '\n')
}

func appendNumber(buf []byte, name string, n int64) []byte {
	buf = append(buf, name...)
	buf = append(buf, '=')
	buf = strconv.AppendInt(buf, n, 10)
	return append(buf, '\n')
}
