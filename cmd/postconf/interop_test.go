//go:build interop

package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// theirs is the postconf of the Postfix that is installed.
const theirs = "/usr/sbin/postconf"

// result is what one of the two programs did.
type result struct {
	out, errs string
	status    int
	files     string
}

// runBinary runs a postconf in a directory of its own.
func runBinary(t *testing.T, program, mainCF, masterCF string, args ...string) result {
	t.Helper()
	dir := setup(t, mainCF, masterCF)
	cmd := exec.Command(program, append([]string{"-c", dir}, args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	plain := func(text string) string {
		return strings.ReplaceAll(strings.ReplaceAll(text, program, "postconf"), dir, "D")
	}
	lines := strings.Split(plain(errs.String()), "\n")
	sort.Strings(lines) // the reference walks hash tables in any order
	r := result{out: plain(out.String()), errs: strings.Join(lines, "\n"), status: cmd.ProcessState.ExitCode()}
	for _, name := range []string{"main.cf", "master.cf"} {
		text, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		r.files += string(text)
	}
	return r
}

// ours builds this package once.
func ours(t *testing.T) string {
	t.Helper()
	program := filepath.Join(t.TempDir(), "postconf")
	if text, err := exec.Command("go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	return program
}

// same compares, and lets the parts vanish in which the releases differ by intention. (-Fh is
// not compared: 3.7 glues the command to its first argument.)
func same(a, b result) bool {
	old := strings.NewReplacer(
		"specify one of ", "specify one of ", "D/main.cf: missing '}'", "main.cf: missing '}'",
		" [-j (streaming JSON) ]", "", ", -", " -")
	a.errs, b.errs = old.Replace(a.errs), old.Replace(b.errs)
	var lines []string
	for line := range strings.SplitSeq(a.errs, "\n") {
		if !strings.Contains(line, "support for parameter") && !strings.Contains(line, "DEPRECATION_README") {
			lines = append(lines, line)
		}
	}
	a.errs = strings.Join(lines, "\n")
	return a == b
}

func TestAgainstPostfix(t *testing.T) {
	program := ours(t)
	for _, c := range []struct {
		main, master string
		runs         []string // arguments, separated by blanks
	}{
		{testMain, strings.Replace(testMaster, "{ two words }", "two", 1), []string{
			"-n", "-nf", "-nx", "-nxf", "-nh", "-nH", "-nC user", "-C service", "-C user", "-xC service", "-xh foo smtpd_banner mynetworks", "-o mydomain=q -xn",
			"-M", "-Mf", "-Mx", "-Mfx", "-F", "-Ff", "-Fx", "-FH smtp", "-P", "-Px", "-Ph", "-PH", "-Pfx", "-M */inet", "-F */unix/command",
			"-P smtp/*/mynetworks zz/unix", "-d mydomain mail_name compatibility_level", "-dx mydomain", "-M zz", "-l", "-Z", "-n -d", "-a -n", "-e", "-X", "-M /", "-F a/b/c"}},
		{"process_name=x\nvirtual_maps=a\nfoo=1\nmyhostname=$a_b$$ x\na_b=2\na_b=3\n", "local unix - n n - - local\nx unix - - n - - spawn user=x argv=y -o\n", []string{
			"-n", "-C service", "-C user", "x_time_limit local_destination_concurrency_limit fallback_relay", "-Mf", "-x process_name service_name myhostname"}},
		{"inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n", "", []string{"-xh mynetworks", "-o mynetworks_style=class -xh mynetworks", "-o mynetworks_style=host -xh mynetworks"}},
		{" lead\n# c\na = 1\n  more\n# inside\n\n\tmore still\nb=2\na = 3\njunk line\nc = 4\n", editMaster + "\n", []string{
			"a=x", "-X a c", "-# a nosuch", "-e z=1", "-X b", "a= b=x=y", "-e a", "=b", "-X a b=c", "-MX smtp/inet", "-M# smtp/inet", "-F smtp/inet/chroot=n smtp/inet/command=foo",
			"-P smtp/inet/zz=1 smtp/inet/a=5", "-PX smtp/inet/a smtp/inet/c", "-F zz/inet/chroot=y", "-M smtp/inet=smtp", "-F smtp/inet/chroot=x", "-P a/b=c", "-PX smtp/inet/c"}},
		{"junk zz\n more\n", "a foo\n", []string{"-n", "-M", "-h mydomain", "-e mydomain=x"}},
		{"mydomain = ${A\n", "a unix - - n 5? 6? b\n c\n", []string{"-xh mydomain", "-M"}},
		{"  \n lead\nmydomain = a\n  # c\n\n b\nmydomain=a b\n", "", []string{"-n", "-h mydomain"}},
	} {
		for _, args := range c.runs {
			t.Run(args, func(t *testing.T) {
				t.Parallel()
				a := runBinary(t, program, c.main, c.master, strings.Fields(args)...)
				b := runBinary(t, theirs, c.main, c.master, strings.Fields(args)...)
				if !same(a, b) {
					t.Errorf("%q %q\nours   %+v\ntheirs %+v", c.main, c.master, a, b)
				}
			})
		}
	}
}

// Random expressions mean the same to both programs.
func TestExpressionsAgainstPostfix(t *testing.T) {
	program := ours(t)
	parts := []string{"$a", "${b}", "$(c)", "${u}", "${a?", "${e:", "{", "}", "}:{", "${{", "} == {", "}<{", "} >=level {", "} ? {", "$$", "x", " ", "1", "3.10", "}}", ":", "?", "9"}
	whole := []string{"${a?{$b}:{y}}", "${e?{x}:{$c}}", "${{$a}=={$b}?{t}:{f}}", "${{10}<{9}}", "${{3.10}<=level{3.9}:n}", "$(u:$(a))", "${a?  $c }", "${b:{z}}"}
	random := rand.New(rand.NewPCG(3, 11))
	for i := range 150 {
		var text strings.Builder
		for range 1 + random.IntN(5) {
			if i%3 > 0 {
				text.WriteString(whole[random.IntN(len(whole))])
			}
			text.WriteString(parts[random.IntN(len(parts))])
		}
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			main := "a = A$c\nb = 10\nc = ${e:C}\ne =\nmydomain = [" + text.String() + "]\nmyhostname = h.example\nall = $a$b$c$e$u\nmail_name = $all\n"
			a := runBinary(t, program, main, "", "-xh", "mydomain")
			b := runBinary(t, theirs, main, "", "-xh", "mydomain")
			if a.status != b.status || a.out != b.out || !sameWarnings(a.errs, b.errs) {
				t.Errorf("%q\nours   %+v\ntheirs %+v", text.String(), a, b)
			}
		})
	}
}

// sameWarnings compares sets: how often the reference repeats a warning
// depends on how often it evaluates a value. 3.7 has no functions.
func sameWarnings(a, b string) bool {
	set := func(text string) string {
		var list []string
		for line := range strings.SplitSeq(text, "\n") {
			line = strings.Replace(line, "dictionary mail_dict: ", "", 1)
			scan := strings.Contains(line, "undefined parameter") || strings.Contains(line, "main.cf: ") // not about the expression
			if line != "" && !scan && (len(list) == 0 || list[len(list)-1] != line) {
				list = append(list, line)
			}
		}
		return strings.Join(list, "\n")
	}
	return set(a) == set(b)
}
