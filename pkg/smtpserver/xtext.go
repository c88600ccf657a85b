package smtpserver

import (
	"strings"
	"unicode/utf8"
)

// decodeXtext undoes the xtext encoding of RFC 3461: "+" and two hexadecimal
// digits stand for a byte. ok is false if a "+" is followed by something else.
func decodeXtext(text string) (value string, ok bool) {
	if strings.IndexByte(text, '+') < 0 {
		return text, true
	}
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '+' {
			b.WriteByte(text[i])
			continue
		}
		if i+2 >= len(text) {
			return "", false
		}
		hi, lo := unhex(text[i+1]), unhex(text[i+2])
		if hi < 0 || lo < 0 {
			return "", false
		}
		b.WriteByte(byte(hi<<4 | lo))
		i += 2
	}
	return b.String(), true
}

// decodeUnitext undoes the utf-8-addr-unitext and utf-8-addr-xtext encodings of
// RFC 6533: "\x{HEX}" stands for a character.
func decodeUnitext(text string) (value string, ok bool) {
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			b.WriteByte(text[i])
			continue
		}
		rest := text[i:]
		if !strings.HasPrefix(rest, `\x{`) {
			return "", false
		}
		end := strings.IndexByte(rest, '}')
		if end < 5 || end > 9 {
			return "", false
		}
		r := rune(0)
		for _, c := range []byte(rest[3:end]) {
			d := unhex(c)
			if d < 0 {
				return "", false
			}
			r = r<<4 | rune(d)
		}
		if !utf8.ValidRune(r) {
			return "", false
		}
		b.WriteRune(r)
		i += end
	}
	return b.String(), true
}

func unhex(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	case c >= 'A' && c <= 'F':
		return int(c-'A') + 10
	}
	return -1
}

// printableBytes replaces each byte of text that is not printable ASCII.
func printableBytes(text string, replacement byte) string {
	for i := 0; i < len(text); i++ {
		if text[i] < ' ' || text[i] > '~' {
			b := []byte(text)
			for ; i < len(b); i++ {
				if b[i] < ' ' || b[i] > '~' {
					b[i] = replacement
				}
			}
			return string(b)
		}
	}
	return text
}

// neutralize makes a name from the client harmless in headers and logs.
func neutralize(text, bad string) string {
	text = printableBytes(text, '?')
	if !strings.ContainsAny(text, bad) {
		return text
	}
	b := []byte(text)
	for i, c := range b {
		if strings.IndexByte(bad, c) >= 0 {
			b[i] = '?'
		}
	}
	return string(b)
}

// heloSpecials are the characters that a HELO name may not carry into headers.
const heloSpecials = ` <>()\";@`

// escape shows raw input in a log line: control bytes as C escapes, at most
// max bytes of input.
func escape(raw []byte, max int) string {
	if len(raw) > max {
		raw = raw[:max]
	}
	var b strings.Builder
	for _, c := range raw {
		switch {
		case c == '\\':
			b.WriteString(`\\`)
		case c == '\a':
			b.WriteString(`\a`)
		case c == '\b':
			b.WriteString(`\b`)
		case c == '\f':
			b.WriteString(`\f`)
		case c == '\n':
			b.WriteString(`\n`)
		case c == '\r':
			b.WriteString(`\r`)
		case c == '\t':
			b.WriteString(`\t`)
		case c == '\v':
			b.WriteString(`\v`)
		case c < ' ' || c > '~':
			b.WriteByte('\\')
			b.WriteByte('0' + c>>6)
			b.WriteByte('0' + c>>3&7)
			b.WriteByte('0' + c&7)
		default:
			b.WriteByte(c)
		}
	}
	return b.String()
}
