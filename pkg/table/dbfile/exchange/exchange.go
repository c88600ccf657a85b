//go:build interop

// Package exchange proves, for one table type after the other, that Debian's
// postmap(1) and our driver read and change each other's files. The tests of
// the drivers call it.
package exchange

import (
	"bytes"
	"fmt"
	"hash/maphash"
	"io"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"suffix/pkg/table"
)

// A Kind is a table type under test.
type Kind struct {
	Type   string
	Suffix string
	// MaxKey is the length of the longest keys that are tried.
	MaxKey int
	// Check, if not nil, looks for faults in a file.
	Check func(t testing.TB, path string)
}

// config gives Debian's postmap room to build a large table in one go.
const config = `compatibility_level = 3.6
berkeley_db_create_buffer_size = 200000000
lmdb_map_size = 200000000
`

// Dir makes a directory with a configuration for Debian's postmap. Its main.cf
// is old: the program waits until one that has just been written cools down.
func Dir(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(dir+"/main.cf", []byte(config), 0o644); err != nil {
		t.Fatal(err)
	}
	old := time.Now().Add(-time.Hour)
	if err := os.Chtimes(dir+"/main.cf", old, old); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Postmap runs Debian's postmap in a directory made by Dir and returns what it
// prints. Only a query may end with a status that is not 0, and that without a
// message.
func Postmap(t testing.TB, dir string, stdin io.Reader, args ...string) string {
	t.Helper()
	out, err := Run(dir, stdin, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// Run is Postmap for another goroutine than the test's.
func Run(dir string, stdin io.Reader, args ...string) (string, error) {
	cmd := exec.Command("/usr/sbin/postmap", append([]string{"-c", dir}, args...)...)
	cmd.Stdin = stdin
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := cmd.Run(); err != nil && (messages.Len() > 0 || !slices.Contains(args, "-q")) {
		return "", fmt.Errorf("postmap %v: %w: %s", args, err, &messages)
	}
	return out.String(), nil
}

// Entries makes n random entries, some of them with long keys and values.
func Entries(n, maxKey int, seed uint64) map[string]string {
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
		switch r.IntN(100) {
		case 0, 1, 2:
			k = (strings.Repeat("common-prefix/", r.IntN(min(maxKey, 7000)/14)) + k)
		case 3:
			k = strings.Repeat(k, maxKey/len(k))
		case 4, 5, 6:
			v = strings.Repeat(v, 1+r.IntN(100))
		case 7:
			v = strings.Repeat(v, 1+r.IntN(2000))
		}
		m[k[:min(len(k), maxKey)]] = v
	}
	return m
}

// source writes entries as the source text of a table.
func source(t testing.TB, path string, m map[string]string) {
	t.Helper()
	var b bytes.Buffer
	for k, v := range m {
		fmt.Fprintf(&b, "%s %s\n", k, v)
	}
	if err := os.WriteFile(path, b.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
}

// build makes a table with our driver.
func build(t testing.TB, spec string, m map[string]string, flags table.Flags) {
	t.Helper()
	h := open(t, spec, table.Bulk, flags)
	for k, v := range m {
		if err := h.Update(k, v); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.Close(); err != nil {
		t.Fatal(err)
	}
}

func open(t testing.TB, spec string, mode table.Mode, flags table.Flags) *table.Handle {
	t.Helper()
	h := table.Open(spec, table.Options{Mode: mode, Flags: flags, Command: true})
	if h.Err() != nil {
		t.Fatal(h.Err())
	}
	return h
}

// weFind looks up and lists all entries with our driver.
func weFind(t testing.TB, spec string, m map[string]string) {
	t.Helper()
	h := open(t, spec, table.ReadOnly, table.Lock)
	defer h.Close()
	for k, v := range m {
		got, found, err := h.Lookup(k)
		if err != nil || !found || got != v {
			t.Fatalf("%s: %.40q: got %.40q %v %v", spec, k, got, found, err)
		}
	}
	for _, k := range []string{"no such key", strings.Repeat("common-prefix/", 35), strings.Repeat("z", 500)} {
		if _, found, err := h.Lookup(k); found || err != nil {
			t.Fatalf("%s: %.40q: found %v, error %v", spec, k, found, err)
		}
	}
	listed := make(map[string]string, len(m))
	eachListed(t, h, func(k, v string) { listed[k] = v })
	if !maps.Equal(listed, m) {
		t.Fatalf("%s: listed %d entries, want %d", spec, len(listed), len(m))
	}
}

func eachListed(t testing.TB, h *table.Handle, f func(k, v string)) {
	t.Helper()
	c, err := h.Cursor()
	if err != nil {
		t.Fatal(err)
	}
	for {
		k, v, ok, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return
		}
		f(k, v)
	}
}

// theyFind looks up all entries with Debian's postmap, and lists them where it
// can.
func (k Kind) theyFind(t testing.TB, dir, spec string, m map[string]string) {
	t.Helper()
	var keys strings.Builder
	for key := range m {
		keys.WriteString(key + "\n")
	}
	found := pairs(Postmap(t, dir, strings.NewReader(keys.String()), "-q", "-", spec))
	if !maps.Equal(found, m) {
		t.Fatalf("%s: Debian's postmap finds %d entries of %d", spec, len(found), len(m))
	}
	if k.Type == "cdb" { // 3.7 does not list them
		return
	}
	if listed := pairs(Postmap(t, dir, nil, "-s", spec)); !maps.Equal(listed, m) {
		t.Fatalf("%s: Debian's postmap lists %d entries of %d", spec, len(listed), len(m))
	}
}

// pairs reads "key TAB value" lines.
func pairs(text string) map[string]string {
	m := make(map[string]string)
	for line := range strings.Lines(text) {
		k, v, _ := strings.Cut(strings.TrimSuffix(line, "\n"), "\t")
		m[k] = v
	}
	return m
}

func (k Kind) check(t testing.TB, path string) {
	t.Helper()
	if k.Check != nil {
		k.Check(t, path+k.Suffix)
	}
}

// Files exchanges files of several sizes in both directions, the smaller ones
// with all conventions of trailing NULs.
func (k Kind) Files(t *testing.T) {
	for _, n := range []int{0, 1, 2, 1000, 10000} {
		for option, flag := range map[string]table.Flags{"": 0, "-N": table.Try1Null, "-n": table.Try0Null} {
			if n > 1000 && flag != 0 {
				continue
			}
			t.Run(fmt.Sprint(k.Type, n, option), func(t *testing.T) {
				dir := Dir(t)
				m := Entries(n, k.MaxKey, uint64(n))
				spec := k.Type + ":" + dir + "/x"
				source(t, dir+"/x", m)
				args := []string{spec}
				if option != "" {
					args = []string{option, spec}
				}
				Postmap(t, dir, nil, args...)
				weFind(t, spec, m)

				spec = k.Type + ":" + dir + "/y"
				build(t, spec, m, flag)
				k.check(t, dir+"/y")
				k.theyFind(t, dir, spec, m)
			})
		}
	}
}

// Changes lets Debian's postmap add to and delete from our file, and us change
// what it has changed.
func (k Kind) Changes(t *testing.T) {
	dir := Dir(t)
	m := Entries(1200, k.MaxKey, 77)
	spec := k.Type + ":" + dir + "/x"
	build(t, spec, m, 0)
	for round := range 2 {
		theirs, gone := k.plan(m, uint64(round)*10+78)
		var text strings.Builder
		for key, v := range theirs {
			fmt.Fprintf(&text, "%s %s\n", key, v)
		}
		Postmap(t, dir, strings.NewReader(strings.Join(gone, "\n")+"\n"), "-d", "-", spec)
		Postmap(t, dir, strings.NewReader(text.String()), "-r", "-i", spec)
		k.check(t, dir+"/x")
		weFind(t, spec, m)

		ours, gone := k.plan(m, uint64(round)*10+79)
		h := open(t, spec, table.ReadWrite, table.BulkUpdate|table.ReplaceDup|table.Lock)
		for _, key := range gone {
			if found, err := h.Delete(key); !found || err != nil {
				t.Fatal(found, err)
			}
		}
		for key, v := range ours {
			if err := h.Update(key, v); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
		k.check(t, dir+"/x")
		k.theyFind(t, dir, spec, m)
	}
}

// plan changes a third of m, and returns what is to be stored and deleted.
func (k Kind) plan(m map[string]string, seed uint64) (stored map[string]string, gone []string) {
	stored = Entries(150, k.MaxKey, seed)
	n := 0
	for _, key := range slices.Sorted(maps.Keys(m)) {
		switch n++; n % 8 {
		case 0, 1:
			gone = append(gone, key)
			delete(stored, key)
			delete(m, key)
		case 2:
			stored[key] = m[key] + "-changed"
		}
	}
	maps.Copy(m, stored)
	return stored, gone
}

// million is how many entries the largest file has.
const million = 1000000

// entry makes entry i of the large file; their order is that of the keys.
func entry(b []byte, i int) (key, value []byte) {
	b = fmt.Appendf(b[:0], "user%07d@example%d.com value%d", i, i%1000, i)
	n := bytes.IndexByte(b, ' ')
	return b[:n], b[n+1:]
}

// sum is the same for the same entries in any order.
type sum struct {
	n    int
	seed maphash.Seed
	x    uint64
}

func (s *sum) add(key, value []byte) {
	s.n++
	s.x += maphash.Bytes(s.seed, key) * (1 + maphash.Bytes(s.seed, value))
}

// Million exchanges a file of 1,000,000 entries in both directions. We list all
// of theirs; a quarter are looked up on each side. (Listing ours by Debian's
// postmap takes long, as it locks the file for each entry; Files does that.)
func (k Kind) Million(t *testing.T) {
	t.Parallel()
	dir := Dir(t)
	want := sum{seed: maphash.MakeSeed()}
	var b, text, keys []byte
	for i := range million {
		key, value := entry(b, i)
		want.add(key, value)
		text = append(append(append(append(text, key...), ' '), value...), '\n')
		if i%4 == 3 {
			keys = append(append(keys, key...), '\n')
		}
	}
	if err := os.WriteFile(dir+"/x", text, 0o644); err != nil {
		t.Fatal(err)
	}
	theirs := k.Type + ":" + dir + "/x"
	Postmap(t, dir, nil, theirs)
	h := open(t, theirs, table.ReadOnly, table.Reader)
	got := sum{seed: want.seed}
	eachListed(t, h, func(key, value string) { got.add([]byte(key), []byte(value)) })
	if got != want {
		t.Errorf("we list %d entries of theirs, not the same %d", got.n, want.n)
	}
	for i := 3; i < million; i += 4 {
		key, value := entry(b, i)
		if v, found, err := h.Lookup(string(key)); v != string(value) || !found || err != nil {
			t.Fatalf("%s: %q %v %v", key, v, found, err)
		}
	}
	h.Close()

	ours := k.Type + ":" + dir + "/y"
	w := open(t, ours, table.Bulk, table.WarnDup|table.Lock|table.FoldFix)
	for line := range bytes.Lines(text) {
		key, value, _ := bytes.Cut(line[:len(line)-1], []byte(" "))
		if err := w.Update(string(key), string(value)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	k.check(t, dir+"/y")
	found := Postmap(t, dir, bytes.NewReader(keys), "-q", "-", ours)
	n := 0
	for line := range strings.Lines(found) {
		key, value := entry(b, 4*n+3)
		if line != string(key)+"\t"+string(value)+"\n" {
			t.Fatalf("Debian's postmap finds %q for %s", line, key)
		}
		n++
	}
	if n != million/4 {
		t.Errorf("Debian's postmap finds %d entries", n)
	}
}

// Live keeps a reader at work while the other side rebuilds the table, in both
// directions: no lookup fails, and new readers see the new content.
func (k Kind) Live(t *testing.T) {
	dir := Dir(t)
	const keys, rebuilds = 2000, 6
	spec := k.Type + ":" + dir + "/x"
	generation := func(g int) map[string]string {
		m := make(map[string]string, keys)
		for i := range keys {
			m[fmt.Sprint("key", i)] = fmt.Sprint("generation", g)
		}
		return m
	}
	source(t, dir+"/x", generation(0))
	Postmap(t, dir, nil, spec)

	stop, result := make(chan bool), make(chan error, 1)
	go func() {
		result <- reading(spec, keys, stop)
	}()
	for g := range rebuilds {
		source(t, dir+"/x", generation(g+1))
		Postmap(t, dir, nil, spec)
	}
	close(stop)
	if err := <-result; err != nil {
		t.Errorf("our reader: %v", err)
	}
	weFind(t, spec, generation(rebuilds))

	var text strings.Builder
	for i := range 100 * keys {
		fmt.Fprintf(&text, "key%d\n", i%keys)
	}
	type output struct {
		text string
		err  error
	}
	done := make(chan output, 1)
	go func() {
		out, err := Run(dir, strings.NewReader(text.String()), "-q", "-", spec)
		done <- output{out, err}
	}()
	for g := 0; ; g++ {
		build(t, spec, generation(g), table.ReplaceDup)
		select {
		case out := <-done:
			if out.err != nil {
				t.Fatalf("their reader: %v", out.err)
			}
			if n := strings.Count(out.text, "\tgeneration"); n != 100*keys {
				t.Errorf("their reader finds %d of %d while we rebuild", n, 100*keys)
			}
			k.theyFind(t, dir, spec, generation(g))
			return
		default:
		}
	}
}

// reading looks up keys as a daemon does, until stop is closed: it opens a
// table anew when that says that it has changed.
func reading(spec string, keys int, stop chan bool) error {
	var h *table.Handle
	for i := 0; ; i++ {
		select {
		case <-stop:
			return h.Close()
		default:
		}
		if h != nil && i%100 == 0 && h.Changed() {
			if err := h.Close(); err != nil {
				return err
			}
			h = nil
		}
		if h == nil {
			if h = table.Open(spec, table.Options{Flags: table.Reader, Command: true}); h.Err() != nil {
				return h.Err()
			}
		}
		v, found, err := h.Lookup(fmt.Sprint("key", i%keys))
		if err != nil || !found || !strings.HasPrefix(v, "generation") {
			return fmt.Errorf("lookup %d: %q %v %w", i, v, found, err)
		}
	}
}
