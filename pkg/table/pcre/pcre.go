// Package pcre has the table type pcre: keys are matched against Perl-compatible
// regular expressions (spec tables §9.1).
//
// A pattern that is a regular expression in the strict sense runs on Go's own
// engine, in linear time; others, with back references or assertions, on
// regexp2, with a time limit. An expression that exceeds it is an error of the
// lookup: the rule might be the one that rejects.
package pcre

import (
	"errors"
	"regexp"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/dlclark/regexp2"

	"suffix/pkg/maillog"
	"suffix/pkg/table"
	"suffix/pkg/table/rules"
)

func init() { table.Register("pcre", table.Type{Open: open}) }

// matchTimeout limits the time for one pattern and one key.
const matchTimeout = 3 * time.Second

var dialect = &rules.Dialect{NoDelimiter: "ignoring", IndexZero: "out of range", Flags: "imxsAEU", Obsolete: "X"}

type pcreTable struct {
	rules.Base
	program rules.Program[rule]
}

type rule struct {
	expression
	negate bool
	result rules.Template
}

// expression is a compiled pattern. Exactly one engine is set, or failed.
type expression struct {
	linear  *regexp.Regexp
	general *regexp2.Regexp
	filter  rules.Filter
	failed  error // PCRE knows the pattern, we do not
	groups  int
	utf     bool
}

func open(typ, name string, o table.Options) (table.Table, error) {
	src, err := rules.Read(typ, name, o)
	if err != nil {
		return nil, err
	}
	t := &pcreTable{Base: src.Base()}
	for _, line := range src.Lines {
		t.add(src, line.Number, line.Text, o)
	}
	t.program.Finish(func(line int) { src.Warn(line, "IF has no matching ENDIF") })
	return t, nil
}

// add parses one line of the source. What is wrong with it is logged.
func (t *pcreTable) add(src *rules.Source, line int, text string, o table.Options) {
	if !rules.Alphanumeric(text[0]) {
		t.addRule(src, line, text, o)
		return
	}
	if rest, ok := rules.CutWord(text, "if"); ok {
		p, rest, ok := src.Pattern(line, rest, dialect)
		if !ok {
			return
		}
		src.ExtraAfterIf(line, rest)
		e, ok := compile(src, line, p)
		if !ok {
			return
		}
		t.program.If(line, rule{expression: e, negate: p.Negate})
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

func (t *pcreTable) addRule(src *rules.Source, line int, text string, o table.Options) {
	p, rest, ok := src.Pattern(line, text, dialect)
	if !ok {
		return
	}
	result := table.TrimSpace(rest)
	if result == "" {
		src.Warn(line, "no replacement text: using empty string")
	}
	r := rule{negate: p.Negate}
	var err error
	if r.result, err = src.Template(line, result, dialect); err != nil {
		return
	}
	if !src.Allowed(line, &r.result, p.Negate, o.Flags&table.NoRegSub != 0) {
		return
	}
	if r.expression, ok = compile(src, line, p); !ok {
		return
	}
	if r.failed == nil && !src.InRange(line, &r.result, r.groups) {
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

// compile makes a pattern ready. ok is false, and a warning is logged, for one
// that PCRE does not accept.
func compile(src *rules.Source, line int, p rules.Pattern) (e expression, ok bool) {
	e, err := newExpression(p)
	switch {
	case errors.Is(err, errUnsupported):
		src.Warn(line, "%s: lookups that reach this rule will fail", err)
		return expression{failed: err}, true
	case err != nil:
		src.Warn(line, "%s", err)
		return e, false
	}
	return e, true
}

func newExpression(p rules.Pattern) (expression, error) {
	opt := options{extended: p.Toggled('x'), multiline: p.Toggled('m'), ungreedy: p.Toggled('U'), caseless: !p.Toggled('i')}
	tr, err := translate(p.Text, opt, p.Toggled('E'), false)
	if err != nil {
		return expression{}, err
	}
	e := expression{groups: tr.groups, utf: tr.utf}
	body := func() string {
		if p.Toggled('A') {
			return `\A(?:` + tr.out.String() + `)`
		}
		return tr.out.String()
	}
	flags := ""
	var engineOptions regexp2.RegexOptions
	if !p.Toggled('i') {
		flags += "i"
		engineOptions |= regexp2.IgnoreCase
	}
	if !p.Toggled('s') {
		flags += "s"
		engineOptions |= regexp2.Singleline
	}
	if opt.multiline {
		flags += "m"
		engineOptions |= regexp2.Multiline
	}
	if !tr.backtrack {
		if flags != "" {
			flags = "(?" + flags + ")"
		}
		if e.linear, err = regexp.Compile(flags + body()); err == nil {
			e.filter = rules.NewFilter(e.linear.String())
			return e, nil
		}
		// Too large for that engine.
		if tr, err = translate(p.Text, opt, p.Toggled('E'), true); err != nil {
			return expression{}, err
		}
	}
	if e.general, err = regexp2.Compile(body(), engineOptions); err != nil {
		return expression{}, unsupported("pattern (" + err.Error() + ")")
	}
	e.general.MatchTimeout = matchTimeout
	return e, nil
}

// text is a key as the engines see it.
func (e *expression) text(key string) string {
	if e.utf {
		return key
	}
	for i := 0; i < len(key); i++ {
		if key[i] >= utf8.RuneSelf {
			wide := make([]byte, 0, 3*len(key))
			for j := 0; j < len(key); j++ {
				wide = utf8.AppendRune(wide, byteRune(key[j]))
			}
			return string(wide)
		}
	}
	return key
}

// original turns a part of such a text back.
func (e *expression) original(part string) string {
	if e.utf {
		return part
	}
	b := make([]byte, 0, len(part))
	for _, r := range part {
		if r >= utf8.RuneSelf {
			r -= privateUse
		}
		b = append(b, byte(r))
	}
	return string(b)
}

// matches says whether the pattern matches a text.
func (e *expression) matches(text string) (bool, error) {
	switch {
	case e.failed != nil:
		return false, e.failed
	case e.linear != nil:
		return e.linear.MatchString(text), nil
	}
	return e.general.MatchString(text)
}

// groupsOf matches again, for the groups. group 0 is the whole match.
func (e *expression) groupsOf(text string) (func(n int) string, error) {
	if e.linear != nil {
		loc := e.linear.FindStringSubmatchIndex(text)
		return func(n int) string {
			if 2*n+1 >= len(loc) || loc[2*n] < 0 {
				return ""
			}
			return e.original(text[loc[2*n]:loc[2*n+1]])
		}, nil
	}
	m, err := e.general.FindStringMatch(text)
	if err != nil {
		return nil, err
	}
	return func(n int) string {
		if m == nil {
			return ""
		}
		g := m.GroupByNumber(n)
		if g == nil || len(g.Captures) == 0 {
			return ""
		}
		return e.original(g.String())
	}, nil
}

// Lookup finds the first rule that matches the key.
func (t *pcreTable) Lookup(key string) (string, bool, error) {
	fail := func(line int, err error) error {
		maillog.Warnf("pcre map %s, line %d: %s", strings.TrimPrefix(t.Name(), "pcre:"), line, err)
		return &table.Error{Err: err}
	}
	hitLine := 0
	text := rules.NewText(key)
	hit, err := t.program.Run(func(r *rule, line int) (bool, error) {
		if r.filter.Excludes(text) {
			hitLine = line
			return r.negate, nil
		}
		matched, err := r.matches(r.text(key))
		if err != nil {
			return false, fail(line, err)
		}
		hitLine = line
		return matched != r.negate, nil
	})
	if hit == nil || err != nil {
		return "", false, err
	}
	if !hit.result.HasGroups() {
		return hit.result.Plain(), true, nil
	}
	group, err := hit.groupsOf(hit.text(key))
	if err != nil {
		return "", false, fail(hitLine, err)
	}
	return hit.result.Expand(group), true, nil
}
