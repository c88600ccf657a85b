package clienttest

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"suffix/pkg/table/maptool"
)

// AsPostmap is set in the environment of a test program that is to be postmap.
const AsPostmap = "SUFFIX_TEST_AS_POSTMAP"

// Main is for TestMain: the test program becomes our postmap(1), with the
// table types that it links, where Compare starts it. Otherwise it runs the
// tests between setup and the stop that setup returns.
func Main(m *testing.M, setup func() (stop func(), err error)) {
	if os.Getenv(AsPostmap) != "" {
		os.Unsetenv(AsPostmap)
		os.Exit(maptool.Main(false))
	}
	stop := func() {}
	if setup != nil {
		var err error
		if stop, err = setup(); err != nil {
			if stop != nil {
				stop()
			}
			os.Stderr.WriteString(err.Error() + "\n")
			os.Exit(1)
		}
	}
	status := m.Run()
	stop()
	os.Exit(status)
}

// A Run is what a run of postmap has left.
type Run struct {
	Stdout, Stderr string
	Status         int
}

// Config makes a configuration directory for both programs.
func Config(t testing.TB, lines ...string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "main.cf"), append([]string{"compatibility_level = 3.6"}, lines...))
	return dir
}

// Ours runs our postmap.
func Ours(t testing.TB, dir, stdin string, args ...string) Run {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return run(t, self, dir, stdin, args)
}

// Theirs runs the real postmap.
func Theirs(t testing.TB, dir, stdin string, args ...string) Run {
	t.Helper()
	return run(t, "/usr/sbin/postmap", dir, stdin, args)
}

func run(t testing.TB, program, dir, stdin string, args []string) Run {
	t.Helper()
	var out, errs bytes.Buffer
	cmd := &exec.Cmd{
		Path: program, Args: append([]string{"postmap", "-c", dir}, args...), Stdin: strings.NewReader(stdin),
		Stdout: &out, Stderr: &errs, Env: append(os.Environ(), AsPostmap+"=1", "LC_ALL=C"),
	}
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Error(err)
		return Run{}
	}
	return Run{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// Both runs both programs, at the same time.
func Both(t testing.TB, dir, stdin string, args ...string) (ours, theirs Run) {
	t.Helper()
	var wait sync.WaitGroup
	wait.Go(func() { theirs = Theirs(t, dir, stdin, args...) })
	ours = Ours(t, dir, stdin, args...)
	wait.Wait()
	return ours, theirs
}

// Compare runs both programs and wants the same of them.
func Compare(t testing.TB, dir, stdin string, args ...string) {
	t.Helper()
	ours, theirs := Both(t, dir, stdin, args...)
	if ours != theirs {
		t.Errorf("postmap %.200q\n ours %d %.1000q %.1000q\nreal: %d %.1000q %.1000q", args,
			ours.Status, ours.Stdout, ours.Stderr, theirs.Status, theirs.Stdout, theirs.Stderr)
	}
}

// Each calls f with each item, many at a time: what ends with a fatal error
// sleeps for a second, in both programs.
func Each[T any](items []T, f func(item T)) {
	var wait sync.WaitGroup
	slots := make(chan struct{}, 50)
	for _, item := range items {
		slots <- struct{}{}
		wait.Go(func() {
			f(item)
			<-slots
		})
	}
	wait.Wait()
}
