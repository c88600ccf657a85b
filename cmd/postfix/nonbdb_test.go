package main

import (
	"os"
	"path/filepath"
	"testing"

	"suffix/test/instance"
)

// appendTo adds lines to a file of the configuration.
func appendTo(t *testing.T, in *instance.Instance, name, text string) {
	t.Helper()
	f, err := os.OpenFile(filepath.Join(in.Config(), name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(text); err != nil {
		t.Fatal(err)
	}
	if err := f.Close(); err != nil {
		t.Fatal(err)
	}
}

// The commands of "postfix non-bdb" edit main.cf and master.cf through postconf.
func TestNonBDB(t *testing.T) {
	in := newInstance(t)
	run := func(args ...string) string {
		t.Helper()
		if err := os.WriteFile(filepath.Join(in.Config(), "calls"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		stderr, status := postfix(t, in, append([]string{"non-bdb"}, args...)...)
		if status != 0 {
			t.Errorf("%s: %d %s", args, status, stderr)
		}
		return stderr
	}
	appendTo(t, in, "main.cf", "default_database_type = cdb\nauthorized_mailq_users = static:x, !hash:/x/y, hash:/x/y btree:/z\n"+
		"non_bdb_custom_mapping = inline:{ {hash:/x/y = lmdb} }\n")
	run("enable-redirect")
	if got := calls(t, in); got != "[postconf -e non_bdb_migration_level=enable-redirect]\n" {
		t.Error(got)
	}
	const said = "postlog: Proactively reindexing lmdb:/x/y\npostlog: Proactively reindexing pebble:/z\n"
	if stderr := run("enable-reindex"); stderr != said {
		t.Errorf("%q", stderr)
	}
	if got := calls(t, in); got != "[postmap lmdb:/x/y]\n[postmap pebble:/z]\n"+
		"[postconf -M -e nbdb_reindex/unix=nbdb_reindex unix y n n - 1 nbdb_reindexd]\n"+
		"[postconf -e non_bdb_migration_level=enable-reindex]\n" {
		t.Error(got)
	}
	appendTo(t, in, "master.cf", "nbdb_reindex unix y n n - 1 nbdb_reindexd\n")
	run("disable")
	if got := calls(t, in); got != "[postconf -X non_bdb_migration_level]\n[postconf -M -X nbdb_reindex/unix]\n" {
		t.Error(got)
	}
	run("status")

	cmd := in.Command("postfix", "non-bdb", "status")
	if out, err := cmd.Output(); string(out) != "disable\n" || err != nil {
		t.Errorf("%q %v", out, err)
	}
	appendTo(t, in, "main.cf", "default_cache_db_type = btree\n")
	if stderr, status := postfix(t, in, "non-bdb", "enable-redirect"); status != 1 ||
		stderr != "postlog: fatal: parameter default_cache_db_type specifies a Berkeley DB type: 'btree'\n" {
		t.Errorf("%d %q", status, stderr)
	}
}

// Alias tables whose type has changed get their index files, once.
func TestMigrateAliases(t *testing.T) {
	in := newInstance(t)
	dir := t.TempDir()
	for _, name := range []string{"one", "one.db", "two", "two.db", "two.cdb", "three", "four.db"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	maps := "alias_maps ="
	for _, name := range []string{"one", "two", "three", "four"} {
		maps += " cdb:" + filepath.Join(dir, name)
	}
	appendTo(t, in, "main.cf", "default_database_type = cdb\n"+maps+"\n")
	for _, want := range []string{"", "[nbdb_reindexd -S hash:" + dir + "/one]\n", ""} {
		if err := os.WriteFile(filepath.Join(in.Config(), "calls"), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if stderr, status := postfix(t, in, "check-alias-maps-migration"); status != 0 {
			t.Fatal(stderr)
		}
		if got := calls(t, in); got != want {
			t.Errorf("%q, want %q", got, want)
		}
		if want == "" {
			appendTo(t, in, "main.cf", "non_bdb_migration_level = enable-reindex\n")
		}
	}
}
