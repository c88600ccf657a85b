package rules

import (
	"regexp"
	"testing"
)

func TestFilter(t *testing.T) {
	for _, c := range []struct {
		pattern, key string
		excludes     bool
	}{
		{`(?i)viagra`, "buy VIAGRA now", false},
		{`(?i)viagra`, "buy viagr a", true},
		{`\Afrom: .*@(spam|ham)\.example`, "from: a@ham.example", false},
		{`\Afrom: .*@(spam|ham)\.example`, "from: a@jam.example", true},
		{`(foo|bar)`, "a bar", false},
		{`(foo|bar)`, "a baz", true},
		{`(foo|x*)`, "", false},
		{`(foo|x*)`, "y", false},
		{`ab(cd)ef`, "abcdef", false},
		{`ab(cd)ef`, "abcd ef", true},
		{`a?b*`, "zzz", false},
		{`(abc){2,}`, "ab ab", true},
		{`[0-9]+`, "none", false},
		{`(?i)KELVIN`, "\u212aelvin", false},
		{`(?i)\x{17f}ection`, "Section", false},
		{`@`, "no at", true},
	} {
		f := NewFilter(c.pattern)
		if got := f.Excludes(NewText(c.key)); got != c.excludes {
			t.Errorf("%s excludes %q: %v", c.pattern, c.key, got)
		}
		if c.excludes && regexp.MustCompile(c.pattern).MatchString(c.key) {
			t.Errorf("%s matches %q", c.pattern, c.key)
		}
	}
}

// What a pattern matches is never excluded.
func FuzzFilter(f *testing.F) {
	for _, s := range []string{`(?i)a(b|c)d*e`, `\Ax[yz]+(one|two|)w\z`, `(?s).*foo.{2,3}bar`, `(?m)^k\bs$`} {
		f.Add(s, "abde xyone foo12bar ks")
	}
	f.Fuzz(func(t *testing.T, pattern, key string) {
		re, err := regexp.Compile(pattern)
		if err != nil {
			return
		}
		if filter := NewFilter(pattern); filter.Excludes(NewText(key)) && re.MatchString(key) {
			t.Errorf("%q matches %q", pattern, key)
		}
	})
}
