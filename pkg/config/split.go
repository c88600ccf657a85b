package config

import "strings"

// isListSep tells the separators of a list: comma and blanks.
func isListSep(c byte) bool { return c == ',' || isListBlank(c) }

func isListBlank(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// SplitList cuts a list at commas and blanks; empty items vanish (spec config §9.1).
func SplitList(text string) []string {
	var items []string
	for i := 0; i < len(text); {
		if isListSep(text[i]) {
			i++
			continue
		}
		start := i
		for i < len(text) && !isListSep(text[i]) {
			i++
		}
		items = append(items, text[start:i])
	}
	return items
}

// SplitBrace cuts a list at commas and blanks that do not stand within { };
// an item keeps its braces.
func SplitBrace(text string) []string { return splitBrace(text, isListSep) }

// SplitBraceBlank is SplitBrace with blanks as the only separators: the
// arguments of a master.cf entry.
func SplitBraceBlank(text string) []string { return splitBrace(text, isListBlank) }

func splitBrace(text string, sep func(byte) bool) []string {
	var items []string
	for i := 0; i < len(text); {
		if sep(text[i]) {
			i++
			continue
		}
		start, depth := i, 0
		for i < len(text) && (depth > 0 || !sep(text[i])) {
			switch text[i] {
			case '{':
				depth++
			case '}':
				if depth > 0 {
					depth--
				}
			}
			i++
		}
		items = append(items, text[start:i])
	}
	return items
}

// SplitQuoted cuts a list at commas and blanks outside "..."; a backslash
// takes the next byte as it is. Quotes and backslashes stay.
func SplitQuoted(text string) []string {
	var items []string
	for i := 0; i < len(text); {
		if isListSep(text[i]) {
			i++
			continue
		}
		start, quote := i, false
		for i < len(text) && (quote || !isListSep(text[i])) {
			switch text[i] {
			case '"':
				quote = !quote
			case '\\':
				i++
			}
			i++
		}
		i = min(i, len(text))
		items = append(items, text[start:i])
	}
	return items
}

// Unwrap takes the braces and the blanks inside them off an item. A problem
// is told in Postfix's words, to be completed by the caller's prefix; inner
// is then what could be understood.
func Unwrap(item string) (inner, problem string) {
	inner, problem = unwrap(item)
	inner = strings.TrimLeft(inner, listBlanks)
	if !strings.HasPrefix(problem, "missing") { // without an end there is nothing to trim before it
		inner = strings.TrimRight(inner, listBlanks)
	}
	return inner, problem
}

const listBlanks = " \t\r\n"

// unwrap is Unwrap that keeps the blanks.
func unwrap(item string) (inner, problem string) {
	if item == "" || item[0] != '{' {
		return item, "no '{' at start of text in \"" + item + "\""
	}
	depth := 0
	for i := 0; i < len(item); i++ {
		switch item[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				if strings.Trim(item[i+1:], listBlanks) != "" {
					problem = "syntax error after '}' in \"" + item + "\""
				}
				return item[1:i], problem
			}
		}
	}
	return item[1:], "missing '}' in \"" + item + "\""
}
