//go:build interop

package maptool

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// randomScenarios is how many of them one run has. INTEROP_SEED in the
// environment makes others.
const randomScenarios = 110

// TestRandom compares what chance made: sources, keys, options, types.
func TestRandom(t *testing.T) {
	seed := uint64(1)
	if text := os.Getenv("INTEROP_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("INTEROP_SEED=%d", seed)
	makers := []func(*chance) scenario{(*chance).index, (*chance).index, (*chance).index, (*chance).aliases, (*chance).rules, (*chance).rules,
		(*chance).networks, (*chance).inPlace, (*chance).inPlace, (*chance).client, (*chance).files}
	var all []scenario
	for i := range randomScenarios {
		c := &chance{rand.New(rand.NewPCG(seed, uint64(i)))}
		s := makers[i%len(makers)](c)
		s.name = fmt.Sprintf("seed %d, scenario %d", seed, i)
		all = append(all, s)
	}
	compare(t, buildOurs(t), all)
}

// chance makes things.
type chance struct{ *rand.Rand }

func (c *chance) of(list ...string) string { return list[c.IntN(len(list))] }

func (c *chance) in(n int) bool { return c.IntN(n) == 0 }

// some is up to n things.
func (c *chance) some(n int, one func() string) string {
	var b strings.Builder
	for range c.IntN(n + 1) {
		b.WriteString(one())
	}
	return b.String()
}

func (c *chance) key() string {
	switch c.IntN(12) {
	case 0:
		return c.of("Ä", "ß", "é@dom", "ÀB", "Straße")
	case 1:
		return `"` + c.of("a b", "x", "", `q\"r`, "A") + `"` + c.of("", "@dom", "x")
	case 2:
		return c.of("\xff", "\xc3", "a\xe9")
	case 3:
		return strings.Repeat(c.of("k", "Long", "é"), c.IntN(400))
	case 4:
		return c.of(`\a`, `a\ b`, `b\"`, `c\`)
	}
	return c.of("a", "b", "A", "B", "user", "User@Example.COM", "@dom", "dom", ".dom", "a+b@c", "x=y", "10.1.2.3", "a,b", "#x", "k1", "k2", "K3")
}

func (c *chance) value() string {
	switch c.IntN(10) {
	case 0:
		return strings.Repeat("v", c.IntN(1500))
	case 1:
		return c.of("ü", "\xff", "{ a }", "a\tb", "x\x00y", "a\rb")
	}
	return c.of("1", "two", "REJECT no", "a, b", "v w  x", "$1", "OK", "smtp:[h]:25", "#v", "\"q\"")
}

func (c *chance) line() string {
	switch c.IntN(14) {
	case 0:
		return "# comment\n"
	case 1:
		return c.of("\n", "  \n", "\t#c\n", "\r\n")
	case 2:
		return c.of(" ", "\t", "   ") + c.of("cont", "more # x", c.value()) + "\n"
	case 3:
		return c.key() + "\n"
	case 4:
		return c.key() + ": " + c.value() + "\n"
	case 5:
		return `"open ` + c.value() + "\n"
	case 6:
		return c.key() + c.of(" ", "\t", "  ", "\v") + c.value() + c.of(" ", "\r", "\t ") + "\n"
	}
	return c.key() + c.of(" ", "\t", "   ") + c.value() + "\n"
}

func (c *chance) source() string {
	text := c.some(12, c.line)
	if c.in(5) {
		text = strings.TrimSuffix(text, "\n")
	}
	return text
}

func (c *chance) keys() string {
	return c.some(8, func() string { return c.key() + c.of("\n", "\n", "\n", " \n", "\r\n") })
}

// arg is a key for a command line.
func (c *chance) arg() string {
	for {
		key := c.key()
		if key != "" && !strings.ContainsAny(key, " :_\x00") && key[0] != '-' {
			return key
		}
	}
}

// options are some letters without arguments.
func (c *chance) options(from string) string {
	var b strings.Builder
	for range c.IntN(3) {
		b.WriteString("-" + string(from[c.IntN(len(from))]) + " ")
	}
	return b.String()
}

func (c *chance) index() scenario {
	typ := c.of("hash", "btree", "cdb", "lmdb")
	m := typ + ":m"
	s := scenario{files: map[string]string{"m": c.source()}}
	if !c.in(6) {
		s.steps = append(s.steps, step{"postmap " + c.options("fNnprwuo") + m, ""})
	}
	for range 5 {
		switch c.IntN(8) {
		case 0:
			s.steps = append(s.steps, step{"postmap -s " + c.options("fuNn") + m, ""})
		case 1, 2:
			s.steps = append(s.steps, step{"postmap " + c.options("fuNn") + "-q - " + m, c.keys()})
		case 3:
			s.steps = append(s.steps, step{"postmap " + c.options("fu") + "-q " + c.arg() + " " + m, ""})
		case 4:
			s.steps = append(s.steps, step{"postmap " + c.options("fu") + "-d " + c.arg() + " " + m, ""})
		case 5:
			s.steps = append(s.steps, step{"postmap " + c.options("fu") + "-d - " + m, c.keys()})
		case 6:
			s.steps = append(s.steps, step{"postmap -i " + c.options("fNnrwup") + m, c.source()})
		case 7:
			s.steps = append(s.steps, step{"postmap " + c.options("fNnprwuo") + m, ""})
		}
	}
	s.steps = append(s.steps, step{"postmap -s " + m, ""})
	return s
}

func (c *chance) aliasLine() string {
	word := func() string {
		return c.of("a", "b", "A", "x y", `"q r"`, `"a\"b"`, "(c (d))", "(open", "[1.2.3.4]", "[x", "<", ">", ",", ";", "|cmd", "/f", ":include:/l", `b\ s`, "@", "%", "!", "é", "\xff", `"`, "\\", ".", "a.b", " ", "\t")
	}
	switch c.IntN(8) {
	case 0:
		return c.of("# c\n", "\n", " cont\n", "nocolon\n")
	case 1:
		return c.some(6, word) + "\n"
	}
	return c.of("a", "b", "A", `"x y"`, "c(d)", "list", "@d", "e,f", "") + c.of(":", ": ", " : ") + c.some(5, word) + "\n"
}

func (c *chance) aliases() scenario {
	m := c.of("hash", "btree", "cdb", "lmdb") + ":m"
	s := scenario{files: map[string]string{"m": c.some(12, c.aliasLine)}}
	s.steps = []step{{"postalias " + c.options("fNnprwo") + m, ""}, {"postalias -s " + m, ""},
		{"postalias -q - " + m, "a\nB\nx y\n\"x y\"\nlist\n@\nc (d)\n"}, {"postalias " + c.options("fNn") + "-q " + c.arg() + " " + m, ""},
		{"postalias -i " + c.options("frwNn") + m, c.some(4, c.aliasLine)}, {"postalias -d " + c.of("a", "list", "@") + " " + m, ""}, {"postalias -s " + m, ""}}
	return s
}

func (c *chance) pattern() string {
	var b strings.Builder
	for range 1 + c.IntN(4) {
		b.WriteString(c.of("a", "b", "foo", "bar", ".", "x*", "y+", "z?", "(a|b)", "(foo)", "[a-c]", "[^x]", "^", "$", "[0-9]", "(x)(y)", "@", `\.`, "A", " ",
			"[[:alpha:]]", "a{2}", "(ab){1,2}", "é", "(", ")", "[", "*", "{", `\`, `\/`))
	}
	return b.String()
}

func (c *chance) rule() string {
	result := c.of("R", "REJECT", "$1", "${1}x", "$(2)", "$$", "a$1b$2c", "$0", "$x", "$", "${1", "$9", "")
	p := func() string {
		delim := c.of("/", "/", "/", "!", ",", "|", "#")
		return c.of("", "", "!", "! ! ") + delim + c.pattern() + c.of(delim, delim, delim, delim, "") + c.of("", "", "i", "m", "x", "im", "q")
	}
	switch c.IntN(12) {
	case 0:
		return c.of("# c\n", "\n", " cont\n", "word x\n")
	case 1:
		return c.of("if ", "IF ", "if", "If\t") + p() + c.of("", " extra") + "\n"
	case 2:
		return c.of("endif", "ENDIF", "endif x") + "\n"
	case 3:
		return p() + "!" + p() + " " + result + "\n"
	}
	return p() + c.of(" ", "\t", "  ") + result + "\n"
}

func (c *chance) patternKeys() string {
	return c.some(12, func() string {
		return c.some(5, func() string {
			return c.of("a", "b", "foo", "bar", "x", "y", "z", "A", "FOO", ".", "@", "1", " ", "ab", "é", "xy", "/")
		}) + "\n"
	})
}

func (c *chance) rules() scenario {
	typ := c.of("regexp", "pcre")
	s := scenario{files: map[string]string{"r": c.some(10, c.rule)}}
	s.steps = []step{{"postmap -q - " + typ + ":r", c.patternKeys()}, {"postmap " + c.options("fu") + "-q - " + typ + ":r", c.patternKeys()},
		{"postmap -q " + c.arg() + " " + typ + ":r", ""}}
	if c.in(3) {
		s.steps = append(s.steps, step{"postmap -q a " + typ + ":" + strings.ReplaceAll(c.of("{{/a/ x}}", "{{/a/ x}, {/b/ y}}", "{}", "{/a/ x}", "{{/a/ x}", "{{/a/ x} y}", "{{/a/}}", "{{if /a/} {/./ $1} {endif}}"), " ", "_"), ""})
	}
	return s
}

func (c *chance) network() string {
	return c.of("10.0.0.0/8", "10.0.0.0/33", "192.168.1.1", "192.168.1.0/24", "192.168.1.1/24", "[::1]", "2001:db8::/32", "[2001:db8::]/32", "[2001:db8::/32]",
		"2001:db8::1/32", "::/0", "0.0.0.0/0", "1.2.3", "1.2.3.4/", "foo", "::ffff:1.2.3.4", "[10.0.0.0]/8", "[10.0.0.0/8]", "[10.1", "[::1]x", "10.0.0.0/x", "01.2.3.4", "256.1.1.1", "")
}

func (c *chance) networks() scenario {
	s := scenario{files: map[string]string{"c": c.some(10, func() string {
		switch c.IntN(8) {
		case 0:
			return c.of("if ", "IF !", "if") + c.network() + c.of("", " x") + "\n"
		case 1:
			return c.of("endif", "ENDIF", "endif x") + "\n"
		}
		return c.of("", "", "!", "! ") + c.network() + c.of(" ", "\t", "") + c.of("x", "REJECT no", "", "$1", c.value()) + "\n"
	})}}
	keys := c.some(10, func() string {
		return c.of("10.1.2.3", "192.168.1.1", "192.168.1.2", "::1", "2001:db8::7", "2001:DB8::7", "1.2.3.4", "::ffff:1.2.3.4", "foo", "", "10.1", "fe80::1%lo", "[::1]") + "\n"
	})
	s.steps = []step{{"postmap -q - cidr:c", keys}, {"postmap -q 10.1.2.3 cidr:c", ""}}
	return s
}

// inPlace makes tables whose contents are their names.
func (c *chance) inPlace() scenario {
	word := func() string {
		return c.of("a", "b", "c d", "{a}", "{b_c}", "k=v", "a=b", "{k_=_v}", "{a_=_b_c}", "=", "", "é=x", `"a=b`, "{", "}", "x}", ",", "_")
	}
	list := func() string {
		var parts []string
		for range c.IntN(4) {
			parts = append(parts, word())
		}
		return c.of("{", "{", "{", "{", "") + strings.Join(parts, c.of(",", ",_", "_")) + c.of("}", "}", "}", "}", "}", "", "}x")
	}
	tables := func() string {
		var parts []string
		for range c.IntN(4) {
			parts = append(parts, c.of("static:a", "static:b", "inline:{a=b}", "inline:{b=c,c=d}", "fail:x", "texthash:m", "environ:x", "internal:y", "nocolon", "bad:x", "static:{x_y}"))
		}
		return c.of("{", "{", "{", "") + strings.Join(parts, c.of(",", ",_", "_")) + c.of("}", "}", "}", "", "}y")
	}
	var spec string
	switch c.IntN(10) {
	case 0, 1, 2:
		spec = "inline:" + list()
	case 3:
		spec = "static:" + list()
	case 4:
		spec = "randmap:" + c.of("{a}", "{{b_c}}", "{}", "{a,a}", "x", "{a", "{{a}x}")
	case 5, 6:
		spec = "pipemap:" + tables()
	case 7:
		spec = "unionmap:" + tables()
	case 8:
		spec = c.of("environ:x", "internal:x", "fail:x", "unix:passwd.byname", "unix:group.byname", "unix:none", "tcp:127.0.0.1:1", "tcp:x", "socketmap:unix:/nonex:m", "socketmap:x",
			"socketmap:inet:127.0.0.1:1:m", "memcache:/nonex", "dbm:x", "sdbm:x", "nisplus:x", "netinfo:x", "foo:x", "proxy:", "texthash:")
	case 9:
		spec = "texthash:m"
	}
	if strings.HasPrefix(spec, "tcp:") {
		// Ten tries take ten seconds.
		spec = "static:x"
	}
	s := scenario{files: map[string]string{"m": c.source()}}
	for range 2 {
		s.steps = append(s.steps, step{"postmap " + c.options("fu") + "-q " + c.of("a", "b", "c", "K", "root") + " " + spec, ""})
	}
	s.steps = append(s.steps, step{"postmap -q - " + spec, c.of("a\nb\nk\n", "c\n", "\n", "A\n\né\n")}, step{"postmap -s " + spec, ""},
		step{"postmap -d a " + spec, ""}, step{"postmap -i " + spec, "a b\n"})
	return s
}

// client makes client files of databases that are not there.
func (c *chance) client() scenario {
	typ := c.of("ldap", "mysql", "pgsql", "sqlite", "memcache")
	line := func() string {
		return c.of("dbname = x\n", "hosts = unix:/nonex\n", "hosts = inet:127.0.0.1:1\n", "query = SELECT '%s'\n", "query = SELECT '%x'\n", "query = %\n",
			"result_format = %s\n", "result_format = %y\n", "expansion_limit = 5\n", "expansion_limit = x\n", "expansion_limit = -1\n", "dbpath = /nonex/db\n",
			"server_host = ldapi://%2Fnonex\n", "search_base = dc=x\n", "version = 3\n", "scope = bad\n", "bind = maybe\n", "bind = no\n", "query_filter = (a=%s)\n",
			"table = t\n", "select_field = s\n", "where_field = w\n", "domain = example.com\n", "memcache = unix:/nonex\n", "memcache = inet:127.0.0.1:1\n", "max_try = 1\n",
			"noequals\n", "= novalue\n", "# c\n", "user = u\n", "password = p\n", "dbname = y\n", "require_result_set = perhaps\n", "key_format = %s\n")
	}
	s := scenario{files: map[string]string{"t.cf": c.some(6, line)}}
	spec := typ + ":" + c.of("./t.cf", "./t.cf", "./t.cf", "./none.cf", "legacy")
	s.settings = c.of("", "", "legacy_dbname = x\nlegacy_hosts = unix:/nonex\n", "legacy_expansion_limit = z\n", "legacy_dbpath = /nonex/db\nlegacy_query = %\n")
	s.steps = []step{{"postmap -q " + c.arg() + " " + spec, ""}, {"postmap -q - " + spec, c.of("a@example.com\n", "a\n", "@x\n")},
		{"postmap -s " + spec, ""}, {"postmap -d a " + spec, ""}, {"postmap " + spec, ""}}
	return s
}

// files makes sources whose values are names of files.
func (c *chance) files() scenario {
	s := scenario{files: map[string]string{"v1": "one\n", "v2": "two", "v3": "", "m": c.some(6, func() string {
		return c.of("a", "b", "c") + " " + c.of("v1", "v2", "v1 v2", "v3", "nonex", "v1, v2", ",", "v1,nonex") + "\n"
	})}}
	m := c.of("hash", "btree", "cdb", "lmdb", "texthash") + ":m"
	s.steps = []step{{"postmap -F " + c.options("rw") + m, ""}, {"postmap -F -q a " + m, ""}, {"postmap -q b " + m, ""}, {"postmap -F -s " + m, ""}, {"postmap -s " + m, ""},
		{"postmap -F -q - " + m, "a\nb\nc\n"}, {"postmap -q a -F inline:{a=v1}", ""}, {"postmap -F -q a inline:{a=" + c.of("v1", "nonex", "v3") + "}", ""}, {"postmap -F -q a static:" + c.of("v1", "nonex"), ""}}
	return s
}
