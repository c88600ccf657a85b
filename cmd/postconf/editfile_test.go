package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// contents returns the text of a file.
func contents(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(path...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// filesOf lists the files of a directory.
func filesOf(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range list {
		names = append(names, e.Name())
	}
	return strings.Join(names, " ")
}

// Editors that run at the same time wait for each other: no change is lost.
func TestEditsAtOnce(t *testing.T) {
	dir := setup(t, "a = 1\n", "smtp inet n - n - - smtpd\n")
	const editors = 12
	var wg sync.WaitGroup
	for i := range editors {
		for _, args := range [][]string{{fmt.Sprintf("new%d=x%d", i, i)}, {"-P", fmt.Sprintf("smtp/inet/new%d=x%d", i, i)}} {
			wg.Go(func() {
				if r := command(t, "", dir, nil, args...); r != (result{}) {
					t.Errorf("%q: %+v", args, r)
				}
			})
		}
	}
	wg.Wait()
	for i := range editors {
		if want := fmt.Sprintf("new%d = x%d\n", i, i); !strings.Contains(contents(t, dir, "main.cf"), want) {
			t.Errorf("main.cf lost %s", want)
		}
		if want := fmt.Sprintf("    -o new%d=x%d\n", i, i); !strings.Contains(contents(t, dir, "master.cf"), want) {
			t.Errorf("master.cf lost %s", want)
		}
	}
	if list := filesOf(t, dir); list != "main.cf master.cf" {
		t.Error(list)
	}
}

// everyEdit is one command line for each kind of edit.
var everyEdit = [][]string{{"a=2"}, {"-X", "b"}, {"-#", "a"}, {"-F", "smtp/inet/chroot=y"}, {"-P", "smtp/inet/a=b"}, {"-PX", "smtp/inet/c"}, {"-MX", "x/y"}, {"-M", "x/unix=x unix - - - - - y"}}

func fileOfEdit(args []string) string {
	if strings.HasPrefix(args[0], "-F") || strings.HasPrefix(args[0], "-P") || strings.HasPrefix(args[0], "-M") {
		return "master.cf"
	}
	return "main.cf"
}

// Where the new file does not fit, the old one stays and no rest is left.
func TestEditWithoutRoom(t *testing.T) {
	mainCF := "a = 1\n" + strings.Repeat("# filler\n", 20000)
	masterCF := "smtp inet n - n - - smtpd -o c=d\n" + strings.Repeat("# filler\n", 20000)
	for _, args := range everyEdit {
		for _, limit := range []string{"0", "100000"} {
			dir := setup(t, mainCF, masterCF)
			r := command(t, "", dir, []string{envSizeLimit + "=" + limit}, args...)
			if want := "postconf: fatal: close D/" + fileOfEdit(args) + ".tmp: File too large\n"; r.errs != want || r.status != 1 {
				t.Errorf("%q, %s: %+v", args, limit, r)
			}
			if contents(t, dir, "main.cf") != mainCF || contents(t, dir, "master.cf") != masterCF {
				t.Errorf("%q, %s: a file has changed", args, limit)
			}
			if list := filesOf(t, dir); list != "main.cf master.cf" {
				t.Errorf("%q, %s: %s", args, limit, list)
			}
		}
	}
}

// A directory that may not be written keeps its files.
func TestEditInReadOnlyDirectory(t *testing.T) {
	dir, err := os.MkdirTemp("", "postconf")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Error(err)
		}
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	write(t, dir, map[string]string{"main.cf": "a = 1\n", "master.cf": "smtp inet n - n - - smtpd\n"})
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	var env []string
	if os.Getuid() == 0 {
		env = []string{envUser + "=" + strconv.Itoa(65534)}
	}
	for _, args := range everyEdit {
		r := command(t, "", dir, env, args...)
		if want := "postconf: fatal: open D/" + fileOfEdit(args) + ".tmp: Permission denied\n"; r.errs != want || r.status != 1 {
			t.Errorf("%q: %+v", args, r)
		}
	}
	if r := command(t, "", dir, env, "-n"); r.status != 0 || !strings.Contains(r.errs, "unused parameter: a=1") {
		t.Errorf("%+v", r)
	}
	for name, want := range map[string]string{"main.cf": "open D/main.cf: Permission denied", "master.cf": "open D/master.cf: Permission denied"} {
		if err := os.Chmod(filepath.Join(dir, name), 0); err != nil {
			t.Fatal(err)
		}
		if os.Getuid() != 0 {
			env = nil
		}
		if r := command(t, "", dir, env, "-M"); r.status != 1 || r.errs != "postconf: fatal: "+want+"\n" {
			t.Errorf("%s: %+v", name, r)
		}
		if err := os.Chmod(filepath.Join(dir, name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// A symbolic link stays one, and its target is the file that changes.
func TestEditThroughLink(t *testing.T) {
	for _, name := range []string{"main.cf", "master.cf"} {
		args := []string{"a=2"}
		before, after := "a = 1\n", "a = 2\n"
		if name == "master.cf" {
			args = []string{"-F", "a/unix/chroot=n"}
			before, after = "a unix - - - - - b\n", "a          unix  -       -       n       -       -       b\n"
		}
		dir, elsewhere := setup(t, "", ""), t.TempDir()
		target := filepath.Join(elsewhere, "real")
		if err := os.WriteFile(target, []byte(before), 0o604); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(target, 0o604); err != nil {
			t.Fatal(err)
		}
		link := filepath.Join(dir, name)
		relink := func(to string) {
			if err := os.Remove(link); err != nil {
				t.Fatal(err)
			}
			if err := os.Symlink(to, link); err != nil {
				t.Fatal(err)
			}
		}
		relink(target)
		if r := command(t, "", dir, nil, args...); r != (result{}) {
			t.Errorf("%s: %+v", name, r)
		}
		if got := contents(t, target); got != after {
			t.Errorf("%s: %q", name, got)
		}
		if st, err := os.Lstat(link); err != nil || st.Mode()&os.ModeSymlink == 0 {
			t.Errorf("%s: link: %v %v", name, st, err)
		}
		if st, err := os.Stat(link); err != nil || st.Mode() != 0o604 {
			t.Errorf("%s: target: %v %v", name, st, err)
		}
		if a, b := filesOf(t, dir), filesOf(t, elsewhere); a != "main.cf master.cf" || b != "real" {
			t.Errorf("%s: %s, %s", name, a, b)
		}
		for to, reason := range map[string]string{"nowhere": "No such file or directory", name: "Too many levels of symbolic links"} {
			relink(to)
			r := command(t, "", dir, nil, args...)
			if want := "postconf: fatal: open D/" + name + " for reading: " + reason + "\n"; r.errs != want || r.status != 1 {
				t.Errorf("%s: %+v", name, r)
			}
			if list := filesOf(t, dir); list != "main.cf master.cf" {
				t.Errorf("%s: %s", name, list)
			}
		}
	}
}

// What an edit does not touch stays as it is, byte for byte.
func TestEditKeepsTheRest(t *testing.T) {
	for _, c := range []struct {
		name, before string
		args         []string
		after        string
	}{
		{"main.cf", "a = 1\r\n  2\r\n\r\n# c\r\nb = 2\r\n", []string{"a=x"}, "a = x\n\r\n# c\r\nb = 2\r\n"},
		{"main.cf", "a = 1\r\n  2\r\nb = 2\r\n", []string{"-#", "a"}, "#a = 1\r\n#  2\r\nb = 2\r\n"},
		{"main.cf", "b = \x00\xff\xfe\n\n\n\na=", []string{"c=d"}, "b = \x00\xff\xfe\n\n\n\na=\nc = d\n"},
		{"main.cf", "", []string{"c=$d {"}, "c = $d {\n"},
		{"main.cf", "# only", []string{"-X", "only"}, "# only\n"},
		{"main.cf", "a=1\n# x", []string{"a="}, "a = \n# x\n"},
		{"main.cf", "b = 1\n" + strings.Repeat("x", 1<<20) + " = y", []string{"b=2"}, "b = 2\n" + strings.Repeat("x", 1<<20) + " = y\n"},
		{"master.cf", "a unix - - - - - x\r\n  -o c=d\r\n# e\r\nb unix - - - - - y\r\n", []string{"-MX", "a/unix"}, "# e\r\nb unix - - - - - y\r\n"},
		{"master.cf", "a unix - - - - - x\r\n  -o c=d\r\nb unix - - - - - y", []string{"-P", "a/unix/c=e"}, "a          unix  -       -       -       -       -       x\n    -o c=e\nb unix - - - - - y\n"},
		{"master.cf", "# none", []string{"-M", "a/unix=a unix - - - - - x"}, "# none\na          unix  -       -       -       -       -       x\n"},
		{"master.cf", "a unix - - - - - x {a b} {c d} {} {y} -o {e f}\n", []string{"-F", "a/unix/chroot=n"}, "a          unix  -       -       n       -       -       x {a b} {c d} {} y -o\n    {e f}\n"},
	} {
		dir := setup(t, "", "")
		write(t, dir, map[string]string{c.name: c.before})
		if r := command(t, "", dir, nil, c.args...); r != (result{}) {
			t.Errorf("%q: %+v", c.args, r)
		}
		if got := contents(t, dir, c.name); got != c.after {
			t.Errorf("%q: %.300q, want %.300q", c.args, got, c.after)
		}
	}
}
