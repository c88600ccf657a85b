package queue

import (
	"errors"
	"io"
	"io/fs"
	"os"
)

// scanBatch is how many names are read from a directory at a time.
const scanBatch = 512

// maxScanDepth bounds how deep directories nest: far above hash_queue_depth,
// and far below what a link loop would make of it.
const maxScanDepth = 100

// A Scanner goes through all files of a queue, in the order of the
// directories. An entry whose name has one character is a directory; others
// are files (spec queue-files §3). It holds a directory open: Close it.
//
//	s := tree.Scan("incoming")
//	defer s.Close()
//	for s.Next() { … s.Name() … }
//	err := s.Err()
type Scanner struct {
	dirs []scanDir
	name string
	err  error
}

type scanDir struct {
	f     *os.File
	path  string
	names []string
}

// Scan starts to go through a queue.
func (t *Tree) Scan(queueName string) *Scanner {
	s := &Scanner{}
	s.push(queueName)
	return s
}

func (s *Scanner) push(path string) {
	f, err := os.Open(path)
	if err != nil {
		s.err = err
		return
	}
	s.dirs = append(s.dirs, scanDir{f: f, path: path})
}

// Next moves to the next file. It returns false at the end and after an error.
func (s *Scanner) Next() bool {
	for s.err == nil && len(s.dirs) > 0 {
		d := &s.dirs[len(s.dirs)-1]
		if len(d.names) == 0 {
			names, err := d.f.Readdirnames(scanBatch)
			if len(names) == 0 {
				if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, fs.ErrNotExist) {
					s.err = err
				}
				s.pop()
				continue
			}
			d.names = names
		}
		name := d.names[0]
		d.names = d.names[1:]
		if len(name) != 1 {
			s.name = name
			return true
		}
		if len(s.dirs) >= maxScanDepth {
			continue
		}
		s.push(d.path + "/" + name)
		if errors.Is(s.err, fs.ErrNotExist) {
			s.err = nil // removed since we read its name
		}
	}
	s.Close()
	return false
}

// Name returns the name of the file, which need not be a queue ID.
func (s *Scanner) Name() string { return s.name }

// Path returns where the file stands, which need not be where Tree.Path says.
func (s *Scanner) Path() string { return s.Dir() + "/" + s.name }

// Dir returns the directory of the file.
func (s *Scanner) Dir() string {
	if len(s.dirs) == 0 {
		return ""
	}
	return s.dirs[len(s.dirs)-1].path
}

// Err returns the first error.
func (s *Scanner) Err() error { return s.err }

func (s *Scanner) pop() {
	last := len(s.dirs) - 1
	s.dirs[last].f.Close()
	s.dirs = s.dirs[:last]
}

// Close ends the scan. It is needed only where Next did not return false.
func (s *Scanner) Close() {
	for len(s.dirs) > 0 {
		s.pop()
	}
}
