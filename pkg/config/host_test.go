package config

import (
	"net/netip"
	"os"
	"slices"
	"strings"
	"testing"

	"suffix/pkg/account"
	"suffix/pkg/params"
)

func TestHostNames(t *testing.T) {
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	qualified := func(domain string) string {
		if strings.Contains(host, ".") {
			return host
		}
		return host + "." + domain
	}
	for _, c := range []struct{ text, name, domain string }{
		{"", qualified("localdomain"), strings.SplitN(qualified("localdomain"), ".", 2)[1]},
		{"mydomain = a.b\n", qualified("a.b"), "a.b"},
		{"myhostname = mail.example.com\n", "mail.example.com", "example.com"},
		{"myhostname = mail\n", "mail", "localdomain"},
		{"myhostname = abc.d.$mydomain\n", "abc.d.", "d."}, // the domain derives from the name, not the other way round
	} {
		m, _ := load(t, c.text)
		if name, domain := m.String(params.Myhostname), m.String(params.Mydomain); name != c.name || domain != c.domain {
			t.Errorf("%q: %q %q; want %q %q", c.text, name, domain, c.name, c.domain)
		}
	}
}

// Settings that refer to each other in a circle through defaults of the host
// come to an end.
func TestCircles(t *testing.T) {
	for _, text := range []string{
		"mydomain = $myhostname", "myhostname = $mydomain", "inet_interfaces = $mynetworks", "mydomain = $mynetworks\ninet_interfaces = $myhostname",
		"inet_protocols = $mynetworks", "mynetworks_style = $mydomain\nmydomain = $mynetworks",
	} {
		m, _ := load(t, text+"\n")
		m.String(params.Myhostname)
		m.String(params.Mydomain)
		m.MyNetworks()
	}
}

func TestValidHostname(t *testing.T) {
	long := strings.Repeat("a.", 130) + "a"
	for name, want := range map[string]string{
		"a_b-c.example": "", "1.2.example": "", "": "empty hostname", "a..b": "misplaced delimiter: a..b", ".a": "misplaced delimiter: .a", "a.": "misplaced delimiter: a.",
		"-a.b": "misplaced hyphen: -a.b", "a-.b": "misplaced hyphen: a-.b", "a.-b": "misplaced hyphen: a.-b", "a b": "invalid character 32(decimal): a b",
		"1.2.3.4": "numeric hostname: 1.2.3.4", long: "bad length 261 for " + long[:100] + "...",
		strings.Repeat("x", 64): "hostname label too long: " + strings.Repeat("x", 64),
	} {
		if got := ValidHostname(name); got != want {
			t.Errorf("ValidHostname(%q) = %q; want %q", name, got, want)
		}
	}
}

func TestMyorigin(t *testing.T) {
	file := t.TempDir() + "/mailname"
	if err := os.WriteFile(file, []byte(" origin.example \nmore\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	m, _ := load(t, "myorigin = "+file+"\n")
	if got := m.String(params.Myorigin); got != "origin.example" || m.Err() != nil {
		t.Errorf("myorigin = %q, %v", got, m.Err())
	}
	m, _ = load(t, "myorigin = /nonexistent/file\n")
	m.String(params.Myorigin)
	if err := m.Err(); err == nil || err.Error() != "/nonexistent/file: cannot open file: No such file or directory" {
		t.Error(err)
	}
}

func TestInterfaces(t *testing.T) {
	m, _ := load(t, "inet_protocols = ipv4\ninet_interfaces = loopback-only\nmynetworks_style = subnet\n")
	own, err := m.OwnAddresses()
	if err != nil || !slices.Contains(own, netip.MustParseAddr("127.0.0.1")) {
		t.Errorf("loopback-only: %v, %v", own, err)
	}
	if got := m.MyNetworks(); !slices.Contains(strings.Fields(got), "127.0.0.0/8") {
		t.Errorf("mynetworks = %q", got)
	}
	for _, c := range []struct{ text, networks, err string }{
		{"inet_interfaces = [127.0.0.1], 127.0.0.1\ncompatibility_level = 2", "127.0.0.1/32", ""},
		{"inet_interfaces = 127.0.0.1\nmynetworks_style=class", "127.0.0.0/8", ""},
		{"inet_interfaces = 203.0.113.77", "", "parameter inet_interfaces: no local interface found for 203.0.113.77"},
		{"inet_interfaces =", "", ""},
		{"inet_protocols =", "", ""},
		{"inet_protocols = IPv4", "", `unknown inet_protocols value "IPv4" in "IPv4"`},
		{"mynetworks_style = class, host", "", "bad mynetworks_style value: class, host; specify exactly one value"},
		{"mynetworks_style = x", "", `unknown mynetworks mask style value "x" in "x"`},
	} {
		m, _ := load(t, c.text+"\n")
		got := m.MyNetworks()
		errText := ""
		if err := m.Err(); err != nil {
			errText = err.Error()
		}
		if got != c.networks || errText != c.err {
			t.Errorf("%q: %q, %q; want %q, %q", c.text, got, errText, c.networks, c.err)
		}
	}
}

func TestNetworkOf(t *testing.T) {
	for _, c := range []struct{ prefix, style, want string }{
		{"192.0.2.9/24", "host", "192.0.2.9/32"}, {"192.0.2.9/24", "subnet", "192.0.2.0/24"}, {"172.16.1.1/30", "class", "172.16.0.0/16"},
		{"192.0.2.9/30", "class", "192.0.2.0/24"}, {"fe80::1/64", "host", "[fe80::1]/128"}, {"fd00::2/64", "class", "[fd00::]/64"},
	} {
		if got := networkOf(netip.MustParsePrefix(c.prefix), c.style); got != c.want {
			t.Errorf("%s %s: %s; want %s", c.prefix, c.style, got, c.want)
		}
	}
}

func TestCheck(t *testing.T) {
	me, err := account.LookupUID(os.Getuid())
	if err != nil {
		t.Fatal(err)
	}
	owner, group := "daemon", "mail"
	if me.UID != 0 {
		g, err := account.LookupGID(os.Getgid())
		if err != nil {
			t.Fatal(err)
		}
		owner, group = me.Name, g.Name
	}
	good := "mail_owner = " + owner + "\nsetgid_group = " + group + "\nmyhostname = mail.example.com\ninet_interfaces = 127.0.0.1\ninet_protocols = ipv4\n"
	m, warnings := load(t, good)
	if err := m.Check(); err != nil || len(*warnings) > 0 {
		t.Fatalf("good configuration: %v %q", err, *warnings)
	}
	for _, c := range []struct{ text, want, warning string }{
		{"syslog_facility = local9", "file D/main.cf: parameter syslog_facility: unrecognized value: local9", ""},
		{"myhostname = a..b", "file D/main.cf: parameter myhostname: bad parameter value: a..b", "valid_hostname: misplaced delimiter: a..b"},
		{"mail_owner = nosuchuser", "file D/main.cf: parameter mail_owner: unknown user name value: nosuchuser", ""},
		{"default_privs = root", "file D/main.cf: parameter default_privs: user root has privileged user ID", ""},
		{"setgid_group = nosuchgroup", "file D/main.cf: parameter setgid_group: unknown group name: nosuchgroup", ""},
		{"setgid_group = root", "file D/main.cf: parameter setgid_group: group root has privileged group ID", ""},
		{"default_privs = " + owner, "file D/main.cf: parameters default_privs and mail_owner specify the same user " + owner, ""},
		{"relayhost = MAIL.example.com", "myhostname and relayhost parameter settings must not be identical: mail.example.com", ""},
		{"myorigin = a, b", "myorigin parameter setting must not contain multiple values: a, b", ""},
		{"default_verp_delimiters = +a", "file D/main.cf: parameters default_verp_delimiters and verp_delimiter_filter: bad second VERP delimiter character", ""},
		{"line_length_limit = x", "bad numerical configuration: line_length_limit = x", ""},
		{"maillog_file_permissions = 0666", "", "ignoring bad permissions: maillog_file_permissions = 0666"},
		{"known_tcp_ports = a b=3", "", `known_tcp_ports: in "a b=3": whitespace in service name`},
		{"known_tcp_ports = a=0", "", `known_tcp_ports: in "a=0": port number out of range`},
		{"known_tcp_ports = a", "", `known_tcp_ports: in "a" is not in "name = value" form`},
		{"known_tcp_ports = b=1, a=", "", `known_tcp_ports: in " a=": missing port value after "="`},
		{"known_tcp_ports = =1", "", `known_tcp_ports: in "=1": missing service name before "="`},
		{"known_tcp_ports = a=1 2", "", `known_tcp_ports: in "a=1 2": whitespace in port number`},
		{"known_tcp_ports = a=1, a=1", "", `known_tcp_ports: in " a=1": duplicate service name`},
		{"mydomain = $nothing", "bad string length 0 < 1: mydomain = ", ""},
		{"myhostname = $mydomain", "bad string length 0 < 1: myhostname = ", ""},
		{"import_environment = {a", `import_environment: missing '}' in "{a"`, ""},
		{"import_environment = {a}b", `import_environment: syntax error after '}' in "{a}b"`, ""},
		{"compatibility_level = $mydomain", `malformed compatibility level syntax: ""`, ""},
		{"in_flow_delay = 11", "invalid in_flow_delay: 11 (max 10)", ""},
	} {
		name, value, _ := SplitNameValue(c.text)
		m, warnings := load(t, good, Override{name, value})
		got := ""
		if err := m.Check(); err != nil {
			got = strings.ReplaceAll(err.Error(), m.Dir(), "D")
		}
		if got != c.want {
			t.Errorf("%s: %q; want %q", c.text, got, c.want)
		}
		if c.warning != "" && !slices.Contains(*warnings, c.warning) {
			t.Errorf("%s: warnings %q; want %q", c.text, *warnings, c.warning)
		}
	}
}

// Programs check the kinds one after the other, and some parameters first.
func TestCheckOrder(t *testing.T) {
	bad := []string{
		"compatibility_level = x|malformed compatibility level syntax: \"x\"",
		"postlog_service_name =|bad string length 0 < 1: postlog_service_name = ",
		"known_tcp_ports = ${|dictionary mail_dict: macro processing error",
		"smtputf8_enable = x|bad boolean configuration: smtputf8_enable = x",
		"inet_protocols = x|unknown inet_protocols value \"x\" in \"x\"",
		"mydomain =|bad string length 0 < 1: mydomain = ",
		"myhostname = a..b|file D/main.cf: parameter myhostname: bad parameter value: a..b",
		"mail_name =|bad string length 0 < 1: mail_name = ",
		"line_length_limit = x|bad numerical configuration: line_length_limit = x",
		"message_size_limit = x|bad numerical configuration: message_size_limit = x",
		"soft_bounce = x|bad boolean configuration: soft_bounce = x",
		"max_idle = x|parameter max_idle: bad time value or unit: x",
		"mail_owner = nosuchuser|file D/main.cf: parameter mail_owner: unknown user name value: nosuchuser",
		"mynetworks_style = x|unknown mynetworks mask style value \"x\" in \"x\"",
		"default_verp_delimiters = ab|file D/main.cf: parameters default_verp_delimiters and verp_delimiter_filter: bad first VERP delimiter character",
	}
	for i := range bad {
		var overrides []Override
		for _, c := range bad[i:] {
			setting, _, _ := strings.Cut(c, "|")
			name, value, _ := SplitNameValue(setting)
			overrides = append(overrides, Override{name, value})
		}
		m, _ := load(t, "", overrides...)
		_, want, _ := strings.Cut(bad[i], "|")
		if err := m.Check(); err == nil || strings.ReplaceAll(err.Error(), m.Dir(), "D") != want {
			t.Errorf("%v; want %s", err, want)
		}
	}
}

func TestKnownTCPPorts(t *testing.T) {
	m, _ := load(t, "")
	ports := m.KnownTCPPorts()
	for name, port := range map[string]uint16{"smtp": 25, "submissions": 465, "smtps": 465, "submission": 587, "lmtp": 24} {
		if ports[name] != port {
			t.Errorf("%s = %d", name, ports[name])
		}
	}
}
