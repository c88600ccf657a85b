// Package regexp has the table type regexp: keys are matched against POSIX
// regular expressions (spec tables §9.1).
package regexp

import (
	"suffix/pkg/maillog"
	"suffix/pkg/table"
	"suffix/pkg/table/regexp/posix"
	"suffix/pkg/table/rules"
)

func init() { table.Register("regexp", table.Type{Open: open}) }

var dialect = &rules.Dialect{NoDelimiter: "skipping", IndexZero: "out-of-range", Flags: "imx", Second: true}

type regexpTable struct {
	rules.Base
	program rules.Program[rule]
}

// rule is the pattern of a rule or of an IF.
type rule struct {
	pattern
	second *pattern // must match too
	result rules.Template
}

type pattern struct {
	re     *posix.Regexp
	filter rules.Filter
	negate bool
}

func open(typ, name string, o table.Options) (table.Table, error) {
	src, err := rules.Read(typ, name, o)
	if err != nil {
		return nil, err
	}
	t := &regexpTable{Base: src.Base()}
	for _, line := range src.Lines {
		t.add(src, line.Number, line.Text, o)
	}
	t.program.Finish(func(line int) { src.Warn(line, "IF has no matching ENDIF") })
	return t, nil
}

// add parses one line of the source. What is wrong with it is logged.
func (t *regexpTable) add(src *rules.Source, line int, text string, o table.Options) {
	if !rules.Alphanumeric(text[0]) {
		t.addRule(src, line, text, o)
		return
	}
	if rest, ok := rules.CutWord(text, "if"); ok {
		p, rest, ok := parse(src, line, rest)
		if !ok {
			return
		}
		src.ExtraAfterIf(line, rest)
		re, ok := compile(src, line, p)
		if !ok {
			return
		}
		t.program.If(line, rule{pattern: re})
		return
	}
	if rest, ok := rules.CutWord(text, "endif"); ok {
		if !t.program.EndIf() {
			src.Warn(line, "ignoring ENDIF without matching IF")
		} else if rest != "" {
			src.Warn(line, "ignoring extra text after ENDIF")
		}
		return
	}
	src.Warn(line, "ignoring unrecognized request")
}

func parse(src *rules.Source, line int, text string) (rules.Pattern, string, bool) {
	return src.Pattern(line, text, dialect)
}

func compile(src *rules.Source, line int, p rules.Pattern) (pattern, bool) {
	flags := posix.FoldCase
	if p.Toggled('i') {
		flags = 0
	}
	if p.Toggled('m') {
		flags |= posix.Newline
	}
	if p.Toggled('x') {
		flags |= posix.Basic
	}
	re, err := posix.Compile(p.Text, flags)
	if err != nil {
		src.Warn(line, "%s", err)
		return pattern{}, false
	}
	return pattern{re, rules.NewFilter(re.Pattern()), p.Negate}, true
}

func (t *regexpTable) addRule(src *rules.Source, line int, text string, o table.Options) {
	first, rest, ok := parse(src, line, text)
	if !ok {
		return
	}
	var second rules.Pattern
	hasSecond := rest != "" && rest[0] == '!'
	if hasSecond {
		// The "!" itself says that the second pattern must not match.
		if second, rest, ok = parse(src, line, rest); !ok {
			return
		}
	}
	result := table.TrimSpace(rest)
	if result == "" {
		src.Warn(line, "no replacement text: using empty string")
	}
	r := rule{}
	var err error
	if r.result, err = src.Template(line, result, dialect); err != nil {
		return
	}
	if !src.Allowed(line, &r.result, first.Negate, o.Flags&table.NoRegSub != 0) {
		return
	}
	if r.pattern, ok = compile(src, line, first); !ok {
		return
	}
	if hasSecond {
		p, ok := compile(src, line, second)
		if !ok {
			return
		}
		r.second = &p
	}
	if !src.InRange(line, &r.result, r.re.Groups()) {
		return
	}
	if !r.result.HasGroups() {
		value, err := src.Value(r.result.Plain())
		if err != nil {
			src.Warn(line, "%s: skipping this rule", err)
			return
		}
		r.result.SetPlain(value)
	}
	t.program.Rule(line, r)
}

func (p *pattern) matches(key string, text *rules.Text) (bool, error) {
	if p.filter.Excludes(text) {
		return p.negate, nil
	}
	matched, err := p.re.Matches(key)
	return matched != p.negate, err
}

// Lookup finds the first rule that matches the key. A pattern that takes too
// long is an error: the rule might be the one that rejects.
func (t *regexpTable) Lookup(key string) (string, bool, error) {
	text := rules.NewText(key)
	hit, err := t.program.Run(func(r *rule, line int) (bool, error) {
		matched, err := r.matches(key, text)
		if err == nil && matched && r.second != nil {
			matched, err = r.second.matches(key, text)
		}
		if err != nil {
			maillog.Warnf("%s, line %d: %s", t.Name(), line, err)
			return false, &table.Error{Err: err}
		}
		return matched, nil
	})
	if hit == nil || err != nil {
		return "", false, err
	}
	if !hit.result.HasGroups() {
		return hit.result.Plain(), true, nil
	}
	loc, err := hit.re.Match(key)
	if err != nil {
		return "", false, &table.Error{Err: err}
	}
	return hit.result.Expand(func(n int) string {
		if 2*n+1 >= len(loc) || loc[2*n] < 0 {
			return ""
		}
		return key[loc[2*n]:loc[2*n+1]]
	}), true, nil
}
