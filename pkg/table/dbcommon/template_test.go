package dbcommon

import (
	"strings"
	"testing"

	"suffix/pkg/table/tabletest"
)

// angle quotes text so that a test sees it.
func angle(b []byte, text string) []byte { return append(append(append(b, '<'), text...), '>') }

func TestExpand(t *testing.T) {
	for _, c := range []struct{ template, key, want string }{
		{"plain", "k", "plain"}, {"", "k", ""}, {"%%s", "k", "%s"}, {"a%sb%Sc", "k", "a<k>b<k>c"},
		{"%u|%d", "u@d.example", "<u>|<d.example>"}, {"%U|%D", "u@d.example", "<u>|<d.example>"}, {"%u", "u", "<u>"}, {"%u", "u@", "<u>"},
		{"%u", "@d", "none"}, {"%d", "u", "none"}, {"%d", "u@", "none"}, {"%d", "@d", "<d>"}, {"%s", "@d", "<@d>"}, {"%u@%d", "a@b@c", "<a@b>@<c>"},
		{"%1 %2 %3", "u@a.b.c", "<c> <b> <a>"}, {"%3", "u@b.c", "none"}, {"%1", "a.b", "none"}, {"%1", "u@", "none"},
		{"%2", "u@a..b", "<a>"}, {"%2", "u@.b", "none"}, {"%1", "u@b.", "<b>"}, {"%1", "u@...", "none"}, {"%9", "u@1.2.3.4.5.6.7.8.9", "<1>"},
		{"%9", "u@0.1.2.3.4.5.6.7.8.9", "<1>"}, {"%9", "u@1.2.3.4.5.6.7.8", "none"}, {"%s", "a\x00b", "<a\x00b>"},
	} {
		template := source(t, "").Query(c.template)
		got, ok := template.Expand(c.key, angle)
		if !ok {
			got = "none"
		}
		if got != c.want || template.Suits(c.key) != ok {
			t.Errorf("%s of %s: %s, want %s", c.template, c.key, got, c.want)
		}
	}
}

func TestEmptyKey(t *testing.T) {
	s := source(t, "")
	logged := tabletest.Logged(t, func() {
		if _, ok := s.Query("x").Expand("", Plain); ok {
			t.Error("expanded")
		}
	})
	if want := `warning: table "` + s.Table() + `": empty query string -- ignored`; len(logged) != 1 || logged[0] != want {
		t.Error(logged)
	}
}

func TestBadTemplate(t *testing.T) {
	for _, text := range []string{"%", "a%", "%z", "%0", "%-", "% s", "%%%"} {
		s := source(t, "")
		s.Query(text)
		if want := "db_common_parse: " + s.Name() + ": Invalid query template: " + text; s.Err() == nil || s.Err().Error() != want {
			t.Error(s.Err())
		}
		s = source(t, "")
		s.ResultFormat(text)
		if want := "db_common_parse: " + s.Name() + ": Invalid result template: " + text; s.Err() == nil || s.Err().Error() != want {
			t.Error(s.Err())
		}
	}
}

func TestExpansions(t *testing.T) {
	var got strings.Builder
	source(t, "").Query(`%s '%u' "%d" 'it''s %1' "a'%2" '"' %3`).Expansions(func(letter, quote byte) {
		if quote == 0 {
			quote = '-'
		}
		got.WriteByte(letter)
		got.WriteByte(quote)
	})
	if want := `s-u'd"1'2"3-`; got.String() != want {
		t.Error(got.String())
	}
}

// A template gives what its parts say, and never takes apart the key that it
// quotes.
func FuzzTemplate(f *testing.F) {
	f.Add("select '%s' %u %d %1 %9 %%", "a@b.c")
	f.Add("%", "")
	f.Fuzz(func(t *testing.T, text, key string) {
		template, ok := parseTemplate(text, false)
		if !ok {
			return
		}
		hide := func(b []byte, _ string) []byte { return b }
		fixed, ok := template.Expand(key, hide)
		if !ok {
			return
		}
		rest := strings.NewReplacer("%%", "%", "%s", "", "%S", "", "%u", "", "%U", "", "%d", "", "%D", "", "%1", "", "%2", "", "%3", "", "%4", "", "%5", "", "%6", "", "%7", "", "%8", "", "%9", "").Replace(text)
		if fixed != rest {
			t.Errorf("%q: %q, want %q", text, fixed, rest)
		}
	})
}
