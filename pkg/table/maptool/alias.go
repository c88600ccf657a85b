package maptool

import (
	"errors"
	"strings"
)

// Errors of alias lines.
var (
	errNoPair = errors.New("need name:value pair")
	errDomain = errors.New("name must be local and have no domain")
	errLocal  = errors.New("name must be local") // 3.7
)

type tokenKind int

const (
	atom tokenKind = iota
	quotedString
	comment
	domainLiteral
	operator
)

type token struct {
	kind tokenKind
	text string // without quotes and brackets; a comment with its parentheses
}

const operators = "|%!()<>@,;:\".[]"

// parseAlias splits an alias line into the key and value that are stored. Both
// are empty for a line without tokens. old gives the keys of Postfix 3.7.
func parseAlias(line string, old bool) (key, value string, err error) {
	tokens := tokenize(line)
	if len(tokens) == 0 {
		return "", "", nil
	}
	colon := -1
	for i, t := range tokens {
		if t.kind == operator && t.text == ":" {
			colon = i
			break
		}
	}
	if colon < 1 || colon == len(tokens)-1 {
		return "", "", errNoPair
	}
	name := tokens[:colon]
	for _, t := range name {
		if t.kind == operator && t.text == "," {
			return "", "", errNoPair
		}
	}
	for _, t := range name {
		if t.kind == operator && (t.text == "@" || t.text == "%") {
			if old {
				return "", "", errLocal
			}
			return "", "", errDomain
		}
	}
	return format(name, old), format(tokens[colon+1:], false), nil
}

func space(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// tokenize splits text as RFC 822 does.
func tokenize(text string) []token {
	var tokens []token
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case space(c):
			i++
		case c == '(':
			body, next := commentText(text, i)
			tokens = append(tokens, token{comment, body})
			i = next
		case c == '[':
			body, next := delimited(text, i+1, ']')
			tokens = append(tokens, token{domainLiteral, body})
			i = next
		case c == '"':
			body, next := delimited(text, i+1, '"')
			tokens = append(tokens, token{quotedString, body})
			i = next
		case strings.IndexByte(operators, c) >= 0:
			tokens = append(tokens, token{operator, string(c)})
			i++
		default:
			body, next := atomText(text, i)
			kind := atom
			if special(body) {
				kind = quotedString
			}
			tokens = append(tokens, token{kind, body})
			i = next
		}
	}
	return tokens
}

// delimited reads up to a closing byte; a backslash protects the next byte.
func delimited(text string, i int, closing byte) (body string, next int) {
	var b strings.Builder
	for ; i < len(text); i++ {
		c := text[i]
		switch {
		case c == closing:
			return b.String(), i + 1
		case c == '\\' && i+1 == len(text):
			continue
		case c == '\\':
			i++
			c = text[i]
		case space(c):
			c = ' '
		}
		b.WriteByte(c)
	}
	return b.String(), i
}

// commentText reads a nested comment, with its parentheses and backslashes.
func commentText(text string, i int) (body string, next int) {
	var b strings.Builder
	depth := 0
	for ; i < len(text); i++ {
		c := text[i]
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '\\' && i+1 < len(text):
			b.WriteByte(c)
			i++
			c = text[i]
		case space(c):
			c = ' '
		}
		b.WriteByte(c)
		if depth == 0 {
			return b.String(), i + 1
		}
	}
	return b.String(), i
}

func atomText(text string, i int) (body string, next int) {
	var b strings.Builder
	for ; i < len(text) && !space(text[i]) && strings.IndexByte(operators, text[i]) < 0; i++ {
		if text[i] == '\\' {
			if i++; i == len(text) {
				break
			}
		}
		b.WriteByte(text[i])
	}
	return b.String(), i
}

// special says whether an atom can only be written in quotes.
func special(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] <= ' ' || s[i] == 0x7f || strings.IndexByte(operators, s[i]) >= 0 {
			return true
		}
	}
	return false
}

// format writes tokens in external form, or in internal form: without quotes
// and backslashes.
func format(tokens []token, internal bool) string {
	var b strings.Builder
	wordBefore := false
	for _, t := range tokens {
		word := t.kind != operator
		if wordBefore && (word || t.text == "<") {
			b.WriteByte(' ')
		}
		switch t.kind {
		case quotedString:
			if internal {
				b.WriteString(t.text)
			} else {
				b.WriteByte('"')
				escape(&b, t.text, "\"\\\r\n")
				b.WriteByte('"')
			}
		case domainLiteral:
			b.WriteByte('[')
			if internal {
				b.WriteString(t.text)
			} else {
				escape(&b, t.text, "\\\r\n")
			}
			b.WriteByte(']')
		default:
			b.WriteString(t.text)
			if t.kind == operator && t.text == "," {
				b.WriteByte(' ')
			}
		}
		wordBefore = word
	}
	return b.String()
}

func escape(b *strings.Builder, text, set string) {
	for i := 0; i < len(text); i++ {
		if strings.IndexByte(set, text[i]) >= 0 {
			b.WriteByte('\\')
		}
		b.WriteByte(text[i])
	}
}
