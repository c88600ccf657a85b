package matchlist

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"suffix/pkg/config"
	_ "suffix/pkg/table/cidr"
	_ "suffix/pkg/table/regexp"
	_ "suffix/pkg/table/simple"
	"suffix/pkg/table/tabletest"
)

func match(t *testing.T, l *List, name, addr string) string {
	t.Helper()
	var matched bool
	var err error
	if l.kind == Host {
		matched, err = l.MatchHost(name, addr)
	} else {
		matched, err = l.Match(name + addr)
	}
	switch {
	case err != nil:
		return "error"
	case matched:
		return "yes"
	}
	return "no"
}

func TestLists(t *testing.T) {
	file := t.TempDir() + "/list"
	if err := os.WriteFile(file, []byte("# comment\nin-file.example !not-in-file.example\n  continued.example\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		param, value string
		kind         Kind
		name, addr   string
		want         string
	}{
		{"mydestination", "a.example, b.example", String, "B.Example", "", "yes"},
		{"mydestination", "a.example", String, "x.a.example", "", "no"},
		{"mydestination", "!a.example, static:all", String, "a.example", "", "no"},
		{"mydestination", "!a.example, static:all", String, "b.example", "", "yes"},
		{"mydestination", "!!a.example", String, "a.example", "", "yes"},
		{"mydestination", file, String, "in-file.example", "", "yes"},
		{"mydestination", file, String, "not-in-file.example", "", "no"},
		{"mydestination", file, String, "continued.example", "", "yes"},
		{"mydestination", "!" + file + " static:x", String, "in-file.example", "", "no"},
		{"mydestination", "!" + file + " static:x", String, "not-in-file.example", "", "yes"},
		{"mydestination", "inline:{a.example=1}", String, "A.EXAMPLE", "", "yes"},
		{"mydestination", "Straße.example", String, "STRASSE.example", "", "yes"},
		{"mydestination", "", String, "x", "", "no"},

		{"relay_domains", "example.com", Domain, "a.b.example.com", "", "yes"},
		{"relay_domains", "example.com", Domain, "badexample.com", "", "no"},
		{"relay_domains", "inline:{example.com=1}", Domain, "a.b.example.com", "", "yes"},
		{"relay_domains", "regexp:{{/^example\\.com$/ 1}}", Domain, "a.example.com", "", "no"},
		{"no_parent", "example.com", Domain, "a.example.com", "", "no"},
		{"no_parent", "example.com", Domain, "example.com", "", "yes"},
		{"no_parent", ".example.com", Domain, "a.example.com", "", "yes"},
		{"no_parent", ".example.com", Domain, "example.com", "", "no"},
		{"no_parent", "inline:{.example.com=1}", Domain, "a.b.example.com", "", "yes"},
		{"no_parent", "inline:{example.com=1}", Domain, "a.b.example.com", "", "no"},

		{"mynetworks", "10.0.0.0/8 [::1]/128 [2001:db8::]/32", Host, "unknown", "10.1.2.3", "yes"},
		{"mynetworks", "10.0.0.0/8 [::1]/128 [2001:db8::]/32", Host, "unknown", "11.1.2.3", "no"},
		{"mynetworks", "10.0.0.0/8 [::1]/128 [2001:db8::]/32", Host, "unknown", "2001:db8:1::5", "yes"},
		{"mynetworks", "[::1/128]", Host, "x", "::1", "yes"},
		{"mynetworks", "[::0:1]", Host, "x", "::1", "yes"},
		{"mynetworks", "[127.0.0.1]", Host, "x", "127.0.0.1", "yes"},
		{"mynetworks", "127.0.0.1", Host, "x", "127.0.0.1", "yes"},
		{"mynetworks", "!10.1.0.0/16 10.0.0.0/8", Host, "x", "10.1.2.3", "no"},
		{"mynetworks", "!10.1.0.0/16 10.0.0.0/8", Host, "x", "10.2.2.3", "yes"},
		{"mynetworks", "0.0.0.0/0", Host, "x", "::1", "no"},
		{"mynetworks", "[::]/0", Host, "x", "1.2.3.4", "no"},
		{"mynetworks", "example.com", Host, "mail.example.com", "1.2.3.4", "yes"},
		{"mynetworks", "cidr:{{10.0.0.0/8 x}}", Host, "mail.example.com", "10.2.3.4", "yes"},
		{"mynetworks", "10.0.0.1/8", Host, "x", "10.1.2.3", "error"},
		{"mynetworks", "10.0.0.1/8", Host, "x", "::1", "no"},
		{"mynetworks", "10.0.0.0/99", Host, "x", "10.1.2.3", "error"},
		{"mynetworks", "[::1", Host, "x", "::1", "error"},
		{"postscreen", "10.0.0.0/8", Address, "", "10.1.2.3", "yes"},
		{"postscreen", "static:x", Address, "", "not an address", "no"},

		{"mydestination", "fail:x static:x", String, "a", "", "error"},
		{"mydestination", "a fail:x", String, "a", "", "yes"},
		{"mydestination", "/no/such/file static:x", String, "a", "", "error"},
	} {
		tabletest.Logged(t, func() {
			l := New(c.param, c.value, c.kind, Options{})
			defer l.Close()
			if got := match(t, l, c.name, c.addr); got != c.want {
				t.Errorf("%s = %s: %s[%s]: %s, want %s", c.param, c.value, c.name, c.addr, got, c.want)
			}
		})
	}
}

func TestMessages(t *testing.T) {
	for value, want := range map[string]string{
		"a #b c d e f g h i j k l m n": "warning: mynetworks: #comment after other text is not allowed: #b c d e f g h i j k l ...",
		"/no/such":                     "error: open file /no/such: No such file or directory",
		"hash:/x":                      "error: unsupported dictionary type: hash",
	} {
		logged := tabletest.Logged(t, func() { New("mynetworks", value, Host, Options{}).Close() })
		if !slices.Equal(logged, []string{want}) {
			t.Errorf("%s: logged %q", value, logged)
		}
	}
	for value, want := range map[string]string{
		"fail:x":      "warning: mynetworks: fail:x: table lookup problem",
		"10.0.0.1/8":  `warning: mynetworks: non-null host address bits in "10.0.0.1/8", perhaps you should use "10.0.0.0/8" instead`,
		"10.0.0.0/x":  "",
		"10.0.0.0/33": `warning: mynetworks: bad mask length in "10.0.0.0/33"`,
		"/no/such":    "warning: non-existent:/no/such is unavailable. open file /no/such: No such file or directory|warning: mynetworks: non-existent:/no/such: table lookup problem",
	} {
		l := &List{}
		tabletest.Logged(t, func() { l = New("mynetworks", value, Host, Options{}) })
		logged := tabletest.Logged(t, func() { match(t, l, "", "10.1.1.1") })
		if got := strings.Join(logged, "|"); got != want {
			t.Errorf("%s: logged %q, want %q", value, got, want)
		}
		l.Close()
	}
}

func TestErr(t *testing.T) {
	for value, want := range map[string]string{
		"a ! b":    "mynetworks: no pattern after '!'",
		"/no/such": "open file /no/such: No such file or directory",
		"nosuch:x": "unsupported dictionary type: nosuch",
	} {
		l := New("mynetworks", value, Host, Options{Command: true})
		if l.Err() == nil || l.Err().Error() != want {
			t.Errorf("%s: %v", value, l.Err())
		}
		l.Close()
	}
}

// A command ends with the text of a failed match; nothing is logged before.
func TestCommand(t *testing.T) {
	for value, want := range map[string]string{
		"fail:x":     "mynetworks: fail:x: table lookup problem",
		"10.0.0.1/8": `mynetworks: non-null host address bits in "10.0.0.1/8", perhaps you should use "10.0.0.0/8" instead`,
	} {
		logged := tabletest.Logged(t, func() {
			l := New("mynetworks", value, Host, Options{Command: true})
			defer l.Close()
			_, err := l.MatchHost("x", "10.1.1.1")
			if err == nil || err.Error() != want || !errors.Is(err, ErrLookup) {
				t.Errorf("%s: %v", value, err)
			}
		})
		if len(logged) > 0 {
			t.Errorf("%s: logged %q", value, logged)
		}
	}
	dir := t.TempDir()
	l := New("x", dir, String, Options{Command: true})
	if err := l.Err(); err == nil || err.Error() != "match_list_parse: read file "+dir+": Is a directory" {
		t.Error(err)
	}
}

func TestParentSetting(t *testing.T) {
	cfg := config.New("/", []config.Setting{{Name: "parent_domain_matches_subdomains", Value: "mine"}}, config.Options{})
	for param, want := range map[string]bool{"mine": true, "relay_domains": false} {
		if got := ParentMatches(cfg, param); got != want {
			t.Errorf("%s: %v", param, got)
		}
	}
	l := New("smtpd_client_event_limit_exceptions", "example.com", Host, Options{Config: cfg, ParentOf: "mine"})
	if got := match(t, l, "a.example.com", "1.2.3.4"); got != "yes" {
		t.Errorf("with the setting of another name: %s", got)
	}
	l = New("mine", "example.com", Host, Options{Config: cfg, NoParent: true})
	if got := match(t, l, "a.example.com", "1.2.3.4"); got != "no" {
		t.Errorf("with parent matching off: %s", got)
	}
}

// A file that includes itself ends.
func TestFileLoop(t *testing.T) {
	file := t.TempDir() + "/loop"
	if err := os.WriteFile(file, []byte(file+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	tabletest.Logged(t, func() {
		l := New("x", file, String, Options{})
		if got := match(t, l, "a", ""); got != "error" {
			t.Errorf("got %s", got)
		}
	})
}

func TestPhysicalLines(t *testing.T) {
	file := t.TempDir() + "/list"
	if err := os.WriteFile(file, []byte("a\n#b\n c #d\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cfg := config.New("/", []config.Setting{{Name: "suffix_dialect", Value: "3.7"}}, config.Options{})
	logged := tabletest.Logged(t, func() {
		l := New("x", file, String, Options{Config: cfg})
		for name, want := range map[string]string{"a": "yes", "c": "yes", "b": "no", "d": "no"} {
			if got := match(t, l, name, ""); got != want {
				t.Errorf("%s: %s", name, got)
			}
		}
	})
	if len(logged) != 1 || !strings.Contains(logged[0], "comment at end of line is not supported: #d") {
		t.Errorf("logged %q", logged)
	}
}

func FuzzMatch(f *testing.F) {
	f.Add("10.0.0.0/8 [::1]/128 !a.example .b.example", "x.b.example", "10.1.1.1")
	f.Fuzz(func(t *testing.T, value, name, addr string) {
		if strings.ContainsAny(value, ":/!#") && !strings.Contains(value, "[") {
			return // no files, no tables
		}
		l := &List{param: "x", kind: Host}
		for _, word := range strings.Fields(value) {
			it := item{text: word}
			it.net, it.isNet, it.netErr = parseNetwork(word)
			if it.netErr == nil {
				l.items = append(l.items, it)
			}
		}
		if _, err := l.MatchHost(name, addr); err != nil {
			t.Error(err)
		}
	})
}
