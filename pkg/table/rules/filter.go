package rules

import (
	"regexp/syntax"
	"slices"
	"strings"
	"unicode/utf8"
)

// A Filter tells without running a pattern that it cannot match: every match
// contains some texts, or at least one of several, and the key does not. In a table of
// many patterns that decides nearly all. The zero value excludes nothing.
type Filter struct {
	all [][]literal // of each at least one
}

// literal is a text that a match may need, in lower case.
type literal struct {
	text  string
	grams []uint16 // of some three bytes in it
}

const (
	maxClauses  = 4  // the best of one pattern
	maxLiterals = 16 // of which one is needed
	maxGrams    = 4  // that are tested before the text is searched for
)

// NewFilter makes the filter for a pattern in the syntax of Go's regexp package.
func NewFilter(pattern string) Filter {
	re, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return Filter{}
	}
	clauses := needs(re, 0)
	slices.SortStableFunc(clauses, func(a, b clause) int { return b.value() - a.value() })
	var f Filter
	for _, c := range clauses[:min(len(clauses), maxClauses)] {
		var any []literal
		for _, text := range c {
			any = append(any, newLiteral(text))
		}
		f.all = append(f.all, any)
	}
	return f
}

func newLiteral(text string) literal {
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
	return l
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
	if t.lower == "" {
		return false
	}
	for _, any := range f.all {
		found := false
		for i := range any {
			if any[i].in(t) {
				found = true
				break
			}
		}
		if !found {
			return true
		}
	}
	return false
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

// A clause is texts in lower case of which every match contains one.
type clause []string

// value grows with what a clause is likely to exclude.
func (c clause) value() int {
	n := len(c[0])
	for _, text := range c {
		n = min(n, len(text))
	}
	return 2*n - len(c)
}

// needs returns clauses that hold for every match of re.
func needs(re *syntax.Regexp, depth int) []clause {
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
		var any clause
		for _, sub := range re.Sub {
			some := needs(sub, depth+1)
			if len(some) == 0 {
				return nil
			}
			any = append(any, slices.MaxFunc(some, func(a, b clause) int { return a.value() - b.value() })...)
			if len(any) > maxLiterals {
				return nil
			}
		}
		return []clause{any}
	}
	return nil
}

// needsOfAll collects what the parts of a sequence need, and the texts that run
// over several parts.
func needsOfAll(re *syntax.Regexp, depth int) (all []clause) {
	var run strings.Builder
	flush := func() {
		if run.Len() > 0 {
			all = append(all, clause{run.String()})
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
			all = append(all, needs(re, depth+1)...)
		}
	}
	walk(re, depth)
	flush()
	return all
}
