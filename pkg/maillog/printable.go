package maillog

import "unicode/utf8"

// SetUTF8 says whether valid UTF-8 outside of ASCII counts as printable:
// smtputf8_enable.
func SetUTF8(on bool) { utf8OK.Store(on) }

// Printable replaces each byte that is neither printable ASCII nor, with
// smtputf8_enable, part of valid multi-byte UTF-8, by a question mark.
func Printable(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] < ' ' || s[i] >= 0x7f {
			b := []byte(s)
			filterBytes(b)
			return string(b)
		}
	}
	return s
}

// filterBytes does the same to bytes in place.
func filterBytes(b []byte) {
	for i := 0; i < len(b); {
		switch c := b[i]; {
		case c >= ' ' && c < 0x7f:
			i++
		case c >= utf8.RuneSelf && utf8OK.Load():
			r, size := utf8.DecodeRune(b[i:])
			if r == utf8.RuneError && size <= 1 || r < 0xa0 {
				for j := i; j < i+size; j++ {
					b[j] = '?'
				}
			}
			i += size
		default:
			b[i] = '?'
			i++
		}
	}
}

// cut returns the length at which text is cut so that no character is split.
func cut(b []byte, limit int) int {
	for n := limit; n > limit-utf8.UTFMax && n > 0; n-- {
		if utf8.RuneStart(b[n]) {
			return n
		}
	}
	return limit
}
