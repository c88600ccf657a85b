//go:build interop

package ldap

import (
	"bytes"
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
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"suffix/pkg/table"
	"suffix/pkg/table/clienttest"
	"suffix/pkg/table/tabletest"
)

// The private slapd(8): two servers, of which the first refers to the second,
// which has a certificate.
var (
	home           string
	plain, secure  string // addresses
	encrypted      string
	socket         string
	certFile, root string
)

func init() { setup = startSlapd }

const common = `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
include /etc/ldap/schema/misc.schema
modulepath /usr/lib/ldap
moduleload back_mdb
TLSCertificateFile HOME/cert.pem
TLSCertificateKeyFile HOME/key.pem
database mdb
suffix "dc=example,dc=com"
rootdn "cn=admin,dc=example,dc=com"
rootpw secret
directory HOME/NUMBER
access to dn.base="cn=hidden,dc=example,dc=com" by dn="cn=reader,dc=example,dc=com" read by * auth
access to * by * read
`

// startSlapd starts both servers.
func startSlapd() (stop func(), err error) {
	var running []*exec.Cmd
	stop = func() {
		for _, cmd := range running {
			cmd.Process.Kill()
			cmd.Wait()
		}
		os.RemoveAll(home)
	}
	if home, err = os.MkdirTemp("", "slapd"); err != nil {
		return stop, err
	}
	if err := makeCertificate(home); err != nil {
		return stop, err
	}
	socket = home + "/ldapi"
	var ports [3]string
	for i := range ports {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return stop, err
		}
		defer l.Close()
		ports[i] = l.Addr().String()
		l.Close()
	}
	plain, secure, encrypted = ports[0], ports[1], ports[2]
	root = "dc=example,dc=com"
	for i, urls := range []string{"ldap://" + plain + "/ ldapi://" + strings.ReplaceAll(socket, "/", "%2F"), "ldap://" + secure + "/ ldaps://" + encrypted + "/"} {
		number := fmt.Sprint(i)
		if err := os.Mkdir(filepath.Join(home, number), 0o700); err != nil {
			return stop, err
		}
		conf, data := filepath.Join(home, number+".conf"), filepath.Join(home, number+".ldif")
		if err := os.WriteFile(conf, []byte(strings.NewReplacer("HOME", home, "NUMBER", number).Replace(common)), 0o600); err != nil {
			return stop, err
		}
		if err := os.WriteFile(data, []byte(strings.ReplaceAll(treeText, "ELSEWHERE", secure)), 0o600); err != nil {
			return stop, err
		}
		if out, err := exec.Command("slapadd", "-q", "-f", conf, "-l", data).CombinedOutput(); err != nil {
			return stop, fmt.Errorf("slapadd: %v: %s", err, out)
		}
		cmd := exec.Command("slapd", "-f", conf, "-h", urls, "-d", "0")
		var output bytes.Buffer
		cmd.Stdout, cmd.Stderr = &output, &output
		if err := cmd.Start(); err != nil {
			return stop, err
		}
		running = append(running, cmd)
	}
	for _, address := range ports {
		if err := answers(address); err != nil {
			return stop, err
		}
	}
	return stop, nil
}

func answers(address string) error {
	var err error
	for range 500 {
		var c net.Conn
		if c, err = net.Dial("tcp", address); err == nil {
			return c.Close()
		}
		time.Sleep(20 * time.Millisecond) // until it listens
	}
	return err
}

func makeCertificate(dir string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, NotBefore: time.Now().Add(-time.Hour),
		NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true, DNSNames: []string{"localhost"},
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	cert, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	certFile = filepath.Join(dir, "cert.pem")
	if err := os.WriteFile(certFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "key.pem"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: private}), 0o600)
}

// TestSameAsPostfix: for each of many settings our postmap and the real one
// say the same and end the same.
func TestSameAsPostfix(t *testing.T) {
	dir := clienttest.Config(t, "legacy_server_host = "+plain, "legacy_search_base = "+root, "legacy_query_filter = (mail=%s)", "legacy_result_attribute = cn")
	ldapi := "ldapi://" + strings.ReplaceAll(socket, "/", "%2F")
	nobody, nobody2 := clienttest.Free(t), clienttest.Free(t)
	_, port, _ := net.SplitHostPort(plain)
	everybody := "alice@example.com\nnone\nshared@example.com\nx*\na(b)\\c\nALICE@example.com\n\nmixed@example.com\nhidden@example.com\n\xc3\xa9@x\n" +
		"a\xffb\nalice\n@example.com\n" + strings.Repeat("k", 70000) + "\nstaff@example.com\n"
	groups := "staff@example.com\nnested@example.com\ngone@example.com\ngonelast@example.com\nalice@example.com\ndelegated@example.com\n"
	type run struct {
		lines []string
		keys  []string
		all   string
	}
	alice, bob := []string{"alice@example.com"}, []string{"bob@example.com"}
	runs := []run{
		{nil, []string{"", "alice@example.com"}, everybody},
		{[]string{"result_attribute = description"}, alice, everybody},
		{[]string{"result_attribute = description title"}, alice, ""},
		{[]string{"result_attribute = title;lang-en, DESCRIPTION"}, alice, ""},
		{[]string{"result_attribute = nosuch"}, alice, ""},
		{[]string{"result_attribute = name"}, alice, ""},
		{[]string{"result_attribute = *"}, alice, ""},
		{[]string{"result_attribute ="}, alice, ""},
		{[]string{"result_attribute = jpegPhoto"}, []string{"mixed@example.com"}, ""},
		{[]string{"result_attribute = mail", "result_format = %u:%d:%U"}, []string{"mixed@example.com"}, everybody},
		{[]string{"result_attribute = mail", "result_format = %s %D %1"}, nil, everybody},
		{[]string{"result_filter = %sX"}, alice, ""},
		{[]string{"expansion_limit = 1"}, []string{"shared@example.com", "alice@example.com"}, ""},
		{[]string{"size_limit = 1"}, []string{"shared@example.com"}, ""},
		{[]string{"expansion_limit = 1", "result_attribute = description", "size_limit = 0"}, alice, ""},
		{[]string{"search_base = ou=none," + root}, alice, ""},
		{[]string{"search_base = ou=%u," + root}, []string{"alice@example.com", "people@example.com"}, ""},
		{[]string{"search_base = cn=%u,ou=people," + root}, []string{"alice@example.com", "carol + x@example.com"}, everybody},
		{[]string{"search_base = cn=%u,ou=people," + root, "query_filter = (cn=%u)"}, []string{"carol + x@example.com"}, ""},
		{[]string{"search_base ="}, alice, ""},
		{[]string{"search_base = foo"}, alice, ""},
		{[]string{"scope = one"}, alice, ""},
		{[]string{"scope = base"}, alice, ""},
		{[]string{"scope = foo"}, alice, ""},
		{[]string{"query_filter = (mail=%s"}, alice, ""},
		{[]string{"query_filter = mail=%s"}, alice, everybody},
		{[]string{"query_filter = (mail=alice@example.com)"}, alice, ""},
		{[]string{"query_filter = (mail=%x)"}, alice, ""},
		{[]string{"query_filter = (&(mail=%s)(objectClass=*))"}, alice, everybody},
		{[]string{"query_filter = (|(mail=*%s*)(cn=%u))"}, []string{"alice", "*"}, everybody},
		{[]string{"query_filter = (description=%s)", "result_attribute = mail"}, []string{`x(*)\y`, "first"}, ""},
		{[]string{"domain = example.com"}, nil, everybody},
		{[]string{"domain = fail:x"}, []string{"bob@foo", "bob"}, ""},
		{[]string{"result_attribute = mail", "special_result_attribute = member"}, []string{"loop@example.com"}, groups},
		{[]string{"result_attribute =", "special_result_attribute = member", "leaf_result_attribute = mail", "terminal_result_attribute = description"},
			[]string{"loop@example.com"}, groups},
		{[]string{"result_attribute = mail", "leaf_result_attribute = cn", "special_result_attribute = member"}, nil, groups},
		{[]string{"result_attribute = mail", "special_result_attribute = member", "recursion_limit = 1"}, []string{"staff@example.com", "alice@example.com"}, ""},
		{[]string{"result_attribute = mail", "special_result_attribute = member", "recursion_limit = 2"}, []string{"staff@example.com", "nested@example.com"}, ""},
		{[]string{"result_attribute = mail", "special_result_attribute = member", "recursion_limit = 0"}, []string{"staff@example.com"}, ""},
		{[]string{"result_attribute = mail", "special_result_attribute = labeledURI"}, []string{"urls@example.com", "badurl@example.com", "noturl@example.com"}, ""},
		{[]string{"result_attribute = cn, title", "special_result_attribute = labeledURI"}, []string{"urls@example.com", "options@example.com", "goneurl@example.com"}, ""},
		{[]string{"result_attribute = mail", "special_result_attribute = mail"}, alice, ""},
		{[]string{"special_result_attribute = member, labeledURI", "expansion_limit = 3"}, []string{"urls@example.com", "nested@example.com"}, ""},
		{[]string{"special_result_attribute = labeledURI", "size_limit = 1"}, []string{"urls@example.com"}, ""},
		{[]string{"terminal_result_attribute = title"}, alice, ""},
		{[]string{"terminal_result_attribute = title;lang-en"}, alice, ""},
		{[]string{"bind_dn = cn=bob,ou=people," + root, "bind_pw = wrong"}, bob, ""},
		{[]string{"bind_dn = cn=bob,ou=people," + root, "bind_pw = bobpw"}, bob, everybody},
		{[]string{"bind_dn = cn=bob,ou=people," + root, "bind_pw ="}, bob, ""},
		{[]string{"bind_dn = cn=reader," + root, "bind_pw = readerpw"}, []string{"hidden@example.com"}, ""},
		{[]string{"bind_dn = xx", "bind_pw = x"}, bob, ""},
		{[]string{"bind = no"}, bob, ""},
		{[]string{"bind = None"}, bob, ""},
		{[]string{"bind = foo"}, bob, ""},
		{[]string{"bind = sasl", "sasl_mechs = EXTERNAL", "server_host = " + ldapi}, bob, ""},
		{[]string{"server_host = " + ldapi}, bob, everybody},
		{[]string{"server_host = 127.0.0.1", "server_port = " + port}, bob, ""},
		{[]string{"server_host = " + plain}, bob, ""},
		{[]string{"server_host = localhost:" + port}, bob, ""},
		{[]string{"server_host = " + nobody + " " + plain}, bob, everybody},
		{[]string{"server_host = ldap://" + nobody + ", ldap://" + nobody2}, bob, ""},
		{[]string{"server_host = " + nobody, "bind = no"}, bob, ""},
		{[]string{"server_host = " + nobody, "bind_dn = cn=bob"}, bob, ""},
		{[]string{"server_host = " + nobody, "start_tls = yes"}, bob, ""},
		{[]string{"server_host = ldapi://%2Fnone%2Fsuch"}, bob, ""},
		{[]string{"server_host = foo://127.0.0.1"}, bob, ""},
		{[]string{"server_host = 127.0.0.1:x"}, bob, ""},
		{[]string{"server_host ="}, bob, ""},
		{[]string{"server_host = ldap://" + plain + "/x?y"}, bob, ""},
		{[]string{"version = 4"}, bob, ""},
		{[]string{"start_tls = x"}, bob, ""},
		{[]string{"dereference = 4"}, bob, ""},
		{[]string{"dereference = 3"}, bob, ""},
		{[]string{"chase_referrals = yes"}, bob, everybody},
		{[]string{"chase_referrals = yes", "search_base = ou=away," + root}, bob, everybody},
		{[]string{"chase_referrals = yes", "search_base = cn=bob,ou=away," + root}, bob, ""},
		{[]string{"search_base = cn=x,ou=away," + root}, bob, ""},
		{[]string{"search_base = ou=away," + root}, bob, ""},
		{[]string{"cache = yes", "cache_expiry = 3", "cache_size = 4"}, bob, ""},
		{[]string{"search_base = cn=hidden," + root}, []string{"hidden@example.com"}, ""},
		{[]string{"server_host = ldap://" + secure, "start_tls = yes"}, bob, everybody},
		{[]string{"server_host = ldap://" + secure, "start_tls = yes", "tls_require_cert = yes", "tls_ca_cert_file = " + certFile}, bob, ""},
		{[]string{"server_host = ldaps://" + encrypted}, bob, everybody},
		{[]string{"server_host = ldaps://" + encrypted, "tls_require_cert = yes", "tls_ca_cert_file = " + certFile}, bob, ""},
		{[]string{"server_host = ldaps://" + plain}, bob, ""},
		{[]string{"debuglevel = x"}, bob, ""},
		{[]string{"timeout = x"}, bob, ""},
		{[]string{"timeout = -1"}, bob, ""},
		{[]string{"no equals sign"}, bob, ""},
	}
	var each []func()
	for _, r := range runs {
		given := make(map[string]bool)
		for _, line := range r.lines {
			name, _, _ := strings.Cut(line, " =")
			given[name] = true
		}
		lines := slices.Clone(r.lines)
		for name, value := range map[string]string{"server_host": "ldap://" + plain, "search_base": root, "query_filter": "(mail=%s)", "result_attribute": "cn"} {
			if !given[name] {
				lines = append(lines, name+" = "+value)
			}
		}
		spec := "ldap:" + clienttest.File(t, lines...)
		for _, key := range r.keys {
			each = append(each, func() {
				ours, theirs := clienttest.Both(t, dir, "", "-q", key, spec)
				if ours != theirs {
					t.Errorf("%q, %s\n ours %+v\nreal %+v", r.lines, key, ours, theirs)
				}
			})
		}
		if r.all != "" {
			each = append(each, func() {
				ours, theirs := clienttest.Both(t, dir, r.all, "-q", "-", spec)
				if ours != theirs {
					t.Errorf("%q, all\n ours %.2000q %d %.2000q\nreal %.2000q %d %.2000q", r.lines,
						ours.Stdout, ours.Status, ours.Stderr, theirs.Stdout, theirs.Status, theirs.Stderr)
				}
			})
		}
	}
	for _, args := range [][]string{{"-q", "bob@example.com", "ldap:legacy"}, {"-s", "ldap:legacy"}, {"-d", "x", "ldap:legacy"}, {"-q", "x", "ldap:/none"},
		{"-f", "-q", "BOB@example.com", "ldap:legacy"}, {"-u", "-q", "a\xffb", "ldap:legacy"}} {
		each = append(each, func() { clienttest.Compare(t, dir, "", args...) })
	}
	clienttest.Each(each, func(f func()) { f() })
}

// What fails in both, where the system's error that is shown is a matter of
// the library: the other texts and the status are equal.
func TestFailuresSameAsPostfix(t *testing.T) {
	dir := clienttest.Config(t)
	for _, lines := range [][]string{
		{"server_host = ldap://" + secure, "start_tls = yes", "tls_require_cert = yes"},
		{"server_host = ldaps://" + encrypted, "tls_require_cert = yes"}, {"server_host = ldaps://" + encrypted, "tls_ca_cert_file = /none"},
		{"server_host = ldaps://" + encrypted, "tls_cipher_suite = FOO"}, {"server_host = ldaps://" + encrypted, "tls_cert = /none", "tls_key = /none"},
	} {
		spec := "ldap:" + clienttest.File(t, append(lines, "search_base = "+root)...)
		ours, theirs := clienttest.Both(t, dir, "", "-q", "bob", spec)
		first := func(s string) string { text, _, _ := strings.Cut(s, "\n"); return text }
		if ours.Status != theirs.Status || first(ours.Stderr) != first(theirs.Stderr) {
			t.Errorf("%q\n ours %+v\nreal %+v", lines, ours, theirs)
		}
	}
}

// A server that restarts between two lookups is not noticed.
func TestRestart(t *testing.T) {
	forward, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer forward.Close()
	conns := make(chan net.Conn, 10)
	go func() {
		for {
			c, err := forward.Accept()
			if err != nil {
				return
			}
			s, err := net.Dial("tcp", plain)
			if err != nil {
				c.Close()
				continue
			}
			go copyTo(s, c)
			go copyTo(c, s)
			conns <- c
		}
	}()
	h := tabletest.Open(t, "ldap:"+clienttest.File(t, "server_host = "+forward.Addr().String(), "search_base = "+root, "query_filter = (mail=%s)",
		"result_attribute = cn"), table.Options{})
	log := tabletest.Logged(t, func() {
		for range 3 {
			if got := tabletest.Find(t, h, "bob@example.com"); got != "bob" {
				t.Error(got)
			}
			(<-conns).Close()
		}
	})
	if len(log) > 0 {
		t.Errorf("%q", log)
	}
}

func copyTo(to, from net.Conn) {
	b := make([]byte, 4096)
	for {
		n, err := from.Read(b)
		if err != nil {
			to.Close()
			return
		}
		to.Write(b[:n])
	}
}
