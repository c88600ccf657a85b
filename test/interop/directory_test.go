//go:build interop

package interop

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// people is the directory of TestDirectory.
const people = `dn: dc=interop,dc=test
objectClass: domain
dc: interop

dn: cn=list,dc=interop,dc=test
objectClass: groupOfNames
objectClass: extensibleObject
cn: list
mail: list@directory.test
member: cn=one,dc=interop,dc=test
member: cn=two,dc=interop,dc=test

dn: cn=one,dc=interop,dc=test
objectClass: inetOrgPerson
cn: one
sn: One
mail: one@directory.test
description: ` + user + `@` + hostname + `

dn: cn=two,dc=interop,dc=test
objectClass: inetOrgPerson
cn: two
sn: Two
mail: two@directory.test
title: REJECT two has left
description: ` + user + `+two@` + hostname + `
`

// startDirectory starts a private slapd(8) for one test, and returns its address.
func startDirectory(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	conf := `include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
database mdb
suffix "dc=interop,dc=test"
directory ` + dir + `
`
	check(t, os.WriteFile(filepath.Join(dir, "slapd.conf"), []byte(conf), 0o600))
	check(t, os.WriteFile(filepath.Join(dir, "people.ldif"), []byte(people), 0o600))
	if out, err := exec.Command("slapadd", "-q", "-f", dir+"/slapd.conf", "-l", dir+"/people.ldif").CombinedOutput(); err != nil {
		t.Fatalf("slapadd: %v: %s", err, out)
	}
	address := fmt.Sprintf("127.0.0.1:%d", freePort(t))
	cmd := exec.Command("slapd", "-f", dir+"/slapd.conf", "-h", "ldap://"+address, "-d", "0")
	check(t, cmd.Start())
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
	})
	for deadline := time.Now().Add(waitLimit); ; time.Sleep(waitPoll) {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
			return address
		}
		if time.Now().After(deadline) {
			t.Fatal("slapd does not listen: ", err)
		}
	}
}

// TestDirectory has a real directory behind the SMTP server and cleanup, of
// Postfix and of ours: the same replies, and mail for the members of a group.
// Our daemons reach the directory through proxymap without being told.
func TestDirectory(t *testing.T) {
	address := startDirectory(t)
	client := func(name string, lines ...string) string {
		path := filepath.Join(t.TempDir(), name)
		text := "server_host = " + address + "\nsearch_base = dc=interop,dc=test\nquery_filter = (mail=%s)\n" + strings.Join(lines, "\n") + "\n"
		check(t, os.WriteFile(path, []byte(text), 0o644))
		return "ldap:" + path
	}
	alias := client("alias", "result_attribute = description", "special_result_attribute = member")
	settings := map[string]string{
		"meta_directory":        "/etc/postfix", // where Debian's Postfix finds its large table drivers
		"virtual_alias_domains": "valias.test directory.test",
		"virtual_alias_maps":    alias,
		"smtpd_recipient_restrictions": "check_recipient_access " + client("access", "result_attribute = title") +
			", permit_mynetworks, reject",
	}
	transcript := servedBy(t, settings, "directory.test", func(d *dialogue) {
		d.do("MAIL FROM:<sender@sink.test>")
		for _, name := range []string{"one", "two", "nobody", "ONE"} {
			d.do("RCPT TO:<%s@directory.test>", name)
		}
	})
	if !strings.Contains(transcript, "554 5.7.1 <two@directory.test>: Recipient address rejected: two has left") {
		t.Errorf("%s", transcript)
	}
}
