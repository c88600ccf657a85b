package cidr

import (
	"os"
	"slices"
	"strings"
	"testing"

	"suffix/pkg/table"
	"suffix/pkg/table/rules"
	"suffix/pkg/table/tabletest"
)

const source = `# comment
10.0.0.0/8 net10
!192.168.0.0/16 not192
if 192.168.1.0/24
192.168.1.1 one
!192.168.1.2 nottwo
endif
2001:db8::/32 six
[::1] loop
::ffff:0:0/96 mapped
192.168.0.0/16 rest
`

func TestLookup(t *testing.T) {
	path := t.TempDir() + "/cidr"
	if err := os.WriteFile(path, []byte(source), 0o644); err != nil {
		t.Fatal(err)
	}
	h := tabletest.Open(t, "cidr:"+path, table.Options{})
	// As the real postmap -q answers.
	for key, want := range map[string]string{
		"10.1.2.3": "net10", "8.8.8.8": "not192", "192.168.1.1": "one", "192.168.1.3": "nottwo", "192.168.1.2": "rest",
		"192.168.9.9": "rest", "2001:db8::5": "six", "2001:DB8:0:0::5": "six", "::1": "loop", "::ffff:1.2.3.4": "mapped",
		"2001:dead::": "none", "foo": "none", "10.1": "none", "010.1.1.1": "none", "": "none", "fe80::1%eth0": "none",
	} {
		if got := tabletest.Find(t, h, key); got != want {
			t.Errorf("%s: %s, want %s", key, got, want)
		}
	}
}

func TestWarnings(t *testing.T) {
	name := "{{1.2.3.4/8 x} {1.2.3.4} {1.2.3/24 x} {} {1.2.3.4/33 x} {1.2.3.4/x x} {1.2.3.4/ x} {/8 x} {[::1 x} {[::1]a x} {[::1/128] x}" +
		" {[::]/0 y} {::1/64 x} {! 1.2.3.4 x} {if} {if 1.2.3.4 x} {endif x} {endif} {01.2.3.4 x} {1.2.3.4/08 x} {if !1.2.3.4}}"
	logged := tabletest.Logged(t, func() { tabletest.Open(t, "cidr:"+name, table.Options{}) })
	want := []string{
		`line 1: non-null host address bits in "1.2.3.4/8", perhaps you should use "1.0.0.0/8" instead: skipping this rule`,
		`line 2: no lookup result: skipping this rule`,
		`line 3: bad network value in "1.2.3/24": skipping this rule`,
		`line 5: bad mask length in "1.2.3.4/33": skipping this rule`,
		`line 6: bad mask value in "1.2.3.4/x": skipping this rule`,
		`line 7: bad mask value in "1.2.3.4/": skipping this rule`,
		`line 8: bad network value in "/8": skipping this rule`,
		`line 9: missing ']' character after "[::1": skipping this rule`,
		`line 10: garbage after "[::1]": skipping this rule`,
		`line 13: non-null host address bits in "::1/64", perhaps you should use "::/64" instead: skipping this rule`,
		`line 15: no address pattern: skipping this rule`,
		`line 16: bad address pattern: "1.2.3.4 x": skipping this rule`,
		`line 17: garbage after ENDIF: skipping this rule`,
		`line 18: ENDIF without IF: skipping this rule`,
		`line 19: bad address pattern: "01.2.3.4": skipping this rule`,
		`line 20: non-null host address bits in "1.2.3.4/08", perhaps you should use "1.0.0.0/8" instead: skipping this rule`,
		`line 21: IF has no matching ENDIF`,
	}
	for i := range want {
		want[i] = "warning: cidr map " + name + ", " + want[i]
	}
	if !slices.Equal(logged, want) {
		t.Errorf("logged\n%s\nwant\n%s", strings.Join(logged, "\n"), strings.Join(want, "\n"))
	}
}

func TestInlineErrors(t *testing.T) {
	for spec, want := range map[string]string{
		"cidr:{{1.2.3.4 x} y}": `cidr map: no '{' at start of text in "y"`,
		"cidr:{{1.2.3.4 x}":    `cidr map: missing '}' in "{{1.2.3.4 x}"`,
		"cidr:{{1.2.3.4 x}z}":  `cidr map: syntax error after '}' in "{1.2.3.4 x}z"`,
		"cidr:/no/such":        `open /no/such: No such file or directory`,
	} {
		h := table.Open(spec, table.Options{Command: true})
		if h.Err() == nil || h.Err().Error() != want {
			t.Errorf("%s: %v, want %s", spec, h.Err(), want)
		}
		h.Close()
	}
}

func FuzzRule(f *testing.F) {
	for _, line := range strings.Split(source, "\n") {
		f.Add(line, "192.168.1.1")
	}
	f.Fuzz(func(t *testing.T, line, key string) {
		src := &rules.Source{Type: "cidr", Name: "x"}
		c := &cidr{Base: src.Base()}
		if c.add(src, rules.Line{Number: 1, Text: line}) == nil {
			c.program.Finish(func(int) {})
			if _, _, err := c.Lookup(key); err != nil {
				t.Error(err)
			}
		}
	})
}
