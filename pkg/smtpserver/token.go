package smtpserver

import "strings"

// A token is one word of a command line (spec smtpd §5).
type token struct {
	text string
	bad  bool // a quote or bracket is not closed
}

// tokenize splits a command line into words. "<…>" and quoted strings are kept
// together, with their delimiters. "to:" and "from:" end a word right after
// the colon.
func tokenize(line string) []token {
	var tokens []token
	for pos := 0; ; {
		for pos < len(line) && isBlank(line[pos]) {
			pos++
		}
		if pos >= len(line) {
			return tokens
		}
		end, bad := tokenEnd(line, pos)
		tokens = append(tokens, token{text: line[pos:end], bad: bad})
		pos = end
	}
}

func isBlank(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

// tokenEnd returns the end of the word that begins at start.
func tokenEnd(line string, start int) (end int, bad bool) {
	pos := start
	for pos < len(line) && !isBlank(line[pos]) {
		switch line[pos] {
		case '<':
			var closed bool
			if pos, closed = skipAngle(line, pos); !closed {
				return pos, true
			}
		case '"':
			var closed bool
			if pos, closed = skipQuoted(line, pos); !closed {
				return pos, true
			}
		case '\\':
			pos = min(pos+2, len(line))
		case ':':
			pos++
			if word := line[start:pos]; strings.EqualFold(word, "to:") || strings.EqualFold(word, "from:") {
				return pos, false
			}
		default:
			pos++
		}
	}
	return pos, false
}

// skipAngle returns the position behind the ">" that closes the "<" at pos.
func skipAngle(line string, pos int) (int, bool) {
	depth := 0
	for pos < len(line) {
		switch line[pos] {
		case '<':
			depth++
		case '>':
			if depth--; depth == 0 {
				return pos + 1, true
			}
		case '"':
			var closed bool
			if pos, closed = skipQuoted(line, pos); !closed {
				return pos, false
			}
			continue
		case '\\':
			pos++
		}
		pos++
	}
	return len(line), false
}

// skipQuoted returns the position behind the quote that closes the one at pos.
func skipQuoted(line string, pos int) (int, bool) {
	for pos++; pos < len(line); pos++ {
		switch line[pos] {
		case '"':
			return pos + 1, true
		case '\\':
			pos++
		}
	}
	return len(line), false
}
