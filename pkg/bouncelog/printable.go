package bouncelog

import "unicode/utf8"

// appendPrintable adds text with each byte that is no printable ASCII and not
// part of a valid UTF-8 sequence replaced, so that nothing from outside can
// make a line of its own.
func appendPrintable(buf []byte, text string) []byte {
	for i := 0; i < len(text); {
		c := text[i]
		if c < utf8.RuneSelf {
			if c < ' ' || c == 0x7f {
				c = '?'
			}
			buf = append(buf, c)
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		if r == utf8.RuneError && n == 1 {
			buf = append(buf, '?')
		} else {
			buf = append(buf, text[i:i+n]...)
		}
		i += n
	}
	return buf
}

func printable(text string) string {
	for i := 0; i < len(text); i++ {
		if text[i] < ' ' || text[i] > '~' {
			return string(appendPrintable(make([]byte, 0, len(text)), text))
		}
	}
	return text
}
