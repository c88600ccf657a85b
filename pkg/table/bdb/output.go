package bdb

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/rand"
	"encoding/binary"
	"io"
	"os"
)

// newPageSize is the page size of the files that we write: the block size of
// common file systems, which libdb would choose.
const newPageSize = 4096

// Big items go to overflow pages.
const (
	maxHashItem = newPageSize / 4
	maxLeafItem = (newPageSize-headerSize)/4 - 10
)

var le = binary.LittleEndian

// output writes the pages of a new file in order.
type output struct {
	w    *bufio.Writer
	next uint32 // number of the next page

	buckets  uint32 // of a hash database
	elements int
}

// newPage returns an empty page.
func newPage(number uint32, kind, level byte) []byte {
	p := make([]byte, newPageSize)
	resetPage(p, number, kind, level)
	return p
}

func resetPage(p []byte, number uint32, kind, level byte) {
	clear(p)
	le.PutUint32(p[4:], 1) // log sequence number 0/1: not logged
	le.PutUint32(p[offPage:], number)
	le.PutUint16(p[offFree:], uint16(newPageSize))
	p[offLevel], p[offType] = level, kind
}

// addItem puts an item of n bytes into a page and returns the place for it.
func addItem(p []byte, n, align int) []byte {
	count := int(le.Uint16(p[offEntries:]))
	off := (int(le.Uint16(p[offFree:])) - n) &^ (align - 1)
	le.PutUint16(p[headerSize+2*count:], uint16(off))
	le.PutUint16(p[offEntries:], uint16(count+1))
	le.PutUint16(p[offFree:], uint16(off))
	return p[off : off+n]
}

// room says how many bytes are free in a page.
func room(p []byte) int {
	return int(le.Uint16(p[offFree:])) - headerSize - 2*int(le.Uint16(p[offEntries:]))
}

// overflow makes the chain of pages of a big item; numbers start at first.
func overflow(data []byte, first uint32) (pages [][]byte) {
	for start := 0; start == 0 || start < len(data); start += newPageSize - headerSize {
		part := data[start:min(len(data), start+newPageSize-headerSize)]
		number := first + uint32(len(pages))
		p := newPage(number, pageOverflow, 0)
		if len(pages) > 0 {
			le.PutUint32(p[offPrev:], number-1)
			le.PutUint32(pages[len(pages)-1][offNext:], number)
		}
		le.PutUint16(p[offEntries:], 1)
		le.PutUint16(p[offFree:], uint16(len(part)))
		copy(p[headerSize:], part)
		pages = append(pages, p)
	}
	return pages
}

// putBig fills the 12 bytes that refer to an overflow chain. kindAt is where
// the type byte stands: first in hash pages, third in btree pages.
func putBig(dst []byte, kindAt int, first uint32, size int) {
	dst[kindAt] = itemBig
	le.PutUint32(dst[4:], first)
	le.PutUint32(dst[8:], uint32(size))
}

// meta makes the first page.
func meta(magic uint32, kind byte, last uint32) []byte {
	p := make([]byte, newPageSize)
	le.PutUint32(p[4:], 1)
	le.PutUint32(p[offMagic:], magic)
	le.PutUint32(p[offVersion:], version)
	le.PutUint32(p[offPageSize:], newPageSize)
	p[offMetaType] = kind
	le.PutUint32(p[offLastPage:], last)
	rand.Read(p[offFileID : offFileID+20])
	return p
}

// A record is an entry to be written, as it is stored.
type record struct {
	key, value string
	hash       uint32
}

func byKey(a, b record) int { return cmp.Compare(a.key, b.key) }

// write writes a whole database to f, from its start. It reorders records.
func write(f *os.File, btree bool, records []record) error {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return err
	}
	o := &output{w: bufio.NewWriterSize(f, 256<<10)}
	var first map[int64][]byte // pages that are known at the end
	var err error
	if btree {
		first, err = o.btree(records)
	} else {
		err = o.hash(records)
		first = map[int64][]byte{0: o.hashMeta()}
	}
	if err != nil {
		return err
	}
	if err := o.w.Flush(); err != nil {
		return err
	}
	for off, p := range first {
		if _, err := f.WriteAt(p, off); err != nil {
			return err
		}
	}
	return nil
}

func (o *output) put(pages ...[]byte) error {
	for _, p := range pages {
		if _, err := o.w.Write(p); err != nil {
			return err
		}
	}
	return nil
}

// inPage returns the size of an item in a page, and whether it goes to
// overflow pages.
func inPage(length, limit, head int) (size int, big bool) {
	if length > limit {
		return 12, true
	}
	return head + length, false
}

var zeroPage = bytes.Repeat([]byte{0}, newPageSize)
