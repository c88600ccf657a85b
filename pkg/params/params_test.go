package params

import (
	"os"
	"slices"
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
	}
}
