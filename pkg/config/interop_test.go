//go:build interop

package config

import (
	"bytes"
	"fmt"
	"math/rand"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"suffix/pkg/maillog"
	"suffix/pkg/params"
)

// oldDir makes a configuration directory with files that are old.
func oldDir(t *testing.T, mainCF string) string {
	t.Helper()
	dir := writeMain(t, mainCF)
	path := filepath.Join(dir, "master.cf")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// real runs a program of the installed Postfix and returns its output and
// complaints, which then name the directory D and no program.
func real(dir, name string, args ...string) (stdout, stderr string) {
	cmd := exec.Command(name, args...)
	cmd.Env = []string{"PATH=/usr/sbin:/usr/bin:/bin", "MAIL_CONFIG=" + dir}
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	_ = cmd.Run() // the status of a fatal error is no news beside its text
	var lines []string
	for line := range strings.Lines(errs.String()) {
		line = strings.TrimPrefix(strings.TrimPrefix(strings.TrimSpace(line), name+": "), filepath.Base(name)+": ")
		lines = append(lines, strings.ReplaceAll(line, dir, "D"))
	}
	return out.String(), strings.Join(lines, "\n")
}

// ours does what a program does at start, with the same complaints.
func ours(dir string) string {
	var lines []string
	m, err := Load(Options{Dir: dir, Program: "postmap", Warn: func(w string) { lines = append(lines, "warning: "+w) }})
	if err == nil {
		err = m.Check()
	}
	if err != nil {
		lines = append(lines, "fatal: "+err.Error())
	}
	for i, line := range lines {
		lines[i] = maillog.Printable(strings.TrimSpace(strings.ReplaceAll(line, dir, "D")))
	}
	return strings.Join(lines, "\n")
}

// sameStart are lines of main.cf with which every program must start, or
// refuse to start, in the same words.
var sameStart = []string{
	"", "junk", "a b = c", "= b", " \t= b", "a", "  first = 1\nb = 2", "\ta b c d e f g h i j k l m n o p q r s t u v w x y z\nb = 1",
	"a = 1\na = 2", "a = 1\na = 1", "a = 1\na =\na = 1\n", "a=1\n# c\n  2\na = 12", "a = 1\n\n  2\n\n\n#\n  3\na = 1  2  3", "a = 1\r\na = 1\n",
	"config_directory = /nonexistent", "é = 1\nx.y-z = 1\n1 = 2", "a \\\n = 1\n", "a = \\\nb", "=", "\x01 = 2",

	"soft_bounce = 1", "soft_bounce =", "soft_bounce = YES", "soft_bounce = true", "soft_bounce = yes no", "soft_bounce = $soft_bounce",
	"soft_bounce = ${x?yes}", "soft_bounce = ${x:yes}", "soft_bounce = ${", "soft_bounce = $$", "soft_bounce = $undefined",
	"line_length_limit = 1", "line_length_limit = 0", "line_length_limit = -1", "line_length_limit =", "line_length_limit = x", "line_length_limit = 2048x",
	"line_length_limit = 2147483647", "line_length_limit = 2147483648", "line_length_limit = 99999999999999999999", "line_length_limit = +2048",
	"line_length_limit = 0x1000", "line_length_limit = 2_048", "line_length_limit = 2048 ", "line_length_limit = 20 48", "line_length_limit = 02048",
	"line_length_limit = \v2048", "line_length_limit = ++2048", "line_length_limit = +-2048", "line_length_limit = - 1",
	"tcp_windowsize = -5", "dont_remove = -2147483648", "dont_remove = -2147483649", "delay_logging_resolution_limit = 7", "delay_logging_resolution_limit = -1",
	"message_size_limit = 9223372036854775807", "message_size_limit = 9223372036854775808", "message_size_limit = -5", "message_size_limit = 10k", "message_size_limit =",
	"lmdb_map_size = 0", "lmdb_map_size = -1",
	"ipc_timeout = 5 s", "ipc_timeout = s", "ipc_timeout =", "ipc_timeout = 5min", "ipc_timeout = 0", "ipc_timeout = -1", "ipc_timeout = 5x", "ipc_timeout = +5",
	"ipc_timeout = 3551w", "ipc_timeout = 3550w", "ipc_timeout = 2147483647", "ipc_timeout = 2147483646", "ipc_timeout = 5S", "ipc_timeout = x5", "ipc_timeout = 5sec",
	"ipc_timeout = 99999999999999999999s", "ipc_timeout = \v5", "ipc_timeout = w", "ipc_timeout = 35791394m", "ipc_timeout = 35791395m", "ipc_timeout = 1.5h", "ipc_timeout = -s",
	"in_flow_delay = 11", "in_flow_delay = 11s", "in_flow_delay = 1h", "in_flow_delay = 0", "in_flow_delay = $max_idle",
	"mail_name =", "mail_name = $nothing", "default_verp_delimiters = +", "default_verp_delimiters = +=-", "default_verp_delimiters = ab", "default_verp_delimiters = +a",
	"verp_delimiter_filter = x", "hash_queue_names =", "syslog_name =", "queue_directory =", "myorigin =", "mynetworks =", "mynetworks_style =",

	"compatibility_level = a", "compatibility_level =", "compatibility_level = 1.2.3.4", "compatibility_level = 3.1024", "compatibility_level = -1", "compatibility_level = 99",
	"compatibility_level = 3.6.", "compatibility_level = $mydomain", "compatibility_level = ${x:2}", "compatibility_level = 0x1", "compatibility_level = .1",
	"compatibility_level = +3", "compatibility_level = 3 ", "compatibility_level = 3.+1", "compatibility_level = 3. 1", "compatibility_level = 9999999999999999999",

	"syslog_facility = none", "syslog_facility =", "syslog_facility = LOCAL0", "syslog_facility = local7", "syslog_facility = $mail_name",
	"myhostname =", "myhostname = a..b", "myhostname = -a.b", "myhostname = a-.b", "myhostname = 1.2.3.4", "myhostname = a b", "myhostname = a.b.",
	"myhostname = .a", "myhostname = " + strings.Repeat("x", 64) + ".example", "myhostname = " + strings.Repeat("a.", 130) + "a", "myhostname = a_b", "myhostname = *",
	"myhostname = 12", "myhostname = a--b", "myhostname = a\tb", "myhostname = [1.2.3.4]", "myhostname = 1:2", "myhostname = " + strings.Repeat("x", 64) + "..",
	"mydomain =", "mydomain = a..b", "mydomain = com", "mydomain = $myhostname", "mydomain = 10", "mydomain = $nothing", "myhostname = $mydomain", "myhostname = x.$mydomain",
	"myhostname = x.$mydomain\nmydomain = y.$myhostname", "mydomain = 1.2",
	"default_privs = root", "default_privs = nosuch", "default_privs =", "default_privs = 65534", "default_privs = postfix", "mail_owner = root", "mail_owner = nosuch", "mail_owner = 102",
	"mail_owner = nobody", "setgid_group = root", "setgid_group = nosuch", "setgid_group =", "setgid_group = postfix", "setgid_group = nogroup", "setgid_group = 104",
	"relayhost = $myhostname", "relayhost = MAIL.test.example\nmyhostname = mail.test.example", "relayhost = [mail.test.example]\nmyhostname = mail.test.example",
	"myorigin = a b", "myorigin = a, b", "myorigin = /nonexistent/x", "myorigin = /dev/null", "myorigin = /etc/hostname",
	"known_tcp_ports = x", "known_tcp_ports = x=", "known_tcp_ports = =1", "known_tcp_ports = a b=1", "known_tcp_ports = a=1 2", "known_tcp_ports = a=b=3, c", "known_tcp_ports = ,,",
	"known_tcp_ports = a=x", "known_tcp_ports = a==5", "known_tcp_ports = {a b}=5", "known_tcp_ports = a = b = 5", "known_tcp_ports = smtp=9, smtp=10",
	"inet_protocols = IPv4", "inet_protocols = ipv4 ipv6", "inet_protocols = ipv4, bad", "inet_protocols =", "inet_protocols = all ipv4", "inet_protocols = $nothing",
	"inet_interfaces = 203.0.113.77", "inet_interfaces = no.such.host.invalid", "inet_interfaces =", "inet_interfaces = 127.0.0.1, 127.0.0.1", "inet_interfaces = [127.0.0.1]",
	"inet_interfaces = all, 127.0.0.1", "inet_interfaces = ALL", "inet_interfaces = loopback-only", "inet_interfaces = $nothing", "inet_interfaces = 127.0.0.1\ninet_protocols = ipv6",
	"inet_interfaces = [::1]\ninet_protocols = ipv4", "inet_interfaces = 127.0.0.1,[203.0.113.1]", "inet_interfaces = {127.0.0.1}", "inet_interfaces = [127.0.0.1",
	"inet_interfaces = 127.0.0.1:25", "inet_interfaces = 127.1", "inet_interfaces = 0.0.0.0", "inet_interfaces = 127.0.0.1/8",
	"proxy_interfaces = no.such.host.invalid", "mynetworks_style = x", "mynetworks_style = host, class", "mynetworks_style = host host", "mynetworks_style = HOST",
	"mynetworks_style = x\nmynetworks = 127.0.0.1", "mynetworks_style = $nothing", "mynetworks = $mynetworks", "mynetworks = ${",
	"import_environment = {a", "import_environment = {a}b", "import_environment = A {B = c d}", "import_environment = { }", "export_environment = {a", "import_environment = }",
	"alternate_config_directories = ${", "smtpd_timeout = x", "smtpd_timeout = ${", "process_name = x", "process_id = 1", "service_name = x", "process_name = ${",
	"x = ${\nsmtpd_banner = $x", "mail_name = $a\na = $b\nb = $a", "smtputf8_enable = maybe", "respectful_logging = maybe", "enable_idna2003_compatibility = 2",
	"daemon_table_open_error_is_fatal = oops", "multi_instance_enable = oops", "dns_ncache_ttl_fix_enable = oops", "postlog_service_name =", "maillog_file_compressor =",
	"soft_bounce = x\nline_length_limit = x", "syslog_facility = x\nmyhostname = a..b\nipc_timeout = x", "line_length_limit = x\nmail_name =", "soft_bounce = x\nmax_idle = x",
	"mail_owner = nosuch\nmynetworks_style = x", "inet_protocols = bad\nmyhostname = a..b", "setgid_group = nosuch\nrelayhost = $myhostname", "soft_bounce = x\nmail_owner = nosuch",
	"default_privs = nosuch\nsoft_bounce = x", "inet_interfaces = 203.0.113.77\nsetgid_group = nosuch", "mynetworks_style = x\ninet_interfaces = 203.0.113.77",
	"relayhost = $myhostname\nmyorigin = a b", "default_verp_delimiters = ab\nrelayhost = $myhostname", "known_tcp_ports = x\nmyhostname = a..b", "import_environment = {a\nmyhostname = a..b",
	"lmdb_map_size = x\nline_length_limit = x\nipc_timeout = x\nsoft_bounce = x\nmail_name =",
	"command_directory = \nmydomain = a..b\nmyhostname = c..d",
}

// startDiffers are those where release 3.7 says something else, and what.
var startDiffers = map[string]string{
	"known_tcp_ports = a=x": "warning: known_tcp_ports: in \"a=x\": port number out of range",
	// Defaults that it has not loaded yet count as undefined there.
	"syslog_facility = $mail_name": "fatal: file D/main.cf: parameter syslog_facility: unrecognized value: Postfix",
	// It looks at settings that refer to each other once more.
	"myhostname = x.$mydomain\nmydomain = y.$myhostname": "warning: unreasonable macro call nesting: \"y.\"\nfatal: dictionary mail_dict: macro processing error",
	// The C library completes addresses.
	"inet_interfaces = 127.1": "fatal: config variable inet_interfaces: host not found: 127.1",
}

// Every program loads and checks main.cf as postmap of the installed Postfix
// does: the same warnings, the same fatal error, in the same order.
func TestSameStart(t *testing.T) {
	t.Parallel()
	const head = "compatibility_level = 3.6\n"
	parallel(t, len(sameStart), func(i int) {
		text := sameStart[i]
		dir := oldDir(t, text+"\n")
		if !strings.Contains(text, "compatibility_level") && !strings.HasPrefix(text, " ") && !strings.HasPrefix(text, "\t") {
			dir = oldDir(t, head+text+"\n")
		}
		_, want := real(dir, "/usr/sbin/postmap", "-q", "k", "static:v")
		if special, ok := startDiffers[text]; ok {
			want = special
		}
		if got := ours(dir); got != want {
			t.Errorf("%q:\n ours %s\n real %s", text, got, want)
		}
	})
}

// What cannot be read is refused in the same words.
func TestSameUnreadable(t *testing.T) {
	t.Parallel()
	dirs := []string{"/nonexistent", oldDir(t, ""), oldDir(t, ""), oldDir(t, ""), oldDir(t, "a = b\x00c\nsoft_bounce = x\x00\n\x00 = y\nmail_name =\n")}
	for i, make := range map[int]func(path string) error{
		1: func(path string) error { return os.Mkdir(path, 0o755) },
		2: func(path string) error { return os.Symlink(path, path) },
		3: func(path string) error { return os.Symlink("/dev/full/x", path) },
	} {
		path := filepath.Join(dirs[i], "main.cf")
		if err := os.Remove(path); err != nil {
			t.Fatal(err)
		}
		if err := make(path); err != nil {
			t.Fatal(err)
		}
	}
	parallel(t, len(dirs), func(i int) {
		_, want := real(dirs[i], "/usr/sbin/postmap", "-q", "k", "static:v")
		var lines []string
		for line := range strings.SplitSeq(ours(dirs[i]), "\n") {
			if !strings.Contains(line, "text after null byte may be ignored") { // new since 3.7
				lines = append(lines, line)
			}
		}
		if got := strings.Join(lines, "\n"); got != want {
			t.Errorf("%d:\n ours %s\n real %s", i, got, want)
		}
	})
}

// parallel runs n tests, some at once: a fatal error makes Postfix sleep.
func parallel(t *testing.T, n int, test func(i int)) {
	var wg sync.WaitGroup
	free := make(chan bool, 40)
	for i := range n {
		free <- true
		wg.Add(1)
		go func() {
			defer func() { <-free; wg.Done() }()
			test(i)
		}()
	}
	wg.Wait()
}

// pieces are what random expressions are made of.
var pieces = []string{"$", "${", "$(", "}", ")", "{", "}", "{", "}", "?", ":", "A", "E", "R", "U", "N", "C", "==", "!=", "<", "<=", ">=", ">", "=", "level", "<level",
	"1", "10", "9", "3.6", "x", "yz", " ", " ", "$$", "$A", "$E", "${A}", "${E:", "${A?", "${{$A} == {aval}", "${{1}<{2}", "-", ",", "/", "{a}", "{b}", "\t", "+1", "~", "_"}

// fixed are expressions of which each part has its own rule.
var fixed = []string{
	"$", "$ A", "${}", "$()", "${ }", "${", "$(A", "${A}}", "$A$E$R", "${A?{x}:{y}}", "${E?{x}:{y}}", "${A?x:y}", "${A??x}", "${A?{x}y}", "${A?{x}:y}", "${A?{x}: {y} }", "${A?{x}:{y}z}",
	"${A:{x}:{y}}", "${E:{x}{y}}", "${{a}=={a}}", "${{a}=={b}}", "${{a}={b}}", "${{a}}", "${{a} {b}}", "${{a}==b}", "${{a}=={b}?}", "${{a}=={a}?}", "${{a}=={a}:x}", "${{a}=={a}?{x}}",
	"${{a}=={a}?{x}:}", "${{a}=={a}x}", "${{a}==={a}}", "${{10}<{9}}", "${{10}<{9x}}", "${{010}=={10}}", "${{}=={}}", "${{}<{1}}", "${{a}<level{3}}", "${{3}<level{a}}", "${{3}< level{4}}",
	"${{3}<levelx{4}}", "${{3}<leve{4}}", "${{3}<level {4}?{y}:{n}}", "${{3.10}>level{3.9}?{y}:{n}}", "${{99999999999999999999}<{1}}", "${{9223372036854775807}<{1}}", "${A?$U}", "${A?${U:z}}",
	"${N?x}", "${N:x}", "$C", "${C?x}", "${A-?x}", "${A b}", "${A{b}}", "$(A?{x}:(y))", "$(A?(x))", "${A?{{x}}}", "${A?{x}", "$$$$", "$$A", "$${A}", "$A_b", "$A.b", "$1", "${1?x}", "${_}", "a$b$", "${A?{x",
	"${{$C}=={x}}", "${{a}=={a}?$C}", "${{a}=={b}?$C}", "${E?$C}", "${E?${}}", "${A?${}}", "${A?{$}:{y}}", "${E?{$}:{y}}", "${ A ? { x } : { y } }", "${\tA\t?\t{x}\t:\t{y}\t}", "${A ?x }", "${A : x }",
	"${E : x }", "$(A)", "$(E:$(A))", "${A)", "$(A}", "${A?x}$(E:y)", "${{ a }=={a}?y:n}", "${{a}=={ a }?{y}:n}", "${{x{y}z}=={x{y}z}}", "${{a}!={b}}", "${{a}<={a}}", "${{a}>={b}}", "${{b}>{a}}", "${{A}<{a}}",
	"${{-1}<{0}}", "${{+1}=={1}}", "${{1.0}=={1}}", "${{$A}=={aval}?{${E:{q}}}:{w}}", "${D100}", "${D101}", "${{$D100}=={end}}", "${A?${D99}}", "${A?{$D98}}", "$(D100)",
}

const definitions = "A = aval\nE =\nR = [$A]\nN = $U\nC = $C\n"

// Expressions give what the installed Postfix makes of them, or its errors.
func TestSameExpressions(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewSource(1))
	noFunction := regexp.MustCompile(`\$[{(]\s*\w+\s*\{`) // release 3.7 has no functions
	exprs := fixed
	for range 6000 {
		var b strings.Builder
		for range 1 + random.Intn(9) {
			b.WriteString(pieces[random.Intn(len(pieces))])
		}
		if strings.Contains(b.String(), "$") && !noFunction.MatchString(b.String()) {
			exprs = append(exprs, b.String())
		}
	}
	var chain strings.Builder
	for i := 100; i > 0; i-- {
		fmt.Fprintf(&chain, "D%d = $D%d\n", i+1, i)
	}
	common := definitions + chain.String() + "D1 = end\n"
	expand := func(expr string) string {
		var complaints []string
		list, err := ParseSettings("F", common+"smtpd_client_restrictions = "+expr, nil)
		if err != nil {
			t.Fatal(err)
		}
		m := New("/d", list, Options{Warn: func(text string) { complaints = append(complaints, "warning: "+text) }})
		text := m.String(params.SmtpdClientRestrictions)
		if err := m.Err(); err != nil {
			return strings.Join(append(complaints, "fatal: "+strings.TrimPrefix(err.Error(), "dictionary mail_dict: ")), "\n")
		}
		return strings.Join(strings.Fields(text), " ")
	}
	var good, bad []string
	for _, expr := range exprs {
		if !strings.HasPrefix(expand(expr), "warning") && !strings.HasPrefix(expand(expr), "fatal") {
			good = append(good, expr)
		} else if len(bad) < len(fixed)+100 {
			bad = append(bad, expr)
		}
	}
	t.Log(len(good), "good,", len(bad), "bad")
	names := stringParameters()
	for len(good) > 0 {
		batch := good[:min(len(good), len(names))]
		good = good[len(batch):]
		text := common
		for i, expr := range batch {
			text += names[i] + " = " + expr + "\n"
		}
		stdout, stderr := real(oldDir(t, text), "/usr/sbin/postconf", append([]string{"-xh"}, names[:len(batch)]...)...)
		lines := strings.Split(stdout, "\n")
		if len(lines) != len(batch)+1 {
			t.Fatalf("%d lines for %d parameters\n%s", len(lines), len(batch), stderr)
		}
		for i, expr := range batch {
			if want := expand(expr); lines[i] != want {
				t.Errorf("%q: ours %q, real %q", expr, want, lines[i])
			}
		}
	}
	parallel(t, len(bad), func(i int) {
		_, stderr := real(oldDir(t, common+"smtpd_client_restrictions = "+bad[i]+"\n"), "/usr/sbin/postconf", "-xh", "smtpd_client_restrictions")
		var lines []string
		for _, line := range strings.Split(stderr, "\n") {
			if !strings.Contains(line, ": undefined parameter:") && !strings.Contains(line, ": unused parameter: ") && !slices.Contains(lines, line) {
				lines = append(lines, line)
			}
		}
		// After one mistake the real scanner may report the next as well, and
		// postconf looks for names before it expands anything.
		got := strings.ReplaceAll(expand(bad[i]), "\t", "?")
		if first, _, _ := strings.Cut(got, "\n"); len(lines) > 2 && slices.Contains(lines, first) {
			lines = []string{first, lines[len(lines)-1]}
		}
		want := strings.Join(lines, "\n")
		if strings.HasPrefix(bad[i], "${A{b}") { // there are no functions in 3.7
			want = "warning: unknown function \"A\" at\"...>>>A{b}\"\nfatal: macro processing error"
		}
		if got != want {
			t.Errorf("%q:\n ours %s\n real %s", bad[i], got, want)
		}
	})
}

// stringParameters are parameters that take any text, in both releases.
func stringParameters() (names []string) {
	for _, p := range params.All() {
		if p.Kind == params.KindString && p.Min == params.NoLimit && strings.HasSuffix(p.Name, "_restrictions") || strings.HasSuffix(p.Name, "_maps") && p.Name != "smtpd_reject_filter_maps" &&
			!strings.Contains(p.Name, "loglevel") && p.Flags&params.Hidden == 0 && p.Programs != "*" {
			names = append(names, p.Name)
		}
	}
	return names
}
