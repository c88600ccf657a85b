//go:build interop

package main

import (
	"math/rand/v2"
	"os"
	"strconv"
	"strings"
	"testing"
)

// envSeed names the variable that sets the seed of the generated comparisons.
const envSeed = "POSTCONF_TEST_SEED"

// A generator makes random configurations and command lines.
type generator struct{ *rand.Rand }

func newGenerator(t *testing.T) generator {
	seed := uint64(37)
	if text := os.Getenv(envSeed); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("seed %d: set %s for another", seed, envSeed)
	return generator{rand.New(rand.NewPCG(seed, 311))}
}

func (g generator) pick(list ...string) string { return list[g.IntN(len(list))] }

func (g generator) chance(percent int) bool { return g.IntN(100) < percent }

// name returns the name of a parameter. None that programs expand by
// themselves is among them: 3.7 expands their values, and -x shows that.
func (g generator) name() string {
	return g.pick("mynetworks", "relayhost", "smtpd_banner", "virtual_alias_maps", "transport_maps", "mydestination",
		"smtpd_restriction_classes", "smtpd_recipient_restrictions", "relay_domains", "message_size_limit", "biff", "queue_run_delay",
		"aa", "bb", "cc", "dd", "class1", "class2", "my_table_user", "my_table_query", "relay_destination_rate_delay", "arch_time_limit", "arch_recipient_limit",
		"smtp_destination_concurrency_limit", "local_destination_recipient_limit", "stress", "x.y-z", "1a", "Aa",
		"fallback_relay", "virtual_maps", "tls_random_source", "inet_protocols")
}

func (g generator) reference() string {
	n := g.pick("myhostname", "mydomain", "aa", "bb", "cc", "undefined1", "und_2", "relayhost", "biff", "class1", "mail_name", "stress")
	return g.pick("$"+n, "$"+n, "${"+n+"}", "$("+n+")", "${ "+n+" }", "${"+n+"?x}", "${"+n+"?{y $aa}:{z}}", "${"+n+":no $bb}", "${{$"+n+"} == {q} ? {yes} : {no $cc}}",
		"${{$"+n+"}<{12}}", "$$", "${"+n+"?{a}}")
}

func (g generator) broken() string {
	return g.pick("$", "${", "${aa", "$(", "${}", "${aa?{x}", "${aa=}", "${{a}=={b}x}", "${{a}={b}}", "${{a} == b}", "${aa?{x}y}", "$ aa", "${a-b}", "${{1}==levl{2}}", "${{x} >=level {2}}", "${aa?{x}:{y}z}")
}

func (g generator) word() string {
	return g.pick("a", "bb", "example.com", "10.0.0.0/8", "permit", "reject_unauth_destination", "check_client_access", "long-word-"+strings.Repeat("x", g.IntN(90)), "yes", "no", "5", "12",
		"5s", "ipv4", "hash:/etc/x", "ldap:my_table", "mysql:/nonexistent/x.cf", "proxy:ldap:my_table", "pgsql:@D@/client.cf", "sqlite:@D@", "unionmap:{ldap:my_table,static:x}", "{a b}", "{ a, b = c }", "class1", "class2,",
		"pipemap:{hash:a,{b}}", "pcre:{{/a b/ c}}", "pcre:/x/y", "inline:{a=b, {c = d e}}", "smtpd_access", "memcache:my_table", "\"quoted text\"", "a\\b", "\xc3\xa9t\xff", "tab\tbed")
}

func (g generator) value() string {
	var b strings.Builder
	for range g.IntN(6) {
		switch n := g.IntN(100); {
		case n < 35:
			b.WriteString(g.reference())
		case n == 35 && g.chance(30):
			b.WriteString(g.broken())
		case n < 40:
			b.WriteString(g.pick("{", "}", "{x", "x}", "{a}b"))
		default:
			b.WriteString(g.word())
		}
		b.WriteString(g.pick("", " ", "  ", ", ", ",", "\n  ", "\n# note\n\t", " "))
	}
	return b.String()
}

func (g generator) mainFile() string {
	var b strings.Builder
	// Where the name of the host has no dot, 3.7 looks at mydomain with other eyes.
	b.WriteString(g.pick("myhostname = h.example.com\n", "myhostname=$mydomain\nmydomain=x.y\n", "mydomain = a\n  b\nmyhostname = h.$mydomain $aa\n", ""))
	for range g.IntN(14) {
		switch g.IntN(30) {
		case 0:
			b.WriteString("# comment " + g.name() + " = x\n")
		case 1:
			b.WriteString(g.pick("\n", "   \n", "\t# indented\n", "#\n"))
		case 2:
			b.WriteString(g.pick(" leading = x\n", "\tx\n", "crlf = x\r\n", "aa=1\r\n  2\r\n", "cc = \n  y\n", "bb\n = 5\n"))
		case 3:
			if g.chance(20) {
				b.WriteString(g.pick("junk\n", "a b = c\n", "= x\n", "junk line that is rather long and has no sign\n"))
			}
		default:
			b.WriteString(g.name() + g.pick("=", " = ", "\t=", " =   ") + g.value() + g.pick("\n", "\n", "\n", "   \n", "\r\n"))
		}
	}
	text := b.String()
	if g.chance(10) {
		text = strings.TrimSuffix(text, "\n")
	}
	return text
}

func (g generator) masterFile() string {
	var b strings.Builder
	field := func(good ...string) string {
		if g.IntN(250) == 0 {
			return g.pick("x", "yes", "-1", "5x", "??")
		}
		return g.pick(good...)
	}
	blank := func() string { return g.pick(" ", "\t", "   ", "\n  ", " ") }
	for range g.IntN(7) {
		if g.chance(15) {
			b.WriteString(g.pick("# comment\n", "\n", "#smtp inet n - - - - smtpd\n", "  # more\n"))
		}
		b.WriteString(g.pick("smtp", "relay", "arch", "127.0.0.1:10025", "local", "private/x", "a-name-that-is-long", "spawned") + g.pick(" ", "\t", "  ") +
			field("inet", "unix", "unix", "fifo", "pass", "unix-dgram") + blank())
		for range 3 {
			b.WriteString(field("y", "n", "-", "-") + blank())
		}
		b.WriteString(field("-", "0", "60", "300?", "-?") + blank() + field("-", "0", "1", "100") + blank())
		if g.IntN(100) > 0 {
			b.WriteString(g.pick("smtpd", "smtp", "local", "pipe", "spawn", "lmtp", "error", "virtual", "qmgr", "/usr/lib/x"))
		}
		if g.chance(40) {
			// The first word that is no option is a plain one: 3.7 takes the braces off a group there.
			for range g.IntN(3) {
				b.WriteString(blank() + g.param())
			}
			b.WriteString(" plain")
		}
		for range g.IntN(6) {
			b.WriteString(blank() + g.argument())
			if g.chance(5) {
				b.WriteString("\n# inside\n  ")
			}
		}
		b.WriteString(g.pick("\n", "\n", " \n", "\r\n"))
	}
	text := b.String()
	if g.chance(10) {
		text = strings.TrimSuffix(text, "\n")
	}
	return text
}

func (g generator) argument() string {
	switch g.IntN(12) {
	case 0:
		return g.pick("-v", "-vv", "-V", "-ox=y", "-vo aa=1", "-D", "-o", "--", "-n name")
	case 1:
		return g.pick("flags=DRhu", "user=vmail", "argv=/bin/x", "${sender}", "-a", "--more", "x=y", "word")
	case 2:
		return g.pick("argv={a b}", "plain {a b}", "plain { a  b }", "plain {{x}}")
	case 3:
		if g.chance(15) {
			return g.pick("plain {a", "plain {a b}c", "-o {x", "-o {x y}", "-o {x=y}z", "-o noequals", "-o =x")
		}
		return "-v"
	}
	return g.param()
}

func (g generator) param() string {
	v := strings.NewReplacer(" ", "", "\t", "", "\n", "", "\r", "", "{a", "a", "#", "").Replace(g.pick(g.reference(), g.word(), "x", ""))
	if g.chance(20) {
		return "-o { " + g.name() + " = " + g.pick(g.reference(), "a b", "x") + " }"
	}
	return "-o " + g.name() + "=" + v
}

func (g generator) operands(of func() string) []string {
	var list []string
	for range g.IntN(4) {
		list = append(list, of())
	}
	return list
}

func (g generator) service() string {
	return g.pick("smtp", "relay", "arch", "*", "127.0.0.1:10025", "none") + g.pick("", "/inet", "/unix", "/*", "/none", "/unix")
}

// show makes a command line that displays something.
func (g generator) show() []string {
	var letters string
	add := func(percent int, letter string) {
		if g.chance(percent) {
			letters += letter
		}
	}
	var args []string
	if g.chance(15) {
		args = append(args, "-v")
	}
	override := func() {
		if g.chance(15) {
			args = append(args, "-o", g.name()+"="+strings.TrimSpace(strings.ReplaceAll(g.value(), "\n# note", "")))
		}
	}
	switch g.IntN(8) {
	case 0, 1, 2:
		letters = "-n"
		add(30, "f")
		add(40, "x")
		add(20, "h")
		add(10, "H")
		override()
		if g.chance(20) {
			args = append(args, "-C", g.pick("user", "service", "builtin", "all", "user,service", "BUILTIN user"))
		}
		args = append(args, letters)
		args = append(args, g.operands(g.name)...)
	case 3:
		letters = "-p"
		add(50, "x")
		add(20, "f")
		add(40, "h")
		override()
		args = append(append(args, letters), g.name(), g.name())
	case 4:
		letters = "-M"
		add(50, "f")
		add(40, "x")
		override()
		args = append(append(args, letters), g.operands(g.service)...)
	case 5:
		letters = "-F" // and no -h: 3.7 glues the command to its first argument
		add(50, "f")
		add(40, "x")
		add(10, "H")
		override()
		args = append(append(args, letters), g.operands(func() string {
			s := g.service()
			if strings.Contains(s, "/") && g.chance(60) {
				s += "/" + g.pick("command", "chroot", "wakeup", "service", "type", "*", "process_limit", "nofield")
			}
			return s
		})...)
	case 6:
		letters = "-P"
		add(30, "f")
		add(40, "x")
		add(20, "h")
		add(10, "H")
		override()
		args = append(append(args, letters), g.operands(func() string {
			s := g.service()
			if strings.Contains(s, "/") && g.chance(60) {
				s += "/" + g.name()
			}
			return s
		})...)
	default:
		args = append(args, "-C", g.pick("user", "service", "user,service"))
		letters = "-p"
		add(30, "f")
		add(40, "x")
		add(20, "h")
		add(10, "H")
		override()
		args = append(args, letters)
	}
	return args
}

func TestRandomDisplay(t *testing.T) {
	t.Parallel()
	g := newGenerator(t)
	var list []comparison
	for range 200 {
		list = append(list, comparison{main: g.mainFile(), master: g.masterFile(), args: g.show(),
			files: map[string]string{"client.cf": g.pick("", "", "hosts = x\nuser=y\nuser=z\nfoo=bar\n", "hosts=y\n", g.pick("junk\n", "user=x\n"), " x=y\nquery=a\nzz=1\naa=2\n")}})
	}
	compare(t, list)
}

// optionWords makes any mixture of options.
func (g generator) optionWords() []string {
	var args []string
	everything := true
	for range 1 + g.IntN(4) {
		switch letter := g.pick("a", "A", "b", "d", "e", "f", "F", "h", "H", "l", "M", "n", "p", "P", "t", "x", "X", "#", "T", "C", "o", "v", "Z"); letter {
		case "d", "f", "h", "H", "x", "p", "v":
			args = append(args, "-"+letter)
			continue
		case "T":
			args = append(args, "-T", "foo")
		case "C":
			args = append(args, "-C", g.pick("user", "foo", "all, foo"))
		case "o":
			args = append(args, "-o", g.pick("aa=b", "aa", "=b"))
			continue
		default:
			args = append(args, "-"+letter)
		}
		everything = false
	}
	if everything {
		args = append(args, "mydomain")
	}
	return append(args, g.operands(func() string {
		return g.pick("aa", "aa=b", "smtp/inet", "smtp/inet=x", "smtp/inet/chroot", "smtp/inet/chroot=y", "mydomain", "#x", "a\nb", "=")
	})...)
}

// optionMain has the daemon that knows the bounce texts run for both.
const optionMain = "mydomain = example.com\nmyhostname=h.example.com\naa = 1\ndaemon_directory = /usr/lib/postfix/sbin\n"

func TestRandomOptions(t *testing.T) {
	t.Parallel()
	g := newGenerator(t)
	var list []comparison
	for range 100 {
		list = append(list, comparison{main: optionMain, master: "smtp inet n - n - - smtpd\n", args: g.optionWords()})
	}
	compare(t, list)
}

// edit makes a command line that changes something.
func (g generator) edit() []string {
	switch g.IntN(9) {
	case 0, 1:
		var args []string
		if g.chance(50) {
			args = append(args, "-e")
		}
		args = append(args, g.name()+g.pick("=", " = ")+g.value1())
		if g.chance(50) {
			args = append(args, g.pick(" ", "")+"zz_new="+g.value1())
		}
		return args
	case 2:
		return append([]string{g.pick("-X", "-#", "-pX")}, g.name(), g.pick("zz1", "zz2", " aa", "bb ", "cc", "dd=", "#"))
	case 3:
		return []string{"-M", g.service2() + "=" + g.pick(g.pick("smtp", "new")+" inet n - n - 5 smtpd "+g.argument()+" "+g.argument(), "x unix - - n - -", "y foo - - - - - x", "")}
	case 4:
		return []string{g.pick("-MX", "-M#", "-PX", "-FX", "-P#"), g.service2()}
	case 5:
		f := g.pick("chroot", "command", "wakeup", "private", "service", "type", "process_limit", "*", "nofield")
		v := g.pick("n", "y", "-", "5", "smtpd -o aa=b", "x y {a b}", "inet", "5?", "", "a b")
		return []string{"-F", g.service2() + "/" + f + "=" + v}
	case 6:
		return []string{"-P", g.service2() + "/" + g.name() + "=" + g.pick("x", "", "a b", "{x}", "$aa"), g.service2() + "/" + g.name() + "=" + g.pick("x", "y")}
	case 7:
		return []string{"-PX", g.service2() + "/" + g.name(), g.service2() + "/" + g.name()}
	}
	return []string{"-e", g.pick("aa", "=b", "#aa=b", "aa=b\nc", " aa = b ", "aa=b=c", "-x=y", "a b=c")}
}

func (g generator) value1() string { return strings.ReplaceAll(g.value(), "\n", "") }

func (g generator) service2() string {
	return g.pick("smtp/inet", "smtp/unix", "relay/unix", "arch/unix", "*/unix", "smtp/*", "local/unix", "*/*", "x", "none/inet", "a/b/c")
}

func TestRandomEdit(t *testing.T) {
	t.Parallel()
	g := newGenerator(t)
	var list []comparison
	for range 130 {
		c := comparison{main: g.mainFile(), master: g.masterFile(), args: g.edit()}
		for _, text := range []*string{&c.main, &c.master} {
			if *text != "" && !strings.HasSuffix(*text, "\n") {
				*text += "\n" // 3.7 does not add it before it appends
			}
		}
		if strings.Contains(strings.Join(c.args, " "), "zz_new") {
			c.appended = 2
		}
		list = append(list, c)
	}
	compare(t, list)
}

// Random expressions mean the same to both programs, and so do their mistakes.
func TestRandomExpressions(t *testing.T) {
	t.Parallel()
	g := newGenerator(t)
	parts := []string{"$a", "${b}", "$(c)", "${u}", "${a?", "${e:", "{", "}", "}:{", "${{", "} == {", "}<{", "} >=level {", "} ? {", "$$", "x", " ", "1", "3.10", "}}", ":", "?", "9"}
	whole := []string{"${a?{$b}:{y}}", "${e?{x}:{$c}}", "${{$a}=={$b}?{t}:{f}}", "${{10}<{9}}", "${{3.10}<=level{3.9}:n}", "$(u:$(a))", "${a?  $c }", "${b:{z}}"}
	var list []comparison
	for i := range 60 {
		var text strings.Builder
		for range 1 + g.IntN(5) {
			if i%3 > 0 {
				text.WriteString(g.pick(whole...))
			}
			text.WriteString(g.pick(parts...))
		}
		main := "a = A$c\nb = 10\nc = ${e:C}\ne =\nmyhostname = h.example\nall = $a$b$c$e$u\nmail_name = $all\n"
		list = append(list,
			comparison{main: main + "mydomain = [" + text.String() + "]\n", args: []string{"-xh", "mydomain"}},
			comparison{main: main + "unused = [" + text.String() + "]\n", args: []string{"-h", "myhostname"}})
	}
	compare(t, list)
}
