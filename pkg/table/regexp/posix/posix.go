package posix

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"
)

// A Regexp is a compiled pattern. It is safe for concurrent use.
type Regexp struct {
	groups int
	tree   *node
	flags  Flags
	engine *regexp.Regexp // nil: the backtracking matcher
}

// ErrLimit is returned by Match for a pattern that takes too long on a text.
var ErrLimit = errors.New("regular expression takes too many steps")

// Compile parses a pattern. Errors are in the words of the C library.
func Compile(pattern string, flags Flags) (*Regexp, error) {
	tree, p, err := parse(pattern, flags)
	if err != nil {
		return nil, err
	}
	r := &Regexp{groups: p.groups, tree: tree, flags: flags}
	if !p.odd {
		var b strings.Builder
		translate(&b, tree, flags)
		// What is too large for the engine is left to the other matcher.
		if engine, err := regexp.Compile(b.String()); err == nil {
			engine.Longest()
			r.engine = engine
		}
	}
	return r, nil
}

// Groups is the number of parenthesized groups.
func (r *Regexp) Groups() int { return r.groups }

// Pattern is the pattern in the syntax of Go's regexp package, "" where it
// cannot be said there.
func (r *Regexp) Pattern() string {
	if r.engine == nil {
		return ""
	}
	return r.engine.String()
}

// Match finds the leftmost longest match in text. It returns pairs of offsets
// for the whole match and each group, -1 for an unset group; nil: no match.
func (r *Regexp) Match(text string) ([]int, error) {
	if r.engine == nil {
		return r.backtrack(text)
	}
	if ascii(text) {
		return r.engine.FindStringSubmatchIndex(text), nil
	}
	// The engine reads runes: let each byte be one.
	wide := make([]byte, 0, 2*len(text))
	for i := 0; i < len(text); i++ {
		wide = utf8.AppendRune(wide, rune(text[i]))
	}
	loc := r.engine.FindSubmatchIndex(wide)
	narrow(loc, text)
	return loc, nil
}

// Matches says whether a pattern matches, without its groups.
func (r *Regexp) Matches(text string) (bool, error) {
	if r.engine != nil && ascii(text) {
		return r.engine.MatchString(text), nil
	}
	loc, err := r.Match(text)
	return loc != nil, err
}

// narrow turns offsets in the widened text into offsets in the text.
func narrow(loc []int, text string) {
	for i, at := range loc {
		if at < 0 {
			continue
		}
		n := 0
		for ; at > 0; n++ {
			at--
			if text[n] >= utf8.RuneSelf {
				at--
			}
		}
		loc[i] = n
	}
}

func ascii(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// translate writes a tree as a pattern of Go's regexp package.
func translate(b *strings.Builder, n *node, flags Flags) {
	switch n.op {
	case opEmpty:
		b.WriteString("(?:)")
	case opSet:
		translateSet(b, &n.set)
	case opCat:
		for _, s := range n.subs {
			translate(b, s, flags)
		}
	case opAlt:
		b.WriteString("(?:")
		for i, s := range n.subs {
			if i > 0 {
				b.WriteByte('|')
			}
			translate(b, s, flags)
		}
		b.WriteByte(')')
	case opRepeat:
		b.WriteString("(?:")
		translate(b, n.subs[0], flags)
		b.WriteByte(')')
		switch {
		case n.min == 0 && n.max < 0:
			b.WriteByte('*')
		case n.min == 1 && n.max < 0:
			b.WriteByte('+')
		case n.max < 0:
			fmt.Fprintf(b, "{%d,}", n.min)
		default:
			fmt.Fprintf(b, "{%d,%d}", n.min, n.max)
		}
	case opGroup:
		b.WriteByte('(')
		translate(b, n.subs[0], flags)
		b.WriteByte(')')
	case opBegin:
		b.WriteString(ifElse(flags&Newline != 0, `(?m:^)`, `\A`))
	case opEnd:
		b.WriteString(ifElse(flags&Newline != 0, `(?m:$)`, `\z`))
	case opTextBegin:
		b.WriteString(`\A`)
	case opTextEnd:
		b.WriteString(`\z`)
	case opWordEdge:
		b.WriteString(`\b`)
	case opNoEdge:
		b.WriteString(`\B`)
	}
}

func ifElse(condition bool, yes, no string) string {
	if condition {
		return yes
	}
	return no
}

func translateSet(b *strings.Builder, s *set) {
	b.WriteByte('[')
	empty := true
	for c := 0; c < 256; c++ {
		if !s.has(byte(c)) {
			continue
		}
		end := c
		for end < 255 && s.has(byte(end+1)) {
			end++
		}
		fmt.Fprintf(b, `\x{%x}-\x{%x}`, c, end)
		c, empty = end, false
	}
	if empty {
		b.WriteString(`^\x{0}-\x{10ffff}`)
	}
	b.WriteByte(']')
}
