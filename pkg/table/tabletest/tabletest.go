// Package tabletest helps the tests of tables: it catches what they log, and
// opens tables that must be usable.
package tabletest

import (
	"io"
	"os"
	"strings"
	"testing"

	"suffix/pkg/maillog"
	"suffix/pkg/table"
)

// Logged returns what f logs, line by line, without the program's name.
func Logged(t testing.TB, f func()) []string {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	maillog.Init("test", maillog.StderrOnly("test"))
	saved := os.Stderr
	os.Stderr = w
	text := make(chan string)
	go func() {
		all, _ := io.ReadAll(r)
		text <- string(all)
	}()
	func() {
		defer func() {
			os.Stderr = saved
			w.Close()
		}()
		f()
	}()
	var lines []string
	for _, line := range strings.Split(strings.TrimSpace(<-text), "\n") {
		if line = strings.TrimPrefix(line, "test: "); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// Open opens a table for a command, and fails the test if it is unusable.
func Open(t testing.TB, spec string, o table.Options) *table.Handle {
	t.Helper()
	o.Command = true
	h := table.Open(spec, o)
	if h.Err() != nil {
		t.Fatal(h.Err())
	}
	t.Cleanup(func() {
		if err := h.Close(); err != nil {
			t.Error(err)
		}
	})
	return h
}

// Find looks up a key, and returns its value, or "none", or "error".
func Find(t testing.TB, h *table.Handle, key string) string {
	t.Helper()
	value, found, err := h.Lookup(key)
	switch {
	case err != nil:
		return "error"
	case !found:
		return "none"
	}
	return value
}
