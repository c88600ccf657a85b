package dbcommon

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/table"
	_ "suffix/pkg/table/simple"
	"suffix/pkg/table/tabletest"
)

// write writes a file that looks old, so that it is read once.
func write(t testing.TB, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	old := time.Unix(1e9, 0)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	return path
}

// source reads a client file with the given text.
func source(t testing.TB, text string) *Source {
	t.Helper()
	s, err := Parse("test", write(t, filepath.Join(t.TempDir(), "client.cf"), text), table.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// mainConfig loads a main.cf.
func mainConfig(t testing.TB, text string) *config.Main {
	t.Helper()
	dir := t.TempDir()
	write(t, dir+"/main.cf", "compatibility_level = 3.6\n"+text)
	cfg, err := config.Load(config.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func TestSourceFile(t *testing.T) {
	s := source(t, "# comment\nhosts = a,\n  b\nlimit=5\nswitch = Yes\nempty =\ndollar = $mydomain\n")
	if v := s.String("hosts", "x", 0, 0); v != "a,  b" {
		t.Errorf("%q", v)
	}
	if v := s.String("missing", "default", 1, 10); v != "default" {
		t.Errorf("%q", v)
	}
	if v := s.String("dollar", "", 0, 0); v != "$mydomain" {
		t.Errorf("%q", v)
	}
	if v := s.Int("limit", 1, 1, 9); v != 5 {
		t.Error(v)
	}
	if !s.Bool("switch", false) || !s.Bool("other", true) {
		t.Error("bool")
	}
	if v, set := s.Lookup("empty"); v != "" || !set {
		t.Error(v, set)
	}
	if uid, known := s.Owner(); uid != os.Getuid() || !known {
		t.Error(uid, known)
	}
	if s.Err() != nil {
		t.Error(s.Err())
	}
}

func TestSourceMainCf(t *testing.T) {
	cfg := mainConfig(t, "word = from\nt_query = select $word\nt_limit = x\n")
	s, err := Parse("test", "t", table.Options{Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	if v := s.String("query", "", 0, 0); v != "select from" {
		t.Errorf("%q", v)
	}
	if uid, _ := s.Owner(); uid != os.Getuid() {
		t.Error(uid)
	}
	s.Int("limit", 0, 0, 0)
	if s.Err() == nil || s.Err().Error() != "bad numerical configuration: t_limit = x" {
		t.Error(s.Err())
	}
	// Without a configuration all is at its default.
	if s, err = Parse("test", "t", table.Options{}); err != nil || s.String("query", "none", 0, 0) != "none" {
		t.Error(err)
	}
}

func TestSourceErrors(t *testing.T) {
	for _, c := range []struct {
		text, want string
		read       func(s *Source)
	}{
		{"name = v", "bad string length 1 < 2: name = v", func(s *Source) { s.String("name", "", 2, 0) }},
		{"", "bad string length 0 < 1: name = ", func(s *Source) { s.String("name", "", 1, 0) }},
		{"name = abc", "bad string length 3 > 2: name = abc", func(s *Source) { s.String("name", "", 0, 2) }},
		{"name = 1x", "bad numerical configuration: name = 1x", func(s *Source) { s.Int("name", 0, 0, 0) }},
		{"name =", "bad numerical configuration: name = ", func(s *Source) { s.Int("name", 0, 0, 0) }},
		{"name = 1", "invalid name parameter value 1 < 2", func(s *Source) { s.Int("name", 5, 2, 0) }},
		{"name = 9", "invalid name parameter value 9 > 8", func(s *Source) { s.Int("name", 5, 2, 8) }},
		{"name = on", "bad boolean configuration: name = on", func(s *Source) { s.Bool("name", true) }},
		{"name = on", "bad boolean configuration: name = on", func(s *Source) { s.Bool("name", true); s.Int("name", 0, 0, 0) }},
	} {
		s := source(t, c.text)
		c.read(s)
		if want := s.Name() + ": " + c.want; s.Err() == nil || s.Err().Error() != want {
			t.Errorf("%v, want %s", s.Err(), want)
		}
	}
	dir := t.TempDir()
	for text, want := range map[string]string{
		"name": `PATH, line 1: missing '=' after attribute name: "name"`, "\n = v": `PATH, line 2: missing attribute name: "= v"`,
		"a = b\n= v": `PATH, line 2: missing attribute name: "= v"`,
	} {
		path := write(t, dir+"/bad.cf", text)
		_, err := Parse("test", path, table.Options{})
		if text == "\n = v" { // a line that continues nothing is skipped
			if err != nil {
				t.Error(err)
			}
		} else if err == nil || err.Error() != strings.ReplaceAll(want, "PATH", path) {
			t.Error(err)
		}
	}
	if _, err := Parse("test", "/nonexistent", table.Options{}); err == nil || err.Error() != "open /nonexistent: No such file or directory" {
		t.Error(err)
	}
	if _, err := Parse("test", dir, table.Options{}); err == nil || err.Error() != "read "+dir+": Is a directory" {
		t.Error(err)
	}
	if _, err := Parse("test", "x", table.Options{Mode: table.ReadWrite}); err == nil || err.Error() != "test:x map requires O_RDONLY access mode" {
		t.Error(err)
	}
}

func TestSourceWarnings(t *testing.T) {
	var path string
	logged := tabletest.Logged(t, func() { path = source(t, " x = y\na = b\na = b\na = c\n").Name() })
	want := []string{"warning: " + path + `: logical line must not start with whitespace: " x = y"`, "warning: " + path + ", line 4: overriding earlier entry: a=b"}
	if !slices.Equal(logged, want) {
		t.Errorf("%q", logged)
	}
}

func FuzzSource(f *testing.F) {
	f.Add("a = b\n c\n#\n= x\n")
	f.Add("query = %s\x00\nhosts =\n")
	path := filepath.Join(f.TempDir(), "client.cf")
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse("test", write(t, path, text), table.Options{})
		if err != nil {
			return
		}
		s.Hosts(nil)
		s.Bool("bool", false)
		client, query := s.SQLClient()
		if s.Err() != nil {
			return
		}
		defer client.Close()
		query.Expand("key@example.com", Plain)
		if r, ok := client.Results("key@example.com"); ok {
			_ = r.Add("value") // too many values, perhaps
		}
	})
}
