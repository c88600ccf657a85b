//go:build interop

package mysql

import (
	"context"
	"database/sql/driver"
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/go-sql-driver/mysql"

	_ "suffix/pkg/alltables"
	"suffix/pkg/table"
	"suffix/pkg/table/clienttest"
	"suffix/pkg/table/dbcommon/dbtest"
	"suffix/pkg/table/tabletest"
)

// server is the private MariaDB of these tests.
var server struct {
	*dbtest.Server
	socket string
	port   int
}

const serverAccount = "mysql"

func TestMain(m *testing.M) { clienttest.Main(m, startServer) }

func startServer() (stop func(), err error) {
	s, err := dbtest.NewServer(serverAccount)
	server.Server = s
	if err != nil {
		return nil, err
	}
	data := s.Dir + "/data"
	small := []string{"--innodb-flush-method=nosync", "--innodb-buffer-pool-size=8M", "--innodb-log-file-size=4M"}
	err = s.Run(serverAccount, "mariadb-install-db", append([]string{"--no-defaults", "--datadir=" + data,
		"--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"}, small...)...)
	if err != nil {
		return s.Stop, err
	}
	if server.port, err = dbtest.FreePort(); err != nil {
		return s.Stop, err
	}
	server.socket = s.Dir + "/socket"
	if err := startMariaDB(small...); err != nil {
		return s.Stop, err
	}
	return s.Stop, fill()
}

// fill runs the statements of initScript.
func fill() error { return execute(strings.Split(initScript(), ";\n")...) }

func execute(statements ...string) error {
	c := mysql.NewConfig()
	c.User, c.Net, c.Addr = "root", "unix", server.socket
	connector, err := mysql.NewConnector(c)
	if err != nil {
		return err
	}
	raw, err := connector.Connect(context.Background())
	if err != nil {
		return err
	}
	defer raw.Close()
	for _, statement := range statements {
		if _, err := raw.(driver.ExecerContext).ExecContext(context.Background(), statement, nil); err != nil && statement != "" {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

func startMariaDB(more ...string) error {
	ready := func() error {
		c, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", server.port))
		if err == nil {
			err = c.Close()
		}
		return err
	}
	args := append([]string{"--no-defaults", "--datadir=" + server.Dir + "/data", "--socket=" + server.socket, fmt.Sprint("--port=", server.port),
		"--bind-address=127.0.0.1", "--pid-file=" + server.Dir + "/pid", "--skip-name-resolve", "--max-allowed-packet=16M", "--performance-schema=OFF"}, more...)
	return server.Start(serverAccount, ready, "/usr/sbin/mariadbd", args...)
}

// nasty are keys that must arrive at the server as they are.
var nasty = []string{"a'b", `a"b`, `a\b`, `a\'b`, `\`, `'`, `''`, "x' or '1'='1", `\' or 1=1 -- `, "%s", "%", "a%", "_", "a;b", "a--b", "/*", "a\tb", "a\rb",
	"a\x1ab", "grüße@münchen.example", "😀@example.com", "user+ext@example.com", "a@b@c.example", "@example.com", "a@", "a@b..c", "a@[1.2.3.4]", "\"q r\"@x.example",
	strings.Repeat("long", 60), "UPPER@Example.COM"}

// randomKeys are the same in each run of the test program.
func randomKeys() []string {
	r := rand.New(rand.NewPCG(1, 2))
	keys := make([]string, 200)
	const letters = "abcXYZ019@.+-_'\"\\%äß "
	for i := range keys {
		var b strings.Builder
		for range 1 + r.IntN(20) {
			b.WriteString(strings.Split(letters, "")[r.IntN(len([]rune(letters)))])
		}
		keys[i] = b.String()
	}
	return keys
}

// initScript fills the database; keys are stored folded, as they are looked up.
func initScript() string {
	var b strings.Builder
	b.WriteString("SET autocommit=1;\nCREATE DATABASE d CHARACTER SET utf8mb4;\nUSE d;\n" +
		"CREATE TABLE t (k VARBINARY(300), v VARCHAR(300), n INT(6) ZEROFILL, f DOUBLE, g FLOAT, m DECIMAL(8,2), y DATE);\n")
	for i, key := range append(append([]string(nil), nasty...), randomKeys()...) {
		fmt.Fprintf(&b, "INSERT INTO t VALUES (X'%X', 'value%d', %d, %d/7e3, %d.25, %d.5, '2026-01-02');\n", strings.ToLower(key), i, i, i, i, i)
	}
	for _, row := range []string{"'many','one',1,1e10,1,1,NULL", "'many',NULL,2,1e20,2,2,NULL", "'many','u@d.example',3,1e-7,3,3,NULL", "'many','@nouser',4,0,0,0,NULL",
		"'empty','',0,0,0,0,NULL", "'null',NULL,NULL,NULL,NULL,NULL,NULL", "'nul',X'610062',1,1,1,1,NULL"} {
		b.WriteString("INSERT INTO t VALUES (" + row + ");\n")
	}
	for _, p := range []string{"two() BEGIN SELECT 1; SELECT 2; END", "none() BEGIN DECLARE x INT; SET x=1; END", "one(p VARBINARY(300)) BEGIN SELECT v FROM t WHERE k=p; END",
		"late() BEGIN SELECT 1; SELECT v FROM nosuch; END", "early() BEGIN SELECT v FROM nosuch; END", "emptytwo() BEGIN SELECT v FROM t WHERE 1=0; SELECT 1; END"} {
		b.WriteString("CREATE PROCEDURE " + p + ";\n")
	}
	b.WriteString("CREATE USER u@127.0.0.1 IDENTIFIED BY 'p w#1';\nGRANT ALL ON *.* TO u@127.0.0.1;\nCREATE USER u@localhost IDENTIFIED BY 'p w#1';\nGRANT ALL ON *.* TO u@localhost;\n" +
		"INSTALL SONAME 'auth_ed25519';\nCREATE USER ed@localhost IDENTIFIED VIA ed25519 USING PASSWORD('p w#1');\nGRANT ALL ON *.* TO ed@localhost;\n")
	return b.String()
}

var (
	errno    = regexp.MustCompile(`(query error): .*`)
	sysError = regexp.MustCompile(`\(\d+\)|system error: \d+`)
)

// same removes what depends on leftovers and on details of the C library: the
// system error after "query error", and that of a failed connection.
func same(r dbtest.Result) string {
	r.Stderr = sysError.ReplaceAllString(errno.ReplaceAllString(r.Stderr, "$1"), "(n)")
	return r.String()
}

// queries is a case that looks up keys, one a line.
func queries(conf, keys string) dbtest.Case {
	return dbtest.Case{Client: conf, Stdin: keys, Args: []string{"-q", "-", "mysql:FILE"}}
}

func TestSameAsDebian(t *testing.T) {
	unix := "hosts = unix:" + server.socket + "\n"
	tcp := fmt.Sprintf("hosts = 127.0.0.1:%d\n", server.port)
	login := "user = u\npassword = p w#1\ndbname = d\n"
	all := strings.Join(nasty, "\n") + "\n" + strings.Join(randomKeys(), "\n") + "\n"
	get := "query = SELECT v FROM t WHERE k = '%s'\n"
	options := dbtest.Write(t, t.TempDir()+"/opt.cnf", "[client]\nuser=u\n[g]\nuser = \"nobody\"\n[sock]\nsocket = "+server.socket+"\nport="+fmt.Sprint(server.port)+"\n")
	var cases []dbtest.Case
	for _, conf := range []string{
		unix + login + get,
		tcp + login + get,
		tcp + login + "query = SELECT v, n, f, g, m, y FROM t WHERE k = '%s'\n",
		tcp + login + "query = CALL one('%s')\n",
		tcp + login + "query = SELECT HEX('%s'), HEX('%u'), HEX('%d')\n",
		tcp + login + "query = SELECT HEX('%s'), HEX('%1')\n",
		tcp + login + "query = SELECT '%2', '%3'\nresult_format = <%s|%S|%U|%D|%1>\n",
		tcp + login + get + "domain = example.com, x.example\n",
		tcp + login + "query =\ntable = t\nselect_field = v\nwhere_field = k\n",
		tcp + login + "table = t\nselect_field = v\nwhere_field = k\nadditional_conditions = AND n < 100\n",
		tcp + login + "query = SET NAMES utf8mb4\nrequire_result_set = no\n",
	} {
		cases = append(cases, queries(conf, all))
	}
	for _, c := range []struct{ conf, keys string }{
		{"", "many\nempty\nnull\nnul\nnosuch\n"}, {"result_format = %d", "many"}, {"result_format = %u", "many"}, {"result_format = %s %%", "many"},
		{"result_format = %U:%s", "many@x"}, {"expansion_limit = 1", "many"}, {"expansion_limit = 3", "many"}, {"result_format = %d\nexpansion_limit = 1", "many"},
		{"query = SELECT k, v FROM t WHERE k = '%u'", "null\nmany@foo"},
		{"query = SELECT f, g, m, y, n FROM t WHERE k = '%u'", "many\nnull"}, {"query = SELECT 1/3, 1e10, 1.5e0, PI(), CAST(1e15 AS DOUBLE), TRUE, 0x4142, 18446744073709551615, -5", "x"},
		{"query = SELECT CAST('12:30:00.5' AS TIME(1)), DATE '2020-02-03', TIMESTAMP '2020-02-03 04:05:06', POINT(1,2) IS NULL, NULL, ''", "x"},
		{"query = SELECT v FROM nosuch", "x"}, {"query = CALL two()", "x"}, {"query = CALL none()", "x"}, {"query = CALL none()\nrequire_result_set = no", "x"},
		{"query = CALL late()", "x"}, {"query = CALL early()", "x"}, {"query = CALL emptytwo()", "x"}, {"query = SET @a=1", "x"}, {"query = SELECT 1; SELECT 2", "x"},
		{"query = SELECT '%s' WHERE 1=1", "x\n\n"}, {"domain = fail:x", "x@y\n"}, {"domain = fail:x", "x"}, {"domain = /nonexistent", "x"}, {"domain = !", "x"}, {"domain = a #b", "x@a"},
		{"query = SELECT '%z'", "x"}, {"result_format = %", "x"}, {"result_format =", "x"}, {"expansion_limit = many", "x"}, {"require_result_set = maybe", "x"},
		{"tls_verify_cert = 1", "x"}, {"dbname =", "x"}, {"query =", "x"}, {"password = wrong", "x"}, {"dbname = nosuch", "x"}, {"user = nobody", "x"},
		{"hosts = 127.0.0.1:1", "x"}, {"hosts = unix:/nonexistent", "x"}, {"hosts = nosuch.invalid", "x"}, {"hosts = 127.0.0.1:nosuchport", "x"}, {"hosts = 127.0.0.1:99999", "x"},
		{"hosts = inet:127.0.0.1:", "x"}, {"hosts = 127.0.0.1:0", "x"}, {"hosts = unix:/nonexistent, 127.0.0.1:1", "x"}, {"hosts = unix:/nonexistent 127.0.0.1:" + fmt.Sprint(server.port), "many"},
		{"hosts = 127.0.0.1:1, inet:127.0.0.1:" + fmt.Sprint(server.port) + " unix:" + server.socket, "many"},
		{"junk", "x"}, {"= junk", "x"}, {"user = u\nuser = v\nuser = u", "many"}, {"tls_CAfile = /nonexistent", "many"}, {"tls_verify_cert = yes", "x"}, {"unknown = parameter", "many"},
		{"option_file = /nonexistent", "many"}, {"user =\noption_file = OPT", "many"}, {"user =\noption_file = OPT\noption_group = g", "x"},
		{"hosts = localhost\noption_file = OPT\noption_group = sock", "many"}, {"hosts = 127.0.0.1\noption_file = OPT\noption_group = sock", "many"},
		{"hosts = localhost\nuser = ed\noption_file = OPT\noption_group = sock", "many"},
	} {
		if !strings.Contains(c.conf, "query =") {
			c.conf = get + c.conf
		}
		cases = append(cases, queries(tcp+login+strings.ReplaceAll(c.conf, "OPT", options)+"\n", c.keys))
	}
	results := dbtest.Compare(t, cases, same)
	for i := range 2 {
		if n := strings.Count(results[i].Stdout, "value"); n < len(nasty) {
			t.Errorf("case %d: only %d keys found: %s", i, n, results[i])
		}
	}
}

// The other commands, and the form with parameters in main.cf.
func TestCommandsSameAsDebian(t *testing.T) {
	main := fmt.Sprintf("key = k\nt_hosts = 127.0.0.1:%d\nt_user = u\nt_password = p w#1\nt_dbname = d\nt_query = SELECT v FROM t WHERE $key = '%%s'\n"+
		"b_hosts = 127.0.0.1:1\nb_dbname = d\nb_expansion_limit = z\nb_query = q\nl_dbname =\nr_dbname = d\nr_query = q\nr_result_format = %%z\n", server.port)
	var cases []dbtest.Case
	for _, args := range [][]string{
		{"-q", "many", "mysql:t"}, {"-q", "MANY", "mysql:t"}, {"-f", "-q", "MANY", "mysql:t"}, {"-q", "x", "mysql:b"}, {"-q", "x", "mysql:l"}, {"-q", "x", "mysql:r"},
		{"-q", "x", "mysql:/nonexistent"}, {"-q", "x", "mysql:."}, {"-s", "mysql:t"}, {"-d", "x", "mysql:t"}, {"-u", "-q", "\xff", "mysql:t"}, {"-q", "\xff", "mysql:t"},
		{"-q", "nosuch", "mysql:t"},
	} {
		cases = append(cases, dbtest.Case{Settings: main, Args: args})
	}
	dbtest.Compare(t, cases, same)
}

// A server that was restarted is found again with the next lookup.
func TestRestart(t *testing.T) {
	h := open(t, fmt.Sprintf("hosts = 127.0.0.1:%d\nuser = u\npassword = p w#1\ndbname = d\nquery = SELECT v FROM t WHERE k = '%%s'\n", server.port))
	find := func() {
		t.Helper()
		if value, found, err := h.Lookup("many"); value != "one,u@d.example,@nouser" || !found || err != nil {
			t.Error(value, found, err)
		}
	}
	find()
	server.Kill(syscall.SIGKILL)
	if err := startMariaDB(); err != nil {
		t.Fatal(err)
	}
	find()
}

// Whatever bytes a key has, it stays inside of its literal, in character sets
// with half a backslash too.
func TestRandomBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	pieces := []string{"'", "\\", "\"", "a", "%", "é", "\n", "\x00", "\x1a", "\xbf", "\x95", "\x81", "\xa4", "\xff", "\x30", " or 1=1 -- ", ";", "''", "\\'"}
	if err := execute("SET GLOBAL max_statement_time = 20"); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []string{"", "NO_BACKSLASH_ESCAPES"} {
		if err := execute("SET GLOBAL sql_mode = '" + mode + "'"); err != nil {
			t.Fatal(err)
		}
		for _, charset := range []string{"utf8mb4", "latin1", "gbk", "sjis", "cp932", "big5"} {
			h := open(t, fmt.Sprintf("hosts = 127.0.0.1:%d\nuser = u\npassword = p w#1\ndbname = d\ncharset = %s\nquery = SELECT 'start', HEX('%%s'), 'end'\n", server.port, charset))
			for range 150 {
				key := ""
				for range 1 + r.IntN(8) {
					key += pieces[r.IntN(len(pieces))]
				}
				var value string
				logged := tabletest.Logged(t, func() { value = tabletest.Find(t, h.As(table.Options{Flags: table.Lock}), key) })
				whole := fmt.Sprintf("start,%X,end", key)
				switch {
				case value == whole:
				case charset == "latin1":
					t.Errorf("%s %s: %q: %s %s", mode, charset, key, value, logged)
				case strings.HasPrefix(value, "start,") && strings.HasSuffix(value, ",end") && strings.Count(value, ",") == 2: // cleaned by the server
				case value == "error" && len(logged) > 0 && strings.Contains(logged[0], "Invalid"):
				default:
					t.Errorf("%s %s: %q: %s %s", mode, charset, key, value, logged)
				}
			}
		}
	}
}

func TestUnknownCharset(t *testing.T) {
	h := open(t, fmt.Sprintf("hosts = 127.0.0.1:%d\nuser = u\npassword = p w#1\ndbname = d\ncharset = klingon\nquery = SELECT 1\n", server.port))
	logged := tabletest.Logged(t, func() {
		if value := tabletest.Find(t, h, "x"); value != "error" {
			t.Error(value)
		}
	})
	if want := "warning: dict_mysql: mysql_set_character_set 'klingon' failed: Unknown character set: 'klingon'"; len(logged) != 2 || logged[0] != want {
		t.Error(logged)
	}
}

// A query without end is stopped, and the connection is not used again.
func TestSlowQuery(t *testing.T) {
	h := open(t, fmt.Sprintf("hosts = 127.0.0.1:%d\nuser = u\npassword = p w#1\ndbname = d\nquery = SELECT SLEEP(%%u)\n", server.port))
	pool(h).Query = shortTime
	logged := tabletest.Logged(t, func() {
		if value := tabletest.Find(t, h, "19"); value != "error" {
			t.Error(value)
		}
	})
	if len(logged) != 2 || !strings.HasSuffix(logged[0], "(time limit exceeded)") {
		t.Error(logged)
	}
}
