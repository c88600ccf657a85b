package lmdb

import (
	"errors"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"suffix/pkg/table"
	"suffix/pkg/table/dbfile"
	"suffix/pkg/table/tabletest"
)

// What happens to a key that is there already.
func TestDuplicates(t *testing.T) {
	for _, mode := range []table.Mode{table.Bulk, table.ReadWrite} {
		for _, c := range []struct {
			flags table.Flags
			want  string
			log   []string
			err   bool
		}{
			{table.WarnDup, "first", []string{`warning: lmdb:PATH: duplicate entry: "k"`}, false},
			{table.IgnoreDup, "first", nil, false},
			{table.ReplaceDup, "second", nil, false},
			{0, "first", nil, true},
		} {
			path := t.TempDir() + "/x"
			log := tabletest.Logged(t, func() {
				h := table.Open("lmdb:"+path, table.Options{Mode: mode, Flags: c.flags, Command: true})
				if h.Err() != nil {
					t.Fatal(h.Err())
				}
				if err := h.Update("k", "first"); err != nil {
					t.Error(err)
				}
				if err := h.Update("k", "second"); errors.Is(err, table.ErrDuplicate) != c.err || !c.err && err != nil {
					t.Errorf("second update: %v", err)
				}
				if err := h.Close(); err != nil {
					t.Error(err)
				}
			})
			for i := range log {
				log[i] = strings.ReplaceAll(log[i], path, "PATH")
			}
			if !slices.Equal(log, c.log) {
				t.Errorf("logged %q, want %q", log, c.log)
			}
			check(t, "lmdb:"+path, map[string]string{"k": c.want})
		}
	}
}

// Keys have 511 bytes with their NUL at most; what a command has stored before
// a longer one stays.
func TestKeyLimit(t *testing.T) {
	const text = ": MDB_BAD_VALSIZE: Unsupported size of key/DB name/data, or wrong DUPFIXED size"
	path := t.TempDir() + "/x"
	h := table.Open("lmdb:"+path, table.Options{Mode: table.ReadWrite, Flags: table.BulkUpdate, Command: true})
	m := map[string]string{"a": "b", strings.Repeat("k", 510): "v"}
	for k, v := range m {
		if err := h.Update(k, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Update(strings.Repeat("k", 511), "v"); err == nil || err.Error() != "error updating lmdb:"+path+text {
		t.Errorf("long key: %v", err)
	}
	check(t, "lmdb:"+path, m) // not closed yet
	if found, err := h.Delete(strings.Repeat("k", 600)); found || err != nil {
		t.Errorf("delete of a long key: %v %v", found, err)
	}
	if err := h.Close(); err != nil {
		t.Error(err)
	}
	raw := tabletest.Open(t, "lmdb:"+path, table.Options{Flags: table.Try0Null})
	if _, _, err := raw.Lookup(""); err == nil || err.Error() != "error reading lmdb:"+path+text {
		t.Errorf("empty key: %v", err)
	}
}

// A reader sees what others change in place, without opening the file again.
func TestReaderSeesChanges(t *testing.T) {
	path := t.TempDir() + "/x"
	build(t, "lmdb:"+path, map[string]string{"k": "old"}, 0)
	h := tabletest.Open(t, "lmdb:"+path, table.Options{Flags: table.Lock})
	if got := tabletest.Find(t, h, "k"); got != "old" {
		t.Fatal(got)
	}
	m := entries(5000, 1)
	m["k"] = "new"
	build(t, "lmdb:"+path, m, 0) // waits for the reader's lock to end
	if h.Changed() {
		t.Error("counts as changed")
	}
	for k, v := range m {
		if got := tabletest.Find(t, h, k); got != v {
			t.Fatalf("%q: %q, want %q", k, got, v)
		}
	}
	if h.Flags()&table.MultiWriter == 0 {
		t.Error("not a table for several writers")
	}
	if err := os.Remove(path + suffix); err != nil {
		t.Fatal(err)
	}
	if !h.Changed() {
		t.Error("a removed file does not count as changed")
	}
}

// During a rebuild others can read the old content, and nobody can write.
func TestLocksOfRebuild(t *testing.T) {
	path := t.TempDir() + "/x"
	build(t, "lmdb:"+path, map[string]string{"k": "old"}, 0)
	b := table.Open("lmdb:"+path, table.Options{Mode: table.Bulk, Command: true})
	if err := b.Update("k", "new"); err != nil {
		t.Fatal(err)
	}
	r := tabletest.Open(t, "lmdb:"+path, table.Options{Flags: table.Lock})
	if got := tabletest.Find(t, r, "k"); got != "old" {
		t.Errorf("during the rebuild: %q", got)
	}
	f, err := os.OpenFile(path+suffix, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l := unix.Flock_t{Type: unix.F_WRLCK}
	if err := unix.FcntlFlock(f.Fd(), unix.F_OFD_SETLK, &l); err != unix.EAGAIN {
		t.Errorf("a writer gets its lock: %v", err)
	}
	if err := b.Close(); err != nil {
		t.Fatal(err)
	}
	if got := tabletest.Find(t, r, "k"); got != "new" {
		t.Errorf("after the rebuild: %q", got)
	}
	if err := dbfile.RecordLock(int(f.Fd()), unix.F_WRLCK); err != nil { // waits for the reader
		t.Error(err)
	}
}

// Several writers and readers at once lose nothing.
func TestManyWriters(t *testing.T) {
	path := t.TempDir() + "/x"
	const writers, each = 4, 40
	done := make(chan error)
	m := make(map[string]string)
	for w := range writers {
		flags := table.Flags(table.ReplaceDup | table.Lock)
		if w%2 == 0 {
			flags |= table.BulkUpdate
		}
		for i := range each {
			m[strings.Repeat("x", w)+string(rune('a'+i))] = "v"
		}
		go func() {
			// Each has its own instance: their flags differ, or their names do.
			s, err := openStore(path, table.Options{Flags: flags, Command: true})
			for i := 0; i < each && err == nil; i++ {
				err = s.(*store).Update(strings.Repeat("x", w)+string(rune('a'+i)), "v")
				if err == nil {
					_, _, err = s.Lookup("a")
				}
			}
			if err == nil {
				err = s.Close()
			}
			done <- err
		}()
	}
	for range writers {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	check(t, "lmdb:"+path, m)
}

// A cursor goes on where it was when entries come and go.
func TestCursorSurvivesChanges(t *testing.T) {
	path := t.TempDir() + "/x"
	m := make(map[string]string)
	for _, k := range "abcdefghij" {
		m[string(k)] = "v"
	}
	build(t, "lmdb:"+path, m, 0)
	h := tabletest.Open(t, "lmdb:"+path, table.Options{Mode: table.ReadWrite, Flags: table.Lock | table.ReplaceDup})
	c, err := h.Cursor()
	if err != nil {
		t.Fatal(err)
	}
	var got string
	for {
		k, _, ok, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		got += k
		switch k {
		case "c":
			if _, err := h.Delete("c"); err != nil {
				t.Fatal(err)
			}
			if _, err := h.Delete("d"); err != nil {
				t.Fatal(err)
			}
		case "e":
			if err := h.Update("ee", "v"); err != nil {
				t.Fatal(err)
			}
		}
	}
	if got != "abceeefghij" {
		t.Errorf("listed %q", got)
	}
}
