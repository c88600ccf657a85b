package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"syscall"

	"suffix/pkg/maillog"
	"suffix/pkg/queue"
	"suffix/pkg/syserr"
)

// file is a regular file that a scan met.
type file struct {
	s     *super
	queue string
	name  string
	path  string
	st    syscall.Stat_t
}

// ready tells whether the file is a complete message.
func (f *file) ready() bool {
	return os.FileMode(f.st.Mode)&queue.ModeReady == queue.ModeReady
}

// hasID tells whether the file has the name of a message or log, and complains
// if not.
func (f *file) hasID() bool {
	if queue.ValidID(f.name) {
		return true
	}
	f.bogus()
	return false
}

func (f *file) bogus() {
	f.s.log(maillog.Warning, "bogus file name: %s", maillog.Printable(f.path))
}

const (
	nameBatch = 1000
	maxDepth  = 100
)

// scan calls visit for each regular file in the queues. On the way it removes
// what does not belong there: other kinds of files, and directories that are
// empty and no part of the hashing.
func (s *super) scan(visit func(*file) error) error {
	for _, name := range s.queues {
		if err := checkQueue(name); err != nil {
			return err
		}
		s.debugf("queue: %s", name)
		want := 0
		if s.tree.IsHashed(name) {
			want = s.tree.Depth
		}
		if err := s.scanDir(name, name, 0, want, visit); err != nil {
			return err
		}
	}
	return nil
}

// scanDir scans one directory at a depth; want is the depth where files belong.
func (s *super) scanDir(queueName, dir string, depth, want int, visit func(*file) error) error {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrNotExist) && depth > 0 {
		return nil
	}
	if err != nil {
		return fmt.Errorf("open directory %s: %s", dir, syserr.Text(err))
	}
	defer d.Close()
	for {
		names, err := d.Readdirnames(nameBatch)
		for _, name := range names {
			path := dir + "/" + name
			if len(name) == 1 && queueName != queue.Maildrop && depth < maxDepth {
				if err := s.scanDir(queueName, path, depth+1, want, visit); err != nil {
					return err
				}
				if depth+1 > want {
					if err := s.removeDir(path); err != nil {
						return err
					}
				}
				continue
			}
			if err := s.scanFile(queueName, name, path, visit); err != nil {
				return err
			}
		}
		switch {
		case errors.Is(err, io.EOF), errors.Is(err, fs.ErrNotExist):
			return nil
		case err != nil:
			return fmt.Errorf("read directory %s: %s", dir, syserr.Text(err))
		}
	}
}

func (s *super) scanFile(queueName, name, path string, visit func(*file) error) error {
	f := &file{s: s, queue: queueName, name: name, path: path}
	if err := syscall.Lstat(path, &f.st); err != nil {
		if err == syscall.ENOENT {
			return nil
		}
		return fmt.Errorf("stat file %s: %s", path, syserr.Text(err))
	}
	switch f.st.Mode & syscall.S_IFMT {
	case syscall.S_IFREG:
		return visit(f)
	case syscall.S_IFDIR:
		if err := syscall.Rmdir(path); err == nil {
			s.debugf("remove subdirectory %s", path)
		} else if err != syscall.ENOENT {
			s.log(maillog.Warning, "remove subdirectory %s: %s", maillog.Printable(path), syserr.Text(err))
		}
		return nil
	}
	_, err := s.remove(path)
	return err
}

// removeDir removes a directory of a deeper hashing than the configured one.
func (s *super) removeDir(path string) error {
	err := syscall.Rmdir(path)
	switch err {
	case nil:
		s.debugf("remove directory %s", path)
	case syscall.ENOENT:
	default:
		return fmt.Errorf("remove directory %s: %s", path, syserr.Text(err))
	}
	return nil
}
