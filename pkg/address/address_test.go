package address

import (
	"reflect"
	"strings"
	"testing"
)

func TestParseAndFormat(t *testing.T) {
	for _, c := range []struct{ in, addrs, out string }{
		{"a b c", "a; b; c", "a, b, c"},
		{"Full Name <a@b> extra", "a@b; extra", "Full Name <a@b>, extra"},
		{"Name <a@b> <c@d>", "a@b; c@d", "Name <a@b> <c@d>"},
		{"a@b <c@d>", "c@d", "a@b <c@d>"},
		{"<@r1,@r2:u@d>", "@r1,@r2:u@d", "<@r1,@r2:u@d>"},
		{"@r1,@r2:u@d", "@r1; @r2:u@d", `""@r1, @r2:u@d`},
		{"grp:a,b;c", "a; b; c", "grp: a, b;, c"},
		{"undisclosed-recipients:;", "", "undisclosed-recipients: ;"},
		{"To: x: y", "To:x:y", `"To:x:y"`},
		{"mailto:a@b", "mailto:a@b", `"mailto:a"@b`},
		{`a\@b@c`, "a@b@c", `"a@b"@c`},
		{`"a@b"@c`, "a@b@c", `"a@b"@c`},
		{"a@b@c", "a@b@c", `"a@b"@c`},
		{`"a.b"@c`, "a.b@c", "a.b@c"},
		{".a@c", ".a@c", `".a"@c`},
		{"a..b@c", "a..b@c", `"a..b"@c`},
		{"a.b.@c", "a.b.@c", `"a.b."@c`},
		{"a@[1.2.3.4]", "a@[1.2.3.4]", "a@[1.2.3.4]"},
		{"a@[IPv6:::1]", "a@[IPv6:::1]", "a@[IPv6:::1]"},
		{"a@[", "a@[]", "a@[]"},
		{"[x]", "[x]", `"[x]"`},
		{"<a b@c>", "ab@c", "<ab@c>"},
		{"<a@b", "<a@b", `"<a"@b`},
		{"a@b>", "a@b", "a@b>"},
		{"<<a@b>>", "a@b>", "< <a@b>>"},
		{"a < b@c , d@e >", "b@c,d@e", `a <"b@c,d"@e>`},
		{"a (x) @ b (y) . c", "a@b.c", "a@b.c (x) (y)"},
		{"a b (c) d@e (f) g@h", "a; b; d@e; g@h", "a, b, d@e (c), g@h (f)"},
		{"x (y) <z> (w)", "z", "x (y) <z>(w)"},
		{"J. R. User <j@x>", "j@x", "J.R.User <j@x>"},
		{`"x"y@z`, "x; y@z", "x, y@z"},
		{"a%b@c", "a%b@c", "a%b@c"},
		{"a!b", "a!b", "a!b"},
		{"a|b@c", "a|b@c", "a|b@c"},
		{"é@x", "é@x", "é@x"},
		{`""@x`, "@x", `""@x`},
		{",,a,,b,", "a; b", ", , a, , b, "},
		{"()", "", "()"},
		{"<>", "", "<>"},
		{";", "", ";"},
	} {
		l := Parse(c.in, 0)
		if got := strings.Join(l.Addresses(), "; "); got != c.addrs {
			t.Errorf("%s: addresses %q, want %q", c.in, got, c.addrs)
		}
		if got := l.String(); got != c.out {
			t.Errorf("%s: text %q, want %q", c.in, got, c.out)
		}
	}
}

func TestQuote(t *testing.T) {
	for _, c := range []struct{ internal, external string }{
		{"a@b@c@d", `"a@b@c"@d`}, {"a b@c", `"a b"@c`}, {"", `""`}, {"@x", `""@x`},
		{"a\rb@c", "\"a\\\rb\"@c"}, {`a"b\c@d`, `"a\"b\\c"@d`}, {"a@[::1]", "a@[::1]"}, {"a%b!c|d@e", "a%b!c|d@e"},
	} {
		if got := Quote(c.internal); got != c.external {
			t.Errorf("Quote(%q) = %q, want %q", c.internal, got, c.external)
		}
		if got := Unquote(c.external); got != c.internal {
			t.Errorf("Unquote(%q) = %q, want %q", c.external, got, c.internal)
		}
	}
	if got := Unquote(`"a@b@c"@d@e`); got != "a@b@c@d@e" {
		t.Errorf("got %q", got)
	}
	if got := Unquote(`"a@b"@c"d\e`); got != `a@b@c"d\e` {
		t.Errorf("domain not kept verbatim: %q", got)
	}
	if got := QuoteSMTP("@a:b\nc@d"); got != "\"@a:b\\\nc\"@d" {
		t.Errorf("got %q", got)
	}
}

func TestTokenLimit(t *testing.T) {
	if got := Parse("a,b,c,d", 3).Addresses(); !reflect.DeepEqual(got, []string{"a", "b"}) {
		t.Errorf("got %q", got)
	}
}

func TestRewrite(t *testing.T) {
	l := Parse("Name <a> (c), b", 0)
	changed, err := l.Rewrite(func(s string) (string, error) { return s + "@x", nil })
	if err != nil || !changed || l.Header() != "Name <a@x>(c),\nb@x" {
		t.Errorf("%v %v %q", changed, err, l.Header())
	}
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"grp:a,b;c", "Name <a@b> <c@d>", `"a\"b"@[c`, "(a(b\\)c)<>;:,>", "a:b:;,:;>>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l := Parse(s, 10240)
		first := l.String()
		for _, a := range l.Addresses() {
			Unquote(Quote(a))
		}
		if n := len(l.Addresses()); n > len(s) {
			t.Errorf("%d addresses in %q", n, s)
		}
		if len(first) > 4*len(s)+4 {
			t.Errorf("%q became %q", s, first)
		}
		if got := Parse(s, 5).Addresses(); len(got) > 5 {
			t.Errorf("limit 5: %q", got)
		}
	})
}
