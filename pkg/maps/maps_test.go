package maps

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"suffix/pkg/table"
	_ "suffix/pkg/table/regexp"
	_ "suffix/pkg/table/simple"
	"suffix/pkg/table/tabletest"
)

func TestFind(t *testing.T) {
	m := Open("test_maps", "inline:{a=1}, inline:{a=2,b=3}", table.Options{Flags: table.Reader})
	defer m.Close()
	for key, want := range map[string]string{"a": "1", "B": "3", "c": "", "": ""} {
		if v, found, err := m.Find(key); v != want || found != (want != "") || err != nil {
			t.Errorf("%s: %q %v %v", key, v, found, err)
		}
	}
	if m.Empty() || !Open("x", "", table.Options{}).Empty() || !(*Maps)(nil).Empty() {
		t.Error("Empty is wrong")
	}
}

// An error ends the search: a later table must not answer instead.
func TestErrors(t *testing.T) {
	logged := tabletest.Logged(t, func() {
		m := Open("test_maps", "fail:x static:y", table.Options{})
		if v, found, err := m.Find("k"); found || err == nil || table.IsConfig(err) {
			t.Errorf("%q %v %v", v, found, err)
		}
		m = Open("test_maps", "inline:{k=} static:y", table.Options{})
		if v, found, err := m.Find("k"); found || !table.IsConfig(err) {
			t.Errorf("empty result: %q %v %v", v, found, err)
		}
	})
	want := []string{`warning: fail:x lookup error for "k"`,
		"warning: test_maps lookup of k returns an empty string result",
		"warning: test_maps should return NO RESULT in case of NOT FOUND"}
	if !slices.Equal(logged, want) {
		t.Errorf("logged %q", logged)
	}
}

// recorder tells what keys are looked up.
type recorder struct {
	fixed bool
	keys  *[]string
}

func (r recorder) Lookup(key string) (string, bool, error) {
	*r.keys = append(*r.keys, key)
	return "", false, nil
}
func (r recorder) Name() string  { return "recorder:x" }
func (r recorder) Fixed() bool   { return r.fixed }
func (r recorder) Changed() bool { return false }
func (r recorder) Close() error  { return nil }

func TestAddressKeys(t *testing.T) {
	var keys []string
	table.Register("recorder", table.Type{Open: func(_, name string, _ table.Options) (table.Table, error) {
		return recorder{name == "fixed", &keys}, nil
	}})
	isLocal := func(domain string) (bool, error) { return domain == "local", nil }
	ext := Extension{Delimiters: "+-", OwnerRequestSpecial: true}
	for _, c := range []struct {
		table, address string
		search         Search
		want           string
	}{
		{"fixed", "user+ext@dom", Search{Extension: ext}, "user+ext@dom user@dom @dom"},
		{"fixed", "user+ext@local", Search{Extension: ext, IsLocal: isLocal}, "user+ext@local user@local user+ext user @local"},
		{"fixed", "user@local", Search{Extension: ext, IsLocal: isLocal}, "user@local user @local"},
		{"fixed", "user+ext@dom", Search{IsLocal: isLocal}, "user+ext@dom @dom"},
		{"pattern", "user+ext@local", Search{Extension: ext, IsLocal: isLocal}, "user+ext@local"},
		{"fixed", "a b+x@dom", Search{Extension: ext}, `"a b+x"@dom a b+x@dom "a b"@dom a b@dom @dom`},
		{"fixed", "user", Search{Extension: ext, IsLocal: isLocal}, "user"},
		{"fixed", "", Search{}, ""},
		{"fixed", "u+x@a.b", Search{Keys: Full | NoExtension | Domain | LocalpartAt, Extension: ext}, "u+x@a.b u@a.b a.b b u+x@ u@"},
		{"fixed", "u@a.b.c", Search{Keys: Full | Domain | DotParents}, "u@a.b.c a.b.c .b.c .c"},
	} {
		keys = nil
		m := Open("test", "recorder:"+c.table, table.Options{})
		if _, found, err := m.FindAddress(c.address, c.search); found || err != nil {
			t.Errorf("%s: %v %v", c.address, found, err)
		}
		if got := strings.Join(keys, " "); got != c.want {
			t.Errorf("%s, %s: keys %q, want %q", c.table, c.address, got, c.want)
		}
		m.Close()
	}
}

func TestAddressMatch(t *testing.T) {
	m := Open("test", "inline:{user@dom=x, @other=y}", table.Options{})
	s := Search{Extension: Extension{Delimiters: "+"}}
	match, found, err := m.FindAddress("user+ext@dom", s)
	if err != nil || !found || match.Value != "x" || match.Extension != "+ext" || match.Key != "user@dom" || !match.Partial {
		t.Errorf("%+v %v %v", match, found, err)
	}
	match, found, err = m.FindAddress("any+e@other", s)
	if err != nil || !found || match.Value != "y" || match.Extension != "+e" {
		t.Errorf("%+v %v %v", match, found, err)
	}
	broken := errors.New("broken")
	s.IsLocal = func(string) (bool, error) { return false, broken }
	if _, _, err := m.FindAddress("nobody@nowhere", s); err != broken {
		t.Errorf("error of IsLocal: %v", err)
	}
}

func TestSplitExtension(t *testing.T) {
	e := Extension{Delimiters: "+-", DoubleBounceSender: "double-bounce", OwnerRequestSpecial: true}
	for local, want := range map[string]string{
		"user+x": "user +x", "user-a+b": "user -a+b", "+x": "+x ", "owner-list": "owner-list ", "Owner-list": "Owner-list ",
		"list-request": "list-request ", "postmaster": "postmaster ", "MAILER-DAEMON": "MAILER-DAEMON ",
		"Double-Bounce": "Double-Bounce ", "plain": "plain ",
	} {
		user, ext := e.Split(local)
		if got := user + " " + ext; got != want {
			t.Errorf("%s: %q, want %q", local, got, want)
		}
	}
	if user, _ := (Extension{Delimiters: "+", OwnerRequestSpecial: true}).Split("owner-x+y"); user != "owner-x" {
		t.Errorf("owner- is special only where '-' is a delimiter: %s", user)
	}
}
