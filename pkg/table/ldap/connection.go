package ldap

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	ber "github.com/go-asn1-ber/asn1-ber"
	goldap "github.com/go-ldap/ldap/v3"

	"suffix/pkg/syserr"
)

// A connection is one to a server, for one operation at a time.
type connection struct {
	ldap    *goldap.Conn
	raw     *limited
	name    string // of the server
	secure  bool   // encrypted
	local   bool   // a socket of this system
	timeout time.Duration
	chase   bool        // follow referrals
	config  *tls.Config // for servers that referrals name
	hops    int         // referrals that have led here
}

// Limits on what a server may send.
const (
	maxReply  = 64 << 20 // for one operation
	maxPacket = 16 << 20 // for one entry
	maxHops   = 5        // referrals followed one after the other, as in the C library
)

func init() { ber.MaxPacketLengthBytes = maxPacket }

// limited is a connection with a limit on what is read, and that remembers
// that its time was over.
type limited struct {
	net.Conn
	left     atomic.Int64
	timedOut atomic.Bool
}

var errTooMuch = errors.New("the server sends too much")

func (l *limited) Read(p []byte) (int, error) {
	n, err := l.Conn.Read(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		l.timedOut.Store(true)
	}
	if l.left.Add(-int64(n)) < 0 {
		return 0, errTooMuch
	}
	return n, err
}

func (l *limited) Write(p []byte) (int, error) {
	n, err := l.Conn.Write(p)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		l.timedOut.Store(true)
	}
	return n, err
}

// connect makes a connection to one server, without a bind.
func connect(server string, timeout time.Duration, config *tls.Config) (*connection, error) {
	u, _ := parseURL(server)
	network, address, name, _ := u.address()
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var dialer net.Dialer
	conn, err := dialer.DialContext(ctx, network, address)
	if err != nil {
		if ctx.Err() != nil {
			return nil, codeError(codeTimeout)
		}
		return nil, &unreachable{network, err}
	}
	c := &connection{raw: &limited{Conn: conn}, name: name, timeout: timeout, local: network == "unix", secure: u.scheme == "ldaps"}
	c.raw.left.Store(maxReply)
	var stream net.Conn = c.raw
	if c.secure {
		secure := tls.Client(c.raw, named(config, name))
		if err := secure.HandshakeContext(ctx); err != nil {
			conn.Close()
			return nil, codeError(codeServerDown)
		}
		stream = secure
	}
	c.ldap = goldap.NewConn(stream, c.secure)
	c.ldap.Start()
	return c, nil
}

// An unreachable server does not listen.
type unreachable struct {
	network string
	err     error
}

func (e *unreachable) Error() string { return textOf(codeServerDown) }

// cause is the system error that Postfix shows: over TCP it is the one of
// looking after the address of a connection that there is not.
func (e *unreachable) cause() error {
	if e.network == "unix" {
		return syserr.Cause(e.err)
	}
	return syscall.ENOTCONN
}

func named(config *tls.Config, name string) *tls.Config {
	config = config.Clone()
	config.ServerName = name
	return config
}

func (c *connection) close() { c.ldap.Close() }

// strength is what SASL calls the strength of the encryption, in bits. That of
// a local socket is the C library's.
func (c *connection) strength() int {
	switch {
	case c.secure:
		return 256
	case c.local:
		return 71
	}
	return 0
}

// cause is the system error that Postfix shows after a result: what the last
// system call has left.
func (c *connection) cause(code int) error {
	switch {
	case code == codeServerDown:
		return syscall.ENOTCONN
	case code == codeTimeout && !c.local:
		return syscall.EINPROGRESS
	case code == codeConnectError:
		return syscall.EAGAIN
	}
	return nil
}

// do makes one operation within the time limit.
func (c *connection) do(operation func() error) error {
	c.raw.left.Store(maxReply)
	if err := c.raw.SetDeadline(time.Now().Add(c.timeout)); err != nil {
		return codeError(codeServerDown)
	}
	err := operation()
	if err != nil && c.raw.timedOut.Load() {
		return codeError(codeTimeout)
	}
	if err == nil {
		err = c.raw.SetDeadline(time.Time{})
	}
	return err
}

// startTLS encrypts the connection.
func (c *connection) startTLS(config *tls.Config) error {
	err := c.do(func() error { return c.ldap.StartTLS(named(config, c.name)) })
	c.secure = err == nil
	var ldapError *goldap.Error
	var own codeError
	switch {
	case err == nil, errors.As(err, &own):
		return err
	case errors.As(err, &ldapError) && ldapError.ResultCode < goldap.ErrorNetwork:
		return err
	case ldapError != nil && strings.Contains(ldapError.Error(), "TLS handshake failed"):
		return codeError(codeConnectError)
	}
	return codeError(codeServerDown)
}

// search finds entries. A filter may lack its parentheses.
func (c *connection) search(request *goldap.SearchRequest) (entries []*goldap.Entry, err error) {
	if !strings.HasPrefix(request.Filter, "(") {
		request.Filter = "(" + request.Filter + ")"
	}
	var result *goldap.SearchResult
	err = c.do(func() error {
		result, err = c.ldap.Search(request)
		return err
	})
	var referred []string
	if result != nil {
		entries, referred = result.Entries, result.Referrals
	}
	if !c.chase {
		return entries, err
	}
	if codeOf(err) == goldap.LDAPResultReferral {
		if referred = referralOf(err); len(referred) == 0 {
			return nil, err
		}
		// All of them lead to the same entries.
		for _, server := range referred {
			if entries, err = c.follow(server, request); err == nil || codeOf(err) == goldap.LDAPResultNoSuchObject {
				return entries, err
			}
		}
		return nil, codeError(goldap.LDAPResultReferral)
	}
	if err != nil {
		return entries, err
	}
	for _, server := range referred {
		// A part of the tree that cannot be reached is left out, as by the C library.
		if more, err := c.follow(server, request); err == nil {
			entries = append(entries, more...)
		}
	}
	return entries, nil
}

// follow makes a search at another server, as nobody in particular.
func (c *connection) follow(server string, request *goldap.SearchRequest) ([]*goldap.Entry, error) {
	u, problem := parseURL(server)
	if _, _, _, ok := u.address(); !ok || problem != 0 || !isURL(server) {
		return nil, codeError(codeServerDown)
	}
	if c.hops >= maxHops {
		return nil, codeError(goldap.LDAPResultLoopDetect)
	}
	other, err := connect(u.scheme+"://"+u.host, c.timeout, c.config)
	if err != nil {
		return nil, err
	}
	defer other.close()
	other.chase, other.config, other.hops = true, c.config, c.hops+1
	there := *request
	if u.dn != "" {
		there.BaseDN = u.dn
	}
	if strings.Count(server, "?") >= 2 && strings.SplitN(server, "?", 4)[2] != "" {
		there.Scope = u.scope
	}
	return other.search(&there)
}

// referralOf returns the servers that a result names.
func referralOf(err error) (servers []string) {
	var e *goldap.Error
	if !errors.As(err, &e) || e.Packet == nil || len(e.Packet.Children) < 2 {
		return nil
	}
	for _, part := range e.Packet.Children[1].Children {
		if part.ClassType != ber.ClassContext || part.Tag != 3 {
			continue
		}
		for _, server := range part.Children {
			servers = append(servers, ber.DecodeString(server.Data.Bytes()))
		}
	}
	return servers
}

// tlsConfig makes the settings of encryption. Without tls_require_cert any
// certificate will do.
func (p *parameters) tlsConfig() (*tls.Config, error) {
	config := &tls.Config{InsecureSkipVerify: !p.requireCert, MinVersion: tls.VersionTLS10}
	if p.caFile != "" || p.caDir != "" {
		config.RootCAs = x509.NewCertPool()
		if err := addCertificates(config.RootCAs, p.caFile, p.caDir); err != nil {
			return nil, err
		}
	}
	if p.cert != "" || p.key != "" {
		pair, err := tls.LoadX509KeyPair(p.cert, p.key)
		if err != nil {
			return nil, err
		}
		config.Certificates = []tls.Certificate{pair}
	}
	var err error
	config.CipherSuites, err = cipherSuites(p.ciphers)
	return config, err
}

func addCertificates(pool *x509.CertPool, file, dir string) error {
	if file != "" {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		if !pool.AppendCertsFromPEM(text) {
			return errors.New(file + ": no certificate")
		}
	}
	if dir == "" {
		return nil
	}
	names, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		return err
	}
	for _, name := range names {
		// Such a directory may hold other files too.
		if text, err := os.ReadFile(name); err == nil {
			pool.AppendCertsFromPEM(text)
		}
	}
	return nil
}

// cipherSuites reads tls_cipher_suite. Words that stand for a class of
// ciphers, and exclusions, leave the choice to Go, which has only good ones;
// names of ciphers are a choice of their own, for TLS up to 1.2.
func cipherSuites(text string) (ids []uint16, err error) {
	classes := []string{"DEFAULT", "ALL", "HIGH", "MEDIUM", "NORMAL", "PFS", "SECURE", "SECURE128", "SECURE192", "SECURE256", "PERFORMANCE"}
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return strings.ContainsRune(": ,", r) }) {
		known := strings.ContainsAny(word[:1], "!-+@%")
		for _, class := range classes {
			known = known || strings.EqualFold(word, class) || strings.HasPrefix(strings.ToUpper(word), class+"+")
		}
		known = known || strings.HasPrefix(strings.ToUpper(word), "TLSV1")
		for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
			if strings.EqualFold(word, suite.Name) || strings.EqualFold(word, opensslName(suite.Name)) {
				ids, known = append(ids, suite.ID), true
			}
		}
		if !known {
			return nil, errors.New("tls_cipher_suite: unknown cipher: " + word)
		}
	}
	return ids, nil
}

// opensslName turns TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 into
// ECDHE-RSA-AES128-GCM-SHA256.
func opensslName(name string) string {
	name = strings.TrimPrefix(name, "TLS_")
	name = strings.TrimPrefix(strings.ReplaceAll(name, "_WITH_", "_"), "RSA_")
	name = strings.NewReplacer("AES_128_CBC", "AES128", "AES_256_CBC", "AES256", "AES_128", "AES128", "AES_256", "AES256",
		"3DES_EDE_CBC", "DES-CBC3", "CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305").Replace(name)
	return strings.ReplaceAll(name, "_", "-")
}
