package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const lintMain = "compatibility_level = 3.11\nmyhostname = mail.example.com\nmynetworks = 127.0.0.0/8\nalias_maps =\nsmtpd_tls_security_level = none\ndaemon_directory = D/none\n"

func TestLint(t *testing.T) {
	master, err := os.ReadFile("../../conf/master.cf")
	if err != nil {
		t.Fatal(err)
	}
	dir := setup(t, lintMain, string(master))
	if err := os.Chmod(filepath.Join(dir, "main.cf"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args   string
		status int
		out    string // part of standard output
		err    string // standard error
	}{
		{"--lint", 0, "0 serious, 1 advice.\n", ""},
		{"-v --lint", 0, "advice: D/main.cf, line 6: there is no directory", ""},
		{"-o mynetworks=0.0.0.0/0 --lint", 1, "serious: command line: mynetworks contains 0.0.0.0/0", ""},
		{"-omynetworks=0.0.0.0/0 --lint", 1, "1 serious, 1 advice.\n", ""},
		{"--lint -o smtpd_use_tls=yes", 0, "smtpd_use_tls still works, but is on its way out: specify \"smtpd_tls_security_level\"", ""},
		{"--lint -n", 1, "", "postconf: fatal: with option --lint, do not specify -n\n"},
		{"--lint myhostname", 1, "", "postconf: fatal: with option --lint, do not specify parameter names\n"},
		{"--lint -c D/none", 2, "", "postconf: fatal: open D/none/main.cf: No such file or directory\n"},
		{"--lint -o x", 1, "", "postconf: fatal: invalid parameter override: x: missing '=' after attribute name\n"},
		{"-h -- --lint", 0, "", "postconf: warning: --lint: unknown parameter\n"},
		{"-o --lint -h myhostname", 1, "", "postconf: fatal: invalid parameter override: --lint: missing '=' after attribute name\n"},
		{"myhostname --lint", 0, "myhostname = mail.example.com\n", "postconf: warning: --lint: unknown parameter\n"},
	} {
		args := strings.Fields(strings.ReplaceAll(c.args, "D/", dir+"/"))
		out, errs, status := do(t, dir, args...)
		if status != c.status || !strings.Contains(strings.Join(strings.Fields(out), " "), strings.Join(strings.Fields(c.out), " ")) || errs != c.err {
			t.Errorf("%s: status %d, want %d; standard error %q, want %q; output\n%s", c.args, status, c.status, errs, c.err, out)
		}
	}
}

// Other long options do not exist.
func TestLintIsExact(t *testing.T) {
	dir := setup(t, lintMain, "")
	for _, arg := range []string{"--lin", "--lint=yes", "--linty", "--help"} {
		if _, errs, status := do(t, dir, arg); status != 1 || !strings.Contains(errs, "postconf: invalid option -- '-'") {
			t.Errorf("%s: status %d, %q", arg, status, errs)
		}
	}
}
