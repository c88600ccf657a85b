package simple

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/table"
	"suffix/pkg/table/tabletest"
)

func TestLookups(t *testing.T) {
	t.Setenv("suffix_test", "value")
	for _, c := range []struct{ spec, key, want string }{
		{"static:x y", "any", "x y"},
		{"static:{ x y }", "any", "x y"},
		{"inline:{a=b, {c = d e}}", "C", "d e"},
		{"inline:{a=b, a=c}", "a", "c"},
		{`inline:{{"c d" = x}}`, `"c d"`, "x"},
		{"inline:{a=b}", "none", "none"},
		{"randmap:{{a b}}", "x", "{a b}"},
		{"pipemap:{inline:{a=b},inline:{b=c}}", "a", "c"},
		{"pipemap:{inline:{a=b},inline:{x=c}}", "a", "none"},
		{"unionmap:{static:a,inline:{x=b},static:c}", "x", "a,b,c"},
		{"unionmap:{inline:{x=b}}", "y", "none"},
		{"unionmap:{static:a fail:b}", "x", "error"},
		{"fail:x", "x", "error"},
		{"internal:x", "x", "none"},
		{"environ:x", "SUFFIX_TEST", "value"},
		{"unix:passwd.byname", "root", "root:x:0:0:root:/root:/bin/sh"},
		{"unix:passwd.byname", "root:x", "none"},
		{"unix:group.byname", "adm", "adm:x:4:a,b"},
		{"debug:inline:{a=b}", "a", "b"},
	} {
		dir := t.TempDir()
		passwdPath, groupPath = dir+"/passwd", dir+"/group"
		if err := os.WriteFile(passwdPath, []byte("rootx:x:1:1:::\nroot:x:0:0:root:/root:/bin/sh\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(groupPath, []byte("adm:x:4:a,b\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		h := tabletest.Open(t, c.spec, table.Options{Flags: table.Reader})
		if got := tabletest.Find(t, h, c.key); got != c.want {
			t.Errorf("%s: %s is %q, want %q", c.spec, c.key, got, c.want)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	for spec, want := range map[string]string{
		"inline:{a}":               `missing '=' after attribute name: "inline:{a}"; need "inline:{name=value...}"`,
		"inline:{}":                `bad syntax: "inline:{}"; need "inline:{name=value...}"`,
		"inline:{ }":               `empty table: "inline:{ }"; need "inline:{name=value...}"`,
		`inline:{"a=b}`:            `unbalanced '"': "inline:{"a=b}"; need "inline:{name=value...}"`,
		"inline:{=b}":              `no key found; expected format: key = value: "inline:{=b}"; need "inline:{name=value...}"`,
		"inline:{{c=d}x}":          `syntax error after '}' in "{c=d}x": "inline:{{c=d}x}"; need "inline:{name=value...}"`,
		"static:{ x":               `bad static:name syntax: missing '}' in "{ x"`,
		"randmap:x":                `bad syntax: "randmap:x"; need "randmap:{value...}"`,
		"randmap:{}":               `bad syntax: "randmap:{}"; need "randmap:{value...}"`,
		"pipemap:{x}":              `bad syntax: "pipemap:{x}"; need "pipemap:{type:name...}"`,
		"unionmap:{static:a} x":    `bad syntax: "unionmap:{static:a} x"; need "unionmap:{type:name...}"`,
		"unix:foo":                 `unknown table: unix:foo`,
		"texthash:/no/such":        `open database /no/such: No such file or directory`,
		"nosuch:x":                 `unsupported dictionary type: nosuch`,
		"lmdb:x":                   `unsupported dictionary type: lmdb`,
		"static":                   `open dictionary: expecting "type:name" form instead of "static"`,
		"static:":                  `open dictionary: expecting "type:name" form instead of "static:"`,
		"unionmap:{nosuch:a}":      `unsupported dictionary type: nosuch`,
		"debug:texthash:/no/such2": `open database /no/such2: No such file or directory`,
	} {
		h := table.Open(spec, table.Options{Command: true})
		if h.Err() == nil || h.Err().Error() != want {
			t.Errorf("%s: %v, want %s", spec, h.Err(), want)
		}
		h.Close()
	}
	h := table.Open("texthash:x", table.Options{Command: true, Mode: table.ReadWrite})
	defer h.Close()
	if want := "texthash:x map requires O_RDONLY access mode"; h.Err() == nil || h.Err().Error() != want {
		t.Errorf("open for writing: %v", h.Err())
	}
	deep := strings.Repeat("debug:", 200) + "static:x"
	if h := table.Open(deep, table.Options{Command: true}); h.Err() == nil {
		t.Error("200 tables inside each other open")
	}
}

// In a daemon an unusable table is logged and fails each lookup.
func TestUnusable(t *testing.T) {
	logged := tabletest.Logged(t, func() {
		h := table.Open("texthash:/no/such", table.Options{})
		if _, _, err := h.Lookup("x"); err == nil || table.IsConfig(err) {
			t.Errorf("error %v", err)
		}
		h.Close()
	})
	want := []string{"error: open database /no/such: No such file or directory",
		"warning: texthash:/no/such is unavailable. open database /no/such: No such file or directory"}
	if !slices.Equal(logged, want) {
		t.Errorf("logged %q", logged)
	}
}

func TestFatalOpenErrors(t *testing.T) {
	var fatal string
	saved := table.Fatal
	table.Fatal = func(format string, args ...any) { fatal = format }
	defer func() { table.Fatal = saved }()
	cfg := config.New("/", []config.Setting{{Name: "daemon_table_open_error_is_fatal", Value: "yes"}}, config.Options{})
	tabletest.Logged(t, func() { table.Open("texthash:/no/such", table.Options{Config: cfg}).Close() })
	if fatal == "" {
		t.Error("not fatal")
	}
}

func writeOld(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "source")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestTexthash(t *testing.T) {
	path := writeOld(t, "Key value one\n# c\n\"a b\"@c  x\nempty\n\"open x\nlist:  y\nmulti line\n  two\n")
	logged := tabletest.Logged(t, func() {
		h := tabletest.Open(t, "texthash:"+path, table.Options{Flags: table.Reader})
		for key, want := range map[string]string{"KEY": "value one", `"a b"@c`: "x", "multi": "line  two", "empty": "none"} {
			if got := tabletest.Find(t, h, key); got != want {
				t.Errorf("%s: %q, want %q", key, got, want)
			}
		}
	})
	want := []string{
		"warning: " + path + ", line 4: expected format: key whitespace value -- ignoring this line",
		"warning: " + path + ", line 5: unbalanced '\"' in '\"open x' -- ignoring this line",
		"warning: " + path + ", line 6: record is in \"key: value\" format; is this an alias file?",
	}
	if !slices.Equal(logged, want) {
		t.Errorf("logged %q", logged)
	}
}

func TestTexthashDuplicates(t *testing.T) {
	path := writeOld(t, "k 1\nk 2\n")
	h := table.Open("texthash:"+path, table.Options{Command: true})
	defer h.Close()
	if want := path + ", line 2: duplicate entry: \"k\""; h.Err() == nil || h.Err().Error() != want {
		t.Errorf("%v, want %s", h.Err(), want)
	}
	for flags, want := range map[table.Flags]string{table.IgnoreDup: "1", table.ReplaceDup: "2"} {
		if got := tabletest.Find(t, tabletest.Open(t, "texthash:"+path, table.Options{Flags: flags}), "k"); got != want {
			t.Errorf("flags %d: %s", flags, got)
		}
	}
}

func TestFileValues(t *testing.T) {
	a, b := writeOld(t, "first"), writeOld(t, "second")
	h := tabletest.Open(t, "inline:{{k = "+a+" "+b+"}}", table.Options{Flags: table.FileValues})
	got, err := table.DecodeFileValue(tabletest.Find(t, h, "k"))
	if err != nil || got != "first\nsecond" {
		t.Errorf("%q, %v", got, err)
	}
	bad := table.Open("static:/no/such", table.Options{Flags: table.FileValues, Command: true})
	if want := "open /no/such: No such file or directory"; bad.Err() == nil || bad.Err().Error() != want {
		t.Errorf("%v", bad.Err())
	}
}

func TestUTF8Layer(t *testing.T) {
	o := table.Options{Flags: table.Reader}
	logged := tabletest.Logged(t, func() {
		h := tabletest.Open(t, "static:x", o)
		if got := tabletest.Find(t, h, "a\xff"); got != "none" {
			t.Errorf("invalid key: %s", got)
		}
		h = tabletest.Open(t, "randmap:{a\xff}", o)
		if _, _, err := h.Lookup("k"); !table.IsConfig(err) {
			t.Errorf("invalid value: %v", err)
		}
	})
	if len(logged) != 2 || !strings.Contains(logged[0], `non-UTF-8 key "a?": malformed UTF-8 or invalid codepoint`) ||
		!strings.Contains(logged[1], `key "k": non-UTF-8 value "a?": malformed`) {
		t.Errorf("logged %q", logged)
	}
	off := config.New("/", []config.Setting{{Name: "smtputf8_enable", Value: "no"}}, config.Options{})
	if got := tabletest.Find(t, tabletest.Open(t, "static:x", table.Options{Flags: table.Reader, Config: off}), "a\xff"); got != "x" {
		t.Errorf("without the layer: %s", got)
	}
}

func TestInternal(t *testing.T) {
	h := tabletest.Open(t, "internal:test", table.Options{Mode: table.ReadWrite, Flags: table.FoldFix})
	if err := h.Update("B", "2"); err != nil {
		t.Fatal(err)
	}
	if err := h.Update("a", "1"); err != nil {
		t.Fatal(err)
	}
	c, err := h.Cursor()
	if err != nil {
		t.Fatal(err)
	}
	if found, err := h.Delete("A"); !found || err != nil {
		t.Error(found, err)
	}
	// The deleted entry is not listed, though the listing began before.
	if key, value, ok, err := c.Next(); key != "b" || value != "2" || !ok || err != nil {
		t.Error(key, value, ok, err)
	}
	if _, _, ok, err := c.Next(); ok || err != nil {
		t.Error(ok, err)
	}
	static := tabletest.Open(t, "static:x", table.Options{})
	if err := static.Update("a", "b"); err == nil || err.Error() != "table static:x: update operation is not supported" {
		t.Errorf("update of static: %v", err)
	}
	if _, err := static.Cursor(); err == nil || err.Error() != "table static:x: sequence operation is not supported" {
		t.Errorf("listing of static: %v", err)
	}
}

func TestDebugLog(t *testing.T) {
	logged := tabletest.Logged(t, func() {
		h := tabletest.Open(t, "debug:internal:x", table.Options{Mode: table.ReadWrite})
		tabletest.Find(t, h, "k")
		if err := h.Update("k", "v"); err != nil {
			t.Error(err)
		}
		tabletest.Find(t, h, "k")
		if _, err := h.Delete("k"); err != nil {
			t.Error(err)
		}
		if _, err := h.Delete("k"); err != nil {
			t.Error(err)
		}
	})
	want := []string{`internal:x lookup: "k" = not_found`, `internal:x update: "k" = "v": success`, `internal:x lookup: "k" = "v"`,
		`internal:x delete: "k": success`, `internal:x delete: "k": failed`}
	if !slices.Equal(logged, want) {
		t.Errorf("logged %q", logged)
	}
}

func TestRegisteredName(t *testing.T) {
	h := tabletest.Open(t, "static:x", table.Options{Flags: table.Reader})
	if got, want := h.RegisteredName(), "static:x(0,lock|fold_fix|utf8_request)"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	old := config.New("/", []config.Setting{{Name: "suffix_dialect", Value: "3.7"}}, config.Options{})
	if got := tabletest.Open(t, "static:x", table.Options{Flags: table.Reader, Config: old}).RegisteredName(); got != "static:x:" {
		t.Errorf("3.7: %s", got)
	}
}

func TestOwner(t *testing.T) {
	path := writeOld(t, "a b\n")
	if os.Getuid() == 0 {
		if err := os.Chown(path, 12345, -1); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	want := table.FileOwner(info)
	for spec, wantUID := range map[string]int{"texthash:" + path: want, "static:x": 0, "unionmap:{static:x,texthash:" + path + "}": want} {
		if uid, known := tabletest.Open(t, spec, table.Options{}).Owner(); uid != wantUID || !known {
			t.Errorf("%s: %d %v", spec, uid, known)
		}
	}
}

func FuzzInline(f *testing.F) {
	for _, s := range []string{"{a=b}", "{{a = b} c=d}", `{"x y"=z}`, "{", "{{}}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		if h, err := openInline("inline", name, table.Options{Flags: table.FoldFix}); err == nil {
			if _, _, err := h.Lookup("a"); err != nil {
				t.Error(err)
			}
		}
	})
}
