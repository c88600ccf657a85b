package lmdb

import (
	"slices"

	"golang.org/x/sys/unix"
)

// maxFile is the greatest size of a file: what a process can map.
const maxFile = 1 << 46

// changed says that there is something to commit.
func (t *txn) changed() bool { return len(t.dirty) > 0 || len(t.freed) > 0 }

// commit makes the changes of a transaction the content of the file.
func (h *file) commit(t *txn) error {
	if err := t.saveFree(); err != nil {
		return err
	}
	w := pageWriter{f: h.out, pageSize: t.im.pageSize}
	numbers := make([]uint64, 0, len(t.dirty))
	for number := range t.dirty {
		numbers = append(numbers, number)
	}
	slices.Sort(numbers)
	for _, number := range numbers {
		if err := w.write(number, t.dirty[number]); err != nil {
			return err
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	return h.publish(t)
}

// publish makes pages that have been written the content of the file: first
// they get to the disk, then the meta that says so.
func (h *file) publish(t *txn) error {
	m := &t.meta
	if m.last > maxFile/uint64(t.im.pageSize) {
		return unix.EFBIG
	}
	used := (m.last + 1) * uint64(t.im.pageSize)
	for m.mapSize = max(m.mapSize, uint64(t.im.pageSize)); used > m.mapSize; {
		m.mapSize *= 2
	}
	if err := toDisk(h.fd); err != nil {
		return err
	}
	at := int64(m.txn&1)*int64(t.im.pageSize) + offMapSize
	if _, err := h.out.WriteAt(m.part(), at); err != nil {
		return err
	}
	return toDisk(h.fd)
}

// toDisk writes a file to the disk. Most tests do without.
var toDisk = unix.Fdatasync

// writerAt is what a pageWriter writes to.
type writerAt interface {
	WriteAt(p []byte, off int64) (int, error)
}

// pageWriter writes pages; those in a row are written together.
type pageWriter struct {
	f        writerAt
	pageSize int
	buf      []byte
	first    uint64 // number of the page that buf begins with
}

const writeSize = 1 << 20

func (w *pageWriter) write(number uint64, p []byte) error {
	if len(w.buf) > 0 && (w.first+uint64(len(w.buf)/w.pageSize) != number || len(w.buf)+len(p) > writeSize) {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if len(w.buf) == 0 {
		w.first = number
	}
	w.buf = append(w.buf, p...)
	return nil
}

func (w *pageWriter) flush() error {
	if len(w.buf) == 0 {
		return nil
	}
	_, err := w.f.WriteAt(w.buf, int64(w.first)*int64(w.pageSize))
	w.buf = w.buf[:0]
	return err
}
