package config

import (
	"fmt"
	"slices"
	"testing"

	"suffix/pkg/params"
)

func TestSplit(t *testing.T) {
	for _, c := range []struct {
		name  string
		split func(string) []string
		text  string
		want  []string
	}{
		{"plain", SplitList, " a,,b\tc\r\n{d e}", []string{"a", "b", "c", "{d", "e}"}},
		{"brace", SplitBrace, "a {b, {c} d},pipemap:{x, y} z}", []string{"a", "{b, {c} d}", "pipemap:{x, y}", "z}"}},
		{"brace, unbalanced", SplitBrace, "a {b, c", []string{"a", "{b, c"}},
		{"brace, blanks only", SplitBraceBlank, "-o a=b,c {d e}", []string{"-o", "a=b,c", "{d e}"}},
		{"quoted", SplitQuoted, `"a b"@c, d\,e "f`, []string{`"a b"@c`, `d\,e`, `"f`}},
		{"quoted, backslash at end", SplitQuoted, `a\`, []string{`a\`}},
	} {
		if got := c.split(c.text); !slices.Equal(got, c.want) {
			t.Errorf("%s: %q; want %q", c.name, got, c.want)
		}
	}
}

func TestUnwrap(t *testing.T) {
	for _, c := range []struct{ text, inner, problem string }{
		{"{ a = b }", "a = b", ""}, {"{{a}}", "{a}", ""},
		{"{foo -v", "foo -v", `missing '}' in "{foo -v"`}, {"{a b}c", "a b", `syntax error after '}' in "{a b}c"`},
		{"{ x  ", "x  ", `missing '}' in "{ x  "`},
		{"a", "a", `no '{' at start of text in "a"`},
	} {
		if inner, problem := Unwrap(c.text); inner != c.inner || problem != c.problem {
			t.Errorf("Unwrap(%q) = %q, %q", c.text, inner, problem)
		}
	}
}

func TestItemOptions(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "[] <nil>"},
		{"timeout=10s { default_action = 451 4.3.5 no }", "[{timeout 10s 0} {default_action 451 4.3.5 no 0}] <nil>"},
		{"b", `[] malformed option: missing '=' after attribute name: "...b..."`},
		{"{ b }", `[] malformed option: missing '=' after attribute name: "... b ..."`},
		{"=b", `[] malformed option: missing attribute name: "...=b..."`},
		{"{timeout=5s }x", `[] syntax error after '}' in "{timeout=5s }x" in "timeout=5s "`},
	} {
		settings, err := ItemOptions(SplitBrace(c.text))
		if got := fmt.Sprint(settings, " ", err); got != c.want {
			t.Errorf("ItemOptions(%q) = %s; want %s", c.text, got, c.want)
		}
	}
}

func TestSettingValues(t *testing.T) {
	for value, want := range map[string]string{
		"5":  "5s <nil> 5 <nil> 5 <nil>",
		"2m": "2m0s <nil> 0 bad numerical configuration: n = 2m 2m <nil>",
		"0":  "0s invalid n: 0 (min 1) 0 invalid n parameter value 0 < 1 0 <nil>",
		"":   "0s n: bad time value or unit:  0 bad numerical configuration: n =   bad string length 0 < 1: n = ",
	} {
		s := Setting{Name: "n", Value: value}
		duration, terr := s.Time(1)
		number, nerr := s.Int(1)
		text, serr := s.Text(1)
		if got := fmt.Sprint(duration, " ", terr, " ", number, " ", nerr, " "+text, " ", serr); got != want {
			t.Errorf("%q: %s; want %s", value, got, want)
		}
	}
}

func TestItems(t *testing.T) {
	m, _ := load(t, "import_environment = A { B = c d } E=f\nexport_environment = {x\n")
	if got := m.Items(params.ImportEnvironment); !slices.Equal(got, []string{"A", "B = c d", "E=f"}) {
		t.Errorf("import_environment: %q", got)
	}
	m.Items(params.ExportEnvironment)
	if err := m.Err(); err == nil || err.Error() != `export_environment: missing '}' in "{x"` {
		t.Error(err)
	}
}

func FuzzSplit(f *testing.F) {
	f.Add("a {b c},d\\ \"")
	f.Fuzz(func(t *testing.T, text string) {
		for _, split := range []func(string) []string{SplitList, SplitBrace, SplitBraceBlank, SplitQuoted} {
			for _, item := range split(text) {
				if item == "" {
					t.Error("empty item")
				}
			}
		}
		if inner, problem := Unwrap(text); problem == "" && len(inner) > len(text) {
			t.Errorf("Unwrap(%q) = %q", text, inner)
		}
		_, _ = ItemOptions(SplitBrace(text))
	})
}
