package dnsclient

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"
)

// zone is a name server on the loopback address. Its records are those of a
// zone file; names that begin with certain words misbehave.
type zone struct {
	addr string
	mu   sync.Mutex
	asks []string
}

// newZone starts the server, over UDP and TCP on one port.
func newZone(t testing.TB, text string) *zone {
	t.Helper()
	var records []dns.RR
	parser := dns.NewZoneParser(strings.NewReader(text), "", "test")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		records = append(records, rr)
	}
	if err := parser.Err(); err != nil {
		t.Fatal(err)
	}
	z := &zone{}
	handler := dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) { z.answer(w, q, records) })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	z.addr = l.Addr().String()
	pc, err := net.ListenPacket("udp", z.addr)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []*dns.Server{{Listener: l, Handler: handler}, {PacketConn: pc, Handler: handler}} {
		go func() { _ = s.ActivateAndServe() }()
		t.Cleanup(func() { _ = s.Shutdown() })
	}
	return z
}

func (z *zone) answer(w dns.ResponseWriter, q *dns.Msg, records []dns.RR) {
	reply := new(dns.Msg)
	reply.SetReply(q)
	reply.AuthenticatedData = q.AuthenticatedData
	name := q.Question[0].Name
	z.mu.Lock()
	z.asks = append(z.asks, name+" "+dns.TypeToString[q.Question[0].Qtype])
	z.mu.Unlock()
	_, udp := w.RemoteAddr().(*net.UDPAddr)
	switch {
	case strings.HasPrefix(name, "servfail."):
		reply.Rcode = dns.RcodeServerFailure
	case strings.HasPrefix(name, "refused."):
		reply.Rcode = dns.RcodeRefused
	case strings.HasPrefix(name, "formerr."):
		reply.Rcode = dns.RcodeFormatError
	case strings.HasPrefix(name, "silent."):
		return
	case strings.HasPrefix(name, "other."):
		reply.Question[0].Name = "wrong.example."
	case strings.HasPrefix(name, "big.") && udp:
		reply.Truncated = true
	default:
		known := false
		for _, rr := range records {
			if !strings.EqualFold(rr.Header().Name, name) {
				continue
			}
			known = true
			if t := rr.Header().Rrtype; t == q.Question[0].Qtype || t == dns.TypeCNAME {
				reply.Answer = append(reply.Answer, rr)
			}
		}
		if !known {
			reply.Rcode = dns.RcodeNameError
		}
	}
	_ = w.WriteMsg(reply)
}

const testZone = `
example.com. 60 IN MX 20 b.example.com.
example.com. 60 IN MX 10 a.example.com.
example.com. 60 IN TXT "one" " two\"" "\009x"
example.com. 60 IN NS ns.example.com.
example.com. 60 IN SOA ns.example.com. admin.example.com. 1 2 3 4 5
a.example.com. 60 IN A 192.0.2.1
a.example.com. 60 IN AAAA 2001:db8::1
b.example.com. 60 IN A 192.0.2.2
only6.example.com. 60 IN AAAA 2001:db8::6
alias.example.com. 60 IN CNAME a.example.com.
nowhere.example.com. 60 IN CNAME gone.example.net.
null.example. 60 IN MX 0 .
null.example. 60 IN MX 10 a.example.com.
nosrv.example. 60 IN SRV 0 0 0 .
_smtp._tcp.example.com. 60 IN SRV 1 2 2525 a.example.com.
numeric.example. 60 IN MX 5 192.0.2.9.
badname.example. 60 IN MX 5 bad%name.example.
halfbad.example. 60 IN MX 5 -x.example.
halfbad.example. 60 IN MX 6 a.example.com.
big.example. 60 IN A 192.0.2.77
1.2.0.192.in-addr.arpa. 60 IN PTR a.example.com.
x.corp.example. 60 IN A 192.0.2.50
`

func chain(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "c%d.chain%d.example. 60 IN CNAME c%d.chain%d.example.\n", i, n, i+1, n)
	}
	fmt.Fprintf(&b, "c%d.chain%d.example. 60 IN A 192.0.2.3\n", n, n)
	return b.String()
}

type warnings struct {
	mu    sync.Mutex
	lines []string
}

func (w *warnings) warnf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.lines = append(w.lines, fmt.Sprintf(format, args...))
}

// quick shortens the waits for silent servers.
func quick(r *Resolver) *Resolver {
	r.conf.current.timeout = 50 * time.Millisecond
	return r
}

func TestLookup(t *testing.T) {
	z := newZone(t, testZone+chain(10)+chain(11))
	const prefix = "Host or domain name not found. Name service error for name="
	tests := []struct {
		name   string
		qtype  uint16
		result Result
		want   string // records in printed form, or the text
		warn   string
	}{
		{"example.com", TypeMX, OK, "example.com. 60 IN MX 20 b.example.com.|example.com. 60 IN MX 10 a.example.com.", ""},
		{"EXAMPLE.com.", TypeNS, OK, "example.com. 60 IN NS ns.example.com.", ""},
		{"example.com", TypeTXT, OK, `example.com. 60 IN TXT one two"?x`, ""},
		{"example.com", TypeSOA, OK, "example.com. 60 IN SOA ns.example.com. admin.example.com. 1 2 3 4 5", ""},
		{"a.example.com", TypeA, OK, "a.example.com. 60 IN A 192.0.2.1", ""},
		{"alias.example.com", TypeA, OK, "a.example.com. 60 IN A 192.0.2.1", ""},
		{"alias.example.com", TypeCNAME, OK, "alias.example.com. 60 IN CNAME a.example.com.", ""},
		{"1.2.0.192.in-addr.arpa", TypePTR, OK, "1.2.0.192.in-addr.arpa. 60 IN PTR a.example.com.", ""},
		{"_smtp._tcp.example.com", TypeSRV, OK, "_smtp._tcp.example.com. 60 IN SRV 1 2 2525 a.example.com.", ""},
		{"big.example", TypeA, OK, "big.example. 60 IN A 192.0.2.77", ""},
		{"c0.chain10.example", TypeA, OK, "c10.chain10.example. 60 IN A 192.0.2.3", ""},
		{"c0.chain11.example", TypeA, NotFound, "Name server loop for c0.chain11.example", "dns_lookup: Name server loop for c0.chain11.example"},
		{"none.example.com", TypeMX, NotFound, prefix + "none.example.com type=MX: Host not found", ""},
		{"nowhere.example.com", TypeA, NotFound, prefix + "nowhere.example.com type=A: Host not found", ""},
		{"a.example.com", TypeMX, NoData, prefix + "a.example.com type=MX: Host found but no data record of requested type", ""},
		{"servfail.example", TypeA, Retry, prefix + "servfail.example type=A: Host not found, try again", ""},
		{"refused.example", TypeA, Retry, prefix + "refused.example type=A: Host not found, try again", ""},
		{"silent.example", TypeA, Retry, prefix + "silent.example type=A: Host not found, try again", ""},
		{"other.example", TypeA, Retry, prefix + "other.example type=A: Host not found, try again", ""},
		{"formerr.example", TypeA, Fail, prefix + "formerr.example type=A: Non-recoverable error", ""},
		{"192.0.2.1", TypeA, NotFound, "Name service error for 192.0.2.1: invalid host or domain name", ""},
		{"bad..name", TypeA, NotFound, "Name service error for bad..name: invalid host or domain name", ""},
		{"null.example", TypeMX, NullMX, "Domain null.example does not accept mail (nullMX)", ""},
		{"nosrv.example", TypeSRV, NullSRV, "Domain nosrv.example does not support SRV requests", ""},
		{"numeric.example", TypeMX, OK, "numeric.example. 60 IN MX 5 192.0.2.9.", "numeric domain name in resource data of MX record for numeric.example: 192.0.2.9"},
		{"badname.example", TypeMX, Invalid, "Name service error for name=badname.example type=MX: Malformed or unexpected name server reply", "malformed domain name in resource data of MX record for badname.example: bad%name.example"},
		{"halfbad.example", TypeMX, OK, "halfbad.example. 60 IN MX 6 a.example.com.", "malformed domain name in resource data of MX record for halfbad.example: -x.example"},
	}
	for _, test := range tests {
		var w warnings
		r := quick(New(Options{Servers: []string{z.addr}, Warnf: w.warnf}))
		a := r.Lookup(context.Background(), test.name, test.qtype)
		got := a.Text
		if a.Result == OK {
			var printed []string
			for _, rec := range a.Records {
				printed = append(printed, rec.String())
			}
			got = strings.Join(printed, "|")
		}
		if a.Result != test.result || got != test.want || strings.Join(w.lines, "|") != test.warn {
			t.Errorf("%s %s: got %v %q (%q)\nwant %v %q (%q)", test.name, TypeName(test.qtype), a.Result, got, w.lines, test.result, test.want, test.warn)
		}
		if (a.Err() == nil) != (test.result == OK) {
			t.Errorf("%s: Err() = %v", test.name, a.Err())
		}
	}
}

func TestLookupAddrs(t *testing.T) {
	z := newZone(t, testZone)
	r := quick(New(Options{Servers: []string{z.addr}}))
	addrs := func(name string, types ...uint16) string {
		a := r.LookupAddrs(context.Background(), name, types...)
		if a.Result != OK {
			return a.Result.String() + ": " + a.Text
		}
		var list []string
		for _, rec := range a.Records {
			list = append(list, rec.Addr.String())
		}
		return strings.Join(list, " ")
	}
	const prefix = "Host or domain name not found. Name service error for name="
	for name, want := range map[string]string{
		"a.example.com":     "192.0.2.1 2001:db8::1",
		"only6.example.com": "2001:db8::6",
		"b.example.com":     "192.0.2.2",
		"null.example":      "nodata: " + prefix + "null.example type=AAAA: Host found but no data record of requested type",
		"servfail.example":  "retry: " + prefix + "servfail.example type=A: Host not found, try again",
	} {
		if got := addrs(name, TypeA, TypeAAAA); got != want {
			t.Errorf("%s: got %q, want %q", name, got, want)
		}
	}
	if got := addrs("a.example.com", TypeAAAA); got != "2001:db8::1" {
		t.Errorf("AAAA only: %q", got)
	}
	if got := addrs("a.example.com"); got != "notfound: " {
		t.Errorf("no types: %q", got)
	}
}

func TestSearch(t *testing.T) {
	z := newZone(t, testZone)
	host, port, _ := net.SplitHostPort(z.addr)
	path := filepath.Join(t.TempDir(), "resolv.conf")
	conf := "# comment\nnameserver [" + host + "]:" + port + "\nsearch other.example corp.example\noptions timeout:1 attempts:1 ndots:1 rotate\n"
	if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
		t.Fatal(err)
	}
	lookup := func(o Options, name string) Result {
		o.ResolvConf = path
		return New(o).Lookup(context.Background(), name, TypeA).Result
	}
	if r := lookup(Options{}, "x"); r != NotFound {
		t.Errorf("plain: %v", r)
	}
	if r := lookup(Options{DNSSearch: true}, "x"); r != OK {
		t.Errorf("search: %v", r)
	}
	if r := lookup(Options{DefNames: true}, "x"); r != NotFound {
		t.Errorf("default domain: %v", r)
	}
	// Without the option a name is taken as it stands, dots or not.
	z.mu.Lock()
	first := z.asks[0]
	z.mu.Unlock()
	if first != "x. A" {
		t.Errorf("first question %q", first)
	}
}

func TestFilter(t *testing.T) {
	z := newZone(t, testZone)
	var w warnings
	lookup := func(filter func(string) (string, bool, error)) Answer {
		r := New(Options{Servers: []string{z.addr}, Filter: filter, FilterName: "smtp_dns_reply_filter", Warnf: w.warnf, Infof: w.warnf})
		return r.Lookup(context.Background(), "example.com", TypeMX)
	}
	a := lookup(func(rec string) (string, bool, error) { return "ignore", strings.Contains(rec, " 10 "), nil })
	if a.Result != OK || len(a.Records) != 1 || a.Records[0].Pref != 20 || w.lines[0] != "ignoring DNS RR: example.com. 60 IN MX 10 a.example.com." {
		t.Errorf("one dropped: %+v %v", a, w.lines)
	}
	if a = lookup(func(string) (string, bool, error) { return "IGNORE", true, nil }); a.Result != Policy || a.Text != "Error looking up name=example.com type=MX: DNS reply filter drops all results" {
		t.Errorf("all dropped: %+v", a)
	}
	w.lines = nil
	if a = lookup(func(string) (string, bool, error) { return "PERMIT", true, nil }); a.Result != Retry || a.Text != "Error looking up name=example.com type=MX: Invalid DNS reply filter syntax" || w.lines[0] != `smtp_dns_reply_filter: unknown DNS filter action: "PERMIT"` {
		t.Errorf("bad action: %+v %v", a, w.lines)
	}
	if a = lookup(func(string) (string, bool, error) { return "", false, errors.New("down") }); a.Result != Retry {
		t.Errorf("error: %+v", a)
	}
}

func TestSecure(t *testing.T) {
	z := newZone(t, testZone)
	for _, dnssec := range []bool{true, false} {
		r := New(Options{Servers: []string{z.addr}, DNSSEC: dnssec})
		if a := r.Lookup(context.Background(), "alias.example.com", TypeA); a.Secure != dnssec || a.Records[0].Secure != dnssec || a.Name != "a.example.com" {
			t.Errorf("DNSSEC %v: %+v", dnssec, a)
		}
	}
}

func TestRecordLimit(t *testing.T) {
	var b strings.Builder
	for i := range 150 {
		fmt.Fprintf(&b, "big.many.example. 60 IN A 192.0.2.%d\n", i)
	}
	z := newZone(t, b.String())
	var w warnings
	a := New(Options{Servers: []string{z.addr}, Warnf: w.warnf}).Lookup(context.Background(), "big.many.example", TypeA)
	if len(a.Records) != MaxRecords || len(w.lines) != 1 || w.lines[0] != "DNS record count limit (100) exceeded -- dropping excess record(s) after qname=big.many.example qtype=A" {
		t.Errorf("%d records, %v", len(a.Records), w.lines)
	}
}

// TestDeadServer asks a server that does not exist, then one that does.
func TestDeadServer(t *testing.T) {
	z := newZone(t, testZone)
	pc, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	r := quick(New(Options{Servers: []string{pc.LocalAddr().String(), z.addr}}))
	if a := r.Lookup(context.Background(), "a.example.com", TypeA); a.Result != OK {
		t.Errorf("got %+v", a)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if a := r.Lookup(ctx, "a.example.com", TypeA); a.Result != Retry {
		t.Errorf("cancelled: %+v", a)
	}
}

func TestNative(t *testing.T) {
	z := newZone(t, testZone)
	r := New(Options{Servers: []string{z.addr}})
	ctx := context.Background()
	if list, err := r.NativeAddrs(ctx, "a.example.com."); err != nil || len(list) != 2 {
		t.Errorf("got %v, %v", list, err)
	}
	_, err := r.NativeAddrs(ctx, "none.example.com.")
	var n *NativeError
	if !errors.As(err, &n) || n.Result != NativeNoName || n.Text != "Name or service not known" {
		t.Errorf("got %v", err)
	}
	if name, err := r.NativeName(ctx, netip.MustParseAddr("192.0.2.1")); err != nil || name != "a.example.com" {
		t.Errorf("got %q, %v", name, err)
	}
}

func TestCheckHostname(t *testing.T) {
	for name, want := range map[string]string{
		"example.com": "", "a_b.example": "", "x": "", "1.2.3.4x": "",
		"": "empty hostname", "a..b": "misplaced delimiter", ".a": "misplaced delimiter", "a.": "misplaced delimiter",
		"-a": "misplaced hyphen", "a-": "misplaced hyphen", "a-.b": "misplaced hyphen", "a b": "invalid character",
		"1.2.3.4": "numeric hostname", strings.Repeat("a", 64): "hostname label too long",
		strings.Repeat("a.", 150): "bad length", "caf\u00e9.example": "invalid character",
	} {
		if got := CheckHostname(name); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
	if got := ToASCII("caf\u00e9.example"); got != "xn--caf-dma.example" {
		t.Errorf("ToASCII: %q", got)
	}
}

func TestReverseName(t *testing.T) {
	if got := ReverseName(netip.MustParseAddr("::ffff:192.0.2.1")); got != "1.2.0.192.in-addr.arpa" {
		t.Errorf("got %q", got)
	}
}

// FuzzAnswer lets a server send anything at all.
func FuzzAnswer(f *testing.F) {
	reply := new(dns.Msg)
	reply.SetQuestion("example.com.", dns.TypeMX)
	reply.Response = true
	parser := dns.NewZoneParser(strings.NewReader(testZone), "", "test")
	for rr, ok := parser.Next(); ok; rr, ok = parser.Next() {
		reply.Answer = append(reply.Answer, rr)
	}
	packed, err := reply.Pack()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(packed, uint16(TypeMX))
	f.Add(packed, uint16(TypeTXT))
	r := New(Options{Servers: []string{"127.0.0.1:1"}})
	f.Fuzz(func(t *testing.T, data []byte, qtype uint16) {
		msg := new(dns.Msg)
		if msg.Unpack(data) != nil {
			return
		}
		for _, rr := range msg.Answer {
			if rec, ok := record(rr); ok {
				_ = rec.String()
			}
		}
		records, last, ok := r.pick(msg, "example.com", qtype)
		if len(records) > MaxRecords {
			t.Fatalf("%d records", len(records))
		}
		if ok && len(records) > 0 {
			a := r.finish("example.com", qtype, records, last, false)
			for _, rec := range a.Records {
				if (qtype == TypeMX || qtype == TypePTR) && !rec.Addr.IsValid() && !ValidHostname(rec.Target) {
					t.Fatalf("invalid name %q", rec.Target)
				}
			}
		}
	})
}

func FuzzResolvConf(f *testing.F) {
	f.Add("nameserver 127.0.0.1\nsearch a b\noptions timeout:1 ndots:99 attempts:-1\n")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text string) {
		path := filepath.Join(dir, "resolv.conf")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := parseResolvConf(path)
		if err != nil {
			return
		}
		if len(s.servers) == 0 || len(s.servers) > maxServers || s.timeout < time.Second || s.timeout > maxTimeout || s.attempts < 1 || s.attempts > maxAttempts || s.ndots > maxNdots {
			t.Fatalf("settings %+v", s)
		}
	})
}
