package address

import "strings"

// Byte classes of RFC 822 text.
const (
	classSpace    = 1 << iota // space, TAB, CR, LF: separate tokens
	classControl              // other control characters
	classOperator             // special characters, one token each
)

const operators = "|%!()<>@,;:\\\".[]"

var class = func() (t [256]byte) {
	for c := 0; c < 32; c++ {
		t[c] = classControl
	}
	t[127] = classControl
	for _, c := range " \t\r\n" {
		t[c] |= classSpace
	}
	for _, c := range []byte(operators) {
		t[c] |= classOperator
	}
	return t
}()

// A Kind is what a Token is.
type Kind uint8

const (
	Atom       Kind = iota // a word
	Quoted                 // "quoted string", text without quotes and backslashes
	Literal                // [domain literal], text without brackets and backslashes
	Comment                // (comment), raw text with parentheses
	Operator               // one special character
	Address                // a complete address, text in internal form
	GroupStart             // the ':' after the name of a group
)

// scan splits text into tokens, at most limit of them (0: no limit).
func (l *List) scan(text string, limit int) {
	for i := 0; i < len(text); {
		if limit > 0 && len(l.nodes)-1 >= limit {
			return
		}
		c := text[i]
		switch {
		case class[c]&classSpace != 0:
			i++
		case c == '(':
			end := commentEnd(text, i)
			l.push(Comment, text[i:end])
			i = end
		case c == '"':
			var s string
			s, i = delimited(text, i+1, '"')
			l.push(Quoted, s)
		case c == '[':
			var s string
			s, i = delimited(text, i+1, ']')
			l.push(Literal, s)
		case c != '\\' && class[c]&classOperator != 0:
			l.push(Operator, text[i:i+1])
			i++
		default:
			var s string
			var plain bool
			s, plain, i = word(text, i)
			if plain {
				l.push(Atom, s)
			} else {
				l.push(Quoted, s)
			}
		}
	}
}

// commentEnd returns the index after the comment that begins at start.
func commentEnd(text string, start int) int {
	level := 0
	for i := start; i < len(text); i++ {
		switch text[i] {
		case '(':
			level++
		case ')':
			if level--; level == 0 {
				return i + 1
			}
		case '\\':
			i++
		}
	}
	return len(text)
}

// delimited reads a quoted string or literal up to the closing character.
func delimited(text string, i int, closing byte) (string, int) {
	start := i
	for ; i < len(text); i++ {
		c := text[i]
		if c == closing {
			return text[start:i], i + 1
		}
		if c == '\\' || (class[c]&classSpace != 0 && c != ' ') {
			break
		}
	}
	if i == len(text) {
		return text[start:], i
	}
	buf := append(make([]byte, 0, i-start+32), text[start:i]...)
	for ; i < len(text); i++ {
		c := text[i]
		switch {
		case c == closing:
			return string(buf), i + 1
		case c == '\\':
			if i+1 < len(text) {
				i++
				buf = append(buf, text[i])
			}
		case class[c]&classSpace != 0:
			buf = append(buf, ' ')
		default:
			buf = append(buf, c)
		}
	}
	return string(buf), i
}

// word reads an atom. plain is false when it can only be written as a quoted
// string.
func word(text string, i int) (s string, plain bool, next int) {
	start := i
	for i < len(text) && class[text[i]]&(classSpace|classOperator) == 0 {
		i++
	}
	if i == len(text) || text[i] != '\\' {
		s = text[start:i]
		return s, !hasControl(s), i
	}
	buf := append(make([]byte, 0, i-start+32), text[start:i]...)
	for ; i < len(text); i++ {
		c := text[i]
		if c == '\\' {
			if i+1 < len(text) {
				i++
				buf = append(buf, text[i])
			}
			continue
		}
		if class[c]&(classSpace|classOperator) != 0 {
			break
		}
		buf = append(buf, c)
	}
	plain = true
	for _, c := range buf {
		if class[c] != 0 {
			plain = false
		}
	}
	return string(buf), plain, i
}

func hasControl(s string) bool {
	for i := 0; i < len(s); i++ {
		if class[s[i]] != 0 {
			return true
		}
	}
	return false
}

// escape writes text with a backslash before each byte of set.
func escape(b *strings.Builder, text, set string) {
	for i := 0; i < len(text); i++ {
		if strings.IndexByte(set, text[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(text[i])
	}
}
