package nbdbreindexd

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/config"
	"suffix/pkg/nonbdb"
	"suffix/pkg/table"
	"suffix/pkg/table/maptool"
	"suffix/test/realdaemon"
)

// topVariable tells a process that a test starts where the way to a file begins.
const topVariable = "NBDB_TEST_TOP"

// TestMain is the daemon, or one of the commands that it runs, where it is
// started as one.
func TestMain(m *testing.M) {
	switch name := filepath.Base(os.Args[0]); {
	case name == "postmap" || name == "postalias":
		os.Exit(maptool.Main(name == "postalias"))
	case len(os.Args) > 2 && os.Args[1] == "-n":
		// The daemon's environment is master's, so that the setting is in a file.
		text, err := os.ReadFile(filepath.Join(os.Getenv("MAIL_CONFIG"), topVariable))
		if err != nil {
			panic(err)
		}
		top = string(text)
		Main()
	}
	os.Exit(m.Run())
}

// world is an instance of the mail system.
type world struct {
	dir, etc, queue string
	uid             int
}

func newWorld(t *testing.T, settings string) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "nbdb-*")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	w := &world{dir: dir, etc: dir + "/etc", queue: dir + "/queue", uid: os.Getuid()}
	for _, name := range []string{"", "etc", "queue", "queue/private", "queue/public", "queue/pid", "bin", "tables", "other"} {
		name = filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(name, 0o755), os.Chmod(name, 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	// In a place where others can run it too.
	if err := copyFile(program, dir+"/bin/postmap"); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(dir+"/bin/postmap", dir+"/bin/postalias"); err != nil {
		t.Fatal(err)
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	owner := me.Username
	if os.Getuid() == 0 {
		owner = "nobody"
	}
	w.write(t, "etc/main.cf", "compatibility_level = 3.11\nmyhostname = mx.test\nmail_owner = "+owner+
		"\nsetgid_group = mail\ndefault_privs = daemon\nqueue_directory = "+w.queue+"\ncommand_directory = "+dir+"/bin\nmaillog_file = /var/log/none\n"+
		"default_database_type = cdb\ndefault_cache_db_type = lmdb\nnon_bdb_migration_level = enable-reindex\n"+
		"non_bdb_migration_allow_root_prefixes = "+dir+"/tables\nnon_bdb_migration_allow_user_prefixes = "+dir+"/tables\n"+settings)
	w.write(t, "etc/master.cf", "")
	w.write(t, "etc/"+topVariable, dir)
	t.Setenv("MAIL_CONFIG", w.etc)
	defer func(s string) { t.Cleanup(func() { top = s }) }(top)
	top = dir
	return w
}

func copyFile(from, to string) error {
	if os.Link(from, to) == nil {
		return nil
	}
	data, err := os.ReadFile(from)
	if err != nil {
		return err
	}
	return os.WriteFile(to, data, 0o755)
}

func (w *world) write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// legacy makes a source file with a Berkeley DB file, whose content does not matter.
func (w *world) legacy(t *testing.T, name, text string) string {
	t.Helper()
	w.write(t, "tables/"+name+".db", "x")
	return w.write(t, "tables/"+name, text)
}

func (w *world) config(t *testing.T) *config.Main {
	t.Helper()
	cfg, err := config.Load(config.Options{Dir: w.etc})
	if err != nil {
		t.Fatal(err)
	}
	return cfg
}

func (w *world) start(t *testing.T) *realdaemon.Log {
	t.Helper()
	log := realdaemon.Collect(t, w.queue)
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	realdaemon.Start(t, program, w.etc, w.queue, "private", "nbdb_reindex", "-l")
	return log
}

// ask sends a request and returns the reply.
func (w *world) ask(t *testing.T, typ, path string) (status int, reason string) {
	t.Helper()
	conn, err := net.Dial("unix", w.queue+"/private/nbdb_reindex")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := attr.NewConn(conn, attr.Null, "private/nbdb_reindex socket", 10*time.Second)
	if err := errors.Join(c.R.Protocol(nonbdb.Protocol), c.R.End(), c.W.Str("nbdb_type", typ).Str("nbdb_path", path).End()); err != nil {
		t.Fatal(err)
	}
	status, _ = c.R.Int("status")
	reason, err = c.R.Str("reason")
	if err := errors.Join(err, c.R.End()); err != nil {
		t.Fatal(err)
	}
	return status, reason
}

func lookup(t *testing.T, spec, key, want string) {
	t.Helper()
	h := table.Open(spec, table.Options{Command: true, Flags: table.Lock})
	if err := h.Err(); err != nil {
		t.Error(err)
		return
	}
	defer h.Close()
	if value, found, err := h.Lookup(key); value != want || !found || err != nil {
		t.Errorf("%s: %s: %q %v %v", spec, key, value, found, err)
	}
}

// The daemon makes index files, of the kind that fits the source.
func TestReindex(t *testing.T) {
	w := newWorld(t, "")
	log := w.start(t)
	access := w.legacy(t, "access", "# comment\nexample.com  REJECT\nfriend.example  OK\n")
	aliases := w.legacy(t, "aliases", "# comment\nroot: admin\nadmin: a@b, c@d\nlist: :include:/x\n")
	for _, c := range []struct{ typ, path, want string }{
		{"hash", access, "successfully executed 'postmap cdb:" + access + "' as uid " + strconv.Itoa(w.uid)},
		{"hash", access, "target file '" + access + ".cdb' already exists, skipping this request"},
		{"btree", aliases, "successfully executed 'postalias lmdb:" + aliases + "' as uid " + strconv.Itoa(w.uid)},
	} {
		if status, reason := w.ask(t, c.typ, c.path); status != nonbdb.StatusOK || reason != c.want {
			t.Errorf("%d %s, want %s", status, reason, c.want)
		}
	}
	lookup(t, "cdb:"+access, "example.com", "REJECT")
	lookup(t, "lmdb:"+aliases, "root", "admin")

	missing := w.dir + "/tables/missing"
	want := "stat " + missing + ".db: No such file or directory"
	if status, reason := w.ask(t, "hash", missing); status != nonbdb.StatusError || reason != want {
		t.Errorf("%d %s, want %s", status, reason, want)
	}
	for _, line := range []string{
		": successfully executed 'postmap cdb:" + access, ": warning: request to index hash:" + missing + " failed: " + want,
	} {
		for end := time.Now().Add(10 * time.Second); !strings.Contains(strings.Join(log.Lines(), "\n"), line); time.Sleep(time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("not in the log: %s\n%s", line, log.Lines())
			}
		}
	}

	// Nonsense gets no answer.
	conn, err := net.Dial("unix", w.queue+"/private/nbdb_reindex")
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	c := attr.NewConn(conn, attr.Null, "test", 10*time.Second)
	if err := errors.Join(c.R.Protocol(nonbdb.Protocol), c.R.End(), c.W.Str("nonsense", "x").End()); err != nil {
		t.Fatal(err)
	}
	if _, err := c.R.Int("status"); err == nil {
		t.Error("an answer to nonsense")
	}
}

// Programs that open a table find the index file made.
func TestOpen(t *testing.T) {
	w := newWorld(t, "non_bdb_custom_mapping = inline:{ hash:"+"/x=lmdb }\n")
	w.start(t)
	path := w.legacy(t, "map", "key value\n")
	t.Chdir(w.queue)
	cfg := w.config(t)
	h := table.Open("hash:"+path, table.Options{Config: cfg, Flags: table.Reader})
	defer h.Close()
	if err := h.Err(); err != nil {
		t.Fatal(err)
	}
	if value, found, err := h.Lookup("key"); value != "value" || !found || err != nil {
		t.Error(value, found, err)
	}
	if h.Name() != "cdb:"+path+".cdb" {
		t.Error(h.Name())
	}
	other := w.write(t, "other/map", "key value\n")
	w.write(t, "other/map.db", "x")
	bad := table.Open("hash:"+other, table.Options{Config: cfg, Flags: table.Reader})
	defer bad.Close()
	parameter := "non_bdb_migration_allow_user_prefixes"
	if w.uid == 0 {
		parameter = "non_bdb_migration_allow_root_prefixes"
	}
	want := "Non-Berkeley-DB migration error: '" + other + "' is under none of the directories that " + parameter + " names"
	if err := bad.Err(); err == nil || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// Nothing is made where others could have a hand in it.
func TestUnsafe(t *testing.T) {
	w := newWorld(t, "")
	x, err := newIndexer(w.config(t), "nbdb_reindex")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	// try makes a table in a directory of its own, changes something, and asks.
	try := func(change func(dir, source string) error, want string) {
		t.Helper()
		n++
		dir := fmt.Sprintf("%s/tables/%d", w.dir, n)
		if err := os.MkdirAll(dir+"/sub", 0o755); err != nil {
			t.Fatal(err)
		}
		source := w.legacy(t, fmt.Sprintf("%d/sub/t", n), "key value\n")
		if err := change(dir, source); err != nil {
			t.Fatal(err)
		}
		_, err := x.index(t.Context(), "hash", source)
		want = strings.NewReplacer("DIR", dir, "SOURCE", source, "UID", strconv.Itoa(w.uid)).Replace(want)
		if err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
		if _, err := os.Lstat(source + ".cdb"); err == nil {
			t.Errorf("%s: index file made", source)
		}
	}
	chmod := func(mode fs.FileMode, name string) func(dir, source string) error {
		return func(dir, source string) error {
			return os.Chmod(strings.NewReplacer("DIR", dir, "SOURCE", source).Replace(name), mode)
		}
	}
	try(chmod(0o666, "SOURCE"), "'SOURCE' is writable by group or other users")
	try(chmod(0o664, "SOURCE.db"), "'SOURCE.db' is writable by group or other users")
	try(chmod(0o777|fs.ModeSticky, "DIR"), "'DIR' is writable by group or other users")
	try(chmod(0o775, "DIR/sub"), "'DIR/sub' is writable by group or other users")
	try(func(_, source string) error {
		return errors.Join(os.Rename(source, source+".real"), os.Symlink(source+".real", source))
	}, "'SOURCE' is not a regular file")
	try(func(_, source string) error {
		return errors.Join(os.Remove(source), syscall.Mkfifo(source, 0o644))
	}, "'SOURCE' is not a regular file")
	try(func(dir, _ string) error {
		return errors.Join(os.Rename(dir, dir+".real"), os.Symlink(dir+".real", dir))
	}, "'DIR' is not a directory")
	try(func(_, source string) error { return os.Remove(source) }, "stat SOURCE: No such file or directory")
	if w.uid == 0 {
		try(func(_, source string) error { return os.Chown(source, 12345, -1) }, "'SOURCE' is not owned by root or uid 0")
		try(func(dir, _ string) error { return os.Chown(dir, 12345, -1) }, "'DIR' is not owned by root or uid 0")
		try(func(dir, source string) error {
			return errors.Join(os.Chown(source+".db", 12345, -1), os.Chown(dir, 12346, -1))
		}, "'DIR' is not owned by root or uid 12345")
		// The user may not read the source.
		try(func(dir, source string) error {
			return errors.Join(os.Chown(source+".db", 12345, -1), os.Chmod(source, 0o600))
		}, "open SOURCE: Permission denied")
	}
	for path, want := range map[string]string{
		"t":                          "not a plain absolute pathname: 't'",
		w.dir + "/tables/../other/t": "not a plain absolute pathname: '" + w.dir + "/tables/../other/t'",
		w.dir + "/tables/a\nb":       "not a plain absolute pathname: '" + w.dir + "/tables/a?b'",
	} {
		if _, err := x.index(t.Context(), "hash", path); err == nil || err.Error() != want {
			t.Errorf("%v, want %s", err, want)
		}
	}
	if _, err := x.index(t.Context(), "cdb", "/x"); err == nil || err.Error() != "not a Berkeley DB type: 'cdb'" {
		t.Error(err)
	}
}

// The work is done with the rights of the owner of the old file.
func TestOwner(t *testing.T) {
	if os.Getuid() != 0 {
		return // there is one user
	}
	w := newWorld(t, "")
	x, err := newIndexer(w.config(t), "nbdb_reindex")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(w.dir+"/tables/theirs", 0o755); err != nil {
		t.Fatal(err)
	}
	source := w.legacy(t, "theirs/t", "key value\n")
	for _, name := range []string{source, source + ".db", w.dir + "/tables/theirs"} {
		if err := os.Chown(name, 12345, 12346); err != nil {
			t.Fatal(err)
		}
	}
	done, err := x.index(t.Context(), "hash", source)
	if err != nil || done != "successfully executed 'postmap cdb:"+source+"' as uid 12345" {
		t.Fatal(done, err)
	}
	info, err := os.Stat(source + ".cdb")
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); st.Uid != 12345 || st.Gid != 12346 {
		t.Errorf("owner %d, group %d", st.Uid, st.Gid)
	}

	// Where the user may not write, there is an error, and nothing is left.
	source = w.legacy(t, "ours", "key value\n")
	if err := os.Chown(source+".db", 12345, 12346); err != nil {
		t.Fatal(err)
	}
	if done, err := x.index(t.Context(), "hash", source); err == nil || !strings.Contains(err.Error(), "Permission denied") {
		t.Error(done, err)
	}
}

func TestDisabled(t *testing.T) {
	for level, want := range map[string]string{
		"disable": "the nbdb_reindex service is disabled", "enable-redirect": "the nbdb_reindex service is disabled",
	} {
		w := newWorld(t, "non_bdb_migration_level = "+level+"\n")
		x, err := newIndexer(w.config(t), "nbdb_reindex")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := x.index(t.Context(), "hash", w.dir+"/tables/t"); err == nil || err.Error() != want {
			t.Errorf("%s: %v", level, err)
		}
	}
	w := newWorld(t, "non_bdb_migration_level = nonsense\n")
	if _, err := newIndexer(w.config(t), "x"); err == nil || err.Error() != "invalid non-Berkeley-DB migration level: 'nonsense'" {
		t.Error(err)
	}
}

func TestKind(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "postmap",
		"a b\nc d\n":                 "postmap",
		"a: b\nc: d\n":               "postalias",
		"a:b\n":                      "postalias",
		"example.com smtp:[relay]\n": "postmap",
		"a@b c:d\n":                  "postmap",
		"\"a: b\" c\n":               "postmap",
		"\"a:\": b\n":                "postalias",
		"# a: b\n\na b\n":            "postmap",
		"a\\: b\n":                   "postmap",
		strings.Repeat("a b\n", 10) + strings.Repeat("a: b\n", 50): "postmap",
		strings.Repeat("a: b\n", 10) + strings.Repeat("a b\n", 50): "postalias",
	} {
		if got, err := kind(strings.NewReader(text), "x"); got != want || err != nil {
			t.Errorf("%.40q: %s %v", text, got, err)
		}
	}
}

// By hand, the exit status tells.
func TestByHand(t *testing.T) {
	w := newWorld(t, "")
	x, err := newIndexer(w.config(t), "nbdb_reindex")
	if err != nil {
		t.Fatal(err)
	}
	path := w.legacy(t, "t", "a b\n")
	if status := x.byHand([]string{"hash:" + path}); status != 0 {
		t.Error(status)
	}
	if status := x.byHand([]string{"hash:" + path, "hash:/no/such"}); status != 1 {
		t.Error(status)
	}
}
