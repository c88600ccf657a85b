package store

import (
	"bufio"
	"errors"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/cockroachdb/pebble/v2/sstable"
	"golang.org/x/sys/unix"

	"suffix/pkg/table/dbfile"
	"suffix/pkg/table/pebble"
)

// layout is what package pebble can read: the oldest format, blocks as they
// are, one index.
var layout = sstable.WriterOptions{
	TableFormat:    sstable.TableFormatPebblev1,
	Compression:    sstable.NoCompression,
	BlockSize:      4096,
	IndexBlockSize: math.MaxInt32,
}

// commit writes the file anew, from the old one and the changes. The lock goes
// over to the new file.
func (s *store) commit() (err error) {
	temp, err := s.newFile()
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, temp.Close(), os.Remove(temp.Name()))
		}
	}()
	if err := s.writeTo(temp); err != nil {
		return err
	}
	if err := s.likeOld(temp); err != nil {
		return err
	}
	if err := unix.Fdatasync(int(temp.Fd())); err != nil {
		return err
	}
	if err := dbfile.Flock(int(temp.Fd()), unix.LOCK_EX); err != nil {
		return err
	}
	var next *pebble.File
	if !s.bulk {
		again, err := os.Open(temp.Name())
		if err == nil {
			if next, err = pebble.OpenFile(again); err != nil {
				again.Close()
			}
		}
		if err != nil {
			return err
		}
	}
	if err := os.Rename(temp.Name(), s.real); err != nil {
		if next != nil {
			next.Close()
		}
		return err
	}
	s.drop()
	s.f, s.base = temp, next
	s.forget()
	s.changed = false
	return nil
}

// forget drops the changes.
func (s *store) forget() {
	clear(s.entries)
	s.size = 0
	for _, r := range s.runs {
		r.f.Close() // it has no name, and nobody needs it
	}
	s.runs = nil
}

// newFile makes an empty file beside the table.
func (s *store) newFile() (*os.File, error) {
	for i := int64(0); ; i++ {
		name := s.real + "." + strconv.Itoa(os.Getpid()) + "." + strconv.FormatInt(time.Now().UnixNano()+i, 36) + ".tmp"
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, s.perm)
		if !os.IsExist(err) {
			return f, err
		}
	}
}

// likeOld gives a new file the owner and mode of the one that it replaces.
func (s *store) likeOld(f *os.File) error {
	if s.f == nil {
		return nil
	}
	var old, mine unix.Stat_t
	if err := unix.Fstat(int(s.f.Fd()), &old); err != nil {
		return err
	}
	if err := unix.Fstat(int(f.Fd()), &mine); err != nil {
		return err
	}
	if mine.Uid != old.Uid || mine.Gid != old.Gid {
		if err := f.Chown(int(old.Uid), int(old.Gid)); err != nil {
			return err
		}
	}
	return f.Chmod(os.FileMode(old.Mode & 0o777))
}

// writeTo merges the old content and the changes into f.
func (s *store) writeTo(f *os.File) error {
	var sources []source
	if s.base != nil {
		sources = append(sources, s.content())
	}
	for _, r := range s.runs {
		src, err := r.source()
		if err != nil {
			return err
		}
		sources = append(sources, src)
	}
	sources = append(sources, inMemory(s.entries))

	out := &output{f: f, w: bufio.NewWriterSize(f, 256<<10)}
	w := sstable.NewWriter(out, layout)
	err := merge(sources, s.duplicate, func(key, value string) error { return w.Set([]byte(key), []byte(value)) })
	return errors.Join(err, w.Close())
}

// content yields what the file has now.
func (s *store) content() source {
	next := s.base.Scan()
	return func() (i item, ok bool, err error) {
		key, value, ok, err := next()
		return item{string(key), entry{value: string(value)}}, ok, err
	}
}

// output is the file as the library writes it.
type output struct {
	f *os.File
	w *bufio.Writer
}

func (o *output) Write(p []byte) error {
	_, err := o.w.Write(p)
	return err
}

func (o *output) Finish() error { return o.w.Flush() }

// Abort leaves the file to the caller, who removes it.
func (o *output) Abort() {}
