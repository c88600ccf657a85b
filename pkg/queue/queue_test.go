package queue

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// inTree makes an empty queue directory the current one and returns a tree
// that collects its warnings.
func inTree(t *testing.T) (*Tree, *[]string) {
	t.Helper()
	t.Chdir(t.TempDir())
	for _, name := range []string{Maildrop, Incoming, Active, Deferred, Hold, Corrupt, Defer, Bounce, Trace, Flush, Saved} {
		if err := os.Mkdir(name, 0700); err != nil {
			t.Fatal(err)
		}
	}
	log := &[]string{}
	add := func(format string, args ...any) { *log = append(*log, fmt.Sprintf(format, args...)) }
	return &Tree{Hashed: []string{Deferred, Defer}, Depth: 1, Warn: add, Info: add}, log
}

func touch(t *testing.T, path string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, nil, mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

func TestIDs(t *testing.T) {
	for _, c := range []struct {
		id        string
		sec, usec int64
		inode     uint64
		long      bool
	}{
		{"C47169908C8", 0, 0xC4716, 0x9908C8, false},
		{"000010", 0, 1, 0, false},
		{"F423FFFFFFFFFFFFFFFFF", 0, 999999, 1<<64 - 1, false},
		{"4jXXGJ3d4mz1SZ3y", 1795359400, 511304, 10027058, true},
		{"00000000000z", 0, 0, 0, true},
	} {
		when := time.Unix(c.sec, c.usec*1000)
		if c.id != "00000000000z" {
			if got := MakeID(when, c.inode, c.long); got != c.id {
				t.Errorf("MakeID(%d.%d, %d) = %s, want %s", c.sec, c.usec, c.inode, got, c.id)
			}
		}
		inode, ok := Inode(c.id)
		if !ok || inode != c.inode || Usec(c.id) != uint64(c.usec) || IsLong(c.id) != c.long || !ValidID(c.id) {
			t.Errorf("%s: inode %d %v, usec %d, long %v", c.id, inode, ok, Usec(c.id), IsLong(c.id))
		}
	}
	for _, id := range []string{"", "C4716", "C4716X", "C4716+1", "C4716-1", "C4716 1", "C4716_1", "C471610000000000000000",
		"0123456789z_", "0123456789zA", "0123456789zyyyyyyyyyyyyyyyy"} {
		if inode, ok := Inode(id); ok {
			t.Errorf("%s: inode %d, want none", id, inode)
		}
	}
	for _, c := range []struct {
		id   string
		long bool
		want string
	}{
		{"C47169908C8", false, "C4716FF"}, {"C47169908C8", true, "C4716FF"},
		{"4jXXGJ3d4mz1SZ3y", true, "4jXXGJ3d4mz50"}, {"4jXXGJ3d4mz1SZ3y", false, "7CD48FF"},
	} {
		if got := WithInode(c.id, 255, c.long); got != c.want {
			t.Errorf("WithInode(%s, %v) = %s, want %s", c.id, c.long, got, c.want)
		}
	}
	for _, id := range []string{"a.b", "a#FIX", "a/b", "", "é", "..", strings.Repeat("a", 256), "a\x00"} {
		if ValidID(id) {
			t.Errorf("%q is no queue ID", id)
		}
	}
	for _, name := range []string{"", "a_b", "../x", strings.Repeat("a", 101)} {
		if ValidName(name) {
			t.Errorf("%q is no queue name", name)
		}
	}
	if !ValidID("a_1") || !ValidID(strings.Repeat("a", 255)) || !ValidName("deferred") {
		t.Error("valid names are refused")
	}
}

func TestPath(t *testing.T) {
	for _, c := range []struct {
		depth    int
		name, id string
		want     string
	}{
		{1, "deferred", "C47169908C8", "deferred/C/C47169908C8"},
		{2, "deferred", "4jXXMd72XCz1SZvm", "deferred/F/1/4jXXMd72XCz1SZvm"},
		{2, "flush", "defer_test", "flush/d/e/defer_test"},
		{3, "flush", "ab", "flush/a/b/_/ab"},
		{1, "active", "C47169908C8", "active/C47169908C8"},
	} {
		tree := &Tree{Hashed: []string{"deferred", "flush"}, Depth: c.depth}
		if got := tree.Path(c.name, c.id); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
	}
}

func TestLife(t *testing.T) {
	for _, long := range []bool{false, true} {
		tree, log := inTree(t)
		tree.LongIDs = long
		f, id, when, err := tree.Create(context.Background(), Incoming, ModeEmbryo)
		if err != nil {
			t.Fatal(err)
		}
		st, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		inode, ok := Inode(id)
		if info, _ := tree.Ready(Incoming, id); !ok || info.Inode != inode || Usec(id) != uint64(when.Nanosecond()/1000) || IsLong(id) != long {
			t.Errorf("ID %s does not say inode %d and time %v", id, info.Inode, when)
		}
		if st.Mode().Perm() != 0600 {
			t.Errorf("new file has mode %v", st.Mode())
		}
		if _, ok := tree.Ready(Incoming, id); ok {
			t.Error("incomplete file is ready")
		}
		if _, err := f.WriteString("content"); err != nil {
			t.Fatal(err)
		}
		if err := tree.Finish(f, Incoming, 0); err != nil {
			t.Fatal(err)
		}
		info, ok := tree.Ready(Incoming, id)
		if !ok || info.Mode != 0700 || info.Size != 7 || info.Links != 1 || info.UID != uint32(os.Getuid()) {
			t.Errorf("finished file: %+v %v", info, ok)
		}
		if err := tree.Move(Incoming, Deferred, id); err != nil {
			t.Fatal(err)
		}
		at := time.Unix(1795359239, 0)
		if err := tree.Touch(Deferred, id, at); err != nil {
			t.Fatal(err)
		}
		info, ok = tree.Ready(Deferred, id)
		if !ok || !info.Mtime.Equal(at) || strings.Count(info.Path, "/") != 2 {
			t.Errorf("deferred file: %+v %v", info, ok)
		}
		if err := tree.Move(Active, Deferred, "AAAAA1"); !os.IsNotExist(err) {
			t.Errorf("move of nothing: %v", err)
		}
		if err := tree.Remove(Deferred, id); err != nil {
			t.Fatal(err)
		}
		if _, ok := tree.Ready(Deferred, id); ok || len(*log) != 0 {
			t.Errorf("removed file is ready, or warnings: %v", *log)
		}
	}
}

func TestClockDrift(t *testing.T) {
	tree, log := inTree(t)
	create := func(offset time.Duration) os.FileInfo {
		f, id, _, err := tree.Create(context.Background(), Incoming, ModeEmbryo)
		if err != nil {
			t.Fatal(err)
		}
		when := time.Now().Add(offset)
		if err := os.Chtimes(f.Name(), when, when); err == nil {
			t.Fatal("temporary name still exists")
		}
		if err := tree.Touch(Incoming, id, when); err != nil {
			t.Fatal(err)
		}
		if err := tree.Finish(f, Incoming, 0); err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(tree.Path(Incoming, id))
		if err != nil {
			t.Fatal(err)
		}
		return st
	}
	for range 2 {
		if st := create(time.Hour); time.Until(st.ModTime()) > time.Minute {
			t.Errorf("file of the future keeps its time %v", st.ModTime())
		}
	}
	if len(*log) != 2 || !strings.HasPrefix((*log)[0], "file system clock is 36") || !strings.HasSuffix((*log)[0], " seconds ahead of local clock") ||
		(*log)[1] != "resetting file time stamps - this hurts performance" {
		t.Errorf("log: %q", *log)
	}
	*log = nil
	create(-time.Hour)
	if len(*log) != 1 || !strings.HasSuffix((*log)[0], " seconds behind local clock") {
		t.Errorf("log: %q", *log)
	}
	*log = nil
	if st := create(time.Hour); time.Until(st.ModTime()) < time.Minute || len(*log) != 0 {
		t.Errorf("the test was not switched off: %v %q", st.ModTime(), *log)
	}
}

func TestReadyOddities(t *testing.T) {
	tree, log := inTree(t)
	uid := os.Getuid()
	if err := os.Mkdir("active/AAAAA1", 0700); err != nil {
		t.Fatal(err)
	}
	touch(t, "active/AAAAA2", 0700)
	if err := os.Symlink("AAAAA2", "active/AAAAA3"); err != nil {
		t.Fatal(err)
	}
	touch(t, "active/AAAAA4", 0600)
	touch(t, "active/AAAAA5", 0744)
	for _, c := range []struct {
		queue, id string
		ok        bool
		warning   string
	}{
		{"a/b", "AAAAA1", false, "bad mail queue name: a/b"},
		{"active", "a.b", false, ""},
		{"active", "missing", false, ""},
		{"active", "AAAAA1", false, fmt.Sprintf("active/AAAAA1: uid %d: not a regular file", uid)},
		{"active", "AAAAA2", true, ""},
		{"active", "AAAAA3", false, fmt.Sprintf("active/AAAAA3: uid %d: not a regular file", uid)},
		{"active", "AAAAA4", false, ""},
		{"active", "AAAAA5", true, ""},
	} {
		*log = nil
		_, ok := tree.Ready(c.queue, c.id)
		if warning := strings.Join(*log, "; "); ok != c.ok || warning != c.warning {
			t.Errorf("%s/%s: %v %q, want %v %q", c.queue, c.id, ok, warning, c.ok, c.warning)
		}
	}
}

func TestScan(t *testing.T) {
	tree, _ := inTree(t)
	want := []string{"AAAAA1", "BBBBB2", "CCCCC3", "1.2", "DDDDD4"}
	for i, path := range []string{"deferred/A/", "deferred/B/B/", "deferred/", "deferred/", "deferred/X/Y/Z/"} {
		touch(t, path+want[i], 0600)
	}
	var got []string
	s := tree.Scan(Deferred)
	for s.Next() {
		got = append(got, s.Name())
		if _, err := os.Stat(s.Path()); err != nil {
			t.Error(err)
		}
	}
	slices.Sort(got)
	slices.Sort(want)
	if s.Err() != nil || !slices.Equal(got, want) {
		t.Errorf("got %v %v, want %v", got, s.Err(), want)
	}
	s = tree.Scan("nosuch")
	if s.Next() || !os.IsNotExist(s.Err()) {
		t.Errorf("missing queue: %v", s.Err())
	}
}

func TestRemoveSaves(t *testing.T) {
	tree, _ := inTree(t)
	tree.DontRemove = true
	for range 3 {
		touch(t, "active/AAAAA1", 0700)
		if err := tree.Remove(Active, "AAAAA1"); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"saved/AAAAA1", "saved/AAAAA1+", "saved/AAAAA1++"} {
		if _, err := os.Stat(name); err != nil {
			t.Error(err)
		}
	}
}

func TestCreateFails(t *testing.T) {
	tree, log := inTree(t)
	if err := os.Remove(Hold); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	tree.Warn = func(format string, args ...any) {
		*log = append(*log, fmt.Sprintf(format, args...))
		cancel()
	}
	_, _, _, err := tree.Create(ctx, Hold, ModeEmbryo)
	if err == nil || len(*log) != 1 || !strings.HasPrefix((*log)[0], "mail_queue_enter: create file hold/") ||
		!strings.HasSuffix((*log)[0], fmt.Sprintf(".%d: No such file or directory", os.Getpid())) {
		t.Errorf("%v, log %q", err, *log)
	}
	if _, _, _, err := tree.Create(ctx, "a/b", ModeEmbryo); err == nil {
		t.Error("bad queue name is accepted")
	}
}

func FuzzID(f *testing.F) {
	for _, id := range []string{"C47169908C8", "4jXXGJ3d4mz1SZ3y", "", "z", "00000000000z", "abcdef#FIX"} {
		f.Add(id)
	}
	f.Fuzz(func(t *testing.T, id string) {
		tree := &Tree{Hashed: []string{"deferred"}, Depth: 2}
		path := tree.Path("deferred", id)
		if ValidID(id) && strings.Count(path, "/") != 3 {
			t.Errorf("%q: path %s", id, path)
		}
		inode, ok := Inode(id)
		if Usec(id) > 1<<63 {
			t.Errorf("%q: usec %d", id, Usec(id))
		}
		if ok {
			fixed := WithInode(id, inode, IsLong(id))
			if again, ok := Inode(fixed); !ok || again != inode {
				t.Errorf("%q became %q with inode %d %v, want %d", id, fixed, again, ok, inode)
			}
		}
		for _, long := range []bool{false, true} {
			if ValidID(id) && ok {
				if fixed := WithInode(id, 12345, long); !ValidID(fixed) {
					t.Errorf("%q became invalid %q", id, fixed)
				}
			}
		}
	})
}
