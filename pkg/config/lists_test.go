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
		{"a", "a", `no '{' at start of text in "a"`},
	} {
		if inner, problem := Unwrap(c.text); inner != c.inner || problem != c.problem {
			t.Errorf("Unwrap(%q) = %q, %q", c.text, inner, problem)
		}
	}
}

func TestItemOptions(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"inet:host:1", "inet:host:1 [] <nil>"},
		{"{ inet:host:1, timeout=10s { default_action = 451 4.3.5 no } }", "inet:host:1 [{timeout 10s 0} {default_action 451 4.3.5 no 0}] <nil>"},
		{"{a b}", ` [] malformed option: missing '=' after attribute name: "...b..."`},
	} {
		item, settings, err := ItemOptions(c.text)
		if got := fmt.Sprint(item, " ", settings, " ", err); got != c.want {
			t.Errorf("ItemOptions(%q) = %s; want %s", c.text, got, c.want)
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
		_, _, _ = ItemOptions(text)
	})
}
