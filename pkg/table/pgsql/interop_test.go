//go:build interop

package pgsql

import (
	"context"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgconn"

	_ "suffix/pkg/alltables"
	"suffix/pkg/table"
	"suffix/pkg/table/clienttest"
	"suffix/pkg/table/dbcommon/dbtest"
	"suffix/pkg/table/tabletest"
)

// server is the private PostgreSQL of these tests.
var server struct {
	*dbtest.Server
	bin  string
	port int
}

const serverAccount = "postgres"

func TestMain(m *testing.M) { clienttest.Main(m, startServer) }

func startServer() (stop func(), err error) {
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(found) == 0 {
		return nil, fmt.Errorf("PostgreSQL is not installed: %v", err)
	}
	server.bin = found[len(found)-1]
	s, err := dbtest.NewServer(serverAccount)
	server.Server = s
	if err != nil {
		return nil, err
	}
	err = s.Run(serverAccount, server.bin+"/initdb", "-D", s.Dir+"/data", "-U", "postgres", "-A", "trust", "-N", "-E", "UTF8", "--locale=C")
	if err != nil {
		return s.Stop, err
	}
	if server.port, err = dbtest.FreePort(); err != nil {
		return s.Stop, err
	}
	if err := startPostgres(); err != nil {
		return s.Stop, err
	}
	if err := execute("postgres", "CREATE USER u PASSWORD 'p w#1'", "CREATE DATABASE d OWNER u", "CREATE USER secret PASSWORD 'p''w'",
		"CREATE USER old", "ALTER USER old SET standard_conforming_strings = off", "ALTER USER old SET escape_string_warning = off"); err != nil {
		return s.Stop, err
	}
	if err := execute("d", append(content(), "GRANT ALL ON t TO PUBLIC")...); err != nil {
		return s.Stop, err
	}
	return s.Stop, nil
}

func startPostgres() error {
	ready := func() error { return execute("postgres") }
	return server.Start(serverAccount, ready, server.bin+"/postgres", "-D", server.Dir+"/data", "-k", server.Dir, "-p", fmt.Sprint(server.port),
		"-c", "listen_addresses=127.0.0.1", "-c", "fsync=off", "-c", "shared_buffers=4MB", "-c", "autovacuum=off", "-c", "max_connections=30")
}

func execute(database string, statements ...string) error {
	ctx := context.Background()
	c, err := pgconn.Connect(ctx, fmt.Sprintf("host=%s port=%d user=postgres dbname=%s", server.Dir, server.port, database))
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	for _, statement := range statements {
		if _, err := c.Exec(ctx, statement).ReadAll(); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

// nasty are keys that must arrive at the server as they are.
var nasty = []string{"a'b", `a"b`, `a\b`, `a\'b`, `\`, `'`, `''`, "x' or '1'='1", `\' or 1=1 -- `, "%s", "%", "a%", "_", "a;b", "a--b", "/*", "$$a$$", "$1", "E'a'", "a\tb", "a\rb",
	"a\x1ab", "grüße@münchen.example", "😀@example.com", "user+ext@example.com", "a@b@c.example", "@example.com", "a@", "a@b..c", "a@[1.2.3.4]", "\"q r\"@x.example",
	strings.Repeat("long", 60), "UPPER@Example.COM"}

// randomKeys are the same in each run of the test program.
func randomKeys() []string {
	r := rand.New(rand.NewPCG(3, 4))
	keys := make([]string, 200)
	letters := strings.Split("abcXYZ019@.+-_'\"\\%äß $", "")
	for i := range keys {
		for range 1 + r.IntN(20) {
			keys[i] += letters[r.IntN(len(letters))]
		}
	}
	return keys
}

// content fills the database; keys are stored folded, as they are looked up. In
// the 3.7 dialect the connection's encoding is LATIN1, so that each byte of a
// key is a character.
func content() []string {
	all := []string{"CREATE TABLE t (k text, v text, n int, f float8, m numeric(8,2), y date, b bool, x bytea)"}
	for i, key := range append(append([]string(nil), nasty...), randomKeys()...) {
		bytes := make([]rune, 0, len(key))
		for _, c := range []byte(strings.ToLower(key)) {
			bytes = append(bytes, rune(c))
		}
		all = append(all, fmt.Sprintf("INSERT INTO t VALUES ('%s', 'value%d', %d, %d/7e3, %d.5, '2026-01-02', true, '\\x4100')", strings.ReplaceAll(string(bytes), "'", "''"), i, i, i, i))
	}
	for _, row := range []string{"'many','one',1,1e10,1", "'many',NULL,2,1e20,2", "'many','u@d.example',3,1e-7,3", "'many','@nouser',4,0,0", "'empty','',0,0,0", "'null'"} {
		all = append(all, "INSERT INTO t VALUES ("+row+")")
	}
	return append(all, "CREATE FUNCTION f(key text) RETURNS SETOF text AS 'SELECT v FROM t WHERE k = key' LANGUAGE sql")
}

var (
	errno = regexp.MustCompile(`(query error): .*`)
	// What the client library says on its own behalf is not part of the dialect.
	notice = regexp.MustCompile(`(?m)^WARNING:  .*\n`)
)

func same(r dbtest.Result) string {
	r.Stderr = notice.ReplaceAllString(errno.ReplaceAllString(r.Stderr, "$1"), "")
	return r.String()
}

// queries is a case that looks up keys, one a line.
func queries(conf, keys string) dbtest.Case {
	return dbtest.Case{Client: conf, Stdin: keys, Args: []string{"-q", "-", "pgsql:FILE"}}
}

func TestSameAsDebian(t *testing.T) {
	tcp := fmt.Sprintf("hosts = 127.0.0.1:%d\n", server.port)
	uri := fmt.Sprintf("postgresql:///d?user=u&host=%s&port=%d", server.Dir, server.port)
	login := "user = u\npassword = p w#1\ndbname = d\n"
	all := strings.Join(nasty, "\n") + "\n" + strings.Join(randomKeys(), "\n") + "\n"
	get := "query = SELECT v FROM t WHERE k = '%s'\n"
	var cases []dbtest.Case
	for _, conf := range []string{
		tcp + login + get,
		"hosts = " + uri + "\n" + login + get,
		tcp + login + "query = SELECT v, n, f, m, y, b, x FROM t WHERE k = '%s'\n",
		tcp + login + "select_function = f\n",
		tcp + login + "query = SELECT '<%s>', '<%u>', '<%d>'\n",
		tcp + login + "query = SELECT '%s', '%1'\n",
		tcp + login + "query = SELECT '%2', '%3'\nresult_format = <%s|%S|%U|%D|%1>\n",
		tcp + login + get + "domain = example.com, x.example\n",
		tcp + login + "query =\ntable = t\nselect_field = v\nwhere_field = k\n",
		tcp + login + "table = t\nselect_field = v\nwhere_field = k\nadditional_conditions = AND n < 100\n",
		tcp + login + "query = SET search_path TO public\n",
		tcp + "dbname = d\nuser = old\n" + get,
	} {
		cases = append(cases, queries(conf, all))
	}
	long := strings.Repeat("a", 70)
	for _, c := range []struct{ conf, keys string }{
		{"", "many\nempty\nnull\nnosuch\n"}, {"result_format = %d", "many"}, {"result_format = %u", "many"}, {"result_format = %s %%", "many"}, {"result_format = %U:%s", "many@x"},
		{"expansion_limit = 1", "many"}, {"expansion_limit = 3", "many"}, {"result_format = %d\nexpansion_limit = 1", "many"}, {"query = SELECT k, v FROM t WHERE k = '%u'", "null\nmany@foo"},
		{"query = SELECT 1/3, 1e10, 1.5e0, 1e15::float8, true, 18446744073709551615, -5, now() - now(), ARRAY[1,2], NULL, ''", "x"},
		{"query = SELECT v FROM nosuch", "x"}, {"query = SELECT 1; SELECT 2", "x"}, {"query = SELECT 1; SELEC 2", "x"}, {"query = SELECT 1; SELECT 2 WHERE false", "x"},
		{"query = SELECT 1; UPDATE t SET n = n", "x"}, {"query = SELECT '%s'", "x\n\n"}, {"query = --", "x"}, {"query = SELECT", "x"}, {"query = COPY t TO STDOUT", "x"},
		{"query = BEGIN; SELECT 1", "x\ny"}, {"query = LISTEN x", "x"}, {"query = DECLARE c CURSOR FOR SELECT 1", "x"}, {"query = SELECT nof('%s')", "x"},
		{"query = SELECT '" + long + "' FROM nosuch WHERE x = '%s'", "x"}, {"query = SELECT nosuch, '" + long + "' FROM t", "x"}, {"query = SELECT '" + long + "', nosuch FROM t", "x"},
		{"query = SELECT '" + long + "', nosuch, '" + long + "' FROM t", "x"}, {"query = SELECT '" + long + "' FROM t, nosuch, t, t", "x"}, {"query = SELECT '%s' FROM nosuch", "grün"},
		{"query = DO $$BEGIN RAISE EXCEPTION 'hey' USING DETAIL='dd', HINT='hh'; END$$", "x"}, {"query = DO $$BEGIN RAISE WARNING 'hey'; END$$", "x"},
		{"query = SHOW client_encoding", "x"}, {"select_function = nof\nquery =", "x"},
		{"domain = fail:x", "x@y\n"}, {"domain = fail:x", "x"}, {"domain = /nonexistent", "x"}, {"domain = !", "x"}, {"domain = a #b", "x@a"},
		{"query = SELECT '%z'", "x"}, {"result_format = %", "x"}, {"result_format =", "x"}, {"expansion_limit = many", "x"}, {"dbname =", "x"}, {"query =", "x"},
		{"dbname = nosuch", "x"}, {"user = nosuch", "x"}, {"user =", "x"}, {"dbname = host=127.0.0.1 dbname=d user=nobody", "many"}, {"query = SELECT current_user", "x"},
		{"hosts = 127.0.0.1:1", "x"}, {"hosts = localhost:1", "x"}, {"hosts = unix:/nonexistent", "x"}, {"hosts = /nonexistent", "x"}, {"hosts = nosuch.invalid", "x"},
		{"hosts = 127.0.0.1:nosuch", "x"}, {"hosts = 127.0.0.1:99999", "x"}, {"hosts = 127.0.0.1:0", "x"}, {"hosts = inet:127.0.0.1:" + fmt.Sprint(server.port), "many"},
		{"hosts = unix:/nonexistent, 127.0.0.1:1", "x"}, {"hosts = unix:/nonexistent 127.0.0.1:" + fmt.Sprint(server.port), "many"}, {"hosts = ::1:1", "x"},
		{"hosts = 127.0.0.1:1 " + uri, "many"}, {"hosts = unix:relative", "x"}, {"hosts = unix:" + server.Dir, "x"}, {"hosts = " + strings.Replace(uri, "/d", "/nosuch", 1), "x"},
		{"junk", "x"}, {"= junk", "x"}, {"user = v\nuser = u", "many"}, {"unknown = parameter", "many"},
	} {
		if !strings.Contains(c.conf, "query =") {
			c.conf = get + c.conf
		}
		cases = append(cases, queries(tcp+login+c.conf+"\n", c.keys))
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
		{"-q", "many", "pgsql:t"}, {"-q", "MANY", "pgsql:t"}, {"-f", "-q", "MANY", "pgsql:t"}, {"-q", "x", "pgsql:b"}, {"-q", "x", "pgsql:l"}, {"-q", "x", "pgsql:r"},
		{"-q", "x", "pgsql:/nonexistent"}, {"-q", "x", "pgsql:."}, {"-s", "pgsql:t"}, {"-d", "x", "pgsql:t"}, {"-u", "-q", "\xff", "pgsql:t"}, {"-q", "\xff", "pgsql:t"},
		{"-q", "nosuch", "pgsql:t"},
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
	server.Kill(syscall.SIGQUIT)
	if err := startPostgres(); err != nil {
		t.Fatal(err)
	}
	find()
}

// Random keys arrive as they are, whatever way of quoting the server wants.
func TestRandomBytes(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	pieces := []string{"'", "\\", "\"", "a", "%", "$", "é", "😀", "\n", "\x01", "\xc3", "\xff", "--", ";", "E'", "''", "\\'"}
	for _, user := range []string{"u", "old"} {
		h := open(t, fmt.Sprintf("hosts = 127.0.0.1:%d\nuser = %s\npassword = p w#1\ndbname = d\nquery = SELECT encode(convert_to('%%s', 'UTF8'), 'hex'), 'end'\n", server.port, user))
		tabletest.Logged(t, func() {
			for range 300 {
				key := ""
				for range 1 + r.IntN(8) {
					key += pieces[r.IntN(len(pieces))]
				}
				want := fmt.Sprintf("%x,end", key)
				if !utf8.ValidString(key) {
					want = "none"
				}
				if value := tabletest.Find(t, h.As(table.Options{Flags: table.Lock}), key); value != want {
					t.Errorf("%s: %q: %s", user, key, value)
				}
			}
		})
	}
}

// Keys in UTF-8 are found, by default.
func TestUTF8(t *testing.T) {
	if err := execute("d", "CREATE TABLE w (k text, v text)", "INSERT INTO w VALUES ('grün@münchen.example', 'größe')", "GRANT ALL ON w TO PUBLIC"); err != nil {
		t.Fatal(err)
	}
	h := open(t, fmt.Sprintf("hosts = 127.0.0.1:%d\nuser = u\ndbname = d\nquery = SELECT v FROM w WHERE k = '%%s'\n", server.port))
	if value := tabletest.Find(t, h, "Grün@München.example"); value != "größe" {
		t.Error(value)
	}
}

// A query without end is stopped, and the connection is not used again.
func TestSlowQuery(t *testing.T) {
	h := open(t, fmt.Sprintf("hosts = 127.0.0.1:%d\nuser = u\ndbname = d\nquery = SELECT pg_sleep(%%u)\n", server.port))
	pool(h).Query = shortTime
	logged := tabletest.Logged(t, func() {
		if value := tabletest.Find(t, h, "300"); value != "error" {
			t.Error(value)
		}
	})
	if len(logged) != 2 || !strings.HasSuffix(logged[0], "time limit exceeded?") {
		t.Error(logged)
	}
}
