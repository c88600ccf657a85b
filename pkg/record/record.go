// Package record reads and writes the records that queue files consist of and
// that mail travels in between programs: a type byte, a length in groups of
// seven bits, and that many bytes of payload (spec queue-files §5).
//
// Writers append records to a buffer that the caller reuses and flushes with
// one write. Reader takes records from a stream; FileReader takes them from a
// queue file, where it follows pointers and knows offsets. Neither allocates
// memory for a record of ordinary size.
package record

// A Type is the first byte of a record.
type Type byte

// The record types (spec queue-files §6).
const (
	Size          Type = 'C' // sizes and counts of a whole queue file
	Time          Type = 'T' // arrival time
	CreateTime    Type = 'c' // queue file creation time
	FullName      Type = 'F' // sender full name
	Inspector     Type = 'I' // content inspector
	Filter        Type = 'L' // content filter; the same byte as Fragment
	Sender        Type = 'S' // envelope sender
	Done          Type = 'D' // recipient that needs no more work
	Recipient     Type = 'R' // envelope recipient
	OrigRecipient Type = 'O' // the recipient that follows, before rewriting
	Canceled      Type = '/' // recipient deleted by a Milter
	Warn          Type = 'W' // when to send a delay warning
	Attr          Type = 'A' // name=value
	Killed        Type = 'K' // an Attr that is no longer valid
	Redirect      Type = '>' // deliver everything to this address instead
	Verp          Type = 'V' // VERP delimiters
	Flags         Type = 'f' // extra cleanup flags; never in files
	Delay         Type = 'd' // delay in seconds; never in files
	Milters       Type = 'm' // number of Milters that follow; never in files
	Content       Type = 'M' // begin of the message content
	Text          Type = 'N' // a line, or the end of one
	Fragment      Type = 'L' // part of a line; the next record continues it
	Padding       Type = 'w' // nothing
	Extracted     Type = 'X' // end of content, begin of the extracted segment
	ReturnReceipt Type = 'r' // old: Return-Receipt-To address
	ErrorsTo      Type = 'e' // old: Errors-To address
	Priority      Type = 'P' // old
	Pointer       Type = 'p' // continue at another file offset
	DSNRet        Type = '<' // = Attr ret_flags
	DSNEnvID      Type = 'i' // = Attr envelope_id
	DSNOrigRcpt   Type = 'o' // = Attr dsn_orig_rcpt
	DSNNotify     Type = 'n' // = Attr notify_flags
	End           Type = 'E' // end of the message
)

// A Set lists the types that are allowed in one place. The zero byte is in no
// set.
type Set string

// The types that cleanup, pickup and qmgr accept in each segment.
const (
	EnvelopeSet  Set = "MCTcFILSDRO/WVA>K<ion"
	ContentSet   Set = "XLNw"
	ExtractedSet Set = "EDRO/PreAFIL>Kon"
)

// Has reports whether t is in the set.
func (s Set) Has(t Type) bool {
	for i := 0; i < len(s); i++ {
		if s[i] == byte(t) {
			return true
		}
	}
	return false
}

// Name returns the name by which postcat and error messages call a type. The
// byte L is called by its meaning in the content segment.
func (t Type) Name() string {
	if name := names[t]; name != "" {
		return name
	}
	return "unknown_record_type"
}

var names = [256]string{
	Size: "message_size", Time: "message_arrival_time", CreateTime: "queue_file_create_time",
	FullName: "sender_fullname", Inspector: "content_inspector", Fragment: "unterminated_text",
	Sender: "sender", Done: "done_recipient", Recipient: "recipient", OrigRecipient: "original_recipient",
	Canceled: "canceled_recipient", Warn: "warning_message_time", Attr: "named_attribute",
	Killed: "killed_record", Redirect: "redirect_to", Verp: "verp_delimiters", Flags: "flags",
	Content: "message_content", Text: "regular_text", Padding: "padding", Extracted: "extracted_info",
	ReturnReceipt: "return_receipt", ErrorsTo: "errors_to", Priority: "priority", Pointer: "pointer_record",
	DSNRet: "dsn_return_flags", DSNEnvID: "dsn_envelope_id", DSNOrigRcpt: "dsn_original_recipient",
	DSNNotify: "dsn_notify_flags", End: "message_end",
}
