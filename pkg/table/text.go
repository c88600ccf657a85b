package table

import (
	"unicode/utf8"

	"golang.org/x/text/cases"
)

// Fold folds the case of a key. With unicode set, text that is not all ASCII
// gets Unicode full case folding; otherwise only ASCII letters change
// (spec tables §2.4).
func Fold(s string, unicode bool) string {
	if unicode && !isASCII(s) {
		return cases.Fold().String(s)
	}
	for i := 0; i < len(s); i++ {
		if 'A' <= s[i] && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if 'A' <= b[i] && b[i] <= 'Z' {
					b[i] += 'a' - 'A'
				}
			}
			return string(b)
		}
	}
	return s
}

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// IsSpace is C's isspace in ASCII, Postfix's "whitespace".
func IsSpace(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' }

// TrimSpace removes whitespace at both ends.
func TrimSpace(s string) string {
	for s != "" && IsSpace(s[0]) {
		s = s[1:]
	}
	return TrimRight(s)
}

// TrimRight removes whitespace at the end.
func TrimRight(s string) string {
	for s != "" && IsSpace(s[len(s)-1]) {
		s = s[:len(s)-1]
	}
	return s
}
