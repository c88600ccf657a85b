package e2e

import (
	"database/sql"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "modernc.org/sqlite" // the driver "sqlite" that makes the database
)

// TestTablesOfDatabases has tables of a type that only proxymap links: the SMTP
// server and cleanup ask it without being told so, and postmap starts one for
// itself. Their configuration is for root's eyes only where root starts the
// mail system.
func TestTablesOfDatabases(t *testing.T) {
	dir := t.TempDir()
	for _, d := range []string{dir, filepath.Dir(dir)} {
		must(t, os.Chmod(d, 0o755))
	}
	path := filepath.Join(dir, "mail.db")
	db, err := sql.Open("sqlite", path)
	must(t, err)
	_, err = db.Exec(`CREATE TABLE access (name TEXT, action TEXT); CREATE TABLE alias (name TEXT, target TEXT);
		INSERT INTO access VALUES ('bad@` + virtualDomain + `', 'REJECT not in the database''s good books');
		INSERT INTO alias VALUES ('list@` + virtualDomain + `', 'one@` + virtualDomain + `'), ('list@` + virtualDomain + `', 'two@` + virtualDomain + `')`)
	must(t, err)
	must(t, db.Close())
	client := func(name, query string) string {
		file := filepath.Join(dir, name+".cf")
		must(t, os.WriteFile(file, []byte("dbpath = "+path+"\nquery = "+query+"\n"), 0o600))
		return "sqlite:" + file
	}
	access := client("access", "SELECT action FROM access WHERE name = '%s'")
	alias := client("alias", "SELECT target FROM alias WHERE name = '%s'")
	broken := client("broken", "SELECT x FROM nowhere WHERE name = '%s'")

	s := start(t, plan{main: map[string]string{
		"smtpd_restriction_classes":    "strict",
		"strict":                       "check_recipient_access " + access,
		"smtpd_recipient_restrictions": "strict, check_helo_access " + broken + ", permit_mynetworks, reject",
		"virtual_alias_maps":           "unionmap:{" + alias + "}",
	}})
	c := s.dial(t)
	ask := func(to, want string) {
		t.Helper()
		r, err := c.Do("RCPT TO:<" + to + ">")
		must(t, err)
		if !strings.HasPrefix(r.String(), want) {
			t.Errorf("%s: reply %q, want %q", to, r, want)
		}
	}
	for _, command := range []string{"EHLO client.test", "MAIL FROM:<someone@client.test>"} {
		_, err := c.Expect(command, "250")
		must(t, err)
	}
	ask("bad@"+virtualDomain, "554 5.7.1 <bad@"+virtualDomain+">: Recipient address rejected: not in the database's good books")
	ask("good@"+virtualDomain, "451 4.3.5 <client.test>: Helo command rejected: Server configuration error")
	s.awaitLog(t, `proxymap\[\d+\]: .*SQL prepare failed: no such table: nowhere`)
	must(t, c.Quit())
	if n := len(s.daemons("proxymap")); n != 1 {
		t.Errorf("%d processes of proxymap: it is not taken for ours", n)
	}

	// A missing database is an error where it is used, and in words.
	missing := filepath.Join(dir, "missing.cf")
	out, code := status(t, s.Command("postmap", "-q", "x", "sqlite:"+missing))
	if want := "postmap: fatal: open " + missing + ": No such file or directory\n"; out != want || code != 1 {
		t.Errorf("postmap: %q, status %d, want %q", out, code, want)
	}
	out, code = status(t, s.Command("postmap", "-q", "x", broken))
	if code != 1 || !strings.Contains(out, "postmap: fatal: dict_sqlite_lookup: ") || !strings.Contains(out, "SQL prepare failed: no such table: nowhere") {
		t.Errorf("postmap: %q, status %d", out, code)
	}

	// Commands need no mail system.
	must(t, s.Stop())
	if got := s.command(t, "list@"+virtualDomain+"\nnobody\n", "postmap", "-q", "-", alias); got != "list@"+virtualDomain+"\tone@"+virtualDomain+",two@"+virtualDomain+"\n" {
		t.Errorf("postmap: %q", got)
	}

	must(t, s.configure("main.cf", strings.ReplaceAll(readFile(t, filepath.Join(s.Config(), "main.cf")), "check_helo_access "+broken+",", "")))
	must(t, s.age())
	must(t, s.Start())
	s.send(t, "someone@client.test", "list@"+virtualDomain, plain("someone@client.test", "list@"+virtualDomain, "to all"))
	for _, to := range []string{"one", "two"} {
		s.awaitMail(t, to+"@"+virtualDomain)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	must(t, err)
	return string(text)
}

// TestChangedTable makes tables anew while sessions are open: those go on, and
// new ones have the new contents.
func TestChangedTable(t *testing.T) {
	for _, typ := range []string{"hash", "btree", "cdb", "lmdb", "pebble"} {
		t.Run(typ, func(t *testing.T) {
			s := prepare(t, plan{main: map[string]string{
				"smtpd_recipient_restrictions": "check_recipient_access " + typ + ":DIR/etc/access, permit_mynetworks, reject",
			}, files: map[string]string{"access": "changing@" + virtualDomain + " REJECT first edition\n"}})
			spec := typ + ":" + filepath.Join(s.Config(), "access")
			s.command(t, "", "postmap", spec)
			must(t, s.Start())

			open := s.dial(t)
			for _, command := range []string{"EHLO client.test", "MAIL FROM:<someone@client.test>"} {
				_, err := open.Expect(command, "250")
				must(t, err)
			}
			r, err := open.Do("RCPT TO:<changing@" + virtualDomain + ">")
			must(t, err)
			if !strings.Contains(r.String(), "first edition") {
				t.Fatalf("reply %q", r)
			}

			must(t, s.configure("access", "changing@"+virtualDomain+" REJECT second edition\n"))
			s.command(t, "", "postmap", spec)
			must(t, poll("a session with the new table", func() (bool, error) {
				c := s.dial(t)
				defer c.Close()
				for _, command := range []string{"EHLO client.test", "MAIL FROM:<someone@client.test>"} {
					if _, err := c.Expect(command, "250"); err != nil {
						return false, err
					}
				}
				r, err := c.Do("RCPT TO:<changing@" + virtualDomain + ">")
				return err == nil && strings.Contains(r.String(), "second edition"), err
			}))

			// The session from before is still good for a message.
			for _, command := range []string{"RSET", "MAIL FROM:<someone@client.test>", "RCPT TO:<other@" + virtualDomain + ">"} {
				_, err := open.Expect(command, "250")
				must(t, err)
			}
			r, err = open.Data(plain("someone@client.test", "other@"+virtualDomain, "from the old session"))
			must(t, err)
			if !strings.HasPrefix(r.String(), "250") {
				t.Errorf("reply %q", r)
			}
			must(t, open.Quit())
			s.awaitMail(t, "other@"+virtualDomain)
		})
	}
}
