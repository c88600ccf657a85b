package main

import (
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"

	"suffix/pkg/table/typenames"
)

// do runs the command for a directory, which is called D in what it returns.
func do(t *testing.T, dir string, args ...string) (stdout, stderr string, status int) {
	t.Helper()
	t.Setenv("MAIL_CONFIG", "") // -c sets it
	out, err := os.CreateTemp(t.TempDir(), "out")
	if err != nil {
		t.Fatal(err)
	}
	errs, err := os.CreateTemp(t.TempDir(), "err")
	if err != nil {
		t.Fatal(err)
	}
	status = run(append([]string{"postconf", "-c", dir}, args...), out, errs)
	read := func(f *os.File) string {
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(f)
		if err != nil {
			t.Fatal(err)
		}
		return strings.ReplaceAll(string(text), dir, "D")
	}
	return read(out), read(errs), status
}

const testMain = `myhostname = mail.example.com
mydomain = example.com
inet_protocols = ipv4
smtpd_banner = $myhostname	 ESMTP   $foo
foo = bar ${mydomain?{x $mydomain}}
luser_relay = $user@$mydomain
virtual_alias_maps = hash:$config_directory/virtual ldap:acc
acc_bind = no
smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination, check_policy_service unix:private/policy, permit
`

const testMaster = `smtp inet n - y - - smtpd
  -o smtpd_banner=$service_name
# note
  -o { mynetworks = 10.0.0.0/8 ::1 } -v
relay unix - - n - - smtp -o foo=$process_name
archive unix - n n - 10 pipe flags=DRhu user=vmail argv=/usr/bin/archive -a ${sender} { two words } ${recipient} --more-of-that
`

func TestDisplay(t *testing.T) {
	dir := setup(t, testMain, testMaster)
	for _, c := range []struct{ args, out, err string }{
		{"myhostname nosuch -n", "myhostname = mail.example.com\n", "warning: nosuch: unknown parameter\nwarning: -n: unknown parameter\n"},
		{"-h mydomain smtpd_banner relayhost", "example.com\n$myhostname ESMTP $foo\n\n", ""},
		{"-xh smtpd_banner foo", "mail.example.com ESMTP bar x example.com\nbar x example.com\n", ""},
		{"-x luser_relay process_name service_name", "luser_relay = $user@$mydomain\nprocess_name = postconf\nservice_name =\n", ""},
		{"-H mydomain relayhost", "mydomain\nrelayhost\n", ""},
		{"-d mydomain mail_name", "", ""},
		{"-n", "acc_bind = no\nconfig_directory = D\nfoo = bar ${mydomain?{x $mydomain}}\ninet_protocols = ipv4\nluser_relay = $user@$mydomain\nmydomain = example.com\nmyhostname = mail.example.com\nsmtpd_banner = $myhostname ESMTP $foo\nsmtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination, check_policy_service unix:private/policy, permit\nvirtual_alias_maps = hash:$config_directory/virtual ldap:acc\n", ""},
		{"-nf smtpd_recipient_restrictions", "smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination,\n    check_policy_service unix:private/policy, permit\n", ""},
		{"-nC user", "acc_bind = no\nfoo = bar ${mydomain?{x $mydomain}}\n", ""},
		{"-o mydomain=other.example -xh foo", "bar x other.example\n", ""},
		{"-j foo", `{"foo": "bar ${mydomain?{x $mydomain}}"}` + "\n", ""},
		{"relay_destination_rate_delay archive_time_limit", "relay_destination_rate_delay = $default_destination_rate_delay\narchive_time_limit = $command_time_limit\n", ""},
		{"-M relay zz", "relay      unix  -       -       n       -       -       smtp -o foo=$process_name\n", "warning: unmatched request: \"zz\"\n"},
		{"-Mxf smtp/inet", "smtp       inet  n       -       y       -       -       smtpd\n    -o smtpd_banner=smtp\n    -o {mynetworks=10.0.0.0/8 ::1}\n    -v\n", ""},
		{"-Mf archive", "archive    unix  -       n       n       -       10      pipe flags=DRhu\n    user=vmail argv=/usr/bin/archive -a ${sender} {two words} ${recipient}\n    --more-of-that\n", ""},
		{"-F */inet/chroot relay/unix/command", "smtp/inet/chroot = y\nrelay/unix/command = smtp -o foo=$process_name\n", ""},
		{"-P", "smtp/inet/mynetworks = 10.0.0.0/8 ::1\nsmtp/inet/smtpd_banner = $service_name\nrelay/unix/foo = $process_name\n", ""},
		{"-PPxh relay/unix/foo relay/unix/smtpd_banner smtp/inet/process_name", "smtpd\nsmtp\nmail.example.com ESMTP smtp\n", ""},
		{"-Mj relay", `{"relay/unix": "relay unix - - n - - smtp -o foo=$process_name"}` + "\n", ""},
		{"-l", "flock\nfcntl\ndotlock\n", ""},
		{"-a", "dovecot\n", ""},
		{"-A", "cyrus\n", ""},
		{"-T compile-version", "Go " + strings.TrimPrefix(runtime.Version(), "go") + "\n", ""},
		{"-M smtp//inet/", "smtp       inet  n       -       y       -       -       smtpd -o smtpd_banner=$service_name -o {mynetworks=10.0.0.0/8 ::1} -v\n", ""},
		{"-vh foo", "bar ${mydomain?{x $mydomain}}\n", "$smtpd_banner in main.cf validates smtpd_banner=value in master.cf:smtp/inet\n" +
			"$mynetworks in main.cf validates mynetworks=value in master.cf:smtp/inet\n$foo in main.cf validates foo=value in master.cf:relay/unix\n" +
			"$foo in main.cf validates foo=value in main.cf\n$acc_bind in main.cf validates acc_bind=value in main.cf\n"},
	} {
		out, errs, status := do(t, dir, strings.Fields(c.args)...)
		errs = strings.ReplaceAll(errs, "postconf: ", "")
		if strings.HasPrefix(c.args, "-d") {
			c.out = out // the default depends on this host
			if !strings.Contains(out, "mail_name = Postfix\n") || strings.Contains(out, "example.com") {
				t.Errorf("%s: %s", c.args, out)
			}
		}
		if out != c.out || errs != c.err || status != 0 {
			t.Errorf("%s: status %d\n%s%s\nwant\n%s%s", c.args, status, out, errs, c.out, c.err)
		}
	}
}

func TestNameWarnings(t *testing.T) {
	for _, c := range []struct{ main, master, err string }{
		{"mydomain=$foo\nmyhostname=${foo?$bar}\nbar=1\nbaz=2\nprocess_name=x\n", "",
			"D/main.cf: read-only parameter assignment: process_name=x\nD/main.cf: undefined parameter: foo\nD/main.cf: undefined parameter: foo\nD/main.cf: unused parameter: baz=2\n"},
		{"smtpd_restriction_classes=a,b\na=permit\n", "", "D/main.cf: undefined parameter: b\n"},
		{"mydomain=$foo\n", "a unix - - n - - smtp -o foo=x\n", ""},
		{"foo=y\n", "a unix - - n - - smtp -o foo=x -o mydomain=$foo\n", "D/main.cf: unused parameter: foo=y\n"},
		{"", "a unix - - n - - smtp -o foo=$bar -o process_name=q\n",
			"D/master.cf: read-only parameter assignment: process_name=q\nD/master.cf: undefined parameter: bar\nD/master.cf: unused parameter: foo=$bar\n"},
		{"virtual_alias_maps=ldap:foo,mysql:{a,b},proxy:pgsql:bar ldap:/nonexistent {x\nfoo_bind=1\nfoo_zz=2\nbar_user=x\n", "",
			"open \"ldap\" configuration \"/nonexistent\": No such file or directory\nD/main.cf: missing '}' in \"{x\"\nD/main.cf: unused parameter: foo_zz=2\n"},
		{"virtual_alias_maps=hash:x # foo bar baz and more words\n", "", "D/main.cf: #comment after other text is not allowed: # foo bar baz and more...\n"},
		{"luser_relay=$user ${x\n", "", ""},
		{"smtpd_restriction_classes=a,$b\nb=c $mail_name\nc=permit\n", "smtp inet n - n - - smtpd -o smtpd_restriction_classes=q,$b -o q=x -o c=y\n", "D/main.cf: undefined parameter: a\n"},
		{"foo=1\n", "a unix - - n - - smtp -o mydomain=$foo\nb unix - - n - - smtp -o foo=2 -o bar=3\n", "D/master.cf: unused parameter: bar=3\n"},
		{"fallback_relay=mysql:/nonexistent ${x\nsmtp_fallback_relay=${y?{$z}w}\n", "",
			"truncated macro reference: \"mysql:/nonexistent ${x\"\nD/main.cf: undefined parameter: y\nD/main.cf: undefined parameter: z\n\":\" expected at: \"...$z}>>>w\"\n\":\" expected at: \"...$z}>>>w\"\npostconf: fatal: macro processing error\n"},
		{"fallback_relay=x\nlmtp_tls_use=y\nlmtp_per_record_deadline=no\ntlsproxy_client_loglevel_parameter=z\n", "",
			"D/main.cf: support for parameter \"fallback_relay\" will be removed; instead, specify \"smtp_fallback_relay\"\n" +
				"D/main.cf: support for parameter \"lmtp_per_record_deadline\" will be removed; instead, specify \"lmtp_per_request_deadline\"\n" +
				"D/main.cf: unused parameter: lmtp_tls_use=y\n" +
				"D/main.cf: support for parameter tlsproxy_client_loglevel_parameter has been removed; instead, do not specify\n" +
				"See https://www.postfix.org/DEPRECATION_README.html for details\n"},
	} {
		_, errs, status := do(t, setup(t, c.main, c.master), "-n")
		wanted := 0
		if strings.Contains(c.err, "fatal: ") {
			wanted = 1
		}
		if got := strings.ReplaceAll(errs, "postconf: warning: ", ""); got != c.err || status != wanted {
			t.Errorf("%q %q: status %d\n%swant\n%s", c.main, c.master, status, got, c.err)
		}
	}
}

func TestRules(t *testing.T) {
	dir := setup(t, "", "smtp inet n - n - - smtpd\n")
	for args, want := range map[string]string{
		"-n -d": "specify one of -d, -n", "-a -n": "with option -a, do not specify -n", "-e -x a=b": "specify one of -e, -x", "-e": "-e requires name=value argument",
		"-X": "missing service argument", "-X a=b": "specify one of -e, -X", "-P -# x": "with option -P, do not specify -#", "-F -X x/y/z": "with option -F, do not specify -X",
		"-p -M": "specify one of -M, -p", "-bt": "specify one of -b and -t", "-T a -T b": "At most one -T <mode> option may be specified", "-j -f": "with option -j, do not specify -f",
		"-C foo": `unknown -C option value "foo" in "foo"`, "-o x": "invalid parameter override: x: missing '=' after attribute name", "-M /": "-M option requires service_name[/type]",
		"-F a/b/c/d": "-F option requires service_name[/type[/field]]", "-F a/b/c": `invalid service attribute name: "c"`, "-P a*/b": "-P option requires service_name[/type[/parameter]]",
		"-M a=b": "-Me, -MX or -M# requires service_name/type", "-M -PP a": "specify one of -M, -P", "-e #a=b": "-e, -X, or -# accepts no comment input",
	} {
		out, errs, status := do(t, dir, strings.Fields(args)...)
		if errs != "postconf: fatal: "+want+"\n" || status != 1 || out != "" {
			t.Errorf("%s: status %d %q %q; want %s", args, status, out, errs, want)
		}
	}
	_, errs, status := do(t, dir, "-Z")
	if !strings.HasPrefix(errs, "postconf: invalid option -- 'Z'\npostconf: fatal: usage: postconf [-a (server SASL types)]") || status != 1 {
		t.Errorf("-Z: %d %s", status, errs)
	}
	if _, errs, status := do(t, dir, "-T", "foo"); errs != "postconf: warning: unknown 'postconf -T' mode: foo\n" || status != 1 {
		t.Errorf("-T foo: %d %s", status, errs)
	}
}

func TestMasterErrors(t *testing.T) {
	for master, want := range map[string]string{
		"a unix - - n - -\n":          "file D/master.cf: line 1: bad field count",
		"a foo - - n - - b\n c   d\n": `invalid type field "foo" in "a foo - - n - - b c   d"`,
		"a unix - - n 5? 6? b\n":      `invalid process_limit field "6?" in "a unix - - n 5? 6? b"`,
	} {
		_, errs, status := do(t, setup(t, "", master), "-M")
		if errs != "postconf: fatal: "+want+"\n" || status != 1 {
			t.Errorf("%q: %d %s", master, status, errs)
		}
	}
	out, errs, _ := do(t, setup(t, "", "a unix - - n -? - b {c d} {e f\nb unix - - n - - b -o {x y} -vofoo=bar\n"), "-M")
	if want := "a          unix  -       -       n       -?      -       b {c d} {e f}\nb          unix  -       -       n       -       -       b -o {x y} -v -o foo=bar\n"; out != want {
		t.Errorf("%s; want %s", out, want)
	}
	if want := "postconf: warning: master.cf: missing '}' in \"{e f\"\npostconf: warning: master.cf: missing '=' after attribute name: \"x y\"\npostconf: warning: D/master.cf: unused parameter: foo=bar\n"; errs != want {
		t.Errorf("%s; want %s", errs, want)
	}
}

func TestJSON(t *testing.T) {
	if got, want := quoteJSON("a\"\\\b\f\n\r\t\x01\x7f/\xff\u00e9"), `"a\"\\\b\f\n\r\t\u0001\u007F/`+"\xff\u00e9\""; got != want {
		t.Errorf("%s; want %s", got, want)
	}
}

// -m lists what an installation has.
func TestTableTypes(t *testing.T) {
	dir := setup(t, "mail_owner = root\n", "")
	if _, errs, status := do(t, dir, "-m"); status != 1 || !strings.Contains(errs, "parameter mail_owner: user root has privileged user ID") {
		t.Errorf("bad main.cf: %d %s", status, errs)
	}
	for _, name := range []string{"hash", "cdb", "lmdb", "pebble", "mysql", "ldap", "proxy"} {
		if !slices.Contains(typenames.All(), name) {
			t.Errorf("%s is missing", name)
		}
	}
	if list := typenames.All(); !slices.IsSorted(list) || len(slices.Compact(list)) != len(typenames.All()) {
		t.Errorf("%q", list)
	}
}
