package lint

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"io/fs"
	"math/big"
	"strings"
	"testing"
	"time"
)

// makeCertificate returns a certificate and its key in PEM form.
func makeCertificate(t *testing.T, algorithm string, notAfter time.Time) (cert, key string) {
	t.Helper()
	var private crypto.Signer
	var err error
	var kind string
	var der []byte
	switch algorithm {
	case "rsa":
		k, e := rsa.GenerateKey(rand.Reader, 2048)
		private, err, kind, der = k, e, "RSA PRIVATE KEY", x509.MarshalPKCS1PrivateKey(k)
	case "ec":
		k, e := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if e != nil {
			t.Fatal(e)
		}
		private, kind = k, "EC PRIVATE KEY"
		der, err = x509.MarshalECPrivateKey(k)
	case "ecdsa":
		private, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	case "ed25519":
		_, private, err = ed25519.GenerateKey(rand.Reader)
	case "rsa8":
		private, err = rsa.GenerateKey(rand.Reader, 2048)
	}
	if err != nil {
		t.Fatal(err)
	}
	if kind == "" {
		kind = "PRIVATE KEY"
		if der, err = x509.MarshalPKCS8PrivateKey(private); err != nil {
			t.Fatal(err)
		}
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-48 * time.Hour), NotAfter: notAfter}
	text, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: text})), string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

func TestCertificates(t *testing.T) {
	later := time.Now().Add(365 * 24 * time.Hour)
	certs, keys := make(map[string]string), make(map[string]string)
	for _, a := range []string{"rsa", "rsa8", "ec", "ecdsa", "ed25519"} {
		certs[a], keys[a] = makeCertificate(t, a, later)
	}
	for a, cert := range certs {
		blocks, _ := blocksOf([]byte(cert))
		leaf := firstCertificate(blocks)
		if leaf == nil || !leaf.notAfter.Equal(later.UTC().Truncate(time.Second)) {
			t.Fatalf("%s: %+v", a, leaf)
		}
		for b, key := range keys {
			blocks, _ := blocksOf([]byte(key))
			if got := differ(leaf, firstKey(blocks)); got != (a != b) {
				t.Errorf("certificate %s, key %s: differ = %t", a, b, got)
			}
		}
	}
}

func TestTLSFiles(t *testing.T) {
	cert, key := makeCertificate(t, "ec", time.Now().Add(365*24*time.Hour))
	other, otherKey := makeCertificate(t, "ec", time.Now().Add(-24*time.Hour))
	soon, soonKey := makeCertificate(t, "ec", time.Now().Add(24*time.Hour))
	private := map[string]fs.FileMode{"key": 0o600}
	for _, test := range []struct {
		name, main, cert, key string
		rule, says            string // "" for no finding
		sev                   Severity
		modes                 map[string]fs.FileMode
	}{
		{name: "pair", cert: cert, key: key, modes: private},
		{name: "with issuer", cert: cert + other, key: key, modes: private},
		{name: "wrong key", cert: cert, key: otherKey, modes: private, rule: "tls-file", says: "does not belong", sev: Serious},
		{name: "public key file", cert: cert, key: key, rule: "secret", says: "every user", sev: Serious},
		{name: "expired", cert: other, key: otherKey, modes: private, rule: "tls-expired", says: "ended on", sev: Advice},
		{name: "expires soon", cert: soon, key: soonKey, modes: private, rule: "tls-expired", says: "ends on", sev: Advice},
		{name: "key file without key", cert: cert, key: cert, modes: private, rule: "tls-file", says: "no private key", sev: Serious},
		{name: "cert file without certificate", cert: key, key: key, modes: map[string]fs.FileMode{"key": 0o600, "cert": 0o600}, rule: "tls-file", says: "no certificate", sev: Serious},
		{name: "chain", main: "smtpd_tls_chain_files = DIR/key, DIR/cert\n", cert: cert + other, key: key, modes: private},
		{name: "chain in the wrong order", main: "smtpd_tls_chain_files = DIR/cert, DIR/key\n", cert: cert, key: key, modes: private, rule: "tls-file", says: "begins with a certificate", sev: Serious},
		{name: "chain without certificate", main: "smtpd_tls_chain_files = DIR/key\n", cert: cert, key: key, modes: private, rule: "tls-file", says: "no certificate follows", sev: Serious},
		{name: "chain in one file", main: "smtpd_tls_chain_files = DIR/key\n", cert: cert, key: key + cert + other, modes: private},
		{name: "chain with wrong key", main: "smtpd_tls_chain_files = DIR/key\n", cert: cert, key: otherKey + cert, modes: private, rule: "tls-file", says: "not the one that belongs", sev: Serious},
	} {
		t.Run(test.name, func(t *testing.T) {
			main := test.main
			if main == "" {
				main = "smtpd_tls_cert_file = DIR/cert\nsmtpd_tls_key_file = DIR/key\n"
			}
			report, dir := setup{main: "smtpd_tls_security_level = may\n" + main, files: map[string]string{"cert": test.cert, "key": test.key}, modes: test.modes}.run(t)
			for _, rule := range []string{"tls-file", "tls-expired", "secret", "tls-certificate"} {
				found := about(report, rule)
				if rule != test.rule {
					if len(found) > 0 {
						t.Errorf("unwanted:\n%s", texts(report, dir))
					}
				} else if len(found) == 0 || found[0].Severity != test.sev || !strings.Contains(found[0].Text, test.says) {
					t.Errorf("missing %s:\n%s", test.says, texts(report, dir))
				}
			}
		})
	}
}

func FuzzCertificate(f *testing.F) {
	f.Add([]byte("-----BEGIN CERTIFICATE-----\nMAAA\n-----END CERTIFICATE-----\n-----BEGIN EC PRIVATE KEY-----\nMIIB\n-----END EC PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n-----"))
	f.Fuzz(func(t *testing.T, text []byte) {
		blocks, _ := blocksOf(text)
		for i := range blocks {
			c := parseCertificate(blocks[i].der)
			for _, kind := range []string{"PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY"} {
				differ(c, &block{kind, blocks[i].der})
			}
		}
		differ(parseCertificate(text), &block{"PRIVATE KEY", text})
	})
}
