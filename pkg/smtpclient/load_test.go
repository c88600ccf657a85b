package smtpclient

import (
	"slices"
	"strings"
	"testing"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/table/tabletest"

	_ "suffix/pkg/table/cidr"
	_ "suffix/pkg/table/regexp"
	_ "suffix/pkg/table/simple"
)

// load makes a configuration from main.cf lines.
func load(t *testing.T, program string, lines ...string) (*Config, error) {
	t.Helper()
	maillog.Init("test", maillog.StderrOnly("test"))
	var settings []config.Setting
	for _, line := range append([]string{"myhostname = me.example", "inet_interfaces = loopback-only", "inet_protocols = ipv4"}, lines...) {
		name, value, _ := strings.Cut(line, " = ")
		settings = append(settings, config.Setting{Name: name, Value: value})
	}
	return Load(config.New(t.TempDir(), settings, config.Options{}), program, program, nil)
}

func TestLoad(t *testing.T) {
	c, err := load(t, "smtp")
	if err != nil {
		t.Fatal(err)
	}
	if c.HeloName != "me.example" || c.HeloTimeout != 300*time.Second || c.ConnectTimeout != 30*time.Second || c.LineLimit != 998 ||
		c.AddressLimit != 5 || c.SessionLimit != 2 || !c.SkipQuitResponse || !c.Skip5xxGreeting || c.Refusal != "" || c.DNS == nil ||
		c.KnownPorts["submission"] != 587 || !c.IPv4 || c.IPv6 || c.TLSLevel != "none" || c.CacheTimeLimit != 2*time.Second || !c.CacheOnDemand {
		t.Errorf("got %+v", c)
	}
	c, err = load(t, "lmtp", "disable_dns_lookups = yes", "lmtp_lhlo_name = other.example", "lmtp_bind_address = [127.0.0.5]")
	if err != nil {
		t.Fatal(err)
	}
	if !c.LMTP || c.HeloName != "other.example" || c.SkipQuitResponse || c.ConnectTimeout != 0 || c.DNS != nil || !c.NativeLookup || c.BindIPv4.String() != "127.0.0.5" || c.TCPPort != "24" {
		t.Errorf("got %+v", c)
	}
}

// TestRefusals: with a wish for TLS or authentication no mail leaves.
func TestRefusals(t *testing.T) {
	for line, want := range map[string]string{
		"smtp_tls_security_level = encrypt":                     "4.7.5 TLS is required, but our TLS engine is unavailable (smtp_tls_security_level = encrypt)",
		"smtp_tls_security_level = dane":                        "4.7.5 TLS is required, but our TLS engine is unavailable (smtp_tls_security_level = dane)",
		"smtp_enforce_tls = yes":                                "4.7.5 TLS is required, but our TLS engine is unavailable (smtp_tls_security_level = verify)",
		"smtp_tls_wrappermode = yes":                            "4.7.5 TLS is required, but our TLS engine is unavailable (smtp_tls_wrappermode = yes)",
		"smtp_tls_policy_maps = inline:{example.com=encrypt}":   "4.7.5 TLS policies are not available in this program (smtp_tls_policy_maps is set)",
		"smtp_tls_security_level = may":                         " ",
		"smtp_tls_security_level = none":                        " ",
		"smtp_use_tls = yes":                                    " ",
		"smtp_sasl_password_maps = inline:{example.com=me:you}": " ",
	} {
		c, err := load(t, "smtp", line)
		if err != nil {
			t.Errorf("%s: %v", line, err)
		} else if got := c.RefusalStatus + " " + c.Refusal; got != want {
			t.Errorf("%s: got %q, want %q", line, got, want)
		}
	}
	c, err := load(t, "smtp", "smtp_sasl_auth_enable = yes", "smtp_sasl_password_maps = inline:{example.com=me:you}")
	if err != nil || c.Refusal != "SASL authentication is not available in this program (smtp_sasl_auth_enable = yes)" {
		t.Errorf("SASL: %v, %+v", err, c)
	}
	for line, want := range map[string]string{
		"smtp_tls_security_level = maybe":      `Invalid TLS level "maybe"`,
		"smtp_sasl_auth_enable = yes":          "specify a password table via the `smtp_sasl_password_maps' configuration parameter",
		"smtp_dns_support_level = some":        `invalid smtp_dns_support_level: "some"`,
		"smtp_bind_address = nonsense":         "smtp_connect_addr: bad smtp_bind_address parameter: nonsense: Name or service not known",
		"smtp_bind_address = [127.0.0.1":       "smtp_connect_addr: malformed smtp_bind_address parameter: [127.0.0.1",
		"smtp_dns_resolver_options = res_what": `smtp_dns_resolver_options: unknown name value "res_what"`,
	} {
		if _, err := load(t, "smtp", line); err == nil || err.Error() != want {
			t.Errorf("%s: got %v, want %s", line, err, want)
		}
	}
}

func TestParseFlags(t *testing.T) {
	if f, err := ParseFlags([]string{"flags=D", "flags=ORX"}); err != nil || f != (DeliveryFlags{OriginalTo: true, ReturnPath: true, Final: true}) {
		t.Errorf("got %+v, %v", f, err)
	}
	for arg, want := range map[string]string{"flags=DZ": `unknown flags=DZ value "Z" in "DZ"`, "foo=bar": "unknown attribute name: foo=bar"} {
		if _, err := ParseFlags([]string{arg}); err == nil || err.Error() != want {
			t.Errorf("%s: got %v", arg, err)
		}
	}
}

// TestEdits: generic mapping and checks, as the real client was seen to do.
func TestEdits(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/hc", "/^X-Rep:/ REPLACE X-New: v\n/^X-Warn:/ WARN warn me\n/^X-Info:/ INFO\n/^X-Ign:/ IGNORE\n/^X-Pre:/ PREPEND X-Before: b\n/^X-Rej:/ REJECT no\n/^X-BadRep:/ REPLACE no colon here\n/^X-NoRep:/ REPLACE\n/^X-Strip:/ STRIP gone\n")
	write(t, dir+"/bc", "/^bodyrep/ REPLACE .replaced\n/^bodywarn/ WARN hmm\n/^bodyign/ IGNORE\n/^bodypre/ PREPEND before\n")
	c, err := load(t, "smtp", "smtp_header_checks = regexp:"+dir+"/hc", "smtp_body_checks = regexp:"+dir+"/bc", "mydestination = me.example",
		"smtp_generic_maps = inline:{ sender@example.org=mapped@out.example, @gen.example=@other.example, {joe@me.example=\"quoted guy\"@out.example}, bob=robert, ext@me.example=base@out.example, {multi@me.example=one@out.example, two@out.example} }",
		"recipient_delimiter = +", "propagate_unmatched_extensions = generic", "smtp_host_lookup = dns")
	if err != nil {
		t.Fatal(err)
	}
	log := &testLog{}
	c.Log = log
	s := serve(t, nil)
	content := "To: Joe <joe@me.example>, (c) multi@me.example,\n  \"x y\" <" + strings.Repeat("a", 40) + "@gen.example>, unchanged@else.example\nReply-To: bob@me.example, ext+x@me.example\nCc: not@changed.example,\n   kept\nX-Rep: 1\nX-Warn: w\n\tfolded\nX-Info: i\nX-Ign: g\nX-Pre: p\nX-Rej: r\nX-BadRep: b\nX-NoRep: n\nX-Strip: s\n\nbodyrep\nbodywarn\nbodyign\nbodypre\n.dot\n"
	rec, _ := run(t, New(c), request(t, s.nexthop(), content, "bob@me.example"))
	expect(t, "edits", rec, s, "bob@me.example 2.0.0 sent RELAY (250 2.0.0 Ok: queued as ABC)")
	want := "To: Joe <\"quoted guy\"@out.example>, one@out.example (c),\r\n\t\"x y\" <" + strings.Repeat("a", 40) + "@other.example>,\r\n\tunchanged@else.example\r\n" +
		"Reply-To: robert@me.example, base+x@out.example\r\nCc: not@changed.example,\r\n   kept\r\nX-New: v\r\nX-Warn: w\r\n\tfolded\r\nX-Info: i\r\nX-Before: b\r\nX-Pre: p\r\nX-Rej: r\r\nX-BadRep: b\r\nX-NoRep: n\r\n\r\n..replaced\r\nbodywarn\r\nbefore\r\nbodypre\r\n..dot\r\n"
	if s.content() != want {
		t.Errorf("content\ngot  %q\nwant %q", s.content(), want)
	}
	if got := s.commands(); !strings.Contains(got, "MAIL FROM:<mapped@out.example> SIZE=") || !strings.Contains(got, "RCPT TO:<robert@me.example>") {
		t.Errorf("commands %s", got)
	}
	for _, line := range []string{
		"4ABCDEF: replace: header X-Rep: 1: X-New: v", "4ABCDEF: warning: header X-Warn: w??folded: warn me", "4ABCDEF: info: header X-Info: i",
		"4ABCDEF: prepend: header X-Pre: p: X-Before: b", "4ABCDEF: strip: header X-Strip: s: gone", "warning: unsupported command in smtp_header_checks map: REJECT no",
		`warning: bad REPLACE header text "no colon here" in smtp_header_checks map -- need "headername: headervalue"`,
		"warning: REPLACE action without text in smtp_header_checks map", "4ABCDEF: replace: body bodyrep: .replaced", "4ABCDEF: warning: body bodywarn: hmm",
		"warning: multi-valued smtp_generic_maps result for multi@me.example",
	} {
		if !log.has(line) {
			t.Errorf("no %q in\n%s", line, strings.Join(log.lines, "\n"))
		}
	}
	if name, changed := c.Changed(); changed {
		t.Errorf("%s has changed", name)
	}
}

// TestTableErrors: a broken table delays mail and never lets it through.
func TestTableErrors(t *testing.T) {
	for _, line := range []string{"smtp_header_checks = fail:x", "smtp_generic_maps = fail:x", "smtp_body_checks = fail:x", "smtp_reply_filter = fail:x", "smtp_discard_ehlo_keyword_address_maps = fail:x"} {
		c, err := load(t, "smtp", line)
		if err != nil {
			t.Fatal(err)
		}
		c.Log = &testLog{}
		s := serve(t, nil)
		rec, _ := run(t, New(c), request(t, s.nexthop(), testContent))
		expect(t, line, rec, s, "rcpt@example.com 4.3.0 deferred RELAY (local data error while talking to 127.0.0.1[127.0.0.1])")
		if content := s.content(); content != "" && !strings.HasSuffix(content, "[lost]") {
			t.Errorf("%s: content %q", line, content)
		}
	}
}

func TestReplyFilterAndDiscard(t *testing.T) {
	dir := t.TempDir()
	write(t, dir+"/rf", "/^550 5.1.1 (.*)/ 450 4.1.1 patience\n")
	c, err := load(t, "smtp", "smtp_reply_filter = regexp:"+dir+"/rf", "smtp_discard_ehlo_keywords = pipelining, dsn, size",
		"debug_peer_list = 127.0.0.1", "smtp_tls_note_starttls_offer = yes")
	if err != nil {
		t.Fatal(err)
	}
	log := &testLog{}
	c.Log = log
	s := serve(t, dialogue{"RCPT": "550 5.1.1 unknown", "EHLO": "250-server.example\n250-PIPELINING\n250 STARTTLS"})
	rec, _ := run(t, New(c), request(t, s.nexthop(), testContent))
	expect(t, "filter", rec, s, "rcpt@example.com 4.1.1 deferred RELAY (host 127.0.0.1[127.0.0.1] said: 450 4.1.1 patience (in reply to RCPT TO command))")
	if !log.has(s.relay()+`: replacing server reply "550 5.1.1 unknown" with "450 4.1.1 patience"`) || !log.has("discarding EHLO keywords: PIPELINING DSN SIZE") {
		t.Errorf("log %v", log.lines)
	}
	for _, line := range []string{"> " + s.relay() + ": EHLO me.example", "< " + s.relay() + ": 250-server.example", "Host offered STARTTLS: [127.0.0.1]"} {
		if !log.has(line) {
			t.Errorf("no %q in %v", line, log.lines)
		}
	}
	if got := s.commands(); !strings.HasPrefix(got, "EHLO me.example|MAIL FROM:<sender@example.org>|RCPT TO:<rcpt@example.com>|RSET") {
		t.Errorf("commands %s", got)
	}
}

// That mail is sent in the clear only because of an old default is remarked
// on, by the SMTP client of today.
func TestOldDefault(t *testing.T) {
	const remark = "using backwards-compatible default setting smtp_tls_security_level=(empty)"
	for _, c := range []struct {
		program string
		lines   []string
		want    bool
	}{
		{"smtp", []string{"compatibility_level = 3.10"}, true},
		{"smtp", []string{"compatibility_level = 3.11"}, false},
		{"smtp", []string{"compatibility_level = 3.10", "smtp_tls_security_level = "}, false},
		{"smtp", []string{"compatibility_level = 3.10", "suffix_dialect = 3.7"}, false},
		{"lmtp", []string{"compatibility_level = 3.10"}, false},
	} {
		lines := tabletest.Logged(t, func() {
			if _, err := load(t, c.program, c.lines...); err != nil {
				t.Error(err)
			}
		})
		if got := slices.Contains(lines, remark); got != c.want {
			t.Errorf("%s, %q: %q", c.program, c.lines, lines)
		}
	}
}
