package main

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"suffix/pkg/record"
)

// The test binary is sendmail, and the programs that sendmail runs, when it is
// started by their names.
func TestMain(m *testing.M) {
	switch name := filepath.Base(os.Args[0]); name {
	case "sendmail", "mailq", "newaliases":
		main()
		os.Exit(0)
	case "postdrop":
		fakePostdrop()
	case "postqueue", "postalias", "smtpd":
		fmt.Printf("%s %q\n", name, os.Args[1:])
		os.Exit(7)
	}
	os.Exit(m.Run())
}

// fakePostdrop writes what it got to the directory of main.cf and answers what
// it finds there.
func fakePostdrop() {
	dir := os.Getenv("MAIL_CONFIG")
	verdict, err := os.ReadFile(filepath.Join(dir, "verdict"))
	if err != nil || len(verdict) == 0 {
		os.Exit(3)
	}
	fmt.Print("protocol\x00postdrop_protocol\x00queue_id\x00ABC\x00\x00")
	r := record.NewReader(bufio.NewReader(os.Stdin), "stdin", 0)
	var b strings.Builder
	for {
		t, data, err := r.Next()
		if err != nil {
			os.Exit(0)
		}
		fmt.Fprintf(&b, "%c %s\n", t, data)
		if t == record.End {
			break
		}
	}
	if os.WriteFile(filepath.Join(dir, "got"), []byte(b.String()), 0600) != nil {
		os.Exit(4)
	}
	_, _ = os.Stdout.Write(verdict)
	os.Exit(0)
}

type result struct {
	stdout, stderr, got string
	exit                int
}

func runSendmail(t *testing.T, settings, verdict, content string, args ...string) result {
	t.Helper()
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"postdrop", "postqueue", "postalias", "smtpd"} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	main := fmt.Sprintf("compatibility_level = 3.6\nqueue_directory = %[1]s\ncommand_directory = %[1]s\ndaemon_directory = %[1]s\n"+
		"maillog_file = %[1]s/log\nmaillog_file_prefixes = %[1]s\nmyhostname = mx.test\nalias_database = hash:/a hash:/b\n%[2]s\n", dir, settings)
	for name, text := range map[string]string{"main.cf": main, "verdict": verdict} {
		path := filepath.Join(dir, name)
		old := time.Now().Add(-time.Hour)
		if err := os.WriteFile(path, []byte(text), 0600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(self, args[1:]...)
	cmd.Args[0] = args[0]
	cmd.Env = []string{"MAIL_CONFIG=" + dir, "NAME=Full Name", "PATH=/usr/bin:/bin"}
	cmd.Stdin = strings.NewReader(content)
	var out, errors bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errors
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		t.Fatal(err)
	}
	got, err := os.ReadFile(filepath.Join(dir, "got"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	uid := fmt.Sprintf("(%d)", os.Getuid())
	return result{out.String(), strings.ReplaceAll(errors.String(), uid, "(UID)"), string(got), cmd.ProcessState.ExitCode()}
}

const success = "status\x000\x00reason\x00\x00\x00"

func TestSubmission(t *testing.T) {
	long := strings.Repeat("x", 2048)
	for _, c := range []struct {
		args, content, want string
	}{
		{"-f s@t a@b", "Subject: x\n\nbody\n.\nmore\n", "A rewrite_context=local\nF Full Name\nS s@t\nR a@b\nM \nN Subject: x\nN \nN body\nX \nE \n"},
		{"-i -fs -G -F Joe a", ".\n", "A rewrite_context=remote\nF Joe\nS s\nR a\nM \nN .\nX \nE \n"},
		{"-f s -N success,failure -R hdrs -V e -B 8BITMIME a,b -v", "",
			"A envelope_id=e\nA ret_flags=2\nA rewrite_context=local\nF Full Name\nS s\nA encoding=8bit\nA notify_flags=6\nR a\nA notify_flags=6\nR b\nA notify_flags=6\nR -v\nM \nX \nE \n"},
		{"-f s -t", "To: a, B <b@c>\nCc: d\n\nTo: e\n", "A rewrite_context=local\nF Full Name\nS s\nM \nN To: a, B <b@c>\nN Cc: d\nN \nN To: e\nX \nR a\nR b@c\nR d\nE \n"},
		{"-f s -t", "To: a\nResent-To: b\nBcc: c\n\n", "A rewrite_context=local\nF Full Name\nS s\nM \nN To: a\nN Resent-To: b\nN Bcc: c\nN \nX \nR b\nE \n"},
		{"-f s a", "From x\n>From y\na\r\nFrom z\nb", "A rewrite_context=local\nF Full Name\nS s\nR a\nM \nN a\nN From z\nL b\nX \nE \n"},
		{"-f s a", long + "\n.\n" + long + "y\n", "A rewrite_context=local\nF Full Name\nS s\nR a\nM \nL " + long + "\nN \nX \nE \n"},
		{"-f s -bv a b", "ignored", "A rewrite_context=local\nF Full Name\nS s\nA trace_flags=512\nR a\nR b\nM \nN From: s\nN Subject: probe\nL To:\nN \ta,\nN \tb\nX \nE \n"},
		{"-f s -v -XV a", "", "A rewrite_context=local\nF Full Name\nS s\nA trace_flags=1024\nV +=\nR a\nM \nX \nE \n"},
		{"-f s -O SMTPUTF8=yes a", "", "C              -1              -1              -1              -1              -1               1\nA rewrite_context=local\nF Full Name\nS s\nR a\nM \nX \nE \n"},
		{"-f <> a", "", "A rewrite_context=local\nF Full Name\nS \nR a\nM \nX \nE \n"},
	} {
		r := runSendmail(t, "", success, c.content, strings.Fields("sendmail "+c.args)...)
		if r.got != c.want || r.exit != 0 || r.stderr != "" {
			t.Errorf("%s: exit %d %s\ngot  %q\nwant %q", c.args, r.exit, r.stderr, r.got, c.want)
		}
	}
}

func TestFailures(t *testing.T) {
	for _, c := range []struct {
		args, settings, verdict, want string
	}{
		{"-f s", "", success, "sendmail: fatal: s(UID): Recipient addresses must be specified on the command line or via the -t option\n"},
		{"-f s -t", "", success, "sendmail: fatal: s(UID): No recipient addresses found in message header\n"},
		{"-f s a", "", "", "sendmail: warning: command \"DIR/postdrop -r\" exited with status 3\nsendmail: fatal: s(UID): unable to execute DIR/postdrop -r: Application error\n"},
		{"-f s a", "", "status\x004\x00reason\x00\x00\x00", "sendmail: fatal: s(UID): message file too big\n"},
		{"-f s a", "", "status\x008\x00reason\x005.7.1 no\x00\x00", "sendmail: fatal: s(UID): 5.7.1 no\n"},
		{"-f s a", "", "x", "sendmail: fatal: s(UID): queue file write error\n"},
		{"-f s a", "sendmail_fix_line_endings = maybe", success, "sendmail: fatal: invalid sendmail_fix_line_endings value: maybe\n"},
		{"-XV -f <> a", "", success, "sendmail: fatal: (UID): -V option requires non-null sender address\n"},
		{"-n", "", success, "sendmail: fatal: -n option not supported\n"},
		{"-bz", "", success, "sendmail: fatal: unsupported: -bz\n"},
		{"-Z", "", success, "sendmail: invalid option -- 'Z'\nsendmail: invalid option -- 'Z'\nsendmail: fatal: usage: sendmail [options]\n"},
		{"-bp x", "", success, "sendmail: fatal: display queue mode requires no recipient\n"},
		{"-bv -t", "", success, "sendmail: fatal: -t option cannot be used with -bv\n"},
		{"-qx", "", success, "sendmail: fatal: -qx is not implemented\n"},
		{"-XVab", "", success, "sendmail: fatal: -V requires two characters from -=+\n"},
	} {
		r := runSendmail(t, c.settings, c.verdict, "Subject: x\n\n", strings.Fields("sendmail "+c.args)...)
		text := r.stderr
		if i := strings.Index(text, "/postdrop -r"); i >= 0 {
			start := strings.LastIndexAny(text[:i], " \"") + 1
			text = strings.ReplaceAll(text, text[start:i], "DIR")
		}
		if text != c.want || r.exit != exitTemporary {
			t.Errorf("%s: exit %d\ngot  %s\nwant %s", c.args, r.exit, text, c.want)
		}
	}
}

func TestOtherPrograms(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"mailq", `postqueue ["-p"]`},
		{"sendmail -bp -v", `postqueue ["-p" "-v"]`},
		{"sendmail -q", `postqueue ["-f"]`},
		{"sendmail -qIABC", `postqueue ["-i" "ABC"]`},
		{"sendmail -qRsite", `postqueue ["-s" "site"]`},
		{"newaliases", `postalias ["--" "hash:/a" "hash:/b"]`},
		{"sendmail -I -oAhash:/c", `postalias ["--" "hash:/c"]`},
		{"sendmail -bs -v", `smtpd ["-S" "-v"]`},
	} {
		r := runSendmail(t, "", success, "", strings.Fields(c.args)...)
		if strings.TrimSpace(r.stdout) != c.want || r.exit != 7 {
			t.Errorf("%s: exit %d, %q %q", c.args, r.exit, r.stdout, r.stderr)
		}
	}
	if r := runSendmail(t, "", success, "", "sendmail", "-bh"); r.exit != 0 || r.stdout != "" {
		t.Errorf("-bh: %+v", r)
	}
}

func FuzzReadPiece(f *testing.F) {
	f.Add("a\nb\n.\n", 3)
	f.Fuzz(func(t *testing.T, text string, limit int) {
		limit = limit&1023 + 1
		r := bufio.NewReaderSize(strings.NewReader(text), 4096)
		var b strings.Builder
		for {
			typ, data, err := readPiece(r, limit)
			if err == io.EOF {
				break
			}
			if err != nil || len(data) > limit {
				t.Fatalf("%d bytes, %v", len(data), err)
			}
			b.Write(data)
			if typ == record.Text {
				b.WriteByte('\n')
			}
		}
		if b.String() != text {
			t.Errorf("%q became %q", text, b.String())
		}
	})
}
