//go:build interop

package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Written by hand: one configuration, many command lines.
func TestAgainstPostfix(t *testing.T) {
	t.Parallel()
	var list []comparison
	for _, c := range []struct {
		main, master string
		runs         []string // arguments, separated by blanks; ~ stands for a blank within one
	}{
		{testMain, strings.Replace(testMaster, "{ two words }", "two", 1), []string{
			"-n", "-nf", "-nx", "-nxf", "-nh", "-nH", "-nC user", "-C service", "-C user", "-xC service", "-xh foo smtpd_banner mynetworks", "-o mydomain=q -xn",
			"-M", "-Mf", "-Mx", "-Mfx", "-F", "-Ff", "-Fx", "-FH smtp", "-P", "-Px", "-Ph", "-PH", "-Pfx", "-M */inet", "-F */unix/command",
			"-P smtp/*/mynetworks zz/unix", "-d mydomain mail_name compatibility_level", "-dx mydomain", "-M zz", "-l", "-A", "-Z", "-n -d", "-a -n", "-e", "-X", "-M /", "-F a/b/c",
			"-T foo", "-T a -T b", "-T", "-c", "-o", "-C", "-o ~a~=~b~ -n", "-o a -M", "-vl", "-vvv -h mydomain", "-d -v mydomain", "-nv", "-- mydomain", "mydomain -n", "-h -- -n",
			"-hH mydomain", "-pd mydomain", "-pn", "-C user -M", "-C user -l", "-f -l", "-x -a", "-o a=b -d", "-P smtp/inet/smtpd_banner relay", "-F */*/nofield", "-F smtp//", "-M smtp/inet/x",
			"-M s*/inet", "-P a/b/c/d", "-M ~", "-d nosuch", "-dH smtp_destination_rate_delay relay_destination_rate_delay archive_time_limit", "-dx relay_destination_rate_delay"}},
		{"process_name=x\nvirtual_maps=a\nfoo=1\nmyhostname=$a_b$$ x\na_b=2\na_b=3\n", "local unix - n n - - local\nx unix - - n - - spawn user=x argv=y -o\n", []string{
			"-n", "-C service", "-C user", "x_time_limit local_destination_concurrency_limit fallback_relay", "-Mf", "-x process_name service_name myhostname"}},
		{"inet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n", "", []string{"-xh mynetworks", "-o mynetworks_style=class -xh mynetworks", "-o mynetworks_style=host -xh mynetworks",
			"-o mynetworks_style=zz mynetworks", "-o mynetworks_style=host,class mynetworks", "-o inet_interfaces=1.2.3.4 mynetworks", "-o inet_protocols=zz -n", "-o inet_protocols= mynetworks",
			"-o inet_interfaces= mynetworks", "-o inet_interfaces=loopback-only -o inet_protocols=all mynetworks", "-o inet_interfaces=all mynetworks"}},
		{" lead\n# c\na = 1\n  more\n# inside\n\n\tmore still\nb=2\na = 3\njunk line\nc = 4\n", editMaster + "\n", []string{
			"a=x", "-X a c", "-# a nosuch", "-e z=1", "-X b", "a= b=x=y", "-e a", "=b", "-X a b=c", "-X a=b", "-X c~", "-X ~c", "-e ~a~=~1~~", "-# b c", "-e", "-#", "-e junk=x", "-X junk", "-# #a",
			"-MX smtp/inet", "-M# smtp/inet", "-F smtp/inet/chroot=n smtp/inet/command=foo", "-P smtp/inet/zz=1 smtp/inet/a=5", "-PX smtp/inet/a smtp/inet/c", "-F zz/inet/chroot=y",
			"-M smtp/inet=smtp", "-F smtp/inet/chroot=x", "-P a/b=c", "-PX smtp/inet/c", "-MX smtp/*", "-M# */unix", "-MX */*", "-M */unix=x~unix~-~-~-~-~-~y", "-M new/pass=new~pass~-~-~-~-~-~y~-o~{~a~=~b~c~}",
			"-F */*/chroot=y", "-F */*/private=y */unix/private=n", "-P */*/a=b", "-PX */*/a", "-F smtp/inet/type=unix", "-F smtp/inet/service=x", "-F smtp/inet/wakeup=5?",
			"-M -e", "-MX smtp", "-PX smtp/inet", "-P smtp/inet/*=x", "-F smtp/inet/*=x", "-MX smtp/inet=x", "-Me a", "-P smtp/inet/a=~b", "-P smtp/inet/a=b~c", "-F smtp/inet/chroot=~n"}},
		{"junk zz\n more\n", "a foo\n", []string{"-n", "-M", "-h mydomain", "-e mydomain=x", "-l", "-m", "-b", "-d mydomain"}},
		{"mydomain = ${A\n", "a unix - - n 5? 6? b\n c\n", []string{"-xh mydomain", "-M", "-n", "mydomain"}},
		{"  \n lead\nmydomain = a\n  # c\n\n b\nmydomain=a b\n", "", []string{"-n", "-h mydomain"}},
		{"= x\n", "", []string{"-n"}},
		{"a\n", "smtp inet n - n - - smtpd\n", []string{"-n", "-P", "-PX smtp/inet/a"}},
		{"smtpd_restriction_classes = a, b $c\nc = d e\nb = permit\n", "smtp inet n - n - - smtpd -o a=permit -o smtpd_restriction_classes=q,$r -o r=z -o q=$process_name\n", []string{"-n", "-P", "-Px", "-nx"}},
		{"virtual_alias_maps=ldap:foo,mysql:{a,b},proxy:pgsql:bar proxy:proxy:sqlite:sq ldap:/nonexistent {x ./y memcache:./z\nfoo_bind=1\nfoo_zz=2\nbar_user=x\nsq_query=a\n", "", []string{"-n", "-nx"}},
		{"transport_maps = unionmap:{ldap:a, {mysql:b}} pipemap:{ldap:c}}x {{pgsql:d}}\na_bind=1\nb_user=x\nc_bind=1\nd_user=1\n", "", []string{"-n"}},
		{"fallback_relay=x\nsmtp_fallback_relay=$fallback_relay y\nvirtual_maps=hash:a\n", "x unix - - n - - lmtp -o fallback_relay=z\n", []string{"-n", "-x smtp_fallback_relay", "-C user", "-C builtin -n", "-P"}},
		{"a=$b\nb=$c\nc=$a\nmydomain=$a\nmyhostname=h.example\n", "", []string{"-xh mydomain"}},
		{chain(100) + "mydomain=$n1\nmyhostname=h.example\n", "", []string{"-xh mydomain"}},
		{chain(101) + "mydomain=$n1\nmyhostname=h.example\n", "", []string{"-xh mydomain"}},
		{"aa = x\ncompatibility_level = 3.10\nmydomain = ${{$compatibility_level} >=level {3.9} ? {t} : {f}} ${{3.6.2000} <level {3}}\nmyhostname=h.example\n", "", []string{"-xh mydomain", "-xh smtputf8_enable", "mydomain"}},
		{"mydomain = ${{99999999999999999999} < {3}}\nmyhostname=h.example\n", "", []string{"-xh mydomain"}},
		{"a = 1\r\nb = 2 \r\n  3\r\n\r\n# c\r\nmydomain = $a$b\r\n", "smtp inet n - n - - smtpd\r\n  -o a=b\r\n", []string{"-n", "-xh mydomain", "b=5", "-X a", "-# b", "-M", "-Mf", "-P smtp/inet/a=c", "-MX smtp/inet", "-M# smtp/inet"}},
		{"mydomain = \x01\x7f\xe2\x82\xac\tx\nfoo=\x02\n", "smtp inet n - n - - smtpd -o mydomain=\x03\n", []string{"mydomain", "-n", "-M", "-P"}},
		{"", "a unix - - n - -\n", []string{"-M", "-F", "-n", "-MX a/unix", "-F a/unix/chroot=y", "-P a/unix/x=y"}},
		{"", "a unix - - n - - -o\nb unix - - n - - x -o\nc unix - - n - - x -o {\nd unix - - n - - x -o {}\ne unix - - n - - x -o{a=b}\nf unix - - n - - x -voa=b y\n", []string{"-M", "-Mf", "-P", "-F", "-FH"}},
		{"", "smtp\n inet n - n - - x\n", []string{"-M", "-MX smtp/inet"}},
		{"", "a=b inet n - n - - x\n", []string{"-M", "-MX smtp/inet"}},
		{"", "a b/c n - n - - x\n", []string{"-M", "-MX smtp/inet"}},
		{"", "   # only comments\n", []string{"-M", "-MX smtp/inet", "-M a/unix=a~unix~-~-~-~-~-~x"}},
		{"", " smtp inet n - n - - x\nrelay unix - - - - - smtp\n", []string{"-M", "-PX relay/unix/a"}},
	} {
		for _, run := range c.runs {
			args := strings.Fields(run)
			for i := range args {
				args[i] = strings.ReplaceAll(args[i], "~", " ")
			}
			list = append(list, comparison{main: c.main, master: c.master, args: args})
		}
	}
	compare(t, list)
}

// chain returns settings n1 to nN that refer to one another; the last is text.
func chain(n int) string {
	var b strings.Builder
	for i := 1; i < n; i++ {
		b.WriteString("n" + strconv.Itoa(i) + " = $n" + strconv.Itoa(i+1) + "\n")
	}
	return b.String() + "n" + strconv.Itoa(n) + " = end\n"
}

// Where 3.7 and we differ by intention, both sides are known.
func TestKnownDifferences(t *testing.T) {
	for _, c := range []struct {
		reason       string
		main, master string
		args         []string
		ours, theirs outcome // main and master only where they are not empty
	}{
		{"-x does not expand what programs expand by themselves", "", "a unix - - - - - local -o luser_relay=$mail_name@$user\n", []string{"-Pxh", "a/unix"},
			outcome{result: result{out: "$mail_name@$user\n"}}, outcome{result: result{out: "Postfix@\n"}}},
		{"nor where it is referred to", "luser_relay = $mail_name\nmydomain = [$luser_relay]\n", "", []string{"-xh", "mydomain"},
			outcome{result: result{out: "[$mail_name]\n"}}, outcome{result: result{out: "[Postfix]\n"}}},
		{"functions", "mydomain = ${domain_to_ascii{b\u00fccher.example}}\nmyhostname = h.example\n", "", []string{"-xh", "mydomain"},
			outcome{result: result{out: "xn--bcher-kva.example\n"}}, outcome{result: result{status: 1, errs: "postconf: warning: attribute name syntax error at: \"...domain_to_ascii>>>{b??cher.example}\"\n" +
				"postconf: fatal: macro processing error\n"}}},
		{"text after a null byte is lost, and we say so", "mydomain = a\x00b\n", "", []string{"-h", "mydomain"},
			outcome{result: result{out: "a\n", errs: "postconf: warning: D/main.cf, line 1: text after null byte may be ignored\n"}}, outcome{result: result{out: "a\n"}}},
		{"the last line gets its line feed before another is appended", "mydomain = a", "", []string{"b=c"}, outcome{main: "mydomain = a\nb = c\n"}, outcome{main: "mydomain = ab = c\n"}},
		{"a name to delete may come twice", "a = b\n", "", []string{"-X", "a", "a"}, outcome{}, outcome{result: result{status: -1}, main: "a = b\n"}},
		{"a command keeps its distance from its arguments", "", "a unix - - - - - smtp -v\n", []string{"-Fh", "a/unix/command"}, outcome{result: result{out: "smtp -v\n"}}, outcome{result: result{out: "smtp-v\n"}}},
		{"the first argument keeps its braces", "", "a unix - - - - - pipe {a b} {c d}\n", []string{"-F", "a/unix/chroot=n"},
			outcome{master: "a          unix  -       -       n       -       -       pipe {a b} {c d}\n"}, outcome{master: "a          unix  -       -       n       -       -       pipe a b {c d}\n"}},
		{"no service is left without a name", "", "a unix - - - - - smtp\n", []string{"-F", "a/unix/service="},
			outcome{result: result{status: 1, errs: "postconf: fatal: invalid service field \"\" in \"\"\n"}}, outcome{master: "unix             -       -       -       -       -       smtp\n"}},
		{"a link stays where it is, and so do owner and mode: see TestEditThroughLink", "a = 1\n", "", []string{"a=1"}, outcome{main: "a = 1\n"}, outcome{main: "a = 1\n"}},
	} {
		for _, side := range []struct {
			program string
			want    outcome
		}{{"", c.ours}, {theirs, c.theirs}} {
			cmp := comparison{main: c.main, master: c.master, args: c.args}
			got := cmp.run(t, side.program, t.TempDir())
			got.errs = strings.Join(slices.Compact(strings.SplitAfter(got.errs, "\n")), "")
			if side.want.main == "" && c.reason != "a name to delete may come twice" {
				got.main = ""
			}
			if side.want.master == "" {
				got.master = ""
			}
			if !strings.Contains(strings.Join(c.args, " "), "=") {
				got.errs = unusedLine.ReplaceAllString(got.errs, "")
			}
			if got != side.want {
				t.Errorf("%s: %q: %+v, want %+v", c.reason, side.program, got, side.want)
			}
		}
	}
}

var unusedLine = regexp.MustCompile(`(?m)^postconf: warning: D/\w+\.cf: unused parameter: .*\n`)

// A full disk and one that may not be written, in a name space of our own.
func TestEditsOnFullDisk(t *testing.T) {
	t.Parallel()
	executable, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	const prepare = `set -e
mount -t tmpfs -o size=64k none "$1"
cd "$1"
cp "$2"/*.cf .
cat main.cf master.cf > ../expected
if [ "$3" = full ]; then cat /dev/zero > filler 2>/dev/null || true; else mount -o remount,ro "$1"; fi
shift 3
program=$1
shift
status=0
"$program" -c . "$@" 2>&1 || status=$?
cat main.cf master.cf | cmp - ../expected
ls -A
exit $status`
	outcomeOf := func(kind, program string, args []string) string {
		files := setup(t, "a = 1\nb = 2\n"+strings.Repeat("# filler\n", 1000), "smtp inet n - n - - smtpd -o c=d\n"+strings.Repeat("# filler\n", 1000))
		dir := filepath.Join(t.TempDir(), "mounted")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Error(err)
		}
		cmd := exec.Command("unshare", append([]string{"-m", "sh", "-c", prepare, "sh", dir, files, kind, program}, args...)...)
		cmd.Env = []string{envCommand + "=1", "PATH=" + os.Getenv("PATH")}
		text, err := cmd.CombinedOutput()
		return fmt.Sprintf("%s%v", strings.ReplaceAll(string(text), program, "postconf"), err)
	}
	var wg sync.WaitGroup
	for _, kind := range []string{"full", "read-only"} {
		for _, args := range everyEdit {
			wg.Go(func() {
				ours, theirs := outcomeOf(kind, executable, args), outcomeOf(kind, theirs, args)
				if ours != theirs || !strings.Contains(ours, "fatal: ") {
					t.Errorf("%s: %q:\n%s\ntheirs:\n%s", kind, args, ours, theirs)
				}
			})
		}
	}
	wg.Wait()
}
