package rules

import (
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// A Filter tells without running a pattern that it cannot match: every match
// contains one of some texts, and the key contains none of them. In a table of
// many patterns that decides nearly all. The zero value excludes nothing.
type Filter struct {
	any []literal
}

// literal is a text that a match may need, in lower case.
type literal struct {
	text  string
	grams []uint16 // of some three bytes in it
}

const (
	maxLiterals = 16 // of one pattern
	maxGrams    = 4  // that are tested before the text is searched for
)

// NewFilter makes the filter for a pattern in the syntax of Go's regexp package.
func NewFilter(pattern string) Filter {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return Filter{}
	}
	var f Filter
	for _, text := range needs(re, 0) {
		l := literal{text: text}
		// Evenly spread, the ends included.
		count := min(len(text)-2, maxGrams)
		for i := range max(count, 0) {
			at := 0
			if count > 1 {
				at = i * (len(text) - 3) / (count - 1)
			}
			l.grams = append(l.grams, gram(text[at], text[at+1], text[at+2]))
		}
		f.any = append(f.any, l)
	}
	return f
}

// A Text is a key as filters read it.
type Text struct {
	lower string // "" where filters do not apply
	grams [64]uint64
}

// NewText prepares a key. Filters do not apply to one that is not all ASCII:
// other letters may be the same as an ASCII one but for case.
func NewText(key string) *Text {
	for i := 0; i < len(key); i++ {
		if key[i] >= utf8.RuneSelf {
			return &Text{}
		}
	}
	t := &Text{lower: strings.ToLower(key)}
	for i := 0; i+2 < len(t.lower); i++ {
		g := gram(t.lower[i], t.lower[i+1], t.lower[i+2])
		t.grams[g>>6] |= 1 << (g & 63)
	}
	return t
}

// gram maps three bytes to a bit of 4096.
func gram(a, b, c byte) uint16 {
	return uint16((uint32(a)*0x9E3779B1 ^ uint32(b)*0x85EBCA6B ^ uint32(c)*0xC2B2AE35) >> 20)
}

// Excludes says that the pattern does not match t.
func (f *Filter) Excludes(t *Text) bool {
	if len(f.any) == 0 || t.lower == "" {
		return false
	}
	for i := range f.any {
		if f.any[i].in(t) {
			return false
		}
	}
	return true
}

func (l *literal) in(t *Text) bool {
	for _, g := range l.grams {
		if t.grams[g>>6]&(1<<(g&63)) == 0 {
			return false
		}
	}
	return strings.Contains(t.lower, l.text)
}

// maxDepth limits the depth to which a pattern is searched for texts.
const maxDepth = 100

// needs returns texts of which every match of re contains one; nil: there are
// none, or too many.
func needs(re *syntax.Regexp, depth int) []string {
	if depth > maxDepth {
		return nil
	}
	switch re.Op {
	case syntax.OpLiteral, syntax.OpConcat:
		return needsOfAll(re, depth)
	case syntax.OpCapture, syntax.OpPlus:
		return needs(re.Sub[0], depth+1)
	case syntax.OpRepeat:
		if re.Min > 0 {
			return needs(re.Sub[0], depth+1)
		}
	case syntax.OpAlternate:
		var all []string
		for _, sub := range re.Sub {
			some := needs(sub, depth+1)
			if some == nil || len(all)+len(some) > maxLiterals {
				return nil
			}
			all = append(all, some...)
		}
		return all
	}
	return nil
}

// needsOfAll chooses the best of what the parts of a sequence need: a text
// that runs over several parts, or what one part needs.
func needsOfAll(re *syntax.Regexp, depth int) (best []string) {
	var run strings.Builder
	offer := func(texts []string) {
		if better(texts, best) {
			best = texts
		}
	}
	flush := func() {
		if run.Len() > 0 {
			offer([]string{run.String()})
			run.Reset()
		}
	}
	var walk func(re *syntax.Regexp, depth int)
	walk = func(re *syntax.Regexp, depth int) {
		switch re.Op {
		case syntax.OpConcat, syntax.OpCapture:
			if depth > maxDepth {
				flush()
				return
			}
			for _, sub := range re.Sub {
				walk(sub, depth+1)
			}
		case syntax.OpLiteral:
			for _, r := range re.Rune {
				switch {
				case r >= utf8.RuneSelf:
					flush()
				case 'A' <= r && r <= 'Z':
					run.WriteByte(byte(r) + 'a' - 'A')
				default:
					run.WriteByte(byte(r))
				}
			}
		case syntax.OpEmptyMatch, syntax.OpBeginLine, syntax.OpEndLine, syntax.OpBeginText, syntax.OpEndText,
			syntax.OpWordBoundary, syntax.OpNoWordBoundary:
			// They take no room.
		default:
			flush()
			offer(needs(re, depth+1))
		}
	}
	walk(re, depth)
	flush()
	return best
}

// better prefers the longer text, and one to many.
func better(a, b []string) bool {
	if len(a) == 0 || len(b) == 0 {
		return len(a) > 0
	}
	return shortest(a)*2-len(a) > shortest(b)*2-len(b)
}

func shortest(texts []string) int {
	n := len(texts[0])
	for _, text := range texts {
		n = min(n, len(text))
	}
	return n
}
