// Package header recognises message header lines, knows the headers that the
// mail system itself handles, and folds long address headers
// (spec cleanup §5.1, §6).
//
// A header's text is its lines without line end, joined by newlines: the form
// in which header_checks see it.
package header

// A Class is a set of what a header means to the mail system.
type Class uint16

const (
	Sender    Class = 1 << iota // sender addresses, rewritten
	Recipient                   // recipient addresses, rewritten
	Extract                     // recipients for sendmail -t
	Resent                      // a Resent- header
	MIME                        // belongs to MIME; checked by mime_header_checks
)

// A Kind is one of the headers that are known.
type Kind uint8

const (
	Unknown Kind = iota
	ApparentlyTo
	Bcc
	Cc
	ContentDescription
	ContentDisposition
	ContentID
	ContentLength
	ContentTransferEncoding
	ContentType
	Date
	DeliveredTo
	DispositionNotificationTo
	ErrorsTo
	From
	MailFollowupTo
	MessageID
	MIMEVersion
	Received
	ReplyTo
	RequireTLSESMTP
	ResentBcc
	ResentCc
	ResentDate
	ResentFrom
	ResentMessageID
	ResentReplyTo
	ResentSender
	ResentTo
	ReturnPath
	ReturnReceiptTo
	SenderHeader
	TLSRequired
	To
	kinds
)

// An Info describes a known header.
type Info struct {
	Name  string // usual spelling
	Kind  Kind
	Class Class
}

var infos = [kinds]Info{
	ApparentlyTo:              {"Apparently-To", ApparentlyTo, Recipient},
	Bcc:                       {"Bcc", Bcc, Recipient | Extract},
	Cc:                        {"Cc", Cc, Recipient | Extract},
	ContentDescription:        {"Content-Description", ContentDescription, MIME},
	ContentDisposition:        {"Content-Disposition", ContentDisposition, MIME},
	ContentID:                 {"Content-ID", ContentID, MIME},
	ContentLength:             {"Content-Length", ContentLength, 0},
	ContentTransferEncoding:   {"Content-Transfer-Encoding", ContentTransferEncoding, MIME},
	ContentType:               {"Content-Type", ContentType, MIME},
	Date:                      {"Date", Date, 0},
	DeliveredTo:               {"Delivered-To", DeliveredTo, 0},
	DispositionNotificationTo: {"Disposition-Notification-To", DispositionNotificationTo, Sender},
	ErrorsTo:                  {"Errors-To", ErrorsTo, Sender},
	From:                      {"From", From, Sender},
	MailFollowupTo:            {"Mail-Followup-To", MailFollowupTo, Sender},
	MessageID:                 {"Message-Id", MessageID, 0},
	MIMEVersion:               {"MIME-Version", MIMEVersion, MIME},
	Received:                  {"Received", Received, 0},
	ReplyTo:                   {"Reply-To", ReplyTo, Sender},
	RequireTLSESMTP:           {"Require-TLS-ESMTP", RequireTLSESMTP, 0},
	ResentBcc:                 {"Resent-Bcc", ResentBcc, Recipient | Extract | Resent},
	ResentCc:                  {"Resent-Cc", ResentCc, Recipient | Extract | Resent},
	ResentDate:                {"Resent-Date", ResentDate, Resent},
	ResentFrom:                {"Resent-From", ResentFrom, Sender | Resent},
	ResentMessageID:           {"Resent-Message-Id", ResentMessageID, Resent},
	ResentReplyTo:             {"Resent-Reply-To", ResentReplyTo, Recipient | Resent},
	ResentSender:              {"Resent-Sender", ResentSender, Sender | Resent},
	ResentTo:                  {"Resent-To", ResentTo, Recipient | Extract | Resent},
	ReturnPath:                {"Return-Path", ReturnPath, Sender},
	ReturnReceiptTo:           {"Return-Receipt-To", ReturnReceiptTo, Sender},
	SenderHeader:              {"Sender", SenderHeader, Sender},
	TLSRequired:               {"TLS-Required", TLSRequired, 0},
	To:                        {"To", To, Recipient | Extract},
}

const longestName = 27 // Disposition-Notification-To

var byName = func() map[string]*Info {
	m := make(map[string]*Info, kinds)
	for i := Unknown + 1; i < kinds; i++ {
		var key [longestName]byte
		m[string(lower(key[:0], infos[i].Name))] = &infos[i]
	}
	return m
}()

// Lookup finds a known header by its name, in any case; nil if it is not known.
func Lookup[T ~string | ~[]byte](name T) *Info {
	if len(name) > longestName {
		return nil
	}
	var key [longestName]byte
	return byName[string(lower(key[:0], name))]
}

func lower[T ~string | ~[]byte](buf []byte, name T) []byte {
	for i := 0; i < len(name); i++ {
		c := name[i]
		if c >= 'A' && c <= 'Z' {
			c += 'a' - 'A'
		}
		buf = append(buf, c)
	}
	return buf
}

// Split looks for a header name at the start of a line: printable ASCII
// without blank and colon, perhaps blanks, a colon. It returns the length of
// the name and the index of the colon; ok is false where the line is no header.
func Split[T ~string | ~[]byte](line T) (name, colon int, ok bool) {
	for name < len(line) && line[name] > ' ' && line[name] < 127 && line[name] != ':' {
		name++
	}
	if name == 0 {
		return 0, 0, false
	}
	colon = name
	for colon < len(line) && (line[colon] == ' ' || line[colon] == '\t') {
		colon++
	}
	return name, colon, colon < len(line) && line[colon] == ':'
}

// Is reports whether a line begins a header.
func Is[T ~string | ~[]byte](line T) bool {
	_, _, ok := Split(line)
	return ok
}

// Value returns what stands behind the colon of a header, without leading
// white space (blanks, tabs, line breaks).
func Value(text []byte) []byte {
	for i, c := range text {
		if c == ':' {
			text = text[i+1:]
			break
		}
	}
	for len(text) > 0 && (text[0] == ' ' || text[0] == '\t' || text[0] == '\n' || text[0] == '\r') {
		text = text[1:]
	}
	return text
}

// FoldWidth is the length that a line of a refilled header stays below.
const FoldWidth = 70

// AppendFolded adds text to buf, whose lines are pieces that may stand
// together: as many on a line as fit below FoldWidth, separated by blanks; continuation
// lines begin with a tab, which does not count.
func AppendFolded(buf []byte, text string) []byte {
	used := 0
	for first := true; ; first = false {
		line := text
		end := -1
		for i := 0; i < len(text); i++ {
			if text[i] == '\n' {
				line, end = text[:i], i
				break
			}
		}
		switch {
		case first:
			used = len(line)
		case used+1+len(line) < FoldWidth:
			buf = append(buf, ' ')
			used += 1 + len(line)
		default:
			buf = append(buf, "\n\t"...)
			used = len(line)
		}
		buf = append(buf, line...)
		if end < 0 {
			return buf
		}
		text = text[end+1:]
	}
}
