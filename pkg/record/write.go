package record

import (
	"fmt"
	"io"
	"strconv"
)

// maxLength is the largest length that four length bytes can say.
const maxLength = 1<<28 - 1

// Append adds one record to buf. Data longer than 2^28-1 bytes, which no
// reader would accept, is cut there; writers of text and envelopes keep
// records below line_length_limit anyhow.
func Append[T ~string | ~[]byte](buf []byte, t Type, data T) []byte {
	if len(data) > maxLength {
		data = data[:maxLength]
	}
	buf = append(buf, byte(t))
	n := uint32(len(data))
	for n >= 0x80 {
		buf = append(buf, byte(n)|0x80)
		n >>= 7
	}
	buf = append(buf, byte(n))
	return append(buf, data...)
}

// AppendAttr adds an Attr record name=value.
func AppendAttr(buf []byte, name, value string) []byte {
	n := uint32(min(len(name)+1+len(value), maxLength))
	buf = append(buf, byte(Attr))
	for rest := n; ; rest >>= 7 {
		if rest < 0x80 {
			buf = append(buf, byte(rest))
			break
		}
		buf = append(buf, byte(rest)|0x80)
	}
	start := len(buf)
	buf = append(buf, name...)
	buf = append(buf, '=')
	buf = append(buf, value...)
	return buf[:start+int(n)]
}

// AppendAttrInt adds an Attr record with a decimal value.
func AppendAttrInt(buf []byte, name string, value int64) []byte {
	return AppendAttr(buf, name, strconv.FormatInt(value, 10))
}

// AppendText adds content text as cleanup stores it: pieces of at most limit
// bytes (line_length_limit), all but the last as Fragment. Where the line has
// no end, last is Fragment too, otherwise Text.
func AppendText[T ~string | ~[]byte](buf []byte, line T, limit int, last Type) []byte {
	for limit > 0 && len(line) > limit {
		buf = Append(buf, Fragment, line[:limit])
		line = line[limit:]
	}
	return Append(buf, last, line)
}

// AppendNumber adds a record whose payload is one number, right-justified in
// width columns: pointers and warning times (width 15), padding.
func AppendNumber(buf []byte, t Type, value int64, width int) []byte {
	var digits [20]byte
	number := strconv.AppendInt(digits[:0], value, 10)
	n := max(len(number), width)
	buf = append(buf, byte(t))
	for rest := uint32(n); ; rest >>= 7 {
		if rest < 0x80 {
			buf = append(buf, byte(rest))
			break
		}
		buf = append(buf, byte(rest)|0x80)
	}
	for i := len(number); i < n; i++ {
		buf = append(buf, ' ')
	}
	return append(buf, number...)
}

// NumberWidth is the width in which pointers and warning times are written,
// so that they can be replaced in place.
const NumberWidth = 15

// PatchNumber replaces the pointer or warning time record that starts at offset.
func PatchNumber(f io.WriterAt, offset int64, t Type, value int64) error {
	var buf [2 + 20]byte
	if _, err := f.WriteAt(AppendNumber(buf[:0], t, value, NumberWidth), offset); err != nil {
		return fmt.Errorf("update %s record: %w", t.Name(), err)
	}
	return nil
}

// PatchType replaces the type byte of the record at offset, after it made sure
// that the byte there is from, so that a wrong offset cannot damage a file.
// That the record has the new type already is not an error.
func PatchType(f interface {
	io.ReaderAt
	io.WriterAt
}, offset int64, from, to Type) error {
	if offset <= 0 {
		return fmt.Errorf("update %s record: bad offset %d", from.Name(), offset)
	}
	var b [1]byte
	if _, err := f.ReadAt(b[:], offset); err != nil {
		return fmt.Errorf("update %s record at offset %d: %w", from.Name(), offset, err)
	}
	switch Type(b[0]) {
	case to:
		return nil
	case from:
		b[0] = byte(to)
		if _, err := f.WriteAt(b[:], offset); err != nil {
			return fmt.Errorf("update %s record at offset %d: %w", from.Name(), offset, err)
		}
		return nil
	}
	return fmt.Errorf("update %s record at offset %d: found record type %d", from.Name(), offset, b[0])
}

// MarkDone turns the Recipient record at offset into a Done record: the
// recipient was delivered or returned.
func MarkDone(f interface {
	io.ReaderAt
	io.WriterAt
}, offset int64) error {
	return PatchType(f, offset, Recipient, Done)
}
