package config

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"suffix/pkg/params"
)

// writeMain makes a configuration directory with an old main.cf: one that is
// new would be read again until it is a second old.
func writeMain(t *testing.T, text string) string {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "main.cf")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(path, old, old); err != nil {
		t.Fatal(err)
	}
	return dir
}

func load(t *testing.T, text string, overrides ...Override) (*Main, *[]string) {
	t.Helper()
	var warnings []string
	m, err := Load(Options{Dir: writeMain(t, text), Overrides: overrides, Program: "smtpd", Service: "25",
		Warn: func(w string) { warnings = append(warnings, w) }})
	if err != nil {
		t.Fatal(err)
	}
	return m, &warnings
}

func TestGrammar(t *testing.T) {
	for _, c := range []struct {
		text     string
		settings string // name=value, one a line
		warnings string
		err      string
	}{
		{text: "a = 1\n  two\n# c\n\n \n\tthree\nb=", settings: "a=1  two\tthree\nb="},
		{text: "x=y # z\r\nw = \\\n", settings: "x=y # z\nw=\\"},
		{text: "  foo bar baz long text here over thirty bytes\n more\na=b\n", settings: "a=b",
			warnings: `F: logical line must not start with whitespace: "  foo bar baz long text here o..."`},
		{text: "a=1\nb=2\na = 1\n", settings: "a=1\nb=2"},
		{text: "a=1\nb=2\na = 2\n", settings: "a=2\nb=2", warnings: "F, line 3: overriding earlier entry: a=1"},
		{text: "a=b\x00c\n d\ne=f\n#\x00\n", settings: "a=b\ne=f",
			warnings: "F, line 1-2: text after null byte may be ignored\nF, line 4: text after null byte may be ignored"},
		{text: "a=1\n\x00b=2\n", settings: "", err: `F, line 2: missing attribute name: ""`, warnings: "F, line 2: text after null byte may be ignored"},
		{text: "x=y\n=b\n", err: `F, line 2: missing attribute name: "=b"`},
		{text: "junk zz\n more\n", err: `F, line 1: missing '=' after attribute name: "junk zz more"`},
		{text: "a b = c\n", err: `F, line 1: missing '=' after attribute name: "a b = c"`},
		{text: "x.y-z = 1\n1a = 2", settings: "x.y-z=1\n1a=2"},
	} {
		var warnings, settings []string
		list, err := ParseSettings("F", c.text, func(w string) { warnings = append(warnings, w) })
		if err != nil && err.Error() != c.err || err == nil && c.err != "" {
			t.Errorf("%q: error %v; want %s", c.text, err, c.err)
		}
		for _, s := range list {
			settings = append(settings, s.Name+"="+s.Value)
		}
		if got := strings.Join(settings, "\n"); got != c.settings {
			t.Errorf("%q: settings %q; want %q", c.text, got, c.settings)
		}
		if got := strings.Join(warnings, "\n"); got != c.warnings {
			t.Errorf("%q: warnings %q; want %q", c.text, got, c.warnings)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	if _, err := Load(Options{Dir: "/nonexistent"}); err == nil || err.Error() != "open /nonexistent/main.cf: No such file or directory" {
		t.Error(err)
	}
	dir := t.TempDir()
	if err := os.Mkdir(dir+"/main.cf", 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(Options{Dir: dir}); err == nil || err.Error() != "read "+dir+"/main.cf: Is a directory" {
		t.Error(err)
	}
}

// Other reasons for which main.cf cannot be read.
func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("main.cf", dir+"/main.cf"); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(Options{Dir: dir}); err == nil || err.Error() != "open "+dir+"/main.cf: Too many levels of symbolic links" {
		t.Error(err)
	}
	if _, err := Load(Options{Dir: "/dev/null"}); err == nil || err.Error() != "open /dev/null/main.cf: Not a directory" {
		t.Error(err)
	}
}

// A line of 10 MB, or of many pieces, takes no more than a few times its size.
func TestLongLines(t *testing.T) {
	const large, size = 10 << 20, 1 << 20
	for name, text := range map[string]string{
		"one line":      "mynetworks = " + strings.Repeat("x ", large/2) + "\n",
		"continuations": "mynetworks =" + strings.Repeat("\n x", size/3) + "\n",
		"comments":      "mynetworks = x" + strings.Repeat("\n#x", size/3) + "\n x\n",
		"blanks":        strings.Repeat(" \n", size/2) + "mynetworks = x\n  x\n",
		"orphan":        strings.Repeat("  x\n", size/4) + "mynetworks = x\n  x\n",
	} {
		path := writeMain(t, text) + "/main.cf"
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		list, err := ReadSettings(path, func(string) {})
		runtime.ReadMemStats(&after)
		if err != nil || len(list) != 1 || len(list[0].Value) < 3 {
			t.Fatalf("%s: %d settings, %v", name, len(list), err)
		}
		if used := after.TotalAlloc - before.TotalAlloc; used > 12*uint64(max(len(text), size)) {
			t.Errorf("%s: %d MB", name, used>>20)
		}
		m := New("/d", list, Options{Warn: func(string) {}})
		if got := m.String(params.Mynetworks); got != list[0].Value || m.Err() != nil {
			t.Errorf("%s: %d bytes, %v", name, len(got), m.Err())
		}
	}
}

// Settings that end nowhere are refused in bounded time and memory, whatever
// they are.
func TestRunaway(t *testing.T) {
	deep := strings.Repeat("${a?{", 1<<17)
	for setting, want := range map[string]string{
		"mail_name = $mail_name":                            `unreasonable macro call nesting: "mail_name"`,
		"mail_name = $a\na = $b\nb = $a":                    `unreasonable macro call nesting: `,
		"mail_name = $a$a\na = $mail_name$mail_name":        `unreasonable macro call nesting: `,
		"mail_name = ${{$mail_name} == {x}}":                `unreasonable macro call nesting: `,
		"mail_name = " + deep:                               `truncated macro reference: "` + deep[:20],
		"mail_name = " + deep + strings.Repeat("}}", 1<<17): `unreasonable macro call nesting: `,
		"mail_name = " + strings.Repeat("$(", 1<<19):        `truncated macro reference: "$($(`,
		"mail_name = ${{" + strings.Repeat("{", 10<<20):     `truncated macro reference: "${{{`,
	} {
		m, warnings := load(t, setting+"\na = x\n")
		if strings.Contains(setting, "\na = ") {
			m, warnings = load(t, setting+"\n")
		}
		m.String(params.MailName)
		if err := m.Err(); err == nil || err.Error() != "dictionary mail_dict: macro processing error" {
			t.Errorf("%.40s: %v", setting, err)
		}
		if len(*warnings) != 1 || !strings.HasPrefix((*warnings)[0], want) {
			t.Errorf("%.40s: %d warnings, %.100q", setting, len(*warnings), *warnings)
		}
	}
}

// BenchmarkLoad reads a main.cf of 5,000 lines, and what every program asks for.
func BenchmarkLoad(b *testing.B) {
	var text strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&text, "# Comment on number %d.\nsetting_%[1]d = $setting_%d ${stress?{yes}:{no}}\n    hash:/etc/postfix/table_%[1]d\n\n#other_%[1]d = x\n", i, i+1)
	}
	text.WriteString("mynetworks = 127.0.0.0/8\n")
	dir := b.TempDir()
	path := filepath.Join(dir, "main.cf")
	old := time.Now().Add(-time.Minute)
	if err := errors.Join(os.WriteFile(path, []byte(text.String()), 0o644), os.Chtimes(path, old, old)); err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := LoadCommand(Options{Dir: dir, Warn: func(w string) { b.Error(w) }}); err != nil {
			b.Fatal(err)
		}
	}
}

// A file that was changed just now is read again, and settings that come with
// the second reading count.
func TestHotFile(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/main.cf"
	if err := os.WriteFile(path, []byte("myhostname = half"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, hot, err := readOnce(path); !hot || err != nil {
		t.Fatalf("new file: hot %v, %v", hot, err)
	}
	replacement := filepath.Join(writeMain(t, "myhostname = whole.example\n"), "main.cf")
	go func() {
		if err := os.Rename(replacement, path); err != nil {
			t.Error(err)
		}
	}()
	m, err := Load(Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	if got := m.String(params.Myhostname); got != "whole.example" {
		t.Errorf("myhostname = %q", got)
	}
}

// Commands refuse a bad main.cf too, and do not look at accounts and interfaces.
func TestLoadCommand(t *testing.T) {
	good := "myhostname = a.test\nmail_owner = nosuchuser\ninet_interfaces = 203.0.113.1\n"
	for text, want := range map[string]string{
		"":                          "",
		"soft_bounce = x":           "bad boolean configuration: soft_bounce = x",
		"relayhost = a.test":        "myhostname and relayhost parameter settings must not be identical: a.test",
		"import_environment = {a":   `import_environment: missing '}' in "{a"`,
		"mydomain = .":              "file D/main.cf: parameter mydomain: bad parameter value: .",
		"inet_protocols = x":        `unknown inet_protocols value "x" in "x"`,
		"compatibility_level = 3.x": `malformed compatibility level syntax: "3.x"`,
	} {
		dir := writeMain(t, good+text+"\n")
		got := ""
		if _, err := LoadCommand(Options{Dir: dir}); err != nil {
			got = strings.ReplaceAll(err.Error(), dir, "D")
		}
		if got != want {
			t.Errorf("%s: %q; want %q", text, got, want)
		}
	}
}

func TestTypes(t *testing.T) {
	m, _ := load(t, "smtpd_timeout = 5min\nline_length_limit = +3000\nmessage_size_limit = 5000000000\nsmtpd_helo_required = YES\nsmtpd_banner = $myhostname $$ $service_name\nmyhostname = mail.example.com\nluser_relay = $user\nfoo = $undefined.\n",
		Override{"smtpd_hard_error_limit", "${stress?{1}:{7}}"}, Override{"stress", "yes"})
	if got := m.Time(params.SmtpdTimeout); got != 5*time.Minute {
		t.Errorf("smtpd_timeout = %v", got)
	}
	if got := m.Int(params.LineLengthLimit); got != 3000 {
		t.Errorf("line_length_limit = %v", got)
	}
	if got := m.Long(params.MessageSizeLimit); got != 5000000000 {
		t.Errorf("message_size_limit = %v", got)
	}
	if !m.Bool(params.SmtpdHeloRequired) {
		t.Error("smtpd_helo_required")
	}
	if got := m.String(params.SmtpdBanner); got != "mail.example.com $ 25" {
		t.Errorf("smtpd_banner = %q", got)
	}
	if got := m.Raw(params.LuserRelay); got != "$user" {
		t.Errorf("luser_relay = %q", got)
	}
	if got := m.Int(params.SmtpdHardErrorLimit); got != 1 {
		t.Errorf("smtpd_hard_error_limit = %v", got)
	}
	if got := m.Int(params.SmtpdJunkCommandLimit); got != 1 {
		t.Errorf("smtpd_junk_command_limit under stress = %v", got)
	}
	if got := m.With(Override{"stress", ""}).Int(params.SmtpdJunkCommandLimit); got != 100 {
		t.Errorf("smtpd_junk_command_limit without stress = %v", got)
	}
	if got, ok := m.Lookup("foo"); got != "." || !ok {
		t.Errorf("foo = %q, %v", got, ok)
	}
	if _, ok := m.Lookup("nothing"); ok {
		t.Error("unset name has a value")
	}
	if err := m.Err(); err != nil {
		t.Error(err)
	}
}

func TestTypeErrors(t *testing.T) {
	for _, c := range []struct{ setting, want string }{
		{"smtpd_timeout = 5 s", "parameter smtpd_timeout: bad time value or unit: 5 s"},
		{"smtpd_timeout = ", "parameter smtpd_timeout: bad time value or unit: "},
		{"smtpd_timeout = -1", "parameter smtpd_timeout: bad time value or unit: -1"},
		{"smtpd_timeout = 5x", "parameter smtpd_timeout: bad time value or unit: 5x"},
		{"smtpd_timeout = 3551w", "parameter smtpd_timeout: bad time value or unit: 3551w"},
		{"smtpd_timeout = 2147483648", "parameter smtpd_timeout: bad time value or unit: 2147483648"},
		{"smtpd_timeout = 35791394m", "parameter smtpd_timeout: bad time value or unit: 35791394m"},
		{"smtpd_timeout = 0", "invalid smtpd_timeout: 0 (min 1)"},
		{"smtpd_timeout = s", "invalid smtpd_timeout: 0 (min 1)"},
		{"line_length_limit = 1k", "bad numerical configuration: line_length_limit = 1k"},
		{"line_length_limit = 1 ", "invalid line_length_limit parameter value 1 < 512"},
		{"line_length_limit = 2147483648", "bad numerical configuration: line_length_limit = 2147483648"},
		{"smtpd_helo_required = 1", "bad boolean configuration: smtpd_helo_required = 1"},
		{"smtpd_helo_required = ${A", "dictionary mail_dict: macro processing error"},
		{"mail_name =", "bad string length 0 < 1: mail_name = "},
		{"suffix_dialect = 3.8", `unknown suffix_dialect value "3.8" in "3.8"`},
		{"compatibility_level = a", `malformed compatibility level syntax: "a"`},
		{"compatibility_level =", `malformed compatibility level syntax: ""`},
	} {
		m, warnings := load(t, c.setting+"\n")
		m.Time(params.SmtpdTimeout)
		m.Int(params.LineLengthLimit)
		m.Bool(params.SmtpdHeloRequired)
		m.String(params.MailName)
		m.Dialect37()
		m.CompatLevelBelow("3.6")
		if err := m.Err(); err == nil || err.Error() != c.want {
			t.Errorf("%s: %v; want %s", c.setting, err, c.want)
		}
		if strings.Contains(c.setting, "$") && !slices.Contains(*warnings, `truncated macro reference: "${A"`) {
			t.Errorf("%s: warnings %q", c.setting, *warnings)
		}
	}
	m, _ := load(t, "smtpd_timeout = x\n")
	if got := m.Time(params.SmtpdTimeout); got != 300*time.Second {
		t.Errorf("bad smtpd_timeout gives %v, not the default", got)
	}
}

func TestCompatLevelDefaults(t *testing.T) {
	for _, c := range []struct {
		level, relay, style string
		utf8, respectful    bool
	}{
		{"", "", "subnet", false, false},
		{"compatibility_level = 1", "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination", "subnet", true, false},
		{"compatibility_level = 3.6", "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination", "host", true, true},
	} {
		m, _ := load(t, c.level+"\n")
		if got := m.String(params.SmtpdRelayRestrictions); got != c.relay {
			t.Errorf("%q: smtpd_relay_restrictions = %q", c.level, got)
		}
		if got := m.String(params.MynetworksStyle); got != c.style {
			t.Errorf("%q: mynetworks_style = %q", c.level, got)
		}
		if got := m.Bool(params.Smtputf8Enable); got != c.utf8 {
			t.Errorf("%q: smtputf8_enable = %v", c.level, got)
		}
		if got := m.Bool(params.RespectfulLogging); got != c.respectful {
			t.Errorf("%q: respectful_logging = %v", c.level, got)
		}
	}
	m, _ := load(t, "compatibility_level = 3.10\n")
	if m.CompatLevelBelow("3.9") || !m.CompatLevelBelow("3.11") {
		t.Error("3.10 must stand between 3.9 and 3.11")
	}
}

// Each default that depends on the level, one step below the level that
// changes it, and at it (spec config §6.2).
func TestEveryCompatLevelDefault(t *testing.T) {
	below := map[string]string{"1": "0.1023.1023", "2": "1.1", "3.6": "3.5", "3.11": "3.10"}
	seen := make(map[string]bool)
	for _, c := range []struct{ name, level, old, new string }{
		{"append_dot_mydomain", "1", "yes", "no"},
		{"smtputf8_enable", "1", "no", "yes"},
		{"smtpd_relay_restrictions", "1", "", "permit_mynetworks, permit_sasl_authenticated, defer_unauth_destination"},
		{"mynetworks_style", "2", "subnet", "host"},
		{"relay_domains", "2", "here.test", ""},
		{"smtpd_relay_before_recipient_restrictions", "3.6", "no", "yes"},
		{"smtpd_tls_fingerprint_digest", "3.6", "md5", "sha256"},
		{"smtp_tls_fingerprint_digest", "3.6", "md5", "sha256"},
		{"lmtp_tls_fingerprint_digest", "3.6", "md5", "sha256"},
		{"respectful_logging", "3.6", "no", "yes"},
		{"smtp_tls_security_level", "3.11", "", "may"},
		{"tlsproxy_client_security_level", "3.11", "", "may"},
	} {
		seen[c.name] = true
		for level, want := range map[string]string{below[c.level]: c.old, c.level: c.new, "9999": c.new} {
			m, _ := load(t, "mydestination = here.test\ncompatibility_level = "+level+"\n")
			if got, _ := m.Lookup(c.name); got != want || m.Err() != nil {
				t.Errorf("level %s: %s = %q; want %q (%v)", level, c.name, got, want, m.Err())
			}
		}
	}
	for _, p := range params.All() {
		if p.Flags&params.CompatLevel != 0 && !seen[p.Name] && p.Name != "smtp_tlsrpt_skip_reused_handshakes" && p.Name != "lmtp_tlsrpt_skip_reused_handshakes" {
			t.Errorf("%s depends on the level as well", p.Name)
		}
	}
}

func TestServiceParameters(t *testing.T) {
	m, _ := load(t, "default_destination_recipient_limit = 33\nslow_destination_rate_delay = 2m\nother_time_limit = 0\n")
	if got := m.ServiceInt("slow_destination_recipient_limit", params.DefaultDestinationRecipientLimit); got != 33 {
		t.Errorf("unset limit = %d", got)
	}
	if got := m.ServiceInt("local_destination_recipient_limit", params.DefaultDestinationRecipientLimit); got != 1 {
		t.Errorf("local limit = %d", got)
	}
	if got := m.ServiceTime("slow_destination_rate_delay", params.DefaultDestinationRateDelay); got != 2*time.Minute {
		t.Errorf("delay = %v", got)
	}
	if err := m.Err(); err != nil {
		t.Error(err)
	}
	m.ServiceTime("other_time_limit", params.CommandTimeLimit)
	if err := m.Err(); err == nil || err.Error() != "invalid other_time_limit: 0 (min 1)" {
		t.Error(err)
	}
}

func TestExplicit(t *testing.T) {
	m, _ := load(t, "process_name = x\nservice_name = y\na = b\n", Override{"c", "d"})
	for name, want := range map[string]bool{"a": true, "c": true, "e": false, "process_name": false, "myhostname": false, "config_directory": true} {
		if got := m.Explicit(name); got != want {
			t.Errorf("Explicit(%s) = %v", name, got)
		}
	}
	if got, _ := m.Lookup("process_name"); got != "smtpd" {
		t.Errorf("process_name = %q", got)
	}
	if got, _ := m.Lookup("config_directory"); got != m.Dir() {
		t.Errorf("config_directory = %q", got)
	}
}

// The directory in use counts as a setting that main.cf may override, with a warning.
func TestConfigDirectory(t *testing.T) {
	for text, want := range map[string]string{
		"config_directory = /a\n":                             "D/main.cf, line 1: overriding earlier entry: config_directory=D",
		"config_directory = /a\nx=y\nconfig_directory = /b\n": "D/main.cf, line 1: overriding earlier entry: config_directory=D|D/main.cf, line 3: overriding earlier entry: config_directory=/a",
		"": "",
	} {
		m, warnings := load(t, text)
		if got := strings.ReplaceAll(strings.Join(*warnings, "|"), m.Dir(), "D"); got != want {
			t.Errorf("%q: %s", text, got)
		}
	}
}

func TestAuthorize(t *testing.T) {
	dir := writeMain(t, "alternate_config_directories = /a, /b\nmulti_instance_directories = /c\n")
	saved := DefaultDir
	DefaultDir = dir
	defer func() { DefaultDir = saved }()
	var errs []string
	note := func(text string) { errs = append(errs, text) }
	for _, good := range []string{"/a", "/b", "/c"} {
		if err := authorize(good, note, nil); err != nil {
			t.Errorf("%s: %v", good, err)
		}
	}
	err := authorize("/d", note, nil)
	if want := `specify "alternate_config_directories = /d" or "multi_instance_directories = /d" in ` + dir + "/main.cf"; err == nil || err.Error() != want {
		t.Error(err)
	}
	if !slices.Equal(errs, []string{"unauthorized configuration directory name: /d"}) {
		t.Errorf("errors %q", errs)
	}
	DefaultDir = "/nonexistent"
	if err := authorize("/d", note, nil); err == nil || err.Error() != "open file /nonexistent/main.cf: No such file or directory" {
		t.Error(err)
	}
}

func FuzzParseSettings(f *testing.F) {
	for _, s := range []string{"a = b\n c\n#\n", " x\na\x00=b", "a=1\na=2", "=\n"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseSettings("F", text, func(string) {})
		if err != nil {
			return
		}
		m := New("/d", list, Options{})
		for _, s := range list {
			if s.Name == "" || strings.ContainsAny(s.Name, " =\n") || s.Value != trimSpace(s.Value) || strings.Contains(s.Value, "\n") {
				t.Errorf("setting %+v", s)
			}
			m.Lookup(s.Name)
		}
		m.Time(params.SmtpdTimeout)
		m.Int(params.LineLengthLimit)
		m.String(params.Mydomain)
	})
}

// Every default expands and converts to what its declaration allows, with every compatibility level.
func TestDefaults(t *testing.T) {
	for _, level := range []string{"0", "1", "2", "3.6", "3.11"} {
		m := New("/etc/postfix", []Setting{{Name: "compatibility_level", Value: level}, {Name: "mynetworks", Value: "127.0.0.1"}}, Options{Warn: func(w string) { t.Error(w) }})
		all := params.All()
		for i := range all {
			p := &all[i]
			switch {
			case p.Flags&(params.ReadOnly|params.Hidden) != 0 || p.Default == "" && p.Min > 0: // the last: must be set by who uses it
			case p.Kind == params.KindBool:
				m.Bool(params.Bool(i))
			case p.Kind == params.KindInt || p.Kind == params.KindLong || p.Kind == params.KindTime:
				m.number(p)
			case p.Kind == params.KindRaw:
				m.Raw(params.Raw(i))
			default:
				m.String(params.String(i))
			}
			if err := m.Err(); err != nil {
				t.Fatalf("level %s: %s: %v", level, p.Name, err)
			}
		}
	}
}
