package mysql

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"suffix/pkg/syserr"
)

// tlsSettings are the TLS parameters of a table. Without any there is no TLS;
// with any it is used where the server has it, and with verify it is a must.
// A certificate authority that is named must have signed the certificate in any case.
type tlsSettings struct {
	cert, key      string
	caFile, caPath string
	ciphers        string
	verify         bool // the server must have TLS, and a certificate for its name
}

// used says whether TLS is wanted at all.
func (s *tlsSettings) used() bool {
	return s.verify || s.cert != "" || s.key != "" || s.caFile != "" || s.caPath != "" || s.ciphers != ""
}

// config makes the TLS configuration for a server. Files are read for each
// connection, so that renewed certificates are noticed.
func (s *tlsSettings) config(host string) (*tls.Config, error) {
	c := &tls.Config{ServerName: host, InsecureSkipVerify: true}
	if s.cert != "" || s.key != "" {
		pair, err := tls.LoadX509KeyPair(orElse(s.cert, s.key), orElse(s.key, s.cert))
		if err != nil {
			return nil, fmt.Errorf("TLS/SSL error: %s: %s", orElse(s.cert, s.key), syserr.Text(err))
		}
		c.Certificates = []tls.Certificate{pair}
	}
	if s.ciphers != "" {
		if c.CipherSuites = cipherSuites(s.ciphers); len(c.CipherSuites) == 0 {
			return nil, fmt.Errorf("TLS/SSL error: no usable cipher in \"%s\"", s.ciphers)
		}
	}
	if s.verify || s.caFile != "" || s.caPath != "" {
		c.VerifyConnection = func(state tls.ConnectionState) error {
			if err := s.check(state, host); err != nil {
				return fmt.Errorf("TLS/SSL error: %w", err)
			}
			return nil
		}
	}
	return c, nil
}

// roots returns the certificates to trust; nil: the system's.
func (s *tlsSettings) roots() (*x509.CertPool, error) {
	files := []string{s.caFile}
	if s.caFile == "" {
		if s.caPath == "" {
			return nil, nil
		}
		var err error
		if files, err = filepath.Glob(filepath.Join(s.caPath, "*")); err != nil {
			return nil, fmt.Errorf("%s: %w", s.caPath, err)
		}
	}
	pool := x509.NewCertPool()
	for _, file := range files {
		pem, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("%s: %s", file, syserr.Text(err))
		}
		if !pool.AppendCertsFromPEM(pem) && s.caFile != "" {
			return nil, fmt.Errorf("%s: no certificate found", file)
		}
	}
	return pool, nil
}

// check verifies the server's certificate: its chain, and with tls_verify_cert
// its name. Database servers often make their own certificates, without
// alternative names; then the common name counts.
func (s *tlsSettings) check(state tls.ConnectionState, host string) error {
	roots, err := s.roots()
	if err != nil {
		return err
	}
	leaf := state.PeerCertificates[0]
	others := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		others.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, Intermediates: others}); err != nil {
		return err
	}
	if !s.verify {
		return nil
	}
	if len(leaf.DNSNames)+len(leaf.IPAddresses) > 0 {
		return leaf.VerifyHostname(host)
	}
	if !strings.EqualFold(leaf.Subject.CommonName, host) {
		return fmt.Errorf("certificate is for %s, not for %s", leaf.Subject.CommonName, host)
	}
	return nil
}

// cipherSuites translates OpenSSL's cipher names; unknown ones are left out.
// They say nothing about TLS 1.3.
func cipherSuites(list string) []uint16 {
	var ids []uint16
	for _, name := range strings.FieldsFunc(list, func(r rune) bool { return r == ':' || r == ',' || r == ' ' }) {
		for _, suite := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
			if name == suite.Name || name == openSSLName(suite.Name) {
				ids = append(ids, suite.ID)
			}
		}
	}
	return ids
}

// openSSLName turns TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256 into
// ECDHE-RSA-AES128-GCM-SHA256.
func openSSLName(name string) string {
	name = strings.TrimPrefix(name, "TLS_")
	exchange, cipher, _ := strings.Cut(name, "_WITH_")
	cipher = strings.NewReplacer("AES_128_CBC", "AES128", "AES_256_CBC", "AES256", "AES_128", "AES128", "AES_256", "AES256",
		"CHACHA20_POLY1305_SHA256", "CHACHA20-POLY1305", "3DES_EDE_CBC", "DES-CBC3").Replace(cipher)
	name = strings.ReplaceAll(cipher, "_", "-")
	if exchange != "RSA" {
		name = strings.ReplaceAll(exchange, "_", "-") + "-" + name
	}
	return name
}

func orElse(text, other string) string {
	if text == "" {
		return other
	}
	return text
}
