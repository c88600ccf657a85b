package lmdb

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"testing"

	"suffix/pkg/table"
	"suffix/pkg/table/tabletest"
)

// dying is a file whose writer dies after some bytes.
type dying struct {
	f    *os.File
	left int
}

var errDead = errors.New("dead")

func (d *dying) WriteAt(p []byte, off int64) (int, error) {
	n := min(len(p), d.left)
	d.left -= n
	if _, err := d.f.WriteAt(p[:n], off); err != nil {
		return 0, err
	}
	if n < len(p) {
		return n, errDead
	}
	return n, nil
}

// Wherever a writer dies, the file has the old content, or the new one if it
// was complete; and the next writer can go on.
func TestCrash(t *testing.T) {
	path := t.TempDir() + "/x"
	old := entries(300, 5)
	build(t, "lmdb:"+path, old, 0)
	build(t, "lmdb:"+path, old, 0)
	build(t, "lmdb:"+path, old, 0) // now there are free pages to use
	whole, err := os.ReadFile(path + suffix)
	if err != nil {
		t.Fatal(err)
	}
	changed := maps.Clone(old)
	for k := range changed {
		if len(k)%3 == 0 {
			delete(changed, k)
		} else if len(k)%3 == 1 {
			changed[k] += "!"
		}
	}
	update := func(h *table.Handle) {
		for k, v := range changed {
			if old[k] != v {
				if err := h.Update(k, v); err != nil {
					t.Fatal(err)
				}
			}
		}
		for k := range old {
			if _, ok := changed[k]; !ok {
				if found, err := h.Delete(k); !found || err != nil {
					t.Fatal(found, err)
				}
			}
		}
	}
	rebuild := func(h *table.Handle) {
		for k, v := range changed {
			if err := h.Update(k, v); err != nil {
				t.Fatal(err)
			}
		}
	}
	for name, f := range map[string]struct {
		mode table.Mode
		do   func(*table.Handle)
	}{"update": {table.ReadWrite, update}, "rebuild": {table.Bulk, rebuild}} {
		t.Run(name, func(t *testing.T) {
			sawOld, done := 0, false
			for left := 0; !done; left += 1 + left/7 {
				if err := os.WriteFile(path+suffix, whole, 0o644); err != nil {
					t.Fatal(err)
				}
				h := table.Open("lmdb:"+path, table.Options{Mode: f.mode, Flags: table.ReplaceDup, Command: true})
				if h.Err() != nil {
					t.Fatal(h.Err())
				}
				d := &dying{left: left}
				switch w := h.Driver().(type) {
				case *store:
					d.f = w.h.f
					w.h.out = d
					w.flags |= table.BulkUpdate
				case *builder:
					d.f = w.h.f
					w.h.out = d
				}
				err := dieAtCommit(h, f.do)
				if done = err == nil; done {
					check(t, "lmdb:"+path, changed)
					continue
				}
				sawOld++
				check(t, "lmdb:"+path, old)
				again := tabletest.Open(t, "lmdb:"+path, table.Options{Mode: table.ReadWrite, Flags: table.ReplaceDup | table.Lock})
				if err := again.Update("afterwards", "fine"); err != nil {
					t.Fatal(err)
				}
				with := maps.Clone(old)
				with["afterwards"] = "fine"
				check(t, "lmdb:"+path, with)
			}
			if sawOld < 10 {
				t.Errorf("died %d times only", sawOld)
			}
		})
	}
}

// dieAtCommit makes changes and commits them, without the table's own time limit.
func dieAtCommit(h *table.Handle, do func(*table.Handle)) error {
	switch w := h.Driver().(type) {
	case *store:
		w.mu.Lock()
		w.lease.Expire = func() {}
		w.mu.Unlock()
		do(h)
		w.mu.Lock()
		err := w.end()
		w.mu.Unlock()
		if closeErr := h.Close(); closeErr != nil {
			return closeErr
		}
		return err
	case *builder:
		do(h)
		return h.Close()
	}
	return fmt.Errorf("no writer")
}
