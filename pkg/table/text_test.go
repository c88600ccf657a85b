package table

import (
	"io"
	"strings"
	"testing"
	"unicode"

	"golang.org/x/text/cases"
)

func TestFold(t *testing.T) {
	fold := cases.Fold()
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if 0xd800 <= r && r < 0xe000 || unicode.Is(unicode.Cherokee, r) {
			continue
		}
		if got, want := Fold("é"+string(r), true), fold.String("é"+string(r)); got != want {
			t.Errorf("%U: %q, want %q", r, got, want)
		}
	}
	for _, c := range []struct {
		in, want string
		full     bool
	}{
		{"User@Example.COM", "user@example.com", true},
		{"Straße", "strasse", true},
		{"ÄÖ", "ÄÖ", false},
		{"A\xffB", "a\xffb", true},
		{"ꭰᎠ", "ᎠᎠ", true},
	} {
		if got := Fold(c.in, c.full); got != c.want {
			t.Errorf("Fold(%q, %v) = %q, want %q", c.in, c.full, got, c.want)
		}
	}
}

func TestLines(t *testing.T) {
	in := " leading\n# comment\nfirst\n  more\n\n # comment inside\n\tend\n\nsecond\r\nthird without newline"
	var warnings []string
	r := NewLineReader(strings.NewReader(in), "/f")
	r.Warn = func(format string, args ...any) { warnings = append(warnings, format) }
	want := []struct {
		text string
		line int
	}{{"first  more\tend", 3}, {"second\r", 9}, {"third without newline", 10}}
	for _, w := range want {
		got, err := r.Next()
		if err != nil || string(got) != w.text || r.Line() != w.line {
			t.Errorf("line %d %q, %v; want line %d %q", r.Line(), got, err, w.line, w.text)
		}
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("error %v at the end", err)
	}
	if len(warnings) != 1 {
		t.Errorf("warnings: %q", warnings)
	}
}

func TestSplitKeyValue(t *testing.T) {
	for _, c := range []struct {
		line, key, value string
		closed           bool
	}{
		{"a b c ", "a", "b c", true},
		{`"a b"@c  d`, `"a b"@c`, "d", true},
		{`a\ b c`, `a\ b`, "c", true},
		{`"open x`, `"open x`, "", false},
		{`key`, `key`, "", true},
		{`k\`, `k\`, "", true},
	} {
		k, v, closed := SplitKeyValue([]byte(c.line))
		if string(k) != c.key || string(v) != c.value || closed != c.closed {
			t.Errorf("%q: %q %q %v", c.line, k, v, closed)
		}
	}
}

func TestLists(t *testing.T) {
	got := strings.Join(SplitList("hash:/a, pipemap:{x:y, z:w}\tb,,{a {b} c}"), "|")
	if want := "hash:/a|pipemap:{x:y, z:w}|b|{a {b} c}"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	for in, want := range map[string]string{
		"x":       `no '{' at start of text in "x"`,
		"{a":      `missing '}' in "{a"`,
		"{a} b":   `syntax error after '}' in "{a} b"`,
		"{ {a} }": "",
	} {
		_, err := Unbrace(in)
		if got := ""; err != nil && err.Error() != want || err == nil && want != got {
			t.Errorf("%s: %v", in, err)
		}
	}
}

func FuzzLines(f *testing.F) {
	f.Add([]byte("a b\n c\n#d\n\x00 \"e f\" g"))
	f.Fuzz(func(t *testing.T, data []byte) {
		r := NewLineReader(strings.NewReader(string(data)), "/f")
		for total := 0; ; {
			line, err := r.Next()
			if err != nil {
				break
			}
			if total += len(line); total > len(data) {
				t.Fatal("more text than there is")
			}
			SplitKeyValue(CutNUL(line))
		}
	})
}
