package main

import (
	"bufio"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"suffix/pkg/syserr"
)

// rewrite replaces a file by what edit makes of its text. Nobody ever sees
// half of it, and two editors wait for each other (spec config §13.7).
func rewrite(path string, edit func(text string, out *bufio.Writer) error) error {
	tmp := path + ".tmp"
	f, err := lockTemporary(tmp)
	if err != nil {
		return fmt.Errorf("open %s: %s", tmp, syserr.Text(err))
	}
	defer f.Close()
	text, err := os.ReadFile(path)
	if err != nil {
		_ = os.Remove(tmp)
		if e, ok := err.(*os.PathError); ok && e.Op == "read" {
			return fmt.Errorf("read %s: %s", path, syserr.Text(err))
		}
		return fmt.Errorf("open %s for reading: %s", path, syserr.Text(err))
	}
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("truncate %s: %s", tmp, syserr.Text(err))
	}
	out := bufio.NewWriter(f)
	if err := edit(string(text), out); err != nil {
		return err
	}
	err = out.Flush()
	if err == nil {
		err = f.Chmod(0o644)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		return fmt.Errorf("close %s: %s", tmp, syserr.Text(err))
	}
	if err := os.Rename(tmp, path); err != nil {
		return fmt.Errorf("rename %s to %s: %s", tmp, path, syserr.Text(err))
	}
	return nil
}

// lockTemporary creates the temporary file, or takes over one that an editor
// left behind, and locks it. It waits for an editor that is at work. A file
// that is not as an editor leaves it is replaced.
func lockTemporary(tmp string) (*os.File, error) {
	const private = 0o600
	for {
		f, err := os.OpenFile(tmp, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, private)
		if err != nil {
			if st, lerr := os.Lstat(tmp); lerr == nil && st.Mode()&os.ModeSymlink != 0 {
				if err = os.Remove(tmp); err == nil {
					continue
				}
			}
			return nil, err
		}
		if err := flock(f); err != nil {
			f.Close()
			return nil, err
		}
		var opened, named unix.Stat_t
		if err := unix.Fstat(int(f.Fd()), &opened); err != nil {
			f.Close()
			return nil, err
		}
		if err := unix.Lstat(tmp, &named); err != nil || named.Ino != opened.Ino || named.Dev != opened.Dev {
			f.Close() // the editor before us has renamed it
			continue
		}
		if opened.Mode&unix.S_IFMT == unix.S_IFREG && opened.Mode&0o7777 == private && opened.Nlink == 1 {
			return f, nil
		}
		f.Close()
		if err := os.Remove(tmp); err != nil {
			return nil, err
		}
	}
}

// flock waits for the exclusive lock.
func flock(f *os.File) error {
	for {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			return err
		}
	}
}
