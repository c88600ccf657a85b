package smtpclient

import (
	"fmt"
	"strings"
	"unicode/utf8"
)

// xtext encodes a value for an ESMTP parameter (RFC 3461 §4): bytes that are
// not printable ASCII, "+", and those of special become +XX.
func xtext(value, special string) string {
	const hex = "0123456789ABCDEF"
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		c := value[i]
		if c <= 32 || c >= 127 || c == '+' || strings.IndexByte(special, c) >= 0 {
			b.WriteByte('+')
			b.WriteByte(hex[c>>4])
			b.WriteByte(hex[c&15])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}

// unitext encodes an internationalised address for ORCPT=utf-8; (RFC 6533
// §3): as it is towards a server with SMTPUTF8, else with \x{XXXX}.
func unitext(value string, utf8OK bool) string {
	var b strings.Builder
	for _, r := range value {
		switch {
		case r == utf8.RuneError, r <= 32, r == 127, r == '\\', r == '+', r == '=', r >= 128 && !utf8OK:
			fmt.Fprintf(&b, `\x{%02X}`, r)
		default:
			b.WriteRune(r)
		}
	}
	return b.String()
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

func validUTF8(s string) bool { return utf8.ValidString(s) }
