package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"suffix/pkg/syserr"
)

// rewrite replaces a file by what edit makes of its text. Nobody ever sees
// half of it, and two editors wait for each other (spec config §13.7): the lock
// is FILE.tmp, which in the end is renamed to FILE. The new file has the owner
// and the permissions of the old one. A symbolic link stays; the file that it
// leads to is replaced.
func rewrite(path string, edit func(text string, out *bufio.Writer) error) error {
	tmp := path + ".tmp"
	f, err := lockTemporary(tmp)
	if err != nil {
		return fmt.Errorf("open %s: %s", tmp, syserr.Text(err))
	}
	defer f.Close()
	real := path
	if st, err := os.Lstat(path); err == nil && st.Mode()&os.ModeSymlink != 0 {
		if real, err = filepath.EvalSymlinks(path); err != nil {
			if _, _, openErr := readWhole(path); openErr != nil {
				err = openErr // says it better
			}
			_ = os.Remove(tmp)
			return err
		}
		// Whoever edits the file by its other name has another lock.
		defer os.Remove(tmp)
		tmp = real + ".tmp"
		if f, err = lockTemporary(tmp); err != nil {
			return fmt.Errorf("open %s: %s", tmp, syserr.Text(err))
		}
		defer f.Close()
	}
	text, old, err := readWhole(path)
	if err != nil {
		_ = os.Remove(tmp)
		return err
	}
	if err := f.Truncate(0); err != nil {
		return fmt.Errorf("truncate %s: %s", tmp, syserr.Text(err))
	}
	out := bufio.NewWriterSize(f, 64<<10)
	if err := edit(text, out); err != nil {
		return err
	}
	err = out.Flush() // tells about errors before it, too
	if err == nil {
		err = likeOld(f, old)
	}
	if err == nil {
		err = f.Sync()
	}
	if err != nil {
		_ = os.Remove(tmp)
		return fmt.Errorf("close %s: %s", tmp, syserr.Text(err))
	}
	if err := os.Rename(tmp, real); err != nil {
		return fmt.Errorf("rename %s to %s: %s", tmp, real, syserr.Text(err))
	}
	return nil
}

// readWhole returns the text of a file and what is known about it.
func readWhole(path string) (text string, st os.FileInfo, err error) {
	f, err := os.Open(path)
	if err == nil {
		defer f.Close()
		st, err = f.Stat()
	}
	if err != nil {
		return "", nil, fmt.Errorf("open %s for reading: %s", path, syserr.Text(err))
	}
	data, err := io.ReadAll(f)
	if err != nil {
		return "", nil, fmt.Errorf("read %s: %s", path, syserr.Text(err))
	}
	return string(data), st, nil
}

// likeOld gives a file the owner and the permissions of the one that it is
// going to replace. Who may not give files away keeps this one.
func likeOld(f *os.File, old os.FileInfo) error {
	if owner, ok := old.Sys().(*syscall.Stat_t); ok && (int(owner.Uid) != os.Geteuid() || int(owner.Gid) != os.Getegid()) {
		if err := f.Chown(int(owner.Uid), int(owner.Gid)); err != nil && !errors.Is(err, fs.ErrPermission) {
			return err
		}
	}
	return f.Chmod(old.Mode().Perm())
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
