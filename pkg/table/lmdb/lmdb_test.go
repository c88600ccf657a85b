package lmdb

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"

	"suffix/pkg/table"
	"suffix/pkg/table/tabletest"
)

// TestMain saves the tests thousands of waits for the disk.
func TestMain(m *testing.M) {
	toDisk = func(int) error { return nil }
	os.Exit(m.Run())
}

// entries makes n random entries, some of them with long keys and values.
func entries(n int, seed uint64) map[string]string {
	r := rand.New(rand.NewPCG(seed, 1))
	m := make(map[string]string, n)
	for len(m) < n {
		k, v := randomEntry(r)
		m[k] = v
	}
	return m
}

func randomEntry(r *rand.Rand) (key, value string) {
	word := func(limit int) string {
		b := make([]byte, 1+r.IntN(limit))
		for i := range b {
			b[i] = "abcdefghijklmnopqrstuvwxyz0123456789@.-_"[r.IntN(40)]
		}
		return string(b)
	}
	key, value = word(30), word(40)
	switch r.IntN(40) {
	case 0:
		key = strings.Repeat("common-prefix/", r.IntN(34)) + key
	case 1:
		value = strings.Repeat(value, 1+r.IntN(500))
	case 2:
		value = strings.Repeat(value, 1+r.IntN(100))
	}
	return key, value
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

// check reads everything back through a reader.
func check(t testing.TB, spec string, m map[string]string) {
	t.Helper()
	h := tabletest.Open(t, spec, table.Options{Flags: table.Lock})
	for k, v := range m {
		got, found, err := h.Lookup(k)
		if err != nil || !found || got != v {
			t.Fatalf("%s: %.40q: got %.40q %v %v", spec, k, got, found, err)
		}
	}
	for _, k := range []string{"no such key", strings.Repeat("common-prefix/", 30), strings.Repeat("z", 510), strings.Repeat("z", 100000)} {
		if _, found, err := h.Lookup(k); found || err != nil {
			t.Fatalf("%s: %.40q: found %v, error %v", spec, k, found, err)
		}
	}
	checkList(t, h, m)
	path := strings.TrimPrefix(spec, "lmdb:") + suffix
	checkFile(t, path)
}

func checkList(t testing.TB, h *table.Handle, m map[string]string) {
	t.Helper()
	c, err := h.Cursor()
	if err != nil {
		t.Fatal(err)
	}
	listed, last := 0, ""
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
		if listed > 0 && k <= last {
			t.Fatalf("%.40q listed after %.40q", k, last)
		}
		last = k
		listed++
	}
	if listed != len(m) {
		t.Fatalf("listed %d of %d", listed, len(m))
	}
}

// checkFile proves that a file is right in itself: each page is in use once or
// free once, the counts are true, the keys are in order, and branch pages have
// two children or more, as the library insists.
func checkFile(t testing.TB, path string) image {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	im, err := parse(data)
	if err != nil {
		t.Fatal(err)
	}
	used := make(map[uint64]string)
	use := func(number uint64, n int, what string) {
		for i := range n {
			if before := used[number+uint64(i)]; before != "" {
				t.Fatalf("page %d is used twice: %s, %s", number+uint64(i), before, what)
			}
			used[number+uint64(i)] = what
		}
	}
	var walk func(number uint64, low, high []byte, depth int, got *tree, cmp order, main bool)
	walk = func(number uint64, low, high []byte, depth int, got *tree, cmp order, main bool) {
		p, err := im.page(number)
		if err != nil {
			t.Fatalf("page %d: %v", number, err)
		}
		use(number, 1, "tree")
		got.depth = max(got.depth, uint16(depth))
		if p.leaf() {
			got.leaf++
			if depth != int(got.depth) {
				t.Fatalf("leaf %d at depth %d", number, depth)
			}
		} else {
			got.branch++
			if p.count() < 2 && main {
				t.Fatalf("branch page %d has %d children", number, p.count())
			}
		}
		if p.count() == 0 {
			t.Fatalf("page %d is empty", number)
		}
		if sum := sizeSum(t, p); sum != len(p)-p.upper() {
			t.Fatalf("page %d: nodes of %d bytes in %d", number, sum, len(p)-p.upper())
		}
		for i := range p.count() {
			n, err := p.node(i)
			if err != nil {
				t.Fatal(err)
			}
			key := n.key()
			if p.leaf() || i > 0 {
				if low != nil && cmp(key, low) < 0 || high != nil && cmp(key, high) >= 0 {
					t.Fatalf("page %d: key %q not from %q to %q", number, key, low, high)
				}
			}
			if p.leaf() {
				got.entries++
				low = append(bytes.Clone(key), 0)
				if !main {
					low = freeKey(le.Uint64(key) + 1)
				}
				if n.big() {
					data, err := n.inline()
					if err != nil {
						t.Fatal(err)
					}
					first, count := le.Uint64(data), overflowPages(im.pageSize, uint64(n.valueLen()))
					head, err := im.bytes(first, 0, headerSize)
					if err != nil || int(le.Uint32(head[offCount:])) != count {
						t.Fatalf("overflow page %d: %v", first, err)
					}
					use(first, count, "overflow")
					got.overflow += uint64(count)
				}
				continue
			}
			from, to := low, high
			if i > 0 {
				from = key
			} else if len(key) > 0 && main {
				t.Fatalf("page %d: the first child has a key", number)
			}
			if i+1 < p.count() {
				after, err := p.node(i + 1)
				if err != nil {
					t.Fatal(err)
				}
				to = after.key()
			}
			walk(n.child(), from, to, depth+1, got, cmp, main)
		}
	}
	for _, tr := range []struct {
		tree
		cmp  order
		main bool
	}{{im.meta.main, byBytes, true}, {im.meta.free, byNumber, false}} {
		got := tree{pad: tr.pad, flags: tr.flags, root: tr.root}
		if tr.root != noPage {
			walk(tr.root, nil, nil, 1, &got, tr.cmp, tr.main)
		}
		if got != tr.tree {
			t.Fatalf("tree record %+v, file has %+v", tr.tree, got)
		}
	}
	for id := uint64(0); ; {
		next, list, err := im.freeAfter(id)
		if err != nil {
			t.Fatal(err)
		}
		if list == nil {
			break
		}
		if next > im.meta.txn {
			t.Fatalf("free record %d of transaction %d", next, im.meta.txn)
		}
		for _, number := range list {
			use(number, 1, "free")
		}
		id = next
	}
	if uint64(len(used)) != im.meta.last-1 {
		t.Fatalf("%d of %d pages are neither used nor free", im.meta.last-1-uint64(len(used)), im.meta.last-1)
	}
	return im
}

func sizeSum(t testing.TB, p page) int {
	sum := 0
	for i := range p.count() {
		n, err := p.node(i)
		if err == nil {
			n, err = n.whole(p.leaf())
		}
		if err != nil {
			t.Fatal(err)
		}
		sum += even(len(n))
	}
	return sum
}

func TestBuild(t *testing.T) {
	for _, n := range []int{0, 1, 2, 100, 1000, 8000} {
		for _, flags := range []table.Flags{0, table.Try0Null} {
			t.Run(fmt.Sprintf("%d/%d", n, flags), func(t *testing.T) {
				spec := "lmdb:" + t.TempDir() + "/x"
				// Again and again in one file: the pages of the old content
				// are used, so it does not grow for ever.
				var sizes []uint64
				for round := range 6 {
					m := entries(n, uint64(round))
					build(t, spec, m, flags)
					check(t, spec, m)
					sizes = append(sizes, checkFile(t, spec[5:]+suffix).meta.last)
				}
				if sizes[5] > sizes[2]+sizes[2]/20+10 {
					t.Errorf("the file grows: %v", sizes)
				}
			})
		}
	}
}

// Random changes, by single transactions and by many in one, give what a map
// has.
func TestChanges(t *testing.T) {
	for _, flags := range []table.Flags{table.ReplaceDup, table.ReplaceDup | table.BulkUpdate} {
		for seed := range uint64(4) {
			t.Run(fmt.Sprintf("%d/%d", flags, seed), func(t *testing.T) {
				r := rand.New(rand.NewPCG(seed, 2))
				spec := "lmdb:" + t.TempDir() + "/x"
				m := entries(3000, seed)
				build(t, spec, m, 0)
				keys := slices.Sorted(maps.Keys(m))
				ops := 150
				if flags&table.BulkUpdate != 0 {
					ops = 4000
				}
				for round := range 4 {
					h := table.Open(spec, table.Options{Mode: table.ReadWrite, Flags: flags | table.Lock, Command: true})
					if h.Err() != nil {
						t.Fatal(h.Err())
					}
					for range ops {
						change(t, r, h, m, &keys, round%2 == 1)
					}
					checkList(t, h, m)
					if err := h.Close(); err != nil {
						t.Fatal(err)
					}
					check(t, spec, m)
				}
				empty(t, spec, m, flags)
			})
		}
	}
}

// change makes one random change of a table and of the map that it must equal.
func change(t *testing.T, r *rand.Rand, h *table.Handle, m map[string]string, keys *[]string, shrink bool) {
	t.Helper()
	if remove := r.IntN(3) == 0; remove != shrink && len(*keys) > 0 {
		i := r.IntN(len(*keys))
		k := (*keys)[i]
		(*keys)[i] = (*keys)[len(*keys)-1]
		*keys = (*keys)[:len(*keys)-1]
		_, there := m[k]
		delete(m, k)
		found, err := h.Delete(k)
		if err != nil || found != there {
			t.Fatalf("delete %q: %v %v, want %v", k, found, err, there)
		}
		return
	}
	k, v := randomEntry(r)
	if r.IntN(4) == 0 && len(*keys) > 0 {
		k = (*keys)[r.IntN(len(*keys))]
	} else {
		*keys = append(*keys, k)
	}
	m[k] = v
	if err := h.Update(k, v); err != nil {
		t.Fatal(err)
	}
	if got, found, err := h.Lookup(k); got != v || !found || err != nil {
		t.Fatalf("just stored: %.40q %v %v", got, found, err)
	}
}

// empty deletes all entries: in the end there is no tree.
func empty(t *testing.T, spec string, m map[string]string, flags table.Flags) {
	t.Helper()
	h := table.Open(spec, table.Options{Mode: table.ReadWrite, Flags: flags | table.BulkUpdate, Command: true})
	if h.Err() != nil {
		t.Fatal(h.Err())
	}
	for k := range m {
		if found, err := h.Delete(k); !found || err != nil {
			t.Fatal(found, err)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
	check(t, spec, nil)
	if im := checkFile(t, spec[5:]+suffix); im.meta.main != (tree{root: noPage}) {
		t.Errorf("left behind: %+v", im.meta.main)
	}
}

// A cache that is updated for ever does not grow for ever.
func TestSteadySize(t *testing.T) {
	spec := "lmdb:" + t.TempDir() + "/x"
	build(t, spec, entries(10000, 1), 0)
	build(t, spec, entries(10000, 2), 0) // so that there is a long list of free pages
	h := table.Open(spec, table.Options{Mode: table.ReadWrite, Flags: table.ReplaceDup | table.Lock, Command: true})
	if h.Err() != nil {
		t.Fatal(h.Err())
	}
	defer h.Close()
	before := checkFile(t, spec[5:]+suffix).meta
	for i := range 500 {
		if err := h.Update(fmt.Sprint("client", i%50), strings.Repeat("v", i%3000)); err != nil {
			t.Fatal(err)
		}
	}
	after := checkFile(t, spec[5:]+suffix).meta
	if after.last > before.last+20 {
		t.Errorf("grown from %d to %d pages", before.last, after.last)
	}
	if after.txn != before.txn+500 {
		t.Errorf("%d transactions", after.txn-before.txn)
	}
}
