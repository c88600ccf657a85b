//go:build interop

package bdb

import (
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"suffix/pkg/table"
	"suffix/pkg/table/dbfile/exchange"
)

var hashKind = exchange.Kind{Type: "hash", Suffix: suffix, MaxKey: 7000, Check: verify}
var btreeKind = exchange.Kind{Type: "btree", Suffix: suffix, MaxKey: 7000, Check: verify}

// verify lets the library look for faults in a file.
func verify(t testing.TB, path string) {
	t.Helper()
	if out, err := exec.Command("db5.3_verify", path).CombinedOutput(); err != nil {
		t.Errorf("db_verify: %v: %s", err, out)
	}
	if names, _ := filepath.Glob(filepath.Dir(path) + "/__db*"); len(names) > 0 {
		t.Errorf("left behind: %v", names)
	}
}

func TestHashFilesOfDebian(t *testing.T)   { hashKind.Files(t) }
func TestHashChangesOfDebian(t *testing.T) { hashKind.Changes(t) }
func TestHashMillionOfDebian(t *testing.T) { hashKind.Million(t) }
func TestHashLiveWithDebian(t *testing.T)  { hashKind.Live(t) }

func TestBtreeFilesOfDebian(t *testing.T)   { btreeKind.Files(t) }
func TestBtreeChangesOfDebian(t *testing.T) { btreeKind.Changes(t) }
func TestBtreeMillionOfDebian(t *testing.T) { btreeKind.Million(t) }
func TestBtreeLiveWithDebian(t *testing.T)  { btreeKind.Live(t) }

// Keys without NUL may be the beginnings of others.
func TestPrefixKeysWithoutNUL(t *testing.T) {
	for _, kind := range kinds {
		dir := exchange.Dir(t)
		m := make(map[string]string)
		for n := 1; n < 300; n++ {
			m[strings.Repeat("c", n)] = "v"
			m[strings.Repeat("c", n)+"d"] = "v"
		}
		spec := kind + ":" + dir + "/x"
		build(t, spec, m, table.Try0Null)
		var keys strings.Builder
		for k := range m {
			keys.WriteString(k + "\n")
		}
		if found := strings.Count(exchange.Postmap(t, dir, strings.NewReader(keys.String()), "-q", "-", spec), "\n"); found != len(m) {
			t.Errorf("%s: real postmap -q found %d of %d", kind, found, len(m))
		}
		verify(t, dir+"/x.db")
		check(t, spec, m)
	}
}
