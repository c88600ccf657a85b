package main

import (
	"fmt"
	"testing"

	"suffix/pkg/record"
)

// submission is what postdrop stores for "sendmail -N success,failure -R hdrs".
func submission() []byte {
	var f []byte
	put := func(t record.Type, data string) { f = record.Append(f, t, data) }
	put(record.Time, "1795359239 208354")
	put(record.Attr, "envelope_id=env123")
	put(record.Attr, " ret_flags = 2 ")
	put(record.Attr, "rewrite_context=local")
	put(record.FullName, "Alice Full")
	put(record.Sender, "alice@example.com")
	put(record.Attr, "encoding=8bit")
	put(record.Attr, "notify_flags=6")
	put(record.Recipient, "bob@defer.test")
	put(record.Attr, "no separator")
	put(record.Recipient, "carol@hang.test")
	put(record.Content, "")
	put(record.Text, "Subject: local test")
	put(record.Fragment, "X-Long: first ")
	put(record.Text, "second: third")
	put(record.Text, "\tfolded")
	put(record.Text, "From: root")
	put(record.Text, "")
	put(record.Text, "body line 1")
	put(record.Text, "")
	put(record.Fragment, "last, no newline")
	put(record.Extracted, "")
	put(record.End, "")
	return f
}

// edited is a queue file that Milters have changed, built as spec queue-files
// §19.6 shows it: the last record of each list is the one that makes the
// offsets come true.
func edited(t testing.TB) []byte {
	t.Helper()
	var f []byte
	at := func(offset int) {
		t.Helper()
		if len(f) > offset {
			t.Fatalf("record at %d ends at %d", offset, len(f))
		}
		for len(f) < offset {
			// Fill the gap with one named attribute, or a header line.
			typ := record.Attr
			if offset > 745 {
				typ = record.Text
			}
			n := offset - len(f) - 2
			if n > 127 {
				n = 100
			}
			if n < 2 {
				t.Fatalf("gap of %d bytes before %d", n+2, offset)
			}
			f = record.Append(f, typ, fmt.Sprintf("a=%0*d", n-2, 0)[:n])
		}
	}
	put := func(typ record.Type, data string) { f = record.Append(f, typ, data) }
	ptr := func(typ record.Type, value int64, width int) { f = record.AppendNumber(f, typ, value, width) }
	f = record.AppendSizes(f, record.Sizes{Segment: 323, Offset: 745, Recipients: 3, Content: 381})
	put(record.Time, "1795359172 783725")
	f = record.AppendAttrInt(f, "create_time", 1795359172)
	at(185)
	ptr(record.Pointer, 1300, 15)
	at(206) // garbage between the pointer's end (202) and here must not be read
	at(711)
	put(record.Canceled, "del@hang.test")
	at(726)
	ptr(record.Pointer, 1372, 15)
	at(743)
	put(record.Content, "")
	ptr(record.Pointer, 1166, 15)
	at(800)
	put(record.Text, "\tsecond line of Received")
	at(898)
	ptr(record.Pointer, 1264, 15)
	put(record.Pointer, "            940")
	at(940)
	put(record.Text, "To: x@y")
	at(1028)
	ptr(record.Pointer, 1089, 15)
	put(record.Text, "")
	ptr(record.Pointer, 1423, 15)
	at(1068)
	put(record.Extracted, "")
	ptr(record.Pointer, 0, 15)
	put(record.End, "")
	put(record.Text, "X-Added:  appended one")
	at(1113)
	ptr(record.Pointer, 1130, 15)
	put(record.Text, "X-Added2:  two")
	ptr(record.Padding, 0, 1)
	ptr(record.Pointer, 1045, 15)
	put(record.Text, "X-Ins:  inserted at zero")
	put(record.Text, "Received: from client.example (localhost [127.0.0.1])")
	at(1247)
	ptr(record.Pointer, 800, 15)
	put(record.Text, "Subject:  changed")
	ptr(record.Pointer, 915, 15)
	put(record.Attr, "envelope_id=milt1")
	put(record.Attr, "ret_flags=1")
	put(record.Sender, "newsender@example.com")
	ptr(record.Pointer, 206, 15)
	put(record.OrigRecipient, "added@hang.test")
	put(record.Recipient, "added@hang.test")
	ptr(record.Pointer, 743, 15)
	at(1423)
	put(record.Text, "new body line")
	put(record.Text, "second new line")
	ptr(record.Pointer, 1068, 15)
	return f
}
