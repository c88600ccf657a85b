package ldap

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	goldap "github.com/go-ldap/ldap/v3"

	"suffix/pkg/maillog"
	"suffix/pkg/table"
)

// parameters are what makes a connection. Tables in which they are equal share
// their connections.
type parameters struct {
	name                       string // of the first table, for messages
	urls                       []string
	timeout                    time.Duration // of connecting, of binding, and of each search
	bind                       int
	dn, password               string
	mechanisms, realm, authzid string
	minSSF                     int
	startTLS, requireCert      bool
	caFile, caDir, cert, key   string
	ciphers                    string
	referrals                  bool
}

// How a connection gets the rights of somebody.
const (
	bindNone = iota
	bindSimple
	bindSASL
)

// identity is equal for equal parameters.
func (p parameters) identity() string {
	p.name = ""
	return fmt.Sprintf("%q", fmt.Sprintf("%#v", p))
}

// servers are the servers of one or more tables, and connections to them that
// nobody uses just now.
type servers struct {
	parameters
	id    string
	users int // guarded by mu

	freeMu sync.Mutex
	free   []*connection
}

var (
	mu     sync.Mutex
	shared = make(map[string]*servers)
)

// maxFree limits the connections that are kept without use.
const maxFree = 20

// share returns the servers with these parameters.
func share(p parameters) *servers {
	id := p.identity()
	mu.Lock()
	defer mu.Unlock()
	s := shared[id]
	if s == nil {
		s = &servers{parameters: p, id: id}
		shared[id] = s
	}
	s.users++
	return s
}

// close counts one user less; the last one closes the connections.
func (s *servers) close() {
	mu.Lock()
	s.users--
	last := s.users == 0
	if last {
		delete(shared, s.id)
	}
	mu.Unlock()
	if !last {
		return
	}
	s.freeMu.Lock()
	free := s.free
	s.free = nil
	s.freeMu.Unlock()
	for _, c := range free {
		c.close()
	}
}

// get takes a connection that is kept, or makes one.
func (s *servers) get() (*connection, error) {
	s.freeMu.Lock()
	for len(s.free) > 0 {
		c := s.free[len(s.free)-1]
		s.free = s.free[:len(s.free)-1]
		if c.ldap.IsClosing() {
			c.close()
			continue
		}
		s.freeMu.Unlock()
		return c, nil
	}
	s.freeMu.Unlock()
	return s.dial()
}

// put keeps a connection for the next one who needs it.
func (s *servers) put(c *connection) {
	s.freeMu.Lock()
	defer s.freeMu.Unlock()
	if c.ldap.IsClosing() || len(s.free) >= maxFree {
		c.close()
		return
	}
	s.free = append(s.free, c)
}

// who names the identity of a bind in messages.
func (p *parameters) who() string {
	if p.dn == "" {
		return "empty or implicit"
	}
	return p.dn
}

// dial makes a connection to the first server that listens, and binds. What
// goes wrong is logged.
func (s *servers) dial() (*connection, error) {
	for _, u := range s.urls {
		parsed, problem := parseURL(u)
		if _, _, _, ok := parsed.address(); !ok || problem != 0 || !isURL(u) {
			maillog.Warnf("dict_ldap_connect: Unable to init LDAP server %s", strings.Join(s.urls, " "))
			return nil, &table.Error{Err: syscall.ENOENT}
		}
	}
	config, err := s.tlsConfig()
	if err != nil {
		maillog.Warnf("dict_ldap_set_tls_options: Unable to allocate new TLS context -1: %s", textOf(codeServerDown))
		maillog.Warnf("%s: %s", s.name, err)
		return nil, &table.Error{Err: syscall.ENOENT}
	}
	var c *connection
	var last error = codeError(codeServerDown)
	for _, u := range s.urls {
		if c, last = connect(u, s.timeout, config); last == nil {
			break
		}
	}
	if last != nil {
		return nil, s.failed(nil, last)
	}
	if s.startTLS && !c.secure {
		if err := c.startTLS(config); err != nil {
			c.close()
			code := codeOf(err)
			maillog.Errorf("dict_ldap_connect: Unable to set STARTTLS: %d: %s", code, textOf(code))
			return nil, &table.Error{Err: c.cause(code)}
		}
	}
	if err := s.login(c); err != nil {
		c.close()
		return nil, s.failed(c, err)
	}
	if s.referrals {
		c.config = config
	}
	c.chase = s.referrals
	return c, nil
}

// failed logs that there is no usable connection, as the operation would
// that has met it.
func (s *servers) failed(c *connection, err error) error {
	code := codeOf(err)
	if c == nil {
		c = new(connection)
	}
	cause := c.cause(code)
	var down *unreachable
	if errors.As(err, &down) {
		cause = down.cause()
	}
	switch {
	case s.startTLS && c.ldap == nil:
		maillog.Errorf("dict_ldap_connect: Unable to set STARTTLS: %d: %s", code, textOf(code))
	case s.bind == bindNone:
		maillog.Warnf("dict_ldap_lookup: Search error %d: %s ", code, textOf(code))
	default:
		maillog.Warnf("dict_ldap_connect: Unable to bind to server %s with dn %s: %d (%s)", strings.Join(s.urls, " "), s.who(), code, textOf(code))
	}
	return &table.Error{Err: cause}
}

// login binds.
func (s *servers) login(c *connection) error {
	switch s.bind {
	case bindSimple:
		return c.do(func() error {
			_, err := c.ldap.SimpleBind(&goldap.SimpleBindRequest{Username: s.dn, Password: s.password, AllowEmptyPassword: true})
			return err
		})
	case bindSASL:
		return s.loginSASL(c)
	}
	return nil
}

// loginSASL binds with the first mechanism of sasl_mechs that there is, or
// else with the first that the server offers.
func (s *servers) loginSASL(c *connection) error {
	if s.minSSF > c.strength() {
		return codeError(codeLocalError)
	}
	mechanisms := words(strings.ToUpper(s.mechanisms))
	if len(mechanisms) == 0 {
		entries, err := c.search(goldap.NewSearchRequest("", goldap.ScopeBaseObject, goldap.NeverDerefAliases, 0, 0, false,
			"(objectClass=*)", []string{"supportedSASLMechanisms"}, nil))
		if err != nil {
			return err
		}
		for _, entry := range entries {
			mechanisms = append(mechanisms, entry.GetEqualFoldAttributeValues("supportedSASLMechanisms")...)
		}
		if !slices.Contains(mechanisms, "EXTERNAL") && !slices.Contains(mechanisms, "DIGEST-MD5") {
			return codeError(codeAuthUnknown)
		}
	}
	for _, mechanism := range mechanisms {
		switch {
		case mechanism == "EXTERNAL" && s.authzid == "":
			return c.do(c.ldap.ExternalBind)
		case mechanism == "DIGEST-MD5" && s.dn != "" && s.authzid == "" && s.realm == "":
			return c.do(func() error {
				_, err := c.ldap.DigestMD5Bind(&goldap.DigestMD5BindRequest{Host: c.name, Username: s.dn, Password: s.password})
				return err
			})
		}
	}
	maillog.Warnf("%s: of the SASL mechanisms \"%s\" none is supported: only EXTERNAL and, with bind_dn, DIGEST-MD5 are, without sasl_realm and sasl_authz_id",
		s.name, strings.Join(mechanisms, " "))
	return codeError(codeAuthUnknown)
}
