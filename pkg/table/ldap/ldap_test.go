package ldap

import (
	"fmt"
	"io"
	"net"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"suffix/pkg/table"
	"suffix/pkg/table/clienttest"
	_ "suffix/pkg/table/simple"
	"suffix/pkg/table/tabletest"
)

func TestMain(m *testing.M) { clienttest.Main(m, setup) }

// setup is replaced where the tests have a real server.
var setup func() (stop func(), err error)

// entry is one of a test server: its name, and attributes in order.
type entry struct {
	dn         string
	attributes [][]string
}

// tree is a little directory.
var tree = []entry{
	{"cn=alice,dc=x", [][]string{{"cn", "alice"}, {"mail", "alice@x.org"}, {"title", "boss"}, {"title;lang-en", "the boss"}}},
	{"cn=bob,dc=x", [][]string{{"cn", "bob"}, {"mail", "bob@x.org"}}},
	{"cn=two,dc=x", [][]string{{"cn", "two"}, {"mail", "two@x.org", "deux@x.org", ""}}},
	{"cn=staff,dc=x", [][]string{{"cn", "staff"}, {"mail", "staff@x.org"}, {"member", "cn=alice,dc=x", "cn=gone,dc=x", "cn=bob,dc=x"}}},
	{"cn=loop,dc=x", [][]string{{"cn", "loop"}, {"mail", "loop@x.org"}, {"member", "cn=loop,dc=x"}}},
	{"cn=urls,dc=x", [][]string{{"cn", "urls"}, {"mail", "urls@x.org"}, {"member", "ldap:///dc=x?mail?sub?(cn=bob)", "ldap:///dc=x?sn?sub?(cn=alice)"}}},
	{"cn=badurl,dc=x", [][]string{{"cn", "badurl"}, {"member", "ldap:///dc=x?mail?foo"}}},
}

// packet makes a reply of its parts.
func packet(id int64, tag ber.Tag, parts ...*ber.Packet) []byte {
	body := ber.Encode(ber.ClassApplication, ber.TypeConstructed, tag, nil, "")
	for _, part := range parts {
		body.AppendChild(part)
	}
	envelope := ber.NewSequence("")
	envelope.AppendChild(ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagInteger, id, ""))
	envelope.AppendChild(body)
	return envelope.Bytes()
}

func octets(text string) *ber.Packet {
	return ber.NewString(ber.ClassUniversal, ber.TypePrimitive, ber.TagOctetString, text, "")
}

// endOf is a reply that ends an operation.
func endOf(id int64, tag ber.Tag, code int, referrals ...string) []byte {
	parts := []*ber.Packet{ber.NewInteger(ber.ClassUniversal, ber.TypePrimitive, ber.TagEnumerated, int64(code), ""), octets(""), octets("text")}
	if len(referrals) > 0 {
		list := ber.Encode(ber.ClassContext, ber.TypeConstructed, 3, nil, "")
		for _, r := range referrals {
			list.AppendChild(octets(r))
		}
		parts = append(parts, list)
	}
	return packet(id, tag, parts...)
}

// found is a reply with an entry.
func found(id int64, e entry, wanted []string) []byte {
	list := ber.NewSequence("")
	for _, a := range e.attributes {
		if !listed(wanted, a[0]) {
			continue
		}
		values := ber.Encode(ber.ClassUniversal, ber.TypeConstructed, ber.TagSet, nil, "")
		for _, v := range a[1:] {
			values.AppendChild(octets(v))
		}
		attribute := ber.NewSequence("")
		attribute.AppendChild(octets(a[0]))
		attribute.AppendChild(values)
		list.AppendChild(attribute)
	}
	return packet(id, 4, octets(e.dn), list)
}

// serve answers binds and searches in the tree. Searches below "away" are
// referred to where.
func serve(c net.Conn, where string) {
	for {
		request, err := ber.ReadPacket(c)
		if err != nil || len(request.Children) < 2 {
			return
		}
		id, _ := request.Children[0].Value.(int64)
		switch op := request.Children[1]; op.Tag {
		case 0:
			code := 0
			if len(op.Children) > 2 && op.Children[2].Data.String() == "wrong" {
				code = 49
			}
			c.Write(endOf(id, 1, code))
		case 3:
			base, _ := op.Children[0].Value.(string)
			scope, _ := op.Children[1].Value.(int64)
			limit, _ := op.Children[3].Value.(int64)
			filter, err := goldap.DecompileFilter(op.Children[6])
			if err != nil {
				return
			}
			var wanted []string
			for _, a := range op.Children[7].Children {
				wanted = append(wanted, a.Value.(string))
			}
			if base == "away" {
				c.Write(endOf(id, 5, 10, where))
				continue
			}
			code, n := 32, int64(0)
			if base == "dc=x" {
				code = 0
			}
			for _, e := range tree {
				if scope == 0 && e.dn == base || scope != 0 && matches(e, filter) {
					code = 0
					if n++; limit > 0 && n > limit {
						code = 4
						break
					}
					c.Write(found(id, e, wanted))
				}
			}
			c.Write(endOf(id, 5, code))
		case 2:
			return
		default:
			c.Write(endOf(id, op.Tag+1, 2))
		}
	}
}

// matches knows equality, and "*" as a value.
func matches(e entry, filter string) bool {
	name, value, _ := strings.Cut(strings.Trim(filter, "()"), "=")
	for _, a := range e.attributes {
		if strings.EqualFold(a[0], name) && (value == "*" || slices.Contains(a[1:], value)) {
			return true
		}
	}
	return false
}

func start(t testing.TB, where string) *clienttest.Server {
	return clienttest.Serve(t, "tcp", func(c net.Conn, _ int) { serve(c, where) })
}

func openTable(t testing.TB, s *clienttest.Server, lines ...string) (*table.Handle, string) {
	path := clienttest.File(t, append([]string{"server_host = ldap://" + s.Addr, "search_base = dc=x", "query_filter = (mail=%s)",
		"result_attribute = cn"}, lines...)...)
	return tabletest.Open(t, "ldap:"+path, table.Options{}), path
}

func TestLookup(t *testing.T) {
	s := start(t, "")
	for _, c := range []struct {
		lines     []string
		key, want string
		log       string
	}{
		{nil, "alice@x.org", "alice", ""},
		{nil, "nobody@x.org", "none", ""},
		{nil, "a\xff", "none", ""},
		{nil, "a\x00", "none", ""},
		{nil, "a\nb*)(cn=*", "none", ""},
		{nil, strings.Repeat("k", 1<<20), "none", ""},
		{[]string{"result_attribute = title"}, "alice@x.org", "boss,the boss", ""},
		{[]string{"result_attribute = title;lang-en cn"}, "alice@x.org", "alice,the boss", ""},
		{[]string{"result_attribute = mail", "result_format = %U:%s"}, "two@x.org", "two:two@x.org,two:deux@x.org",
			`warning: table "ldap:PATH": empty lookup result for: "two@x.org" -- ignored`},
		{[]string{"result_filter = <%s>"}, "alice@x.org", "<alice>", ""},
		{[]string{"domain = y.org"}, "alice@x.org", "none", ""},
		{[]string{"search_base = cn=%u,dc=x", "scope = base"}, "alice@x.org", "alice", ""},
		{[]string{"search_base = cn=%u,dc=x", "scope = base"}, "nobody@x.org", "none", ""},
		{[]string{"search_base = dc=none", "query_filter = (cn=%s)"}, "nobody", "error",
			"warning: dict_ldap_lookup: PATH: Search base 'dc=none' not found: 32: No such object"},
		{[]string{"query_filter = (cn=%s"}, "alice", "error", "warning: dict_ldap_lookup: Search error -7: Bad search filter "},
		{[]string{"query_filter = cn=%s"}, "alice", "alice", ""},
		{[]string{"query_filter = (cn=*)", "size_limit = 2"}, "x", "error",
			"warning: dict_ldap_open: PATH: Fixed query_filter (cn=*) is probably useless|warning: dict_ldap_lookup: Search error 4: Size limit exceeded "},
		{[]string{"result_attribute = mail", "expansion_limit = 1"}, "two@x.org", "error",
			"warning: dict_ldap_get_values[1]: PATH: Expansion limit exceeded for key: 'two@x.org'"},
		{[]string{"special_result_attribute = member"}, "staff@x.org", "staff,alice,bob",
			"warning: dict_ldap_get_values[1]: DN cn=gone,dc=x not found, skipping "},
		{[]string{"result_attribute =", "leaf_result_attribute = cn", "special_result_attribute = member", "terminal_result_attribute = title"}, "staff@x.org",
			"boss,the boss,bob", "warning: dict_ldap_get_values[1]: DN cn=gone,dc=x not found, skipping "},
		{[]string{"special_result_attribute = member", "recursion_limit = 5"}, "loop@x.org", "error",
			"warning: dict_ldap_get_values[5]: PATH: Recursion limit exceeded for special attribute member=cn=loop,dc=x"},
		{[]string{"result_attribute = mail", "special_result_attribute = member"}, "urls@x.org", "urls@x.org,bob@x.org", ""},
		{[]string{"query_filter = (cn=%s)", "special_result_attribute = member"}, "badurl", "error",
			"warning: dict_ldap_get_values[1]: malformed URL ldap:///dc=x?mail?foo: Strong(er) authentication required(8)"},
		{[]string{"bind_dn = cn=bob", "bind_pw = wrong"}, "alice@x.org", "error",
			"warning: dict_ldap_connect: Unable to bind to server ldap://ADDR with dn cn=bob: 49 (Invalid credentials)"},
		{[]string{"start_tls = yes"}, "alice@x.org", "error", "error: dict_ldap_connect: Unable to set STARTTLS: 2: Protocol error"},
		{[]string{"scope = foo", "dereference = 9", "version = 7", "cache = yes"}, "alice@x.org", "alice",
			"warning: dict_ldap_open: PATH Unknown version 7, using 3.|warning: dict_ldap_open: PATH: Unrecognized value foo specified for scope; using sub|" +
				"warning: dict_ldap_open: PATH Unrecognized value 9 specified for dereference; using 0|warning: dict_ldap_open: PATH ignoring cache"},
		{[]string{"bind = sasl", "sasl_mechs = PLAIN"}, "alice@x.org", "error",
			"warning: PATH: of the SASL mechanisms \"PLAIN\" none is supported: only EXTERNAL and, with bind_dn, DIGEST-MD5 are, without sasl_realm and sasl_authz_id|" +
				"warning: dict_ldap_connect: Unable to bind to server ldap://ADDR with dn empty or implicit: -6 (Unknown authentication method)"},
		{[]string{"bind = sasl", "sasl_mechs = EXTERNAL", "sasl_minssf = 56"}, "alice@x.org", "error",
			"warning: dict_ldap_connect: Unable to bind to server ldap://ADDR with dn empty or implicit: -2 (Local error)"},
		{[]string{"tls_ca_cert_file = /none"}, "alice@x.org", "error",
			"warning: dict_ldap_set_tls_options: Unable to allocate new TLS context -1: Can't contact LDAP server|warning: PATH: open /none: no such file or directory"},
	} {
		var got, path string
		log := tabletest.Logged(t, func() {
			var h *table.Handle
			h, path = openTable(t, s, c.lines...)
			got = tabletest.Find(t, h, c.key)
		})
		log = slices.DeleteFunc(log, func(line string) bool { return strings.Contains(line, "overriding earlier entry") })
		want := strings.NewReplacer("PATH", path, "ADDR", s.Addr).Replace(c.log)
		if got != c.want || strings.TrimSpace(strings.Join(log, "|")) != strings.TrimSpace(want) {
			t.Errorf("%q, %q: %q, want %q; logged\n %q, want\n %q", c.lines, c.key, got, c.want, log, want)
		}
	}
}

// Tables with the same servers and the same rights share a connection, others
// do not.
func TestSharing(t *testing.T) {
	s := start(t, "")
	a, _ := openTable(t, s)
	b, _ := openTable(t, s, "result_attribute = mail")
	c, _ := openTable(t, s, "bind_dn = cn=other", "bind_pw = x")
	tabletest.Logged(t, func() {
		for range 3 {
			if got := tabletest.Find(t, a, "bob@x.org") + tabletest.Find(t, b, "bob@x.org"); got != "bobbob@x.org" {
				t.Error(got)
			}
		}
		if n := s.Conns.Load(); n != 1 {
			t.Errorf("%d connections", n)
		}
		tabletest.Find(t, c, "bob@x.org")
	})
	if n := s.Conns.Load(); n != 2 {
		t.Errorf("%d connections with other rights", n)
	}
}

// A connection that is lost is made anew, without a word.
func TestReconnect(t *testing.T) {
	s := clienttest.Serve(t, "tcp", func(c net.Conn, number int) {
		if number%2 == 1 { // answer the bind, and go
			request, err := ber.ReadPacket(c)
			if err == nil {
				c.Write(endOf(request.Children[0].Value.(int64), 1, 0))
			}
			ber.ReadPacket(c)
			return
		}
		serve(c, "")
	})
	h, _ := openTable(t, s)
	log := tabletest.Logged(t, func() {
		if got := tabletest.Find(t, h, "bob@x.org"); got != "bob" {
			t.Error(got)
		}
	})
	if len(log) > 0 || s.Conns.Load() != 2 {
		t.Errorf("%d connections, %q", s.Conns.Load(), log)
	}
}

// The first server that listens is used.
func TestFailover(t *testing.T) {
	s := start(t, "")
	h, _ := openTable(t, s, "server_host = "+clienttest.Free(t)+" "+s.Addr)
	var got string
	log := tabletest.Logged(t, func() { got = tabletest.Find(t, h, "bob@x.org") })
	if got != "bob" || len(log) != 0 {
		t.Errorf("%s %q", got, log)
	}
	one, two := clienttest.Free(t), clienttest.Free(t)
	h, _ = openTable(t, s, "server_host = "+one+", ldap://"+two)
	log = tabletest.Logged(t, func() {
		if _, _, err := h.Lookup("bob@x.org"); err == nil || err.Error() != "Transport endpoint is not connected" {
			t.Error(err)
		}
	})
	if want := "warning: dict_ldap_connect: Unable to bind to server ldap://" + one + " ldap://" + two +
		" with dn empty or implicit: -1 (Can't contact LDAP server)"; !slices.Equal(log, []string{want}) {
		t.Errorf("%q", log)
	}
}

// Referrals are followed where that is wanted, and not for ever.
func TestReferrals(t *testing.T) {
	s := start(t, "")
	away := start(t, "ldap://"+s.Addr+"/dc=x")
	circle := clienttest.Free(t)
	l, err := net.Listen("tcp", circle)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				serve(c, "ldap://"+circle+"/away")
				c.Close()
			}()
		}
	}()
	for _, test := range []struct{ addr, chase, want string }{{away.Addr, "yes", "bob"}, {away.Addr, "no", "error"}, {circle, "yes", "error"}} {
		h, _ := openTable(t, s, "server_host = "+test.addr, "search_base = away", "chase_referrals = "+test.chase)
		var got string
		log := tabletest.Logged(t, func() { got = tabletest.Find(t, h, "bob@x.org") })
		if got != test.want || got == "error" && !slices.Equal(log, []string{"warning: dict_ldap_lookup: Search error 10: Referral"}) &&
			!slices.Equal(log, []string{"warning: dict_ldap_lookup: Search error 10: Referral "}) {
			t.Errorf("%v: %s %q", test, got, log)
		}
	}
}

// impatient makes the time limit of a table's connections short.
func impatient(h *table.Handle) { h.Driver().(*directory).servers.timeout = 100 * time.Millisecond }

// Servers that hang, speak nonsense or never end: time and memory are bounded.
func TestHostileServers(t *testing.T) {
	for name, hostile := range map[string]func(c net.Conn, _ int){
		"hang":  func(c net.Conn, _ int) { io.Copy(io.Discard, c) },
		"close": func(c net.Conn, _ int) {},
		"garbage": func(c net.Conn, _ int) {
			io.WriteString(c, "220 hello, this is no directory\r\n")
			io.Copy(io.Discard, c)
		},
		"endless": func(c net.Conn, _ int) { endless(c, []byte(strings.Repeat("0", 1<<16))) },
		"huge": func(c net.Conn, _ int) {
			c.Write([]byte{0x30, 0x84, 0x7f, 0xff, 0xff, 0xff})
			endless(c, make([]byte, 1<<16))
		},
		"deep": func(c net.Conn, _ int) { endless(c, []byte(strings.Repeat("\x30\x80", 1<<15))) },
		"entries": func(c net.Conn, _ int) {
			for range 2 {
				request, err := ber.ReadPacket(c)
				if err != nil {
					return
				}
				id := request.Children[0].Value.(int64)
				if request.Children[1].Tag == 0 {
					c.Write(endOf(id, 1, 0))
					continue
				}
				endless(c, []byte(strings.Repeat(string(found(id, tree[0], []string{"cn"})), 1000)))
			}
		},
	} {
		s := clienttest.Serve(t, "tcp", hostile)
		h, _ := openTable(t, s)
		impatient(h)
		var got string
		log := tabletest.Logged(t, func() { got = tabletest.Find(t, h, "bob@x.org") })
		if got != "error" || len(log) != 1 {
			t.Errorf("%s: %s %q", name, got, log)
		}
	}
}

func endless(c net.Conn, block []byte) {
	for {
		if _, err := c.Write(block); err != nil {
			return
		}
	}
}

// A server that stops in the middle of its reply, wherever: an error, never a
// wrong value.
func TestCutReplies(t *testing.T) {
	whole := len(found(2, tree[1], []string{"cn"})) + len(endOf(2, 5, 0))
	for n := range whole {
		s := clienttest.Serve(t, "tcp", func(c net.Conn, _ int) {
			for range 2 {
				request, err := ber.ReadPacket(c)
				if err != nil {
					return
				}
				id := request.Children[0].Value.(int64)
				if request.Children[1].Tag == 0 {
					c.Write(endOf(id, 1, 0))
					continue
				}
				c.Write(append(found(id, tree[1], []string{"cn"}), endOf(id, 5, 0)...)[:n])
			}
		})
		h, _ := openTable(t, s)
		var got string
		log := tabletest.Logged(t, func() { got = tabletest.Find(t, h, "bob@x.org") })
		if got != "error" || len(log) != 1 {
			t.Errorf("%d bytes of %d: %s %q", n, whole, got, log)
		}
	}
}

func TestLocalSocket(t *testing.T) {
	s := clienttest.Serve(t, "unix", func(c net.Conn, _ int) { serve(c, "") })
	h, _ := openTable(t, s, "server_host = ldapi://"+strings.ReplaceAll(s.Addr, "/", "%2F"), "bind = sasl", "sasl_mechs = EXTERNAL", "sasl_minssf = 56")
	if got := tabletest.Find(t, h, "bob@x.org"); got != "bob" {
		t.Error(got)
	}
}

func TestOpenErrors(t *testing.T) {
	for _, c := range []struct {
		line string
		o    table.Options
		want string
	}{
		{"bind = foo", table.Options{}, "PATH: unsupported parameter value: bind = foo"},
		{"recursion_limit = 0", table.Options{}, "PATH: invalid recursion_limit parameter value 0 < 1"},
		{"query_filter = (mail=%x)", table.Options{}, "db_common_parse: PATH: Invalid query template: (mail=%x)"},
		{"server_host =", table.Options{}, "PATH: bad string length 0 < 1: server_host = "},
		{"timeout = x", table.Options{}, "PATH: bad numerical configuration: timeout = x"},
		{"start_tls = maybe", table.Options{}, "PATH: bad boolean configuration: start_tls = maybe"},
		{"", table.Options{Mode: table.ReadWrite}, "ldap:PATH map requires O_RDONLY access mode"},
	} {
		path := clienttest.File(t, c.line)
		c.o.Command = true
		h := table.Open("ldap:"+path, c.o)
		if want := strings.ReplaceAll(c.want, "PATH", path); h.Err() == nil || h.Err().Error() != want {
			t.Errorf("%s: %v, want %s", c.line, h.Err(), want)
		}
		h.Close()
	}
}

func TestQuoting(t *testing.T) {
	if got := string(quoteFilter(nil, `a*(b)\c`)); got != `a\2A\28b\29\5Cc` {
		t.Error(got)
	}
	if got := string(quoteDN(nil, "a b\t\"#+,;<>\\c=")); got != `a\20b\09\22\23\2B\2C\3B\3C\3E\5Cc=` {
		t.Error(got)
	}
}

func TestURLs(t *testing.T) {
	for text, want := range map[string]string{
		"ldap:///dc=x?a,b;c?sub?(x=%2a)": "dc=x|[a b;c]|2|(x=*)|0", "LDAP://h:1/": "|[]|0|(objectClass=*)|0",
		"<URL:ldaps:///cn=a%20b??one>": "cn=a b|[]|1|(objectClass=*)|0", "<ldap:///": "|[]|0|(objectClass=*)|4",
		"ldap:///dc=x?a?foo": "dc=x|[a]|0|(objectClass=*)|8", "ldap://[::1/": "|[]|0|(objectClass=*)|5", "ldap:///cn=%zz": "|[]|0|(objectClass=*)|0",
	} {
		u, problem := parseURL(text)
		if got := fmt.Sprintf("%s|%v|%d|%s|%d", u.dn, u.attributes, u.scope, u.filter, problem); got != want {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
	for text, want := range map[string]string{
		"ldap://": "tcp localhost:389", "ldaps://h": "tcp h:636", "ldap://[::1]:7": "tcp [::1]:7", "ldapi://%2Fa%2Fb": "unix /a/b",
		"ldap://h:x": "bad", "ldap://h:": "bad", "ldap://h:0": "tcp h:389",
	} {
		u, _ := parseURL(text)
		network, address, _, ok := u.address()
		if got := network + " " + address; got != want && (ok || want != "bad") {
			t.Errorf("%s: %s, want %s", text, got, want)
		}
	}
}

func TestCipherSuites(t *testing.T) {
	for text, want := range map[string]int{"": 0, "HIGH:!aNULL:-SSLv3": 0, "NORMAL:+VERS-TLS1.2": 0, "ECDHE-RSA-AES128-GCM-SHA256:HIGH": 1,
		"AES128-SHA ECDHE-ECDSA-CHACHA20-POLY1305": 2, "TLS_AES_128_GCM_SHA256": 1, "FOO": -1} {
		ids, err := cipherSuites(text)
		if want < 0 && err == nil || want >= 0 && (err != nil || len(ids) != want) {
			t.Errorf("%q: %v %v", text, ids, err)
		}
	}
}

func TestCertificateDirectory(t *testing.T) {
	p := parameters{caDir: filepath.Join(t.TempDir(), "none")}
	if _, err := p.tlsConfig(); err != nil {
		t.Error(err)
	}
}

// A filter made of any key is a filter with that value.
func FuzzFilter(f *testing.F) {
	f.Add(`a*(b)\c`)
	f.Add("é")
	f.Fuzz(func(t *testing.T, key string) {
		if strings.ToValidUTF8(key, "") != key || strings.Contains(key, "\x00") || key == "" {
			return
		}
		compiled, err := goldap.CompileFilter(string(quoteFilter([]byte("(mail="), key)) + ")")
		if err != nil {
			t.Fatalf("%q: %v", key, err)
		}
		if compiled.Tag != goldap.FilterEqualityMatch {
			t.Fatalf("%q: tag %d", key, compiled.Tag)
		}
		if got, _ := compiled.Children[1].Value.(string); got != key {
			t.Errorf("%q: %q", key, got)
		}
	})
}

func FuzzURL(f *testing.F) {
	f.Add("ldap:///dc=x?a,b?sub?(x=y)?!e")
	f.Fuzz(func(t *testing.T, text string) {
		if u, problem := parseURL(text); problem == 0 {
			u.address()
		}
	})
}

// Lookups at the same time do not get each other's entries.
func TestConcurrent(t *testing.T) {
	s := start(t, "")
	h, _ := openTable(t, s)
	var wait sync.WaitGroup
	for range 8 {
		wait.Go(func() {
			for range 30 {
				for _, name := range []string{"alice", "bob", "two"} {
					if value, found, err := h.Lookup(name + "@x.org"); value != name || !found || err != nil {
						t.Errorf("%s: %q %v %v", name, value, found, err)
					}
				}
			}
		})
	}
	wait.Wait()
	if n := s.Conns.Load(); n > 8 {
		t.Errorf("%d connections", n)
	}
}
