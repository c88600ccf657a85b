package mysql

// quote appends text to a query, to stand in a string literal.
func (c *conn) quote(b []byte, text string) []byte {
	for i := 0; i < len(text); {
		ch := text[i]
		if ch >= 0x80 {
			// In some character sets the second byte of a character can look
			// like a backslash. A first byte whose second does not fit must
			// not swallow what follows: it is escaped.
			if n, lead := charLength(c.charset, text[i:]); n > 1 {
				b = append(b, text[i:i+n]...)
				i += n
				continue
			} else if lead && !c.noBackslash {
				b = append(b, '\\')
			}
		}
		b = c.quoteByte(b, ch)
		i++
	}
	return b
}

func (c *conn) quoteByte(b []byte, ch byte) []byte {
	if c.noBackslash {
		if ch == '\'' {
			b = append(b, ch)
		}
		return append(b, ch)
	}
	switch ch {
	case 0:
		return append(b, '\\', '0')
	case '\n':
		return append(b, '\\', 'n')
	case '\r':
		return append(b, '\\', 'r')
	case 0x1a:
		return append(b, '\\', 'Z')
	case '\'', '"', '\\':
		b = append(b, '\\')
	}
	return append(b, ch)
}

// charLength returns the length of the character that text begins with, in the
// character sets whose characters contain ASCII bytes. lead says that the
// first byte begins a longer character, even where the rest does not fit.
func charLength(charset, text string) (n int, lead bool) {
	in := func(at int, low, high byte) bool { return at < len(text) && low <= text[at] && text[at] <= high }
	switch charset {
	case "big5":
		if lead = in(0, 0xa1, 0xf9); lead && (in(1, 0x40, 0x7e) || in(1, 0xa1, 0xfe)) {
			return 2, true
		}
	case "gbk":
		if lead = in(0, 0x81, 0xfe); lead && (in(1, 0x40, 0x7e) || in(1, 0x80, 0xfe)) {
			return 2, true
		}
	case "gb18030":
		lead = in(0, 0x81, 0xfe)
		switch {
		case lead && in(1, 0x30, 0x39) && in(2, 0x81, 0xfe) && in(3, 0x30, 0x39):
			return 4, true
		case lead && (in(1, 0x40, 0x7e) || in(1, 0x80, 0xfe)):
			return 2, true
		}
	case "sjis", "cp932":
		if lead = in(0, 0x81, 0x9f) || in(0, 0xe0, 0xfc); lead && (in(1, 0x40, 0x7e) || in(1, 0x80, 0xfc)) {
			return 2, true
		}
	}
	return 1, lead
}
