package main

import (
	"fmt"
	"strings"
	"testing"
)

// Whatever stands in the files, the command ends, and says what Postfix says.
func TestBadInput(t *testing.T) {
	const large = 10 << 20
	var chain strings.Builder
	for i := range 60 {
		fmt.Fprintf(&chain, "a%d = $a%d$a%d\n", i, i+1, i+1)
	}
	repeat := strings.Repeat
	for _, c := range []struct {
		name, main, master string
		args               []string
		out, errs          string // starts of the output; errs without "postconf: "
		status             int
	}{
		{"long line", "mydomain = " + repeat("x", large) + "\n", "", []string{"-h", "mydomain"}, repeat("x", large) + "\n", "", 0},
		{"many continuations", "mydomain = x\n" + repeat(" y\n", 1<<18), "", []string{"-h", "mydomain"}, "x y y y", "", 0},
		{"many lines", repeat("mydomain = x\n", 1<<17), "", []string{"-h", "mydomain"}, "x\n", "", 0},
		{"circle", "mydomain = $mydomain\nmyhostname = h.example\n", "", []string{"-xh", "mydomain"}, "", "warning: unreasonable macro call nesting: \"mydomain\"\nfatal: macro processing error\n", 1},
		{"circle of two", "foo = $bar\nbar = ${foo}\nmydomain = $foo\nmyhostname = h.example\n", "", []string{"-n"}, "", "warning: unreasonable macro call nesting: \"bar\"\nfatal: macro processing error\n", 1},
		{"circle in operands", "relayhost = ${{$relayhost} == {x}}\n", "", []string{"-xh", "relayhost"}, "", "warning: unreasonable macro call nesting: \"", 1},
		{"circle of classes", "smtpd_restriction_classes = $smtpd_restriction_classes\n", "", []string{"-h", "mydomain"}, "",
			"warning: unreasonable macro call nesting: \"smtpd_restriction_classes\"\nfatal: dictionary mail_dict: macro processing error\n", 1},
		{"doubling", chain.String() + "relayhost = $a0\n", "", []string{"-xh", "relayhost"}, "", "warning: D/main.cf: undefined parameter: a60\n", 1},
		{"open braces", "virtual_alias_maps = " + repeat("{", 1<<17) + "\n", "", []string{"-h", "biff"}, "yes\n", "warning: D/main.cf: missing '}' in \"{{{{{", 0},
		{"closing braces", "virtual_alias_maps = " + repeat("}", large) + "\n", "", []string{"-h", "biff"}, "yes\n", "", 0},
		{"many groups", "virtual_alias_maps = " + repeat("{a", 1<<18) + repeat("}", 1<<18) + "\n", "", []string{"-h", "biff"}, "yes\n", "", 0},
		{"nested references", "unused = " + repeat("${a?{", 1<<17) + repeat("}}", 1<<17) + "\n", "", []string{"-h", "biff"}, "yes\n", "warning: D/main.cf: undefined parameter: a\n", 0},
		{"open references", "relayhost = " + repeat("${a?{", 1<<19) + "\n", "", []string{"-h", "biff"}, "", "warning: truncated macro reference: \"${a?{${a?{", 1},
		{"many references", "unused = " + repeat("$biff", 1<<20) + "\n", "", []string{"-h", "biff"}, "yes\n", "warning: D/main.cf: unused parameter: unused=$biff$biff", 0},
		{"operator", "relayhost = ${{a} =! {b}}\n", "", []string{"-h", "biff"}, "",
			"warning: \"==\" or \"!=\"\" or \"<\"\" or \"<=\"\" or \">=\"\" or \">\" expected at: \"...a}>>>=! {b}\"\n", 1},
		{"null bytes", "mydomain = x\x00y\nbiff = no\n# \x00\nmyhostname = a\n b\x00c\n d\n", "", []string{"-n", "mydomain", "myhostname"}, "mydomain = x\nmyhostname = a b\n",
			"warning: D/main.cf, line 1: text after null byte may be ignored\nwarning: D/main.cf, line 3: text after null byte may be ignored\nwarning: D/main.cf, line 4-6: text after null byte may be ignored\n", 0},
		{"nothing but null bytes", repeat("\x00", large), "", []string{"-n", "mydomain"}, "", "warning: D/main.cf, line 1: text after null byte may be ignored\nfatal: D/main.cf, line 1: missing attribute name: \"\"\n", 1},
		{"control bytes", "mydomain = \x01\x02\n\x03\n", "", []string{"-n", "mydomain"}, "", "fatal: D/main.cf, line 2: missing '=' after attribute name: \"?\"\n", 1},
		{"long entry", "", "smtp inet n - n - - smtpd" + repeat(" -o a=b", 1<<16) + "\n", []string{"-P"}, "smtp/inet/a = b\n", "warning: D/master.cf: unused parameter: a=b\n", 0},
		{"long field", "", "smtp " + repeat("x", large) + "\n", []string{"-M"}, "", "fatal: file D/master.cf: line 1: bad field count\n", 1},
		{"open group", "", "smtp inet n - n - - smtpd " + repeat("{", 1<<20) + "\n", []string{"-FH", "smtp/inet/type"}, "smtp/inet/type\n", "warning: master.cf: missing '}' in \"{{{{", 0},
		{"null bytes in master.cf", "", "smtp inet n - n - - smtpd\x00 -o a=b\n", []string{"-M"}, "smtp       inet  n       -       n       -       -       smtpd\n", "warning: D/master.cf, line 1: text after null byte may be ignored\n", 0},
	} {
		dir := setup(t, c.main, c.master)
		out, errs, status := do(t, dir, c.args...)
		errs = strings.ReplaceAll(errs, "postconf: ", "")
		if !strings.HasPrefix(out, c.out) || c.out == "" && out != "" || !strings.HasPrefix(errs, c.errs) || c.errs == "" && errs != "" || status != c.status {
			t.Errorf("%s: status %d\n%.300s\n%.300s", c.name, status, out, errs)
		}
	}
}
