package dbcommon

import (
	"strings"
	"testing"

	"suffix/pkg/table"
	"suffix/pkg/table/tabletest"
)

func TestResults(t *testing.T) {
	for _, c := range []struct {
		conf, key string
		values    []string
		want      string
	}{
		{"", "k", []string{"a", "b,c", "d"}, "a,b,c,d"}, {"", "k", nil, "none"}, {"", "k", []string{"", ""}, "none"}, {"", "k", []string{"a\x00b"}, "a"}, {"", "k", []string{"\x00b"}, "none"},
		{"result_format = <%s>%%", "k", []string{"a", "b"}, "<a>%,<b>%"}, {"result_format = %u", "k", []string{"a", "b@c", "@d", "e@"}, "a,b,e"},
		{"result_format = %d", "k", []string{"a", "b@c", "@d", "e@"}, "c,d"}, {"result_format = %S.%U.%D.%1:%s", "u@d.x", []string{"v"}, "u@d.x.u.d.x.x:v"},
		{"result_format = %D", "k", []string{"v"}, "unsuitable"}, {"result_format = %1", "k", []string{"v"}, "unsuitable"}, {"result_format = %U", "@d", []string{"v"}, "unsuitable"},
		{"expansion_limit = 2", "k", []string{"a", "b"}, "a,b"}, {"expansion_limit = 2", "k", []string{"a", "b", "c"}, "too many"}, {"expansion_limit = 2", "k", []string{"a", "", "b"}, "a,b"},
		{"expansion_limit = 1\nresult_format = %d", "k", []string{"a", "@b", "c"}, "b"}, {"expansion_limit = -1", "k", []string{"a", "b"}, "a,b"},
	} {
		client := source(t, c.conf).Client()
		if client.Err() != nil {
			t.Fatal(client.Err())
		}
		got := func() string {
			r, ok := client.Results(c.key)
			if !ok {
				return "unsuitable"
			}
			for _, value := range c.values {
				if err := r.Add(value); err != nil {
					return "too many"
				}
			}
			if value, found := r.Value(); found {
				return value
			}
			return "none"
		}
		var result string
		tabletest.Logged(t, func() { result = got() })
		if result != c.want {
			t.Errorf("%q of %q: %s, want %s", c.conf, c.values, result, c.want)
		}
	}
}

func TestResultWarnings(t *testing.T) {
	client := source(t, "expansion_limit = 1").Client()
	logged := tabletest.Logged(t, func() {
		r, _ := client.Results("k")
		for _, value := range []string{"", "a", "b"} {
			if err := r.Add(value); (err != nil) != (value == "b") || table.IsConfig(err) {
				t.Error(value, err)
			}
		}
	})
	if len(logged) != 2 || logged[0] != `warning: table "`+client.Table()+`": empty lookup result for: "k" -- ignored` ||
		logged[1] != "warning: dict_test_lookup: "+client.Source.Name()+": Expansion limit exceeded for key: 'k'" {
		t.Error(logged)
	}
}

func TestWanted(t *testing.T) {
	for _, c := range []struct{ domain, key, want string }{
		{"", "x", "yes"}, {"a.example, b.example", "x", "no"}, {"a.example, b.example", "x@B.Example", "yes"}, {"a.example", "x@sub.a.example", "no"},
		{".a.example", "x@sub.a.example", "no"}, {"a.example", "@a.example", "no"}, {"a.example", "x@", "no"}, {",", "x@a", "no"}, {"!a, static:all", "x@a", "no"},
		{"!a, static:all", "x@b", "yes"}, {"fail:x", "x@a", "error"}, {"fail:x", "x", "no"}, {"/nonexistent", "x@a", "error"},
	} {
		var client *Client
		got := "no"
		tabletest.Logged(t, func() {
			client = source(t, "domain = "+c.domain).Client()
			wanted, err := client.Wanted(c.key)
			if err != nil {
				got = "error"
			} else if wanted {
				got = "yes"
			}
		})
		if got != c.want {
			t.Errorf("%s in %q: %s, want %s", c.key, c.domain, got, c.want)
		}
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	}
}

// A failed lookup in the list of domains is warned about once, everywhere.
func TestDomainListFails(t *testing.T) {
	for _, command := range []bool{false, true} {
		s := source(t, "domain = fail:x")
		s.options.Command = command
		client := s.Client()
		logged := tabletest.Logged(t, func() {
			if _, err := client.Wanted("x@y"); err == nil {
				t.Error("no error")
			}
		})
		if len(logged) != 1 || logged[0] != "warning: "+s.Name()+": fail:x: table lookup problem" {
			t.Error(logged)
		}
	}
}

// A command ends with what is wrong in the list of domains.
func TestBadDomainList(t *testing.T) {
	for list, want := range map[string]string{"/nonexistent": "open file /nonexistent: No such file or directory", "!": "PATH: no pattern after '!'"} {
		s := source(t, "domain = "+list)
		s.options.Command = true
		s.Client()
		if want = strings.ReplaceAll(want, "PATH", s.Name()); s.Err() == nil || s.Err().Error() != want {
			t.Error(s.Err())
		}
	}
}
