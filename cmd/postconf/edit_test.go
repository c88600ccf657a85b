package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// edited runs an edit and returns what became of a file.
func edited(t *testing.T, dir, file string, args ...string) (text, errs string, status int) {
	t.Helper()
	_, errs, status = do(t, dir, args...)
	content, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		t.Fatal(err)
	}
	return string(content), errs, status
}

func TestEditMain(t *testing.T) {
	const before = " lead\n# c\na = 1\n  more\n# inside\n\n\tmore still\nb=2\na = 3\njunk line\nc = 4"
	for _, c := range []struct {
		args       []string
		after, err string
	}{
		{[]string{"a=x y"}, " lead\n# c\na = x y\n# inside\n\nb=2\na = x y\njunk line\nc = 4\n", "warning: D/main.cf: multiple entries for \"a\"\n"},
		{[]string{"z=$b", " y ="}, before + "\ny = \nz = $b\n", ""},
		{[]string{"-X", "a", "c"}, " lead\n# c\n# inside\n\nb=2\njunk line\n", "warning: D/main.cf: multiple entries for \"a\"\n"},
		{[]string{"-#", "a", "nosuch"}, " lead\n# c\n#a = 1\n#  more\n# inside\n\n#\tmore still\nb=2\n#a = 3\njunk line\nc = 4\n", "warning: D/main.cf: multiple entries for \"a\"\n"},
		{[]string{"b=1", "b=2"}, strings.Replace(before, "b=2", "b = 2", 1) + "\n", "warning: ignoring earlier request: 'b = 1'\n"},
		{[]string{"b=1", "b=1"}, strings.Replace(before, "b=2", "b = 1", 1) + "\n", ""},
		{[]string{"-X", "b", "b"}, strings.Replace(before, "b=2\n", "", 1) + "\n", ""},
		{[]string{"a=1\n2"}, before, "fatal: -e, -X, or -# accepts no multi-line input\n"},
		{[]string{"-e", "a"}, before, "fatal: missing '=' after attribute name: \"a\"\n"},
		{[]string{"-e", " "}, before, "fatal: missing attribute name: \"\"\n"},
		{[]string{"\na=b"}, before, "fatal: -e, -X, or -# accepts no multi-line input\n"},
		{[]string{"=b"}, before, "fatal: missing attribute name: \"=b\"\n"},
		{[]string{"-X", "a", "b=c"}, before, "fatal: -X or -# requires parameter names without value\n"},
		{[]string{"-X", " "}, before, "fatal: -X or -# requires non-blank parameter names\n"},
	} {
		dir := setup(t, before, "")
		after, errs, _ := edited(t, dir, "main.cf", c.args...)
		if errs = strings.ReplaceAll(errs, "postconf: ", ""); after != c.after || errs != c.err {
			t.Errorf("%q:\n%q %s\nwant\n%q %s", c.args, after, errs, c.after, c.err)
		}
		if _, err := os.Stat(filepath.Join(dir, "main.cf.tmp")); err == nil && !strings.HasPrefix(c.err, "fatal") {
			t.Errorf("%q: temporary file left behind", c.args)
		}
	}
}

func TestEditFileHandling(t *testing.T) {
	dir := setup(t, "a = 1\n", "")
	path := filepath.Join(dir, "main.cf")
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	victim := filepath.Join(dir, "victim")
	if err := os.WriteFile(victim, []byte("v"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, prepare := range map[string]func() error{
		"symbolic link": func() error { return os.Symlink(victim, path+".tmp") },
		"hard link":     func() error { return os.Link(victim, path+".tmp") },
		"wide mode":     func() error { return os.WriteFile(path+".tmp", []byte("long text that must go away"), 0o644) },
		"leftover":      func() error { return os.WriteFile(path+".tmp", []byte("long text that must go away"), 0o600) },
	} {
		if err := prepare(); err != nil {
			t.Fatal(err)
		}
		after, errs, status := edited(t, dir, "main.cf", "a="+name)
		if after != "a = "+name+"\n" || errs != "" || status != 0 {
			t.Errorf("%s: %d %q %q", name, status, after, errs)
		}
		if text, err := os.ReadFile(victim); string(text) != "v" || err != nil {
			t.Errorf("%s: victim is %q, %v", name, text, err)
		}
		if st, err := os.Stat(path); err != nil || st.Mode() != 0o640 {
			t.Errorf("%s: mode %v, %v", name, st.Mode(), err)
		}
	}
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	_, errs, status := do(t, dir, "a=b")
	if errs != "postconf: fatal: open D/main.cf for reading: No such file or directory\n" || status != 1 {
		t.Errorf("%d %s", status, errs)
	}
	if _, err := os.Stat(path + ".tmp"); err == nil {
		t.Error("temporary file left behind")
	}
	_, errs, _ = do(t, dir+"/nonexistent", "a=b")
	if errs != "postconf: fatal: open D/main.cf.tmp: No such file or directory\n" {
		t.Error(errs)
	}
}

const editMaster = `# head
  lead
smtp inet n - y - - smtpd
  -o a=b
# mid
  -o c=d -v

# after
local unix - n n - - local
smtp unix - - n - - smtp`

func TestEditMaster(t *testing.T) {
	const (
		head  = "# head\n  lead\n"
		notes = "# mid\n\n# after\n"
		local = "local unix - n n - - local\n"
		tail  = local + "smtp unix - - n - - smtp\n"
		smtpd = "smtp       inet  n       -       y       -       -       smtpd"
	)
	for _, c := range []struct {
		args       []string
		after, err string
	}{
		{[]string{"-M", "smtp/inet=smtp inet n - - - - smtpd -o x=y -v -o {z = 1 2}"},
			head + "smtp       inet  n       -       -       -       -       smtpd\n    -o x=y\n    -v\n    -o {z=1 2}\n" + notes + tail, ""},
		{[]string{"-M", "new/unix=new unix n - - - - foo {a b}"}, editMaster + "\nnew        unix  n       -       -       -       -       foo {a b}\n", ""},
		{[]string{"-M", "smtp/*=new unix n - - - - foo a b"}, head + "new        unix  n       -       -       -       -       foo a b\n" + notes + local, ""},
		{[]string{"-MX", "smtp/inet"}, head + notes + tail, ""},
		{[]string{"-MX", "none/inet"}, editMaster + "\n", ""},
		{[]string{"-M#", "smtp/inet"}, head + "#smtp inet n - y - - smtpd\n#  -o a=b\n# mid\n#  -o c=d -v\n\n# after\n" + tail, ""},
		{[]string{"-F", "smtp/inet/chroot=n", "smtp/inet/command=foo -v"}, head + notes + "smtp       inet  n       -       n       -       -       foo -v\n" + tail, ""},
		{[]string{"-P", "smtp/inet/zz=1", "smtp/inet/a=5"}, head + notes + smtpd + "\n    -o a=5\n    -o c=d\n    -v\n    -o zz=1\n" + tail, ""},
		{[]string{"-PX", "smtp/inet/a", "smtp/inet/c"}, head + notes + smtpd + " -v\n" + tail, ""},
		{[]string{"-F", "zz/inet/chroot=y"}, editMaster + "\n", "warning: unmatched service_name/type: \"zz/inet/chroot=y\"\n"},
		{[]string{"-M", "smtp/inet=smtp"}, editMaster, "fatal: bad field count: \"smtp/inet=smtp\"\n"},
		{[]string{"-M", "a/b=a b c d e f g h"}, editMaster, "fatal: invalid type field \"b\" in \"a b c d e f g h\"\n"},
		{[]string{"-F", "smtp/inet/chroot=x"}, editMaster, "fatal: invalid chroot field \"x\" in \"x\"\n"},
		{[]string{"-F", "smtp/inet/chroot="}, editMaster, "fatal: invalid chroot field \"\" in \"\"\n"},
		{[]string{"-F", "smtp/inet/command="}, editMaster, "fatal: invalid command field \"\" in \"\"\n"},
		{[]string{"-F", "smtp/inet/*=1"}, editMaster, "fatal: -Fe does not accept wild-card field name\n"},
		{[]string{"-F", "smtp/inet/chroot=n y"}, editMaster, "fatal: -Fe does not accept whitespace in non-command field\n"},
		{[]string{"-P", "smtp/inet/a=1 2"}, editMaster, "fatal: -Pe does not accept whitespace in parameter value\n"},
		{[]string{"-PX", "a/b"}, editMaster, "fatal: -Pe or -PX requires service_name/type/parameter\n"},
		{[]string{"-P", "#a/b/c=d"}, editMaster, "fatal: -Me, -Fe, -Pe, -X, or -# accept no comment input\n"},
	} {
		after, errs, _ := edited(t, setup(t, "", editMaster), "master.cf", c.args...)
		if errs = strings.ReplaceAll(errs, "postconf: ", ""); after != c.after || errs != c.err {
			t.Errorf("%q:\n%s%s\nwant\n%s%s", c.args, after, errs, c.after, c.err)
		}
	}
	for text, want := range map[string]string{
		"smtp\n inet n\n":            "line 1: specify service name and type on the same line",
		"\na=b inet n - - - - x\n":   "line 2: service name syntax \"a=b\" is unsupported with -Me, -Fe, -Pe, -X, or -#",
		"a b/c n - - - - x\n":        "line 1: service type syntax \"b/c\" is unsupported with -Me, -Fe, -Pe, -X, or -#",
		"smtp inet n - - - -\n# x\n": "line 1: bad field count",
	} {
		after, errs, _ := edited(t, setup(t, "", text), "master.cf", "-P", "smtp/inet/a=b")
		if errs != "postconf: fatal: file D/master.cf: "+want+"\n" || after != text {
			t.Errorf("%q: %q %s", text, after, errs)
		}
	}
}

// What -M shows can be read again and then looks the same.
func FuzzService(f *testing.F) {
	f.Add("smtp inet n - y - - smtpd -o {a = b c} -vo x=y -- {p q}")
	f.Add("a unix - - - - 0 pipe flags=x argv={a {b} c}")
	f.Fuzz(func(t *testing.T, line string) {
		p := &postconf{tag: "postconf", stderr: os.NewFile(^uintptr(0), "none")}
		s, err := p.parseService(line)
		if err != nil || strings.ContainsAny(line, "\n{}") {
			return
		}
		again, err := p.parseService(s.text(false))
		if err != nil {
			t.Fatalf("%q: %v", s.text(false), err)
		}
		if again.text(true) != s.text(true) {
			t.Errorf("%q became %q", s.text(true), again.text(true))
		}
	})
}
