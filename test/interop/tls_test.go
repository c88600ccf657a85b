//go:build interop

package interop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"regexp"
	"testing"
	"time"
)

// certificate makes a key and a certificate for 127.0.0.1, in PEM.
func certificate(t *testing.T) []byte {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: hostname}, DNSNames: []string{hostname},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	check(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	check(t, err)
	var b bytes.Buffer
	check(t, pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: secret}))
	check(t, pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der}))
	return b.Bytes()
}

// tlsMasks hide what differs between any two sessions.
var tlsMasks = regexp.MustCompile(`[0-9A-F]{32,}|read from 5[0-9A-F]+|\b\d+ bytes`)

// tlsTraffic has Postfix's SMTP server and client use the TLS manager of the
// choice: for random data, for tickets, and for their session caches.
func tlsTraffic(t *testing.T, c choice, identity []byte) observations {
	t.Helper()
	pair, err := tls.X509KeyPair(identity, identity)
	check(t, err)
	s := newSystem(t, c, map[string]string{
		"smtpd_tls_security_level":           "may",
		"smtpd_tls_chain_files":              "$config_directory/identity.pem",
		"smtpd_tls_loglevel":                 "2",
		"smtpd_tls_session_cache_database":   "btree:$data_directory/smtpd_scache",
		"smtp_tls_security_level":            "may",
		"smtp_tls_loglevel":                  "2",
		"smtp_tls_session_cache_database":    "btree:$data_directory/smtp_scache",
		"smtpd_tls_received_header":          "yes",
		"smtpd_tls_always_issue_session_ids": "yes",
	})
	check(t, os.WriteFile(filepath.Join(s.in.Config(), "identity.pem"), identity, 0o600))
	s.sink.tls = &tls.Config{Certificates: []tls.Certificate{pair}, MaxVersion: tls.VersionTLS12}
	r := &run{system: s, seen: make(observations), ids: make(map[string]string)}
	s.start()

	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		config := &tls.Config{InsecureSkipVerify: true, ClientSessionCache: tls.NewLRUClientSessionCache(10), MinVersion: version, MaxVersion: version, ServerName: hostname}
		for i := range 2 {
			d := dial(t, s.in.Port)
			d.do("EHLO client.test")
			d.do("STARTTLS")
			secure := tls.Client(d.conn, config)
			check(t, secure.Handshake())
			d.conn = secure
			d.in.Reset(secure)
			d.do("EHLO client.test")
			d.do("MAIL FROM:<sender@interop.test>")
			d.do("RCPT TO:<one@sink.test>")
			d.do("DATA")
			m := queuedAs.FindStringSubmatch(d.content(message("over TLS", "x\n")))
			d.quit()
			r.add(fmt.Sprintf("session %x %d", version, i), fmt.Sprintf("resumed: %v\n%s", secure.ConnectionState().DidResume, d.transcript()))
			if m == nil {
				t.Fatalf("not accepted:\n%s", d.transcript())
			}
			r.logged(m[1] + ": removed")
		}
	}
	r.settle()
	if !s.running("tlsmgr") {
		t.Errorf("tlsmgr is not running: %v", s.processes())
	}
	r.collect()
	r.stop()
	for key, list := range r.seen {
		for i, text := range list {
			r.seen[key][i] = tlsMasks.ReplaceAllString(text, "X")
		}
	}
	return r.seen
}

// TestTLSManager: our tlsmgr serves Postfix's programs. None of ours needs one
// yet, so there is no reverse.
func TestTLSManager(t *testing.T) {
	t.Parallel()
	identity := certificate(t)
	compare(t, tlsTraffic(t, postfixAlone, identity), tlsTraffic(t, oursIn("tlsmgr"), identity))
}
