package regexp

import (
	"os"
	"slices"
	"strings"
	"testing"

	"suffix/pkg/maillog"
	"suffix/pkg/table"
	"suffix/pkg/table/rules"
	"suffix/pkg/table/tabletest"
)

func openText(t *testing.T, text string, flags table.Flags) (h *table.Handle, logged []string) {
	t.Helper()
	path := t.TempDir() + "/re"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	logged = tabletest.Logged(t, func() { h = tabletest.Open(t, "regexp:"+path, table.Options{Flags: flags}) })
	for i := range logged {
		logged[i] = strings.TrimPrefix(logged[i], "warning: regexp map "+path+", ")
	}
	return h, logged
}

func TestLookup(t *testing.T) {
	h, logged := openText(t, `/^(.+)@(.*)$/ $2.$1/$(1)
/^x/!/y$/ notxy
if /foo/
/bar/ foobar
!/baz/ notbaz
endif
/^\/slash/i S$$1
,com,ma, nope
|pipe| P
IF !/quux/
if /z/
/^z(.)\1/ zz$1
ENDIF
Endif
/é(.)/ e-$1
`, 0)
	if len(logged) != 1 { // ",com,ma": unknown option
		t.Errorf("logged %q", logged)
	}
	for key, want := range map[string]string{
		"a+b@c": "c.a+b/a+b", "xa": "notxy", "xy": "none", "foobar": "foobar", "foo": "notbaz", "foobaz": "none",
		"/slash": "S$1", "/SLASH": "none", "pipe": "P", "zaab": "zza", "z11": "zz1", "éx": "e-x", "quuxzaa": "none",
	} {
		if got := tabletest.Find(t, h, key); got != want {
			t.Errorf("%s: %q, want %q", key, got, want)
		}
	}
}

func TestWarnings(t *testing.T) {
	_, logged := openText(t, `/(c)/ $1b
/a/ $2
!/c/ $1
/*/ a
/a/z c
/a c
!
foo
/a/ ${x}
/a/ $0
/a/
endif x
if
/x/ ${
/x/ $
if /a/ x
/a/!/(b)/ $1
if /a/
`, 0)
	want := []string{
		`line 1: non-numeric replacement index "1b"`,
		`line 1: bad replacement syntax: skipping this rule`,
		`line 2: out of range replacement index "2": skipping this rule`,
		`line 3: $number found in negative match replacement text: skipping this rule`,
		`line 4: Invalid preceding regular expression`,
		`line 5: unknown regexp option "z": skipping this rule`,
		`line 6: no closing regexp delimiter "/": skipping this rule`,
		`line 7: no regexp: skipping this rule`,
		`line 8: ignoring unrecognized request`,
		`line 9: non-numeric replacement index "x"`,
		`line 9: bad replacement syntax: skipping this rule`,
		`line 10: out-of-range replacement index "0"`,
		`line 10: bad replacement syntax: skipping this rule`,
		`line 11: no replacement text: using empty string`,
		`line 12: ignoring ENDIF without matching IF`,
		`line 13: no regexp: skipping this rule`,
		`warning: truncated macro reference: "${"`,
		`line 14: bad replacement syntax: skipping this rule`,
		`warning: empty macro name: "$"`,
		`line 15: bad replacement syntax: skipping this rule`,
		`line 16: ignoring extra text after IF statement: "x"`,
		`line 16: do not prepend whitespace to statements between IF and ENDIF`,
		`line 17: out of range replacement index "1": skipping this rule`,
		`line 18: IF has no matching ENDIF`,
		`line 16: IF has no matching ENDIF`,
	}
	if !slices.Equal(logged, want) {
		t.Errorf("logged\n%s\nwant\n%s", strings.Join(logged, "\n"), strings.Join(want, "\n"))
	}
}

func TestNoSubstitution(t *testing.T) {
	h, logged := openText(t, "/(a)/ x$1\n/a/ y\n", table.NoRegSub)
	if got := tabletest.Find(t, h, "a"); got != "y" {
		t.Errorf("got %s", got)
	}
	if want := []string{"line 1: regular expression substitution is not allowed: skipping this rule"}; !slices.Equal(logged, want) {
		t.Errorf("logged %q", logged)
	}
}

// A pattern that takes too long fails the lookup: it is no miss.
func TestLimitIsError(t *testing.T) {
	h, _ := openText(t, "/(a*)*(a*)*(a*)*\\1b/ REJECT\n/a/ OK\n", 0)
	logged := tabletest.Logged(t, func() {
		if got := tabletest.Find(t, h, strings.Repeat("a", 60)); got != "error" {
			t.Errorf("got %s", got)
		}
	})
	if len(logged) != 1 {
		t.Errorf("logged %q", logged)
	}
}

func FuzzRule(f *testing.F) {
	for _, s := range []string{"/a(b)/i $1", "!/x/!/y/m z", "if /a/", "endif", "/^x\\/y/x ${1}$$"} {
		f.Add(s, "ab")
	}
	maillog.Init("fuzz", maillog.StderrOnly("fuzz"))
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		f.Fatal(err)
	}
	saved := os.Stderr
	os.Stderr = null
	defer func() { os.Stderr = saved }()
	f.Fuzz(func(t *testing.T, line, key string) {
		if line == "" || len(line) > 60 || len(key) > 60 {
			return
		}
		src := &rules.Source{Type: "regexp", Name: "x"}
		r := &regexpTable{Base: src.Base()}
		r.add(src, 1, line, table.Options{})
		r.program.Finish(func(int) {})
		if _, _, err := r.Lookup(key); err != nil && table.IsConfig(err) {
			t.Error(err)
		}
	})
}
