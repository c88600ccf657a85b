package maptool

import (
	"bytes"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	_ "suffix/pkg/table/bdb"
	_ "suffix/pkg/table/regexp"
	_ "suffix/pkg/table/simple"
	"suffix/pkg/table/tabletest"
)

// place is a directory with a configuration, in which the commands run.
type place struct {
	t   *testing.T
	dir string
}

func newPlace(t *testing.T, settings string) place {
	t.Helper()
	dir := t.TempDir()
	text := "queue_directory = " + dir + "\nmyhostname = host.example\nmail_owner = root\n" +
		"maillog_file = " + dir + "/log\nmaillog_file_prefixes = " + dir + "\n" + settings
	if err := os.WriteFile(dir+"/main.cf", []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	// A main.cf that was just written is read again after a while.
	if err := os.Chtimes(dir+"/main.cf", time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("MAIL_CONFIG", dir)
	t.Chdir(dir)
	return place{t, dir}
}

func (p place) write(name, text string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.dir, name), []byte(text), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

// run runs a command line, and returns its output, its error as the last of
// what it logs, and its status.
func (p place) run(command, stdin string) (out string, status int, logged []string) {
	p.t.Helper()
	p.write("stdin", stdin)
	in, err := os.Open(filepath.Join(p.dir, "stdin"))
	if err != nil {
		p.t.Fatal(err)
	}
	defer in.Close()
	args := strings.Split(command, " ")
	var b bytes.Buffer
	logged = tabletest.Logged(p.t, func() {
		status, err = newTool(args[0] == "postalias", args[0], in, &b).run(args[1:])
	})
	if err != nil {
		logged = append(logged, "fatal: "+err.Error())
		status = 1
	}
	return b.String(), status, logged
}

func (p place) expect(command, stdin, wantOut string, wantStatus int, wantLogged ...string) {
	p.t.Helper()
	out, status, logged := p.run(command, stdin)
	if out != wantOut || status != wantStatus || !slices.Equal(logged, wantLogged) {
		p.t.Errorf("%s\noutput %q, want %q\nstatus %d, want %d\nlogged %q\nwant   %q", command, out, wantOut, status, wantStatus, logged, wantLogged)
	}
}

const source = `A 1
b two
 cont
# comment
c
"x y"@d  q
"open z
a dup
k: v
`

var sourceWarnings = []string{
	"warning: m, line 5: expected format: key whitespace value",
	"warning: m, line 7: unbalanced '\"' in '\"open z' -- ignoring this line",
	"warning: m.db: duplicate entry: \"a\"",
	"warning: m, line 9: record is in \"key: value\" format; is this an alias file?",
}

func TestCreateAndQuery(t *testing.T) {
	p := newPlace(t, "")
	p.write("m", source)
	for _, kind := range []string{"hash", "btree"} {
		p.expect("postmap "+kind+":m", "", "", 0, sourceWarnings...)
		p.expect("postmap -q A "+kind+":m", "", "1\n", 0)
		p.expect("postmap -f -q A "+kind+":m", "", "", 1)
		p.expect("postmap -q - "+kind+":m", "A\nnone\nb\n\n\"X Y\"@d\n", "A\t1\nb\ttwo cont\n\"X Y\"@d\tq\n", 0)
		p.expect("postmap -q - "+kind+":m", "none\n", "", 1)
		p.expect("postmap -j -q - "+kind+":m", "\"x y\"@d\n", `{"\"x y\"@d": "q"}`+"\n", 0)
		p.expect("postmap -q none inline:{n=1} "+kind+":m nosuch:x", "", "", 1, "fatal: unsupported dictionary type: nosuch")
		p.expect("postmap -q n inline:{n=1} nosuch:x", "", "1\n", 0)
		p.expect("postmap -d a "+kind+":m", "", "", 0)
		p.expect("postmap -d a "+kind+":m", "", "", 1)
		p.expect("postmap -d - "+kind+":m", "b\nnone\n", "", 0)
		if err := os.Remove("m.db"); err != nil {
			t.Fatal(err)
		}
	}
	p.expect("postmap -s btree:m", "", "", 1, "fatal: open database m.db: No such file or directory")
	p.expect("postmap -d x btree:m", "", "", 1, "fatal: open database m.db: No such file or directory")
}

func TestIncrementalAndDuplicates(t *testing.T) {
	p := newPlace(t, "")
	p.expect("postmap -i btree:m", "n 1\nN 2\nbad\n", "", 0,
		"warning: m.db: duplicate entry: \"n\"", "warning: stdin, line 3: expected format: key whitespace value")
	p.expect("postmap -i -r btree:m", "n 3\n o\np 4\n", "", 0)
	p.expect("postmap -i -w btree:m", "n 5\n", "", 0)
	p.expect("postmap -s btree:m", "", "n\t3 o\np\t4\n", 0)
	p.expect("postmap -s -j btree:m", "", "{\"n\": \"3 o\"}\n{\"p\": \"4\"}\n", 0)
}

func TestCommandLine(t *testing.T) {
	p := newPlace(t, "")
	usage := "fatal: usage: postmap [-bfFhimnNoprsuUvw] [-c config_dir] [-d key] [-q key] [map_type:]file..."
	p.expect("postmap", "", "", 1, usage)
	p.expect("postmap -s", "", "", 1)
	p.expect("postmap -z", "", "", 1, "postmap: invalid option -- 'z'", usage)
	p.expect("postalias -F", "", "", 1, "postalias: invalid option -- 'F'",
		"fatal: usage: postalias [-Nfinoprsuvw] [-c config_dir] [-d key] [-q key] [map_type:]file...")
	p.expect("postmap -q a -d b hash:x", "", "", 1, "fatal: specify only one of -d -i -q or -s")
	p.expect("postmap -i -s hash:x", "", "", 1, "fatal: specify only one of -d -i -q or -s")
	p.expect("postmap -b hash:x", "", "", 1, "fatal: specify -b -h or -m only with \"-q -\"")
	p.expect("postmap -j hash:x", "", "", 1, "fatal: option -j requires -q or -s")
	p.expect("postmap -m -q - static:x", "", "", 1, "warning: ignoring -m option without -b or -h")
	p.expect("postmap nonex", "", "", 1, "fatal: open nonex: No such file or directory")
	p.write("m", "a b\n")
	p.expect("postmap foo:m", "", "", 1, "fatal: unsupported map type: foo")
	p.expect("postmap regexp:m", "", "", 1, "fatal: no 'map create' support for this type: regexp")
	p.expect("postmap proxy:hash:m", "", "", 1, "fatal: can't create maps via the proxy service")
	p.expect("postmap :m", "", "", 1, `fatal: open dictionary: expecting "type:name" form instead of ":m"`)
	p.expect("postmap -q x fail:x", "", "", 1, "fatal: table fail:x: query error: Application error")
	p.expect("postmap -d x static:x", "", "", 1, "fatal: table static:x: delete operation is not supported")
	p.expect("postmap -s static:x", "", "", 1, "fatal: table static:x: sequence operation is not supported")
	p.expect("postmap -q x static:{}", "", "\n", 0, "warning: table static:{}: key x: empty string result is not allowed",
		"warning: table static:{} should return NO RESULT in case of NOT FOUND")
	p.expect("postmap m", "", "", 0)
	p.expect("postmap -q a m", "", "b\n", 0)
}

func TestTextsOf37(t *testing.T) {
	p := newPlace(t, "suffix_dialect = 3.7\n")
	p.write("m", "a b\n")
	p.expect("postmap foo:m", "", "", 1, "fatal: unsupported dictionary type: foo. Is the postfix-foo package installed?")
	p.expect("postmap regexp:m", "", "", 1, "fatal: unsupported dictionary type: regexp does not support bulk-mode creation.")
	p.write("al", "a@b: c\n\"x y\": z\n")
	p.expect("postalias btree:al", "", "", 0, "warning: al, line 1: name must be local")
	p.expect("postalias -f -q x\ty btree:al", "", "", 1)
}

const message = "From: a\n b\nSubject: x\nContent-Type: multipart/mixed; boundary=q\n\nline1\n\n--q\nContent-Type: text/plain\n\nline2\n" +
	"--q\nContent-Type: message/rfc822\n\nSubject: inner\n\nline3\n--q--\n"

// The keys of a message are those of the real postmap.
func TestMessage(t *testing.T) {
	p := newPlace(t, "")
	top := "From: a\n b\tX\nSubject: x\tX\nContent-Type: multipart/mixed; boundary=q\tX\n"
	for option, want := range map[string]string{
		"-h":  top,
		"-hm": top + "Content-Type: text/plain\tX\nContent-Type: message/rfc822\tX\nSubject: inner\tX\n",
		"-bm": "\tX\nline1\tX\n\tX\n--q\tX\n\tX\nline2\tX\n--q\tX\n\tX\n\tX\nline3\tX\n--q--\tX\n",
		"-b": "\tX\nline1\tX\n\tX\n--q\tX\nContent-Type: text/plain\tX\n\tX\nline2\tX\n--q\tX\nContent-Type: message/rfc822\tX\n" +
			"\tX\nSubject: inner\tX\n\tX\nline3\tX\n--q--\tX\n",
	} {
		p.write("re", "/^/ X\n")
		p.expect("postmap "+option+" -q - regexp:re", message, want, 0)
	}
}

func TestFileValues(t *testing.T) {
	p := newPlace(t, "")
	p.write("v1", "one\n")
	p.write("v2", "two")
	p.expect("postmap -F -i btree:m", "a v1\nb v1 v2\nc nonex\nd ,\n", "", 0,
		"warning: stdin, line 3: open nonex: No such file or directory: skipping this entry",
		"warning: stdin, line 4: empty pathname list: >>,<<': skipping this entry")
	p.expect("postmap -F -q b btree:m", "", "one\n\ntwo\n", 0)
	p.expect("postmap -q a btree:m", "", "b25lCg==\n", 0)
	p.expect("postmap -i btree:m", "bad !!!\n", "", 0)
	p.expect("postmap -F -q bad btree:m", "", "", 1, "warning: table btree:m.db: key bad: malformed BASE64 value: !!!",
		"fatal: table btree:m.db: query error")
	p.expect("postmap -F -s btree:m", "", "a\tone\n\nb\tone\n\ntwo\n", 0, "warning: table btree:m.db: key bad: malformed BASE64 value: !!!")
}

func TestAliases(t *testing.T) {
	p := newPlace(t, "")
	p.write("al", "a: b,c\n \"cont\" <x@y>\n\"x y\": \"|z \\\"q\\\"\"\n@b: x\nnocolon\nA: dup\nu(c): d (e) f\nlist: :include:/x, /file\n"+
		"back\\ s: z\nempty:\nE: \"\"\ng: m:a,b;\na,b: c\n: x\n")
	p.expect("postalias btree:al", "", "", 0,
		"warning: al, line 4: name must be local and have no domain", "warning: al, line 5: need name:value pair",
		"warning: al.db: duplicate entry: \"a\"", "warning: al, line 10: need name:value pair",
		"warning: al, line 13: need name:value pair", "warning: al, line 14: need name:value pair")
	out, status, _ := p.run("postalias -s btree:al", "")
	out = strings.Join(slices.DeleteFunc(strings.SplitAfter(out, "\n"), func(s string) bool { return strings.HasPrefix(s, "YP_LAST") }), "")
	want := "\"back s\":\tz\n\"x y\":\t\"|z \\\"q\\\"\"\n@:\t@\nYP_MASTER_NAME:\thost.example\na:\tb, c \"cont\" <x@y>\ne:\t\"\"\n" +
		"g:\tm:a, b;\nlist:\t:include:/x, /file\nu (c):\td (e) f\n"
	if out != want || status != 0 {
		t.Errorf("listing %q, want %q", out, want)
	}
	p.expect("postalias -f -q YP_MASTER_NAME btree:al", "", "host.example\n", 0)
	p.expect("postalias -q - btree:al", "LIST\nnone\n", "LIST:\t:include:/x, /file\n", 0)
	p.expect("postalias -i btree:al", "new: x\n", "", 0)
	p.expect("postalias -q new btree:al", "", "x\n", 0)
}

func TestParseAlias(t *testing.T) {
	for _, c := range []struct{ line, key, oldKey, value, err string }{
		{"nospace:x", "nospace", "nospace", "x", ""},
		{`"quoted user": bob@a.b`, `"quoted user"`, "quoted user", "bob@a.b", ""},
		{`"with\"q": w`, `"with\"q"`, `with"q`, "w", ""},
		{`back\ slash: z`, `"back slash"`, "back slash", "z", ""},
		{"user(comment): joe (real)", "user (comment)", "user (comment)", "joe (real)", ""},
		{`list: :include:/l,"|cmd \"a b\" c"`, "list", "list", `:include:/l, "|cmd \"a b\" c"`, ""},
		{"group: members:a,b;", "group", "group", "members:a, b;", ""},
		{"lit: a@[1.2.3.4]", "lit", "lit", "a@[1.2.3.4]", ""},
		{"x!y: a b  c", "x!y", "x!y", "a b c", ""},
		{"  ", "", "", "", ""},
		{"a%b: c", "", "", "", errDomain.Error()},
		{"name", "", "", "", errNoPair.Error()},
	} {
		for old, want := range map[bool]string{false: c.key, true: c.oldKey} {
			key, value, err := parseAlias(c.line, old)
			if c.err != "" {
				if err == nil || !old && err.Error() != c.err {
					t.Errorf("%s: error %v", c.line, err)
				}
				continue
			}
			if key != want || value != c.value || err != nil {
				t.Errorf("%s (old %v): %q %q %v", c.line, old, key, value, err)
			}
		}
	}
}

func TestModeOfNewFile(t *testing.T) {
	p := newPlace(t, "")
	p.write("m", "a b\n")
	for _, c := range []struct {
		source, want os.FileMode
		option       string
	}{{0o600, 0o600, ""}, {0o640, 0o640, ""}, {0o666, 0o644, ""}, {0o600, 0o644, "-p "}} {
		os.Remove("m.db")
		if err := os.Chmod("m", c.source); err != nil {
			t.Fatal(err)
		}
		p.expect("postmap "+c.option+"hash:m", "", "", 0)
		info, err := os.Stat("m.db")
		if err != nil || info.Mode().Perm() != c.want {
			t.Errorf("source %o %s: %v %v, want %o", c.source, c.option, info.Mode(), err, c.want)
		}
	}
	if err := os.Chmod("m.db", 0o604); err != nil {
		t.Fatal(err)
	}
	p.expect("postmap hash:m", "", "", 0)
	if info, err := os.Stat("m.db"); err != nil || info.Mode().Perm() != 0o604 {
		t.Errorf("the mode of the old file is gone: %v %v", info.Mode(), err)
	}
}

// As root, the table of a user's source is the user's, and root's source in a
// user's directory is worth a warning.
func TestRootPrivilege(t *testing.T) {
	p := newPlace(t, "")
	p.write("m", "a b\n")
	if os.Getuid() != 0 {
		p.expect("postmap hash:m", "", "", 0) // nothing to give up
		return
	}
	sub := p.dir + "/sub"
	if err := os.Mkdir(sub, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, parent := range []string{p.dir, filepath.Dir(p.dir)} {
		if err := os.Chmod(parent, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chown(sub, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	p.write("sub/m", "a b\n")
	file := sub + "/m"
	p.expect("postmap hash:"+file, "", "", 0, "warning: Creating root-owned database file(s) "+file+".* in non-root-owned directory "+sub+
		". Files "+file+", "+file+".*, and directory "+sub+" should have the same owner. Please fix ownership to avoid a privilege-escalation attack.")
	if err := os.Remove(file + ".db"); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(file, 12345, 12345); err != nil {
		t.Fatal(err)
	}
	p.expect("postmap hash:"+file, "", "", 0)
	info, err := os.Stat(file + ".db")
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 12345 || st.Gid != 12345 {
		t.Errorf("the table belongs to %d:%d", st.Uid, st.Gid)
	}
	if os.Geteuid() != 0 || os.Getegid() != 0 {
		t.Error("root's rights are not back")
	}
}

func TestOlderThanSource(t *testing.T) {
	p := newPlace(t, "")
	p.write("m", "a b\n")
	p.expect("postmap hash:m", "", "", 0)
	for name, age := range map[string]time.Duration{"m.db": 2 * time.Hour, "m": time.Hour} {
		at := time.Now().Add(-age)
		if err := os.Chtimes(name, at, at); err != nil {
			t.Fatal(err)
		}
	}
	p.expect("postmap -q a hash:m", "", "b\n", 0, "warning: database m.db is older than source file m")
}

func FuzzAlias(f *testing.F) {
	for _, s := range []string{`a: b`, `"x\" y" (c (d)): [1.2] <z>`, `\ : :`, "(:"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, line string) {
		key, value, err := parseAlias(line, false)
		if err != nil || key == "" {
			return
		}
		// What is stored parses to itself.
		key2, value2, err := parseAlias(key+": "+value, false)
		if err != nil || key2 != key || value2 != value {
			t.Errorf("%q: %q %q, again: %q %q %v", line, key, value, key2, value2, err)
		}
	})
}
