package main

import (
	"strings"
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/queue"
)

// fixSuffix marks a file that has a new name which another file may still
// have: a second pass, after all files left their wrong names, takes it off.
const fixSuffix = "#FIX"

// maxAge is the age at which a file that never became complete is a leftover.
const maxAge = 7 * 24 * time.Hour

// repair makes names and places of files right, and removes leftovers.
func (s *super) repair(structure, purge bool) error {
	visit := func(f *file) error { return s.repairFile(f, structure, purge) }
	if err := s.scan(visit); err != nil {
		return err
	}
	if s.marked.Load() == 0 {
		return nil
	}
	return s.scan(visit)
}

func (s *super) repairFile(f *file, structure, purge bool) error {
	if purge && hasMessages(f.queue) && !f.ready() && time.Unix(f.st.Mtim.Sec, 0).Add(maxAge).Before(time.Now()) {
		_, err := s.remove(f.path)
		return err
	}
	if structure {
		if id, marked := strings.CutSuffix(f.name, fixSuffix); marked {
			return s.unmark(f, id)
		}
	}
	if !f.hasID() || !structure {
		return nil
	}
	if hasMessages(f.queue) {
		if id, ok := s.properID(f); !ok {
			f.bogus()
			return nil
		} else if id != f.name {
			return s.mark(f, id)
		}
	}
	if want := s.tree.Path(f.queue, f.name); want != f.path {
		_, err := s.renameFree(f.path, want)
		return err
	}
	return nil
}

// properID returns the ID that a message must have, given its inode; ok is
// false for a name that says no inode.
func (s *super) properID(f *file) (id string, ok bool) {
	inode, ok := queue.Inode(f.name)
	if !ok {
		return "", false
	}
	long := queue.IsLong(f.name)
	switch {
	case long && s.tree.LongIDs && !s.redundant: // such names do not repeat
		return f.name, true
	case long != (long && s.tree.LongIDs), inode != f.st.Ino:
		return queue.WithInode(f.name, f.st.Ino, s.tree.LongIDs), true
	}
	return f.name, true
}

// mark gives a message and its logs their new name, with the suffix.
func (s *super) mark(f *file, id string) error {
	for _, name := range logQueues {
		if _, err := s.rename(s.tree.Path(name, f.name), s.tree.Path(name, id)+fixSuffix); err != nil {
			return err
		}
	}
	done, err := s.renameFree(f.path, s.tree.Path(f.queue, id)+fixSuffix)
	if done {
		s.marked.Add(1)
	}
	return err
}

// unmark takes the suffix off.
func (s *super) unmark(f *file, id string) error {
	if !queue.ValidID(id) {
		f.bogus()
		return nil
	}
	if hasMessages(f.queue) {
		inode, ok := queue.Inode(id)
		if !ok {
			f.bogus()
			return nil
		}
		if inode != f.st.Ino {
			s.log(maillog.Warning, "name/inode mismatch: %s", f.path)
			return nil
		}
	}
	done, err := s.renameFree(f.path, s.tree.Path(f.queue, id))
	if done && hasMessages(f.queue) {
		s.renamed++
	}
	return err
}
