package cache

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"os/user"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/table"

	_ "suffix/pkg/table/bdb"
)

var logFile *os.File

func TestMain(m *testing.M) {
	var err error
	if logFile, err = os.CreateTemp("", "cache-log-*"); err != nil {
		panic(err)
	}
	maillog.UseFile(logFile)
	status := m.Run()
	os.Remove(logFile.Name())
	os.Exit(status)
}

// log returns a function that returns what was logged since.
func log(t *testing.T) (read func() string) {
	t.Helper()
	start, err := logFile.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	return func() string {
		text, err := os.ReadFile(logFile.Name())
		if err != nil {
			t.Fatal(err)
		}
		return string(text[start:])
	}
}

func expectLog(t *testing.T, read func() string, lines ...string) {
	t.Helper()
	text := read()
	for _, line := range lines {
		if !strings.Contains(text, line) {
			t.Errorf("not in the log: %s\nlog:\n%s", line, text)
		}
	}
}

// settings is a main.cf whose data_directory is dir; its owner is ours.
func settings(t testing.TB, dir string) *config.Main {
	t.Helper()
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	return config.New(dir, []config.Setting{
		{Name: "mail_owner", Value: me.Username}, {Name: "data_directory", Value: dir}, {Name: "compatibility_level", Value: "3.11"},
	}, config.Options{})
}

func openCache(t testing.TB, spec, dir string, truncate bool) *Cache {
	t.Helper()
	c, err := Open(spec, Options{Config: settings(t, dir), Truncate: truncate})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func closeCache(t testing.TB, c *Cache) {
	t.Helper()
	if err := c.Close(); err != nil {
		t.Fatal(err)
	}
}

func put(t testing.TB, c *Cache, entries ...string) {
	t.Helper()
	for i := 0; i < len(entries); i += 2 {
		if err := c.Update(entries[i], entries[i+1]); err != nil {
			t.Fatal(err)
		}
	}
}

// lister is a Cache, or a table.
type lister interface{ Cursor() (table.Cursor, error) }

func content(t testing.TB, l lister) (list []string) {
	t.Helper()
	cursor, err := l.Cursor()
	if err != nil {
		t.Fatal(err)
	}
	for {
		key, value, ok, err := cursor.Next()
		if err != nil {
			t.Fatal(err)
		}
		if !ok {
			return list
		}
		list = append(list, key+"="+value)
	}
}

func expect(t *testing.T, l lister, want ...string) {
	t.Helper()
	got := content(t, l)
	slices.Sort(got)
	if !slices.Equal(got, want) {
		t.Errorf("content %q, want %q", got, want)
	}
}

// Whatever file type main.cf names, there is a database; it is there the next
// time, unless it need not be.
func TestFileTypes(t *testing.T) {
	for _, typ := range []string{"pebble", "btree", "hash", "lmdb", "cdb"} {
		for _, truncate := range []bool{false, true} {
			dir := t.TempDir()
			spec := typ + ":" + dir + "/c"
			c := openCache(t, spec, dir, truncate)
			if c.Name() != spec || c.InMemory() {
				t.Errorf("%s: name %s", spec, c.Name())
			}
			put(t, c, "a", "1", "b", "2", "c", "3", "a", "4")
			if found, err := c.Delete("b"); !found || err != nil {
				t.Error(found, err)
			}
			if found, err := c.Delete("b"); found || err != nil {
				t.Error(found, err)
			}
			if value, found, err := c.Lookup("a"); value != "4" || !found || err != nil {
				t.Error(value, found, err)
			}
			if _, found, err := c.Lookup("x"); found || err != nil {
				t.Error(found, err)
			}
			expect(t, c, "a=4", "c=3")
			closeCache(t, c)
			if info, err := os.Stat(dir + "/c.pebble"); err != nil || !info.IsDir() {
				t.Error(err)
			}
			c = openCache(t, spec, dir, truncate)
			if truncate {
				expect(t, c)
			} else {
				expect(t, c, "a=4", "c=3")
			}
			closeCache(t, c)
		}
	}
}

// A process that ends without a word leaves what it has stored.
func TestCrash(t *testing.T) {
	dir, copied := t.TempDir(), t.TempDir()
	c := openCache(t, "pebble:"+dir+"/c", dir, false)
	put(t, c, "a", "1", "b", "2")
	if err := os.CopyFS(copied+"/c.pebble", os.DirFS(dir+"/c.pebble")); err != nil {
		t.Fatal(err)
	}
	closeCache(t, c)
	c = openCache(t, "pebble:"+copied+"/c", copied, false)
	expect(t, c, "a=1", "b=2")
	closeCache(t, c)
}

func TestMemory(t *testing.T) {
	for _, spec := range []string{"", "internal:verify"} {
		c := openCache(t, spec, t.TempDir(), false)
		if !c.InMemory() {
			t.Error(spec)
		}
		put(t, c, "a", "1")
		expect(t, c, "a=1")
		closeCache(t, c)
	}
	c := NewMemory("")
	for i := range maxEntries + 10 {
		put(t, c, fmt.Sprint(i), "x")
	}
	if n := len(content(t, c)); n != maxEntries {
		t.Errorf("%d entries in memory", n)
	}
	large := strings.Repeat("x", 1000_000)
	for i := range maxSize/len(large) + 10 {
		put(t, c, fmt.Sprint("large", i), large)
	}
	if m := c.b.(*memory); m.size > maxSize || m.size < maxSize*9/10 {
		t.Errorf("%d bytes in memory", m.size)
	}
	for _, entry := range content(t, c) {
		key, _, _ := strings.Cut(entry, "=")
		if found, err := c.Delete(key); !found || err != nil {
			t.Fatal(key, found, err)
		}
	}
	if m := c.b.(*memory); m.size != 0 {
		t.Errorf("%d bytes in memory", m.size)
	}
	if err := c.Update("k", strings.Repeat("x", maxEntry)); !errors.Is(err, errTooLarge) {
		t.Error(err)
	}
}

// What Postfix's daemon knew is taken over when the database is made, once.
func TestTakeover(t *testing.T) {
	dir := t.TempDir()
	logged := log(t)
	make := func(typ, name string, entries ...string) {
		h := table.Open(typ+":"+dir+"/"+name, table.Options{Mode: table.Bulk, Flags: table.BulkUpdate, Command: true})
		for i := 0; i < len(entries); i += 2 {
			if err := h.Update(entries[i], entries[i+1]); err != nil {
				t.Fatal(err)
			}
		}
		if err := h.Close(); err != nil {
			t.Fatal(err)
		}
	}
	make("btree", "one", "a@x", "0:0:1:ok", completed, "17")
	make("hash", "two", "b@x", "2:0:1:no")
	for spec, want := range map[string]string{
		"btree:one": "a@x=0:0:1:ok", "pebble:two": "b@x=2:0:1:no",
	} {
		typ, name, _ := strings.Cut(spec, ":")
		spec := typ + ":" + dir + "/" + name
		c := openCache(t, spec, dir, false)
		expect(t, c, want)
		if name == "one" {
			if value, _, _ := c.Lookup(completed); value != "17" {
				t.Errorf("time of cleaning: %s", value)
			}
		}
		if _, err := c.Delete(want[:3]); err != nil {
			t.Fatal(err)
		}
		closeCache(t, c)
		c = openCache(t, spec, dir, false)
		expect(t, c)
		closeCache(t, c)
	}
	expectLog(t, logged, "cache "+dir+"/one.pebble: 2 entries taken over from "+dir+"/one.db")

	if err := os.WriteFile(dir+"/bad.db", []byte("garbage"), 0o644); err != nil {
		t.Fatal(err)
	}
	c := openCache(t, "btree:"+dir+"/bad", dir, false)
	put(t, c, "a", "1")
	closeCache(t, c)
	expectLog(t, logged, "cache "+dir+"/bad.pebble: earlier content is not used: open database "+dir+"/bad.db: Invalid argument")
}

// Only one process has a cache. The next one waits for a while.
func TestLock(t *testing.T) {
	dir := t.TempDir()
	first := openCache(t, "btree:"+dir+"/c", dir, false)
	defer func(d time.Duration) { lockPatience = d }(lockPatience)
	lockPatience = 0
	_, err := Open("btree:"+dir+"/c", Options{Config: settings(t, dir)})
	if err == nil || err.Error() != "btree:"+dir+"/c: unable to get exclusive lock: Resource temporarily unavailable" {
		t.Fatal(err)
	}
	lockPatience = time.Minute
	second := make(chan error)
	go func() {
		c, err := Open("btree:"+dir+"/c", Options{Config: settings(t, dir)})
		if err == nil {
			err = c.Close()
		}
		second <- err
	}()
	put(t, first, "a", "1")
	closeCache(t, first)
	if err := <-second; err != nil {
		t.Error(err)
	}
}

func TestPlace(t *testing.T) {
	logged := log(t)
	data := t.TempDir()
	root := "/" // never mail_owner's, unless that is root
	uid := os.Getuid()
	if uid == 0 {
		other := t.TempDir()
		if err := os.Chown(other, 12345, -1); err != nil {
			t.Fatal(err)
		}
		root = other + "/"
	}
	if got := place("btree", root+"c", data, uid); got != data+"/c" {
		t.Error(got)
	}
	expectLog(t, logged, "warning: request to update table btree:"+root+"c in non-postfix directory "+filepath.Clean(root),
		"warning: redirecting the request to postfix-owned data_directory "+data)
	if got := place("btree", data+"/c", "/x", uid); got != data+"/c" {
		t.Error(got)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	for spec, want := range map[string]string{
		"btree:" + dir + "/no/c": "open database " + dir + "/no/c.pebble: No such file or directory",
		"nosuch:x":               "unsupported dictionary type: nosuch",
		"x":                      "open dictionary: expecting \"type:name\" form instead of \"x\"",
		"btree:":                 "open dictionary: expecting \"type:name\" form instead of \"btree:\"",
	} {
		if _, err := Open(spec, Options{Config: settings(t, dir)}); err == nil || err.Error() != want {
			t.Errorf("%s: %v, want %s", spec, err, want)
		}
	}
}

// Modes are as those of Postfix's files, under the umask.
func TestModes(t *testing.T) {
	defer syscall.Umask(syscall.Umask(0o022))
	for _, perm := range []os.FileMode{0o644, 0o600} {
		dir := t.TempDir()
		c, err := Open("pebble:"+dir+"/c", Options{Config: settings(t, dir), Perm: perm})
		if err != nil {
			t.Fatal(err)
		}
		put(t, c, "a", "1")
		closeCache(t, c)
		err = filepath.WalkDir(dir+"/c.pebble", func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			info, err := d.Info()
			want := perm
			if d.IsDir() {
				want = dirMode(perm)
			}
			if err == nil && info.Mode().Perm() != want {
				t.Errorf("%s: %v, want %v", path, info.Mode(), want)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
	}
}

// damage changes each of the files of a database in turn.
func TestDamagedFiles(t *testing.T) {
	base := t.TempDir()
	c := openCache(t, "pebble:"+base+"/c", base, false)
	for i := range 100 {
		put(t, c, fmt.Sprintf("key%d", i), strings.Repeat(fmt.Sprint(i), 5000))
	}
	closeCache(t, c)
	entries, err := os.ReadDir(base + "/c.pebble")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		for kind, change := range map[string]func([]byte) []byte{
			"empty":   func([]byte) []byte { return nil },
			"cut":     func(b []byte) []byte { return b[:len(b)/2] },
			"zeros":   func(b []byte) []byte { return make([]byte, len(b)) },
			"flipped": func(b []byte) []byte { b[len(b)/3] ^= 0x55; return b },
			"garbage": func([]byte) []byte { return bytes.Repeat([]byte("garbage"), 1000) },
		} {
			t.Run(e.Name()+"/"+kind, func(t *testing.T) {
				logged := log(t)
				defer func() {
					if t.Failed() {
						t.Log(logged())
					}
				}()
				dir := t.TempDir()
				if err := os.CopyFS(dir+"/c.pebble", os.DirFS(base+"/c.pebble")); err != nil {
					t.Fatal(err)
				}
				name := dir + "/c.pebble/" + e.Name()
				data, err := os.ReadFile(name)
				if err != nil || len(data) == 0 {
					return // a file that only has a name
				}
				if err := os.WriteFile(name, change(data), 0o644); err != nil {
					t.Fatal(err)
				}
				c := openCache(t, "pebble:"+dir+"/c", dir, false)
				for i := range 100 {
					if _, _, err := c.Lookup(fmt.Sprintf("key%d", i)); err != nil {
						t.Fatal(err)
					}
				}
				content(t, c)
				put(t, c, "a", "1")
				if value, found, err := c.Lookup("a"); value != "1" || !found || err != nil {
					t.Fatal(value, found, err)
				}
				if err := c.Close(); err != nil {
					t.Fatal(err)
				}
				c = openCache(t, "pebble:"+dir+"/c", dir, false)
				if value, found, err := c.Lookup("a"); value != "1" || !found || err != nil {
					t.Fatal(value, found, err)
				}
				closeCache(t, c)
			})
		}
	}
}

// A database that cannot be written gives way to memory.
func TestCommitFailure(t *testing.T) {
	logged := log(t)
	dir := t.TempDir()
	c := openCache(t, "pebble:"+dir+"/c", dir, false)
	put(t, c, "a", "1")
	cursor, err := c.Cursor()
	if err != nil {
		t.Fatal(err)
	}
	// What the library does when it cannot write its log.
	d := c.b.(*database)
	err = c.operate("test", func(b backend) error {
		if b != d {
			return nil
		}
		return d.guard(func() error {
			logger{}.Fatalf("pebble: fatal commit error: %v", syscall.ENOSPC)
			return nil
		})
	})
	if err != nil || !c.InMemory() {
		t.Fatalf("%v, in memory: %v", err, c.InMemory())
	}
	if _, _, ok, err := cursor.Next(); ok || err != nil {
		t.Errorf("cursor of a lost database: %v", err)
	}
	put(t, c, "b", "2")
	expect(t, c, "b=2")
	expectLog(t, logged, "fatal commit error: no space left on device -- keeping entries in memory, until this process ends")
}

// The same with a real limit on the size of files.
func TestNoSpace(t *testing.T) {
	logged := log(t)
	dir := t.TempDir()
	c := openCache(t, "pebble:"+dir+"/c", dir, false)
	put(t, c, "a", "1")
	signal.Ignore(unix.SIGXFSZ)
	defer signal.Reset(unix.SIGXFSZ)
	var before unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_FSIZE, &before); err != nil {
		t.Fatal(err)
	}
	info, err := logFile.Stat()
	if err != nil {
		t.Fatal(err)
	}
	limit := unix.Rlimit{Cur: uint64(info.Size()) + 100<<10, Max: before.Max}
	if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &limit); err != nil {
		t.Fatal(err)
	}
	defer unix.Setrlimit(unix.RLIMIT_FSIZE, &before)
	for i := range 1000 {
		put(t, c, fmt.Sprint(i), strings.Repeat(fmt.Sprint(i), 10000))
		if c.InMemory() {
			break
		}
	}
	if !c.InMemory() {
		t.Error("no limit was felt")
	}
	put(t, c, "b", "2")
	if value, found, err := c.Lookup("b"); value != "2" || !found || err != nil {
		t.Error(value, found, err)
	}
	expectLog(t, logged, "-- keeping entries in memory, until this process ends")
}

func TestCleaning(t *testing.T) {
	logged := log(t)
	dir := t.TempDir()
	c := openCache(t, "btree:"+dir+"/c", dir, false)
	now := time.Unix(1_800_000_000, 0)
	o := Cleaning{Interval: time.Hour, Keep: func(_, value string) bool { return value == "good" }, Now: func() time.Time { return now }}
	if d := c.UntilCleaning(o); d != 0 {
		t.Errorf("first cleaning in %v", d)
	}
	for i := range 200 {
		put(t, c, fmt.Sprintf("good%d", i), "good", fmt.Sprintf("bad%d", i), "bad")
	}
	if !c.CleanOnce(context.Background(), o) {
		t.Error("not cleaned")
	}
	expectLog(t, logged, "cache btree:"+dir+"/c full cleanup: retained=200 dropped=200 entries")
	if value, _, _ := c.Lookup(completed); value != "1800000000" {
		t.Errorf("time of cleaning: %s", value)
	}
	if d := c.UntilCleaning(o); d != time.Hour {
		t.Errorf("next cleaning in %v", d)
	}
	now = now.Add(40 * time.Minute)
	if d := c.UntilCleaning(o); d != 20*time.Minute {
		t.Errorf("next cleaning in %v", d)
	}
	now = now.Add(-100 * time.Hour) // the clock was wrong
	if d := c.UntilCleaning(o); d != time.Hour {
		t.Errorf("next cleaning in %v", d)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if c.CleanOnce(ctx, o) {
		t.Error("an interrupted cleaning is no cleaning")
	}
	expectLog(t, logged, "cache btree:"+dir+"/c partial cleanup: retained=0 dropped=0 entries")
	closeCache(t, c)
}

// broken is a backend that does not answer.
type broken struct{ backend }

func (broken) get(string) (string, bool, error) { return "", false, errors.New("no") }
func (broken) put(string, string) error         { return errors.New("no") }
func (broken) del(string) (bool, error)         { return false, errors.New("no") }
func (broken) cursor() (table.Cursor, error)    { return nil, errors.New("no") }

func TestErrors(t *testing.T) {
	logged := log(t)
	for complaint, f := range map[string]func(c *Cache) error{
		"warning: memcache:x: cache lookup for 'k' failed due to error": func(c *Cache) error { _, _, err := c.Lookup("k"); return err },
		"warning: memcache:x: could not update entry for k":             func(c *Cache) error { return c.Update("k", "v") },
		"warning: memcache:x: could not delete entry for k":             func(c *Cache) error { _, err := c.Delete("k"); return err },
		"warning: memcache:x: sequence error":                           func(c *Cache) error { _, err := c.Cursor(); return err },
	} {
		c := newCache("memcache:x", broken{})
		for range 2 {
			if f(c) == nil {
				t.Error("no error")
			}
		}
		if n := strings.Count(logged(), complaint); n != 1 {
			t.Errorf("%s: %d times in the log", complaint, n)
		}
	}
	newCache("memcache:y", broken{}).CleanOnce(context.Background(), Cleaning{})
	expectLog(t, logged, "warning: memcache:y: cache cleanup scan terminated due to error",
		"cache memcache:y partial cleanup: retained=0 dropped=0 entries")
}

// postmap sees a database, whether or not the daemon has it open.
func TestReader(t *testing.T) {
	dir := t.TempDir()
	c := openCache(t, "pebble:"+dir+"/c", dir, false)
	want := []string{}
	look := func() {
		t.Helper()
		h := table.Open("pebble:"+dir+"/c", table.Options{Command: true})
		if err := h.Err(); err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		slices.Sort(want)
		expect(t, h, want...)
		key, value, _ := strings.Cut(want[0], "=")
		if got, found, err := h.Lookup(key); got != value || !found || err != nil {
			t.Error(got, found, err)
		}
		if _, found, err := h.Lookup("absent"); found || err != nil {
			t.Error(found, err)
		}
	}
	for i := range 100 {
		value := strings.Repeat(fmt.Sprint(i), 10000)
		put(t, c, fmt.Sprint(i), value)
		want = append(want, fmt.Sprint(i)+"="+value)
		if i%20 == 0 {
			look()
		}
	}
	look()
	closeCache(t, c)
	look()
	h := table.Open("pebble:"+dir+"/c", table.Options{Command: true, Mode: table.ReadWrite, Existing: true})
	if h.Err() == nil {
		t.Error("a cache opened for writing")
	}
	h.Close()
	if err := os.RemoveAll(dir + "/c.pebble"); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir+"/c.pebble", 0o755); err != nil {
		t.Fatal(err)
	}
	if h := table.Open("pebble:"+dir+"/c", table.Options{Command: true}); h.Err() == nil {
		t.Error("an empty directory is a database")
	}
}

// A reader that comes while the daemon is busy sees all that was stored before.
func TestReaderWhileWriting(t *testing.T) {
	dir := t.TempDir()
	c := openCache(t, "pebble:"+dir+"/c", dir, true)
	put(t, c, "0", "x")
	stop, stopped := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(stopped)
		for i := 1; ; i++ {
			select {
			case <-stop:
				return
			default:
				if err := c.Update(fmt.Sprint(i%5000), strings.Repeat(fmt.Sprint(i), 200)); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	for range 20 {
		h := table.Open("pebble:"+dir+"/c", table.Options{Command: true})
		if err := h.Err(); err != nil {
			t.Error(err)
			break
		}
		content(t, h)
		h.Close()
	}
	close(stop)
	<-stopped
	closeCache(t, c)
}
