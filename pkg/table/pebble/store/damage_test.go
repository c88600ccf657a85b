package store

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/table"
)

// readAll opens a table, and reads what can be read.
func readAll(t testing.TB, name string) {
	t.Helper()
	h := table.Open("pebble:"+name, table.Options{Command: true})
	defer h.Close()
	if h.Err() != nil {
		return
	}
	for _, key := range []string{"", "a", "key5", "key77", "zzz"} {
		h.Lookup(key)
	}
	c, err := h.Cursor()
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		if _, _, ok, err := c.Next(); !ok || err != nil {
			break
		}
		if n > 1_000_000 {
			t.Fatal("no end")
		}
	}
}

// put makes the file of a table. It is a new one each time: to write over a file
// takes long on some file systems.
func put(t testing.TB, name string, data []byte) {
	t.Helper()
	if err := os.Remove(name + ".sst"); err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if err := os.WriteFile(name+".sst", data, 0o644); err != nil {
		t.Fatal(err)
	}
}

func smallTable(t testing.TB) []byte {
	t.Helper()
	name := filepath.Join(t.TempDir(), "t")
	var entries [][2]string
	for i := range 300 {
		entries = append(entries, [2]string{fmt.Sprint("key", i), strings.Repeat("v", i%50)})
	}
	build(t, name, 0, entries...)
	data, err := os.ReadFile(name + ".sst")
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// No change of a byte ends the program, and no missing end goes unnoticed.
func TestDamage(t *testing.T) {
	data := smallTable(t)
	name := filepath.Join(t.TempDir(), "t")
	for i := 0; i < len(data); i += 1 + i%59 {
		data[i] ^= 0xff
		put(t, name, data)
		data[i] ^= 0xff
		readAll(t, name)
	}
	for size := 0; size < len(data); size += 1 + size/20 {
		put(t, name, data[:size])
		h := table.Open("pebble:"+name, table.Options{Command: true})
		if err := h.Err(); err == nil || err.Error() != "open database "+name+".sst: Invalid argument" {
			t.Errorf("%d bytes: %v", size, err)
		}
		h.Close()
	}
}

// A file that shrinks while it is open fails lookups, and nothing else.
func TestTruncatedWhileOpen(t *testing.T) {
	name := filepath.Join(t.TempDir(), "t")
	build(t, name, 0, random(20000)...)
	h := table.Open("pebble:"+name, table.Options{Command: true})
	defer h.Close()
	if err := os.Truncate(name+".sst", 100); err != nil {
		t.Fatal(err)
	}
	if _, _, err := h.Lookup("key5"); err == nil || err.Error() != "error reading "+name+".sst: Invalid argument" {
		t.Error(err)
	}
}

// A damaged block is noticed by the lookups that need it.
func TestChecksum(t *testing.T) {
	name := filepath.Join(t.TempDir(), "t")
	entries := random(2000)
	build(t, name, 0, entries...)
	data, err := os.ReadFile(name + ".sst")
	if err != nil {
		t.Fatal(err)
	}
	data[10] ^= 1
	put(t, name, data)
	h := table.Open("pebble:"+name, table.Options{Command: true})
	defer h.Close()
	if _, _, err := h.Lookup(entries[0][0]); err == nil {
		t.Error("damage was not noticed")
	}
	last := entries[len(entries)-1]
	if value, found, err := h.Lookup(last[0]); value != last[1] || !found || err != nil {
		t.Errorf("the rest of the table: %v %v", found, err)
	}
}

// A table that is older than its source is warned of.
func TestOlder(t *testing.T) {
	name := filepath.Join(t.TempDir(), "t")
	build(t, name, 0)
	if err := os.WriteFile(name, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for path, age := range map[string]time.Duration{name: 200 * time.Second, name + ".sst": 300 * time.Second} {
		at := time.Now().Add(-age)
		if err := os.Chtimes(path, at, at); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(filepath.Join(t.TempDir(), "log"))
	if err != nil {
		t.Fatal(err)
	}
	maillog.UseFile(log)
	openTable(t, name, table.Options{Flags: table.Lock}).Close()
	text, err := os.ReadFile(log.Name())
	if want := "warning: database " + name + ".sst is older than source file " + name; err != nil || !strings.Contains(string(text), want) {
		t.Errorf("%s %v", text, err)
	}
}
