package params

import (
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
)

func TestTable(t *testing.T) {
	if !slices.IsSortedFunc(All(), func(a, b Param) int { return strings.Compare(a.Name, b.Name) }) {
		t.Error("not sorted by name")
	}
	for i := range All() {
		if p := &All()[i]; Lookup(p.Name) != p {
			t.Errorf("%s is not found", p.Name)
		}
	}
	if Lookup("nosuch") != nil || Lookup("") != nil || Lookup("zzz") != nil {
		t.Error("found what is not there")
	}
	if Of(SmtpdTimeout).Name != "smtpd_timeout" || Of(X2bounceNoticeRecipient).Name != "2bounce_notice_recipient" || Of(Mynetworks).Kind != KindComputed {
		t.Error("identifiers point elsewhere")
	}
	if p := Of(TlsEecdhAutoCurves); p.Flags&EndsWithBlank == 0 || !strings.HasSuffix(p.Default, " ") {
		t.Errorf("%s = %q", p.Name, p.Default)
	}
	if p := Of(MailVersion); !strings.HasPrefix(p.Default, "3.11.") {
		t.Errorf("mail_version = %s", p.Default)
	}
}

// The generated table is that of the text file.
func TestUpToDate(t *testing.T) {
	text, err := os.ReadFile("parameters.tsv")
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimRight(string(text), "\n"), "\n")[1:]
	if len(lines) != len(All()) {
		t.Errorf("%d lines, %d parameters: run go generate", len(lines), len(All()))
	}
	for _, line := range lines {
		col := strings.Split(line, "\t")
		p := Lookup(col[0])
		if p == nil {
			t.Errorf("%s is not in the table: run go generate", col[0])
			continue
		}
		if def := col[2]; !strings.HasPrefix(def, "(") && strings.TrimSuffix(p.Default, " ") != def || p.Programs != col[6] || p.Meaning != col[11] {
			t.Errorf("%s differs: run go generate", col[0])
		}
		kind, choices, _ := strings.Cut(col[1], "; enum ")
		unit := ""
		if p.Unit != 0 {
			unit = string(p.Unit)
		}
		if kinds[p.Kind] != strings.TrimSuffix(kind, "-expr") || (p.Flags&Expr != 0) != strings.HasSuffix(kind, "-expr") || p.Choices != choices ||
			limitText(p.Min) != strings.TrimPrefix(col[3], "-") || limitText(p.Max) != strings.TrimPrefix(col[4], "-") || unit != strings.TrimPrefix(col[5], "-") {
			t.Errorf("%s: %+v", line, p)
		}
	}
}

var kinds = map[Kind]string{KindString: "string", KindRaw: "raw", KindBool: "bool", KindInt: "int", KindLong: "long", KindTime: "time", KindComputed: "computed"}

func limitText(limit int64) string {
	if limit == NoLimit {
		return ""
	}
	return strconv.FormatInt(limit, 10)
}

// A default is within its own limits, and one of its choices.
func TestDefaultsFit(t *testing.T) {
	all := All()
	for i := range all {
		p := &all[i]
		if p.Kind == KindTime && p.Unit == 0 {
			t.Errorf("%s: a time without unit", p.Name)
		}
		if p.Kind != KindTime && p.Unit != 0 {
			t.Errorf("%s: a unit without time", p.Name)
		}
		if p.Min != NoLimit && p.Max != NoLimit && p.Min > p.Max {
			t.Errorf("%s: limits %d and %d", p.Name, p.Min, p.Max)
		}
		if n, err := strconv.ParseInt(p.Default, 10, 64); err == nil && (p.Kind == KindInt || p.Kind == KindLong) && p.Flags&ReadOnly == 0 &&
			(p.Min != NoLimit && n < p.Min || p.Max != NoLimit && n > p.Max) {
			t.Errorf("%s = %d is outside its limits", p.Name, n)
		}
		if strings.Contains(p.Choices, "|") && !strings.HasPrefix(p.Choices, "list:") && !strings.Contains(p.Default, "$") {
			word := p.Default
			if word == "" {
				word = "(empty)"
			}
			if !slices.Contains(strings.Split(p.Choices, "|"), word) {
				t.Errorf("%s = %s is not among %s", p.Name, word, p.Choices)
			}
		}
	}
}
