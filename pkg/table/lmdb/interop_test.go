//go:build interop

package lmdb

import (
	"fmt"
	"strings"
	"testing"

	"suffix/pkg/table"
	"suffix/pkg/table/dbfile/exchange"
)

var kind = exchange.Kind{Type: "lmdb", Suffix: suffix, MaxKey: 510,
	Check: func(t testing.TB, path string) { t.Helper(); checkFile(t, path) }}

func TestFilesOfDebian(t *testing.T)    { kind.Files(t) }
func TestChangesOfDebian(t *testing.T)  { kind.Changes(t) }
func TestMillionOfDebian(t *testing.T)  { kind.Million(t) }
func TestLiveWithDebian(t *testing.T)   { kind.Live(t) }
func TestCommandsOfDebian(t *testing.T) { kind.Commands(t) }

// TestBothWrite: Debian's postmap deletes entries while we delete others and
// add some. (Its -i takes no lock in 3.7, so two of those at once lose updates;
// -d does.)
func TestBothWrite(t *testing.T) {
	dir := exchange.Dir(t)
	spec := "lmdb:" + dir + "/x"
	m := make(map[string]string)
	var theirs strings.Builder
	for i := range 1500 {
		m[fmt.Sprint("key", i)] = fmt.Sprint("value", i)
		if i%3 == 0 {
			fmt.Fprintf(&theirs, "key%d\n", i)
		}
	}
	build(t, spec, m, 0)
	done := make(chan error, 1)
	go func() {
		_, err := exchange.Run(dir, strings.NewReader(theirs.String()), "-d", "-", spec)
		done <- err
	}()
	for _, flags := range []table.Flags{table.Lock, table.Lock | table.BulkUpdate} {
		h := table.Open(spec, table.Options{Mode: table.ReadWrite, Flags: flags, Command: true})
		if h.Err() != nil {
			t.Fatal(h.Err())
		}
		for i := range 250 {
			if flags&table.BulkUpdate != 0 {
				i += 250
			}
			if found, err := h.Delete(fmt.Sprint("key", 3*i+1)); !found || err != nil {
				t.Fatal(found, err)
			}
			if err := h.Update(fmt.Sprint("new", i), strings.Repeat("n", i*10)+"."); err != nil {
				t.Fatal(err)
			}
			delete(m, fmt.Sprint("key", 3*i+1))
			m[fmt.Sprint("new", i)] = strings.Repeat("n", i*10) + "."
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for i := range 500 {
		delete(m, fmt.Sprint("key", 3*i))
	}
	check(t, spec, m)
}
