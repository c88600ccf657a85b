package config_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"suffix/pkg/config"
	"suffix/pkg/mastercf"
	"suffix/pkg/params"
)

// The examples of the master.cf that is installed are services too, once the
// # in front of them is taken away, and set parameters that exist or that the
// text says are to be defined.
func TestShippedMasterExamples(t *testing.T) {
	text, err := os.ReadFile("../../conf/master.cf")
	if err != nil {
		t.Fatal(err)
	}
	example := regexp.MustCompile(`(?m)^#(\S+ +(?:inet|unix|pass|unix-dgram) +[yn-] .*|  (?:-o|flags=).*)$`)
	found := len(example.FindAllString(string(text), -1))
	path := filepath.Join(t.TempDir(), "master.cf")
	if err := os.WriteFile(path, []byte(example.ReplaceAllString(string(text), "$1")), 0o644); err != nil {
		t.Fatal(err)
	}
	list, err := mastercf.Parse(path, mastercf.Options{DefaultProcessLimit: 100, Warn: func(text string) { t.Error(text) }})
	if err != nil {
		t.Fatal(err)
	}
	if found < 40 || len(list) < 36 {
		t.Errorf("%d lines of examples, %d services", found, len(list))
	}
	defined := regexp.MustCompile(`^\$?mua_(client|helo|sender)_restrictions$`)
	for _, e := range list {
		for i, arg := range e.Args {
			if arg != "-o" {
				continue
			}
			name, value, problem := config.SplitNameValue(e.Args[i+1])
			if problem != "" || params.Lookup(name) == nil {
				t.Errorf("%s: -o %s: no parameter", e.Name, e.Args[i+1])
			}
			if strings.HasPrefix(value, "$mua") && !defined.MatchString(value) {
				t.Errorf("%s: -o %s: not said to be defined", e.Name, e.Args[i+1])
			}
		}
	}
}
