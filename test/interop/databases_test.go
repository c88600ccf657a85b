//go:build interop

package interop

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"suffix/pkg/table/dbcommon/dbtest"
)

// startServer starts a private database server that ends with the test.
func startServer(t *testing.T, account string, prepare func(s *dbtest.Server), ready func(s *dbtest.Server) error, command func(s *dbtest.Server) []string) *dbtest.Server {
	t.Helper()
	s, err := dbtest.NewServer(account)
	check(t, err)
	t.Cleanup(s.Stop)
	prepare(s)
	args := command(s)
	check(t, s.Start(account, func() error { return ready(s) }, args[0], args[1:]...))
	return s
}

// command runs a program and returns what is wrong, in its words.
func command(stdin, program string, args ...string) error {
	cmd := exec.Command(program, args...)
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, out)
	}
	return nil
}

func startMariaDB(t *testing.T, sql string) (port int) {
	port = freePort(t)
	small := []string{"--innodb-flush-method=nosync", "--innodb-buffer-pool-size=8M", "--innodb-log-file-size=4M"}
	query := func(s *dbtest.Server, text string) error {
		return command(text, "mariadb", "--no-defaults", "--socket="+s.Dir+"/socket", "--user=root")
	}
	s := startServer(t, "mysql", func(s *dbtest.Server) {
		check(t, s.Run("mysql", "mariadb-install-db", append([]string{"--no-defaults", "--datadir=" + s.Dir + "/data",
			"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"}, small...)...))
	}, func(s *dbtest.Server) error { return query(s, "SELECT 1;") }, func(s *dbtest.Server) []string {
		return append([]string{"/usr/sbin/mariadbd", "--no-defaults", "--datadir=" + s.Dir + "/data", "--socket=" + s.Dir + "/socket",
			fmt.Sprint("--port=", port), "--bind-address=127.0.0.1", "--pid-file=" + s.Dir + "/pid", "--skip-name-resolve", "--performance-schema=OFF"}, small...)
	})
	check(t, query(s, sql))
	return port
}

func startPostgres(t *testing.T, sql string) (port int) {
	port = freePort(t)
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	check(t, err)
	if len(found) == 0 {
		t.Fatal("PostgreSQL is not installed")
	}
	bin := found[len(found)-1]
	query := func(s *dbtest.Server, text string) error {
		return command(text, bin+"/psql", "-h", s.Dir, "-p", fmt.Sprint(port), "-U", "postgres", "-d", "postgres", "-v", "ON_ERROR_STOP=1", "-q")
	}
	s := startServer(t, "postgres", func(s *dbtest.Server) {
		check(t, s.Run("postgres", bin+"/initdb", "-D", s.Dir+"/data", "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C"))
	}, func(s *dbtest.Server) error { return query(s, "SELECT 1;") }, func(s *dbtest.Server) []string {
		return []string{bin + "/postgres", "-D", s.Dir + "/data", "-k", s.Dir, "-p", fmt.Sprint(port),
			"-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=4MB"}
	})
	check(t, query(s, sql))
	return port
}

func startMemcached(t *testing.T, key, value string) (port int) {
	port = freePort(t)
	set := fmt.Sprintf("set %s 0 0 %d\r\n%s\r\n", key, len(value), value)
	startServer(t, "nobody", func(*dbtest.Server) {}, func(*dbtest.Server) error {
		c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", port))
		if err != nil {
			return err
		}
		defer c.Close()
		if _, err := c.Write([]byte(set)); err != nil {
			return err
		}
		reply := make([]byte, len("STORED\r\n"))
		if _, err := c.Read(reply); err != nil {
			return err
		}
		if string(reply) != "STORED\r\n" {
			return errors.New(string(reply))
		}
		return nil
	}, func(*dbtest.Server) []string {
		return []string{"memcached", "-l", "127.0.0.1", "-p", fmt.Sprint(port), "-u", "nobody"}
	})
	return port
}

// servedBy has Postfix and our programs in turn serve a client with the
// settings, says what talk says, and sends a message to list@domain, which is an
// alias of two addresses. Both must answer the same, which it returns, and
// deliver to both addresses.
func servedBy(t *testing.T, settings map[string]string, domain string, talk func(d *dialogue)) string {
	t.Helper()
	var transcripts []string
	for _, c := range []choice{postfixAlone, suffixAlone} {
		s := newSystem(t, c, settings)
		s.start()
		d := dial(t, s.ports["SMTPD"])
		d.do("EHLO client.test")
		talk(d)
		d.do("RSET")
		d.do("MAIL FROM:<sender@sink.test>")
		d.do("RCPT TO:<list@%s>", domain)
		d.do("DATA")
		queued := d.content(message("to a list", "hello\n"))
		d.quit()
		if !strings.HasPrefix(queued, "250 2.0.0 Ok: queued as ") {
			t.Errorf("%s\n%s", d.transcript(), s.logTail())
		}
		transcripts = append(transcripts, s.mask(strings.Split(d.transcript(), "queued as ")[0]))
		for _, to := range []string{user + "@" + hostname, user + "+two@" + hostname} {
			s.await("mail for "+to, func() bool {
				log, err := os.ReadFile(s.in.Log())
				return err == nil && strings.Contains(string(log), "to=<"+to+">, orig_to=<list@"+domain+">")
			})
		}
		s.stop()
	}
	if transcripts[0] != transcripts[1] {
		t.Errorf("Postfix:\n%s\nours:\n%s", transcripts[0], transcripts[1])
	}
	return transcripts[1]
}

// TestDatabases has database servers behind the SMTP server and cleanup, of
// Postfix and of ours: the same replies, and mail where the databases say. Our
// daemons reach the large ones through proxymap without being told.
func TestDatabases(t *testing.T) {
	dir := t.TempDir()
	client := func(typ, name string, lines ...string) string {
		path := filepath.Join(dir, name)
		check(t, os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644))
		return typ + ":" + path
	}
	check(t, os.Chmod(dir, 0o755))
	check(t, os.Chmod(filepath.Dir(dir), 0o755))
	mysql := startMariaDB(t, "CREATE DATABASE d; CREATE TABLE d.access (k VARCHAR(100), v VARCHAR(100));"+
		"INSERT INTO d.access VALUES ('left@base.test', 'REJECT has left'), ('o''neill@base.test', 'REJECT quotes arrive');"+
		"CREATE USER u@127.0.0.1 IDENTIFIED BY 'secret'; GRANT ALL ON d.* TO u@127.0.0.1;")
	pgsql := startPostgres(t, "CREATE TABLE alias (k text, v text); CREATE USER u PASSWORD 'secret';"+
		"INSERT INTO alias VALUES ('list@base.test', '"+user+"@"+hostname+"'), ('list@base.test', '"+user+"+two@"+hostname+"'),"+
		" ('left@base.test', 'x@"+hostname+"'), ('o''neill@base.test', 'x@"+hostname+"'), ('lite@base.test', 'x@"+hostname+"');"+
		"GRANT ALL ON alias TO u;")
	memcached := startMemcached(t, "spam@sink.test", "REJECT remembered")
	check(t, command("CREATE TABLE access (k, v); INSERT INTO access VALUES ('lite@base.test', 'REJECT from a file');", "sqlite3", dir+"/lite.db"))
	settings := map[string]string{
		"meta_directory":        "/etc/postfix", // where Debian's Postfix finds its large table drivers
		"virtual_alias_domains": "valias.test base.test",
		"virtual_alias_maps": client("pgsql", "alias", fmt.Sprint("hosts = 127.0.0.1:", pgsql), "user = u", "password = secret",
			"dbname = postgres", "query = SELECT v FROM alias WHERE k = '%s' ORDER BY v"),
		"smtpd_recipient_restrictions": "check_sender_access " + client("memcache", "cache", fmt.Sprint("memcache = inet:127.0.0.1:", memcached)) +
			", check_recipient_access " + client("mysql", "access", fmt.Sprint("hosts = 127.0.0.1:", mysql), "user = u", "password = secret",
			"dbname = d", "query = SELECT v FROM access WHERE k = '%s'") +
			", check_recipient_access " + client("sqlite", "lite", "dbpath = "+dir+"/lite.db", "query = SELECT v FROM access WHERE k = '%s'") +
			", permit_mynetworks, reject",
	}
	transcript := servedBy(t, settings, "base.test", func(d *dialogue) {
		d.do("MAIL FROM:<spam@sink.test>")
		d.do("RCPT TO:<list@base.test>")
		d.do("RSET")
		d.do("MAIL FROM:<sender@sink.test>")
		for _, name := range []string{"left", "o'neill", "lite", "nobody", "LEFT"} {
			d.do("RCPT TO:<%s@base.test>", name)
		}
	})
	for _, text := range []string{"has left", "quotes arrive", "remembered", "from a file"} {
		if !strings.Contains(transcript, "rejected: "+text) {
			t.Errorf("nothing was rejected with %q:\n%s", text, transcript)
		}
	}
}
