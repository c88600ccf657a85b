package lmdb

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"suffix/pkg/table"
	"suffix/pkg/table/dbfile"
)

// FuzzFile: a file with any content can be searched, listed and changed in
// bounded time, without a panic.
func FuzzFile(f *testing.F) {
	dir := f.TempDir()
	for i, n := range []int{0, 2, 40} {
		spec := "lmdb:" + dir + "/" + string(rune('a'+i))
		m := make(map[string]string)
		for k := range n {
			m[fmt.Sprint("key", k)] = strings.Repeat("v", k*8)
		}
		build(f, spec, m, 0)
		m["big"] = strings.Repeat("v", 5000)
		build(f, spec, m, 0)
		data, err := os.ReadFile(spec[5:] + suffix)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "key7", "one")
		f.Add(data[:len(data)*2/3], "big", strings.Repeat("two", 2000))
		for at := 16; at < len(data); at += 251 {
			damaged := append([]byte(nil), data...)
			damaged[at] ^= 0xff
			f.Add(damaged, "key39", "three")
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, key, value string) {
		im, err := parse(data)
		if err != nil {
			return
		}
		im.meta.main.get(&im, []byte(key), byBytes)
		c := cursor{access: func(f func(pages, *meta, bool) error) error { return f(&im, &im.meta, false) }}
		for listed := 0; ; listed++ {
			_, _, ok, err := c.Next()
			if err != nil || !ok {
				break
			}
			if listed > len(data) {
				t.Fatal("the list does not end")
			}
		}
		if len(key) == 0 || len(key) > maxKey {
			return
		}
		for _, change := range []func(tx *txn) error{
			func(tx *txn) error { return tx.put(&tx.meta.main, []byte(key), []byte(value), byBytes) },
			func(tx *txn) error { _, err := tx.del(&tx.meta.main, []byte(key), byBytes); return err },
			func(tx *txn) error { return tx.releaseTree(&im.meta.main) },
		} {
			tx := begin(im)
			if change(tx) == nil && tx.saveFree() == nil && uint64(len(data))/uint64(im.pageSize) > im.meta.last {
				// What is new must be right, whatever the file was.
				if v, ok, err := tx.meta.main.get(tx, []byte(key), byBytes); ok && err == nil && tx.meta.main.entries > im.meta.main.entries && string(v) != value {
					t.Fatalf("stored %.40q, found %.40q", value, v)
				}
			}
		}
	})
}

// Reads of a file that is cut short or damaged fail with the library's words.
func TestDamaged(t *testing.T) {
	dir := t.TempDir()
	build(t, "lmdb:"+dir+"/x", map[string]string{"alice": "one", "bob": "two"}, 0)
	good, err := os.ReadFile(dir + "/x" + suffix)
	if err != nil {
		t.Fatal(err)
	}
	with := func(at int, b ...byte) []byte {
		d := append([]byte(nil), good...)
		copy(d[at:], b)
		return d
	}
	for _, c := range []struct {
		name   string
		data   []byte
		open   string
		lookup string
	}{
		{"empty", nil, "Bad file descriptor", ""},
		{"short", good[:100], "MDB_INVALID: File is not an LMDB file", ""},
		{"one page", good[:4100], "MDB_INVALID: File is not an LMDB file", ""},
		{"zeros", make([]byte, 20000), "MDB_INVALID: File is not an LMDB file", ""},
		{"version", with(0x14, 2), "MDB_VERSION_MISMATCH: Database environment version mismatch", ""},
		{"no data", good[:8192], "", "MDB_PAGE_NOTFOUND: Requested page not found"},
		{"cut", good[:8300], "", "MDB_PAGE_NOTFOUND: Requested page not found"},
		{"root", with(0x1080, 0xff), "", "MDB_PAGE_NOTFOUND: Requested page not found"},
		{"kind", with(0x200a, 7), "", "MDB_CORRUPTED: Located page was wrong type"},
		{"offset", with(0x2010, 0xff, 0xff), "", "MDB_CORRUPTED: Located page was wrong type"},
	} {
		if err := os.WriteFile(dir+"/d"+suffix, c.data, 0o644); err != nil {
			t.Fatal(err)
		}
		h := table.Open("lmdb:"+dir+"/d", table.Options{Flags: table.Lock, Command: true})
		var got string
		if err := h.Err(); err != nil {
			got = strings.TrimPrefix(err.Error(), "open database "+dir+"/d.lmdb: ")
			if got != c.open {
				t.Errorf("%s: open: %v", c.name, err)
			}
			h.Close()
			continue
		}
		_, _, err := h.Lookup("alice")
		if c.open != "" || err == nil || err.Error() != "error reading lmdb:"+dir+"/d: "+c.lookup {
			t.Errorf("%s: lookup: %v", c.name, err)
		}
		h.Close()
		// postmap makes it whole again.
		build(t, "lmdb:"+dir+"/d", map[string]string{"new": "value"}, 0)
		r := table.Open("lmdb:"+dir+"/d", table.Options{Flags: table.Lock, Command: true})
		if v, found, err := r.Lookup("new"); v != "value" || !found || err != nil {
			t.Errorf("%s: rebuilt: %q %v %v", c.name, v, found, err)
		}
		r.Close()
	}
}

// A program may cut the file short under a reader: lookups fail, the process
// lives.
func TestTruncatedUnderReader(t *testing.T) {
	spec := "lmdb:" + t.TempDir() + "/x"
	build(t, spec, entries(2000, 7), 0)
	r, err := openReader(spec[5:], table.Options{Command: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	err = dbfile.Guarded(errNoPage, func() error {
		if err := os.Truncate(spec[5:]+suffix, 0); err != nil {
			return err
		}
		im := &r.(*reader).h.im
		_, _, err := im.meta.main.get(im, []byte("anything"), byBytes)
		return err
	})
	if err != errNoPage {
		t.Errorf("lookup in a truncated file: %v", err)
	}
	if _, _, err := r.Lookup("anything"); err == nil {
		t.Error("no error")
	}
}
