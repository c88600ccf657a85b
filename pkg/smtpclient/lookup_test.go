package smtpclient

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/miekg/dns"

	"suffix/pkg/deliver"
	"suffix/pkg/dnsclient"
	"suffix/pkg/dsn"
)

const lookupZone = `
example.com. 60 IN MX 10 mx1.example.com.
example.com. 60 IN MX 20 mx2.example.com.
example.com. 60 IN MX 20 me.example.com.
example.com. 60 IN MX 30 mx3.example.com.
best.example. 60 IN MX 10 me.example.com.
best.example. 60 IN MX 20 mx1.example.com.
lost.example. 60 IN MX 10 gone.example.com.
lost.example. 60 IN MX 20 me.example.com.
nohost.example. 60 IN MX 10 gone.example.com.
null.example. 60 IN MX 0 .
numeric.example. 60 IN MX 0 127.0.0.9.
mx1.example.com. 60 IN A 127.0.0.1
mx2.example.com. 60 IN A 127.0.0.2
mx3.example.com. 60 IN A 127.0.0.3
me.example.com. 60 IN A 127.0.0.99
plain.example. 60 IN A 127.0.0.1
alias.example. 60 IN CNAME plain.example.
_submission._tcp.srv.example. 60 IN SRV 10 1 2525 mx2.example.com.
_submission._tcp.srv.example. 60 IN SRV 0 1 2526 mx1.example.com.
`

// nameServer serves a zone and makes a resolver for it. Names that begin with
// servfail fail for now, those with formerr for good.
func nameServer(t testing.TB, zone string) *dnsclient.Resolver {
	t.Helper()
	var records []dns.RR
	parser := dns.NewZoneParser(strings.NewReader(zone), "", "test")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		records = append(records, rr)
	}
	if err := parser.Err(); err != nil {
		t.Fatal(err)
	}
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: pc, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		reply := new(dns.Msg)
		reply.SetReply(q)
		name := q.Question[0].Name
		reply.Rcode = dns.RcodeNameError
		for _, rr := range records {
			if strings.EqualFold(rr.Header().Name, name) {
				reply.Rcode = dns.RcodeSuccess
				if t := rr.Header().Rrtype; t == q.Question[0].Qtype || t == dns.TypeCNAME {
					reply.Answer = append(reply.Answer, rr)
				}
			}
		}
		switch {
		case strings.HasPrefix(name, "servfail."):
			reply.Rcode = dns.RcodeServerFailure
		case strings.HasPrefix(name, "formerr."):
			reply.Rcode = dns.RcodeFormatError
		}
		_ = w.WriteMsg(reply)
	})}
	go func() { _ = server.ActivateAndServe() }()
	t.Cleanup(func() { _ = server.Shutdown() })
	return dnsclient.New(dnsclient.Options{Servers: []string{pc.LocalAddr().String()}})
}

func TestAddresses(t *testing.T) {
	resolver := nameServer(t, lookupZone)
	const ns = "Host or domain name not found. Name service error for name="
	tests := []struct {
		dest string
		want string // addresses, or status and reason
		warn string
	}{
		{"example.com", "127.0.0.1/10 mx1.example.com *", ""},
		{"example.com:2525", "127.0.0.1/10 mx1.example.com *|127.0.0.2/20 mx2.example.com|127.0.0.99/20 me.example.com|127.0.0.3/30 mx3.example.com", ""},
		{"best.example", "5.4.6 mail for best.example loops back to myself", ""},
		{"lost.example", "4.4.4 unable to find primary relay for lost.example", ""},
		{"nohost.example", "5.4.4 " + ns + "gone.example.com type=AAAA: Host not found", "no MX host for nohost.example has a valid address record"},
		{"null.example", "5.1.0 Domain null.example does not accept mail (nullMX)", ""},
		{"numeric.example", "127.0.0.9/0 127.0.0.9 *", ""},
		{"plain.example", "127.0.0.1/0 plain.example *", ""},
		{"alias.example", "127.0.0.1/0 alias.example *", ""},
		{"[mx2.example.com]", "127.0.0.2/0 mx2.example.com *", ""},
		{"[me.example.com]", "5.4.6 mail for me.example.com loops back to myself", ""},
		{"[127.0.0.99]:26", "127.0.0.99/0 127.0.0.99 *", ""},
		{"[ipv6:::1]", "::1/0 ::1 *", ""},
		{"gone.example", "5.4.4 " + ns + "gone.example type=AAAA: Host not found", ""},
		{"[gone.example]", "5.4.4 " + ns + "gone.example type=AAAA: Host not found", ""},
		{"servfail.example", "4.4.3 " + ns + "servfail.example type=MX: Host not found, try again", ""},
		{"formerr.example", "5.4.3 " + ns + "formerr.example type=MX: Non-recoverable error", ""},
		{"srv.example:submission", "127.0.0.1/0 mx1.example.com *|127.0.0.2/10 mx2.example.com", ""},
		{"nosrv.example:submission", "5.4.4 " + ns + "_submission._tcp.nosrv.example type=SRV: Host not found", ""},
	}
	for _, test := range tests {
		c := testConfig()
		c.DNS, c.System = resolver, resolver
		c.Own = []netip.Addr{netip.MustParseAddr("127.0.0.99")}
		c.UseSRV = only("submission")
		c.KnownPorts["submission"] = 587
		d, err := c.parseDestination(test.dest)
		if err != nil {
			t.Errorf("%s: %v", test.dest, err)
			continue
		}
		// Twenty servers of one preference come in any order: ask until the
		// order is the expected one.
		var got string
		for range 50 {
			list, l := c.addresses(context.Background(), d, d.port == 25)
			var texts []string
			for _, a := range list {
				text := fmt.Sprintf("%s/%d %s", a.addr, a.pref, a.host)
				if a.best {
					text += " *"
				}
				texts = append(texts, text)
			}
			got = strings.Join(texts, "|")
			if len(list) == 0 {
				got = l.why.Status + " " + l.why.Reason
			}
			if got == test.want {
				break
			}
		}
		if got != test.want {
			t.Errorf("%s: got  %s\nwant %s", test.dest, got, test.want)
		}
		if test.warn != "" && !c.Log.(*testLog).has(test.warn) {
			t.Errorf("%s: log %v", test.dest, c.Log.(*testLog).lines)
		}
	}
}

// only matches one word.
type only string

func (o only) Match(name string) (bool, error) { return name == string(o), nil }

func TestSRVFallback(t *testing.T) {
	resolver := nameServer(t, lookupZone)
	c := testConfig()
	c.DNS, c.System, c.UseSRV, c.SRVFallback = resolver, resolver, only("submission"), true
	c.KnownPorts["submission"] = 587
	d, err := c.parseDestination("plain.example:submission")
	if err != nil {
		t.Fatal(err)
	}
	list, _ := c.addresses(context.Background(), d, false)
	if len(list) != 1 || list[0].port != 587 || !c.Log.(*testLog).has("skipping SRV lookup for _submission._tcp.plain.example: Host or domain name not found.") {
		t.Errorf("got %+v, log %v", list, c.Log.(*testLog).lines)
	}
}

func TestNativeLookup(t *testing.T) {
	c := testConfig()
	c.System = nameServer(t, lookupZone)
	c.NativeLookup = true
	d, err := c.parseDestination("plain.example.")
	if err != nil {
		t.Fatal(err)
	}
	list, l := c.addresses(context.Background(), d, true)
	if len(list) != 1 || list[0].addr != netip.MustParseAddr("127.0.0.1") {
		t.Errorf("got %+v, %+v", list, l.why)
	}
	d, err = c.parseDestination("no-such-host.example")
	if err != nil {
		t.Fatal(err)
	}
	_, l = c.addresses(context.Background(), d, true)
	if l.why.Status != "5.4.4" || l.why.Reason != "unable to look up host no-such-host.example: Name or service not known" {
		t.Errorf("got %+v", l.why)
	}
}

func TestBalance(t *testing.T) {
	v4, v6 := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("2001:db8::1")
	for text, want := range map[string]string{
		"4444":       "4444",
		"44444466":   "44466",
		"66666664":   "66664",
		"4444446666": "44466",
		"6666664444": "66644",
		"44444444":   "44444444",
		"4646464646": "46464",
		"6464646464": "64646",
	} {
		c := testConfig()
		var list []target
		for _, f := range text {
			a := v4
			if f == '6' {
				a = v6
			}
			list = append(list, target{addr: a})
		}
		var got strings.Builder
		for _, t := range c.balanced(list) {
			if t.addr.Is4() {
				got.WriteByte('4')
			} else {
				got.WriteByte('6')
			}
		}
		if got.String() != want {
			t.Errorf("%s: got %s, want %s", text, got.String(), want)
		}
	}
}

func TestAddressPreference(t *testing.T) {
	c := testConfig()
	c.AddressPreference = "ipv6"
	list := []target{{addr: netip.MustParseAddr("192.0.2.1"), pref: 1}, {addr: netip.MustParseAddr("2001:db8::1"), pref: 2}, {addr: netip.MustParseAddr("2001:db8::2"), pref: 1}}
	c.sortTargets(list)
	if list[0].addr.Is4() || list[1].addr.Is6() || list[2].pref != 2 {
		t.Errorf("got %v", list)
	}
}

// TestMX delivers by way of MX records: the first host is down, the second
// says no for now, the third takes the message.
func TestMX(t *testing.T) {
	resolver := nameServer(t, lookupZone)
	third := serve3(t, nil)
	port := third.addr.Port()
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.2:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	second := serveOn(t, l, dialogue{"MAIL": "450 4.7.1 later"})
	c := testConfig()
	c.DNS, c.System = resolver, resolver
	rec, hop := run(t, New(c), request(t, fmt.Sprintf("example.com:%d", port), testContent))
	expect(t, "mx", rec, nil, fmt.Sprintf("rcpt@example.com 2.0.0 sent mx3.example.com[127.0.0.3]:%d (250 2.0.0 Ok: queued as ABC)", port))
	if hop.Status != "" || second.connections() != 1 || third.connections() != 1 {
		t.Errorf("hop %v, %d and %d connections", hop, second.connections(), third.connections())
	}
	log := c.Log.(*testLog)
	for _, line := range []string{
		fmt.Sprintf("connect to mx1.example.com[127.0.0.1]:%d: Connection refused", port),
		"4ABCDEF: host mx2.example.com[127.0.0.2] said: 450 4.7.1 later (in reply to MAIL FROM command)",
	} {
		if !log.has(line) {
			t.Errorf("no %q in %v", line, log.lines)
		}
	}
	// With a session limit of 1 the second host decides.
	c.SessionLimit = 1
	rec, hop = run(t, New(c), request(t, fmt.Sprintf("example.com:%d", port), testContent))
	expect(t, "session limit", rec, nil, fmt.Sprintf("rcpt@example.com 4.7.1 deferred mx2.example.com[127.0.0.2]:%d (host mx2.example.com[127.0.0.2] said: 450 4.7.1 later (in reply to MAIL FROM command))", port))
	if hop.Status != "" {
		t.Errorf("hop %v", hop)
	}
	// With an address limit of 1 nobody is left.
	c.AddressLimit, c.SessionLimit = 1, 2
	rec, hop = run(t, New(c), request(t, fmt.Sprintf("example.com:%d", port), testContent))
	why := fmt.Sprintf("connect to mx1.example.com[127.0.0.1]:%d: Connection refused", port)
	expect(t, "address limit", rec, nil, "rcpt@example.com 4.4.1 deferred none ("+why+")")
	if hop.Reason != why {
		t.Errorf("hop %v", hop)
	}
}

// serve3 starts a server on 127.0.0.3.
func serve3(t testing.TB, d dialogue) *scripted {
	l, err := net.Listen("tcp", "127.0.0.3:0")
	if err != nil {
		t.Fatal(err)
	}
	return serveOn(t, l, d)
}

func TestLeftOver(t *testing.T) {
	resolver := nameServer(t, lookupZone)
	own := []netip.Addr{netip.MustParseAddr("127.0.0.99")}
	c := testConfig()
	c.DNS, c.System, c.Own = resolver, resolver, own
	c.RelayHost = "gone.example"
	const gone = "Host or domain name not found. Name service error for name=gone.example type=AAAA: Host not found"
	rec, hop := run(t, New(c), request(t, "gone.example", testContent))
	expect(t, "relayhost", rec, nil, "rcpt@example.com 4.3.5 deferred none ("+gone+")")
	if hop.Status != "4.3.5" || !c.Log.(*testLog).has("relayhost configuration problem") {
		t.Errorf("hop %v, log %v", hop, c.Log.(*testLog).lines)
	}
	c.RelayHost = ""
	c.FallbackRelay = []string{"[gone.example]"}
	rec, _ = run(t, New(c), request(t, "servfail.example", testContent))
	expect(t, "fallback", rec, nil, "rcpt@example.com 4.3.5 deferred none ("+gone+")")

	c.FallbackRelay = nil
	rec, hop = run(t, New(c), request(t, "best.example", testContent))
	expect(t, "loop", rec, nil, "rcpt@example.com 5.4.6 bounced none (mail for best.example loops back to myself)")
	if hop.Status != "" {
		t.Errorf("hop %v", hop)
	}
	// A loop ends the list of destinations.
	s := serve(t, nil)
	rec, _ = run(t, New(c), request(t, "best.example, "+s.nexthop(), testContent))
	expect(t, "loop in a list", rec, nil, "rcpt@example.com 5.4.6 bounced none (mail for best.example loops back to myself)")
	if s.connections() != 0 {
		t.Errorf("%d connections", s.connections())
	}
	var passed []string
	c.BestMXTransport = "local:here"
	c.Pass = func(_ context.Context, _ *deliver.Request, transport, nexthop string, rcpt dsn.Recipient) {
		passed = append(passed, transport+" "+nexthop+" "+rcpt.Address)
	}
	rec, _ = run(t, New(c), request(t, "best.example", testContent))
	if len(rec.results) != 0 || strings.Join(passed, "|") != "local here rcpt@example.com" {
		t.Errorf("results %v, passed %v", rec.results, passed)
	}
}
