//go:build interop

package bdb

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"suffix/pkg/table"
)

// postmap runs the real postmap(1) with a private configuration.
func postmap(t *testing.T, dir, stdin string, args ...string) string {
	t.Helper()
	if err := os.WriteFile(dir+"/main.cf", []byte("compatibility_level = 3.6\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/usr/sbin/postmap", append([]string{"-c", dir}, args...)...)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	if err != nil && !strings.Contains(strings.Join(args, " "), "-q") {
		t.Fatalf("postmap %v: %v: %s", args, err, out)
	}
	return string(out)
}

// source writes entries as the source text of a table.
func source(t *testing.T, path string, m map[string]string) {
	t.Helper()
	var b bytes.Buffer
	for k, v := range m {
		fmt.Fprintf(&b, "%s %s\n", k, v)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestWeReadTheirs: everything that the real postmap stores, we find and list.
func TestWeReadTheirs(t *testing.T) {
	for _, kind := range kinds {
		for _, n := range []int{0, 1, 1000, 100000} {
			for _, opt := range []string{"", "-N", "-n"} {
				t.Run(fmt.Sprint(kind, n, opt), func(t *testing.T) {
					dir := t.TempDir()
					m := entries(n, uint64(n))
					source(t, dir+"/x", m)
					args := []string{kind + ":" + dir + "/x"}
					if opt != "" {
						args = append([]string{opt}, args...)
					}
					postmap(t, dir, "", args...)
					check(t, kind+":"+dir+"/x", m)
				})
			}
		}
	}
}

// TestTheyReadOurs: the real postmap lists what we store, db_verify finds no
// fault, and db_dump says the same.
func TestTheyReadOurs(t *testing.T) {
	for _, kind := range kinds {
		for _, n := range []int{0, 1, 2, 1000, 100000} {
			t.Run(fmt.Sprint(kind, n), func(t *testing.T) {
				dir := t.TempDir()
				m := entries(n, uint64(n)+9)
				spec := kind + ":" + dir + "/x"
				build(t, spec, m, 0)
				if out, err := exec.Command("db5.3_verify", dir+"/x.db").CombinedOutput(); err != nil {
					t.Fatalf("db_verify: %v: %s", err, out)
				}
				dump, err := exec.Command("db5.3_dump", "-p", dir+"/x.db").Output()
				if err != nil {
					t.Fatal(err)
				}
				if got := strings.Count(string(dump), "\n "); got != 2*n {
					t.Errorf("db_dump shows %d items, want %d", got, 2*n)
				}
				got := make(map[string]string)
				for _, line := range strings.Split(postmap(t, dir, "", "-s", spec), "\n") {
					if k, v, ok := strings.Cut(line, "\t"); ok {
						got[k] = v
					}
				}
				var keys strings.Builder
				for k, v := range m {
					if got[k] != v {
						t.Fatalf("real postmap -s: %.40q = %.40q, want %.40q", k, got[k], v)
					}
					keys.WriteString(k + "\n")
				}
				if len(got) != n {
					t.Errorf("real postmap -s lists %d entries, want %d", len(got), n)
				}
				out := postmap(t, dir, keys.String(), "-q", "-", spec)
				if found := strings.Count(out, "\n"); found != n {
					t.Errorf("real postmap -q found %d of %d", found, n)
				}
			})
		}
	}
}

// Keys without NUL may be the beginnings of others.
func TestPrefixKeysWithoutNUL(t *testing.T) {
	for _, kind := range kinds {
		dir := t.TempDir()
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
		if found := strings.Count(postmap(t, dir, keys.String(), "-q", "-", spec), "\n"); found != len(m) {
			t.Errorf("%s: real postmap -q found %d of %d", kind, found, len(m))
		}
		if out, err := exec.Command("db5.3_verify", dir+"/x.db").CombinedOutput(); err != nil {
			t.Errorf("%s: db_verify: %v: %s", kind, err, out)
		}
		check(t, spec, m)
	}
}

// TestTheyChangeOurs: the real postmap adds to and deletes from our file, and
// we read what it leaves.
func TestTheyChangeOurs(t *testing.T) {
	for _, kind := range kinds {
		dir := t.TempDir()
		m := entries(5000, 77)
		spec := kind + ":" + dir + "/x"
		build(t, spec, m, 0)
		more := entries(3000, 78)
		var text, gone strings.Builder
		n := 0
		for k := range m {
			if n++; n%2 == 0 {
				gone.WriteString(k + "\n")
				delete(m, k)
			}
		}
		for k, v := range more {
			fmt.Fprintf(&text, "%s %s\n", k, v)
			m[k] = v
		}
		postmap(t, dir, gone.String(), "-d", "-", spec)
		postmap(t, dir, text.String(), "-r", "-i", spec)
		if out, err := exec.Command("db5.3_verify", dir+"/x.db").CombinedOutput(); err != nil {
			t.Fatalf("%s: db_verify: %v: %s", kind, err, out)
		}
		check(t, spec, m)
		// And back: we change theirs.
		h := table.Open(spec, table.Options{Mode: table.ReadWrite, Flags: table.BulkUpdate | table.ReplaceDup, Command: true})
		if h.Err() != nil {
			t.Fatal(h.Err())
		}
		if err := h.Update("a new key", "value"); err != nil {
			t.Fatal(err)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		if out := postmap(t, dir, "", "-q", "a new key", spec); out != "value\n" {
			t.Errorf("%s: real postmap finds %q", kind, out)
		}
		if names, _ := filepath.Glob(dir + "/__db*"); len(names) > 0 {
			t.Errorf("left behind: %v", names)
		}
	}
}
