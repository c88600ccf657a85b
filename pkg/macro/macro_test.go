package macro

import (
	"errors"
	"fmt"
	"strings"
	"testing"
)

func vars(name string) (string, bool) {
	v, ok := map[string]string{
		"A": "aval", "E": "", "B": "$$x", "C": "$C", "R": "[$A]", "D": "a.b",
	}[name]
	return v, ok
}

func TestExpand(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"plain", "plain"},
		{"[$A][${A}][$(A)][$A.x][${ A }]", "[aval][aval][aval][aval.x][aval]"},
		{"[$U][${U}]", "[][]"},
		{"a$$b", "a$b"},
		{"$B", "$x"},
		{"$R", "[aval]"},
		{"${A?yes} ${E?yes}|${A:no} ${E:no}|${U?y}${U:undef}", "yes | no|undef"},
		{"${A?{x}:{y}} ${E ? { x } : { y }}", "x  y "},
		{"${A?{a}:b c}", "a"},
		{"[${E?{x}:  q  }]", "[  q  ]"},
		{"${A?x:y}", "x:y"},
		{"${A??foo:{b}ar}", "?foo:{b}ar"},
		{"${A?  x y }", "  x y "},
		{"${C?y}", "y"}, // the tested value is not expanded
		{"${{10}<{9}?{t}:{f}} ${{10}<{9x}?{t}:{f}} ${{010}=={10}?{t}:{f}}", "f t t"},
		{"${{a}=={a}} [${{a}=={b}}] ${{a}=={b}:{no}}", "true [] no"},
		{"${{ a }=={a}?{same}:{other}}", "other"},
		{"${{-3}<{10}}${{}<{10}}", "truetrue"},
		{"${{$A}=={aval}?{$R}:{no}}", "[aval]"},
		{"${{3.10} >=level {3.9} ? {t} : {f}}", "t"},
		{"${{5}<level{4}}|${{5} >=level {+5}}|${{5} ==level {05}}", "|true|true"},
		{"${{ +5. 1.-0} ==level {5.1}}", "true"},
		{"$(A?{x}:(y))", "x"},
		{"x${?y}${:z}${ }", "xz"},
		{"${domain_to_ascii{ $D }}", "a.b"},
		{"${domain_to_ascii{bücher.example}}", "xn--bcher-kva.example"},
		{"${domain_to_utf8{xn--bcher-kva.example}}", "bücher.example"},
	} {
		got, err := Expand(c.text, vars, Options{})
		if err != nil || got != c.want {
			t.Errorf("Expand(%q) = %q, %v; want %q", c.text, got, err, c.want)
		}
	}
}

func TestExpandErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"$ A", `empty macro name: "$ A"`},
		{"x$", `empty macro name: "x$"`},
		{"${}", `empty macro name: "${}"`},
		{"$(A", `truncated macro reference: "$(A"`},
		{"${A b?c}", `attribute name syntax error at: "...A>>> b?c"`},
		{"${ A b}", `attribute name syntax error at: "... A>>> b"`},
		{"${-?y}", `attribute name syntax error at: "...>>>-?y"`},
		{"${A?{x} y}", `":" expected at: "...x}>>>y"`},
		{"${E?{x}{y}}", `":" expected at: "...x}>>>{y}"`},
		{"${A?{x}:{y} : {z}}", `unexpected input at: "...y}>>>: {z}"`},
		{"${A:{x}:{y}}", `unexpected input at: "...x}>>>:{y}"`},
		{"${{a}}", `"==" or "!="" or "<"" or "<="" or ">="" or ">" expected at: "...a}>>>"`},
		{"${{a} ~ {b}}", `"==" or "!="" or "<"" or "<="" or ">="" or ">" expected at: "...a}>>>~ {b}"`},
		{"${{1}==={1}}", `"==" or "!="" or "<"" or "<="" or ">="" or ">" expected at: "...1}>>>==={1}"`},
		{"${{ $A } == b}", `"{expression}" expected at: "...{ $A } ==>>> b"`},
		{"${{5}< level{4}}", `"{expression}" expected at: "...{5} <>>> level{4}"`},
		{"${{a}=={b}z}", `"?" or ":" expected at: "...}>>>z"`},
		{"${{a}=={b}?{x}" + strings.Repeat("z", 30) + "}", `":" expected at: "...x}>>>` + strings.Repeat("z", 20) + `"`},
		{"${{5} <lev@x {4}}", `bad operator suffix at: "...<>>>lev"`},
		{"${{5} <level {x}}", `malformed compatibility level syntax: "x"`},
		{"${{5} >=level {5. -1}}", `malformed compatibility level syntax: "5. -1"`},
		{"${{8796093022208} >=level {5}}", `malformed compatibility level syntax: "8796093022208"`},
		{"${{5} >=level {5.1024}}", `malformed compatibility level syntax: "5.1024"`},
		{"$(A?{x)", `unbalanced {} in attribute expression: "{x"`},
		{"$C", `unreasonable macro call nesting: "C"`},
		{"${{$C}=={b}}", `unreasonable macro call nesting: "C"`},
		{"${foo{a}}", `unknown function "foo" at"...>>>foo{a}"`},
		{"${domain_to_ascii{a} b}", `unexpected input at: "...a}>>>b"`},
		{"${domain_to_utf8{xn--\xff}}", "bad domain argument in: 'domain_to_utf8{xn--\xff}'"},
	} {
		_, err := Expand(c.text, vars, Options{})
		var e *Error
		if !errors.As(err, &e) || e.Fatal || e.Text != c.want {
			t.Errorf("Expand(%q): %v; want %s", c.text, err, c.want)
		}
	}
	_, err := Expand("${{99999999999999999999} < {4}}", vars, Options{})
	var e *Error
	if !errors.As(err, &e) || !e.Fatal || e.Text != "mac_exp_eval: bad conversion: 99999999999999999999" {
		t.Errorf("number out of range: %v", err)
	}
}

// chain is a lookup in which p0 refers to p1 and so on, pn being plain text.
func chain(n int) Lookup {
	return func(name string) (string, bool) {
		var i int
		if _, err := fmt.Sscanf(name, "p%d", &i); err != nil {
			return "", false
		}
		if i == n {
			return "leaf", true
		}
		return fmt.Sprintf("$p%d", i+1), true
	}
}

func TestDepth(t *testing.T) {
	if got, err := Expand("$p1", chain(100), Options{}); err != nil || got != "leaf" {
		t.Errorf("100 references: %q, %v", got, err)
	}
	if _, err := Expand("$p1", chain(101), Options{}); err == nil || err.Error() != `unreasonable macro call nesting: "leaf"` {
		t.Errorf("101 references: %v", err)
	}
}

// Values that double at each step and comparisons that contain themselves end
// with an error, not with the memory of the machine.
func TestBounded(t *testing.T) {
	double := func(name string) (string, bool) { return "$x${" + name + "}$x", true }
	if _, err := Expand("$x", double, Options{}); err == nil {
		t.Error("doubling value: no error")
	}
	wide := func(name string) (string, bool) {
		if len(name) > 60 {
			return "x", true
		}
		return "$" + name + "a$" + name + "b", true
	}
	if _, err := Expand("$q", wide, Options{}); err == nil {
		t.Error("exponential value: no error")
	}
	self := func(string) (string, bool) { return "${{$x}=={1}}", true }
	if _, err := Expand("$x", self, Options{}); err == nil {
		t.Error("comparison within itself: no error")
	}
}

func TestOptions(t *testing.T) {
	if got, _ := Expand("<$R>", vars, Options{Once: true}); got != "<[$A]>" {
		t.Errorf("Once: %q", got)
	}
	only := func(name string) bool { return name == "R" }
	if got, _ := Expand("$R$B", vars, Options{Verbatim: only}); got != "[$A]$x" {
		t.Errorf("Verbatim: %q", got)
	}
	if got, _ := Expand("/$R/", vars, Options{Once: true, Allowed: "aA"}); got != "/__A_/" {
		t.Errorf("Allowed: %q", got)
	}
}

func TestNames(t *testing.T) {
	var got []string
	err := Names("$a ${b?{$c}:{${d}}} ${{$e}=={x$f}?$g:z}", func(name string, test bool) {
		if test {
			name += "?"
		}
		got = append(got, name)
	})
	if want := "a b? c d e f g"; err != nil || strings.Join(got, " ") != want {
		t.Errorf("Names: %q, %v; want %q", got, err, want)
	}
}

// Names in front of a mistake count when the mistake is among the branches.
func TestNamesBeforeMistake(t *testing.T) {
	for text, want := range map[string]string{
		"${a?{$b}x}": "a b", "${a?{$b}:{$c}x}": "a b c", "${{$a}=={$b}?{$c}x}": "a b c", "${{$a}=={$b}x}": "a b",
		"${{$a}={$b}}": "", "${{$a}==levl{$b}}": "", "${{$a} == $b}": "", "${a-b}": "", "${a?{$b}": "", "$a$": "a",
	} {
		var got []string
		err := Names(text, func(name string, _ bool) { got = append(got, name) })
		if err == nil || strings.Join(got, " ") != want {
			t.Errorf("%s: %q, %v; want %q", text, got, err, want)
		}
	}
}

func FuzzExpand(f *testing.F) {
	for _, s := range []string{"$A${B?{x}:{y}}", "${{a}<level{3.6}?{x}:{$C}}", "$(A:b)$$", "${domain_to_utf8{xn--x}}", "${"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		res, err := Expand(text, vars, Options{})
		if err != nil && err.Error() == "" {
			t.Error("error without text")
		}
		if err == nil && !strings.Contains(text, "$") && res != text {
			t.Errorf("text without $ changed: %q -> %q", text, res)
		}
		_ = Names(text, func(string, bool) {})
	})
}
