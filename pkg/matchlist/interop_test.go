//go:build interop

package matchlist

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/maillog"
	_ "suffix/pkg/table/pcre"
	"suffix/pkg/table/tabletest"
)

// sameLists are lists in which the user nobody is looked for.
var sameLists = []string{
	"nobody", "!nobody", "!!nobody", "! nobody", "!", "a !", "NOBODY", "{nobody}", "\"nobody\"", "a,,nobody", "a # nobody", "#nobody", "nobody #x", "a\t,\tnobody", "nobodyx", "obody", ".nobody",
	"D/f1", "!D/f1", "D/f2", "D/f3", "!D/f3 static:all", "/nonexistent/f", "!/nonexistent/f", "nobody /nonexistent/f", "D", "!D/f1 !D/f3 nobody",
	"inline:{nobody=1}", "!inline:{nobody=1} static:all", "inline:{toor=1}", "nosuch:bar", "nobody nosuch:bar", "[nobody]", ":x", "fail:x", "!fail:x nobody", "a fail:x", "nobody fail:x",
	"regexp:/nonexistent/y", "pcre:{{/nobody/ x}}", "pcre:{{/^body/ x}}", "$nothing", "!a !b static:x", "!a, !nobody, static:x", "inline:{{nobody = x y}}", "inline:{NOBODY=1}", "a !b nobody !nobody",
}

// Lists of strings match as those of Postfix 3.7 do, with the same complaints:
// its postqueue tells whether a user may see the queue.
func TestSameLists(t *testing.T) {
	dir, err := os.MkdirTemp("", "ml")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	postqueue := filepath.Join(dir, "postqueue")
	program, err := os.ReadFile("/usr/sbin/postqueue")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "queue"), 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"f1": "root\n# c\n !other nobody\n", "f2": "a\n  b #c nobody\n", "f3": "x !" + dir + "/f1\n", "postqueue": string(program),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	want := make([]string, len(sameLists))
	var wg sync.WaitGroup
	free := make(chan bool, 24)
	for i, list := range sameLists {
		wg.Go(func() {
			free <- true
			defer func() { <-free }()
			want[i] = realAnswer(t, dir, postqueue, strings.ReplaceAll(list, "D", dir))
		})
	}
	wg.Wait()
	cfg := config.New("/", []config.Setting{{Name: "suffix_dialect", Value: "3.7"}, {Name: "compatibility_level", Value: "3.6"}}, config.Options{})
	for i, list := range sameLists {
		list = strings.ReplaceAll(list, "D", dir)
		if list == "$nothing" {
			list = ""
		}
		answer := ""
		lines := tabletest.Logged(t, func() {
			l := New("authorized_mailq_users", list, String, Options{Config: cfg, Command: true})
			defer l.Close()
			matched, err := false, l.Err()
			if err == nil {
				matched, err = l.Match("nobody")
			}
			switch {
			case err != nil:
				answer = "fatal: " + err.Error()
			case matched:
				answer = "yes"
			default:
				answer = "no"
			}
		})
		got := maillog.Printable(strings.TrimSpace(strings.Join(append(lines, answer), "|")))
		if want := strings.ReplaceAll(want[i], " |", "|"); got != want {
			t.Errorf("%q: ours %q, real %q", list, got, want)
		}
	}
}

// realAnswer is "yes" or "no" and the complaints before it, or instead.
func realAnswer(t *testing.T, dir, postqueue, list string) string {
	etc, err := os.MkdirTemp(dir, "")
	if err != nil {
		t.Error(err)
		return ""
	}
	path := filepath.Join(etc, "main.cf")
	text := "compatibility_level = 3.6\nmyhostname = a.test\nqueue_directory = " + dir + "/queue\nauthorized_mailq_users = " + list + "\n"
	old := time.Now().Add(-time.Hour)
	for _, err := range []error{os.Chmod(etc, 0o755), os.WriteFile(path, []byte(text), 0o644), os.Chtimes(path, old, old)} {
		if err != nil {
			t.Error(err)
		}
	}
	cmd := exec.Command(postqueue, "-c", etc, "-p")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	_ = cmd.Run() // it always fails
	var lines []string
	for line := range strings.Lines(stderr.String()) {
		line = strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "postqueue: ")
		switch {
		case strings.HasPrefix(line, "fatal: Queue report unavailable"):
			line = "yes"
		case strings.HasPrefix(line, "fatal: User nobody"):
			line = "no"
		}
		lines = append(lines, line)
	}
	return strings.Join(lines, "|")
}
