package submit

import (
	"bytes"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"

	"suffix/pkg/config"
	"suffix/pkg/params"
	"suffix/pkg/table"
)

// heavy are the table types whose drivers a small program does without.
var heavy = []string{"regexp", "pcre", "pebble", "lmdb", "cdb", "dbm", "sdbm", "mysql", "pgsql", "sqlite", "ldap",
	"mongodb", "memcache", "socketmap", "tcp", "nis", "proxy"}

// UsePostmap makes tables usable whose drivers this program does not contain:
// it asks postmap for each key. Such tables are rare in access lists for local users.
func UsePostmap(cfg *config.Main) {
	path := filepath.Join(cfg.String(params.CommandDirectory), "postmap")
	for _, typ := range heavy {
		if _, ok := table.LookupType(typ); ok {
			continue
		}
		table.Register(typ, table.Type{Open: func(typ, name string, o table.Options) (table.Table, error) {
			return &asked{postmap: path, dir: cfg.Dir(), name: typ + ":" + name}, nil
		}})
	}
}

// asked is a table that postmap looks up.
type asked struct{ postmap, dir, name string }

// Lookup implements table.Table.
func (t *asked) Lookup(key string) (string, bool, error) {
	if strings.ContainsAny(key, "\n\x00") {
		return "", false, nil
	}
	cmd := exec.Command(t.postmap, "-c", t.dir, "-q", "-", t.name)
	cmd.Stdin = strings.NewReader(key + "\n")
	var errors bytes.Buffer
	cmd.Stderr = &errors
	out, err := cmd.Output()
	if exit, ok := err.(*exec.ExitError); ok && exit.ExitCode() == 1 && errors.Len() == 0 {
		return "", false, nil
	}
	if err != nil {
		return "", false, fmt.Errorf("%s: %w: %s", t.postmap, err, bytes.TrimSpace(errors.Bytes()))
	}
	_, value, ok := strings.Cut(strings.TrimSuffix(string(out), "\n"), "\t")
	return value, ok, nil
}

// Name implements table.Table.
func (t *asked) Name() string { return t.name }

// Fixed implements table.Table: only whole names are looked up here.
func (t *asked) Fixed() bool { return true }

// Changed implements table.Table.
func (t *asked) Changed() bool { return false }

// Close implements table.Table.
func (t *asked) Close() error { return nil }
