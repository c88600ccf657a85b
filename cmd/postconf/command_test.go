package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Names of variables that make a test binary be the command itself.
const (
	envCommand   = "POSTCONF_TEST_COMMAND"
	envSizeLimit = "POSTCONF_TEST_SIZE_LIMIT" // bytes that it may write to a file
	envUser      = "POSTCONF_TEST_USER"       // number of the user that it becomes
)

func init() { fatalPause = 0 }

// TestMain runs the tests, or the command for a test that needs a process of its own.
func TestMain(m *testing.M) {
	if os.Getenv(envCommand) == "" {
		os.Exit(m.Run())
	}
	if err := confine(); err != nil {
		panic(err)
	}
	main()
}

// confine takes from the command what a test wants it to do without.
func confine() error {
	if text := os.Getenv(envSizeLimit); text != "" {
		n, err := strconv.ParseUint(text, 10, 63)
		if err != nil {
			return err
		}
		if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: n, Max: n}); err != nil {
			return err
		}
	}
	if text := os.Getenv(envUser); text != "" {
		id, err := strconv.Atoi(text)
		if err != nil {
			return err
		}
		if err := errors.Join(syscall.Setgroups(nil), syscall.Setgid(id), syscall.Setuid(id)); err != nil {
			return err
		}
	}
	return nil
}

// result is what a command did.
type result struct {
	out, errs string
	status    int
}

// command runs a postconf, ours if program is "", in a process of its own for a configuration
// directory, which is called D in the result. Several may run at a time.
func command(t testing.TB, program, dir string, env []string, args ...string) result {
	t.Helper()
	if program == "" {
		var err error
		if program, err = os.Executable(); err != nil {
			t.Error(err)
		}
	}
	cmd := exec.Command(program)
	cmd.Args = append([]string{"postconf", "-c", dir}, args...)
	cmd.Env = append([]string{envCommand + "=1", "PATH=" + os.Getenv("PATH")}, env...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Error(err)
		return result{}
	}
	plain := func(text string) string { return strings.ReplaceAll(text, dir, "D") }
	return result{out: plain(out.String()), errs: plain(errs.String()), status: cmd.ProcessState.ExitCode()}
}

// setup makes a configuration directory whose main.cf is not new.
func setup(t testing.TB, mainCF, masterCF string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, map[string]string{"main.cf": mainCF, "master.cf": masterCF})
	return dir
}

// write makes files that are not new.
func write(t testing.TB, dir string, files map[string]string) {
	t.Helper()
	old := time.Now().Add(-time.Minute)
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Error(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Error(err)
		}
	}
}
