//go:build interop

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"suffix/pkg/account"
)

// runPostfix lets Postfix's postsuper work on the world.
func (w *world) runPostfix(args ...string) {
	w.t.Helper()
	owner, err := account.Lookup("postfix")
	w.check(err)
	dir, err := os.Getwd()
	w.check(err)
	w.check(filepath.WalkDir(".", func(path string, _ os.DirEntry, err error) error {
		if err == nil {
			err = os.Lchown(path, owner.UID, owner.GID)
		}
		return err
	}))
	w.check(os.Chmod(filepath.Dir(dir), 0755))
	confDir := w.t.TempDir()
	long := "no"
	if w.s.tree.LongIDs {
		long = "yes"
	}
	text := "compatibility_level = 3.6\nqueue_directory = " + dir + "\nmyhostname = mx.example.test\nenable_long_queue_ids = " + long +
		"\nimport_environment = TZ\n"
	w.check(os.WriteFile(confDir+"/main.cf", []byte(text), 0644))
	// A file that was just edited would be read again and again for a while.
	w.check(os.Chtimes(confDir+"/main.cf", longAgo, time.Unix(1e9, 0)))
	for i, arg := range args {
		for label, id := range w.ids {
			args[i] = strings.ReplaceAll(arg, "<"+label+">", id)
			if args[i] != arg {
				break
			}
		}
	}
	out, err := exec.Command("/usr/sbin/postsuper", append([]string{"-c", confDir}, args...)...).CombinedOutput()
	if err != nil {
		w.t.Logf("%v", err)
	}
	for line := range strings.Lines(string(out)) {
		line = strings.TrimPrefix(strings.TrimSuffix(line, "\n"), "postsuper: ")
		for label, id := range w.ids {
			line = strings.ReplaceAll(line, id, "<"+label+">")
		}
		w.log = append(w.log, line)
	}
}

// Both programs do the same to a queue, and say the same.
func TestSameAsPostfix(t *testing.T) {
	logID := regexp.MustCompile(`^(defer/1|bounce|trace)/1[0-9A-F]{10}`)
	known := func(f string) bool {
		// 3.7 reads beyond the end of a name of five characters, and makes
		// directories for logs that are not there.
		return strings.Contains(f, "active/ABCDE") || strings.HasPrefix(f, "defer/")
	}
	result := func(w *world) (files, log []string) {
		for _, f := range w.files() {
			if !known(f) {
				files = append(files, logID.ReplaceAllString(f, "$1/LOG"))
			}
		}
		for _, line := range w.log {
			if !strings.Contains(line, "active/ABCDE") && !strings.HasPrefix(line, "Renamed to match") {
				log = append(log, line)
			}
		}
		slices.Sort(files)
		slices.Sort(log)
		return files, log
	}
	for _, build := range []func(*testing.T) *world{mailbox, oddities} {
		for _, long := range []bool{false, true} {
			for _, args := range []string{"", "-s", "-S", "-p maildrop incoming hold", "-d ALL maildrop incoming active deferred hold", "-r ALL incoming hold",
				"-h ALL incoming deferred", "-e ALL incoming hold", "-f ALL incoming hold"} {
				ours := build(t)
				ours.s.tree.LongIDs = long
				if err := ours.run("", strings.Fields(args)...); err != nil {
					t.Errorf("postsuper %s: %v", args, err)
				}
				files, log := result(ours)
				theirs := build(t)
				theirs.s.tree.LongIDs = long
				theirs.runPostfix(strings.Fields(args)...)
				wantFiles, wantLog := result(theirs)
				if !slices.Equal(files, wantFiles) || !slices.Equal(log, wantLog) {
					t.Errorf("postsuper %s: got\n%s\n%s\nPostfix\n%s\n%s", args, strings.Join(files, "\n"), strings.Join(log, "\n"),
						strings.Join(wantFiles, "\n"), strings.Join(wantLog, "\n"))
				}
			}
		}
	}
}
