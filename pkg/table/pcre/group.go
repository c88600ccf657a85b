package pcre

import (
	"fmt"
	"strconv"
	"strings"
)

// group translates what begins with a parenthesis.
func (t *translator) group() error {
	start := t.pos
	if t.looking("(*") {
		return unsupported("(*VERB)")
	}
	if t.accept("(?#") {
		end := strings.IndexByte(t.text[t.pos:], ')')
		if end < 0 {
			return t.fail(len(t.text), "missing ) after (?# comment")
		}
		t.pos += end + 1
		return nil
	}
	t.pos++
	mark := t.out.Len()
	restore := t.opt
	switch {
	case !t.looking("?"):
		t.capture()
	case t.accept("?:"):
		t.out.WriteString("(?:")
	case t.accept("?|"):
		t.out.WriteString("(?:")
		return t.reset(start, mark)
	case t.looking("?="), t.looking("?!"), t.looking("?>"):
		t.irregular = true
		t.out.WriteString("(" + t.text[t.pos:t.pos+2])
		t.pos += 2
	case t.looking("?<="), t.looking("?<!"):
		t.irregular = true
		t.out.WriteString("(" + t.text[t.pos:t.pos+3])
		t.pos += 3
	case t.accept("?P<"), t.accept("?<"):
		if err := t.named(">"); err != nil {
			return err
		}
	case t.accept("?'"):
		if err := t.named("'"); err != nil {
			return err
		}
	case t.accept("?P="):
		end := strings.IndexByte(t.text[t.pos:], ')')
		if end < 0 {
			return t.fail(len(t.text), "syntax error in subpattern name (missing terminator?)")
		}
		name := t.text[t.pos : t.pos+end]
		at := t.pos
		t.pos += end + 1
		return t.referenceTo(name, at)
	case t.accept("?("):
		if err := t.condition(); err != nil {
			return err
		}
	case t.looking("?R"), t.looking("?&"), t.looking("?P>"), t.looking("?C"),
		len(t.text) > t.pos+1 && strings.IndexByte("0123456789+", t.text[t.pos+1]) >= 0,
		len(t.text) > t.pos+2 && t.text[t.pos+1] == '-' && '0' <= t.text[t.pos+2] && t.text[t.pos+2] <= '9':
		return unsupported("recursion")
	default:
		whole, err := t.inlineOptions(start)
		if err != nil || whole {
			return err
		}
	}
	err := t.alternatives()
	t.opt = restore
	if err != nil {
		return err
	}
	return t.closeGroup(mark)
}

func (t *translator) closeGroup(mark int) error {
	if !t.accept(")") {
		return t.fail(len(t.text), "missing closing parenthesis")
	}
	t.out.put(')')
	t.atom, t.anchor = mark, false
	return nil
}

// capture opens a group with the next number.
func (t *translator) capture() {
	t.groups++
	if t.resets && t.backtrack {
		fmt.Fprintf(&t.out, "(?<%d>", t.groups)
	} else {
		t.out.put('(')
	}
}

func (t *translator) named(closing string) error {
	end := strings.Index(t.text[t.pos:], closing)
	if end < 1 {
		return t.fail(t.pos, "subpattern name expected")
	}
	name := t.text[t.pos : t.pos+end]
	t.pos += end + 1
	t.capture()
	if _, dup := t.names[name]; dup {
		return t.fail(t.pos, "two named subpatterns have the same name (PCRE2_DUPNAMES not set)")
	}
	t.names[name] = t.groups
	return nil
}

// reset translates (?|...): the groups of each branch have the same numbers.
func (t *translator) reset(start, mark int) error {
	t.irregular, t.resets = true, true
	restore := t.opt
	before, most := t.groups, t.groups
	if t.depth++; t.depth > maxNesting {
		return t.fail(t.pos, "parentheses are too deeply nested")
	}
	t.atom = -1
	for t.more() && t.text[t.pos] != ')' {
		if t.accept("|") {
			t.out.put('|')
			t.atom, t.groups = -1, before
			continue
		}
		if err := t.piece(); err != nil {
			return err
		}
		most = max(most, t.groups)
	}
	t.depth--
	t.groups, t.opt = most, restore
	return t.closeGroup(mark)
}

// condition translates "(?(" and the condition behind it.
func (t *translator) condition() error {
	t.irregular = true
	if t.looking("?=") || t.looking("?!") || t.looking("?<=") || t.looking("?<!") {
		n := 2
		if t.text[t.pos+1] == '<' {
			n = 3
		}
		t.out.WriteString("(?(" + t.text[t.pos:t.pos+n])
		t.pos += n
		if err := t.alternatives(); err != nil {
			return err
		}
		return t.closeGroup(t.out.Len())
	}
	end := strings.IndexByte(t.text[t.pos:], ')')
	if end < 0 {
		return t.fail(len(t.text), "missing closing parenthesis for condition")
	}
	name := t.text[t.pos : t.pos+end]
	at := t.pos - 1
	t.pos += end + 1
	if len(name) > 2 && (name[0] == '<' || name[0] == '\'') {
		name = name[1 : len(name)-1]
	}
	n, err := strconv.Atoi(name)
	if err != nil {
		known := false
		if n, known = t.known[name]; !known && (strings.HasPrefix(name, "R") || name == "DEFINE") {
			return unsupported("recursion")
		}
	}
	t.exists(n, at)
	fmt.Fprintf(&t.out, "(?(%d)", n)
	return nil
}

// inlineOptions translates (?i), (?i:, (?-s) and the like. whole: the
// parenthesis is closed, and the options hold up to the end of the group around it.
func (t *translator) inlineOptions(start int) (whole bool, err error) {
	t.pos++ // ?
	on := true
	var set, unset string
	if t.accept("^") {
		unset = "ims"
		t.opt.extended, t.opt.multiline, t.opt.caseless = false, false, false
	}
	for t.more() {
		c := t.text[t.pos]
		t.pos++
		switch c {
		case '-':
			on = false
		case 'x':
			t.opt.extended = on
		case 'U':
			t.opt.ungreedy = on
		case 'J', 'n':
			if c == 'n' {
				return false, unsupported("(?n)")
			}
		case 'i', 'm', 's':
			if c == 'm' {
				t.opt.multiline = on
			}
			if c == 'i' {
				t.opt.caseless = on
			}
			if on {
				set += string(c)
			} else {
				unset += string(c)
			}
		case ')', ':':
			flags := set
			if unset != "" {
				flags += "-" + unset
			}
			if c == ':' {
				t.out.WriteString("(?" + flags + ":")
				return false, nil
			}
			if flags != "" {
				t.out.WriteString("(?" + flags + ")")
			}
			t.atom = -1
			return true, nil
		default:
			return false, t.fail(t.pos-1, "unrecognized character after (? or (?-")
		}
	}
	return false, t.fail(len(t.text), "missing closing parenthesis")
}
