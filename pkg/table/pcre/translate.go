package pcre

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"suffix/pkg/table/rules"
)

// A syntaxError is a fault of a pattern, in the words of PCRE2.
type syntaxError struct {
	offset int
	text   string
}

func (e *syntaxError) Error() string {
	return fmt.Sprintf("error in regex at offset %d: %s", e.offset, e.text)
}

// errUnsupported: PCRE accepts the pattern, we do not.
var errUnsupported = errors.New("is not supported")

func unsupported(what string) error { return fmt.Errorf("%s %w", what, errUnsupported) }

// options of a pattern at one place in it.
type options struct {
	extended  bool // x
	multiline bool // m
	ungreedy  bool // U
	caseless  bool // i
}

// translator rewrites a PCRE pattern for one of the two engines: Go's regexp,
// which takes linear time, or regexp2, which has what is beyond regular
// expressions. Bytes above 127 become characters of the private use area, so
// that none of them is a letter.
type translator struct {
	text      string
	pos       int
	out       buffer
	backtrack bool // for regexp2
	irregular bool // needs regexp2
	utf       bool // (*UTF)
	endOnly   bool // $ matches at the very end only

	opt    options
	groups int // opened so far
	total  int // in the whole pattern, -1: not known
	names  map[string]int
	known  map[string]int // names of the whole pattern, when known
	depth  int
	atom   int  // where the thing that a quantifier applies to begins in out; -1: none
	anchor bool // that thing is an anchor
	resets bool // (?| is used: groups need explicit numbers

	missing error // the first reference to a group that does not exist
}

const maxNesting = 250

func (t *translator) fail(offset int, text string) error { return &syntaxError{offset, text} }

func (t *translator) more() bool { return t.pos < len(t.text) }

func (t *translator) looking(at string) bool { return strings.HasPrefix(t.text[t.pos:], at) }

func (t *translator) accept(at string) bool {
	if t.looking(at) {
		t.pos += len(at)
		return true
	}
	return false
}

// char returns the character at pos and its length.
func (t *translator) char() (rune, int) {
	if t.utf {
		return utf8.DecodeRuneInString(t.text[t.pos:])
	}
	return byteRune(t.text[t.pos]), 1
}

// byteRune is the character that stands for a byte.
func byteRune(c byte) rune {
	if c < utf8.RuneSelf {
		return rune(c)
	}
	return privateUse + rune(c)
}

const privateUse = 0xf000

// code is the character with a number, as in \xHH.
func (t *translator) code(n int) rune {
	if !t.utf && n < 256 {
		return byteRune(byte(n))
	}
	return rune(n)
}

// literal writes a character so that it stands for itself.
func literal(b *buffer, r rune) {
	switch {
	case r >= utf8.RuneSelf:
		b.WriteRune(r)
	case rules.Alphanumeric(byte(r)):
		b.put(byte(r))
	default:
		fmt.Fprintf(b, `\x%02x`, r)
	}
}

func (t *translator) begin(anchor bool) { t.atom, t.anchor = t.out.Len(), anchor }

// run translates the whole pattern.
func (t *translator) run() error {
	for {
		switch {
		case t.accept("(*UTF8)"), t.accept("(*UTF)"):
			t.utf = true
			continue
		case t.accept("(*UCP)"), t.accept("(*ANYCRLF)"), t.accept("(*LF)"), t.accept("(*ANY)"),
			t.accept("(*NO_JIT)"), t.accept("(*NO_START_OPT)"), t.accept("(*NO_AUTO_POSSESS)"):
			continue
		}
		break
	}
	if t.utf && !utf8.ValidString(t.text) {
		return t.fail(0, "UTF-8 error: malformed pattern")
	}
	if err := t.alternatives(); err != nil {
		return err
	}
	if t.more() {
		return t.fail(t.pos, "unmatched closing parenthesis")
	}
	return t.missing
}

// alternatives translates up to the closing parenthesis or the end.
func (t *translator) alternatives() error {
	if t.depth++; t.depth > maxNesting {
		return t.fail(t.pos, "parentheses are too deeply nested")
	}
	defer func(before options) { t.depth, t.opt = t.depth-1, before }(t.opt)
	t.atom = -1
	for t.more() && t.text[t.pos] != ')' {
		if t.accept("|") {
			t.out.put('|')
			t.atom = -1
			continue
		}
		if err := t.piece(); err != nil {
			return err
		}
	}
	return nil
}

func (t *translator) piece() error {
	c := t.text[t.pos]
	if t.opt.extended {
		if strings.IndexByte(" \t\n\v\f\r", c) >= 0 {
			t.pos++
			return nil
		}
		if c == '#' {
			if end := strings.IndexByte(t.text[t.pos:], '\n'); end >= 0 {
				t.pos += end + 1
			} else {
				t.pos = len(t.text)
			}
			return nil
		}
	}
	switch c {
	case '\\':
		return t.escape()
	case '[':
		if t.accept("[[:<:]]") {
			t.irregular = true
			t.begin(true)
			t.out.WriteString(`\b(?=\w)`)
			return nil
		}
		if t.accept("[[:>:]]") {
			t.irregular = true
			t.begin(true)
			t.out.WriteString(`\b(?<=\w)`)
			return nil
		}
		if _, ok := t.posixName(); ok {
			return t.fail(t.pos, "POSIX named classes are supported only within a class")
		}
		t.begin(false)
		return t.class()
	case '(':
		return t.group()
	case '*', '+', '?':
		t.pos++
		return t.quantifier(string(c))
	case '{':
		if text, ok := t.braces(); ok {
			t.pos += len(text)
			if lo, hi, found := strings.Cut(text[1:len(text)-1], ","); found && hi != "" {
				a, _ := strconv.Atoi(lo)
				b, _ := strconv.Atoi(hi)
				if b < a {
					return t.fail(t.pos-1, "numbers out of order in {} quantifier")
				}
			}
			return t.quantifier(text)
		}
	case '^':
		t.pos++
		t.begin(true)
		t.out.put('^')
		return nil
	case '$':
		t.pos++
		t.dollar()
		return nil
	case '.':
		t.pos++
		t.begin(false)
		t.out.put('.')
		return nil
	}
	r, size := t.char()
	t.pos += size
	t.begin(false)
	literal(&t.out, r)
	return nil
}

// dollar writes "$".
func (t *translator) dollar() {
	t.begin(true)
	switch {
	case t.opt.multiline:
		t.out.put('$')
	case t.endOnly:
		t.out.WriteString(`\z`)
	default:
		t.endOrNewline()
	}
}

// endOrNewline writes what matches at the end, and before a newline there.
func (t *translator) endOrNewline() {
	if t.backtrack {
		t.out.WriteString(`\Z`)
	} else {
		t.out.WriteString(`(?:\n?\z)`)
	}
}

// braces returns the quantifier at pos, if "{" begins one.
func (t *translator) braces() (string, bool) {
	end := strings.IndexByte(t.text[t.pos:], '}')
	if end < 0 {
		return "", false
	}
	text := t.text[t.pos : t.pos+end+1]
	lo, hi, comma := strings.Cut(text[1:end], ",")
	if lo == "" || len(lo) > 5 || len(hi) > 5 || strings.Trim(lo+hi, "0123456789") != "" || !comma && hi != "" {
		return "", false
	}
	return text, true
}

// quantifier applies q to the thing before it.
func (t *translator) quantifier(q string) error {
	if t.atom < 0 || t.anchor {
		return t.fail(t.pos-1, "quantifier does not follow a repeatable item")
	}
	lazy, possessive := t.opt.ungreedy, false
	if t.accept("?") {
		lazy = !lazy
	} else if t.accept("+") {
		possessive, lazy = true, false
	}
	start := t.atom
	t.out.WriteString(q)
	if lazy {
		t.out.put('?')
	}
	if possessive {
		t.irregular = true
		t.out.insert(start, "(?>")
		t.out.put(')')
	}
	t.atom, t.anchor = -1, false
	return nil
}

// translate translates a pattern: for regexp2 if general is set or the pattern
// needs it, else for Go's engine.
func translate(text string, opt options, endOnly, general bool) (*translator, error) {
	pass := func(backtrack bool, total int, names map[string]int, resets bool) (*translator, error) {
		t := &translator{text: text, backtrack: backtrack, endOnly: endOnly, opt: opt, total: total,
			known: names, names: make(map[string]int), atom: -1, resets: resets}
		return t, t.run()
	}
	first, err := pass(false, -1, nil, false) // finds the groups
	if err != nil {
		return nil, err
	}
	t, err := pass(general || first.irregular, first.groups, first.names, first.resets)
	if err == nil && t.irregular && !t.backtrack {
		t, err = pass(true, first.groups, first.names, first.resets)
	}
	return t, err
}

// buffer collects the translation.
type buffer struct{ b []byte }

func (b *buffer) Write(p []byte) (int, error) {
	b.b = append(b.b, p...)
	return len(p), nil
}
func (b *buffer) WriteString(s string)    { b.b = append(b.b, s...) }
func (b *buffer) put(c byte)              { b.b = append(b.b, c) }
func (b *buffer) WriteRune(r rune)        { b.b = utf8.AppendRune(b.b, r) }
func (b *buffer) Len() int                { return len(b.b) }
func (b *buffer) String() string          { return string(b.b) }
func (b *buffer) insert(at int, s string) { b.b = slices.Insert(b.b, at, []byte(s)...) }
