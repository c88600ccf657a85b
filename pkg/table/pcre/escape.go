package pcre

import (
	"fmt"
	"strconv"
	"strings"

	"suffix/pkg/table/rules"
)

// Sets of characters as ranges, for use inside brackets.
const (
	digits      = `0-9`
	notDigits   = `\x00-\x2f\x3a-` + last
	words       = `0-9A-Z_a-z`
	notWords    = `\x00-\x2f\x3a-\x40\x5b-\x5e\x60\x7b-` + last
	spaces      = `\x09-\x0d\x20`
	notSpaces   = `\x00-\x08\x0e-\x1f\x21-` + last
	blanks      = `\x09\x20`
	notBlanks   = `\x00-\x08\x0a-\x1f\x21-` + last
	vertical    = `\x0a-\x0d`
	notVertical = `\x00-\x09\x0e-` + last

	last = "\uffff"
)

// sets are the escapes that stand for a set of characters.
var sets = map[byte]string{
	'd': digits, 'D': notDigits, 'w': words, 'W': notWords, 's': spaces, 'S': notSpaces,
	'h': blanks, 'H': notBlanks, 'v': vertical, 'V': notVertical, 'N': `\x00-\x09\x0b-` + last,
}

// escape translates what begins with a backslash, outside of brackets.
func (t *translator) escape() error {
	at := t.pos
	if t.pos+1 >= len(t.text) {
		return t.fail(t.pos+1, `\ at end of pattern`)
	}
	c := t.text[t.pos+1]
	if set, ok := sets[c]; ok {
		t.pos += 2
		t.begin(false)
		t.out.WriteString("[" + set + "]")
		return nil
	}
	switch c {
	case 'Q':
		t.quoted()
		return nil
	case 'E':
		t.pos += 2
		return nil
	case 'b', 'B', 'A', 'z':
		t.pos += 2
		t.begin(true)
		t.out.WriteString(`\` + string(c))
		return nil
	case 'Z':
		t.pos += 2
		t.begin(true)
		t.endOrNewline()
		return nil
	case 'G':
		t.pos += 2
		t.begin(true)
		t.out.WriteString(`\A`) // one match from the start of the key
		return nil
	case 'R':
		t.pos += 2
		t.begin(false)
		t.out.WriteString(`(?:\x0d\x0a|[\x0a-\x0d])`)
		return nil
	case 'X', 'C':
		t.pos += 2
		t.begin(false)
		t.out.WriteString(`[\x00-` + last + `]`)
		return nil
	case 'K':
		return unsupported(`\K`)
	case 'p', 'P':
		text, err := t.property()
		t.begin(false)
		t.out.WriteString(text)
		return err
	case 'g', 'k':
		return t.namedReference()
	}
	if '1' <= c && c <= '9' {
		end := t.pos + 1
		for end < len(t.text) && '0' <= t.text[end] && t.text[end] <= '9' {
			end++
		}
		n, err := strconv.Atoi(t.text[t.pos+1 : end])
		if err == nil && (n < 10 || n <= t.total || c >= '8') {
			t.pos = end
			t.reference(n, at+1)
			return nil
		}
	}
	r, err := t.charEscape()
	if err != nil {
		return err
	}
	t.begin(false)
	literal(&t.out, r)
	return nil
}

// quoted translates \Q...\E.
func (t *translator) quoted() {
	t.pos += 2
	for t.more() && !t.accept(`\E`) {
		r, size := t.char()
		t.pos += size
		t.begin(false)
		literal(&t.out, r)
	}
}

// reference writes a back reference.
func (t *translator) reference(n, at int) {
	t.exists(n, at)
	t.irregular = true
	t.begin(false)
	fmt.Fprintf(&t.out, `(?:\k<%d>)`, n)
}

// exists notes a reference to a group that the pattern does not have. PCRE
// reports it when nothing else is wrong.
func (t *translator) exists(n, at int) {
	if t.missing == nil && t.total >= 0 && (n > t.total || n < 1) {
		t.missing = t.fail(at, "reference to non-existent subpattern")
	}
}

// namedReference translates \gN \g{N} \g{-N} \g{name} \k<name> \k'name' \k{name}.
func (t *translator) namedReference() error {
	kind := t.text[t.pos+1]
	t.pos += 2
	at := t.pos
	name := ""
	switch {
	case t.accept("{"):
		end := strings.IndexByte(t.text[t.pos:], '}')
		if end < 0 {
			return t.fail(t.pos, `\g is not followed by a braced, angle-bracketed, or quoted name/number or by a plain number`)
		}
		name = t.text[t.pos : t.pos+end]
		t.pos += end + 1
	case t.looking("<"), t.looking("'"):
		if kind == 'g' {
			return unsupported("recursion")
		}
		closing := ">"
		if t.looking("'") {
			closing = "'"
		}
		t.pos++
		end := strings.Index(t.text[t.pos:], closing)
		if end < 0 {
			return t.fail(t.pos, "syntax error in subpattern name (missing terminator?)")
		}
		name = t.text[t.pos : t.pos+end]
		at = t.pos
		t.pos += end + 1
	case kind == 'g':
		start := t.pos
		for t.more() && (t.text[t.pos] == '-' && t.pos == start || '0' <= t.text[t.pos] && t.text[t.pos] <= '9') {
			t.pos++
		}
		name = t.text[start:t.pos]
	}
	return t.referenceTo(name, at)
}

// referenceTo writes a reference to a group by name, number or, negative,
// relative number.
func (t *translator) referenceTo(name string, at int) error {
	n, err := strconv.Atoi(name)
	if err != nil {
		n = t.known[name]
	} else if n < 0 {
		if n += t.groups + 1; n < 1 {
			return t.fail(at, "reference to non-existent subpattern")
		}
	}
	t.reference(n, at)
	return nil
}

// property reads \p{..}, which is passed on: the engines know the general
// categories.
func (t *translator) property() (string, error) {
	start := t.pos
	t.pos += 2
	switch {
	case t.looking("{"):
		end := strings.IndexByte(t.text[t.pos:], '}')
		if end < 0 {
			return "", t.fail(t.pos, `malformed \P or \p sequence`)
		}
		t.pos += end + 1
	case t.more():
		t.pos++
	default:
		return "", t.fail(t.pos, `malformed \P or \p sequence`)
	}
	name := t.text[start+2 : t.pos]
	if name[0] != '{' {
		name = "{" + name + "}"
	}
	return t.text[start:start+2] + name, nil
}

// charEscape reads an escape that stands for one character.
func (t *translator) charEscape() (rune, error) {
	at := t.pos
	t.pos++
	if !t.more() {
		return 0, t.fail(t.pos, `\ at end of pattern`)
	}
	c := t.text[t.pos]
	if c >= 0x80 {
		r, size := t.char()
		t.pos += size
		return r, nil
	}
	t.pos++
	switch c {
	case 'a':
		return 7, nil
	case 'e':
		return 27, nil
	case 'f':
		return 12, nil
	case 'n':
		return 10, nil
	case 'r':
		return 13, nil
	case 't':
		return 9, nil
	case 'c':
		if !t.more() || t.text[t.pos] < ' ' || t.text[t.pos] > '~' {
			return 0, t.fail(t.pos, `\c must be followed by a printable ASCII character`)
		}
		x := t.text[t.pos]
		t.pos++
		if 'a' <= x && x <= 'z' {
			x -= 'a' - 'A'
		}
		return rune(x ^ 0x40), nil
	case 'x':
		if t.accept("{") {
			return t.braced(16)
		}
		return t.code(t.number(16, 2)), nil
	case 'o':
		if t.accept("{") {
			return t.braced(8)
		}
		return 0, t.fail(t.pos, `missing opening brace after \o`)
	case '0', '1', '2', '3', '4', '5', '6', '7':
		t.pos--
		n := t.number(8, 3)
		if n > 255 && !t.utf {
			return 0, t.fail(t.pos, `octal value is greater than \377 in 8-bit non-UTF-8 mode`)
		}
		return t.code(n), nil
	}
	if rules.Alphanumeric(c) {
		return 0, t.fail(at+2, `unrecognized character follows \`)
	}
	return rune(c), nil
}

// number reads at most max digits.
func (t *translator) number(base, max int) int {
	n := 0
	for i := 0; i < max && t.more(); i++ {
		d, err := strconv.ParseUint(t.text[t.pos:t.pos+1], base, 8)
		if err != nil {
			break
		}
		n = n*base + int(d)
		t.pos++
	}
	return n
}

// braced reads the number in \x{..} or \o{..}.
func (t *translator) braced(base int) (rune, error) {
	end := strings.IndexByte(t.text[t.pos:], '}')
	if end < 0 {
		return 0, t.fail(t.pos, "missing terminating } for hexadecimal or octal escape")
	}
	n, err := strconv.ParseUint(strings.TrimSpace(t.text[t.pos:t.pos+end]), base, 32)
	if err != nil || n > 0x10ffff || n > 255 && !t.utf {
		return 0, t.fail(t.pos+end, "character code point value in \\x{} or \\o{} is too large")
	}
	t.pos += end + 1
	return t.code(int(n)), nil
}
