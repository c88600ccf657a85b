//go:build interop

package mysql

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"regexp"
	"testing"
	"time"

	"suffix/pkg/table/dbcommon/dbtest"
)

// authority is a certificate authority of the tests.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  []byte
}

func newAuthority(name string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(4e9, 0),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	return &authority{c, key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})}, nil
}

// issue makes a certificate, and returns it with its key.
func (a *authority) issue(name string, addresses ...net.IP) (cert, key []byte, err error) {
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(2), Subject: pkix.Name{CommonName: name}, NotBefore: time.Unix(1e9, 0), NotAfter: time.Unix(4e9, 0),
		IPAddresses: addresses, KeyUsage: x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, c, a.cert, &k.PublicKey, a.key)
	if err != nil {
		return nil, nil, err
	}
	private, err := x509.MarshalECPrivateKey(k)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: private}), nil
}

// makeCertificates writes ca.pem, other.pem, cert.pem, key.pem, client.pem and
// clientkey.pem into a directory.
func makeCertificates(dir string) error {
	ca, err := newAuthority("Test CA")
	if err != nil {
		return err
	}
	other, err := newAuthority("Other CA")
	if err != nil {
		return err
	}
	cert, key, err := ca.issue("127.0.0.1", net.IPv4(127, 0, 0, 1))
	if err != nil {
		return err
	}
	client, clientKey, err := ca.issue("client")
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{"ca": ca.pem, "other": other.pem, "cert": cert, "key": key, "client": client, "clientkey": clientKey} {
		if err := os.WriteFile(dir+"/"+name+".pem", data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// tlsDetail is the library's own account of what is wrong with a certificate.
var tlsDetail = regexp.MustCompile(`(TLS/SSL error): [^\n]*`)

func sameTLS(r dbtest.Result) string {
	r.Stderr = tlsDetail.ReplaceAllString(r.Stderr, "$1")
	return same(r)
}

// The connection is encrypted and the certificate verified as with Debian's postmap.
func TestTLSSameAsDebian(t *testing.T) {
	s, err := dbtest.NewServer(serverAccount)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Stop()
	if err := makeCertificates(s.Dir); err != nil {
		t.Fatal(err)
	}
	port, err := dbtest.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	ready := func() error {
		c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		if err == nil {
			err = c.Close()
		}
		return err
	}
	// Nobody has to log in here: an empty directory will do.
	data := s.Dir + "/data"
	if err := s.Run(serverAccount, "mkdir", data); err != nil {
		t.Fatal(err)
	}
	err = s.Start(serverAccount, ready, "/usr/sbin/mariadbd", "--no-defaults", "--datadir="+data, "--skip-grant-tables", "--skip-networking=0", fmt.Sprint("--port=", port),
		"--bind-address=127.0.0.1", "--socket="+s.Dir+"/socket", "--pid-file="+s.Dir+"/pid", "--innodb-flush-method=nosync", "--innodb-buffer-pool-size=8M",
		"--innodb-log-file-size=4M", "--performance-schema=OFF", "--ssl-ca="+s.Dir+"/ca.pem", "--ssl-cert="+s.Dir+"/cert.pem", "--ssl-key="+s.Dir+"/key.pem")
	if err != nil {
		t.Fatal(err)
	}
	base := fmt.Sprintf("hosts = 127.0.0.1:%d\ndbname = information_schema\nuser = u\nquery = SELECT IF(variable_value = '', 'plain', 'TLS') FROM session_status WHERE variable_name = 'Ssl_cipher'\n", port)
	var cases []dbtest.Case
	for _, conf := range []string{
		"", "tls_CAfile = ca.pem", "tls_CAfile = ca.pem\ntls_verify_cert = yes", "tls_CAfile = other.pem\ntls_verify_cert = yes", "tls_CAfile = other.pem\ntls_verify_cert = no",
		"tls_verify_cert = no", "tls_CAfile = ca.pem\ntls_cert_file = client.pem\ntls_key_file = clientkey.pem", "tls_CAfile = ca.pem\ntls_ciphers = ECDHE-ECDSA-AES128-GCM-SHA256",
		"tls_CAfile = nonexistent.pem\ntls_verify_cert = yes",
	} {
		conf = regexp.MustCompile(`\w+\.pem`).ReplaceAllString(conf, s.Dir+"/$0")
		cases = append(cases, dbtest.Case{Client: base + conf + "\n", Args: []string{"-q", "x", "mysql:FILE"}})
	}
	results := dbtest.Compare(t, cases, sameTLS)
	for i, want := range []string{0: "plain\n", 1: "TLS\n", 2: "TLS\n", 3: ""} {
		if results[i].Stdout != want {
			t.Errorf("%s: %s", cases[i].Client, results[i])
		}
	}
}
