package smtpaccess

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/miekg/dns"

	"suffix/pkg/config"
	"suffix/pkg/dnsclient"
	"suffix/pkg/rewrite"
	"suffix/pkg/rewriteclient"
	"suffix/pkg/table"

	_ "suffix/pkg/table/simple"
)

// zone is what the test name server knows.
const zone = `
2.2.0.192.rbl.test. IN A 127.0.0.2
2.2.0.192.rbl.test. IN TXT "listed reason one"
2.2.0.192.wl.test. IN A 127.0.5.1
spam.test.rhsbl.test. IN A 127.0.0.3
spam.test.rhsbl.test. IN TXT "spam domain"
good.test. IN MX 10 mx1.good.test.
good.test. IN MX 20 mx.example.test.
mx1.good.test. IN A 192.0.2.80
mx.example.test. IN A 127.0.0.1
good.test. IN NS ns.good.test.
ns.good.test. IN A 192.0.2.53
nullmx.test. IN MX 0 .
host.test. IN A 192.0.2.90
`

// startDNS serves the zone on a loopback port. Names under "fail." get SERVFAIL.
func startDNS(t testing.TB) string {
	records := make(map[string][]dns.RR)
	names := make(map[string]bool)
	for line := range strings.Lines(zone) {
		if line = strings.TrimSpace(line); line == "" {
			continue
		}
		rr, err := dns.NewRR(line)
		if err != nil {
			t.Fatal(err)
		}
		key := fmt.Sprint(rr.Header().Name, rr.Header().Rrtype)
		records[key] = append(records[key], rr)
		names[rr.Header().Name] = true
	}
	conn, err := net.ListenPacket("udp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: conn, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		name := strings.ToLower(q.Question[0].Name)
		m.Answer = records[fmt.Sprint(name, q.Question[0].Qtype)]
		switch {
		case strings.Contains(name, "fail.test."):
			m.Rcode = dns.RcodeServerFailure
		case !names[name]:
			m.Rcode = dns.RcodeNameError
		}
		if err := w.WriteMsg(m); err != nil {
			t.Log(err)
		}
	})}
	var done sync.WaitGroup
	done.Go(func() {
		// It ends with an error when the socket is closed.
		_ = server.ActivateAndServe()
	})
	t.Cleanup(func() {
		conn.Close()
		done.Wait()
	})
	return conn.LocalAddr().String()
}

type testLog struct{ lines []string }

func (l *testLog) Infof(f string, a ...any) { l.lines = append(l.lines, fmt.Sprintf(f, a...)) }
func (l *testLog) Warnf(f string, a ...any) {
	l.lines = append(l.lines, "warning: "+fmt.Sprintf(f, a...))
}

// newChecker makes the rules of a test main.cf. A line "-NAME" takes a setting
// of the test away.
func newChecker(t testing.TB, server string, lines ...string) (*Checker, *testLog, error) {
	t.Helper()
	all := append([]string{
		"myhostname = mx.example.test", "mydomain = example.test", "mydestination = example.test",
		"inet_interfaces = 127.0.0.1", "inet_protocols = ipv4", "mynetworks = 198.51.100.0/24", "local_recipient_maps = inline:{ {user=x} {o=x} {a=x} {b=x} }",
		"relay_domains = relay.test", "relay_recipient_maps = inline:{ {known@relay.test=x} }",
		"virtual_alias_domains = alias.test", "virtual_alias_maps = inline:{ {v@alias.test=user} }",
		"alias_maps =", "compatibility_level = 3.6",
	}, lines...)
	for _, line := range lines {
		if name, ok := strings.CutPrefix(line, "-"); ok {
			all = slices.DeleteFunc(all, func(l string) bool { return l == line || strings.HasPrefix(l, name+" ") })
		}
	}
	text := strings.Join(all, "\n") + "\n"
	list, err := config.ParseSettings("main.cf", text, nil)
	if err != nil {
		t.Fatal(err)
	}
	cfg := config.New(t.TempDir(), list, config.Options{Program: "smtpd", Service: "smtp"})
	engine, err := rewrite.New(cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	rewriteclient.InProcess = engine
	t.Cleanup(func() { rewriteclient.InProcess = nil })
	log := &testLog{}
	options := dnsclient.Options{Servers: []string{server}}
	c, err := New(cfg, Services{Rewrite: rewriteclient.NewWith(nil), Resolver: dnsclient.New(options), Log: log})
	return c, log, err
}

// newSession returns a client that has given all commands up to RCPT.
func newSession(log Logger) *Session {
	s := &Session{
		Client: Client{
			Name: "client.spam.test", ReverseName: "rev.test", Address: "192.0.2.2", Port: "1234",
			IP: netip.MustParseAddr("192.0.2.2"),
		},
		Log: log, Stage: "RCPT", Protocol: "ESMTP", Helo: "helo.test", HasHelo: true, ServerName: "mx.example.test",
		Tx: &Transaction{Sender: "from@good.test", HasSender: true, Recipient: "user@example.test", HasRecipient: true, Instance: "1"},
	}
	s.SetLogName(false)
	return s
}

func TestRecipientRules(t *testing.T) {
	server := startDNS(t)
	for _, test := range []struct {
		rules string                // value of smtpd_recipient_restrictions, or lines of main.cf
		edit  func(*Session)        // nil: as newSession
		want  string                // reply, empty: accepted
		log   string                // must be in the log
		check func(*Session) string // of what is left, empty: fine
	}{
		{rules: ""},
		{rules: "reject", want: "554 5.7.1 <user@example.test>: Recipient address rejected: Access denied",
			log: "NOQUEUE: reject: RCPT from client.spam.test[192.0.2.2]: 554 5.7.1 <user@example.test>: Recipient address rejected: Access denied; from=<from@good.test> to=<user@example.test> proto=ESMTP helo=<helo.test>"},
		{rules: "reject", edit: func(s *Session) { s.Tx.Recipient = "Postmaster" }},
		{rules: "permit, reject", log: "warning: restriction `reject' after `permit' is ignored"},
		{rules: "warn_if_reject reject", log: "NOQUEUE: reject_warning: RCPT from"},
		{rules: "defer", want: "450 4.3.2 <user@example.test>: Recipient address rejected: Try again later"},
		{rules: "defer_if_permit", want: "450 4.7.0 <user@example.test>: Recipient address rejected: defer_if_permit requested"},
		{rules: "defer_if_permit reject", want: "554 5.7.1 "},
		{rules: "defer_if_reject reject", want: "450 4.7.0 <user@example.test>: Recipient address rejected: defer_if_reject requested"},
		{rules: "nonsense", want: "451 4.3.5 Server configuration error", log: `warning: unknown smtpd restriction: "nonsense"`},
		{rules: "check_relay_domains", want: "451 4.3.5 Server configuration error", log: `support for restriction "check_relay_domains" has been removed in Postfix 3.9; instead, specify "reject_unauth_destination"`},
		{rules: "", edit: func(s *Session) { s.Tx.Recipient = "u@elsewhere.test" }, want: "454 4.7.1 <u@elsewhere.test>: Relay access denied"},
		{rules: "", edit: func(s *Session) {
			s.Tx.Recipient, s.Address, s.IP = "u@good.test", "198.51.100.1", netip.MustParseAddr("198.51.100.1")
		}},
		{rules: "", edit: func(s *Session) { s.Tx.Recipient, s.Login, s.Method = "u@good.test", "bob", "XCLIENT" }},
		{rules: "", edit: func(s *Session) { s.Tx.Recipient, s.Login, s.Method = "u@good.test", "bob", "Anonymous" }, want: "454 4.7.1"},
		{rules: "", edit: func(s *Session) { s.Tx.Recipient = "nobody@example.test" }, want: "550 5.1.1 <nobody@example.test>: Recipient address rejected: User unknown in local recipient table"},
		{rules: "", edit: func(s *Session) { s.Tx.Recipient = "v@alias.test" }},
		{rules: "", edit: func(s *Session) { s.Tx.Recipient = "w@alias.test" }, want: "550 5.1.1 <w@alias.test>: Recipient address rejected: User unknown in virtual alias table"},
		{rules: "", edit: func(s *Session) { s.Tx.Recipient = "known@relay.test" }},
		{rules: "", edit: func(s *Session) { s.Tx.Recipient = "x@sub.relay.test" }, want: "550 5.1.1 <x@sub.relay.test>: Recipient address rejected: User unknown in relay recipient table"},
		{rules: "check_client_access inline:{spam.test=REJECT}", want: "554 5.7.1 <client.spam.test[192.0.2.2]>: Client host rejected: Access denied"},
		{rules: "check_client_access inline:{{192.0.2=550 go away}}", want: "550 5.7.1 <client.spam.test[192.0.2.2]>: Client host rejected: go away"},
		{rules: "check_client_access inline:{{192.0.2=REJECT 5.1.1 x}}", want: "554 5.0.0 <client.spam.test[192.0.2.2]>: Client host rejected: x", log: "mapping DSN status 5.1.1 into Client host status 5.0.0"},
		{rules: "check_client_access inline:{{spam.test=DUNNO} {192.0.2.2=REJECT}}"},
		{rules: "check_reverse_client_hostname_access inline:{rev.test=OK}", want: "451 4.3.5 Server configuration error", log: "restriction check_reverse_client_hostname_access returns OK for rev.test"},
		{rules: "check_helo_access inline:{{helo.test=DEFER wait}}", want: "450 4.7.1 <helo.test>: Helo command rejected: wait"},
		{rules: "check_sender_access inline:{{good.test=451 4.1.8 x}}", want: "451 4.1.8 <from@good.test>: Sender address rejected: x"},
		{rules: "check_sender_access inline:{<>=REJECT}", edit: func(s *Session) { s.Tx.Sender = "" }, want: "554 5.7.1 <>: Sender address rejected: Access denied"},
		{rules: "check_recipient_access inline:{{user@=REJECT 4.1.8 x}}", want: "554 5.1.2 <user@example.test>: Recipient address rejected: x", log: "mapping DSN status 4.1.8 into Recipient address status 4.1.2"},
		{rules: "check_recipient_access inline:{test=OK} reject"},
		{rules: "check_recipient_access inline:{test=12345} reject"},
		{rules: "check_recipient_access inline:{test=550} reject"},
		{rules: "inline:{test=REJECT}", want: "554 5.7.1 <user@example.test>: Recipient address rejected: Access denied"},
		{rules: "check_recipient_access inline:{{test=defer, x}}", want: "450 4.3.2 <user@example.test>"},
		{rules: "check_recipient_access inline:{{test=DEFER_IF_PERMIT}}", want: "450 4.7.1 <user@example.test>: Recipient address rejected: Service unavailable"},
		{rules: "check_recipient_access inline:{test=reject_unauth_pipelining}", edit: func(s *Session) { s.Pipelining = true }, want: "503 5.5.0 <user@example.test>: Recipient address rejected: Improper use of SMTP command pipelining"},
		{rules: "check_recipient_access inline:{test=inline:x}", want: "451 4.3.5", log: "do not specify lookup tables inside SMTPD access maps"},
		{rules: "check_recipient_access fail:x", want: "451 4.3.5 <user@example.test>: Recipient address rejected: Server configuration error"},
		{rules: "check_recipient_access", want: "451 4.3.5", log: `restriction check_recipient_access: bad argument "check_recipient_access": need maptype:mapname`},
		{rules: "check_recipient_access inline:{test=HANGUP}", want: "HANGUP"},
		{rules: "check_recipient_access inline:{{test=INFO hello}}", log: "NOQUEUE: info: RCPT from client.spam.test[192.0.2.2]: hello; from="},
		{rules: "check_recipient_access inline:{test=HOLD}", log: "NOQUEUE: hold: RCPT from client.spam.test[192.0.2.2]: <user@example.test>: Recipient address triggers HOLD action; from=", check: func(s *Session) string {
			if !s.Tx.Actions.Hold {
				return "not held"
			}
			return ""
		}},
		{rules: "check_recipient_access inline:{test=DISCARD} reject", check: func(s *Session) string {
			if !s.Tx.Actions.Discard {
				return "not discarded"
			}
			return ""
		}},
		{rules: "check_recipient_access inline:{{test=REDIRECT a@b}} check_recipient_access inline:{{test=FILTER smtp:x}} check_recipient_access inline:{{test=BCC c@d}} check_recipient_access inline:{{test=PREPEND X-A: b}}", check: func(s *Session) string {
			a := s.Tx.Actions
			if a.Redirect != "a@b" || a.Filter != "smtp:x" || len(a.BCC) != 1 || len(a.Prepend) != 1 || a.Prepend[0] != "X-A: b" {
				return fmt.Sprint(a)
			}
			return ""
		}},
		{rules: "check_recipient_access inline:{{test=REDIRECT ab}}", log: `warning: access table inline:{{test=REDIRECT ab}} entry "user@example.test" requires user@domain target`},
		{rules: "reject_unknown_client_hostname", edit: func(s *Session) { s.NameStatus, s.Name = NameForged, Unknown }, want: "450 4.7.25 Client host rejected: cannot find your hostname, [192.0.2.2]"},
		{rules: "reject_unknown_reverse_client_hostname", edit: func(s *Session) { s.ReverseStatus = NamePermanent }, want: "450 4.7.1 Client host rejected: cannot find your reverse hostname, [192.0.2.2]"},
		{rules: "reject_invalid_helo_hostname", edit: func(s *Session) { s.Helo = "a..b" }, want: "501 5.5.2 <a..b>: Helo command rejected: Invalid name"},
		{rules: "reject_invalid_helo_hostname", edit: func(s *Session) { s.Helo = "[1.2.3]" }, want: "501 5.5.2 <[1.2.3]>: Helo command rejected: invalid ip address"},
		{rules: "reject_non_fqdn_helo_hostname", edit: func(s *Session) { s.Helo = "1.2.3.4" }, want: "504 5.5.2 <1.2.3.4>: Helo command rejected: need fully-qualified hostname"},
		{rules: "reject_non_fqdn_helo_hostname", edit: func(s *Session) { s.Helo = "[1.2.3.4]" }},
		{rules: "reject_unknown_helo_hostname", want: "450 4.7.1 <helo.test>: Helo command rejected: Host not found"},
		{rules: "reject_unknown_helo_hostname", edit: func(s *Session) { s.Helo = "host.test" }},
		{rules: "reject_unknown_helo_hostname", edit: func(s *Session) { s.Helo = "x.fail.test" }, want: "450 4.7.1 <x.fail.test>: Helo command rejected: Host not found"},
		{rules: "reject_non_fqdn_sender", edit: func(s *Session) { s.Tx.Sender = "a@b" }, want: "504 5.5.2 <a@b>: Sender address rejected: need fully-qualified address"},
		{rules: "reject_unknown_sender_domain"},
		{rules: "reject_unknown_sender_domain", edit: func(s *Session) { s.Tx.Sender = "a@nullmx.test" }, want: "550 5.7.27 <a@nullmx.test>: Sender address rejected: Domain nullmx.test does not accept mail (nullMX)"},
		{rules: "reject_unknown_sender_domain", edit: func(s *Session) { s.Tx.Sender = "a@missing.test" }, want: "450 4.1.8 <a@missing.test>: Sender address rejected: Domain not found"},
		{rules: "reject_rbl_client rbl.test", want: "554 5.7.1 Service unavailable; Client host [192.0.2.2] blocked using rbl.test; listed reason one"},
		{rules: "reject_rbl_client rbl.test=127.0.0.[3..9]"},
		{rules: "reject_rbl_client rbl.test=[127.0.0.[1;2]]", want: "554 5.7.1 Service unavailable; Client host [192.0.2.2] blocked using rbl.test; listed reason one"},
		{rules: "permit_dnswl_client wl.test reject"},
		{rules: "reject_rhsbl_sender rhsbl.test", edit: func(s *Session) { s.Tx.Sender = "a@spam.test" }, want: "554 5.7.1 Service unavailable; Sender address [a@spam.test] blocked using rhsbl.test; spam domain"},
		{rules: "check_sender_mx_access inline:{192.0.2.80=REJECT}", want: "554 5.7.1 <from@good.test>: Sender address rejected: Access denied"},
		{rules: "check_sender_ns_access inline:{ns.good.test=REJECT}", want: "554 5.7.1 <from@good.test>: Sender address rejected: Access denied"},
		{rules: "check_sender_mx_access inline:{192.0.2=OK}", want: "451 4.3.5 Server configuration error", log: "this is not allowed for security reasons"},
		{rules: "reject_multi_recipient_bounce", edit: func(s *Session) { s.Tx.Sender, s.Tx.Accepted = "", 1 }, want: "550 5.5.3 <user@example.test>: Recipient address rejected: Multi-recipient bounce"},
		{rules: "reject_plaintext_session", want: "450 4.7.1 Session encryption is required"},
		{rules: "smtpd_restriction_classes = strict\nstrict = reject_non_fqdn_helo_hostname, reject\nsmtpd_recipient_restrictions = check_helo_access inline:{helo.test=strict}", want: "554 5.7.1 <helo.test>: Helo command rejected: Access denied"},
		{rules: "smtpd_restriction_classes = loop\nloop = loop\nsmtpd_recipient_restrictions = loop", want: "451 4.3.5"},
		{rules: "smtpd_relay_restrictions = permit_mx_backup, reject_unauth_destination", edit: func(s *Session) { s.Tx.Recipient = "u@good.test" }},
		{rules: "soft_bounce = yes\nsmtpd_recipient_restrictions = reject", want: "454 4.7.1 <user@example.test>"},
		{rules: "smtpd_client_restrictions = reject_rbl_client fail.test, permit_dnswl_client x.fail.test, reject", want: "450 4.7.1 <192.0.2.2>: Client host rejected: Service unavailable"},
		{rules: "smtpd_sender_restrictions = defer_if_permit\nsmtpd_recipient_restrictions = permit", want: "450 4.7.0 <from@good.test>: Sender address rejected: defer_if_permit requested"},
		{rules: "smtpd_log_access_permit_actions = static:all\nsmtpd_recipient_restrictions = permit_auth_destination", log: "permit: RCPT from client.spam.test[192.0.2.2]: action=permit_auth_destination for Client host=client.spam.test[192.0.2.2] ; from="},
		{rules: "access_map_reject_code = 999\nsmtpd_recipient_restrictions = inline:{test=REJECT}", want: "450 4.7.1 Service unavailable", log: "warning: SMTP reply code configuration error: 999"},
	} {
		lines := test.rules
		if !strings.Contains(lines, "\n") && !strings.HasPrefix(lines, "smtpd_") {
			lines = "smtpd_recipient_restrictions = " + lines
		}
		c, log, err := newChecker(t, server, lines)
		if err != nil {
			t.Errorf("%s: %v", test.rules, err)
			continue
		}
		s := newSession(log)
		if test.edit != nil {
			test.edit(s)
			s.SetLogName(false)
		}
		reply := c.Recipient(context.Background(), s)
		got := reply.Text
		if reply.HangUp {
			got = "HANGUP"
		}
		if got != test.want && (test.want == "" || !strings.HasPrefix(got, test.want)) {
			t.Errorf("%s: %q, want %q", test.rules, got, test.want)
		}
		if all := strings.Join(log.lines, "\n"); !strings.Contains(all, test.log) {
			t.Errorf("%s: log lacks %q:\n%s", test.rules, test.log, all)
		}
		if test.check != nil {
			if wrong := test.check(s); wrong != "" {
				t.Errorf("%s: %s", test.rules, wrong)
			}
		}
	}
}

// What only the defaults of a low compatibility_level allow is remarked on,
// and nothing else is.
func TestOldDefaults(t *testing.T) {
	server := startDNS(t)
	const remark = "using backwards-compatible default setting "
	for _, test := range []struct {
		lines, recipient, client string
		want                     string // the remarks, one a line
	}{
		{"-relay_domains\n-relay_recipient_maps\ncompatibility_level = 1", "u@sub.example.test", "192.0.2.2",
			"relay_domains=$mydestination to accept mail for domain \"sub.example.test\"\nrelay_domains=$mydestination to accept mail for address \"u@sub.example.test\""},
		{"relay_domains = $mydestination\ncompatibility_level = 1", "u@sub.example.test", "192.0.2.2", ""},
		{"-relay_domains\ncompatibility_level = 1", "user@example.test", "192.0.2.2", ""},
		{"-relay_domains\ncompatibility_level = 2", "u@sub.example.test", "192.0.2.2", ""},

		{"-mynetworks\ncompatibility_level = 1\ninet_interfaces = 127.0.0.1", "user@example.test", "127.0.0.9", "mynetworks_style=subnet to permit request from client \"client.spam.test[127.0.0.9]\""},
		{"-mynetworks\ncompatibility_level = 1\ninet_interfaces = 127.0.0.1", "user@example.test", "127.0.0.1", ""},
		{"-mynetworks\ncompatibility_level = 1\nmynetworks_style = subnet", "user@example.test", "127.0.0.9", ""},
		{"-mynetworks\ncompatibility_level = 2", "user@example.test", "127.0.0.1", ""},
		{"compatibility_level = 1", "user@example.test", "198.51.100.1", ""},

		{"compatibility_level = 0\nsmtpd_recipient_restrictions = check_recipient_access inline:{other.test=OK} reject_unauth_destination", "u@other.test", "192.0.2.2",
			"\"smtpd_relay_restrictions = (empty)\" to avoid \"Relay access denied\" error for recipient \"u@other.test\" from client \"client.spam.test[192.0.2.2]\""},
		{"compatibility_level = 0\nsmtpd_recipient_restrictions = check_recipient_access inline:{other.test=OK} reject_unauth_destination", "u@other.test", "198.51.100.1", ""},
		{"compatibility_level = 0\nsmtpd_recipient_restrictions = check_recipient_access inline:{other.test=OK} reject_unauth_destination", "user@example.test", "192.0.2.2", ""},
		{"compatibility_level = 0\nsmtpd_relay_restrictions =\nsmtpd_recipient_restrictions = check_recipient_access inline:{other.test=OK} reject_unauth_destination", "u@other.test", "192.0.2.2", ""},

		{"compatibility_level = 3.5\nsmtpd_recipient_restrictions = reject", "user@example.test", "192.0.2.2",
			"smtpd_relay_before_recipient_restrictions=no to reject recipient \"user@example.test\" from client \"client.spam.test[192.0.2.2]\""},
		{"compatibility_level = 3.5\nsmtpd_relay_before_recipient_restrictions = no\nsmtpd_recipient_restrictions = reject", "user@example.test", "192.0.2.2", ""},
		{"compatibility_level = 3.6\nsmtpd_recipient_restrictions = reject", "user@example.test", "192.0.2.2", ""},
	} {
		c, log, err := newChecker(t, server, strings.Split(test.lines, "\n")...)
		if err != nil {
			t.Errorf("%s: %v", test.lines, err)
			continue
		}
		s := newSession(log)
		s.Tx.Recipient, s.Address, s.IP = test.recipient, test.client, netip.MustParseAddr(test.client)
		s.SetLogName(false)
		c.Recipient(context.Background(), s)
		var got []string
		for _, line := range log.lines {
			if text, ok := strings.CutPrefix(line, remark); ok {
				got = append(got, text)
			}
		}
		if strings.Join(got, "\n") != test.want {
			t.Errorf("%s: %s from %s: %q; want %q", test.lines, test.recipient, test.client, got, test.want)
		}
	}
}

func TestStartUpErrors(t *testing.T) {
	server := startDNS(t)
	for lines, want := range map[string]string{
		"smtpd_relay_restrictions =":                                                         "in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least one working instance of: reject_unauth_destination",
		"smtpd_relay_restrictions = permit, reject_unauth_destination":                       "in parameter smtpd_relay_restrictions",
		"smtpd_relay_restrictions = warn_if_reject reject_unauth_destination":                "in parameter smtpd_relay_restrictions",
		"smtpd_restriction_classes = x":                                                      "restriction class `x' needs a definition",
		"reject_tempfail_action = permit":                                                    "reject_tempfail_action",
		"smtpd_relay_restrictions = c\nsmtpd_restriction_classes = c\nc = reject":            "",
		"smtpd_relay_restrictions = permit_mynetworks\nsmtpd_recipient_restrictions = defer": "",

		"smtpd_client_restrictions = check_policy_service { inet:127.0.0.1:1, timeout }":                `malformed option: missing '=' after attribute name: "...timeout..."`,
		"smtpd_client_restrictions = check_policy_service { inet:127.0.0.1:1, timeout = 1s }":           `malformed option: missing '=' after attribute name: "...timeout..."`,
		"smtpd_client_restrictions = check_policy_service { inet:127.0.0.1:1, timeout=x }":              "timeout: bad time value or unit: x",
		"smtpd_client_restrictions = check_policy_service { inet:127.0.0.1:1, retry_delay=0 }":          "invalid retry_delay: 0 (min 1)",
		"smtpd_client_restrictions = check_policy_service { inet:127.0.0.1:1, foo=bar }":                `unknown option: "foo = bar"`,
		"smtpd_client_restrictions = check_policy_service { inet:127.0.0.1:1, try_limit=0 }":            "invalid try_limit parameter value 0 < 1",
		"smtpd_client_restrictions = check_policy_service { inet:127.0.0.1:1, default_action= }":        "bad string length 0 < 1: default_action = ",
		"smtpd_client_restrictions = check_policy_service { inet:127.0.0.1:1, { timeout = 5s } }":       "",
		"smtpd_client_restrictions = check_policy_service { inet:127.0.0.1:1, { timeout = 5s }, permit": "policy service syntax error:  inet:127.0.0.1:1, { timeout = 5s }, permit",
		"smtpd_client_restrictions = check_policy_service { inet:127.0.0.1:1 }x":                        "policy service syntax error:  inet:127.0.0.1:1",
		"smtpd_client_restrictions = check_policy_service {}":                                           `empty policy service: "{}"`,
		"smtpd_client_restrictions = check_policy_service inet:":                                        `need service transport:endpoint instead of "inet:"`,
		"smtpd_client_restrictions = check_policy_service permit":                                       `need service transport:endpoint instead of "permit"`,
		"smtpd_client_restrictions = check_policy_service foo:bar":                                      "invalid transport name: foo in service: foo:bar",
	} {
		_, _, err := newChecker(t, server, lines)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", lines, err, want)
		}
	}
}

func TestAddressPatterns(t *testing.T) {
	for pattern, ok := range map[string]bool{
		"127.0.0.2": true, "127.0.[0..1].[2;4..9]": true, "[127.0.0.2]": true, "127.0.0": false, "127.0.0.256": false,
		"127.0.0.[9..2]": false, "127.0.0.[2": false, "127.0.0.2x": false, "": false,
	} {
		if _, err := parseAddrPattern(pattern); (err == nil) != ok {
			t.Errorf("%q: %v", pattern, err)
		}
	}
	match, err := parseAddrPattern("127.0.[0..1].[2;4..9]")
	if err != nil {
		t.Fatal(err)
	}
	for addr, want := range map[string]bool{"127.0.0.2": true, "127.0.1.9": true, "127.0.0.3": false, "127.0.2.2": false, "::1": false} {
		if match(netip.MustParseAddr(addr)) != want {
			t.Errorf("%s", addr)
		}
	}
}

func FuzzAddressPattern(f *testing.F) {
	f.Add("127.0.0.[1..9;20]")
	f.Add("[127.0.0.[2]]")
	f.Fuzz(func(t *testing.T, text string) {
		if match, err := parseAddrPattern(text); err == nil {
			match(netip.AddrFrom4([4]byte{127, 0, 0, 2}))
		}
	})
}

// What must end before all rules were asked is not permitted.
func TestCanceledIsNotPermitted(t *testing.T) {
	c, log, err := newChecker(t, "127.0.0.1:1", "smtpd_recipient_restrictions = reject_unauth_destination")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	s := newSession(log)
	s.Tx.Recipient = "user@elsewhere.test"
	if reply := c.Recipient(ctx, s); !strings.HasPrefix(reply.Text, "451 4.3.0 ") {
		t.Errorf("got %+v", reply)
	}
}

// The reply of a policy server is limited.
func TestHugePolicyReply(t *testing.T) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			// The client hangs up in the middle of this.
			_, _ = conn.Write([]byte("action=reject " + strings.Repeat("x", 100000) + "\n\n"))
			conn.Close()
		}
	}()
	c, log, err := newChecker(t, "127.0.0.1:1", "smtpd_policy_service_try_limit = 1", "smtpd_policy_service_default_action = 450 4.7.1 try later",
		"smtpd_recipient_restrictions = check_policy_service inet:"+listener.Addr().String()+", permit_mynetworks, reject")
	if err != nil {
		t.Fatal(err)
	}
	if reply := c.Recipient(context.Background(), newSession(log)); !strings.HasPrefix(reply.Text, "450 4.7.1 ") {
		t.Errorf("got %+v", reply)
	}
}

// breaking is a table whose result has a line break.
type breaking struct{}

func (breaking) Lookup(string) (string, bool, error) {
	return "PREPEND X-One: 1\r\nX-Two: 2", true, nil
}
func (breaking) Name() string  { return "breaking:x" }
func (breaking) Fixed() bool   { return true }
func (breaking) Changed() bool { return false }
func (breaking) Close() error  { return nil }

// A result that is more than one line is a mistake of the table.
func TestLineBreakInResult(t *testing.T) {
	table.Register("breaking", table.Type{Open: func(string, string, table.Options) (table.Table, error) { return breaking{}, nil }})
	c, log, err := newChecker(t, "127.0.0.1:1", "smtpd_recipient_restrictions = check_recipient_access breaking:x, reject")
	if err != nil {
		t.Fatal(err)
	}
	s := newSession(log)
	if reply := c.Recipient(context.Background(), s); reply.Text != "451 4.3.5 Server configuration error" || len(s.Tx.Actions.Prepend) != 0 {
		t.Errorf("got %+v", reply)
	}
}
