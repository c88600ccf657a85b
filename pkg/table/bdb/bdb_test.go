package bdb

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"suffix/pkg/table"
	"suffix/pkg/table/dbfile"
)

var kinds = []string{"hash", "btree"}

// entries makes n random entries, some of them with long keys and values.
func entries(n int, seed uint64) map[string]string {
	r := rand.New(rand.NewPCG(seed, 1))
	word := func(limit int) string {
		b := make([]byte, 1+r.IntN(limit))
		for i := range b {
			b[i] = "abcdefghijklmnopqrstuvwxyz0123456789@.-_"[r.IntN(40)]
		}
		return string(b)
	}
	m := make(map[string]string, n)
	for len(m) < n {
		k, v := word(30), word(40)
		if r.IntN(20) == 0 {
			k = strings.Repeat("common-prefix/", r.IntN(500)) + k
		}
		if r.IntN(20) == 0 {
			v = strings.Repeat(v, 1+r.IntN(500))
		}
		m[k] = v
	}
	return m
}

func build(t testing.TB, spec string, m map[string]string, flags table.Flags) {
	t.Helper()
	h := table.Open(spec, table.Options{Mode: table.Bulk, Flags: flags, Command: true})
	if h.Err() != nil {
		t.Fatal(h.Err())
	}
	for k, v := range m {
		if err := h.Update(k, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}

func check(t *testing.T, spec string, m map[string]string) {
	t.Helper()
	h := table.Open(spec, table.Options{Flags: table.Lock, Command: true})
	if h.Err() != nil {
		t.Fatal(h.Err())
	}
	defer h.Close()
	for k, v := range m {
		got, found, err := h.Lookup(k)
		if err != nil || !found || got != v {
			t.Fatalf("%s: %.40q: got %.40q %v %v", spec, k, got, found, err)
		}
	}
	for _, k := range []string{"", "no such key", strings.Repeat("common-prefix/", 300), "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz"} {
		if _, found, err := h.Lookup(k); found || err != nil {
			t.Fatalf("%s: %.40q: found %v, error %v", spec, k, found, err)
		}
	}
	c, err := h.Cursor()
	if err != nil {
		t.Fatal(err)
	}
	listed := 0
	last := ""
	for {
		k, v, ok, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			break
		}
		if m[k] != v {
			t.Fatalf("listed %.40q = %.40q, want %.40q", k, v, m[k])
		}
		if strings.HasPrefix(spec, "btree") && k < last {
			t.Fatalf("%.40q listed after %.40q", k, last)
		}
		last = k
		listed++
	}
	if listed != len(m) {
		t.Fatalf("%s: listed %d of %d", spec, listed, len(m))
	}
}

func TestRoundTrip(t *testing.T) {
	for _, kind := range kinds {
		for _, n := range []int{0, 1, 2, 1000, 20000} {
			for _, flags := range []table.Flags{0, table.Try0Null} {
				t.Run(fmt.Sprintf("%s/%d/%d", kind, n, flags), func(t *testing.T) {
					spec := kind + ":" + filepath.Join(t.TempDir(), "x")
					m := entries(n, uint64(n))
					build(t, spec, m, flags)
					check(t, spec, m)
				})
			}
		}
	}
}

// A table of the examples in the format description, byte for byte but for the
// random file id.
func TestLayout(t *testing.T) {
	dir := t.TempDir()
	m := map[string]string{"alice": "one", "bob": "two"}
	for _, kind := range kinds {
		build(t, kind+":"+dir+"/"+kind, m, 0)
	}
	data, err := os.ReadFile(dir + "/hash.db")
	if err != nil {
		t.Fatal(err)
	}
	for off, want := range map[int]string{
		0x00:   "\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x61\x15\x06\x00\x09\x00\x00\x00\x00\x10\x00\x00\x00\x08\x00\x00\x00\x00\x00\x00",
		0x20:   "\x02\x00\x00\x00",
		0x48:   "\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x10\x00\x00\xd1\x8d\x68\x5e",
		0x60:   "\x01\x00\x00\x00\x01\x00\x00\x00\x00",
		0x1000: "\x00\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xf4\x0f\x00\x0d\xf9\x0f\xf4\x0f",
		0x1ff4: "\x01one\x00\x01alice\x00",
		0x2ff6: "\x01two\x00\x01bob\x00",
	} {
		if got := string(data[off : off+len(want)]); got != want {
			t.Errorf("hash: at %#x: % x, want % x", off, got, want)
		}
	}
	data, err = os.ReadFile(dir + "/btree.db")
	if err != nil {
		t.Fatal(err)
	}
	for off, want := range map[int]string{
		0x20:   "\x01\x00\x00\x00",
		0x48:   "\x00\x00\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x20\x00\x00\x00\x01\x00\x00\x00",
		0x1008: "\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x04\x00\xdc\x0f\x01\x05\xf4\x0f\xec\x0f\xe4\x0f\xdc\x0f",
		0x1fdc: "\x04\x00\x01two\x00\x00\x04\x00\x01bob\x00\x00\x04\x00\x01one\x00\x00\x06\x00\x01alice\x00\x00\x00\x00",
	} {
		if got := string(data[off : off+len(want)]); got != want {
			t.Errorf("btree: at %#x: % x, want % x", off, got, want)
		}
	}
}

func TestUpdateInPlaceOfOld(t *testing.T) {
	for _, kind := range kinds {
		dir := t.TempDir()
		spec := kind + ":" + dir + "/x"
		build(t, spec, map[string]string{"a": "1", "b": "2"}, 0)
		if err := os.Chmod(dir+"/x.db", 0o640); err != nil {
			t.Fatal(err)
		}
		old := table.Open(spec, table.Options{Flags: table.Lock, Command: true})
		h := table.Open(spec, table.Options{Mode: table.ReadWrite, Flags: table.Lock | table.ReplaceDup | table.SyncUpdate, Command: true})
		if err := errors.Join(old.Err(), h.Err(), h.Update("a", "new"), h.Update("c", "3")); err != nil {
			t.Fatal(err)
		}
		if found, err := h.Delete("b"); !found || err != nil {
			t.Fatal(found, err)
		}
		if found, err := h.Delete("b"); found || err != nil {
			t.Fatal(found, err)
		}
		check(t, spec, map[string]string{"a": "new", "c": "3"})
		info, err := os.Stat(dir + "/x.db")
		if err != nil || info.Mode().Perm() != 0o640 {
			t.Errorf("mode %v, %v", info.Mode(), err)
		}
		if !old.Changed() {
			t.Error("a replaced table does not count as changed")
		}
		if v, found, err := old.Lookup("b"); v != "2" || !found || err != nil {
			t.Error("the old table is no longer readable:", v, found, err)
		}
		if err := errors.Join(h.Close(), old.Close()); err != nil {
			t.Error(err)
		}
		if names, _ := os.ReadDir(dir); len(names) != 1 {
			t.Errorf("left behind: %v", names)
		}
	}
}

func TestDuplicates(t *testing.T) {
	spec := "hash:" + t.TempDir() + "/x"
	for _, c := range []struct {
		flags table.Flags
		want  string
		err   error
	}{{table.WarnDup, "1", nil}, {table.IgnoreDup, "1", nil}, {table.ReplaceDup, "2", nil}, {0, "1", table.ErrDuplicate}} {
		h := table.Open(spec, table.Options{Mode: table.Bulk, Flags: c.flags, Command: true})
		if err := h.Update("k", "1"); err != nil {
			t.Fatal(err)
		}
		if err := h.Update("k", "2"); !errors.Is(err, c.err) {
			t.Errorf("%v: error %v", c.flags, err)
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		check(t, spec, map[string]string{"k": c.want})
	}
}

func TestUnusableFiles(t *testing.T) {
	dir := t.TempDir()
	path := dir + "/x.db"
	for name, content := range map[string]string{"empty": "", "garbage": strings.Repeat("x", 9000), "short": "ab"} {
		if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
		h := table.Open("hash:"+dir+"/x", table.Options{Command: true})
		if want := "open database " + path + ": Invalid argument"; h.Err() == nil || h.Err().Error() != want {
			t.Errorf("%s: %v, want %s", name, h.Err(), want)
		}
		h.Close()
	}
	build(t, "btree:"+dir+"/x", map[string]string{"a": "b"}, 0)
	for spec, want := range map[string]string{
		"hash:" + dir + "/x":    "open database " + path + ": Invalid argument",
		"hash:" + dir + "/none": "open database " + dir + "/none.db: No such file or directory",
	} {
		h := table.Open(spec, table.Options{Command: true})
		if h.Err() == nil || h.Err().Error() != want {
			t.Errorf("%s: %v", spec, h.Err())
		}
		h.Close()
	}
}

// A program without locks may cut the file short under a reader: lookups fail,
// the process lives.
func TestTruncatedUnderReader(t *testing.T) {
	dir := t.TempDir()
	build(t, "hash:"+dir+"/x", entries(2000, 7), 0)
	r, err := openReader("hash", dir+"/x", table.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	err = dbfile.Guarded(errCorrupt, func() error {
		if err := os.Truncate(dir+"/x.db", 0); err != nil {
			return err
		}
		_, _, err := r.(*reader).im.hashLookup([]byte("anything"))
		return err
	})
	if err != errCorrupt {
		t.Errorf("lookup in a truncated file: %v", err)
	}
	if _, _, err := r.Lookup("anything"); err == nil {
		t.Error("no error")
	}
}

func TestOpenLock(t *testing.T) {
	spec := "btree:" + t.TempDir() + "/cache"
	o := table.Options{Mode: table.ReadWrite, Flags: table.OpenLock | table.ReplaceDup | table.SyncUpdate, Command: true}
	h := table.Open(spec, o)
	if err := errors.Join(h.Err(), h.Update("a", "b")); err != nil {
		t.Fatal(err)
	}
	_, err := openStore("btree", strings.TrimPrefix(spec, "btree:"), o)
	if want := spec + ": unable to get exclusive lock: Resource temporarily unavailable"; err == nil || err.Error() != want {
		t.Errorf("second open: %v", err)
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	check(t, spec, map[string]string{"a": "b"})
}

// swapImage changes the byte order of everything in a file of one bucket page.
func TestOtherByteOrder(t *testing.T) {
	dir := t.TempDir()
	build(t, "hash:"+dir+"/x", map[string]string{"alice": "one", "bob": "two"}, 0)
	data, err := os.ReadFile(dir + "/x.db")
	if err != nil {
		t.Fatal(err)
	}
	swap := func(off, n int) {
		for i, j := off, off+n-1; i < j; i, j = i+1, j-1 {
			data[i], data[j] = data[j], data[i]
		}
	}
	for _, off := range []int{8, 12, 16, 20, 28, 32, 72, 76, 80, 84, 88, 92, 96, 100} {
		swap(off, 4)
	}
	for _, p := range []int{0x1000, 0x2000} {
		swap(p+8, 4)
		swap(p+20, 2)
		swap(p+22, 2)
		swap(p+26, 2)
		swap(p+28, 2)
	}
	if err := os.WriteFile(dir+"/y.db", data, 0o644); err != nil {
		t.Fatal(err)
	}
	check(t, "hash:"+dir+"/y", map[string]string{"alice": "one", "bob": "two"})
}

func TestInPlaceWithoutDirectory(t *testing.T) {
	if unix.Getuid() == 0 {
		// Root may write everywhere: take the other way to refuse a new file.
		dir := t.TempDir()
		build(t, "hash:"+dir+"/x", map[string]string{"a": "1"}, 0)
		s, err := openStore("hash", dir+"/x", table.Options{Mode: table.ReadWrite})
		if err != nil {
			t.Fatal(err)
		}
		before, _ := os.Stat(dir + "/x.db")
		st := s.(*store)
		st.entries["b\x00"] = "2\x00"
		if err := st.writeTo(st.f, st.records()); err != nil {
			t.Fatal(err)
		}
		after, _ := os.Stat(dir + "/x.db")
		if !os.SameFile(before, after) {
			t.Error("not the same file")
		}
		check(t, "hash:"+dir+"/x", map[string]string{"a": "1", "b": "2"})
		return
	}
	dir := t.TempDir()
	build(t, "hash:"+dir+"/x", map[string]string{"a": "1"}, 0)
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	defer os.Chmod(dir, 0o755)
	build(t, "hash:"+dir+"/x", map[string]string{"b": "2"}, 0)
	check(t, "hash:"+dir+"/x", map[string]string{"b": "2"})
}

func FuzzReader(f *testing.F) {
	dir := f.TempDir()
	for _, kind := range kinds {
		for _, n := range []int{1, 300} {
			build(f, kind+":"+dir+"/x", entries(n, 3), 0)
			data, err := os.ReadFile(dir + "/x.db")
			if err != nil {
				f.Fatal(err)
			}
			f.Add(data, kind == "btree")
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, btree bool) {
		im, err := parse(data, btree)
		if err != nil {
			return
		}
		for _, key := range []string{"a\x00", "alice\x00", "", "zz"} {
			if btree {
				im.btreeLookup([]byte(key))
			} else {
				im.hashLookup([]byte(key))
			}
		}
		for scan := (scanner{}); ; {
			if _, ok, err := scan.next(im); err != nil || !ok {
				break
			}
		}
	})
}
