package flush

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/matchlist"
	"suffix/pkg/queue"
)

// setup makes a queue directory with a server that keeps logs for defer.test.
func setup(t *testing.T) (s *server, triggers *string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, name := range []string{queue.Flush, queue.Incoming, queue.Deferred + "/A"} {
		if err := os.MkdirAll(name, 0700); err != nil {
			t.Fatal(err)
		}
	}
	triggers = new(string)
	return &server{
		tree:         &queue.Tree{Hashed: []string{queue.Deferred}, Depth: 1},
		sites:        matchlist.New("fast_flush_domains", "defer.test, [127.0.0.1]", matchlist.Domain, matchlist.Options{}),
		refreshAfter: 12 * time.Hour,
		purgeAfter:   7 * 24 * time.Hour,
		trigger:      func(request string) { *triggers += request },
	}, triggers
}

// ask sends bytes to a server and returns all that it answers.
func ask(t *testing.T, s *server, request string) string {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.serve(context.Background(), attr.NewConn(theirs, attr.Null, "flush socket", 10*time.Second))
		theirs.Close()
	}()
	go func() { _, _ = io.WriteString(ours, request) }()
	answer, err := io.ReadAll(ours)
	if err != nil {
		t.Fatal(err)
	}
	<-done
	return string(answer)
}

func list(pairs ...string) string { return strings.Join(pairs, "\x00") + "\x00\x00" }

func write(t *testing.T, path, text string, mode os.FileMode, when time.Time) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(path, when, when); err != nil {
		t.Fatal(err)
	}
}

// state lists the files with mode, content of logs, and whether they are new.
func state(t *testing.T) string {
	t.Helper()
	var out []string
	err := filepath.WalkDir(".", func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		st, err := os.Stat(path)
		if err != nil {
			return err
		}
		line := fmt.Sprintf("%s %o", path, st.Mode().Perm())
		if time.Since(st.ModTime()) < time.Minute {
			line += " new"
		}
		if strings.HasPrefix(path, "flush/") {
			content, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			line += fmt.Sprintf(" %q", content)
		}
		out = append(out, line)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, "\n")
}

const greeting = "protocol\x00queue_flush_protocol\x00\x00"

func status(n string) string { return greeting + list("status", n) }

func TestRequests(t *testing.T) {
	s, triggers := setup(t)
	for _, c := range []struct{ request, answer string }{
		{list("request", "add", "site", "defer.test", "queue_id", "A47169908C8"), status("0")},
		{list("request", "add", "site", "Sub.Defer.TEST", "queue_id", "B47169908C8"), status("0")},
		{list("request", "add", "site", "[127.0.0.1]", "queue_id", "B47169908C8"), status("0")},
		{list("request", "add", "site", "no.test", "queue_id", "A47169908C8"), status("4")},
		{list("request", "add", "site", "b@d.defer.test", "queue_id", "A47169908C8"), status("4")},
		{list("request", "add", "site", "", "queue_id", "A47169908C8"), status("4")},
		{list("request", "add", "site", "defer.test", "queue_id", "A4/169908C8"), status("3")},
		{list("request", "add", "site", "defer.test", "queue_id", ""), status("3")},
		{list("request", "add", "site", "defer.test", "id", "A47169908C8"), status("3")},
		{list("request", "send_site", "site", "other.test"), status("4")},
		{list("request", "send_site", "site", "nolog.defer.test"), status("0")},
		{list("request", "send_file", "queue_id", "A.1"), status("3")},
		{list("request", "send_file", "queue_id", "AAAAA1"), status("0")},
		{list("request", "foo"), greeting},
		{"X\x00", greeting},
	} {
		if got := ask(t, s, c.request); got != c.answer {
			t.Errorf("%q: got %q, want %q", c.request, got, c.answer)
		}
	}
	want := `flush/_127_0_0_1_ 600 new "B47169908C8\n"
flush/defer_test 600 new "A47169908C8\n"
flush/sub_defer_test 600 new "B47169908C8\n"`
	if got := state(t); got != want || *triggers != "" {
		t.Errorf("triggers %q, got\n%s\nwant\n%s", *triggers, got, want)
	}
}

func TestSendSite(t *testing.T) {
	s, triggers := setup(t)
	old := time.Now().Add(-24 * time.Hour)
	write(t, "deferred/A/A47169908C8", "", 0700, old)
	write(t, "deferred/A/A57169908C8", "", 0700, old)
	write(t, "incoming/E47169908C8", "", 0700, old)
	write(t, "flush/defer_test", "bad/id\nE47169908C8\nA47169908C8\nA47169908C8\n"+strings.Repeat("x", 5000)+"\nAAAAA99\n", 0600, old)
	var warnings []string
	s.tree.Warn = func(format string, args ...any) { warnings = append(warnings, fmt.Sprintf(format, args...)) }
	if got := ask(t, s, list("request", "send_site", "site", "DEFER.test")); got != status("0") {
		t.Errorf("got %q", got)
	}
	want := `deferred/A/A57169908C8 700
flush/defer_test 600 new ""
incoming/A47169908C8 700 new
incoming/E47169908C8 700 new`
	if got := state(t); got != want || *triggers != "FI" || len(warnings) != 0 {
		t.Errorf("triggers %q, warnings %q, got\n%s\nwant\n%s", *triggers, warnings, got, want)
	}
	*triggers = ""
	if got := ask(t, s, list("request", "send_site", "site", "defer.test")); got != status("0") || *triggers != "F" {
		t.Errorf("empty log: got %q, triggers %q", got, *triggers)
	}
}

func TestSendFile(t *testing.T) {
	s, triggers := setup(t)
	old := time.Now().Add(-24 * time.Hour)
	write(t, "deferred/A/A47169908C8", "", 0700, old)
	write(t, "deferred/A/A57169908C8", "", 0600, old)
	write(t, "incoming/E47169908C8", "", 0710, old)
	for _, id := range []string{"A47169908C8", "A57169908C8", "E47169908C8", "F47169908C8"} {
		if got := ask(t, s, list("request", "send_file", "queue_id", id)); got != status("0") {
			t.Errorf("%s: got %q", id, got)
		}
	}
	want := `deferred/A/A57169908C8 600 new
incoming/A47169908C8 740 new
incoming/E47169908C8 750 new`
	if got := state(t); got != want || *triggers != "II" {
		t.Errorf("triggers %q, got\n%s\nwant\n%s", *triggers, got, want)
	}
}

func TestRefresh(t *testing.T) {
	for _, request := range []string{"W\x00", list("request", "rfrsh"), list("request", "purge")} {
		s, triggers := setup(t)
		now := time.Now()
		write(t, "flush/empty_old", "", 0600, now.Add(-8*24*time.Hour))
		write(t, "flush/empty_young", "", 0600, now.Add(-6*24*time.Hour))
		write(t, "flush/full_old", "A47169908C8\n", 0600, now.Add(-13*time.Hour))
		write(t, "flush/full_young", "A57169908C8\n", 0600, now.Add(-11*time.Hour))
		write(t, "flush/x.y", "A1\n", 0600, now.Add(-13*time.Hour))
		write(t, "deferred/A/A47169908C8", "", 0700, now.Add(-13*time.Hour))
		if got := ask(t, s, request); got != status("0") {
			t.Errorf("%q: got %q", request, got)
		}
		want := `flush/empty_young 600 ""
flush/full_old 600 new ""
flush/full_young 600 "A57169908C8\n"
flush/x.y 600 "A1\n"
incoming/A47169908C8 700 new`
		wantTriggers := "I"
		if strings.Contains(request, "purge") {
			want = strings.Replace(want, `flush/full_young 600 "A57169908C8\n"`, `flush/full_young 600 new ""`, 1)
			wantTriggers = "II"
		}
		if got := state(t); got != want || *triggers != wantTriggers {
			t.Errorf("%q: triggers %q, got\n%s\nwant\n%s", request, *triggers, got, want)
		}
	}
}

func TestLogUnwritable(t *testing.T) {
	s, _ := setup(t)
	if err := os.Mkdir("flush/defer_test", 0700); err != nil {
		t.Fatal(err)
	}
	for _, request := range []string{list("request", "add", "site", "defer.test", "queue_id", "A1"), list("request", "send_site", "site", "defer.test")} {
		if got := ask(t, s, request); got != status("4294967295") {
			t.Errorf("%q: got %q", request, got)
		}
	}
	if err := s.append("defer_test", "A1"); err == nil || err.Error() != "open fast flush logfile defer_test: Is a directory" {
		t.Errorf("got %v", err)
	}
}
