package store

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/sstable"
	"github.com/cockroachdb/pebble/v2/vfs"

	"suffix/pkg/table"
	"suffix/pkg/table/pebble"
)

// build makes a table with the entries, as postmap does.
func build(t testing.TB, name string, flags table.Flags, entries ...[2]string) {
	t.Helper()
	h := openTable(t, name, table.Options{Mode: table.Bulk, Flags: flags | table.BulkUpdate})
	for _, e := range entries {
		if err := h.Update(e[0], e[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}

func openTable(t testing.TB, name string, o table.Options) *table.Handle {
	t.Helper()
	o.Command = true
	h := table.Open("pebble:"+name, o)
	if err := h.Err(); err != nil {
		t.Fatal(err)
	}
	return h
}

// content lists a table.
func content(t testing.TB, name string) (list [][2]string) {
	t.Helper()
	h := openTable(t, name, table.Options{})
	defer h.Close()
	c, err := h.Cursor()
	if err != nil {
		t.Fatal(err)
	}
	for {
		key, value, ok, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return list
		}
		list = append(list, [2]string{key, value})
	}
}

func expect(t *testing.T, name string, want ...[2]string) {
	t.Helper()
	if got := content(t, name); !slices.Equal(got, want) {
		t.Errorf("content %v, want %v", got, want)
	}
}

// random returns entries with keys of many lengths, sorted, without duplicates.
func random(n int) (entries [][2]string) {
	r := rand.New(rand.NewPCG(1, 2))
	known := make(map[string]bool)
	for len(entries) < n {
		b := make([]byte, 1+r.IntN(1+r.IntN(60)))
		for i := range b {
			b[i] = byte(1 + r.IntN(255))
		}
		if len(entries)%97 == 0 {
			b = append(b, strings.Repeat("k", r.IntN(9000))...)
		}
		if key := string(b); !known[key] {
			known[key] = true
			entries = append(entries, [2]string{key, strings.Repeat("v", r.IntN(1+r.IntN(300))) + "."})
		}
	}
	slices.SortFunc(entries, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return entries
}

// Every entry is found, nothing else is, and the library reads the same.
func TestAllSizes(t *testing.T) {
	for _, n := range []int{0, 1, 2, 15, 16, 17, 1000, 20000} {
		name := filepath.Join(t.TempDir(), "t")
		entries := random(n)
		shuffled := slices.Clone(entries)
		rand.Shuffle(n, func(i, j int) { shuffled[i], shuffled[j] = shuffled[j], shuffled[i] })
		build(t, name, 0, shuffled...)
		if got := content(t, name); !slices.Equal(got, entries) {
			t.Fatalf("%d entries: content differs", n)
		}
		h := openTable(t, name, table.Options{})
		for _, e := range entries {
			if value, found, err := h.Lookup(e[0]); value != e[1] || !found || err != nil {
				t.Fatalf("lookup: %v %v", found, err)
			}
			for _, absent := range []string{e[0] + "\x00", e[0] + "\xff\xff", e[0][:len(e[0])-1] + "\x00"} {
				if _, found, err := h.Lookup(absent); found || err != nil {
					t.Fatalf("lookup of an absent key: %v %v", found, err)
				}
			}
		}
		if _, found, err := h.Lookup(""); found || err != nil {
			t.Fatalf("lookup of nothing: %v %v", found, err)
		}
		h.Close()
		if got := byLibrary(t, name); !slices.Equal(got, entries) {
			t.Fatalf("%d entries: the library reads something else", n)
		}
	}
}

func byLibrary(t *testing.T, name string) (list [][2]string) {
	t.Helper()
	f, err := vfs.Default.Open(name + pebble.Suffix)
	if err != nil {
		t.Fatal(err)
	}
	readable, err := sstable.NewSimpleReadable(f)
	if err != nil {
		t.Fatal(err)
	}
	r, err := sstable.NewReader(context.Background(), readable, sstable.ReaderOptions{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	it, err := r.NewIter(sstable.NoTransforms, nil, nil, sstable.AssertNoBlobHandles)
	if err != nil {
		t.Fatal(err)
	}
	defer it.Close()
	for kv := it.First(); kv != nil; kv = it.Next() {
		value, _, err := kv.Value(nil)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, [2]string{string(kv.K.UserKey), string(value)})
	}
	return list
}

// Entries that do not fit into memory are sorted outside of it; what happens to
// duplicates does not depend on that.
func TestLittleMemory(t *testing.T) {
	defer func(n int) { maxMemory = n }(maxMemory)
	maxMemory = 5000
	dir := t.TempDir()
	name := filepath.Join(dir, "t")
	entries := random(3000)
	input := slices.Clone(entries)
	for _, e := range entries[:500] {
		input = append(input, [2]string{e[0], "second"})
	}
	build(t, name, table.IgnoreDup, input...)
	expect(t, name, entries...)

	build(t, name, table.ReplaceDup, input...)
	want := slices.Clone(entries)
	for i := range want[:500] {
		want[i][1] = "second"
	}
	expect(t, name, want...)

	h := openTable(t, name, table.Options{Mode: table.Bulk, Flags: table.BulkUpdate})
	var err error
	for _, e := range input {
		err = errors.Join(err, h.Update(e[0], e[1]))
	}
	if err = errors.Join(err, h.Close()); !errors.Is(err, table.ErrDuplicate) {
		t.Errorf("duplicates: %v", err)
	}
	expect(t, name, want...) // the old table
	if files, err := os.ReadDir(dir); err != nil || len(files) != 1 {
		t.Errorf("files left: %v %v", files, err)
	}
}

func TestDuplicates(t *testing.T) {
	name := filepath.Join(t.TempDir(), "t")
	two := [][2]string{{"a", "1"}, {"a", "2"}}
	build(t, name, table.WarnDup, two...)
	expect(t, name, [2]string{"a", "1"})
	build(t, name, table.ReplaceDup, two...)
	expect(t, name, [2]string{"a", "2"})
	h := openTable(t, name, table.Options{Mode: table.ReadWrite, Flags: table.BulkUpdate})
	if err := h.Update("a", "3"); !errors.Is(err, table.ErrDuplicate) {
		t.Error(err)
	}
	h.Close()
}

// Changes by postmap -i and -d, and of a process that keeps the table open.
func TestChanges(t *testing.T) {
	for _, flags := range []table.Flags{table.BulkUpdate, 0} {
		name := filepath.Join(t.TempDir(), "t")
		build(t, name, 0, [2]string{"b", "1"}, [2]string{"d", "1"}, [2]string{"f", "1"})
		h := openTable(t, name, table.Options{Mode: table.ReadWrite, Flags: flags | table.IgnoreDup})
		for _, e := range [][2]string{{"a", "2"}, {"b", "2"}, {"e", "2"}, {"g", "2"}} {
			if err := h.Update(e[0], e[1]); err != nil {
				t.Fatal(err)
			}
		}
		for key, want := range map[string]bool{"d": true, "x": false, "g": true} {
			if found, err := h.Delete(key); found != want || err != nil {
				t.Errorf("delete %s: %v %v", key, found, err)
			}
		}
		if err := h.Update("d", "3"); err != nil {
			t.Fatal(err)
		}
		for key, want := range map[string]string{"a": "2", "b": "1", "d": "3", "g": ""} {
			if value, found, err := h.Lookup(key); value != want || found != (want != "") || err != nil {
				t.Errorf("lookup %s: %q %v %v", key, value, found, err)
			}
		}
		want := [][2]string{{"a", "2"}, {"b", "1"}, {"d", "3"}, {"e", "2"}, {"f", "1"}}
		if flags == 0 {
			expect(t, name, want...)
		}
		c, err := h.Cursor()
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range want {
			if key, value, ok, err := c.Next(); key != e[0] || value != e[1] || !ok || err != nil {
				t.Errorf("cursor: %s %s %v", key, value, err)
			}
		}
		if _, _, ok, err := c.Next(); ok || err != nil {
			t.Errorf("cursor does not end: %v", err)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		expect(t, name, want...)
	}
}

func TestMissing(t *testing.T) {
	name := filepath.Join(t.TempDir(), "t")
	for _, o := range []table.Options{{}, {Mode: table.ReadWrite, Existing: true}} {
		o.Command = true
		h := table.Open("pebble:"+name, o)
		if err := h.Err(); err == nil || err.Error() != "open database "+name+".sst: No such file or directory" {
			t.Error(err)
		}
		h.Close()
	}
	h := openTable(t, name, table.Options{Mode: table.ReadWrite, Flags: table.BulkUpdate})
	if err := h.Update("a", "1"); err != nil {
		t.Fatal(err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	expect(t, name, [2]string{"a", "1"})
	h = table.Open("pebble:"+filepath.Join(t.TempDir(), "no", "t"), table.Options{Mode: table.Bulk, Command: true})
	if err := h.Err(); err == nil || !strings.HasSuffix(err.Error(), "t.sst: No such file or directory") {
		t.Error(err)
	}
}

// Owner and mode of an existing table stay; a symbolic link stays one.
func TestReplacement(t *testing.T) {
	dir := t.TempDir()
	build(t, filepath.Join(dir, "real"), 0, [2]string{"a", "1"})
	real := filepath.Join(dir, "real.sst")
	if err := os.Chmod(real, 0o640); err != nil {
		t.Fatal(err)
	}
	uid := os.Getuid()
	if uid == 0 {
		uid = 12345
		if err := os.Chown(real, uid, 12346); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("real.sst", filepath.Join(dir, "t.sst")); err != nil {
		t.Fatal(err)
	}
	reader := openTable(t, filepath.Join(dir, "t"), table.Options{})
	defer reader.Close()
	if reader.Changed() {
		t.Error("changed")
	}
	build(t, filepath.Join(dir, "t"), 0, [2]string{"a", "2"})
	if !reader.Changed() {
		t.Error("not changed")
	}
	if value, _, err := reader.Lookup("a"); value != "1" || err != nil {
		t.Errorf("an open table: %s %v", value, err)
	}
	expect(t, filepath.Join(dir, "real"), [2]string{"a", "2"})
	info, err := os.Lstat(real)
	if err != nil {
		t.Fatal(err)
	}
	if st := info.Sys().(*syscall.Stat_t); info.Mode() != 0o640 || int(st.Uid) != uid {
		t.Errorf("mode %v, owner %d", info.Mode(), st.Uid)
	}
	again := openTable(t, filepath.Join(dir, "t"), table.Options{})
	defer again.Close()
	if owner, known := again.Owner(); owner != uid || !known {
		t.Errorf("owner %d", owner)
	}
}

// Of two who change a table at once, one waits, and no change is lost.
func TestConcurrentChanges(t *testing.T) {
	name := filepath.Join(t.TempDir(), "t")
	build(t, name, 0)
	var group sync.WaitGroup
	for n := range 4 {
		group.Add(1)
		go func() {
			defer group.Done()
			for i := range 10 {
				s, err := open("pebble", name, table.Options{Mode: table.ReadWrite, Flags: table.BulkUpdate, Command: true})
				if err != nil {
					t.Error(err)
					return
				}
				if err := errors.Join(s.(*store).Update(fmt.Sprintf("%d-%d", n, i), "x"), s.Close()); err != nil {
					t.Error(err)
				}
			}
		}()
	}
	group.Wait()
	if n := len(content(t, name)); n != 40 {
		t.Errorf("%d entries", n)
	}
}

func TestPersistentLock(t *testing.T) {
	name := filepath.Join(t.TempDir(), "t")
	build(t, name, 0)
	o := table.Options{Mode: table.ReadWrite, Flags: table.OpenLock, Command: true}
	first := openTable(t, name, o)
	second, err := open("pebble", name, o)
	if second != nil || err == nil || err.Error() != "pebble:"+name+": unable to get exclusive lock: Resource temporarily unavailable" {
		t.Error(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
}

// What cannot be written is told before the source is read.
func TestUnwritableDirectory(t *testing.T) {
	if os.Getuid() == 0 {
		return // may write everywhere
	}
	dir := t.TempDir()
	name := filepath.Join(dir, "t")
	build(t, name, 0, [2]string{"a", "1"})
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	h := table.Open("pebble:"+name, table.Options{Mode: table.Bulk, Command: true})
	if err := h.Err(); err == nil || err.Error() != "open database "+name+".sst: Permission denied" {
		t.Error(err)
	}
}

func BenchmarkLookup(b *testing.B) {
	name := filepath.Join(b.TempDir(), "t")
	const n = 1_000_000
	h := openTable(b, name, table.Options{Mode: table.Bulk, Flags: table.BulkUpdate})
	start := time.Now()
	for i := range n {
		if err := h.Update(fmt.Sprintf("user%d@example%d.com", i*7919%n, i%1000), "somebody@elsewhere.example"); err != nil {
			b.Fatal(err)
		}
	}
	if err := h.Close(); err != nil {
		b.Fatal(err)
	}
	b.Logf("built in %v", time.Since(start))
	h = openTable(b, name, table.Options{})
	defer h.Close()
	r := rand.New(rand.NewPCG(1, 2))
	b.ResetTimer()
	for range b.N {
		i := r.IntN(n)
		if _, found, err := h.Lookup(fmt.Sprintf("user%d@example%d.com", i*7919%n, i%1000)); !found || err != nil {
			b.Fatal(found, err)
		}
	}
}
