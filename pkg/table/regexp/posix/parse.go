// Package posix matches POSIX regular expressions, extended and basic, as the C
// library of Linux does in the C locale: on bytes, leftmost longest, with back
// references and the word operators of GNU.
//
// Most patterns run on the linear-time engine of Go's regexp package. Those
// with back references or word boundaries that it does not have run on a
// backtracking matcher with a limit on its work.
package posix

import (
	"maps"
	"strings"
)

// Flags of a pattern.
type Flags uint

const (
	Basic    Flags = 1 << iota // basic, not extended, syntax
	FoldCase                   // ASCII letters match in both cases
	Newline                    // newline ends lines: for ^ $ . and [^...]
)

// A syntaxError is in the words of the C library.
type syntaxError string

func (e syntaxError) Error() string { return string(e) }

const (
	errBracket   = syntaxError("Unmatched [, [^, [:, [., or [=")
	errEndOpen   = syntaxError("Invalid regular expression")
	errRange     = syntaxError("Invalid range end")
	errClass     = syntaxError("Invalid character class name")
	errCollation = syntaxError("Invalid collation character")
	errParen     = syntaxError("Unmatched ( or \\(")
	errRepeat    = syntaxError("Invalid preceding regular expression")
	errBrace     = syntaxError("Unmatched \\{")
	errBraceText = syntaxError("Invalid content of \\{\\}")
	errBackref   = syntaxError("Invalid back reference")
	errBackslash = syntaxError("Trailing backslash")
	errTooBig    = syntaxError("Regular expression too big")
)

const (
	maxRepeat = 32767
	maxDepth  = 250
)

type op uint8

const (
	opEmpty op = iota
	opSet
	opCat
	opAlt
	opRepeat
	opGroup
	opBackref
	opBegin     // ^
	opEnd       // $
	opTextBegin // \`
	opTextEnd   // \'
	opWordEdge  // \b
	opNoEdge    // \B
	opWordBegin // \<
	opWordEnd   // \>
)

type set [4]uint64

func (s *set) add(c byte)      { s[c>>6] |= 1 << (c & 63) }
func (s *set) has(c byte) bool { return s[c>>6]&(1<<(c&63)) != 0 }
func (s *set) invert() {
	for i := range s {
		s[i] = ^s[i]
	}
}

type node struct {
	op       op
	subs     []*node
	set      set
	n        int // group, back reference
	min, max int // of opRepeat; max -1: no limit
}

type parser struct {
	text   string
	pos    int
	flags  Flags
	groups int
	closed map[int]bool // groups that are complete: back references are valid
	depth  int
	odd    bool // needs the backtracking matcher
}

func parse(text string, flags Flags) (*node, *parser, error) {
	p := &parser{text: text, flags: flags, closed: make(map[int]bool)}
	n, err := p.alternation(false)
	if err == nil && p.pos < len(p.text) {
		err = errParen // only basic syntax stops before the end
	}
	return n, p, err
}

func (p *parser) basic() bool { return p.flags&Basic != 0 }

func (p *parser) more() bool { return p.pos < len(p.text) }

func (p *parser) looking(at string) bool { return strings.HasPrefix(p.text[p.pos:], at) }

// operator says whether the operator that is written c in extended and \c in
// basic syntax comes next, and skips it.
func (p *parser) operator(c byte) bool {
	if p.basic() {
		if p.pos+1 < len(p.text) && p.text[p.pos] == '\\' && p.text[p.pos+1] == c {
			p.pos += 2
			return true
		}
		return false
	}
	if p.more() && p.text[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *parser) alternation(inGroup bool) (*node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, errTooBig
	}
	defer func() { p.depth-- }()
	alt := &node{op: opAlt}
	// A back reference cannot refer to a group of another branch.
	before := p.closed
	all := maps.Clone(before)
	defer func() { p.closed = all }()
	for {
		p.closed = maps.Clone(before)
		n, err := p.branch(inGroup)
		if err != nil {
			return nil, err
		}
		alt.subs = append(alt.subs, n)
		maps.Copy(all, p.closed)
		if !p.operator('|') {
			break
		}
	}
	if len(alt.subs) == 1 {
		return alt.subs[0], nil
	}
	return alt, nil
}

// branchEnds looks ahead for what ends a branch.
func (p *parser) branchEnds(inGroup bool) bool {
	if !p.more() {
		return true
	}
	if p.basic() {
		return p.looking(`\|`) || p.looking(`\)`)
	}
	return p.text[p.pos] == '|' || inGroup && p.text[p.pos] == ')'
}

func (p *parser) branch(inGroup bool) (*node, error) {
	cat := &node{op: opCat}
	for first := true; !p.branchEnds(inGroup); first = false {
		n, err := p.atom(first)
		if err != nil {
			return nil, err
		}
		for {
			repeated, ok, err := p.repeat(n)
			if err != nil {
				return nil, err
			}
			if !ok {
				break
			}
			n = repeated
		}
		cat.subs = append(cat.subs, n)
	}
	switch len(cat.subs) {
	case 0:
		return &node{op: opEmpty}, nil
	case 1:
		return cat.subs[0], nil
	}
	return cat, nil
}

// repeat parses one repetition operator behind n.
func (p *parser) repeat(n *node) (*node, bool, error) {
	anchor := n.op >= opBegin
	if p.basic() && anchor && !p.looking(`\{`) {
		return nil, false, nil // an ordinary character at the start
	}
	if p.basic() && n.op == opRepeat && (p.looking("*") || p.looking(`\{`)) {
		return nil, false, errRepeat
	}
	lo, hi := 0, -1
	switch {
	case p.more() && p.text[p.pos] == '*':
		p.pos++
	case p.operator('+'):
		lo = 1
	case p.operator('?'):
		hi = 1
	case p.operator('{'):
		if anchor {
			return nil, false, errRepeat
		}
		var err error
		if lo, hi, err = p.bounds(); err != nil {
			return nil, false, err
		}
	default:
		return nil, false, nil
	}
	if anchor {
		return nil, false, errRepeat
	}
	return &node{op: opRepeat, subs: []*node{n}, min: lo, max: hi}, true, nil
}

// bounds parses "m}", "m,}", ",n}" or "m,n}".
func (p *parser) bounds() (lo, hi int, err error) {
	closing := "}"
	if p.basic() {
		closing = `\}`
	}
	lo = p.number()
	hi = lo
	if p.looking(",") {
		p.pos++
		hi = p.number()
		lo = max(lo, 0)
	}
	if lo < 0 || !p.looking(closing) {
		for ; p.more(); p.pos++ {
			if p.looking(closing) {
				return 0, 0, errBraceText
			}
			if p.text[p.pos] == '\\' {
				p.pos++
			}
		}
		return 0, 0, errBrace
	}
	p.pos += len(closing)
	if hi >= 0 && hi < lo {
		return 0, 0, errBraceText
	}
	if lo > maxRepeat || hi > maxRepeat {
		return 0, 0, errTooBig
	}
	return lo, hi, nil
}

func (p *parser) number() int {
	n := -1
	for p.more() && '0' <= p.text[p.pos] && p.text[p.pos] <= '9' {
		n = min(max(n, 0)*10+int(p.text[p.pos]-'0'), maxRepeat+1)
		p.pos++
	}
	return n
}

func (p *parser) literal(c byte) *node {
	n := &node{op: opSet}
	n.set.add(c)
	p.fold(&n.set)
	return n
}

func (p *parser) fold(s *set) {
	if p.flags&FoldCase == 0 {
		return
	}
	for c := byte('a'); c <= 'z'; c++ {
		if upper := c - 'a' + 'A'; s.has(c) || s.has(upper) {
			s.add(c)
			s.add(upper)
		}
	}
}

// atom parses one thing that may be repeated. first: it begins its branch.
func (p *parser) atom(first bool) (*node, error) {
	if p.operator('(') {
		return p.group()
	}
	c := p.text[p.pos]
	switch c {
	case '*':
		if !p.basic() {
			return nil, errRepeat
		}
	case '+', '?', '{':
		if !p.basic() {
			return nil, errRepeat
		}
	case '\\':
		return p.escape()
	case '[':
		p.pos++
		return p.bracket()
	case '.':
		p.pos++
		n := &node{op: opSet}
		if p.flags&Newline != 0 {
			n.set.add('\n')
		}
		n.set.invert()
		return n, nil
	case '^':
		if !p.basic() || first {
			p.pos++
			return &node{op: opBegin}, nil
		}
	case '$':
		rest := p.text[p.pos+1:]
		if !p.basic() || rest == "" || strings.HasPrefix(rest, `\)`) || strings.HasPrefix(rest, `\|`) {
			p.pos++
			return &node{op: opEnd}, nil
		}
	}
	p.pos++
	return p.literal(c), nil
}

func (p *parser) group() (*node, error) {
	p.groups++
	number := p.groups
	sub, err := p.alternation(true)
	if err != nil {
		return nil, err
	}
	if !p.operator(')') {
		return nil, errParen
	}
	p.closed[number] = true
	return &node{op: opGroup, subs: []*node{sub}, n: number}, nil
}

func (p *parser) escape() (*node, error) {
	if p.pos+1 >= len(p.text) {
		return nil, errBackslash
	}
	c := p.text[p.pos+1]
	if p.basic() && (c == '{' || c == '+' || c == '?') {
		if c == '{' {
			return nil, errRepeat
		}
		p.pos += 2
		return p.literal(c), nil
	}
	p.pos += 2
	switch {
	case '1' <= c && c <= '9':
		if !p.closed[int(c-'0')] {
			return nil, errBackref
		}
		p.odd = true
		return &node{op: opBackref, n: int(c - '0')}, nil
	case c == 'w', c == 'W':
		n := &node{op: opSet}
		for b := 0; b < 256; b++ {
			if word(byte(b)) == (c == 'w') {
				n.set.add(byte(b))
			}
		}
		return n, nil
	case c == 's', c == 'S':
		n := &node{op: opSet}
		for b := 0; b < 256; b++ {
			if (b == ' ' || '\t' <= b && b <= '\r') == (c == 's') {
				n.set.add(byte(b))
			}
		}
		return n, nil
	case c == 'b':
		return &node{op: opWordEdge}, nil
	case c == 'B':
		return &node{op: opNoEdge}, nil
	case c == '<':
		p.odd = true
		return &node{op: opWordBegin}, nil
	case c == '>':
		p.odd = true
		return &node{op: opWordEnd}, nil
	case c == '`':
		return &node{op: opTextBegin}, nil
	case c == '\'':
		return &node{op: opTextEnd}, nil
	}
	return p.literal(c), nil
}

func word(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// bracket parses a bracket expression behind its "[".
func (p *parser) bracket() (*node, error) {
	n := &node{op: opSet}
	negate := p.more() && p.text[p.pos] == '^'
	if negate {
		p.pos++
	}
	if !p.more() {
		return nil, errEndOpen
	}
	for first := true; ; first = false {
		if !p.more() {
			return nil, errBracket
		}
		if p.text[p.pos] == ']' && !first {
			p.pos++
			break
		}
		if err := p.element(&n.set); err != nil {
			return nil, err
		}
	}
	p.fold(&n.set)
	if negate {
		if p.flags&Newline != 0 {
			n.set.add('\n')
		}
		n.set.invert()
	}
	return n, nil
}

// element parses one character, range or class of a bracket expression.
func (p *parser) element(s *set) error {
	lo, single, err := p.collating(s)
	if err != nil {
		return err
	}
	if p.looking("-") && !p.looking("-]") && p.pos+1 < len(p.text) {
		if !single {
			return errRange
		}
		p.pos++
		if !p.more() {
			return errBracket
		}
		hi, single, err := p.collating(&set{})
		if err != nil {
			return err
		}
		if !single || hi < lo {
			return errRange
		}
		for c := int(lo); c <= int(hi); c++ {
			s.add(byte(c))
		}
		// A range cannot begin where another one ends.
		if p.looking("-") && !p.looking("-]") && p.pos+1 < len(p.text) {
			return errRange
		}
		return nil
	}
	if single {
		s.add(lo)
	}
	return nil
}

// collating parses a character, [.c.], [=c=] or [:class:]. single is false for
// those that are no end of a range; they are added to s.
func (p *parser) collating(s *set) (c byte, single bool, err error) {
	c = p.text[p.pos]
	if c != '[' || p.pos+1 >= len(p.text) || !strings.ContainsRune(".=:", rune(p.text[p.pos+1])) {
		p.pos++
		return c, true, nil
	}
	kind := p.text[p.pos+1]
	end := strings.Index(p.text[p.pos+2:], string(kind)+"]")
	if end < 0 {
		if kind == ':' {
			p.pos++ // an ordinary bracket
			return c, true, nil
		}
		return 0, false, errBracket
	}
	name := p.text[p.pos+2 : p.pos+2+end]
	p.pos += end + 4
	if kind != ':' {
		if len(name) != 1 {
			return 0, false, errCollation
		}
		if kind == '=' {
			s.add(name[0])
			return name[0], false, nil
		}
		return name[0], true, nil
	}
	in, ok := classes[name]
	if p.flags&FoldCase != 0 && (name == "upper" || name == "lower") {
		in = classes["alpha"]
	}
	if !ok {
		return 0, false, errClass
	}
	for b := 0; b < 128; b++ {
		if in(byte(b)) {
			s.add(byte(b))
		}
	}
	return 0, false, nil
}

func digit(c byte) bool { return '0' <= c && c <= '9' }
func upper(c byte) bool { return 'A' <= c && c <= 'Z' }
func lower(c byte) bool { return 'a' <= c && c <= 'z' }
func alpha(c byte) bool { return upper(c) || lower(c) }
func graph(c byte) bool { return '!' <= c && c <= '~' }

var classes = map[string]func(byte) bool{
	"alpha":  alpha,
	"digit":  digit,
	"upper":  upper,
	"lower":  lower,
	"graph":  graph,
	"alnum":  func(c byte) bool { return alpha(c) || digit(c) },
	"xdigit": func(c byte) bool { return digit(c) || 'a' <= c|0x20 && c|0x20 <= 'f' },
	"space":  func(c byte) bool { return c == ' ' || '\t' <= c && c <= '\r' },
	"blank":  func(c byte) bool { return c == ' ' || c == '\t' },
	"print":  func(c byte) bool { return graph(c) || c == ' ' },
	"punct":  func(c byte) bool { return graph(c) && !alpha(c) && !digit(c) },
	"cntrl":  func(c byte) bool { return c < ' ' || c == 0x7f },
}
