package pebble

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"sync/atomic"
)

// errCorrupt says that a file is not one of ours, or is damaged.
var errCorrupt = errors.New("corrupt table file")

// The layout of an sstable, from its end: a footer with the places of two
// blocks, the index and the metaindex. The index has for each data block a key
// that is not below any of the block's, and above all before it, and the
// block's place. The metaindex leads to the properties. All numbers are
// little-endian or varints. (It is the table format of LevelDB, which RocksDB
// and Pebble have extended.)
const (
	magic      = "\xf0\x9f\xaa\xb3\xf0\x9f\xaa\xb3"
	version    = 1 // the oldest one: row blocks, no value blocks
	crc32c     = 1 // kind of checksum
	footerSize = 1 + 4*binary.MaxVarintLen64 + 4 + len(magic)

	// blockTrailer is what follows a block: how it is compressed (0: not at
	// all), and the checksum of block and that byte.
	blockTrailer = 5

	// keyTrailer ends a key: kind and sequence number.
	keyTrailer = 8
	kindSet    = 1
)

// Properties that a table must have.
const (
	propertiesName = "rocksdb.properties"
	indexType      = "rocksdb.block.based.table.index.type" // 32 bits, 0: one level
	comparer       = "rocksdb.comparator"
	byteOrder      = "leveldb.BytewiseComparator"
)

// image is the content of a table file.
type image struct {
	data    []byte
	index   block
	checked []uint32 // one bit per data block: its checksum was right
}

// parse finds the index of a table.
func parse(data []byte) (*image, error) {
	if len(data) < footerSize {
		return nil, errCorrupt
	}
	footer := data[len(data)-footerSize:]
	tail := footer[footerSize-len(magic)-4:]
	if string(tail[4:]) != magic || binary.LittleEndian.Uint32(tail) != version || footer[0] != crc32c {
		return nil, errCorrupt
	}
	im := &image{data: data[:len(data)-footerSize]}
	meta, rest, ok := getHandle(footer[1:])
	if !ok {
		return nil, errCorrupt
	}
	index, _, ok := getHandle(rest)
	if !ok {
		return nil, errCorrupt
	}
	if err := im.checkProperties(meta); err != nil {
		return nil, err
	}
	var err error
	if im.index, err = im.read(index, true); err != nil {
		return nil, err
	}
	im.checked = make([]uint32, (im.index.restarts+31)/32)
	return im, nil
}

// checkProperties refuses tables that hold their keys in another way.
func (im *image) checkProperties(meta handle) error {
	metaindex, err := im.read(meta, true)
	if err != nil {
		return err
	}
	value, found, err := metaindex.find(propertiesName)
	if err != nil || !found {
		return errCorrupt
	}
	where, _, ok := getHandle(value)
	if !ok {
		return errCorrupt
	}
	properties, err := im.read(where, true)
	if err != nil {
		return err
	}
	kind, found, err := properties.find(indexType)
	if err != nil || found && !bytes.Equal(kind, []byte{0, 0, 0, 0}) {
		return errCorrupt
	}
	order, found, err := properties.find(comparer)
	if err != nil || !found || string(order) != byteOrder {
		return errCorrupt
	}
	return nil
}

// handle is the place of a block.
type handle struct{ offset, size uint64 }

func getHandle(b []byte) (h handle, rest []byte, ok bool) {
	offset, n := binary.Uvarint(b)
	if n <= 0 {
		return h, nil, false
	}
	size, m := binary.Uvarint(b[n:])
	if m <= 0 {
		return h, nil, false
	}
	return handle{offset, size}, b[n+m:], true
}

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// read returns a block, with its checksum looked at if check is set.
func (im *image) read(h handle, check bool) (block, error) {
	size := uint64(len(im.data))
	if h.offset > size || h.size > size-h.offset || size-h.offset-h.size < blockTrailer {
		return block{}, errCorrupt
	}
	data := im.data[h.offset : h.offset+h.size+blockTrailer]
	if data[h.size] != 0 {
		return block{}, errCorrupt
	}
	if check {
		sum := crc32.Checksum(data[:h.size+1], castagnoli)
		sum = (sum>>15 | sum<<17) + 0xa282ead8
		if sum != binary.LittleEndian.Uint32(data[h.size+1:]) {
			return block{}, errCorrupt
		}
	}
	return newBlock(data[:h.size])
}

// dataBlock returns the block of an index entry. The first one to read a block
// looks at its checksum.
func (im *image) dataBlock(i int) (block, error) {
	_, value, err := im.index.restartEntry(i)
	if err != nil {
		return block{}, err
	}
	h, _, ok := getHandle(value)
	if !ok {
		return block{}, errCorrupt
	}
	word, bit := &im.checked[i/32], uint32(1)<<(i%32)
	known := atomic.LoadUint32(word)&bit != 0
	b, err := im.read(h, !known)
	if err == nil && !known {
		atomic.OrUint32(word, bit)
	}
	return b, err
}

// lookup finds the value of a key. The value is part of the file.
func (im *image) lookup(key []byte) (value []byte, found bool, err error) {
	// The first index entry that is not below the key has the only block where
	// it can be.
	low, high := 0, im.index.restarts
	for low < high {
		middle := int(uint(low+high) / 2)
		separator, _, err := im.index.restartEntry(middle)
		if err != nil {
			return nil, false, err
		}
		if len(separator) < keyTrailer {
			return nil, false, errCorrupt
		}
		if bytes.Compare(separator[:len(separator)-keyTrailer], key) < 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == im.index.restarts {
		return nil, false, nil
	}
	b, err := im.dataBlock(low)
	if err != nil {
		return nil, false, err
	}
	return b.lookup(key)
}

// scanner walks through the entries in key order.
type scanner struct {
	im   *image
	next int // data block
	b    block
	pos  int
	key  []byte
}

// Next returns an entry; the key is valid until the next call.
func (s *scanner) Next() (key, value []byte, ok bool, err error) {
	for s.pos >= len(s.b.entries) {
		if s.next >= s.im.index.restarts {
			return nil, nil, false, nil
		}
		if s.b, err = s.im.dataBlock(s.next); err != nil {
			return nil, nil, false, err
		}
		s.next++
		s.pos, s.key = 0, s.key[:0]
	}
	if s.key, value, s.pos, err = s.b.entry(s.pos, s.key); err != nil {
		return nil, nil, false, err
	}
	key, set := userKey(s.key)
	if !set {
		return nil, nil, false, errCorrupt
	}
	return key, value, true, nil
}

// userKey cuts the trailer off; set is false where the entry is not a plain
// key with a value.
func userKey(key []byte) (user []byte, set bool) {
	n := len(key) - keyTrailer
	if n < 0 || key[n] != kindSet {
		return nil, false
	}
	return key[:n], true
}
