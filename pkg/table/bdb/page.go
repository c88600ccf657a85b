// Package bdb reads and writes Berkeley DB files of the hash and btree access
// methods as libdb 5.3 makes them: the table types hash: and btree:
// (spec tables §14.2).
//
// A file is read through mmap(2) and always written whole: beside the old
// file, then renamed into its place. So a reader sees the old table or the new
// one, and a crash leaves the old one.
package bdb

import (
	"encoding/binary"
	"errors"
	"math/bits"
)

// Offsets in the header that each page but the first begins with.
const (
	offPage    = 8
	offPrev    = 12
	offNext    = 16
	offEntries = 20
	offFree    = 22 // in an overflow page: bytes of data
	offLevel   = 24
	offType    = 25
	headerSize = 26
)

// Offsets in the first page.
const (
	offMagic     = 12
	offVersion   = 16
	offPageSize  = 20
	offEncrypted = 24
	offMetaType  = 25
	offMetaFlags = 26
	offFreeList  = 28
	offLastPage  = 32
	offFileID    = 52
	offMaxBucket = 72
	offHighMask  = 76
	offLowMask   = 80
	offElements  = 88
	offCharKey   = 92
	offSpares    = 96
	offMinKeys   = 76
	offPad       = 84
	offRoot      = 88
	metaSize     = 512
)

const (
	hashMagic  = 0x061561
	btreeMagic = 0x053162
	version    = 9
	charKey    = 0x5e688dd1 // the hash of a test string: proves the hash function

	pageHashUnsorted = 2
	pageInternal     = 3
	pageLeaf         = 5
	pageOverflow     = 7
	pageHashMeta     = 8
	pageBtreeMeta    = 9
	pageHash         = 13

	itemData = 1 // in a hash page: type, data
	itemBig  = 3 // type, 3 unused, first overflow page, length

	minPageSize, maxPageSize = 512, 65536
	maxSpares                = 32
	maxLevels                = 64
)

// errCorrupt: the file contradicts itself.
var errCorrupt = errors.New("file is not a consistent database")

// image is the content of a database file.
type image struct {
	data     []byte
	swapped  bool // written by a host of the other byte order
	btree    bool
	pageSize uint32
	last     uint32 // number of the last page

	maxBucket, highMask, lowMask uint32
	spares                       [maxSpares]uint32

	root uint32
}

// parse checks the first page.
func parse(data []byte, btree bool) (*image, error) {
	if len(data) < metaSize {
		return nil, errCorrupt
	}
	im := &image{data: data, btree: btree}
	want := uint32(hashMagic)
	metaType := byte(pageHashMeta)
	if btree {
		want, metaType = btreeMagic, pageBtreeMeta
	}
	switch im.u32(offMagic) {
	case want:
	case bits.ReverseBytes32(want):
		im.swapped = true
	default:
		return nil, errCorrupt
	}
	v := im.u32(offVersion)
	im.pageSize = im.u32(offPageSize)
	im.last = im.u32(offLastPage)
	if (v != 9 && v != 10) || data[offMetaType] != metaType || data[offEncrypted] != 0 || data[offMetaFlags] != 0 ||
		im.pageSize < minPageSize || im.pageSize > maxPageSize || im.pageSize&(im.pageSize-1) != 0 {
		return nil, errCorrupt
	}
	if btree {
		im.root = im.u32(offRoot)
		return im, nil
	}
	im.maxBucket, im.highMask, im.lowMask = im.u32(offMaxBucket), im.u32(offHighMask), im.u32(offLowMask)
	if im.u32(offCharKey) != charKey || im.maxBucket > im.highMask || im.lowMask > im.maxBucket {
		return nil, errCorrupt
	}
	for i := range im.spares {
		im.spares[i] = im.u32(offSpares + 4*i)
	}
	return im, nil
}

func (im *image) u16(off int) int {
	v := binary.LittleEndian.Uint16(im.data[off:])
	if im.swapped {
		v = bits.ReverseBytes16(v)
	}
	return int(v)
}

func (im *image) u32(off int) uint32 {
	v := binary.LittleEndian.Uint32(im.data[off:])
	if im.swapped {
		v = bits.ReverseBytes32(v)
	}
	return v
}

// page is one page of an image. Its methods check every offset, as the file
// may say anything.
type page struct {
	im    *image
	start int // in im.data
	n     int // entries
	kind  byte
}

func (im *image) page(number uint32) (page, error) {
	start := uint64(number) * uint64(im.pageSize)
	if number > im.last || start+uint64(im.pageSize) > uint64(len(im.data)) {
		return page{}, errCorrupt
	}
	p := page{im: im, start: int(start), kind: im.data[start+offType]}
	p.n = im.u16(p.start + offEntries)
	if p.kind != pageOverflow && headerSize+2*p.n > int(im.pageSize) {
		return page{}, errCorrupt
	}
	return p, nil
}

func (p page) next() uint32     { return p.im.u32(p.start + offNext) }
func (p page) size() int        { return int(p.im.pageSize) }
func (p page) offset(i int) int { return p.im.u16(p.start + headerSize + 2*i) }

// bytes returns n bytes of the page from an offset.
func (p page) bytes(off, n int) ([]byte, error) {
	if off < headerSize || n < 0 || off+n > p.size() {
		return nil, errCorrupt
	}
	return p.im.data[p.start+off : p.start+off+n], nil
}

// item is a key or value, inside a page or in a chain of overflow pages.
type item struct {
	data []byte
	big  bool
	page uint32 // of a big item
	size uint32
}

// read returns the bytes of an item.
func (im *image) read(it item) ([]byte, error) {
	if !it.big {
		return it.data, nil
	}
	if uint64(it.size) > uint64(len(im.data)) {
		return nil, errCorrupt
	}
	buf := make([]byte, 0, it.size)
	for number, steps := it.page, uint32(0); number != 0; steps++ {
		p, err := im.page(number)
		if err != nil || p.kind != pageOverflow || steps > im.last {
			return nil, errCorrupt
		}
		part, err := p.bytes(headerSize, im.u16(p.start+offFree))
		if err != nil || len(buf)+len(part) > int(it.size) {
			return nil, errCorrupt
		}
		buf = append(buf, part...)
		number = p.next()
	}
	if len(buf) != int(it.size) {
		return nil, errCorrupt
	}
	return buf, nil
}
