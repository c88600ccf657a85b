package pcre

import (
	"bufio"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"suffix/pkg/table"
	"suffix/pkg/table/rules"
)

// testdata/pcre2.txt has patterns, options, and what PCRE2 makes of them: the
// error, the number of groups, and the text of each group (in hexadecimal)
// for some subjects.
func TestAgainstLibrary(t *testing.T) {
	f, err := os.Open("testdata/pcre2.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	unquote := func(s string) string {
		u, err := strconv.Unquote(s)
		if err != nil {
			t.Fatalf("%s: %v", s, err)
		}
		return u
	}
	lines := 0
	for in := bufio.NewScanner(f); in.Scan(); lines++ {
		field := strings.Split(in.Text(), "\t")
		p := rules.Pattern{Text: unquote(field[0]), Flags: field[1]}
		e, err := newExpression(p)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if want := unquote(field[2]); got != want {
			t.Errorf("%q %s: error %q, want %q", p.Text, p.Flags, got, want)
			continue
		}
		if err != nil {
			continue
		}
		if got := strconv.Itoa(e.groups); got != field[3] {
			t.Errorf("%q: %s groups, want %s", p.Text, got, field[3])
		}
		for i := 4; i+1 < len(field); i += 2 {
			subject := e.text(unquote(field[i]))
			got := "-"
			matched, err := e.matches(subject)
			if err != nil {
				t.Errorf("%q on %q: %v", p.Text, subject, err)
			}
			if matched {
				group, err := e.groupsOf(subject)
				if err != nil {
					t.Fatal(err)
				}
				var all []string
				for n := 0; n <= e.groups; n++ {
					all = append(all, fmt.Sprintf("%x", group(n)))
				}
				got = strings.Join(all, ",")
			}
			if got != field[i+1] {
				t.Errorf("%q %s on %q: %s, want %s", p.Text, p.Flags, subject, got, field[i+1])
			}
		}
	}
	if lines < 300 {
		t.Errorf("only %d lines", lines)
	}
}

// A pattern that takes too long fails the lookup; it does not count as "no match".
func TestTimeLimit(t *testing.T) {
	h := table.Open(`pcre:{{/^(?=(a+)+b)\1$/ REJECT}, {/^/ OK}}`, table.Options{Command: true})
	if h.Err() != nil {
		t.Fatal(h.Err())
	}
	defer h.Close()
	hit, err := h.Driver().(*pcreTable).program.Run(func(r *rule, _ int) (bool, error) { return r.general != nil, nil })
	if err != nil || hit == nil {
		t.Fatal("the pattern does not run on the limited engine:", err)
	}
	hit.general.MatchTimeout = 20 * time.Millisecond
	if value, found, err := h.Lookup(strings.Repeat("a", 60)); err == nil {
		t.Errorf("got %q, %v", value, found)
	}
}

// What we do not know of PCRE must not pass for a rule that does not match.
func TestUnsupported(t *testing.T) {
	h := table.Open(`pcre:{{/^first/ 1}, {/^(a(?R)?b)$/ 2}, {/^/ 3}}`, table.Options{Command: true})
	if h.Err() != nil {
		t.Fatal(h.Err())
	}
	defer h.Close()
	if v, found, err := h.Lookup("first"); v != "1" || !found || err != nil {
		t.Error(v, found, err)
	}
	if v, found, err := h.Lookup("other"); err == nil {
		t.Error(v, found)
	}
}

func FuzzTranslate(f *testing.F) {
	for _, s := range []string{`a(b|c)*`, `(?<n>x)\k<n>`, `[[:alpha:]\d-z]`, `(?|(a)|(b))`, `\Qa\E{2}+`} {
		f.Add(s, "abc", "ix")
	}
	f.Fuzz(func(t *testing.T, pattern, key, flags string) {
		if len(pattern) > 60 || len(key) > 60 || strings.Trim(flags, "imxsAEU") != "" {
			return
		}
		e, err := newExpression(rules.Pattern{Text: pattern, Flags: flags})
		if err != nil {
			return
		}
		if e.general != nil {
			e.general.MatchTimeout = 50 * time.Millisecond
		}
		if matched, err := e.matches(e.text(key)); matched && err == nil {
			if group, err := e.groupsOf(e.text(key)); err == nil {
				group(e.groups)
			}
		}
	})
}
