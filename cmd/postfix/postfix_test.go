package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"suffix/test/instance"
)

// The test program is also postfix(1), and the programs that it runs.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "postfix":
		main()
		os.Exit(0)
	case "postconf", "postsuper", "postqueue", "master", "postmap", "nbdb_reindexd":
		f, err := os.OpenFile(os.Getenv("config_directory")+"/calls", os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
		if err == nil {
			fmt.Fprintln(f, append([]string{filepath.Base(os.Args[0])}, os.Args[1:]...))
			f.Close()
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// newInstance makes an instance whose programs are this one.
func newInstance(t *testing.T) *instance.Instance {
	t.Helper()
	dir, err := os.MkdirTemp("", "pfx")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	bin := filepath.Join(dir, "bin")
	if err := os.MkdirAll(bin+"/libexec", 0o755); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"postfix", "postconf", "postsuper", "postqueue", "postmap", "libexec/master", "libexec/nbdb_reindexd"} {
		if err := os.Symlink(self, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	in, err := instance.Create(instance.Options{Dir: filepath.Join(dir, "run"), Bin: bin})
	if err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(filepath.Join(in.Config(), "main.cf"), old, old); err != nil {
		t.Fatal(err)
	}
	return in
}

// postfix runs a command and returns its standard error and exit status.
func postfix(t *testing.T, in *instance.Instance, args ...string) (stderr string, status int) {
	t.Helper()
	cmd := in.Command("postfix", args...)
	var b strings.Builder
	cmd.Stderr = &b
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return b.String(), exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return b.String(), 0
}

func calls(t *testing.T, in *instance.Instance) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(in.Config(), "calls"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What is missing below the queue directory is made, with the right modes.
func TestCheck(t *testing.T) {
	in := newInstance(t)
	stderr, status := postfix(t, in, "check")
	if status != 0 {
		t.Fatalf("%d %s", status, stderr)
	}
	for name, mode := range map[string]fs.FileMode{"maildrop": 0o730, "public": 0o710, "private": 0o700, "active": 0o700, "pid": 0o755} {
		info, err := os.Stat(filepath.Join(in.Queue(), name))
		if err != nil || !info.IsDir() || info.Mode().Perm() != mode {
			t.Errorf("%s: %v %v", name, info, err)
		}
	}
	if got := calls(t, in); got != "[postsuper]\n[postconf]\n" {
		t.Errorf("calls: %q", got)
	}
	for path, mode := range map[string]fs.FileMode{"etc/master.cf": 0o666, "spool/pid": 0o777, "spool/corrupt/ABCDEF": 0o600} {
		path = filepath.Join(in.Dir, path)
		if strings.HasSuffix(path, "ABCDEF") {
			if err := os.WriteFile(path, nil, mode); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	stderr, status = postfix(t, in, "check")
	for _, want := range []string{
		"postlog: warning: group or other writable: " + in.Queue() + "/pid\n",
		"postlog: warning: group or other writable: " + in.Config() + "/./master.cf\n",
		"postlog: warning: damaged message: corrupt/ABCDEF\n",
	} {
		if !strings.Contains(stderr, want) {
			t.Errorf("no %q in\n%s", want, stderr)
		}
	}
	if status != 0 {
		t.Errorf("exit status %d", status)
	}
}

func TestCommands(t *testing.T) {
	in := newInstance(t)
	const down = "postlog: fatal: the Postfix mail system is not running\n"
	for _, c := range []struct {
		args, stderr string
		status       int
	}{
		{"status", "postlog: the Postfix mail system is not running\n", 1},
		{"stop", down, 1}, {"reload", down, 1}, {"abort", down, 1}, {"drain", down, 1},
		{"flush", "", 0},
		{"tls status", "postlog: fatal: the 'tls' command is not available in this version\n", 1},
		{"non-bdb", "postlog: fatal: " + nonBDBUsage + "\n", 1},
		{"non-bdb status now", "postlog: fatal: " + nonBDBUsage + "\n", 1},
		{"non-bdb enable", "postlog: fatal: " + nonBDBUsage + "\n", 1},
		{"non-bdb enable-redirect", "postlog: fatal: parameter default_database_type specifies a Berkeley DB type: 'hash'\n", 1},
		{"non-bdb enable-reindex", "postlog: fatal: parameter default_database_type specifies a Berkeley DB type: 'hash'\n", 1},
		{"foo", "postlog: fatal: unknown command: 'foo'. Usage: " + commandList + "\n", 1},
		{"", "postlog: fatal: unknown command: ''. Usage: " + commandList + "\n", 1},
		{"-x", "postfix: invalid option -- 'x'\npostfix: fatal: usage: postfix [-c config_dir] [-Dv] command\n", 1},
		{"-c etc status", "postfix: fatal: -c requires absolute pathname\n", 1},
		{"/bin/sh -c exit\t5", "", 5},
		{"logrotate x", "postlog: fatal: usage postfix logrotate (no arguments)\n", 1},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			args := strings.Split(c.args, " ")
			if c.args == "" {
				args = nil
			}
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "\t", " ")
			}
			stderr, status := postfix(t, in, args...)
			if stderr != c.stderr || status != c.status {
				t.Errorf("%d %q, want %d %q", status, stderr, c.status, c.stderr)
			}
		})
	}
}

// An old master.cf gets what it lacks, once.
func TestUpgradeConfiguration(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "master.cf")
	before := "smtp inet n - n - - smtpd\npickup fifo n n n 60 1 pickup\ncleanup unix - - n - 0 cleanup\nverify unix - - n - 0 verify\ntlsmgr fifo - - n 300 1 tlsmgr\n"
	if err := os.WriteFile(path, []byte(before), 0o644); err != nil {
		t.Fatal(err)
	}
	s := &script{dir: dir}
	if err := s.upgradeConfiguration(); err != nil {
		t.Fatal(err)
	}
	once, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"smtp inet n - n - - smtpd\n", "pickup\tfifo\tn\t-\tn\t60\t1\tpickup\n", "cleanup\tunix\tn\t-\tn\t-\t0\tcleanup\n",
		"verify\tunix\t-\t-\tn\t-\t1\tverify\n", "tlsmgr\tunix\t-\t-\tn\t300?\t1\ttlsmgr\n",
		"\npostlog   unix-dgram n  -       n       -       1       postlogd\n", "\n#dnsblog ",
	} {
		if !strings.Contains(string(once), want) {
			t.Errorf("no %q in\n%s", want, once)
		}
	}
	if err := s.upgradeConfiguration(); err != nil {
		t.Fatal(err)
	}
	if twice, _ := os.ReadFile(path); string(twice) != string(once) {
		t.Errorf("the second time changes\n%s", twice)
	}
}

func FuzzInstallerParse(f *testing.F) {
	f.Add("$queue_directory/active:d:$mail_owner:-:700:ucr")
	f.Add("$x:f:root")
	f.Add("$a:d:::9:")
	f.Fuzz(func(t *testing.T, line string) {
		in := &installer{values: map[string]string{"queue_directory": "/q"}}
		r, err := in.parse(line)
		if err == nil && r.mode.Perm() > 0o777 {
			t.Errorf("%q: %+v", line, r)
		}
	})
}
