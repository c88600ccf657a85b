package main

import (
	"bufio"
	"io"
	"strconv"
	"unicode/utf8"

	"suffix/pkg/showqclient"
)

// jsonLines is the listing for programs: one JSON object per message and line.
type jsonLines struct {
	w     *bufio.Writer
	utf8  bool // smtputf8_enable
	first bool // no recipient was written yet
	buf   []byte
}

func newJSON(w io.Writer, utf8 bool) *jsonLines {
	return &jsonLines{w: bufio.NewWriterSize(w, 16<<10), utf8: utf8}
}

// Message implements showqclient.Handler.
func (j *jsonLines) Message(m *showqclient.Message) error {
	j.first = true
	b := append(j.buf[:0], `{"queue_name": `...)
	b = j.quote(b, m.Queue)
	b = append(b, `, "queue_id": `...)
	b = j.quote(b, m.ID)
	b = append(b, `, "arrival_time": `...)
	b = strconv.AppendInt(b, m.Time, 10)
	b = append(b, `, "message_size": `...)
	b = strconv.AppendInt(b, m.Size, 10)
	b = append(b, `, "forced_expire": `...)
	b = strconv.AppendBool(b, m.Forced)
	b = append(b, `, "sender": `...)
	b = j.quote(b, m.Sender)
	b = append(b, `, "recipients": [`...)
	return j.write(b)
}

// Recipient implements showqclient.Handler.
func (j *jsonLines) Recipient(r *showqclient.Recipient) error {
	b := j.buf[:0]
	if !j.first {
		b = append(b, ", "...)
	}
	j.first = false
	b = append(b, `{"orig_address": `...)
	b = j.quote(b, r.Original)
	b = append(b, `, "address": `...)
	b = j.quote(b, r.Address)
	if r.Reason != "" {
		key := `, "other_reason": `
		switch r.Class {
		case "defer":
			key = `, "delay_reason": `
		case "bounce":
			key = `, "bounce_reason": `
		}
		b = append(b, key...)
		b = j.quote(b, r.Reason)
	}
	return j.write(append(b, '}'))
}

// End implements showqclient.Handler.
func (j *jsonLines) End() error { return j.write(append(j.buf[:0], "]}\n"...)) }

// Summary implements listing.
func (j *jsonLines) Summary() error { return nil }

// Flush implements listing.
func (j *jsonLines) Flush() error { return j.w.Flush() }

func (j *jsonLines) write(b []byte) error {
	j.buf = b[:0]
	_, err := j.w.Write(b)
	return err
}

const upperHex = "0123456789ABCDEF"

// quote adds a JSON string. Bytes that are not valid text become question marks.
func (j *jsonLines) quote(b []byte, s string) []byte {
	b = append(b, '"')
	for i := 0; i < len(s); {
		c := s[i]
		if c >= utf8.RuneSelf {
			r, n := utf8.DecodeRuneInString(s[i:])
			if !j.utf8 || r == utf8.RuneError && n == 1 {
				b = append(b, '?')
				i++
			} else {
				b = append(b, s[i:i+n]...)
				i += n
			}
			continue
		}
		i++
		switch {
		case c == '\\' || c == '"':
			b = append(b, '\\', c)
		case c == '\b':
			b = append(b, `\b`...)
		case c == '\f':
			b = append(b, `\f`...)
		case c == '\n':
			b = append(b, `\n`...)
		case c == '\r':
			b = append(b, `\r`...)
		case c == '\t':
			b = append(b, `\t`...)
		case c < ' ' || c == 0x7f:
			b = append(b, '\\', 'u', '0', '0', upperHex[c>>4], upperHex[c&15])
		default:
			b = append(b, c)
		}
	}
	return append(b, '"')
}
