package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"suffix/pkg/params"
)

const shipped = "../../conf/main.cf"

// The main.cf that is installed sets parameters that exist, to good values,
// and nothing in vain.
func TestShipped(t *testing.T) {
	warn := func(text string) { t.Error(text) }
	text, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	list, err := ParseSettings(shipped, string(text), warn)
	if err != nil {
		t.Fatal(err)
	}
	m := New("/etc/postfix", list, Options{Warn: warn})
	for _, s := range list {
		if params.Lookup(s.Name) == nil {
			t.Errorf("%s is no parameter", s.Name)
		}
	}
	var all []uint16
	for i := range params.All() {
		if p := params.Of(uint16(i)); p.Flags&(params.ReadOnly|params.Hidden) == 0 && (p.Default != "" || p.Min <= 0) {
			all = append(all, uint16(i))
		}
	}
	if err := m.read(all); err != nil {
		t.Error(err)
	}
	if m.CompatLevelBelow("3.11") {
		t.Error("compatibility_level is not that of this release")
	}
	for _, program := range []string{"master", "smtpd", "smtp", "lmtp", "cleanup", "qmgr", "local", "virtual"} {
		if got := m.Ineffective(program); got != nil {
			t.Errorf("%s: %q", program, got)
		}
	}
}

// Its examples are settings of parameters that exist, and good ones too.
func TestShippedExamples(t *testing.T) {
	text, err := os.ReadFile(shipped)
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile(`(?m)^#([a-z0-9_]+ = ?.*(?:\n#    .*)*)$`)
	found := example.FindAllStringSubmatch(string(text), -1)
	if len(found) < 50 {
		t.Fatalf("%d examples", len(found))
	}
	for _, match := range found {
		name, value, problem := SplitNameValue(strings.ReplaceAll(match[1], "\n#", ""))
		p := params.Lookup(name)
		if problem != "" || p == nil {
			t.Errorf("%s: %s: no parameter", match[1], problem)
			continue
		}
		m := New("/etc/postfix", []Setting{{Name: name, Value: value}}, Options{Warn: func(text string) { t.Error(text) }})
		i := uint16(slices.IndexFunc(params.All(), func(q params.Param) bool { return q.Name == name }))
		if err := m.read([]uint16{i}); err != nil {
			t.Errorf("%s: %v", match[1], err)
		}
	}
}
