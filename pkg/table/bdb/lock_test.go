package bdb

import (
	"testing"

	"golang.org/x/sys/unix"

	"os"

	"suffix/pkg/table"
	"suffix/pkg/table/dbfile"
)

// A reader gives its lock back soon, so that a writer which waits gets it, and
// then sees what that writer has written in place.
func TestWriterGetsLock(t *testing.T) {
	dir := t.TempDir()
	build(t, "hash:"+dir+"/x", map[string]string{"k": "old"}, 0)
	build(t, "hash:"+dir+"/y", map[string]string{"k": "new", "k2": "v2"}, 0)
	h := table.Open("hash:"+dir+"/x", table.Options{Flags: table.Lock, Command: true})
	if h.Err() != nil {
		t.Fatal(h.Err())
	}
	defer h.Close()
	if v, _, err := h.Lookup("k"); v != "old" || err != nil {
		t.Fatal(v, err)
	}
	f, err := os.OpenFile(dir+"/x.db", os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := dbfile.Flock(int(f.Fd()), unix.LOCK_EX); err != nil { // waits for the reader
		t.Fatal(err)
	}
	data, err := os.ReadFile(dir + "/y.db")
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Truncate(0); err != nil {
		t.Fatal(err)
	}
	result := make(chan string)
	go func() {
		v, _, _ := h.Lookup("k") // waits for the writer
		result <- v
	}()
	if _, err := f.WriteAt(data, 0); err != nil {
		t.Fatal(err)
	}
	if err := dbfile.Flock(int(f.Fd()), unix.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	if v := <-result; v != "new" {
		t.Errorf("after the change: %q", v)
	}
	if !h.Changed() {
		t.Error("the table does not count as changed")
	}
}
