package rules

import (
	"errors"
	"strings"

	"suffix/pkg/maillog"
	"suffix/pkg/table"
)

// Dialect is what regexp and pcre tables do differently.
type Dialect struct {
	NoDelimiter string // "skipping" or "ignoring"
	IndexZero   string // "out-of-range" or "out of range"
	// Flags are the known option letters. Second: "/p1/!/p2/" is known.
	Flags  string
	Second bool
	// Obsolete are letters that are accepted with a warning.
	Obsolete string
}

// Pattern is one regular expression of a rule.
type Pattern struct {
	Text   string
	Negate bool
	Flags  string // option letters as given: each toggles
}

// Pattern parses "[!]/pattern/flags" at the start of text. ok is false, and a
// warning is logged, if the rule is to be dropped.
func (s *Source) Pattern(line int, text string, d *Dialect) (p Pattern, rest string, ok bool) {
	text, p.Negate = CutNegation(text)
	if text == "" {
		s.Warn(line, "no regexp: skipping this rule")
		return p, "", false
	}
	delim := text[0]
	end := -1
	for i := 1; i < len(text); i++ {
		if text[i] == '\\' {
			i++
		} else if text[i] == delim {
			end = i
			break
		}
	}
	if end < 0 {
		s.Warn(line, "no closing regexp delimiter \"%s\": %s this rule", text[:1], d.NoDelimiter)
		return p, "", false
	}
	p.Text, rest = text[1:end], text[end+1:]
	for rest != "" && !table.IsSpace(rest[0]) && (rest[0] != '!' || !d.Second) {
		c, letter := rest[0], rest[:1]
		rest = rest[1:]
		switch {
		case strings.IndexByte(d.Obsolete, c) >= 0:
			s.Warn(line, "ignoring obsolete regexp option \"%s\"", letter)
		case strings.IndexByte(d.Flags, c) < 0:
			s.Warn(line, "unknown regexp option \"%s\": skipping this rule", letter)
			return p, "", false
		default:
			p.Flags += letter
		}
	}
	return p, rest, true
}

// Toggled says whether an option letter stands an odd number of times.
func (p *Pattern) Toggled(letter byte) bool {
	return strings.Count(p.Flags, string(letter))%2 == 1
}

// A Template is the result of a rule, with the numbers of groups.
type Template struct {
	parts []part
	plain string
	// Max and Min are the largest and smallest group number, 0 if there is none.
	Max, Min int
}

type part struct {
	text  string
	group int
}

var errTemplate = errors.New("bad replacement syntax")

// Template parses the result of a rule. The error, already logged, says that
// the rule is to be dropped.
func (s *Source) Template(line int, text string, d *Dialect) (Template, error) {
	var t Template
	var literal strings.Builder
	bad := false // the rest is looked at all the same
scan:
	for i := 0; i < len(text); {
		if text[i] != '$' {
			literal.WriteByte(text[i])
			i++
			continue
		}
		i++
		if i < len(text) && text[i] == '$' {
			literal.WriteByte('$')
			i++
			continue
		}
		name, n, truncated := macroName(text[i:])
		i += n
		group := 0
		switch {
		case truncated:
			maillog.Warnf("truncated macro reference: \"%s\"", text)
			bad = true
			break scan
		case name == "":
			maillog.Warnf("empty macro name: \"%s\"", text)
			bad = true
			break scan
		case strings.Trim(name, "0123456789") != "":
			s.Warn(line, "non-numeric replacement index \"%s\"", name)
			bad = true
			continue
		default:
			if group = number(name); group == 0 {
				s.Warn(line, "%s replacement index \"%s\"", d.IndexZero, name)
				bad = true
				continue
			}
		}
		if t.Max == 0 && t.Min == 0 {
			t.Max, t.Min = group, group
		}
		t.Max, t.Min = max(t.Max, group), min(t.Min, group)
		if literal.Len() > 0 {
			t.parts = append(t.parts, part{text: literal.String()})
			literal.Reset()
		}
		t.parts = append(t.parts, part{group: group})
	}
	if bad {
		s.Warn(line, "bad replacement syntax: skipping this rule")
		return Template{}, errTemplate
	}
	if len(t.parts) == 0 {
		t.plain = literal.String()
	} else if literal.Len() > 0 {
		t.parts = append(t.parts, part{text: literal.String()})
	}
	return t, nil
}

// macroName reads what stands behind "$": name, {name} or (name).
func macroName(text string) (name string, length int, truncated bool) {
	if text != "" && (text[0] == '{' || text[0] == '(') {
		closing := byte('}')
		if text[0] == '(' {
			closing = ')'
		}
		end := strings.IndexByte(text, closing)
		if end < 0 {
			return "", 0, true
		}
		return text[1:end], end + 1, false
	}
	for length < len(text) && (Alphanumeric(text[length]) || text[length] == '_') {
		length++
	}
	return text[:length], length, false
}

// number is C's atoi for digits: too large a number wraps.
func number(digits string) int {
	n := int64(0)
	for i := 0; i < len(digits); i++ {
		if n > (1<<63-10)/10 {
			return -1
		}
		n = n*10 + int64(digits[i]-'0')
	}
	return int(int32(n))
}

// HasGroups says that the result contains $number.
func (t *Template) HasGroups() bool { return len(t.parts) > 0 }

// Plain returns a result without groups.
func (t *Template) Plain() string { return t.plain }

// SetPlain replaces a result without groups.
func (t *Template) SetPlain(text string) { t.plain = text }

// Expand returns the result; group gives the text of a group.
func (t *Template) Expand(group func(n int) string) string {
	if len(t.parts) == 0 {
		return t.plain
	}
	var b strings.Builder
	for _, p := range t.parts {
		if p.group != 0 {
			b.WriteString(group(p.group))
		} else {
			b.WriteString(p.text)
		}
	}
	return b.String()
}

// Allowed finds the faults of a result that do not depend on the expression of
// its rule, logs them, and says whether the rule can be kept.
func (s *Source) Allowed(line int, t *Template, negate, noSub bool) bool {
	switch {
	case !t.HasGroups():
		return true
	case negate:
		s.Warn(line, "$number found in negative match replacement text: skipping this rule")
	case noSub:
		s.Warn(line, "regular expression substitution is not allowed: skipping this rule")
	default:
		return true
	}
	return false
}

// InRange is the same for group numbers that the expression does not have.
func (s *Source) InRange(line int, t *Template, groups int) bool {
	switch {
	case !t.HasGroups():
		return true
	case t.Min < 0:
		s.Warn(line, "out of range replacement index \"%d\": skipping this rule", t.Min)
	case t.Max > groups:
		s.Warn(line, "out of range replacement index \"%d\": skipping this rule", t.Max)
	default:
		return true
	}
	return false
}

// ExtraAfterIf logs the warning for text behind the pattern of an IF.
func (s *Source) ExtraAfterIf(line int, rest string) {
	if rest = table.TrimSpace(rest); rest != "" {
		s.Warn(line, "ignoring extra text after IF statement: \"%s\"", rest)
		s.Warn(line, "do not prepend whitespace to statements between IF and ENDIF")
	}
}
