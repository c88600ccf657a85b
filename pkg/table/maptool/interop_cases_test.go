//go:build interop

package maptool

import "strings"

// step is one command with its standard input.
type step struct{ command, stdin string }

// scenario is some source files and commands; arguments with blanks are
// written with "_" for them.
type scenario struct {
	files    map[string]string
	steps    []step
	name     string // in reports
	settings string // for main.cf
}

const interopSource = "a 1\nB two\n b cont\n#c\nc\n\"x y\"@d  q\n\"open z\na dup\nk: v\nßÄ uml\n"

const interopAliases = "a: b,c\n \"cont\" <x@y>\n\"x y\": \"|z \\\"q\\\"\"\n@b: x\nnocolon\na: dup\nu(c): d (e) f\n" +
	"list: :include:/x, /file\nback\\ s: z\nempty:\nE: \"\"\n  \ng: m:a,b;\n\"with\\\"q\": w\na,b: c\n: x\n\xff: y\nlit: a@[1.2.3.4]\nA.B: c.d\nx!y: a!b\n"

func scenarios() []scenario {
	var all []scenario
	for _, typ := range []string{"hash", "btree"} {
		for _, option := range []string{"", "-f ", "-r ", "-w ", "-n ", "-N ", "-u ", "-p ", "-o "} {
			m := typ + ":m"
			all = append(all, scenario{files: map[string]string{"m": interopSource}, steps: []step{
				{"postmap " + option + m, ""}, {"postmap -s " + m, ""}, {"postmap -q B " + m, ""}, {"postmap -f -q B " + m, ""},
				{"postmap -q - " + m, "a\nzz\nb\n\n\"X Y\"@d\nSSä\n\xff\n"},
			}})
		}
		m := typ + ":m"
		all = append(all,
			scenario{files: map[string]string{"m": interopSource}, steps: []step{
				{"postmap " + m, ""}, {"postmap -d a " + m, ""}, {"postmap -d a " + m, ""}, {"postmap -d - " + m, "b\nnope\n"}, {"postmap -s " + m, ""},
			}},
			scenario{steps: []step{
				{"postmap -i " + m, "n 1\nn 2\n"}, {"postmap -i -r " + m, "n 3\n o\n"}, {"postmap -s " + m, ""},
			}},
			scenario{files: map[string]string{"m": interopAliases}, steps: []step{
				{"postalias " + m, ""}, {"postalias -s " + m, ""}, {"postalias -q a " + m, ""},
				{"postalias -q - " + m, "x y\nA\nwith\"q\nlist\nu (c)\n"}, {"postalias -f -q YP_MASTER_NAME " + m, ""},
				{"postalias -q YP_MASTER_NAME " + m, ""}, {"postalias -i " + m, "new: x\n"}, {"postalias -s " + m, ""},
				{"postalias -d a " + m, ""}, {"postalias -q @ " + m, ""},
			}})
	}
	all = append(all,
		scenario{files: map[string]string{"m": "a b\n"}, steps: []step{
			{"postmap", ""}, {"postmap -z", ""}, {"postmap -q", ""}, {"postmap -s", ""}, {"postalias", ""}, {"postmap -b x", ""},
			{"postmap nonex", ""}, {"postmap -q x nonex", ""}, {"postmap -q x foo:x", ""}, {"postmap foo:m", ""}, {"postmap regexp:m", ""},
			{"postmap proxy:hash:m", ""}, {"postmap -d x hash:m", ""}, {"postmap -i static:x", ""}, {"postmap -s static:x", ""},
			{"postmap -q a texthash:m", ""}, {"postmap -s texthash:m", ""},
		}},
		scenario{files: map[string]string{"v1": "file one\n", "v2": "two"}, steps: []step{
			{"postmap -F -i hash:m", "a v1\nb v1 v2\nc nonex\n"}, {"postmap -F -s hash:m", ""}, {"postmap -s hash:m", ""},
			{"postmap -F -q b hash:m", ""}, {"postmap -i hash:m", "bad !!!\n"}, {"postmap -F -q bad hash:m", ""}, {"postmap -F -s hash:m", ""},
		}})
	for _, spec := range []string{"inline:{a=b,_{c_=_d_e}}", "inline:{a}", "inline:{}", "inline:{_}", `inline:{"a=b}`, "inline:{{c}}",
		"inline:{{c=d}x}", "inline:{a=b", "inline:a=b", "inline:{a=b}x", "inline:{c=1_c=2}", "inline:{c=}", `inline:{{c_=_"a_b"_}}`,
		"inline:{{c_d_=_x}}", "static:{_x_y_}", "static:{_x", "static:{x}_y", "static:x_y", "static:{}", "randmap:{}", "randmap:x",
		"randmap:{{a_b}}", "pipemap:{}", "pipemap:{x}", "unionmap:{static:a,static:b}", "unionmap:{static:a_fail:b}",
		"pipemap:{inline:{c=d},inline:{d=e}}", "unix:foo", "fail:x", "environ:x", "internal:x", "hash:", ":x", "texthash:/nonex",
		"regexp:/nonex", "unix:passwd.byname", "unionmap:{hash:/nonex}", "cidr:{{0.0.0.0/0_x}", "regexp:{{/c/_b}_x}"} {
		all = append(all, scenario{steps: []step{{"postmap -q c " + spec, ""}, {"postmap -q root " + spec, ""}, {"postmap -s " + spec, ""}, {"postmap -d c " + spec, ""}}})
	}
	for _, option := range []string{"-h", "-b", "-hb", "-hm", "-bm", "-hbm", "-m"} {
		all = append(all, scenario{files: map[string]string{"re": "/line|Sub/ X\n/^$/ empty\n"}, steps: []step{
			{"postmap " + option + " -q - regexp:re", message}, {"postmap " + option + " -q - pcre:re", message},
		}})
	}
	rules := "/^(.+)@(.*)$/ $2.$1/$(1)\n/^x/!/y$/ notxy\nif /foo/\n/bar/ foobar\n!/baz/ notbaz\nendif\n/^\\/slash/i S$$1\n,com,ma, nope\n|pipe| P\n" +
		"IF !/quux/\nif /z/\n/^z(.)\\1/ zz$1\nENDIF\nEndif  \n/é(.)/ e-$1\n/a(/ x\n/(a)/ $2\n/[/ y\n!/b/ $1\n/x/q z\nfoo\nendif\nif /never/\n"
	keys := "a+b@c\nxa\nxy\nfoobar\nfoo\nfoobaz\n/slash\n,com\npipe\nzaab\nz11\nZbB\néà\nquuxz\n"
	all = append(all,
		scenario{files: map[string]string{"r": rules}, steps: []step{{"postmap -q - regexp:r", keys}, {"postmap -q - pcre:r", keys}}},
		scenario{files: map[string]string{"c": "10.0.0.0/8 net10\n!192.168.0.0/16 not192\nif 192.168.1.0/24\n192.168.1.1 one\n!192.168.1.2 nottwo\nendif\n" +
			"2001:db8::/32 six\n[::1] loop\n::ffff:0:0/96 mapped\n192.168.0.0/16 rest\n10.0.0.1/8 bad\n1.2.3.4\nif\nendif x\n"},
			steps: []step{{"postmap -q - cidr:c", "10.1.2.3\n8.8.8.8\n192.168.1.1\n192.168.1.2\n192.168.1.3\n192.168.9.9\n2001:db8::5\n::1\n::ffff:1.2.3.4\n2001:dead::\nfoo\n10.1\n010.1.1.1\n"}}},
		scenario{files: map[string]string{"z.db": strings.Repeat("garbage", 2000), "z": "a b\n"}, steps: []step{
			{"postmap -q x hash:z", ""}, {"postmap -q x btree:z", ""}, {"postmap -d x btree:z", ""}, {"postmap hash:z", ""},
			{"postmap -s hash:z", ""}, {"postmap -q x btree:z", ""},
		}})
	return all
}
