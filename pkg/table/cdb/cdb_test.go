package cdb

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"suffix/pkg/table"
	"suffix/pkg/table/dbfile"
	"suffix/pkg/table/tabletest"
)

type entry struct{ key, value string }

// entries makes n random entries, some of them with long keys and values.
func entries(n int, seed uint64) []entry {
	r := rand.New(rand.NewPCG(seed, 1))
	word := func(limit int) string {
		b := make([]byte, 1+r.IntN(limit))
		for i := range b {
			b[i] = "abcdefghijklmnopqrstuvwxyz0123456789@.-_"[r.IntN(40)]
		}
		return string(b)
	}
	seen := make(map[string]bool, n)
	all := make([]entry, 0, n)
	for len(all) < n {
		e := entry{word(30), word(40)}
		switch r.IntN(100) {
		case 0:
			e.key = strings.Repeat(e.key, 1+r.IntN(3000))
		case 1:
			e.value = strings.Repeat(e.value, 1+r.IntN(10000))
		}
		if !seen[e.key] {
			seen[e.key] = true
			all = append(all, e)
		}
	}
	return all
}

func build(t testing.TB, path string, all []entry, flags table.Flags) {
	t.Helper()
	h := table.Open("cdb:"+path, table.Options{Mode: table.Bulk, Flags: flags, Command: true})
	if h.Err() != nil {
		t.Fatal(h.Err())
	}
	for _, e := range all {
		if err := h.Update(e.key, e.value); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}

func list(t testing.TB, h *table.Handle) []entry {
	t.Helper()
	c, err := h.Cursor()
	if err != nil {
		t.Fatal(err)
	}
	all := []entry{}
	for {
		k, v, ok, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return all
		}
		all = append(all, entry{k, v})
	}
}

func TestRoundTrip(t *testing.T) {
	for _, n := range []int{0, 1, 2, 1000, 20000} {
		for _, flags := range []table.Flags{0, table.Try1Null} {
			t.Run(fmt.Sprintf("%d/%d", n, flags), func(t *testing.T) {
				path := t.TempDir() + "/x"
				all := entries(n, uint64(n))
				build(t, path, all, flags)
				h := tabletest.Open(t, "cdb:"+path, table.Options{})
				for _, e := range all {
					if got := tabletest.Find(t, h, e.key); got != e.value {
						t.Fatalf("%.40q: got %.40q", e.key, got)
					}
				}
				for _, k := range []string{"", "no such key", strings.Repeat("z", 100000)} {
					if got := tabletest.Find(t, h, k); got != "none" {
						t.Errorf("%.40q: got %.40q", k, got)
					}
				}
				if got := list(t, h); !slices.Equal(got, all) {
					t.Errorf("listed %d entries, want %d", len(got), n)
				}
			})
		}
	}
}

// What happens to a key that is there already, and the order of the records.
func TestDuplicates(t *testing.T) {
	source := []entry{{"alice", "one"}, {"bob", "two"}, {"alice", "three"}, {"carol", "four"}, {"bob", "5"}, {"bob", "66"}, {"alice", "7"}}
	for _, c := range []struct {
		flags table.Flags
		log   []string
		alice string
		list  []entry
	}{
		{table.WarnDup, []string{"alice", "bob", "bob", "alice"}, "one", []entry{{"alice", "one"}, {"bob", "two"}, {"carol", "four"}}},
		{table.IgnoreDup, nil, "one", source},
		{table.ReplaceDup, nil, "7", []entry{{"carol", "four"}, {"bob", "66"}, {"alice", "7"}}},
	} {
		path := t.TempDir() + "/x"
		log := tabletest.Logged(t, func() { build(t, path, source, c.flags) })
		for i := range c.log {
			c.log[i] = fmt.Sprintf("warning: %s: duplicate entry: %q", path, c.log[i])
		}
		if !slices.Equal(log, c.log) {
			t.Errorf("logged %q, want %q", log, c.log)
		}
		h := tabletest.Open(t, "cdb:"+path, table.Options{})
		if got := tabletest.Find(t, h, "alice"); got != c.alice {
			t.Errorf("alice: %q", got)
		}
		if got := list(t, h); !slices.Equal(got, c.list) {
			t.Errorf("listed %q", got)
		}
	}
	h := tabletest.Open(t, "cdb:"+t.TempDir()+"/x", table.Options{Mode: table.Bulk})
	if err := h.Update("k", "v"); err != nil {
		t.Fatal(err)
	}
	if err := h.Update("k", "v"); !errors.Is(err, table.ErrDuplicate) {
		t.Errorf("second update: %v", err)
	}
}

// Many removed records, also such as are still in memory, leave no gap.
func TestReplaceMany(t *testing.T) {
	path := t.TempDir() + "/x"
	all := entries(3000, 1)
	source := slices.Clone(all)
	for i, e := range all {
		if i%3 == 0 {
			source = append(source, entry{e.key, "new " + e.value})
		}
	}
	var want []entry
	for i, e := range all {
		if i%3 != 0 {
			want = append(want, e)
		}
	}
	want = append(want, source[len(all):]...)
	build(t, path, source, table.ReplaceDup)
	h := tabletest.Open(t, "cdb:"+path, table.Options{})
	if got := list(t, h); !slices.Equal(got, want) {
		t.Errorf("listed %d entries, want %d", len(got), len(want))
	}
	for _, e := range want {
		if got := tabletest.Find(t, h, e.key); got != e.value {
			t.Fatalf("%.40q: got %.40q", e.key, got)
		}
	}
	other := t.TempDir() + "/y"
	build(t, other, want, 0)
	a, err := os.ReadFile(path + suffix)
	if err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(other + suffix)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(a, b) {
		t.Error("not the file that the same records give without removals")
	}
}

// The example of the format description.
func TestLayout(t *testing.T) {
	path := t.TempDir() + "/x"
	build(t, path, []entry{{"alice", "one"}, {"bob", "two"}}, 0)
	data, err := os.ReadFile(path + suffix)
	if err != nil {
		t.Fatal(err)
	}
	for off, want := range map[int]string{
		0:     "\x1e\x08\x00\x00\x00\x00\x00\x00",
		0x138: "\x1e\x08\x00\x00\x02\x00\x00\x00",
		0x550: "\x2e\x08\x00\x00\x02\x00\x00\x00",
		0x800: "\x05\x00\x00\x00\x03\x00\x00\x00aliceone\x03\x00\x00\x00\x03\x00\x00\x00bobtwo",
		0x81e: "\x00\x00\x00\x00\x00\x00\x00\x00\x27\xfb\x20\x0a\x00\x08\x00\x00",
		0x82e: "\x00\x00\x00\x00\x00\x00\x00\x00\xaa\x47\x87\x0b\x10\x08\x00\x00",
	} {
		if got := string(data[off : off+len(want)]); got != want {
			t.Errorf("at %#x: %q, want %q", off, got, want)
		}
	}
	if len(data) != 0x83e {
		t.Errorf("%d bytes", len(data))
	}
}

// dialect37 is a configuration of the old behaviour.
type dialect37 struct{ table.Config }

func (dialect37) Dialect37() bool { return true }

// A cdb cannot be changed, and Postfix 3.7 cannot list it.
func TestNotSupported(t *testing.T) {
	path := t.TempDir() + "/x"
	build(t, path, []entry{{"a", "b"}}, 0)
	if _, err := open("cdb", path, table.Options{Mode: table.ReadWrite}); err == nil || err.Error() != "unsupported non-bulk change request" {
		t.Error(err)
	}
	old := table.Options{Config: dialect37{}}
	r, err := open("cdb", path, old)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, ok := r.(table.Sequencer); ok {
		t.Error("the old dialect lists a cdb")
	}
	old.Mode = table.ReadWrite
	const text = `dict_cdb_open: inappropriate open flags for cdb database - specify O_RDONLY or O_WRONLY|O_CREAT|O_TRUNC`
	if _, err := open("cdb", path, old); err == nil || err.Error() != text {
		t.Error(err)
	}
	if _, err := open("cdb", path+"no", table.Options{}); err == nil || err.Error() != "open database "+path+"no.cdb: No such file or directory" {
		t.Error(err)
	}
}

// A reader keeps the old file and knows that there is a new one.
func TestReplacedUnderReader(t *testing.T) {
	path := t.TempDir() + "/x"
	build(t, path, []entry{{"k", "old"}}, 0)
	h := tabletest.Open(t, "cdb:"+path, table.Options{})
	if h.Changed() {
		t.Error("changed at once")
	}
	build(t, path, []entry{{"k", "new"}}, 0)
	if !h.Changed() {
		t.Error("does not count as changed")
	}
	if got := tabletest.Find(t, h, "k"); got != "old" {
		t.Errorf("%q", got)
	}
	h = tabletest.Open(t, "cdb:"+path, table.Options{})
	if got := tabletest.Find(t, h, "k"); got != "new" {
		t.Errorf("%q", got)
	}
}

// Two builders: the second waits, and then writes a file of its own.
func TestTwoBuilders(t *testing.T) {
	path := t.TempDir() + "/x"
	first, err := openWriter(path, table.Options{Command: true})
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error)
	go func() {
		second, err := openWriter(path, table.Options{Command: true, Perm: 0o600}) // waits
		if err == nil {
			err = second.(*writer).Update("second", "2")
		}
		if err == nil {
			err = second.Close()
		}
		result <- err
	}()
	if err := first.(*writer).Update("first", "1"); err != nil {
		t.Fatal(err)
	}
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-result; err != nil {
		t.Fatal(err)
	}
	h := tabletest.Open(t, "cdb:"+path, table.Options{})
	if got := list(t, h); !slices.Equal(got, []entry{{"second", "2"}}) {
		t.Errorf("%q", got)
	}
	if info, err := os.Stat(path + suffix); err != nil || info.Mode().Perm()&0o077 != 0 {
		t.Errorf("%v %v", info, err)
	}
	if _, err := os.Stat(path + tempSuffix); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
}

// A full disk: the error tells, the old table stays, nothing is left behind.
func TestWriteError(t *testing.T) {
	path := t.TempDir() + "/x"
	build(t, path, []entry{{"k", "old"}}, 0)
	w, err := openWriter(path, table.Options{Command: true})
	if err != nil {
		t.Fatal(err)
	}
	w.(*writer).b.f = full{w.(*writer).f}
	if err := w.(*writer).Update("k", strings.Repeat("v", 2*bufferSize)); err == nil ||
		err.Error() != "error writing "+path+".cdb.tmp: No space left on device" {
		t.Error(err)
	}
	if err := w.Close(); err == nil || err.Error() != "error writing "+path+".cdb.tmp: No space left on device" {
		t.Error(err)
	}
	h := tabletest.Open(t, "cdb:"+path, table.Options{})
	if got := tabletest.Find(t, h, "k"); got != "old" {
		t.Errorf("%q", got)
	}
	if _, err := os.Stat(path + tempSuffix); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
}

type full struct{ *os.File }

func (full) WriteAt([]byte, int64) (int, error) { return 0, unix.ENOSPC }

// Positions have 32 bits.
func TestTooLarge(t *testing.T) {
	w, err := openWriter(t.TempDir()+"/x", table.Options{Command: true})
	if err != nil {
		t.Fatal(err)
	}
	w.(*writer).b.flushed = maxSize - headerSize - 100
	if err := w.(*writer).Update("key", "value"); err != nil {
		t.Fatal(err)
	}
	if err := w.(*writer).Update("another key", strings.Repeat("v", 100)); err == nil || !strings.HasSuffix(err.Error(), ".cdb.tmp: Cannot allocate memory") {
		t.Error(err)
	}
	w.(*writer).b.flushed += 75 // no room for the hash tables
	if err := w.Close(); err == nil || !strings.HasSuffix(err.Error(), ".cdb.tmp: Cannot allocate memory") {
		t.Error(err)
	}
}

// Files that contradict themselves fail in libcdb's words.
func TestDamaged(t *testing.T) {
	path := t.TempDir() + "/x"
	build(t, path, []entry{{"alice", "one"}, {"bob", "two"}}, 0)
	good, err := os.ReadFile(path + suffix)
	if err != nil {
		t.Fatal(err)
	}
	for _, size := range []int{0, 1000, headerSize - 1} {
		if err := os.WriteFile(path+suffix, good[:size], 0o644); err != nil {
			t.Fatal(err)
		}
		want := "dict_cdbq_open: unable to init " + path + ".cdb: Protocol error"
		if _, err := open("cdb", path, table.Options{}); err == nil || err.Error() != want {
			t.Errorf("%d bytes: %v", size, err)
		}
	}
	for _, c := range []struct {
		at    int
		value uint32
		want  string
	}{
		{0x138, 0xfffffff0, "error"}, {0x13c, 0x7fffffff, "error"}, {0x82a, 0xfffffff0, "error"}, {0x800, 0x7fffffff, "none"},
		{0x804, 0x7fffffff, "error"}, {0x13c, 0, "none"}, {0, 0x7fffffff, "error"}, {0, 100, "error"},
	} {
		data := slices.Clone(good)
		le.PutUint32(data[c.at:], c.value)
		if err := os.WriteFile(path+suffix, data, 0o644); err != nil {
			t.Fatal(err)
		}
		h := table.Open("cdb:"+path, table.Options{Command: true})
		if got := tabletest.Find(t, h, "alice"); got != c.want {
			t.Errorf("%#x at %#x: %s, want %s", c.value, c.at, got, c.want)
		}
		h.Close()
	}
}

// A program may cut the file short under a reader: lookups fail, the process
// lives.
func TestTruncatedUnderReader(t *testing.T) {
	path := t.TempDir() + "/x"
	build(t, path, entries(2000, 7), 0)
	r, err := openReader(path, table.Options{Command: true})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := os.Truncate(path+suffix, 0); err != nil {
		t.Fatal(err)
	}
	if _, _, err := r.Lookup("anything"); err == nil || err.Error() != "error reading "+path+".cdb: Protocol error" {
		t.Error(err)
	}
}

// FuzzFile: a file with any content can be searched and listed.
func FuzzFile(f *testing.F) {
	path := f.TempDir() + "/x"
	for _, n := range []int{0, 2, 30} {
		build(f, path, entries(n, 3), 0)
		data, err := os.ReadFile(path + suffix)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data, "alice")
		f.Add(data[:len(data)-5], "bob")
	}
	f.Fuzz(func(t *testing.T, data []byte, key string) {
		im, err := parse(data)
		if err != nil {
			return
		}
		null := dbfile.NullBoth
		null.Find(key, im.lookup)
		listed := 0
		for pos := uint32(headerSize); ; listed++ {
			_, _, after, ok, err := im.next(pos)
			if err != nil || !ok {
				break
			}
			pos = after
		}
		if listed > len(data) {
			t.Fatal("the list is longer than the file")
		}
	})
}
