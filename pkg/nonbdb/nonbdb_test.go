package nonbdb

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/table"

	_ "suffix/pkg/table/bdb"
	_ "suffix/pkg/table/cdb"
	_ "suffix/pkg/table/pebble"
	_ "suffix/pkg/table/simple"
)

func settings(dir string, list ...string) *config.Main {
	all := []config.Setting{{Name: "compatibility_level", Value: "3.11"}, {Name: "queue_directory", Value: dir}}
	for _, s := range list {
		name, value, _ := strings.Cut(s, "=")
		all = append(all, config.Setting{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	return config.New(dir, all, config.Options{})
}

var logFile *os.File

func TestMain(m *testing.M) {
	var err error
	if logFile, err = os.CreateTemp("", "nonbdb-log-*"); err != nil {
		panic(err)
	}
	maillog.UseFile(logFile)
	pause = 0
	status := m.Run()
	os.Remove(logFile.Name())
	os.Exit(status)
}

func logged(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(logFile.Name())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestMap(t *testing.T) {
	const custom = "non_bdb_custom_mapping = inline:{ {hash:/a = lmdb1} {btree = pebble} {hash:/b = no-type} {hash:/c = btree} {hash:/d = cdb} }"
	for _, c := range []struct {
		typ, name string
		settings  []string
		want, err string
	}{
		{"hash", "/x", nil, "", "mapping from 'hash' to legacy type 'hash'"},
		{"btree", "/x", nil, "pebble", ""},
		{"hash", "/x", []string{"default_database_type = cdb"}, "cdb", ""},
		{"btree", "/x", []string{"default_cache_db_type = cdb"}, "cdb", ""},
		{"hash", "/a", []string{custom}, "", "mapping to unsupported database type: 'lmdb1'"},
		{"hash", "/b", []string{custom}, "", "bad non-legacy database type syntax: 'no-type'"},
		{"hash", "/c", []string{custom}, "", "mapping from 'hash' to legacy type 'btree'"},
		{"hash", "/d", []string{custom}, "cdb", ""},
		{"btree", "/d", []string{custom, "default_cache_db_type = cdb"}, "pebble", ""},
		{"hash", "/x", []string{"non_bdb_custom_mapping = hash:/m"}, "", "non_bdb_custom_mapping must not use legacy type: 'hash'"},
		{"hash", "/x", []string{"non_bdb_custom_mapping = fail:m"}, "", "fail:m lookup error for 'hash:/x'"},
	} {
		got, err := Map(c.typ, c.name, settings(".", c.settings...))
		if got != c.want || c.err == "" && err != nil || c.err != "" && (err == nil || err.Error() != c.err) {
			t.Errorf("%s:%s %q: %q %v", c.typ, c.name, c.settings, got, err)
		}
	}
}

func open(cfg *config.Main, spec string, mode table.Mode) (*table.Handle, error) {
	h := table.Open(spec, table.Options{Config: cfg, Mode: mode, Flags: table.BulkUpdate})
	return h, h.Err()
}

func TestRedirect(t *testing.T) {
	dir := t.TempDir()
	name := dir + "/x"
	redirected := settings(dir, "non_bdb_migration_level = enable-redirect", "default_database_type = cdb")
	h, err := open(redirected, "hash:"+name, table.Bulk)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.Update("a", "1"); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	if h, err = open(redirected, "hash:"+name, table.ReadOnly); err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if value, found, err := h.Lookup("a"); value != "1" || !found || err != nil || h.Name() != "cdb:"+name+".cdb" {
		t.Error(h.Name(), value, found, err)
	}
	if want := "redirecting hash:" + name + " to cdb:" + name + "\n"; !strings.Contains(logged(t), want) {
		t.Errorf("not in the log: %s", want)
	}

	quiet := settings(dir, "non_bdb_migration_level = enable-redirect", "default_database_type = cdb", "non_bdb_migration_log_redirect = no")
	before := logged(t)
	q, err := open(quiet, "hash:"+name, table.ReadOnly)
	if err != nil || logged(t) != before {
		t.Error(err, logged(t)[len(before):])
	}
	q.Close()

	for level, want := range map[string]string{
		"disable":         "open database " + name + ".db: No such file or directory",
		"nonsense":        "invalid non-Berkeley-DB migration level: 'nonsense'",
		"enable-redirect": "Berkeley DB type mapping lookup error for 'hash:" + name + "': mapping from 'hash' to legacy type 'hash'",
	} {
		h, err := open(settings(dir, "non_bdb_migration_level = "+level), "hash:"+name, table.ReadOnly)
		if err == nil || err.Error() != want {
			t.Errorf("%s: %v", level, err)
		}
		h.Close()
	}
	if want := "warning: non-Berkeley-DB type mapping lookup error for 'hash:" + name + "': mapping from 'hash' to legacy type 'hash'\n"; !strings.Contains(logged(t), want) {
		t.Errorf("not in the log: %s", want)
	}
	// Other types are nobody's business.
	s, err := open(redirected, "static:x", table.ReadOnly)
	if err != nil {
		t.Error(err)
	}
	s.Close()
}

// service answers the requests that come, one each; an empty one closes the
// connection without a word.
func service(t *testing.T, dir string, answers ...func(c *attr.Conn)) {
	t.Helper()
	if err := os.MkdirAll(dir+"/private", 0o755); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", dir+"/private/nbdb_reindex")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	t.Cleanup(func() {
		l.Close()
		<-done
	})
	go func() {
		defer close(done)
		for _, answer := range answers {
			conn, err := l.Accept()
			if err != nil {
				t.Error("a request is missing")
				return
			}
			c := attr.NewConn(conn, attr.Null, "test", 10*time.Second)
			answer(c)
			conn.Close()
		}
	}()
}

func reply(t *testing.T, typ, name string, status int, reason string, work func()) func(c *attr.Conn) {
	return func(c *attr.Conn) {
		c.W.Str("protocol", Protocol).End()
		gotType, _ := c.R.Str("nbdb_type")
		gotName, err := c.R.Str("nbdb_path")
		if err == nil {
			err = c.R.End()
		}
		if gotType != typ || gotName != name || err != nil {
			t.Errorf("request %s %s %v", gotType, gotName, err)
		}
		work()
		c.W.Int("status", status).Str("reason", reason).End()
	}
}

func TestReindex(t *testing.T) {
	dir, err := os.MkdirTemp("", "nbdb-*") // a socket's name is short
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	t.Chdir(dir)
	if dir, err = filepath.EvalSymlinks(dir); err != nil {
		t.Fatal(err)
	}
	cfg := settings(dir, "non_bdb_migration_level = enable-reindex", "default_database_type = cdb")
	refuse := func(name, want string) {
		t.Helper()
		h, err := open(cfg, "hash:"+name, table.ReadOnly)
		if err == nil || err.Error() != "Non-Berkeley-DB migration error: "+want {
			t.Errorf("%v, want %s", err, want)
		}
		h.Close()
		if line := "warning: Non-Berkeley-DB migration error: " + want + "\n"; !strings.Contains(logged(t), line) {
			t.Errorf("not in the log: %s", line)
		}
	}
	refuse(dir+"/x", "connection to private/nbdb_reindex service: No such file or directory")

	make := func(name string) func() {
		return func() {
			h, err := open(cfg, "cdb:"+name, table.Bulk)
			if err == nil {
				err = h.Close()
			}
			if err != nil {
				t.Error(err)
			}
		}
	}
	service(t, dir,
		reply(t, "hash", dir+"/x", StatusError, "no way", func() {}),
		func(*attr.Conn) {}, // the first attempt fails
		reply(t, "hash", dir+"/x", StatusOK, "done", make(dir+"/x")),
		reply(t, "hash", dir+"/y", StatusOK, "done", make(dir+"/y")),
	)
	refuse(dir+"/x", "no way")
	for _, name := range []string{dir + "/x", "y", dir + "/x"} { // the third is there
		h, err := open(cfg, "hash:"+name, table.ReadOnly)
		if err != nil {
			t.Error(err)
		}
		h.Close()
	}
	// Who makes a table does not ask.
	h, err := open(cfg, "hash:"+dir+"/z", table.Bulk)
	if err != nil {
		t.Error(err)
	}
	h.Close()
}
