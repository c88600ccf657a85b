package table

import (
	"sort"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Fold folds the case of a key. With full set, text that is not all ASCII
// gets Unicode full case folding; otherwise only ASCII letters change
// (spec tables §2.4).
func Fold(s string, full bool) string {
	if full && !isASCII(s) {
		return foldUnicode(s)
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

func foldUnicode(s string) string {
	var b strings.Builder
	b.Grow(len(s) + 4)
	for i, r := range s {
		switch {
		case r < utf8.RuneSelf:
			if 'A' <= r && r <= 'Z' {
				r += 'a' - 'A'
			}
			b.WriteByte(byte(r))
			continue
		case r == utf8.RuneError:
			_, size := utf8.DecodeRuneInString(s[i:])
			b.WriteString(s[i : i+size])
			continue
		case 0x13a0 <= r && r <= 0x13f5: // Cherokee folds to capitals
			b.WriteRune(r)
			continue
		case 0x13f8 <= r && r <= 0x13fd:
			b.WriteRune(r - 8)
			continue
		case 0xab70 <= r && r <= 0xabbf:
			b.WriteRune(r - 0xab70 + 0x13a0)
			continue
		}
		at := sort.Search(len(folds), func(i int) bool { return folds[i].letter >= r })
		if at < len(folds) && folds[at].letter == r {
			b.WriteString(folds[at].to)
		} else {
			b.WriteRune(unicode.ToLower(r))
		}
	}
	return b.String()
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
