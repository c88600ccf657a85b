package pcre

import "strings"

// posixClasses are the names in [:name:], and their complements.
var posixClasses = map[string][2]string{
	"alpha":  {`A-Za-z`, `\x00-\x40\x5b-\x60\x7b-` + last},
	"lower":  {`a-z`, `\x00-\x60\x7b-` + last},
	"upper":  {`A-Z`, `\x00-\x40\x5b-` + last},
	"alnum":  {`0-9A-Za-z`, `\x00-\x2f\x3a-\x40\x5b-\x60\x7b-` + last},
	"ascii":  {`\x00-\x7f`, "\u0080-" + last},
	"blank":  {blanks, notBlanks},
	"cntrl":  {`\x00-\x1f\x7f`, `\x20-\x7e` + "\u0080-" + last},
	"digit":  {digits, notDigits},
	"graph":  {`\x21-\x7e`, `\x00-\x20\x7f-` + last},
	"print":  {`\x20-\x7e`, `\x00-\x1f\x7f-` + last},
	"punct":  {`\x21-\x2f\x3a-\x40\x5b-\x60\x7b-\x7e`, `\x00-\x20 0-9A-Za-z\x7f-` + last},
	"space":  {spaces, notSpaces},
	"word":   {words, notWords},
	"xdigit": {`0-9A-Fa-f`, `\x00-\x2f\x3a-\x40\x47-\x60\x67-` + last},
}

// class translates a bracket expression.
func (t *translator) class() error {
	t.pos++
	var b buffer
	b.put('[')
	if t.accept("^") {
		b.put('^')
	}
	empty := true
	for first := true; ; first = false {
		if !t.more() {
			return t.fail(len(t.text), "missing terminating ] for character class")
		}
		if !first && t.accept("]") {
			break
		}
		if t.accept(`\E`) {
			first = true
			continue
		}
		if t.accept(`\Q`) {
			for t.more() && !t.accept(`\E`) {
				r, size := t.char()
				t.pos += size
				literal(&b, r)
				empty = false
			}
			continue
		}
		empty = false
		lo, single, err := t.classItem(&b)
		if err != nil {
			return err
		}
		if !single {
			if t.looking("-") && !t.looking("-]") && t.pos+1 < len(t.text) {
				return t.fail(t.pos, "invalid range in character class")
			}
			continue
		}
		if !t.looking("-") || t.looking("-]") {
			literal(&b, lo)
			continue
		}
		dash := t.pos
		t.pos++
		if !t.more() {
			return t.fail(len(t.text), "missing terminating ] for character class")
		}
		var set buffer
		hi, single, err := t.classItem(&set)
		if err != nil {
			return err
		}
		literal(&b, lo)
		if !single { // the dash stands for itself
			literal(&b, '-')
			b.WriteString(set.String())
			continue
		}
		if hi < lo {
			return t.fail(dash+1, "range out of order in character class")
		}
		b.put('-')
		literal(&b, hi)
	}
	b.put(']')
	if empty {
		return t.fail(t.pos, "missing terminating ] for character class")
	}
	t.out.WriteString(b.String())
	return nil
}

// classItem reads one character, or writes the set that stands there.
func (t *translator) classItem(b *buffer) (r rune, single bool, err error) {
	if name, ok := t.posixName(); ok {
		if t.text[t.pos+1] != ':' {
			return 0, false, t.fail(t.pos, "POSIX collating elements are not supported")
		}
		length := len(name) + 4
		negated := 0
		if strings.HasPrefix(name, "^") {
			name, negated = name[1:], 1
		}
		if t.opt.caseless && (name == "upper" || name == "lower") {
			name = "alpha"
		}
		set, ok := posixClasses[name]
		if !ok {
			return 0, false, t.fail(t.pos+2, "unknown POSIX class name")
		}
		t.pos += length
		b.WriteString(set[negated])
		return 0, false, nil
	}
	if t.text[t.pos] != '\\' {
		r, size := t.char()
		t.pos += size
		return r, true, nil
	}
	if t.pos+1 >= len(t.text) {
		return 0, false, t.fail(t.pos+1, `\ at end of pattern`)
	}
	c := t.text[t.pos+1]
	if set, ok := sets[c]; ok && c != 'N' {
		t.pos += 2
		b.WriteString(set)
		return 0, false, nil
	}
	switch c {
	case 'b':
		t.pos += 2
		return 8, true, nil
	case 'p', 'P':
		text, err := t.property()
		b.WriteString(text)
		return 0, false, err
	case 'N':
		return 0, false, t.fail(t.pos+2, `\N is not supported in a class`)
	case 'A', 'B', 'G', 'K', 'R', 'X', 'Z', 'k', 'z':
		return 0, false, t.fail(t.pos+1, "escape sequence is invalid in character class")
	case 'g':
		t.pos += 2
		return 'g', true, nil
	}
	r, err = t.charEscape()
	return r, true, err
}

// posixName returns the name in [:name:], [.name.] or [=name=] at pos.
func (t *translator) posixName() (name string, ok bool) {
	if !t.looking("[:") && !t.looking("[.") && !t.looking("[=") {
		return "", false
	}
	rest := t.text[t.pos+2:]
	end := strings.Index(rest, t.text[t.pos+1:t.pos+2]+"]")
	if end < 0 || strings.ContainsAny(rest[:end], "]\\[") {
		return "", false
	}
	return rest[:end], true
}
