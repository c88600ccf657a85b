// Package ldap has the table type ldap: entries of a directory, found by a
// filter, with groups whose members are entries of their own (ldap_table(5),
// spec tables §10.2).
//
// The protocol spoken is LDAP version 3. tls_random_file has no meaning here,
// and debuglevel has none either: there is no C library below.
package ldap

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	goldap "github.com/go-ldap/ldap/v3"

	"suffix/pkg/maillog"
	"suffix/pkg/table"
	"suffix/pkg/table/dbcommon"
)

func init() { table.Register("ldap", table.Type{Open: open}) }

// directory is an open table.
type directory struct {
	*dbcommon.Client
	servers *servers

	base, filter *dbcommon.Template
	scope        int
	dereference  int
	sizeLimit    int
	maxDepth     int

	// Names of attributes: those whose values are results, those that count
	// only in entries without members, those that make the others count
	// nothing, and those that name members.
	result, leaf, terminal, special []string
	// asked has all of them.
	asked []string
}

var scopes = map[string]int{"sub": goldap.ScopeWholeSubtree, "base": goldap.ScopeBaseObject, "one": goldap.ScopeSingleLevel}

func open(typ, name string, o table.Options) (table.Table, error) {
	s, err := dbcommon.Parse(typ, name, o)
	if err != nil {
		return nil, err
	}
	t := &directory{}
	p := readParameters(s)

	scope := s.String("scope", "sub", 1, 0)
	var known bool
	if t.scope, known = scopes[scope]; !known {
		maillog.Warnf("dict_ldap_open: %s: Unrecognized value %s specified for scope; using sub", name, scope)
		t.scope = goldap.ScopeWholeSubtree
	}
	t.base = s.Query(s.String("search_base", "", 0, 0))
	filter := s.String("query_filter", "(mailacceptinggeneralid=%s)", 0, 0)
	t.filter = s.Query(filter)
	if s.Err() == nil && !t.filter.UsesKey() {
		maillog.Warnf("dict_ldap_open: %s: Fixed query_filter %s is probably useless", name, filter)
	}
	format := s.String("result_format", "", 0, 0)
	if format == "" {
		format = s.String("result_filter", "%s", 1, 0)
	}
	limit := s.Int("expansion_limit", 0, 0, 0)

	t.result = words(s.String("result_attribute", "maildrop", 0, 0))
	t.leaf = words(s.String("leaf_result_attribute", "", 0, 0))
	t.terminal = words(s.String("terminal_result_attribute", "", 0, 0))
	t.special = words(s.String("special_result_attribute", "", 0, 0))
	t.asked = slices.Concat(t.result, t.leaf, t.terminal, t.special)

	t.sizeLimit = s.Int("size_limit", limit, 0, 0)
	t.maxDepth = s.Int("recursion_limit", 1000, 1, 0)
	t.dereference = s.Int("dereference", 0, 0, 0)
	if t.dereference < 0 || t.dereference > 3 {
		maillog.Warnf("dict_ldap_open: %s Unrecognized value %d specified for dereference; using 0", name, t.dereference)
		t.dereference = 0
	}
	for _, old := range []string{"cache", "cache_expiry", "cache_size"} {
		if _, given := s.Lookup(old); given {
			maillog.Warnf("dict_ldap_open: %s ignoring %s", name, old)
		}
	}
	t.Client = s.NewClient(s.ResultFormat(format), limit)
	if err := s.Err(); err != nil {
		t.Client.Close()
		return nil, err
	}
	t.servers = share(p)
	return t, nil
}

// words splits a list.
func words(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(", \t\r\n", r) })
}

// Close closes the connections, unless another table uses them too.
func (t *directory) Close() error {
	t.servers.close()
	return t.Client.Close()
}

// Lookup searches the directory. A connection that the server has closed is
// made anew, once.
func (t *directory) Lookup(key string) (value string, found bool, err error) {
	if !utf8.ValidString(key) || strings.IndexByte(key, 0) >= 0 {
		return "", false, nil
	}
	wanted, err := t.Wanted(key)
	if err != nil {
		return "", false, &table.Error{}
	}
	if !wanted {
		return "", false, nil
	}
	base, ok := t.expandBase(key)
	if !ok {
		return "", false, nil
	}
	filter, ok := t.filter.Expand(key, quoteFilter)
	if !ok {
		return "", false, nil
	}
	results, ok := t.Results(key)
	if !ok {
		return "", false, nil
	}
	conn, err := t.servers.get()
	if err != nil {
		return "", false, err
	}
	request := t.request(base, t.scope, filter, t.asked)
	entries, err := conn.search(request)
	if err != nil && codeOf(err) == codeServerDown {
		conn.close()
		if conn, err = t.servers.dial(); err != nil {
			return "", false, err
		}
		entries, err = conn.search(request)
	}
	switch code := codeOf(err); {
	case err == nil:
	case code == goldap.LDAPResultNoSuchObject && t.base.UsesKey():
		t.servers.put(conn)
		return "", false, nil
	case code == goldap.LDAPResultNoSuchObject:
		conn.close()
		maillog.Warnf("dict_ldap_lookup: %s: Search base '%s' not found: %d: %s", t.Source.Name(), base, code, textOf(code))
		return "", false, &table.Error{}
	default:
		conn.close()
		maillog.Warnf("dict_ldap_lookup: Search error %d: %s ", code, textOf(code))
		return "", false, &table.Error{Err: conn.cause(code)}
	}
	e := &expansion{directory: t, conn: conn, results: results, key: key}
	err = e.entries(entries, 1)
	if e.last != goldap.LDAPResultSuccess {
		maillog.Warnf("dict_ldap_lookup: Had some trouble with entries returned by search: %s", textOf(e.last))
	}
	if err != nil {
		conn.close()
		return "", false, err
	}
	t.servers.put(conn)
	value, found = results.Value()
	return value, found, nil
}

// expandBase makes the search base. Without templates it is as it stands: the
// key needs no parts for it.
func (t *directory) expandBase(key string) (base string, ok bool) {
	return t.base.Expand(key, quoteDN)
}

// request is a search with the settings of the table.
func (t *directory) request(base string, scope int, filter string, attributes []string) *goldap.SearchRequest {
	seconds := int(t.servers.timeout / time.Second)
	return goldap.NewSearchRequest(base, scope, t.dereference, max(t.sizeLimit, 0), max(seconds, 0), false, filter, attributes, nil)
}

const upperHex = "0123456789ABCDEF"

// quoteFilter quotes for a search filter (RFC 2254).
func quoteFilter(b []byte, text string) []byte { return quote(b, text, "*()\\") }

// quoteDN quotes for a distinguished name (RFC 2253).
func quoteDN(b []byte, text string) []byte { return quote(b, text, " \t\"#+,;<>\\") }

func quote(b []byte, text, special string) []byte {
	for i := 0; i < len(text); i++ {
		if c := text[i]; strings.IndexByte(special, c) >= 0 {
			b = append(b, '\\', upperHex[c>>4], upperHex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}

// readParameters reads what makes a connection.
func readParameters(s *dbcommon.Source) parameters {
	name := s.Name()
	p := parameters{name: name}
	port := s.Int("server_port", 389, 0, 0)
	for _, host := range words(s.String("server_host", "localhost", 1, 0)) {
		p.urls = append(p.urls, serverURL(host, port))
	}
	switch version := s.Int("version", 3, 0, 0); version {
	case 3:
	case 2:
		maillog.Warnf("dict_ldap_open: %s version 2 is not supported, using 3.", name)
	default:
		maillog.Warnf("dict_ldap_open: %s Unknown version %d, using 3.", name, version)
	}
	p.timeout = time.Duration(s.Int("timeout", 10, 0, 0)) * time.Second
	if p.timeout < 0 {
		p.timeout = noTimeout
	}
	switch bind := strings.ToLower(s.String("bind", "yes", 1, 0)); bind {
	case "yes", "simple":
		p.bind = bindSimple
	case "no", "none":
	case "sasl":
		p.bind = bindSASL
	default:
		s.Fail("%s: unsupported parameter value: bind = %s", name, s.String("bind", "yes", 1, 0))
	}
	p.dn = s.String("bind_dn", "", 0, 0)
	p.password = s.String("bind_pw", "", 0, 0)
	p.mechanisms = s.String("sasl_mechs", "", 0, 0)
	p.realm = s.String("sasl_realm", "", 0, 0)
	p.authzid = s.String("sasl_authz_id", "", 0, 0)
	p.minSSF = s.Int("sasl_minssf", 0, 0, 0)
	p.startTLS = s.Bool("start_tls", false)
	p.requireCert = s.Bool("tls_require_cert", false)
	p.caFile = s.String("tls_ca_cert_file", "", 0, 0)
	p.caDir = s.String("tls_ca_cert_dir", "", 0, 0)
	p.cert = s.String("tls_cert", "", 0, 0)
	p.key = s.String("tls_key", "", 0, 0)
	p.ciphers = s.String("tls_cipher_suite", "", 0, 0)
	p.referrals = s.Bool("chase_referrals", false)
	s.Int("debuglevel", 0, 0, 0)
	return p
}

// serverURL makes a URL of an item of server_host.
func serverURL(host string, port int) string {
	lower := strings.ToLower(host)
	if strings.HasPrefix(lower, "ldap://") || strings.HasPrefix(lower, "ldaps://") || strings.HasPrefix(lower, "ldapi://") {
		return host
	}
	if strings.Contains(host, ":") {
		return "ldap://" + host
	}
	return fmt.Sprintf("ldap://%s:%d", host, port)
}

// noTimeout stands for a time limit below zero, which is none.
const noTimeout = time.Hour
