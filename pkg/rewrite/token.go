package rewrite

import (
	"strings"
)

// kind tells the tokens of an address apart (spec qmgr §13.2).
type kind uint8

const (
	atom     kind = iota
	quoted        // text without the quotes and backslashes
	literal       // text with its brackets
	comment       // text with its parentheses
	operator      // one special character
)

type token struct {
	kind  kind
	text  string
	tight bool // no blank may be written before it
}

// is says whether the token is the operator c.
func (t token) is(c byte) bool { return t.kind == operator && t.text[0] == c }

const operators = "|%!()<>@,;:\\\".[]"

// charClass says which bytes end an atom, and why.
var charClass = func() (class [256]byte) {
	for c := range 33 {
		class[c] = isControl
	}
	class[127] = isControl
	for _, c := range []byte(" \t\r\n") {
		class[c] = isSpace
	}
	for _, c := range []byte(operators) {
		class[c] = isOperator
	}
	return class
}()

const (
	isSpace = iota + 1
	isOperator
	isControl // does not end an atom, but makes it a quoted string
)

// parse splits an address in external form into tokens.
func parse(text string) []token {
	tokens := make([]token, 0, 8)
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case charClass[c] == isSpace:
			i++
		case c == '(':
			end := commentEnd(text, i)
			tokens = append(tokens, token{kind: comment, text: text[i:end]})
			i = end
		case c == '"':
			inner, next := delimited(text, i+1, '"')
			tokens = append(tokens, token{kind: quoted, text: inner})
			i = next
		case c == '[':
			inner, next := delimited(text, i+1, ']')
			tokens = append(tokens, token{kind: literal, text: "[" + inner + "]"})
			i = next
		case charClass[c] == isOperator && c != '\\':
			tokens = append(tokens, token{kind: operator, text: text[i : i+1]})
			i++
		default:
			word, next := word(text, i)
			tokens = append(tokens, word)
			i = next
		}
	}
	return tokens
}

// commentEnd returns the index after the comment that begins at start.
func commentEnd(text string, start int) int {
	level := 0
	for i := start; i < len(text); i++ {
		switch text[i] {
		case '\\':
			i++
		case '(':
			level++
		case ')':
			if level--; level == 0 {
				return i + 1
			}
		}
	}
	return len(text)
}

// delimited reads a quoted string or a literal, from i to behind its end.
func delimited(text string, i int, end byte) (inner string, next int) {
	start := i
	for i < len(text) && text[i] != end && text[i] != '\\' && (charClass[text[i]] != isSpace || text[i] == ' ') {
		i++
	}
	if i == len(text) || text[i] == end {
		return text[start:i], min(i+1, len(text))
	}
	buf := []byte(text[start:i])
	for ; i < len(text) && text[i] != end; i++ {
		c := text[i]
		switch {
		case c == '\\' && i+1 < len(text):
			i++
			buf = append(buf, text[i])
		case c == '\\':
		case charClass[c] == isSpace:
			buf = append(buf, ' ')
		default:
			buf = append(buf, c)
		}
	}
	return string(buf), min(i+1, len(text))
}

// word reads an atom. What stands behind a backslash is taken as it is; if
// the result could not be written as an atom, it is a quoted string.
func word(text string, i int) (t token, next int) {
	start := i
	for i < len(text) && !endsAtom(text[i]) {
		i++
	}
	if i == len(text) || text[i] != '\\' {
		return asWord(text[start:i]), i
	}
	buf := []byte(text[start:i])
	for ; i < len(text); i++ {
		c := text[i]
		if c == '\\' {
			if i+1 < len(text) {
				i++
				if c = text[i]; charClass[c] == isSpace {
					c = ' '
				}
				buf = append(buf, c)
			}
			continue
		}
		if endsAtom(c) {
			break
		}
		buf = append(buf, c)
	}
	return asWord(string(buf)), i
}

func endsAtom(c byte) bool { return charClass[c] == isSpace || charClass[c] == isOperator }

func asWord(text string) token {
	for i := 0; i < len(text); i++ {
		if charClass[text[i]] != 0 {
			return token{kind: quoted, text: text}
		}
	}
	return token{kind: atom, text: text}
}

// internal writes tokens as an address in internal form.
func internal(tokens []token) string {
	if len(tokens) == 1 {
		return tokens[0].text
	}
	var b strings.Builder
	for i, t := range tokens {
		if i > 0 && !t.tight {
			before := tokens[i-1]
			if before.kind != operator && t.kind != operator || before.is(',') || t.is('<') {
				b.WriteByte(' ')
			}
		}
		b.WriteString(t.text)
	}
	return b.String()
}

// first and last return the index of an operator, -1 if there is none.
func first(tokens []token, c byte) int {
	for i, t := range tokens {
		if t.is(c) {
			return i
		}
	}
	return -1
}

func last(tokens []token, c byte) int {
	for i := len(tokens) - 1; i >= 0; i-- {
		if tokens[i].is(c) {
			return i
		}
	}
	return -1
}
