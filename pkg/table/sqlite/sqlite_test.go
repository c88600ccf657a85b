package sqlite

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	_ "suffix/pkg/alltables"
	"suffix/pkg/config"
	"suffix/pkg/table"
	"suffix/pkg/table/clienttest"
	"suffix/pkg/table/dbcommon/dbtest"
	"suffix/pkg/table/tabletest"
)

func TestMain(m *testing.M) { clienttest.Main(m, nil) }

// nasty are keys that must arrive at the database as they are.
var nasty = []string{"a'b", `a"b`, `a\b`, `a\'b`, `\`, `'`, `''`, "x' or '1'='1", `\' or 1=1 -- `, "%s", "%", "a%", "_", "a;b", "a--b", "/*", "a\tb", "a\rb",
	"a\x1ab", "grüße@münchen.example", "😀@example.com", "user+ext@example.com", "a@b@c.example", "@example.com", "a@", "a@b..c", "a@[1.2.3.4]", "\"q r\"@x.example",
	strings.Repeat("long", 60), "UPPER@Example.COM"}

// script fills a database; keys are stored folded, as they are looked up.
func script(keys []string) string {
	var b strings.Builder
	b.WriteString("CREATE TABLE t (k, v, n INT, f REAL);\n")
	for i, key := range keys {
		fmt.Fprintf(&b, "INSERT INTO t VALUES ('%s', 'value%d', %d, %d/7e3);\n", strings.ReplaceAll(table.Fold(key, true), "'", "''"), i, i, i)
	}
	for _, row := range []string{"'many','one',1,1e10", "'many',NULL,2,1e20", "'many','u@d.example',3,1e-7", "'many','@nouser',4,0", "'empty','',0,0", "'null',NULL,NULL,NULL"} {
		b.WriteString("INSERT INTO t VALUES (" + row + ");\n")
	}
	return b.String()
}

// makeDatabase runs statements in a new database.
func makeDatabase(t *testing.T, statements string) (path string) {
	t.Helper()
	path = filepath.Join(t.TempDir(), "db")
	db, text, err := openDatabase(path, true)
	if err != nil {
		t.Fatal(text, err)
	}
	defer db.close()
	for _, statement := range strings.SplitAfter(statements, ";\n") {
		if statement == "" {
			continue
		}
		s, text := db.prepare(statement)
		if text != "" {
			t.Fatal(statement, text)
		}
		err := s.each(func(string) error { return nil })
		if text := s.finalize(); err != nil || text != "" {
			t.Fatal(statement, err, text)
		}
	}
	return path
}

// clientFile writes a client file for a database.
func clientFile(t *testing.T, path, conf string) (spec string) {
	t.Helper()
	return "sqlite:" + dbtest.Write(t, filepath.Join(t.TempDir(), "s.cf"), "dbpath = "+path+"\n"+conf)
}

func TestKeys(t *testing.T) {
	path := makeDatabase(t, script(nasty))
	h := tabletest.Open(t, clientFile(t, path, "query = SELECT v FROM t WHERE k = '%s'\n"), table.Options{Flags: table.Reader})
	for i, key := range nasty {
		if value := tabletest.Find(t, h, key); value != fmt.Sprint("value", i) {
			t.Errorf("%q: %s", key, value)
		}
	}
	long := strings.Repeat("x'", 1<<19)
	for key, want := range map[string]string{"many": "one,u@d.example,@nouser", "MANY": "one,u@d.example,@nouser", "null": "none", "nosuch": "none", "many\x00": "none", "\xff": "none", long: "none"} {
		if value := tabletest.Find(t, h, key); value != want {
			t.Errorf("%.20q: %s", key, value)
		}
	}
	if logged := tabletest.Logged(t, func() { tabletest.Find(t, h, "empty") }); len(logged) != 1 || !strings.HasSuffix(logged[0], `: empty lookup result for: "empty" -- ignored`) {
		t.Error(logged)
	}
}

func TestConcurrentLookups(t *testing.T) {
	path := makeDatabase(t, script(nasty))
	h := tabletest.Open(t, clientFile(t, path, "query = SELECT v FROM t WHERE k = '%s'\n"), table.Options{Flags: table.Reader})
	var all sync.WaitGroup
	for range 8 {
		all.Add(1)
		go func() {
			defer all.Done()
			for i, key := range nasty {
				if value, _, err := h.Lookup(key); err != nil || value != fmt.Sprint("value", i) {
					t.Errorf("%q: %s, %v", key, value, err)
				}
			}
		}()
	}
	all.Wait()
}

// openErr opens a table that is not usable and returns the reason.
func openErr(t *testing.T, spec string, o table.Options) string {
	t.Helper()
	o.Command = true
	h := table.Open(spec, o)
	defer h.Close()
	if h.Err() == nil {
		t.Fatal("the table is usable")
	}
	return h.Err().Error()
}

func TestOpenErrors(t *testing.T) {
	path := makeDatabase(t, script(nil))
	missing := filepath.Join(t.TempDir(), "missing")
	query := "query = SELECT 1\n"
	for _, c := range []struct{ spec, want string }{
		{clientFile(t, missing, query), ": open database " + missing + ": unable to open database file: No such file or directory"},
		{clientFile(t, "", query), ": bad string length 0 < 1: dbpath = "},
		{clientFile(t, path, ""), ": bad string length 0 < 1: table = "},
		{clientFile(t, path, "query = %q\n"), "Invalid query template: %q"},
		{clientFile(t, path, query+"result_format = %x\n"), "Invalid result template: %x"},
		{clientFile(t, path, query+"expansion_limit = all\n"), ": bad numerical configuration: expansion_limit = all"},
		{"sqlite:/nonexistent", "open /nonexistent: No such file or directory"},
	} {
		if reason := openErr(t, c.spec, table.Options{}); !strings.HasSuffix(reason, c.want) {
			t.Errorf("%s, want %s", reason, c.want)
		}
	}
	if _, err := os.Stat(missing); !os.IsNotExist(err) {
		t.Error("a missing database was made:", err)
	}
	if reason, want := openErr(t, clientFile(t, path, query), table.Options{Mode: table.ReadWrite}), "map requires O_RDONLY access mode"; !strings.HasSuffix(reason, want) {
		t.Error(reason)
	}
}

func TestReadOnly(t *testing.T) {
	path := makeDatabase(t, script(nil))
	h := tabletest.Open(t, clientFile(t, path, "query = DELETE FROM t WHERE k <> '%s'\n"), table.Options{})
	logged := tabletest.Logged(t, func() {
		if value := tabletest.Find(t, h, "x"); value != "error" {
			t.Error(value)
		}
	})
	if len(logged) != 1 || !strings.HasSuffix(logged[0], "SQL step failed for query 'DELETE FROM t WHERE k <> 'x'': attempt to write a readonly database?") {
		t.Error(logged)
	}
}

func TestQuotingWarning(t *testing.T) {
	path := makeDatabase(t, script(nil))
	for query, letter := range map[string]string{"SELECT %s": "s", `SELECT "%u"`: "u", "SELECT '%s', %d": "d", "SELECT 'a''%s'": "", "SELECT '%s' || '%u'": "", "SELECT '%%' || %1": "1"} {
		spec := clientFile(t, path, "query = "+query+"\n")
		logged := tabletest.Logged(t, func() { tabletest.Open(t, spec, table.Options{}) })
		want := "warning: " + spec + ": query >" + query + "< contains >%" + letter + "< without the recommended '' quotes"
		if letter == "" && len(logged) > 0 || letter != "" && (len(logged) != 1 || logged[0] != want) {
			t.Errorf("%s: %s", query, logged)
		}
	}
}

// A bad query ends a command with its text; a daemon logs it.
func TestBadQuery(t *testing.T) {
	path := makeDatabase(t, script(nil))
	spec := clientFile(t, path, "query = SELEC '%s'\n")
	want := "dict_sqlite_lookup: " + strings.TrimPrefix(spec, "sqlite:") + `: SQL prepare failed: near "SELEC": syntax error`
	h := tabletest.Open(t, spec, table.Options{})
	if _, _, err := h.Lookup("x"); err == nil || err.Error() != want+"\n" {
		t.Errorf("%q", err)
	}
	daemon := table.Open(spec, table.Options{Flags: table.Lock})
	defer daemon.Close()
	logged := tabletest.Logged(t, func() {
		if _, _, err := daemon.Lookup("x"); err == nil || table.IsConfig(err) {
			t.Error(err)
		}
	})
	if len(logged) != 1 || logged[0] != "error: "+want+"?" {
		t.Error(logged)
	}
}

// A database that another program writes to is waited for, not for ever.
func TestLockedDatabase(t *testing.T) {
	path := makeDatabase(t, script(nil))
	h := tabletest.Open(t, clientFile(t, path, "query = SELECT v FROM t WHERE k = '%s'\n"), table.Options{})
	writer, text, err := openDatabase(path, true)
	if err != nil {
		t.Fatal(text, err)
	}
	defer writer.close()
	run := func(query string) {
		t.Helper()
		s, text := writer.prepare(query)
		if text != "" {
			t.Fatal(text)
		}
		if err := s.each(func(string) error { return nil }); err != nil {
			t.Error(query, err)
		}
		s.finalize()
	}
	run("BEGIN EXCLUSIVE")
	if _, _, err := h.Lookup("many"); err == nil || !strings.Contains(err.Error(), "database is locked") {
		t.Error(err)
	}
	run("COMMIT")
	if value := tabletest.Find(t, h, "many"); value != "one,u@d.example,@nouser" {
		t.Error(value)
	}
}

// A query without end is interrupted.
func TestInterrupt(t *testing.T) {
	path := makeDatabase(t, script(nil))
	db, text, err := openDatabase(path, false)
	if err != nil {
		t.Fatal(text, err)
	}
	defer db.close()
	s, text := db.prepare("WITH RECURSIVE r(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM r) SELECT n FROM r")
	if text != "" {
		t.Fatal(text)
	}
	defer s.finalize()
	rows := 0
	err = s.each(func(string) error {
		if rows++; rows == 1000 {
			go db.interrupt()
		}
		return nil
	})
	if err == nil || err.Error() != "interrupted" {
		t.Error(rows, err)
	}
	db.interrupt() // nothing runs: nothing happens
}

// A damaged database gives errors or wrong values, nothing worse.
func TestDamagedDatabase(t *testing.T) {
	path := makeDatabase(t, script(nasty))
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	var damaged [][]byte
	for _, size := range []int{0, 1, 50, 100, 1000, 4096, 5000, len(whole) - 1} {
		damaged = append(damaged, whole[:size])
	}
	r := rand.New(rand.NewPCG(1, 1))
	for range 60 {
		bytes := slices.Clone(whole)
		for range 1 + r.IntN(20) {
			bytes[r.IntN(len(bytes))] ^= byte(1 + r.IntN(255))
		}
		damaged = append(damaged, bytes)
	}
	spec := clientFile(t, path, "query = SELECT v FROM t WHERE k = '%s'\n")
	tabletest.Logged(t, func() {
		for i, bytes := range damaged {
			if err := os.WriteFile(path, bytes, 0o644); err != nil {
				t.Fatal(err)
			}
			h := table.Open(spec, table.Options{Command: true})
			for _, key := range nasty {
				if value, found, err := h.Lookup(key); err == nil && found && i < 8 && !strings.HasPrefix(value, "value") {
					t.Errorf("%d: %q %v %v", i, value, found, err)
				}
			}
			if err := h.Close(); err != nil {
				t.Error(err)
			}
		}
	})
}

// In the 3.7 dialect the database is opened as Postfix 3.7 does.
func TestDialect37(t *testing.T) {
	dir := t.TempDir()
	dbtest.Write(t, dir+"/main.cf", "compatibility_level = 3.6\nsuffix_dialect = 3.7\n")
	cfg, err := config.Load(config.Options{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	o := table.Options{Config: cfg}
	path := filepath.Join(t.TempDir(), "new")
	h := tabletest.Open(t, clientFile(t, path, "query = SELECT %s\n"), o)
	if value := tabletest.Find(t, h, "5"); value != "5" {
		t.Error(value)
	}
	if _, err := os.Stat(path); err != nil {
		t.Error(err)
	}
	if reason, want := openErr(t, clientFile(t, "/nonexistent/x", "query = SELECT 1\n"), o), ": Can't open database: unable to open database file\n"; !strings.HasSuffix(reason, want) {
		t.Errorf("%q", reason)
	}
}
