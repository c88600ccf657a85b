package table

import (
	"fmt"
	"strings"
)

// isListSeparator tells the bytes between the items of a list: comma and
// blanks.
func isListSeparator(c byte) bool {
	return c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n'
}

// SplitList splits a list of tables or patterns at commas and blanks outside
// of balanced braces (spec config §9.1, "brace").
func SplitList(text string) []string {
	var items []string
	for {
		item, rest := NextItem(text)
		if item == "" {
			return items
		}
		items = append(items, item)
		text = rest
	}
}

// NextItem cuts the first item off a list. item is empty at the end.
func NextItem(text string) (item, rest string) {
	for text != "" && isListSeparator(text[0]) {
		text = text[1:]
	}
	depth := 0
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '{':
			depth++
		case c == '}' && depth > 0:
			depth--
		case depth == 0 && isListSeparator(c):
			return text[:i], text[i+1:]
		}
	}
	return text, ""
}

// Unbrace returns what stands between the braces around text, without blanks
// at its ends. The error names what is wrong, without a prefix.
func Unbrace(text string) (string, error) {
	if !strings.HasPrefix(text, "{") {
		return "", fmt.Errorf("no '{' at start of text in \"%s\"", text)
	}
	depth := 0
	for i := 0; i < len(text); i++ {
		switch text[i] {
		case '{':
			depth++
		case '}':
			if depth--; depth == 0 {
				if TrimSpace(text[i+1:]) != "" {
					return "", fmt.Errorf("syntax error after '}' in \"%s\"", text)
				}
				return TrimSpace(text[1:i]), nil
			}
		}
	}
	return "", fmt.Errorf("missing '}' in \"%s\"", text)
}
