//go:build interop

package sqlite

import (
	"math/rand/v2"
	"os/exec"
	"regexp"
	"strings"
	"testing"

	"suffix/pkg/table/dbcommon/dbtest"
)

// randomKeys are the same in each run of the test program.
func randomKeys() []string {
	r := rand.New(rand.NewPCG(5, 6))
	keys := make([]string, 200)
	letters := strings.Split("abcXYZ019@.+-_'\"\\%äß ", "")
	for i := range keys {
		for range 1 + r.IntN(20) {
			keys[i] += letters[r.IntN(len(letters))]
		}
	}
	return keys
}

var errno = regexp.MustCompile(`(query error): .*`)

func same(r dbtest.Result) string {
	r.Stderr = errno.ReplaceAllString(r.Stderr, "$1")
	return r.String()
}

// The database is made by the real SQLite.
func TestSameAsDebian(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/db"
	cmd := exec.Command("sqlite3", path)
	cmd.Stdin = strings.NewReader("BEGIN;\n" + script(append(append([]string(nil), nasty...), randomKeys()...)) + "COMMIT;\n")
	if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
		t.Fatalf("%v: %s", err, out)
	}
	base := "dbpath = " + path + "\n"
	get := "query = SELECT v FROM t WHERE k = '%s'\n"
	all := strings.Join(nasty, "\n") + "\n" + strings.Join(randomKeys(), "\n") + "\n"
	queries := func(conf, keys string) dbtest.Case {
		return dbtest.Case{Client: conf, Stdin: keys, Args: []string{"-q", "-", "sqlite:FILE"}}
	}
	var cases []dbtest.Case
	for _, conf := range []string{
		get, "query = SELECT v || n || f FROM t WHERE k = '%s'\n", "query = SELECT '<%s|%u|%d>'\n", "query = SELECT '<%s|%1>'\n",
		"query = SELECT '%2', '%3'\nresult_format = <%s|%S|%U|%D|%1>\n", get + "domain = example.com, x.example\n",
		"query =\ntable = t\nselect_field = v\nwhere_field = k\n", "table = t\nselect_field = v\nwhere_field = k\nadditional_conditions = AND n < 100\n",
	} {
		cases = append(cases, queries(base+conf, all))
	}
	for _, c := range []struct{ conf, keys string }{
		{"", "many\nempty\nnull\nnosuch\n"}, {"result_format = %d", "many"}, {"result_format = %u", "many"}, {"result_format = %s %%", "many"}, {"result_format = %U:%s", "many@x"},
		{"expansion_limit = 1", "many"}, {"expansion_limit = 3", "many"}, {"result_format = %d\nexpansion_limit = 1", "many"},
		{"query = SELECT f FROM t", "x"}, {"query = SELECT 1e15", "x"}, {"query = SELECT 1e16", "x"}, {"query = SELECT 3.0", "x"}, {"query = SELECT 1.0/3", "x"}, {"query = SELECT -5", "x"},
		{"query = SELECT 9223372036854775807", "x"}, {"query = SELECT x'610062'", "x"}, {"query = SELECT x'006162'", "x"}, {"query = SELECT NULL", "x"},
		{"query = SELECT v FROM nosuch", "x"}, {"query = SELECT 1; SELECT 2", "x"}, {"query = SELECT 1; SELEC 2", "x"}, {"query = --", "x"}, {"query = SELEC 1", "x"}, {"query = SELECT '%s", "x"},
		{"query = SELECT abs(-9223372036854775807 - n) FROM t WHERE k = 'many'", "x"}, {"query = SELECT k FROM t WHERE v = (SELECT v FROM t WHERE k = 'many')", "x"},
		{"query = SELECT %s", "5"}, {"query = SELECT \"%s\"", "5"}, {"query = SELECT '%s'", "x\n\n"},
		{"domain = fail:x", "x@y\n"}, {"domain = fail:x", "x"}, {"domain = /nonexistent", "x"}, {"domain = !", "x"}, {"domain = a #b", "x@a"}, {"domain = ,", "x@a"}, {"domain =", "many"},
		{"domain = hash:/nonexistent", "x@y"}, {"domain = !a, static:all", "x@a\nx@b"}, {"query = SELECT '%s'\ndomain = !a.example, static:all", "x@a.example\nx@b.example"},
		{"query = SELECT '%z'", "x"}, {"query = SELECT '%", "x"}, {"query = SELECT '%%'", "x"}, {"result_format = %", "x"}, {"result_format =", "x"}, {"expansion_limit = many", "x"}, {"query =", "x"},
		{"expansion_limit = -1", "many"}, {"expansion_limit = 99999999999", "many"}, {"dbpath =", "x"}, {"dbpath = /nonexistent/x", "x"}, {"dbpath = .", "x"}, {"dbpath = /etc/passwd", "x"},
		{"dbpath = new.db", "x"}, {"dbpath = new.db\nquery = SELECT 1", "x"}, {"junk", "x"}, {"= junk", "x"}, {"unknown = parameter", "many"}, {"query = SELECT '%2'", "a@b..c\na@.c\na@b.c.\na@b\na@...\n"},
		{"query = SELECT '%9'", "a@1.2.3.4.5.6.7.8.9\na@1.2.3.4.5.6.7.8\na@0.1.2.3.4.5.6.7.8.9"}, {"# comment\n  query = odd", "many"}, {"query\n =\n SELECT\n 'x'", "many"},
	} {
		if !strings.Contains(c.conf, "query =") {
			c.conf = get + c.conf
		}
		cases = append(cases, queries(base+c.conf+"\n", c.keys))
	}
	main := "key = k\nt_dbpath = " + path + "\nt_query = SELECT v FROM t WHERE $key = '%s'\nb_dbpath = x\nb_expansion_limit = z\nb_query = q\nl_dbpath =\nr_dbpath = d\nr_query = q\nr_result_format = %z\n"
	for _, args := range [][]string{
		{"-q", "many", "sqlite:t"}, {"-q", "MANY", "sqlite:t"}, {"-f", "-q", "MANY", "sqlite:t"}, {"-q", "x", "sqlite:b"}, {"-q", "x", "sqlite:l"}, {"-q", "x", "sqlite:r"},
		{"-q", "x", "sqlite:/nonexistent"}, {"-q", "x", "sqlite:."}, {"-s", "sqlite:t"}, {"-d", "x", "sqlite:t"}, {"-u", "-q", "\xff", "sqlite:t"}, {"-q", "\xff", "sqlite:t"},
		{"-q", "nosuch", "sqlite:t"}, {"-q", "x", "sqlite:nothing"}, {"sqlite:t"},
	} {
		cases = append(cases, dbtest.Case{Settings: main, Args: args})
	}
	results := dbtest.Compare(t, cases, same)
	if n := strings.Count(results[0].Stdout, "value"); n < len(nasty) {
		t.Errorf("only %d keys found: %s", n, results[0])
	}
}
