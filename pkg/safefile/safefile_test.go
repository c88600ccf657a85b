package safefile

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func TestOpenRefusesTraps(t *testing.T) {
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	link := filepath.Join(dir, "link")
	if err := os.Symlink(file, link); err != nil {
		t.Fatal(err)
	}
	open := func(path string) string {
		f, err := Open(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return err.Error()
		}
		f.Close()
		return ""
	}
	if got := open(file); got != "" {
		t.Errorf("plain file: %s", got)
	}
	if got := open(link); got != "file is a symbolic link" {
		t.Errorf("link: %q", got)
	}
	if err := os.Link(file, filepath.Join(dir, "second")); err != nil {
		t.Fatal(err)
	}
	if got := open(file); got != "file has 2 hard links" {
		t.Errorf("two names: %q", got)
	}
	f, err := Open(dir, os.O_RDONLY, 0)
	if err == nil || err.Error() != "file is a directory" {
		t.Errorf("directory: %v %v", f, err)
	}
	dangling := filepath.Join(dir, "dangling")
	if err := os.Symlink(filepath.Join(dir, "target"), dangling); err != nil {
		t.Fatal(err)
	}
	if got := open(dangling); got != "cannot create file exclusively: File exists" {
		t.Errorf("dangling link: %q", got)
	}
	if got := open(filepath.Join(dir, "no", "file")); got != "cannot create file exclusively: No such file or directory" {
		t.Errorf("no directory: %q", got)
	}
	if _, err := Open(filepath.Join(dir, "none"), os.O_RDWR, 0); err == nil || err.Error() != "cannot open file: No such file or directory" || !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

// Root's own link in a place of root's is trusted: /dev/stdout is one.
func TestOpenTrustsRootLinks(t *testing.T) {
	f, err := Open("/dev/stdout", os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		// Where standard output is closed or unreachable the reason is
		// another one.
		if err.Error() == "file is a symbolic link" {
			t.Error(err)
		}
		return
	}
	f.Close()
}

func TestLockFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "lock")
	f, err := LockFile(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_, err = LockFile(path, 0o600)
	if err == nil || err.Error() != "unable to set exclusive lock: Resource temporarily unavailable" || !errors.Is(err, syscall.EAGAIN) {
		t.Errorf("second lock: %v", err)
	}
	if err := Unlock(f); err != nil {
		t.Fatal(err)
	}
	if g, err := LockFile(path, 0o600); err != nil {
		t.Error(err)
	} else {
		g.Close()
	}
	f.Close()
}

func TestDotLock(t *testing.T) {
	path := filepath.Join(t.TempDir(), "box")
	if err := DotLock(path, 1, 0, time.Hour); err != nil {
		t.Fatal(err)
	}
	err := DotLock(path, 2, time.Millisecond, time.Hour)
	if err == nil || err.Error() != "unable to create lock file "+path+".lock: File exists" {
		t.Errorf("held lock: %v", err)
	}
	// Nobody can set the time of the last change back: every lock is stale
	// after no time.
	if err := DotLock(path, 2, time.Millisecond, 0); err != nil {
		t.Errorf("stale lock: %v", err)
	}
	if err := DotUnlock(path); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Lstat(path + ".lock"); !os.IsNotExist(err) {
		t.Errorf("lock file remains: %v", err)
	}
}

func TestWriteAtomic(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "file")
	for _, text := range []string{"one", "two"} {
		if err := WriteAtomic(path, []byte(text), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(path)
		if err != nil || string(got) != text {
			t.Errorf("%q %v", got, err)
		}
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode() != 0o640 {
		t.Errorf("mode %v %v", info.Mode(), err)
	}
	entries, _ := os.ReadDir(dir)
	if len(entries) != 1 {
		t.Errorf("left over: %v", entries)
	}
}
