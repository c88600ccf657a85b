//go:build interop

package maptool

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	lastModified = regexp.MustCompile(`(YP_LAST_MODIFIED.*)\d{10}`)
	libraryNoise = regexp.MustCompile(`BDB\d+.*\n`)
)

// crashed is the result of a command that a signal ended.
const crashed = "crashed"

// at is the number of scenarios under way: most of the time they wait, since a
// command that fails sleeps for a second before it ends.
const at = 48

// commandTime is more than any command may take.
const commandTime = 2 * time.Minute

// buildOurs builds the commands, and the program that they start for the types
// with large clients.
func buildOurs(t *testing.T) (bin string) {
	t.Helper()
	bin = t.TempDir()
	for out, pkg := range map[string]string{"postmap": "suffix/cmd/postmap", "postalias": "suffix/cmd/postalias", "proxymap": "suffix/libexec/heavy"} {
		cmd := exec.Command("go", "build", "-o", filepath.Join(bin, out), pkg)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return bin
}

// compare runs scenarios with the real commands and with ours: output, messages
// and exit status are the same.
func compare(t *testing.T, bin string, all []scenario) {
	t.Helper()
	type result struct {
		real, ours []string
		err        error
	}
	results := make([]result, len(all))
	var wait sync.WaitGroup
	slots := make(chan struct{}, at)
	dir := t.TempDir()
	for i, s := range all {
		wait.Add(1)
		slots <- struct{}{}
		go func() {
			defer wait.Done()
			defer func() { <-slots }()
			r := &results[i]
			base := fmt.Sprintf("%s/%d", dir, i)
			if r.real, r.err = play(s, base+"r", "/usr/sbin", ""); r.err == nil {
				r.ours, r.err = play(s, base+"o", bin, "suffix_dialect = 3.7\ndaemon_directory = "+bin+"\n")
			}
		}()
	}
	wait.Wait()
	commands := 0
	for i, r := range results {
		if r.err != nil {
			t.Fatal(r.err)
		}
		for j, step := range all[i].steps {
			if r.real[j] == crashed {
				t.Logf("%s: %s: the real one crashed; files: %q", all[i].name, step.command, all[i].files)
				break
			}
			commands++
			if real, ours := normal(step.command, r.real[j]), normal(step.command, r.ours[j]); real != ours {
				t.Errorf("%s: %s < %q\nreal: %s\nours: %s\nfiles: %q", all[i].name, step.command, step.stdin, differing(real, ours), differing(ours, real), all[i].files)
				break // what follows is of this
			}
		}
	}
	t.Logf("%d scenarios, %d commands", len(all), commands)
}

// differing is the part of a long text that another one does not have.
func differing(text, other string) string {
	from := 0
	for from < min(len(text), len(other)) && text[from] == other[from] {
		from++
	}
	if from = max(from-100, 0); from > 0 {
		text = "..." + text[from:]
	}
	if len(text) > 1000 {
		text = text[:1000] + "..."
	}
	return text
}

// TestSameAsReal compares what was written by hand, scenario by scenario.
func TestSameAsReal(t *testing.T) { compare(t, buildOurs(t), scenarios()) }

// play runs the commands of a scenario in a new directory.
func play(s scenario, dir, bin, settings string) (results []string, err error) {
	if err := os.MkdirAll(dir+"/w", 0o755); err != nil {
		return nil, err
	}
	files := map[string]string{"../main.cf": "compatibility_level = 3.6\nmyhostname = host.example\nmaillog_file = " + dir + "/log\nmaillog_file_prefixes = " + dir + "\n" +
		s.settings + settings}
	for name, text := range s.files {
		files[name] = text
	}
	for name, text := range files {
		if err := os.WriteFile(dir+"/w/"+name, []byte(text), 0o644); err != nil {
			return nil, err
		}
		if err := os.Chtimes(dir+"/w/"+name, time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
			return nil, err
		}
	}
	for _, step := range s.steps {
		args := strings.Split(step.command, " ")
		for i := range args {
			if strings.Contains(args[i], ":") {
				args[i] = strings.ReplaceAll(args[i], "_", " ")
			}
		}
		ctx, cancel := context.WithTimeout(context.Background(), commandTime)
		cmd := exec.CommandContext(ctx, bin+"/"+args[0], args[1:]...)
		cmd.Args[0] = args[0]
		cmd.Dir = dir + "/w"
		cmd.Env = []string{"MAIL_CONFIG=" + dir, "PATH=/bin:/usr/bin"}
		cmd.Stdin = strings.NewReader(step.stdin)
		var out, messages bytes.Buffer
		cmd.Stdout, cmd.Stderr = &out, &messages
		err := cmd.Run()
		cancel()
		if cmd.ProcessState != nil && cmd.ProcessState.ExitCode() < 0 && settings == "" {
			// Postfix has defects of its own: what follows cannot be compared.
			return append(results, crashed), nil
		}
		if err != nil && (cmd.ProcessState == nil || cmd.ProcessState.ExitCode() < 0) {
			return nil, fmt.Errorf("%s/%s < %q: %w", bin, step.command, step.stdin, err)
		}
		text := out.String()
		// Most tables have an order of their own.
		if spec := args[len(args)-1]; slices.Contains(args, "-s") && !strings.HasPrefix(spec, "btree:") && !strings.HasPrefix(spec, "lmdb:") {
			lines := strings.SplitAfter(text, "\n")
			slices.Sort(lines)
			text = strings.Join(lines, "")
		}
		results = append(results, fmt.Sprintf("%q, %q, status %d", text, strings.ReplaceAll(libraryNoise.ReplaceAllString(messages.String(), ""), dir, "DIR"), cmd.ProcessState.ExitCode()))
	}
	return results, nil
}
