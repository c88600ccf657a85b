//go:build interop

package smtpd

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

// daemons is where Debian installs Postfix's daemons.
const daemons = "/usr/lib/postfix/sbin"

func TestMain(m *testing.M) {
	if filepath.Base(os.Args[0]) == "smtpd" {
		Main()
	}
	os.Exit(m.Run())
}

// An instance is a private Postfix in which both SMTP servers run under the real
// master, and hand their mail to the real cleanup.
type instance struct {
	t          *testing.T
	dir        string
	real, ours string // addresses
}

func startInstance(t *testing.T, lines ...string) *instance {
	t.Helper()
	if os.Getuid() != 0 {
		t.Fatal("the instance needs root")
	}
	dir, err := os.MkdirTemp("/tmp", "smtpd-interop-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	check := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	check(os.Chmod(dir, 0o755))
	for _, sub := range []string{"etc", "libexec", "data", "spool"} {
		check(os.Mkdir(filepath.Join(dir, sub), 0o755))
	}
	for _, q := range []string{"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "maildrop", "pid", "private", "public", "saved", "trace"} {
		check(os.Mkdir(filepath.Join(dir, "spool", q), 0o755))
		if q != "pid" {
			check(exec.Command("chown", "postfix", filepath.Join(dir, "spool", q)).Run())
		}
	}
	check(exec.Command("chown", "postfix", filepath.Join(dir, "data")).Run())
	programs, err := os.ReadDir(daemons)
	check(err)
	for _, p := range programs {
		name := p.Name()
		if name == "smtpd" {
			name = "realsmtpd"
		}
		check(os.Symlink(filepath.Join(daemons, p.Name()), filepath.Join(dir, "libexec", name)))
	}
	self, err := os.Executable()
	check(err)
	data, err := os.ReadFile(self)
	check(err)
	check(os.WriteFile(filepath.Join(dir, "libexec/smtpd"), data, 0o755))

	in := &instance{t: t, dir: dir, real: freeAddr(t), ours: freeAddr(t)}
	main := append([]string{
		"compatibility_level = 3.6", "myhostname = mx.example.test", "mydomain = example.test", "mydestination = example.test",
		"inet_interfaces = 127.0.0.1", "inet_protocols = ipv4", "mynetworks = 192.0.2.0/24",
		"queue_directory = " + dir + "/spool", "data_directory = " + dir + "/data", "daemon_directory = " + dir + "/libexec",
		"command_directory = /usr/sbin", "mail_owner = postfix", "setgid_group = postdrop", "alias_maps =", "alias_database =",
		"local_recipient_maps =", "maillog_file = " + dir + "/log", "maillog_file_prefixes = /tmp",
		"default_transport = discard:", "local_transport = discard:", "smtpd_peername_lookup = no",
		"smtpd_forbid_bare_newline_exclusions =", "smtpd_forbid_bare_newline = normalize", "smtpd_forbid_unauth_pipelining = no",
		"smtpd_hard_error_limit = 1000", "smtpd_soft_error_limit = 1000", "smtpd_junk_command_limit = 1000",
	}, lines...)
	check(os.WriteFile(filepath.Join(dir, "etc/main.cf"), []byte(strings.Join(main, "\n")+"\n"), 0o644))
	// A file that was just edited would be read again and again for a while.
	check(os.Chtimes(filepath.Join(dir, "etc/main.cf"), time.Unix(1e9, 0), time.Unix(1e9, 0)))
	master := []string{
		in.real + " inet n - n - - realsmtpd -o syslog_name=real",
		in.ours + " inet n - n - - smtpd -o syslog_name=ours",
		"cleanup unix n - n - 0 cleanup", "qmgr unix n - n 300 1 qmgr", "rewrite unix - - n - - trivial-rewrite",
		"bounce unix - - n - 0 bounce", "defer unix - - n - 0 bounce", "trace unix - - n - 0 bounce", "verify unix - - n - 1 verify",
		"flush unix n - n 1000? 0 flush", "discard unix - - n - - discard", "error unix - - n - - error", "retry unix - - n - - error",
		"anvil unix - - n - 1 anvil", "postlog unix-dgram n - n - 1 postlogd",
	}
	check(os.WriteFile(filepath.Join(dir, "etc/master.cf"), []byte(strings.Join(master, "\n")+"\n"), 0o644))

	cmd := exec.Command(filepath.Join(daemons, "master"), "-c", filepath.Join(dir, "etc"), "-d")
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	check(cmd.Start())
	t.Cleanup(func() {
		if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		var exit *exec.ExitError
		if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
			t.Error(err)
		}
	})
	return in
}

// freeAddr finds a loopback port that nobody uses.
func freeAddr(t *testing.T) string {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

var queueID = regexp.MustCompile(`queued as \w+`)

// talk sends lines to a server and returns its replies, one for each line after
// the greeting.
func (in *instance) talk(addr string, lines []string) []string {
	in.t.Helper()
	var conn net.Conn
	var err error
	for deadline := time.Now().Add(10 * time.Second); ; {
		if conn, err = net.Dial("tcp4", addr); err == nil {
			break
		}
		if time.Now().After(deadline) {
			in.t.Fatal(err)
		}
		time.Sleep(20 * time.Millisecond)
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		in.t.Fatal(err)
	}
	r := bufio.NewReader(conn)
	reply := func() string {
		var text []string
		for {
			line, err := r.ReadString('\n')
			if err != nil {
				return strings.Join(append(text, "EOF"), "\n")
			}
			line = strings.TrimSuffix(line, "\r\n")
			text = append(text, line)
			if len(line) < 4 || line[3] != '-' {
				return queueID.ReplaceAllString(strings.Join(text, "\n"), "queued as QID")
			}
		}
	}
	replies := []string{reply()}
	for _, line := range lines {
		if _, err := conn.Write([]byte(line + "\r\n")); err != nil {
			return append(replies, "EOF")
		}
		got := reply()
		replies = append(replies, got)
		if strings.HasSuffix(got, "EOF") {
			return replies
		}
	}
	// A server closes the connection when it has logged the end of the session.
	if err := conn.(*net.TCPConn).CloseWrite(); err == nil {
		for !strings.HasSuffix(reply(), "EOF") {
		}
	}
	return replies
}

// each puts commands between others.
func each(before, format string, after []string, values ...string) []string {
	lines := []string{before}
	for _, v := range values {
		lines = append(append(lines, fmt.Sprintf(format, v)), after...)
	}
	return lines
}

var envelope = []string{"EHLO client.example", "MAIL FROM:<a@b.test>", "RCPT TO:<u@example.test>"}

func script(parts ...[]string) (lines []string) {
	for _, p := range parts {
		lines = append(lines, p...)
	}
	return lines
}

// dialogues are what both servers must answer alike.
var dialogues = map[string][]string{
	"message": script(envelope, []string{"DATA", "Subject: x\r\n\r\nbody\r\n.", "QUIT"}),
	"hello":   {"HELO", "HELO a b c", "EHLO", "EHLO x", "NOOP foo", "RSET x", "RSET", "VRFY", "VRFY foo", "VRFY foo@example.test", "VRFY foo@else.test", "VRFY <a b>", "VRFY a,b", "", "  ", "FOO", "QUIT x"},
	"senders": each("EHLO x", "MAIL FROM:%s", []string{"RSET"}, "<a@b>", "<@r:a@b>", `<"a"@b>`, "a@b>", "<phrase <a@b>>", "<@localhost>", "<user @ host>",
		"<user@host.>", "<a(b)c@d>", "foo <a@b>", "<>", "", "<a@b", `"a@b`, "<a@b,c@d>", "<a>", "a", "<a@[1.2.3.4]>", "<a@127.0.0.1>", "<a@>", "<a@b..c>",
		"<@a,@b:c@d>", "<a b@c>", `<"a b"@c>`, `<a\@b@c>`, "<-a@c>", "<a@-c>", "<a!b>", "<a%b@c>", "<x:a@b;>", "<(c)a@b>", "a@b (c)", "(c)", "<;>", "< a@b >",
		"<a@b@c>", "<@>", "<a@b>x", "x<a@b>", "<<a@b>>", "::", `<"a\"b"@c>`, "<a..b@c>", "<.a@c>", "<a.@c>"),
	"parameters": each("EHLO x", "MAIL FROM:<a@b> %s", []string{"RSET"}, "BODY=8BITMIME", "body=7bit", "BODY=BINARYMIME", "BODY", "SIZE=", "SIZE", "SIZE=1x",
		"SIZE=-1", "SIZE=5", "SIZE=99999999", "SIZE=99999999999999999999", "SMTPUTF8", "SMTPUTF8=x", "AUTH=<>", "AUTH=a", "AUTH=a AUTH=b", "AUTH=",
		"RET=FULL", "RET=full", "RET=", "RET=x", "RET=HDRS RET=HDRS", "ENVID=a", "ENVID=", "ENVID=a+2", "ENVID=a ENVID=b", "ENVID=a+20b", "ENVID=a+0A", "XVERP", "FOO=bar", "FOO"),
	"recipients": each("MAIL FROM:<>", "RCPT TO:%s", nil, "<u@example.test>", "<u@else.test>", "<u%else.test@example.test>", "<u@else.test@example.test>", "<else.test!u@example.test>",
		"<>", "u@example.test", "<postmaster>", "<POSTMASTER>", "<u>", "<@example.test:u@example.test>", "<u@[127.0.0.1]>", `<"us er"@example.test>`,
		"<u@example.test> NOTIFY=SUCCESS", "<u@example.test> NOTIFY=", "<u@example.test> NOTIFY", "<u@example.test> NOTIFY=NEVER,DELAY", "<u@example.test> NOTIFY=success,,failure",
		"<u@example.test> NOTIFY=never ORCPT=rfc822;a+20b", "<u@example.test> ORCPT=rfc822;", "<u@example.test> ORCPT=;x", "<u@example.test> ORCPT=rfc822;a+2",
		`<u@example.test> ORCPT=utf-8;a\x{e9}`, "<u@example.test> ORCPT=rfc822;a ORCPT=rfc822;b", "<u@example.test> FOO"),
	"order": {"MAIL FROM:<a@b>", "RCPT TO:<u@example.test>", "RCPT", "MAIL", "DATA x", "MAIL FROM:<a@b>", "ETRN x", "EHLO y", "ETRN", "ETRN x y", "ETRN @x.test",
		"ETRN [1.2.3.4]", "ETRN [1.2.3]", "ETRN !!", "XCLIENT", "XCLIENT a=b", "XFORWARD", "XFORWARD a=b", "EXPN x", "TURN", "QUIT"},
	"size of a refused MAIL": {"EHLO x", "MAIL FROM:<a@b> SIZE=99999999", "MAIL FROM:<a@b>", "RSET", "MAIL FROM:<a@b> SIZE=99999999 FOO", "MAIL FROM:<a@b>", "RSET",
		"MAIL FROM:<a@b> RET=FULL FOO", "MAIL FROM:<a@b> RET=FULL", "QUIT"},
	"chunks":             script(envelope, []string{"BDAT 6\r\na: b", "BDAT 4\r\nxy", "BDAT 3 LAST\r\n.", "BDAT"}),
	"chunks out of turn": {"EHLO x", "BDAT 2\r\n", "MAIL FROM:<a@b>", "BDAT 2 LAST\r\n", "MAIL FROM:<a@b>", "BDAT 2 LAST\r\n", "MAIL FROM:<a@b>", "BDAT 2\r\n", "RCPT TO:<u@example.test>", "DATA", "MAIL FROM:<a@b>", "RSET", "BDAT 2 last x"},
	"header as command":  {"Subject: x"}, "web client": {"GET / HTTP/1.1"}, "TLS client": {"\x16\x03\x01foo"}, "colon": {"a:b"}, "words and colon": {"a b:c", "noop:"},
	"words": {"EHLO x", `MAIL FROM:<a"b>`, `MAIL "FROM:"<a@b>`, "MAIL FROM: <a@b>", "RSET", "mail from:<a@b>", "rset", "MAIL  FROM:<a@b>  SIZE=1", "RSET", "MAIL FROM:<a@b>SIZE=1", "RSET",
		"MAIL FROM:a@b SIZE=1", "RSET", "MAIL FROM :<a@b>", "RSET", "MAILFROM:<a@b>", "MAIL FROM:<a@b>\t", "RSET", `MAIL FROM:\<a@b>`, "RSET", `"MAIL" FROM:<a@b>`},
	"utf-8": {"EHLO x", "MAIL FROM:<ö@b.test>", "RSET", "MAIL FROM:<ö@b.test> SMTPUTF8", "RCPT TO:<ü@example.test>", "RCPT TO:<u@ö.test>", "RSET", "MAIL FROM:<a@ö.test>", "RSET",
		"VRFY ö@x", "VRFY ö@x SMTPUTF8", "VRFY x@ö.test", "NOOP \xff", "QUIT"},
}

func TestSameReplies(t *testing.T) {
	in := startInstance(t)
	for name, lines := range dialogues {
		want, got := in.talk(in.real, lines), in.talk(in.ours, lines)
		for i := range max(len(want), len(got)) {
			a, b, line := "(nothing)", "(nothing)", "connection"
			if i < len(want) {
				a = want[i]
			}
			if i < len(got) {
				b = got[i]
			}
			if i > 0 && i <= len(lines) {
				line = lines[i-1]
			}
			if a != b {
				t.Errorf("%s: %q:\nreal %q\nours %q", name, line, a, b)
			}
		}
	}
}

// Where the real 3.7 server is known to be wrong, ours differs (hardening).
func TestKnownDifferences(t *testing.T) {
	in := startInstance(t)
	for _, test := range []struct {
		lines      []string
		real, ours string // last reply
	}{
		{[]string{"NOOP " + strings.Repeat("x", 3000)}, "250 2.0.0 Ok", "500 5.5.2 mx.example.test Error: command too long"},
		{[]string{"NOOP " + strings.Repeat("x", 2042)}, "250 2.0.0 Ok", "250 2.0.0 Ok"},
		{[]string{"NOOP \x00x"}, "250 2.0.0 Ok", "500 5.5.2 Error: bad syntax"},
		{[]string{"MAIL FROM:<a@b> ENVID=a+00b"}, "250 2.1.0 Ok", "501 5.5.4 Bad ENVID parameter syntax"},
		{[]string{"MAIL FROM:<a@b> ENVID=a+09b"}, "501 5.5.4 Bad ENVID parameter syntax", "250 2.1.0 Ok"},
		{[]string{"MAIL FROM:<a@b>", "RCPT TO:<u@example.test> ORCPT=rfc822;a+00b"}, "250 2.1.5 Ok", "501 5.5.4 Error: Bad ORCPT parameter syntax"},
		{[]string{"MAIL FROM:<a@b>", "RCPT TO:<u@example.test> ORCPT=rfc822;a+0Ab"}, "250 2.1.5 Ok", "501 5.5.4 Error: Bad ORCPT parameter syntax"},
		{[]string{"MAIL FROM:<a@b>", "RCPT TO:<u@example.test>", "BDAT 0", "BDAT 0 LAST", "DATA"}, "EOF", "503 5.5.1 Error: need RCPT command"},
		{[]string{"HELP"}, "500 5.5.2 Error: command not recognized", "214 2.0.0 Commands: AUTH BDAT DATA EHLO ETRN HELO HELP MAIL NOOP QUIT RCPT RSET STARTTLS VRFY XCLIENT XFORWARD"},
	} {
		real, ours := in.talk(in.real, test.lines), in.talk(in.ours, test.lines)
		if got := real[len(real)-1]; got != test.real {
			t.Errorf("%.60q: real server: %q, want %q", test.lines, got, test.real)
		}
		if got := ours[len(ours)-1]; got != test.ours {
			t.Errorf("%.60q: %q, want %q", test.lines, got, test.ours)
		}
	}
}

// The rows of hardening §2.2, in both servers: how many messages come out.
func TestSameLineEnds(t *testing.T) {
	rows := []string{"\r\n.\r\n", "\n.\n", "\n.\r\n", "\r\n.\n", "\n\n.\r\n", "\r\n.\n\r\n", "\r\n.\r\r\n", "\r\r\n.\r\r\n", "\r\r\n.\r\n", "\r.\r", "\r.\r\n", "\r.\n", "\n.\r",
		"\r\n.\r", "\r\n.\r\r", "\n\r.\r\n", "\n\r.\n\r", "\r\n\x00.\r\n", "\r\n.\x00\r\n", "\r\n..\r\n", "\n..\r\n", "\r\n. \r\n", "\v.\v",
		strings.Repeat("A", 2048) + "\r\n.\r\n", strings.Repeat("A", 2048) + ".\r\n", strings.Repeat("A", 2047) + "\r.\r\n", strings.Repeat("A", 2047) + "\n.\r\n", strings.Repeat("A", 2048) + "\n.\r\n"}
	for _, mode := range []string{"no", "normalize", "reject"} {
		in := startInstance(t, "smtpd_forbid_bare_newline = "+mode)
		for i, row := range rows {
			content := "body" + row + "MAIL FROM:<x@y>\r\nRCPT TO:<u@example.test>\r\nDATA\r\nsecond\r\n."
			lines := append(envelope[:len(envelope):len(envelope)], "DATA", content, "NOOP", "NOOP", "NOOP", "NOOP")
			if real, ours := in.talk(in.real, lines)[5], in.talk(in.ours, lines)[5]; real != ours {
				t.Errorf("mode %s row %d: real %q, ours %q", mode, i+1, real, ours)
			}
		}
	}
}

var variable = []*regexp.Regexp{regexp.MustCompile(`\b[0-9A-F]{9,12}\b`), regexp.MustCompile(`127\.0\.0\.1:\d+`)}

// log returns the lines that a server logged, without what differs each time.
func (in *instance) log(name string) (lines []string) {
	data, err := os.ReadFile(filepath.Join(in.dir, "log"))
	if err != nil {
		in.t.Fatal(err)
	}
	for line := range strings.Lines(string(data)) {
		if _, rest, ok := strings.Cut(line, " "+name+"/"); ok {
			_, text, _ := strings.Cut(strings.TrimSpace(rest), ": ")
			for _, re := range variable {
				text = re.ReplaceAllString(text, "#")
			}
			lines = append(lines, text)
		}
	}
	return lines
}

// With suffix_dialect = 3.7 the log lines are the same too.
func TestSameLog(t *testing.T) {
	in := startInstance(t, "suffix_dialect = 3.7", "smtpd_client_restrictions = warn_if_reject reject")
	for _, name := range []string{"message", "hello", "senders", "recipients", "order", "size of a refused MAIL", "words", "web client", "chunks"} {
		for _, addr := range []string{in.real, in.ours} {
			in.talk(addr, dialogues[name])
		}
	}
	in.compareLogs(9)
}

// compareLogs waits until both servers have logged the end of n sessions, and
// compares their lines.
func (in *instance) compareLogs(n int) {
	t := in.t
	t.Helper()
	var want, got []string
	for deadline := time.Now().Add(5 * time.Second); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		want, got = in.log("real"), in.log("ours")
		if ends(want) == n && ends(got) == n {
			break
		}
	}
	if ends(want) != n {
		t.Fatalf("log of the real server:\n%s", strings.Join(want, "\n"))
	}
	for i := range max(len(want), len(got)) {
		a, b := "(nothing)", "(nothing)"
		if i < len(want) {
			a = want[i]
		}
		if i < len(got) {
			b = got[i]
		}
		if a != b {
			t.Fatalf("line %d:\nreal %s\n%s\nours %s\n%s", i, a, strings.Join(want[i+1:min(i+4, len(want))], "\n"), b, strings.Join(got[i+1:min(i+4, len(got))], "\n"))
		}
	}
}

// accessResults are right-hand sides of an access table; the recipient u<N> has
// the Nth.
var accessResults = []string{"OK", "RELAY", "12345", "550", "DUNNO", "REJECT", "reject go away", "REJECT 5.7.9 x", "REJECT 4.1.8 x", "REJECT 5.7.1", "DEFER", "DEFER later", "421 4.3.2 no",
	"450 wait", "550 5.1.1", "550 5.1.1 gone", "599 x", "600 x", "250 x", "DEFER_IF_PERMIT", "DEFER_IF_PERMIT 4.1.3 p", "DEFER_IF_REJECT", "DEFER_IF_REJECT r, r", "INFO text", "WARN text", "INFO", "HOLD", "HOLD why",
	"FILTER", "FILTER smtp", "FILTER smtp:x", "REDIRECT", "REDIRECT a", "REDIRECT a@b", "BCC", "PREPEND", "PREPEND no", "PREPEND X-Y: z", "reject_unauth_destination", "permit", "permit, reject",
	"reject, permit", "defer, permit", "warn_if_reject reject", "warn_if_reject, defer_if_permit", "defer_if_permit, reject", "defer_if_reject, reject", "strict", "looped", "nonsense", "inline:x", "check_client_access", "sleep x",
	"reject_unlisted_recipient", "reject_non_fqdn_sender", "reject_unverified_recipient x", "DISCARD", "554 5.7.1 caf\u00e9", "REJECT   spaces   inside  ", "OK text", "5.7.1 x", "55 x", "5501 x", "DUNNO text", "check_client_access foo", "check_client_access foo, reject", "check_policy_service", "check_policy_service foo, reject", "reject_rbl_client", "check_sasl_access static", "warn_if_reject", "defer_if_permit"}

func TestSameRules(t *testing.T) {
	var table strings.Builder
	for i, result := range accessResults {
		fmt.Fprintf(&table, "u%d@example.test\t%s\n", i, result)
	}
	dir, err := os.MkdirTemp("/tmp", "smtpd-rules-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/access", []byte(table.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/client", []byte("198.51.100\tREJECT net\nspam.test\tREJECT name\n2001:db8\tREJECT v6\nunknown\tDUNNO\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	in := startInstance(t, "suffix_dialect = 3.7", "smtpd_restriction_classes = strict, looped", "strict = reject_unauth_pipelining, reject", "looped = looped2", "looped2 = reject",
		"smtpd_recipient_restrictions = check_recipient_access texthash:"+dir+"/access",
		"smtpd_client_restrictions = check_client_access texthash:"+dir+"/client, reject_unknown_reverse_client_hostname",
		"smtpd_helo_restrictions = reject_invalid_helo_hostname, warn_if_reject reject_non_fqdn_helo_hostname, check_helo_access texthash:"+dir+"/client",
		"smtpd_sender_restrictions = reject_non_fqdn_sender, check_sender_access texthash:"+dir+"/client",
		"smtpd_data_restrictions = reject_multi_recipient_bounce", "smtpd_end_of_data_restrictions = check_sender_access inline:{{late.test=REJECT late}}",
		"inet_protocols = all", "smtpd_authorized_xclient_hosts = 127.0.0.1", "smtpd_authorized_xforward_hosts = 127.0.0.1", "virtual_alias_domains = alias.test", "virtual_alias_maps = inline:{{v@alias.test=u}}",
		"relay_domains = relay.test", "relay_recipient_maps = inline:{{k@relay.test=x}}", "smtpd_log_access_permit_actions = static:all")
	// XCLIENT leaves a client that may not use it again.
	named := []string{"XCLIENT NAME=host.test ADDR=203.0.113.9", "EHLO host.test"}
	var scripts [][]string
	for i := range accessResults {
		scripts = append(scripts, script(named, []string{"MAIL FROM:<a@b.test>", fmt.Sprintf("RCPT TO:<u%d@example.test>", i), "BDAT 3 LAST\r\nx", "QUIT"}))
	}
	with := func(xclient, helo, from string, rcpts ...string) []string {
		lines := []string{xclient, "EHLO " + helo, "MAIL FROM:" + from}
		for _, rcpt := range rcpts {
			lines = append(lines, "RCPT TO:"+rcpt)
		}
		return append(lines, "QUIT")
	}
	scripts = append(scripts,
		with("XCLIENT NAME=x.spam.test ADDR=203.0.113.9", "h.test", "<a@b.test>", "<u@example.test>", "<postmaster>"),
		with("XCLIENT NAME=[TEMPUNAVAIL] ADDR=198.51.100.7", "h.test", "<a@b.test>", "<u@example.test>"),
		with("XCLIENT NAME=[UNAVAILABLE] REVERSE_NAME=r.test ADDR=IPv6:2001:db8::7", "h.test", "<a@b.test>", "<u@example.test>"),
		with("XCLIENT NAME=[UNAVAILABLE] REVERSE_NAME=[TEMPUNAVAIL] ADDR=203.0.113.7", "h.test", "<a@b.test>", "<u@example.test>"),
		with(named[0], "a..b", "<a@b.test>", "<u@example.test>"),
		with(named[0], "h", "<a@b.test>", "<u@example.test>"),
		with(named[0], "[1.2.3.4]", "<a@b>", "<u@example.test>"),
		with(named[0], "[1.2.3]", "<a@b.test>", "<u@example.test>"),
		with(named[0], "mail.spam.test", "<a@b.test>", "<u@example.test>"),
		with(named[0], "h.test", "<a@sub.spam.test>", "<u@example.test>"),
		with(named[0], "h.test", "<>", "<u@example.test>", "<w@example.test>"),
		with(named[0], "h.test", "<a@b.test>", "<u@else.test>", "<v@alias.test>", "<w@alias.test>", "<k@relay.test>", "<l@relay.test>", "<k@sub.relay.test>"),
		script(named, []string{"MAIL FROM:<a@b.test>", "RCPT TO:<u@example.test>", "XFORWARD NAME=x", "RSET", "XFORWARD NAME=c.test ADDR=IPv6:2001:db8::1 PORT=99 HELO=a+20b PROTO=SMTP IDENT=Q1 SOURCE=REMOTE",
			"XFORWARD FOO=x", "XFORWARD NAME=a..b", "MAIL FROM:<a@b.test>", "RCPT TO:<u@example.test>", "BDAT 3 LAST\r\nx", "QUIT"}),
		script([]string{"XCLIENT FOO=x", "XCLIENT NAME=a..b", "XCLIENT ADDR=1.2", "XCLIENT PROTO=X", "XCLIENT PORT=x", "XCLIENT NAME=", "XCLIENT NAME", "XCLIENT HELO=" + strings.Repeat("h", 300)},
			[]string{"XCLIENT NAME=n.test ADDR=IPV6:::1 HELO=a+2gb LOGIN=joe PROTO=esmtp DESTADDR=192.0.2.9 DESTPORT=26", "MAIL FROM:<a@b.test>", "RCPT TO:<u@example.test>", "VRFY u@example.test", "VRFY u5@example.test", "QUIT"}),
	)
	for _, lines := range scripts {
		want, got := in.talk(in.real, lines), in.talk(in.ours, lines)
		for i := range max(len(want), len(got)) {
			if i >= len(want) || i >= len(got) || want[i] != got[i] {
				t.Errorf("%q:\nreal %q\nours %q", lines, want, got)
				break
			}
		}
	}
	in.compareLogs(len(scripts))
}

// Old defaults that compatibility_level keeps are told in the log.
func TestSameCompatibilityMessages(t *testing.T) {
	lines := []string{"EHLO x", "MAIL FROM:<ä@b.test>", "RCPT TO:<u@example.test>", "RCPT TO:<ü@example.test>", "RCPT TO:<k@sub.example.test>", "RCPT TO:<n@sub.example.test>",
		"RCPT TO:<r@example.test>", "RCPT TO:<u@else.test>", "VRFY ö@sub.example.test", "QUIT"}
	for _, config := range []string{
		"compatibility_level = 0\nsmtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination\nrelay_recipient_maps = inline:{{k@sub.example.test=x}}",
		"compatibility_level = 0\nsmtpd_recipient_restrictions = check_recipient_access inline:{{r@example.test=REJECT}} reject_non_fqdn_sender, defer_if_permit",
		"compatibility_level = 2\nsmtpd_recipient_restrictions = check_recipient_access inline:{{r@example.test=REJECT}}",
	} {
		in := startInstance(t, "suffix_dialect = 3.7", config)
		for _, addr := range []string{in.real, in.ours} {
			in.talk(addr, lines)
		}
		in.compareLogs(1)
	}
}

func ends(lines []string) (n int) {
	for _, line := range lines {
		if strings.HasPrefix(line, "disconnect from") {
			n++
		}
	}
	return n
}
