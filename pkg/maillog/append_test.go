package maillog

import (
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// TestAppendTo writes from many goroutines: every line is whole, and nothing
// is written after StopAppending.
func TestAppendTo(t *testing.T) {
	path := t.TempDir() + "/log"
	if err := configure(t, Settings{Program: "qmgr", SyslogName: "postfix", Facility: "mail", File: path,
		Prefixes: []string{"/"}, Socket: path + ".socket", Hostname: "mx.example.com"}); err != nil {
		t.Fatal(err)
	}
	if err := AppendTo(path, "0600"); err != nil {
		t.Fatal(err)
	}
	defer StopAppending()
	const writers, lines = 8, 200
	var wg sync.WaitGroup
	for range writers {
		wg.Go(func() {
			for range lines {
				For("smtpd").Warnf("line with\nbreak %s", strings.Repeat("x", 100))
			}
		})
	}
	wg.Wait()
	StopAppending()
	Infof("too late")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Split(strings.TrimSuffix(string(text), "\n"), "\n")
	if len(got) != writers*lines {
		t.Errorf("%d lines, want %d", len(got), writers*lines)
	}
	form := regexp.MustCompile(`^\w{3} \d\d \d\d:\d\d:\d\d \S+ \S+/smtpd\[\d+\]: warning: line with\?break x{100}$`)
	for _, line := range got {
		if !form.MatchString(line) {
			t.Fatalf("line %q", line)
		}
	}
}
