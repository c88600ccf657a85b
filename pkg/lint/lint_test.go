package lint

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/params"
)

// daemonDir has a file for each daemon; tests without files of their own in
// DIR/libexec see it there.
var daemonDir string

func TestMain(m *testing.M) {
	os.Exit(runTests(m))
}

func runTests(m *testing.M) int {
	dir, err := os.MkdirTemp("", "lint")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(dir)
	for _, p := range programs {
		if err := os.WriteFile(filepath.Join(dir, p.name), []byte("#!\n"), 0o755); err != nil {
			panic(err)
		}
	}
	daemonDir = dir
	return m.Run()
}

// base is a main.cf about which there is nothing to say; DIR is its directory.
const base = `compatibility_level = 3.11
myhostname = mail.example.com
mydestination = $myhostname, localhost
mynetworks = 127.0.0.0/8, [::1]/128
alias_maps = texthash:DIR/aliases
smtpd_tls_security_level = none
smtp_tls_security_level = may
daemon_directory = DIR/libexec
`

// A setup is what a test looks at: settings after those of base, which replace
// them, more services, and files. DIR stands for the directory.
type setup struct {
	main, master string
	files        map[string]string
	modes        map[string]fs.FileMode
	noBase       bool
	prepare      func(t *testing.T, dir string)
}

func (s setup) run(t *testing.T) (*Report, string) {
	t.Helper()
	dir := t.TempDir()
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		mode, set := s.modes[name]
		if !set {
			mode = 0o644
		}
		if err := os.WriteFile(path, []byte(strings.ReplaceAll(text, "DIR", dir)), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
	}
	text := s.main
	if !s.noBase {
		var kept []string
		for line := range strings.SplitSeq(base, "\n") {
			name, _, _ := strings.Cut(line, " =")
			if line != "" && !strings.Contains("\n"+s.main, "\n"+name+" =") {
				kept = append(kept, line)
			}
		}
		text = strings.Join(kept, "\n") + "\n" + s.main
	}
	master, err := os.ReadFile("../../conf/master.cf")
	if err != nil {
		t.Fatal(err)
	}
	write("main.cf", text)
	write("master.cf", string(master)+s.master)
	if _, ok := s.files["aliases"]; !ok {
		write("aliases", "root: admin\n")
	}
	for name, text := range s.files {
		write(name, text)
	}
	if _, err := os.Stat(filepath.Join(dir, "libexec")); err != nil {
		if err := os.Symlink(daemonDir, filepath.Join(dir, "libexec")); err != nil {
			t.Fatal(err)
		}
	}
	if s.prepare != nil {
		s.prepare(t, dir)
	}
	report, err := Run(Options{Dir: dir, Instead: func(name string) string {
		if name == "smtpd_use_tls" || name == "virtual_maps" || name == "gone_parameter" {
			return "specify something else"
		}
		return ""
	}})
	if err != nil {
		t.Fatal(err)
	}
	return report, dir
}

// about lists the findings of a rule. What depends on the accounts and
// directories of the machine is left out unless it is asked for.
func about(r *Report, rule string) (list []Finding) {
	for _, f := range r.Findings {
		if f.Rule == rule {
			list = append(list, f)
		}
	}
	return list
}

// ofMachine are the rules about the machine on which the test runs.
var ofMachine = []string{"start", "owner", "directory", "missing"}

func TestRules(t *testing.T) {
	for _, test := range []struct {
		name string
		rule string
		sev  Severity
		bad  setup
		says string // part of the text
		at   string // part of where
		good setup
	}{
		{name: "line that continues nothing", rule: "line", sev: Advice, bad: setup{main: "  mydomain = x\n" + base, noBase: true}, says: "must not start with whitespace"},
		{name: "duplicate", rule: "duplicate", sev: Advice, bad: setup{main: "biff = yes\nbiff = no\n"}, says: "The later setting wins, \"no\"", at: "main.cf, line 10", good: setup{main: "biff = no\n"}},
		{name: "duplicate same value", rule: "duplicate", sev: Advice, bad: setup{main: "biff = no\nbiff = no\n"}, says: "to the same value in line 9"},
		{name: "misspelt", rule: "unused", sev: Advice, bad: setup{main: "mynetwork = 127.0.0.0/8\n"}, says: "Perhaps mynetworks is meant", at: "line 9", good: setup{main: "my_own = 10.0.0.0/8\nproxy_interfaces = ${my_own}\n"}},
		{name: "misspelt in a service", rule: "unused", sev: Advice, bad: setup{master: "2525 inet n - n - - smtpd -o smtpd_client_restriction=reject\n"}, says: "smtpd_client_restrictions", at: "service 2525/inet"},
		{name: "settings of a table", rule: "unused", sev: Advice, bad: setup{main: "accounts_hosts = localhost\n"}, good: setup{main: "accounts_hosts = localhost\ntransport_maps = proxy:mysql:accounts\n"}},
		{name: "removed", rule: "removed", sev: Advice, bad: setup{main: "gone_parameter = yes\n"}, says: "specify something else"},
		{name: "deprecated", rule: "deprecated", sev: Advice, bad: setup{main: "smtpd_use_tls = no\n"}, says: "on its way out"},
		{name: "read-only", rule: "read-only", sev: Advice, bad: setup{main: "process_name = x\n"}},
		{name: "transport without service", rule: "unknown-transport", sev: Advice, bad: setup{main: "smpt_destination_rate_delay = 1s\n"}, says: "Perhaps smtp is meant", good: setup{main: "smtp_destination_rate_delay = 1s\n"}},
		{name: "boolean", rule: "value", sev: Serious, bad: setup{main: "biff = true\n"}, says: "bad boolean configuration: biff = true", good: setup{main: "biff = YES\n"}},
		{name: "number", rule: "value", sev: Serious, bad: setup{main: "message_size_limit = 10M\n"}, says: "bad numerical configuration"},
		{name: "range", rule: "value", sev: Serious, bad: setup{main: "default_process_limit = 0\n"}, says: "invalid default_process_limit parameter value 0 < 1"},
		{name: "time", rule: "value", sev: Serious, bad: setup{main: "smtp_connect_timeout = 5 s\n"}, says: "bad time value or unit", good: setup{main: "smtp_connect_timeout = 5m\n"}},
		{name: "time of a transport", rule: "value", sev: Serious, bad: setup{main: "smtp_destination_rate_delay = 1y\n"}, says: "smtp_destination_rate_delay"},
		{name: "comment after a value", rule: "value", sev: Serious, bad: setup{main: "biff = no # never\n"}, says: "A comment cannot follow a value"},
		{name: "value of a service", rule: "value", sev: Serious, bad: setup{master: "2525 inet n - n - - smtpd -o smtpd_sasl_auth_enable=on\n"}, at: "service 2525/inet"},
		{name: "level", rule: "value", sev: Serious, bad: setup{main: "compatibility_level = new\n"}, says: "malformed compatibility level syntax"},
		{name: "word", rule: "choice", sev: Serious, bad: setup{main: "smtpd_tls_security_level = maybe\n"}, says: "none, may, encrypt", good: setup{main: "notify_classes = resource, bounce\n"}},
		{name: "word of a list", rule: "choice", sev: Serious, bad: setup{main: "notify_classes = resource, bounces\n"}, says: "\"bounces\""},
		{name: "expansion", rule: "expansion", sev: Serious, bad: setup{main: "mydomain = ${myhostname\n"}, says: "truncated macro reference", good: setup{main: "mydomain = ${myhostname}\n"}},
		{name: "circle", rule: "expansion", sev: Serious, bad: setup{main: "myorigin = $relayhost\nrelayhost = $myorigin\n"}, says: "nesting"},
		{name: "undefined", rule: "undefined", sev: Advice, bad: setup{main: "relay_domains = $mydestnation\n"}, says: "Perhaps mydestination is meant", good: setup{main: "relay_domains = ${mine?$mine}\n"}},

		{name: "no guard", rule: "relay", sev: Serious, bad: setup{main: "smtpd_relay_restrictions = permit_mynetworks\n"}, says: "open relay", at: "line 9", good: setup{main: "smtpd_relay_restrictions =\nsmtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination\n"}},
		{name: "guard that only warns", rule: "relay", sev: Serious, bad: setup{main: "smtpd_relay_restrictions = permit_mynetworks, warn_if_reject, reject_unauth_destination\n"}},
		{name: "guard behind permit", rule: "relay", sev: Serious, bad: setup{main: "smtpd_relay_restrictions = permit_mynetworks permit reject_unauth_destination\n"}},
		{name: "guard in a class", rule: "relay", bad: setup{main: "smtpd_restriction_classes = mine\nmine = permit\nsmtpd_relay_restrictions = mine\n"}, sev: Serious, good: setup{main: "smtpd_restriction_classes = mine\nmine = reject_unauth_destination\nsmtpd_relay_restrictions = mine\n"}},
		{name: "service without guard", rule: "relay", sev: Serious, bad: setup{master: "2525 inet n - n - - smtpd -o smtpd_relay_restrictions=permit_sasl_authenticated\n"}, at: "service 2525/inet", good: setup{master: "2525 inet n - n - - smtpd -o smtpd_relay_restrictions=permit_sasl_authenticated,reject\n"}},
		{name: "list of others", rule: "relay", sev: Serious, bad: setup{main: "smtpd_relay_restrictions = permit_dnswl_client list.example.org, reject_unauth_destination\n"}, says: "permit_dnswl_client", good: setup{main: "smtpd_relay_restrictions = reject_unauth_destination, permit_dnswl_client list.example.org\n"}},
		{name: "everybody", rule: "relay", sev: Serious, bad: setup{main: "smtpd_relay_restrictions = check_client_access static:OK, reject_unauth_destination\n"}, says: "everybody"},
		{name: "forged name", rule: "relay", sev: Advice, bad: setup{main: "smtpd_relay_restrictions = check_sender_access texthash:DIR/aliases, reject_unauth_destination\n"}, says: "DUNNO", good: setup{main: "smtpd_recipient_restrictions = check_sender_access texthash:DIR/aliases, reject_unauth_destination\n"}},
		{name: "restriction", rule: "restriction", sev: Serious, bad: setup{main: "smtpd_client_restrictions = reject_unknown_cilent_hostname\n"}, says: "reject_unknown_client_hostname is meant", good: setup{main: "smtpd_client_restrictions = reject_rbl_client dnsbl.example.org, check_policy_service unix:private/policy\n"}},
		{name: "restriction that is gone", rule: "restriction", sev: Serious, bad: setup{main: "smtpd_recipient_restrictions = check_relay_domains\n"}, says: "does not exist any more"},
		{name: "no table", rule: "restriction", sev: Serious, bad: setup{main: "smtpd_sender_restrictions = check_sender_access, reject_unknown_sender_domain\n"}, says: "needs a table"},
		{name: "no server", rule: "restriction", sev: Serious, bad: setup{main: "smtpd_sender_restrictions = check_policy_service\n"}, says: "needs a server"},
		{name: "never reached", rule: "unreachable", sev: Advice, bad: setup{main: "smtpd_client_restrictions = permit_mynetworks, reject, permit_sasl_authenticated\n"}, says: "permit_sasl_authenticated", good: setup{main: "smtpd_client_restrictions = warn_if_reject, reject, permit_sasl_authenticated\n"}},
		{name: "class without definition", rule: "class", sev: Serious, bad: setup{main: "smtpd_restriction_classes = greylist\nsmtpd_client_restrictions = greylist\n"}, says: "greylist", good: setup{main: "smtpd_restriction_classes = greylist\ngreylist = reject\nsmtpd_client_restrictions = greylist\n"}},
		{name: "class without use", rule: "class", sev: Advice, bad: setup{main: "smtpd_restriction_classes = greylist\ngreylist = reject\n"}, says: "no list"},
		{name: "no helo", rule: "helo", sev: Advice, bad: setup{main: "smtpd_helo_restrictions = reject_invalid_helo_hostname\n"}, good: setup{main: "smtpd_helo_required = yes\nsmtpd_helo_restrictions = reject_invalid_helo_hostname\n"}},
		{name: "login maps", rule: "login-maps", sev: Advice, bad: setup{main: "smtpd_sender_login_maps = static:me\n"}, good: setup{main: "smtpd_sender_login_maps = static:me\nsmtpd_sender_restrictions = reject_sender_login_mismatch\n"}},
		{name: "client certificates", rule: "ccert", sev: Advice, bad: setup{main: "smtpd_relay_restrictions = permit_tls_clientcerts, reject_unauth_destination\n"}, good: setup{main: "smtpd_tls_ask_ccert = yes\nsmtpd_relay_restrictions = permit_tls_clientcerts, reject_unauth_destination\n"}},

		{name: "everybody is trusted", rule: "networks", sev: Serious, bad: setup{main: "mynetworks = 127.0.0.0/8 0.0.0.0/0\n"}, says: "0.0.0.0/0", good: setup{main: "mynetworks = 10.0.0.0/8 192.168.0.0/16 172.16.0.0/12 [fd00::]/8 [::ffff:127.0.0.0]/104 198.51.100.0/24 !192.168.1.1 /etc/networks\n"}},
		{name: "everybody is trusted IPv6", rule: "networks", sev: Serious, bad: setup{main: "mynetworks = [::]/0\n"}},
		{name: "large network", rule: "networks", sev: Advice, bad: setup{main: "mynetworks = 198.0.0.0/8\n"}, says: "large public network"},
		{name: "host bits", rule: "networks", sev: Serious, bad: setup{main: "mynetworks = 192.168.1.1/24\n"}, says: "192.168.1.0/24"},
		{name: "static network", rule: "networks", sev: Serious, bad: setup{main: "mynetworks = static:all\n"}},
		{name: "network of a service", rule: "networks", sev: Serious, bad: setup{master: "2525 inet n - n - - smtpd -o mynetworks=0.0.0.0/0\n"}, at: "2525/inet"},
		{name: "xclient", rule: "networks", sev: Serious, bad: setup{main: "smtpd_authorized_xclient_hosts = 0.0.0.0/0\n"}, says: "pretend"},
		{name: "comment", rule: "comment", sev: Serious, bad: setup{main: "mynetworks = 127.0.0.0/8 # me\n"}},
		{name: "class of networks", rule: "networks-style", sev: Serious, bad: setup{main: strings.Replace(base, "mynetworks =", "mynetworks_style = class\n#", 1), noBase: true}},
		{name: "style without effect", rule: "networks-style", sev: Advice, bad: setup{main: "mynetworks_style = subnet\n"}},

		{name: "table type", rule: "table-type", sev: Serious, bad: setup{main: "transport_maps = hahs:/etc/postfix/transport\n"}, says: "Perhaps hash is meant", good: setup{main: "transport_maps = inline:{x=smtp:}\n"}},
		{name: "table type that is refused", rule: "table-type", sev: Serious, bad: setup{main: "transport_maps = dbm:mail\n"}, says: "not supported"},
		{name: "NIS", rule: "table-type", sev: Advice, bad: setup{main: "alias_maps = texthash:DIR/aliases, nis:mail.aliases\n"}, says: "no NIS"},
		{name: "database without proxymap", rule: "service-missing", sev: Serious, bad: setup{main: "proxymap_service_name = x\ntransport_maps = mysql:/x\n"}, says: "tables of databases", good: setup{main: "proxymap_service_name = x\ntransport_maps = texthash:/x\n"}},
		{name: "IPv6 address without brackets", rule: "table-type", sev: Serious, bad: setup{main: "relay_domains = fe80::1\n"}, says: "brackets"},
		{name: "no table at all", rule: "table", sev: Serious, bad: setup{main: "transport_maps = /etc/postfix/transport\n"}, says: "type:name"},
		{name: "braces", rule: "table", sev: Serious, bad: setup{main: "transport_maps = pipemap:{static:x\n"}},
		{name: "server of a table", rule: "table", sev: Serious, bad: setup{main: "transport_maps = socketmap:inet:127.0.0.1:99\n"}, good: setup{main: "transport_maps = socketmap:inet:127.0.0.1:99:x tcp:127.0.0.1:99\n"}},
		{name: "index for patterns", rule: "table", sev: Advice, bad: setup{main: "header_checks = texthash:DIR/aliases\n"}, says: "regexp or pcre"},
		{name: "missing index", rule: "table-missing", sev: Serious, bad: setup{main: "transport_maps = hash:DIR/transport\n", files: map[string]string{"transport": "x smtp:\n"}}, says: "postmap hash:", good: setup{main: "transport_maps = texthash:DIR/transport\n", files: map[string]string{"transport": "x smtp:\n"}}},
		{name: "missing pebble table", rule: "table-missing", sev: Serious, bad: setup{main: "transport_maps = pebble:DIR/transport\n"}, says: "transport.sst"},
		{name: "missing alias table", rule: "table-missing", sev: Serious, bad: setup{main: "alias_database = hash:DIR/none\nlocal_recipient_maps = $alias_maps\nalias_maps = hash:DIR/none\n"}, says: "alias_maps names"},
		{name: "missing file", rule: "table-missing", sev: Serious, bad: setup{main: "transport_maps = unionmap:{static:x,proxy:regexp:DIR/nothing}\n"}, says: "nothing"},
		{name: "missing file in a restriction", rule: "table-missing", sev: Serious, bad: setup{master: "2525 inet n - n - - smtpd -o { smtpd_client_restrictions = check_client_access cidr:DIR/clients }\n"}, at: "2525/inet"},
		{name: "missing by default", rule: "table-missing", sev: Advice, bad: setup{main: strings.Replace(base, "alias_maps =", "default_database_type = lmdb\n#", 1), noBase: true, prepare: func(t *testing.T, _ string) {
			if _, err := os.Stat("/etc/aliases.lmdb"); err == nil {
				t.Fatal("this machine has /etc/aliases.lmdb")
			}
		}}, says: "by default"},
		{name: "broken index", rule: "table-broken", sev: Serious, bad: setup{main: "transport_maps = hash:DIR/transport\n", files: map[string]string{"transport.db": "this is no database"}}, says: "damaged"},
		{name: "empty index", rule: "table-broken", sev: Serious, bad: setup{main: "transport_maps = cdb:DIR/transport\n", files: map[string]string{"transport.cdb": ""}}, says: "empty"},
		{name: "stale index", rule: "table-stale", sev: Advice, bad: setup{main: "transport_maps = cdb:DIR/transport\n", files: map[string]string{"transport.cdb": "x", "transport": "x smtp:\n"}, prepare: func(t *testing.T, dir string) {
			old := time.Now().Add(-time.Hour)
			if err := os.Chtimes(filepath.Join(dir, "transport.cdb"), old, old); err != nil {
				t.Fatal(err)
			}
		}}, says: "have no effect yet", good: setup{main: "transport_maps = cdb:DIR/transport\n", files: map[string]string{"transport.cdb": "x", "transport": "x smtp:\n"}}},
		{name: "relative path", rule: "table-path", sev: Advice, bad: setup{main: "transport_maps = texthash:transport\n"}, says: "relative"},
		{name: "writable", rule: "writable", sev: Serious, bad: setup{main: "transport_maps = texthash:DIR/transport\n", files: map[string]string{"transport": "x smtp:\n"}, modes: map[string]fs.FileMode{"transport": 0o666}}, says: "chmod o-w"},
		{name: "password", rule: "secret", sev: Serious, bad: setup{main: "smtp_sasl_password_maps = texthash:DIR/pass\n", files: map[string]string{"pass": "x u:p\n"}}, says: "chmod o-r", good: setup{main: "smtp_sasl_password_maps = texthash:DIR/pass\n", files: map[string]string{"pass": "x u:p\n"}, modes: map[string]fs.FileMode{"pass": 0o600}}},
		{name: "password of a client", rule: "secret", sev: Serious, bad: setup{main: "transport_maps = mysql:DIR/my.cf\n", files: map[string]string{"my.cf": "user = u\npassword = p\n"}}, says: "my.cf", good: setup{main: "transport_maps = sqlite:DIR/my.cf\n", files: map[string]string{"my.cf": "dbpath = /x\n"}}},
		{name: "password in main.cf", rule: "secret", sev: Serious, bad: setup{main: "transport_maps = mysql:acc\nacc_password = p\n"}, says: "acc_password"},
		{name: "file of a list", rule: "list-file", sev: Serious, bad: setup{main: "relay_domains = DIR/domains\n"}, says: "does not exist", good: setup{main: "relay_domains = DIR/domains\n", files: map[string]string{"domains": "example.org\n"}}},
		{name: "rule of a cidr table", rule: "table-line", sev: Advice, bad: setup{main: "smtpd_client_restrictions = check_client_access cidr:DIR/c\n", files: map[string]string{"c": "if !10.0.0.0/8\n192.0.2.1/24 REJECT\nendif\n"}}, says: "line 2", good: setup{main: "smtpd_client_restrictions = check_client_access cidr:DIR/c\n", files: map[string]string{"c": "if !10.0.0.0/8\n!192.0.2.0/24 REJECT\n2001:db8::/32 OK\nendif\n"}}},
		{name: "query", rule: "query", sev: Serious, bad: setup{main: "transport_maps = mysql:DIR/q\n", files: map[string]string{"q": "dbname = d\nquery = SELECT a FROM b WHERE c = %s\n"}}, says: "line 2, %s stands outside of quotes", good: setup{main: "transport_maps = mysql:DIR/q\n", files: map[string]string{"q": "dbname = d\nquery = SELECT a FROM b WHERE c = '%s' AND d LIKE '%%x'\n"}}},
		{name: "filter", rule: "query", sev: Serious, bad: setup{main: "transport_maps = mongodb:DIR/q\n", files: map[string]string{"q": "query_filter = {\"a\": %u}\n"}}, says: "Write \"%u\"", good: setup{main: "transport_maps = mongodb:DIR/q\n", files: map[string]string{"q": "query_filter = {\"a\": \"%u\"}\n"}}},
		{name: "settings of a client", rule: "table-client", sev: Serious, bad: setup{main: "transport_maps = mysql:DIR/q\n", files: map[string]string{"q": "junk\n"}}, says: "missing '='"},
		{name: "bounce templates", rule: "file", sev: Advice, bad: setup{main: "bounce_template_file = DIR/none\n"}},
		{name: "instances", rule: "file", sev: Serious, bad: setup{main: "multi_instance_directories = DIR/none\n"}},
		{name: "log file", rule: "file", sev: Serious, bad: setup{main: "maillog_file = /tmp/mail.log\n"}, says: "maillog_file_prefixes", good: setup{main: "maillog_file = /var/log/mail.log\n"}},
		{name: "banner", rule: "banner", sev: Advice, bad: setup{main: "smtpd_banner = ESMTP\n"}, good: setup{main: "smtpd_banner = $myhostname ESMTP\n"}},
		{name: "unlisted", rule: "backscatter", sev: Advice, bad: setup{main: "smtpd_reject_unlisted_recipient = no\n"}},
		{name: "milter", rule: "milter", sev: Serious, bad: setup{main: "smtpd_milters = localhost:8891\n"}, good: setup{main: "smtpd_milters = inet:localhost:8891, { unix:/run/x, connect_timeout=1s }\n"}},
		{name: "mail owner", rule: "start", sev: Serious, bad: setup{main: "mail_owner = no-such-user\n"}, says: "unknown user name value"},
		{name: "data directory", rule: "owner", sev: Serious, bad: setup{main: "mail_owner = nobody\ndata_directory = DIR/data\n", files: map[string]string{"data/x": ""}}, says: "must belong to nobody"},
		{name: "proxymap", rule: "proxy", sev: Serious, bad: setup{main: "mail_owner = nobody\ntransport_maps = proxy:texthash:DIR/t\n", files: map[string]string{"t": "x smtp:\n"}, modes: map[string]fs.FileMode{"t": 0o600}}, says: "chgrp", good: setup{main: "mail_owner = nobody\ntransport_maps = proxy:texthash:DIR/t\n", files: map[string]string{"t": "x smtp:\n"}}},
		{name: "cache without directory", rule: "cache", sev: Serious, bad: setup{main: "address_verify_map = btree:DIR/none/cache\n"}, says: "does not exist"},

		{name: "unknown program", rule: "program", sev: Serious, bad: setup{master: "2525 inet n - n - - smptd\n"}, says: "Perhaps smtpd is meant"},
		{name: "program cannot run", rule: "program", sev: Serious, bad: setup{master: "mine unix - n n - - mine\n", files: map[string]string{"libexec/mine": "#!\n"}}, says: "cannot be executed"},
		{name: "root", rule: "privileges", sev: Serious, bad: setup{master: "mine unix - - n - - pipe argv=x\n"}, says: "needs the rights of root", good: setup{master: "mine unix - n n - - pipe argv=x\n"}},
		{name: "needless root", rule: "privileges", sev: Advice, bad: setup{master: "2525 inet n n n - - smtpd\n"}, says: "runs as root"},
		{name: "jail", rule: "chroot", sev: Serious, bad: setup{master: "mine unix - n y - - pipe argv=x\n"}},
		{name: "limit of one", rule: "process-limit", sev: Serious, bad: setup{master: "mine unix - - n - 5 verify\n"}, says: "is 1"},
		{name: "no limit", rule: "process-limit", sev: Serious, bad: setup{master: "mine unix - - n - - cleanup\n"}, says: "is 0"},
		{name: "never woken up", rule: "wakeup", sev: Serious, bad: setup{master: "pickup unix n - n - 1 pickup\n"}, says: "stays in the queue"},
		{name: "hidden", rule: "private", sev: Serious, bad: setup{master: "showq unix - - n - - showq\n"}},
		{name: "open", rule: "private", sev: Advice, bad: setup{master: "mine unix n n n - - local\n"}},
		{name: "type of service", rule: "service-type", sev: Serious, bad: setup{master: "2526 inet n - n - 1 qmgr\n"}},
		{name: "option with blanks", rule: "arguments", sev: Serious, bad: setup{master: "2525 inet n - n - - smtpd -o syslog_name = x\n"}, says: "no name=value", good: setup{master: "2525 inet n - n - - smtpd -o { syslog_name = x } -v\n"}},
		{name: "comment after options", rule: "arguments", sev: Serious, bad: setup{master: "2525 inet n - n - - smtpd # mine\n"}, says: "line of its own"},
		{name: "unknown port", rule: "port", sev: Serious, bad: setup{master: "nonesuch inet n - n - - smtpd\n"}, says: "nonesuch", good: setup{master: "2525 inet n - n - - smtpd\n"}},
		{name: "no such port", rule: "port", sev: Serious, bad: setup{master: "70000 inet n - n - - smtpd\n"}},
		{name: "foreign address", rule: "port", sev: Serious, bad: setup{master: "192.0.2.77:2525 inet n - n - - smtpd\n"}, says: "192.0.2.77", good: setup{master: "127.0.0.1:2525 inet n - n - - smtpd\n"}},
		{name: "twice", rule: "duplicate", sev: Advice, bad: setup{master: "25 inet n - n - - smtpd\n"}, says: "the same service"},
		{name: "syntax of master.cf", rule: "master-syntax", sev: Serious, bad: setup{master: "2525 inet n\n"}, says: "missing \"unprivileged\" field"},

		{name: "transport", rule: "transport", sev: Serious, bad: setup{main: "mailbox_transport = lmpt:unix:/x\n"}, says: "Perhaps lmtp is meant", good: setup{main: "mailbox_transport = lmtp:unix:/x\n"}},
		{name: "transport of type inet", rule: "transport", sev: Serious, bad: setup{main: "content_filter = 2525:x\n", master: "2525 inet n - n - - smtpd -o content_filter=\n"}, says: "type inet"},
		{name: "transport in a table", rule: "transport", sev: Serious, bad: setup{main: "transport_maps = texthash:DIR/transport\n", files: map[string]string{"transport": "a.example smtp:[x]\nb.example  uucp:x\n"}}, says: "entry b.example", good: setup{main: "transport_maps = texthash:DIR/transport\n", files: map[string]string{"transport": "a.example smtp:[x]\nb.example :[x]\n"}}},
		{name: "transport without colon", rule: "transport", sev: Serious, bad: setup{main: "default_transport = [mail.example.org]\n"}, says: "transport:nexthop"},
		{name: "missing service", rule: "service-missing", sev: Serious, bad: setup{main: "rewrite_service_name = rewrit\n"}, says: "Perhaps rewrite is meant", good: setup{main: "rewrite_service_name = mine\n", master: "mine unix - - n - - trivial-rewrite\n"}},
		{name: "missing helper", rule: "service-missing", sev: Serious, bad: setup{main: "address_verify_service_name = x\nsmtpd_recipient_restrictions = reject_unverified_recipient\n"}, says: "reject_unverified", good: setup{main: "address_verify_service_name = x\n"}},
		{name: "filter goes round", rule: "filter-loop", sev: Advice, bad: setup{main: "content_filter = smtp:[127.0.0.1]:10024\n"}, good: setup{main: "content_filter = smtp:[127.0.0.1]:10024\n", master: "127.0.0.1:10025 inet n - n - - smtpd -o content_filter=\n"}},
		{name: "postscreen beside smtpd", rule: "postscreen", sev: Serious, bad: setup{master: "25 inet n - n - 1 postscreen\n"}},

		{name: "short name", rule: "hostname", sev: Advice, bad: setup{main: "myhostname = mail\n"}, says: "without a domain"},
		{name: "unknown name", rule: "hostname", sev: Advice, bad: setup{main: "myhostname = mail.localdomain\n"}},
		{name: "wrong name", rule: "value", sev: Serious, bad: setup{main: "myhostname = -mail-\n"}, says: "hyphen"},
		{name: "relay to itself", rule: "relayhost", sev: Serious, bad: setup{main: "relayhost = [localhost]\n"}, says: "circles", good: setup{main: "relayhost = [gateway.example.org]:587\n"}},
		{name: "several relays", rule: "relayhost", sev: Serious, bad: setup{main: "relayhost = a.example.org, b.example.org\n"}, says: "not a list"},
		{name: "several origins", rule: "origin", sev: Serious, bad: setup{main: "myorigin = a.example, b.example\n"}},
		{name: "short origin", rule: "origin", sev: Advice, bad: setup{main: "myorigin = here\n"}, good: setup{main: "myorigin = DIR/mailname\n", files: map[string]string{"mailname": "example.com\n"}}},
		{name: "origin file", rule: "value", sev: Serious, bad: setup{main: "myorigin = DIR/mailname\n"}, says: "cannot open file"},
		{name: "no interfaces", rule: "interfaces", sev: Serious, bad: setup{main: "inet_interfaces =\n"}, at: "master.cf"},
		{name: "interfaces", rule: "interfaces", sev: Serious, bad: setup{main: "inet_interfaces = ALL\n"}, says: "small letters"},

		{name: "domain twice", rule: "domain-twice", sev: Serious, bad: setup{main: "virtual_alias_domains = Mail.example.com\n"}, says: "mydestination", good: setup{main: "virtual_alias_domains = example.org\n"}},
		{name: "domain twice table", rule: "domain-twice", sev: Serious, bad: setup{main: "virtual_mailbox_domains = example.org\nvirtual_alias_maps = texthash:DIR/v\n", files: map[string]string{"v": "example.org x\na@example.org b\n"}}, says: "virtual_alias_domains"},
		{name: "every domain", rule: "domain-wildcard", sev: Serious, bad: setup{main: "relay_domains = static:ok\n"}},
		{name: "top-level domain", rule: "domain-wildcard", sev: Serious, bad: setup{main: "relay_domains = com\n"}},
		{name: "star", rule: "domain-wildcard", sev: Advice, bad: setup{main: "relay_domains = *.example.org\n"}, says: "matches nothing"},
		{name: "unknown recipients", rule: "backscatter", sev: Advice, bad: setup{main: "relay_domains = example.org\n"}, says: "relay_recipient_maps", good: setup{main: "relay_domains = example.org\nrelay_recipient_maps = texthash:DIR/aliases\n"}},
		{name: "unknown local recipients", rule: "backscatter", sev: Advice, bad: setup{main: "local_recipient_maps =\n"}},
		{name: "luser_relay", rule: "luser-relay", sev: Advice, bad: setup{main: "luser_relay = admin\n"}, good: setup{main: "luser_relay = admin\nlocal_recipient_maps =\n"}},

		{name: "no certificate", rule: "tls-certificate", sev: Advice, bad: setup{main: "smtpd_tls_security_level = may\n"}, says: "no certificate"},
		{name: "no certificate needed", rule: "tls-certificate", sev: Serious, bad: setup{master: "465 inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n"}, at: "465/inet"},
		{name: "port 465", rule: "wrappermode", sev: Serious, bad: setup{master: "465 inet n - n - - smtpd\n"}, says: "first byte"},
		{name: "port 587", rule: "wrappermode", sev: Serious, bad: setup{master: "587 inet n - n - - smtpd -o smtpd_tls_wrappermode=yes\n"}},
		{name: "relay at 465", rule: "wrappermode", sev: Serious, bad: setup{main: "relayhost = [a.example.org]:465\n"}, good: setup{main: "relayhost = [a.example.org]:465\nsmtp_tls_wrappermode = yes\nsmtp_tls_security_level = encrypt\n"}},
		{name: "relay at 587", rule: "wrappermode", sev: Serious, bad: setup{main: "relayhost = [a.example.org]:587\nsmtp_tls_wrappermode = yes\nsmtp_tls_security_level = encrypt\n"}},
		{name: "certificate missing", rule: "tls-file", sev: Serious, bad: setup{main: "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = DIR/none.pem\n"}, says: "does not exist"},
		{name: "no PEM", rule: "tls-file", sev: Serious, bad: setup{main: "smtpd_tls_security_level = may\nsmtpd_tls_cert_file = DIR/main.cf\n"}, says: "PEM"},
		{name: "key without certificate", rule: "tls-file", sev: Serious, bad: setup{main: "smtpd_tls_security_level = may\nsmtpd_tls_key_file = DIR/key.pem\n"}, says: "smtpd_tls_cert_file"},
		{name: "encrypted key", rule: "tls-file", sev: Serious, bad: setup{main: "smtp_tls_cert_file = DIR/k.pem\n", files: map[string]string{"k.pem": "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMAAA\n-----END ENCRYPTED PRIVATE KEY-----\n"}, modes: map[string]fs.FileMode{"k.pem": 0o600}}, says: "password"},
		{name: "no authorities", rule: "tls-level", sev: Serious, bad: setup{main: "smtp_tls_security_level = verify\nrelayhost = [a.example.org]\n"}, says: "no certificate authority", good: setup{main: "smtp_tls_security_level = encrypt\nrelayhost = [a.example.org]\n"}},
		{name: "dane", rule: "tls-level", sev: Advice, bad: setup{main: "smtp_tls_security_level = dane\n"}, says: "dnssec", good: setup{main: "smtp_tls_security_level = dane\nsmtp_dns_support_level = dnssec\n"}},
		{name: "authorities missing", rule: "tls-file", sev: Serious, bad: setup{main: "smtp_tls_CAfile = DIR/none.pem\n"}},
		{name: "everybody must", rule: "tls-level", sev: Advice, bad: setup{main: "smtp_tls_security_level = encrypt\n"}, says: "all destinations"},

		{name: "clear passwords", rule: "sasl", sev: Advice, bad: setup{main: "smtpd_sasl_auth_enable = yes\n"}, says: "smtpd_tls_auth_only", good: setup{main: "smtpd_sasl_auth_enable = yes\nsmtpd_tls_auth_only = yes\n"}},
		{name: "clear passwords of a service", rule: "sasl", sev: Advice, bad: setup{main: "smtpd_sasl_auth_enable = yes\nsmtpd_tls_auth_only = yes\n", master: "2525 inet n - n - - smtpd -o smtpd_tls_auth_only=no\n"}, at: "2525/inet"},
		{name: "login without use", rule: "sasl", sev: Advice, bad: setup{main: "smtpd_sasl_auth_enable = yes\nsmtpd_tls_auth_only = yes\nsmtpd_relay_restrictions = permit_mynetworks, reject_unauth_destination\n"}, says: "permit_sasl_authenticated", good: setup{main: "smtpd_sasl_auth_enable = yes\nsmtpd_tls_auth_only = yes\nsmtpd_relay_restrictions = permit_mynetworks, permit_sasl_authenticated, reject_unauth_destination\n"}},
		{name: "no login", rule: "sasl", sev: Serious, bad: setup{master: "587 inet n - n - - smtpd -o smtpd_relay_restrictions=permit_sasl_authenticated,reject\n"}},
		{name: "passwords without use", rule: "sasl", sev: Advice, bad: setup{main: "smtp_sasl_password_maps = static:u:p\n"}, says: "no effect"},
		{name: "no passwords", rule: "sasl", sev: Advice, bad: setup{main: "smtp_sasl_auth_enable = yes\n"}, says: "no password to send"},
		{name: "no mechanism", rule: "sasl", sev: Advice, bad: setup{main: "smtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = static:u:p\nrelayhost = [x.example.org]\n"}, says: "no mechanism available", good: setup{main: "smtp_sasl_auth_enable = yes\nsmtp_sasl_password_maps = static:u:p\nsmtp_sasl_security_options = noanonymous\nsmtp_tls_security_level = encrypt\nrelayhost = [x.example.org]\n"}},

		{name: "mailbox smaller than message", rule: "size", sev: Serious, bad: setup{main: "message_size_limit = 100000000\n"}, says: "mailbox_size_limit", good: setup{main: "message_size_limit = 100000000\nmailbox_size_limit = 0\n"}},
		{name: "mailbox that nobody uses", rule: "size", sev: Advice, bad: setup{main: "queue_minfree = 1\n"}, good: setup{main: "message_size_limit = 10240000\nvirtual_mailbox_limit = 1000\n"}},
		{name: "any size", rule: "size", sev: Serious, bad: setup{main: "message_size_limit = 0\n"}, says: "does not start"},
		{name: "space", rule: "size", sev: Advice, bad: setup{main: "queue_minfree = 1000\n"}},
		{name: "no time", rule: "timeout", sev: Serious, bad: setup{main: "smtpd_timeout = 0\n"}, good: setup{main: "smtpd_timeout = 60s\nsmtp_connect_timeout = 0\n"}},
		{name: "too much time", rule: "timeout", sev: Advice, bad: setup{main: "smtpd_timeout = 2d\n"}},
		{name: "too little time", rule: "timeout", sev: Advice, bad: setup{main: "smtp_helo_timeout = 2s\n"}},
		{name: "life of mail", rule: "queue-times", sev: Advice, bad: setup{main: "maximal_queue_lifetime = 1h\n"}, good: setup{main: "maximal_queue_lifetime = 2d\n"}},
		{name: "backoff", rule: "queue-times", sev: Advice, bad: setup{main: "minimal_backoff_time = 3h\n"}},
		{name: "few processes", rule: "process-limit", sev: Advice, bad: setup{main: "default_process_limit = 2\n"}},
		{name: "error limits", rule: "limits", sev: Advice, bad: setup{main: "smtpd_soft_error_limit = 50\n"}},

		{name: "soft_bounce", rule: "soft-bounce", sev: Advice, bad: setup{main: "soft_bounce = yes\n"}, good: setup{main: "soft_bounce = no\n"}},
		{name: "verbose service", rule: "debug", sev: Advice, bad: setup{master: "2525 inet n - n - - smtpd -v\n"}},
		{name: "verbose TLS", rule: "debug", sev: Advice, bad: setup{main: "smtp_tls_loglevel = 4\n"}, good: setup{main: "smtp_tls_loglevel = 1\n"}},
		{name: "mailbox", rule: "mailbox", sev: Advice, bad: setup{main: "mailbox_transport = lmtp:unix:/x\nhome_mailbox = Maildir/\n"}, says: "home_mailbox has no effect", good: setup{main: "mailbox_command_maps = static:x\nhome_mailbox = Maildir/\n"}},
		{name: "home", rule: "mailbox", sev: Serious, bad: setup{main: "home_mailbox = /var/mail\n"}},
		{name: "virtual", rule: "virtual", sev: Serious, bad: setup{main: "virtual_mailbox_domains = example.org\nvirtual_mailbox_maps = static:x\nvirtual_mailbox_base = /var/vmail\nvirtual_gid_maps = static:5000\n"}, says: "virtual_uid_maps", good: setup{main: "virtual_mailbox_domains = example.org\nvirtual_mailbox_maps = static:x\nvirtual_mailbox_base = /var/vmail\nvirtual_gid_maps = static:5000\nvirtual_uid_maps = static:5000\n"}},
		{name: "virtual user", rule: "virtual", sev: Serious, bad: setup{main: "virtual_mailbox_domains = example.org\nvirtual_mailbox_maps = static:x\nvirtual_mailbox_base = /var/vmail\nvirtual_gid_maps = static:5000\nvirtual_uid_maps = static:8\n"}, says: "virtual_minimum_uid"},
		{name: "old defaults", rule: "compatibility", sev: Advice, bad: setup{main: "compatibility_level = 0\n"}, says: "append_dot_mydomain"},
		{name: "some old defaults", rule: "compatibility", sev: Advice, bad: setup{main: strings.NewReplacer("3.11", "3.6", "smtp_tls", "#").Replace(base), noBase: true}, says: "does not use TLS", good: setup{main: "compatibility_level = 3.6\n"}},
		{name: "writable main.cf", rule: "writable", sev: Serious, bad: setup{prepare: func(t *testing.T, dir string) {
			if err := os.Chmod(filepath.Join(dir, "main.cf"), 0o666); err != nil {
				t.Fatal(err)
			}
		}}, says: "become root", at: "main.cf"},
		{name: "not installed", rule: "installation", sev: Advice, bad: setup{main: "daemon_directory = DIR/nothing\n"}, says: "no directory"},
		{name: "directory", rule: "directory", sev: Serious, bad: setup{main: "queue_directory = DIR/nothing\n"}, says: "does not exist"},
	} {
		t.Run(test.name, func(t *testing.T) {
			report, dir := test.bad.run(t)
			found := about(report, test.rule)
			if !slices.ContainsFunc(found, func(f Finding) bool {
				return f.Severity == test.sev && strings.Contains(f.Text, test.says) && strings.Contains(f.Where, test.at)
			}) {
				t.Errorf("no %v finding of rule %s that says %q at %q:\n%s", test.sev, test.rule, test.says, test.at, texts(report, dir))
			}
			report, dir = test.good.run(t)
			if found := about(report, test.rule); len(found) > 0 && !slices.Contains(ofMachine, test.rule) {
				t.Errorf("there should be no finding of rule %s:\n%s", test.rule, texts(report, dir))
			}
		})
	}
}

func texts(r *Report, dir string) string {
	var b strings.Builder
	for _, f := range r.Findings {
		fmt.Fprintf(&b, "%s [%s] %s: %s\n", f.Severity, f.Rule, f.Where, f.Text)
	}
	return strings.ReplaceAll(b.String(), dir, "DIR")
}

func TestNothingToSay(t *testing.T) {
	report, dir := setup{}.run(t)
	report.Findings = slices.DeleteFunc(report.Findings, func(f Finding) bool { return slices.Contains(ofMachine, f.Rule) || f.Rule == "program" })
	if len(report.Findings) > 0 {
		t.Errorf("findings about a sane configuration:\n%s", texts(report, dir))
	}
}

// debianMain is what the postfix package of Debian writes for "Internet site".
const debianMain = `# See /usr/share/postfix/main.cf.dist for a commented, more complete version
smtpd_banner = $myhostname ESMTP $mail_name (Debian/GNU)
biff = no
append_dot_mydomain = no
readme_directory = no
compatibility_level = 3.6
smtpd_tls_cert_file=DIR/cert.pem
smtpd_tls_key_file=DIR/key.pem
smtpd_tls_security_level=may
smtp_tls_CApath=DIR
smtp_tls_security_level=may
smtp_tls_session_cache_database = btree:${data_directory}/smtp_scache
smtpd_relay_restrictions = permit_mynetworks permit_sasl_authenticated defer_unauth_destination
myhostname = debian.example.com
alias_maps = texthash:DIR/aliases
alias_database = texthash:DIR/aliases
mydestination = $myhostname, debian.localdomain, localhost.localdomain, localhost
relayhost =
mynetworks = 127.0.0.0/8 [::ffff:127.0.0.0]/104 [::1]/128
mailbox_size_limit = 0
recipient_delimiter = +
inet_interfaces = all
inet_protocols = all
daemon_directory = DIR/not-installed
`

func TestShippedConfigurations(t *testing.T) {
	shipped, err := os.ReadFile("../../conf/main.cf")
	if err != nil {
		t.Fatal(err)
	}
	cert, key := makeCertificate(t, "ecdsa", time.Now().Add(365*day*time.Second))
	for name, s := range map[string]setup{
		"ours":   {main: strings.Replace(string(shipped), "/usr/libexec/postfix", "DIR/not-installed", 1), noBase: true},
		"Debian": {main: debianMain, noBase: true, files: map[string]string{"cert.pem": cert, "key.pem": key}, modes: map[string]fs.FileMode{"key.pem": 0o600}},
	} {
		if report, dir := s.run(t); report.Serious() {
			t.Errorf("%s: serious findings:\n%s", name, texts(report, dir))
		}
	}
}

// A table that several parameters name is spoken of once.
func TestTableOnce(t *testing.T) {
	report, dir := setup{main: "alias_database = hash:DIR/none\nlocal_recipient_maps = $alias_maps\nalias_maps = hash:DIR/none\n"}.run(t)
	if found := about(report, "table-missing"); len(found) != 1 || !strings.Contains(found[0].Text, "alias_maps names") {
		t.Errorf("findings:\n%s", texts(report, dir))
	}
}

func TestMissing(t *testing.T) {
	report, dir := setup{main: "tlsproxy_enforce_tls = yes\ntls_daemon_random_bytes = 16\n"}.run(t)
	if found := about(report, "missing"); len(found) != 1 || !strings.Contains(found[0].Text, "without effect") || !strings.Contains(found[0].Text, "tlsproxy_enforce_tls") {
		t.Errorf("parameters whose feature does not exist:\n%s", texts(report, dir))
	}
}

func TestUnreadable(t *testing.T) {
	dir := t.TempDir()
	if _, err := Run(Options{Dir: dir}); err == nil || err.Error() != "open "+dir+"/main.cf: No such file or directory" {
		t.Errorf("no main.cf: %v", err)
	}
	for _, step := range []struct{ name, text, want string }{
		{"main.cf", "junk\n", dir + "/main.cf, line 1: missing '=' after attribute name: \"junk\""},
		{"main.cf", base, "open " + dir + "/master.cf: No such file or directory"},
	} {
		if err := os.WriteFile(filepath.Join(dir, step.name), []byte(step.text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := Run(Options{Dir: dir}); err == nil || err.Error() != step.want {
			t.Errorf("error %v, want %s", err, step.want)
		}
	}
}

func TestOverrides(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"main.cf": "mynetworks = 127.0.0.0/8\n", "master.cf": ""} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	report, err := Run(Options{Dir: dir, Overrides: []config.Override{{Name: "mynetworks", Value: " 0.0.0.0/0 "}}})
	if err != nil {
		t.Fatal(err)
	}
	if found := about(report, "networks"); len(found) != 1 || found[0].Where != "command line" {
		t.Errorf("networks of an override: %+v", found)
	}
}

func TestWrite(t *testing.T) {
	var b strings.Builder
	r := &Report{[]Finding{{Severity: Serious, Where: "/x/main.cf, line 1", Text: strings.Repeat("many words ", 12) + "and\x01control"}}}
	if err := r.Write(&b); err != nil {
		t.Fatal(err)
	}
	want := "serious: /x/main.cf, line 1: many words many words many words many words many\n" +
		"    words many words many words many words many words many words many words\n" +
		"    many words and?control\n\n1 serious, 0 advice.\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
	b.Reset()
	if err := new(Report).Write(&b); err != nil || b.String() != "Nothing found.\n" {
		t.Errorf("empty report: %q, %v", b.String(), err)
	}
}

func TestNearest(t *testing.T) {
	for name, want := range map[string]string{"mynetwork": "mynetworks", "mydestnation": "mydestination", "relay": "", "smtpd_timeuot": "smtpd_timeout", "": ""} {
		if got := nearest(name, []string{"mydestination", "mynetworks", "smtp_timeout", "smtpd_timeout"}); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// What the lists of restrictions know is what the server knows.
func TestRestrictionsExist(t *testing.T) {
	paths, err := filepath.Glob("../smtpaccess/*.go")
	if err != nil {
		t.Fatal(err)
	}
	var source strings.Builder
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		source.Write(text)
	}
	known := slices.Concat(wordsOf(restrictionNames), wordsOf(restrictionsWithDomain), wordsOf(restrictionsWithTable))
	for _, name := range known {
		if !strings.Contains(source.String(), "\""+name+"\"") {
			t.Errorf("smtpaccess does not know %s", name)
		}
	}
	for _, name := range regexp.MustCompile(`"((?:permit|reject|check|defer|warn)_[a-z_]+)"`).FindAllStringSubmatch(source.String(), -1) {
		if !slices.Contains(known, name[1]) && gone(name[1]) == "" && name[1] != "check_policy_service" && name[1] != "reject_warning" && params.Lookup(name[1]) == nil {
			t.Errorf("smtpaccess knows %s, which is not in the lists here", name[1])
		}
	}
}

// What is said about daemons is what they ask for.
func TestDaemonsExist(t *testing.T) {
	paths, err := filepath.Glob("../../libexec/*/*.go")
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile(`(?s)service\.Daemon\{\s*Program:\s*"([a-z_-]+)".*?\n\t\}\)`)
	seen := 0
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		m := program.FindStringSubmatch(string(text))
		if m == nil {
			continue
		}
		seen++
		p := daemon(m[1])
		if p == nil {
			t.Errorf("nothing is known about %s", m[1])
			continue
		}
		limit := anyLimit
		if strings.Contains(m[0], "service.LimitOne") {
			limit = 1
		} else if strings.Contains(m[0], "service.LimitZero") {
			limit = 0
		}
		if p.limit != limit || p.root != regexp.MustCompile(`Privileged:\s+true`).MatchString(m[0]) {
			t.Errorf("%s: limit %d, root %t are not what the daemon asks for", m[1], p.limit, p.root)
		}
	}
	const least = 10
	if seen < least {
		t.Errorf("only %d daemons found", seen)
	}
}

func TestUnseen(t *testing.T) {
	c := &checker{dir: "/x", told: make(map[string]bool)}
	c.tellUnseen()
	for i := range 7 {
		c.noteUnseen(fmt.Sprint("/file", i))
		c.noteUnseen(fmt.Sprint("/file", i))
	}
	c.tellUnseen()
	if len(c.found) != 1 || !strings.Contains(c.found[0].Text, "/file4 and others") || strings.Contains(c.found[0].Text, "/file5") {
		t.Errorf("%+v", c.found)
	}
}
