package cdb

import (
	"golang.org/x/sys/unix"
)

// errCorrupt: the file contradicts itself. libcdb says it with this error too.
var errCorrupt error = unix.EPROTO

// image is the content of a file. Its methods check every position, as the
// file may say anything.
type image struct {
	data []byte
	end  uint32 // of the records
}

// parse checks the length of a file; the rest is checked where it is read.
func parse(data []byte) (image, error) {
	if len(data) < headerSize || uint64(len(data)) > maxSize {
		return image{}, errCorrupt
	}
	end := min(max(le.Uint32(data), headerSize), uint32(len(data)))
	return image{data, end}, nil
}

// record returns the lengths in the head of a record.
func (im image) record(pos uint32) (key, value uint32, err error) {
	if pos < headerSize || uint64(pos)+recordHead > uint64(im.end) {
		return 0, 0, errCorrupt
	}
	return le.Uint32(im.data[pos:]), le.Uint32(im.data[pos+4:]), nil
}

// bytes returns n bytes of the records.
func (im image) bytes(pos uint64, n uint32) ([]byte, error) {
	if pos+uint64(n) > uint64(im.end) {
		return nil, errCorrupt
	}
	return im.data[pos : pos+uint64(n)], nil
}

// lookup finds the value of a stored key.
func (im image) lookup(key []byte) (value []byte, found bool, err error) {
	h := hash(key)
	pair := im.data[h%tables*8:]
	start, slots := le.Uint32(pair), le.Uint32(pair[4:])
	if slots == 0 {
		return nil, false, nil
	}
	if start < im.end || uint64(start)+uint64(slots)*slotSize > uint64(len(im.data)) {
		return nil, false, errCorrupt
	}
	table := im.data[start : uint64(start)+uint64(slots)*slotSize]
	at := h >> 8 % slots
	for range slots {
		slot := table[uint64(at)*slotSize:]
		pos := le.Uint32(slot[4:])
		if pos == 0 {
			return nil, false, nil
		}
		if le.Uint32(slot) == h {
			keyLen, valueLen, err := im.record(pos)
			if err != nil {
				return nil, false, err
			}
			if uint64(keyLen) == uint64(len(key)) {
				stored, err := im.bytes(uint64(pos)+recordHead, keyLen)
				if err != nil {
					return nil, false, err
				}
				if string(stored) == string(key) {
					value, err = im.bytes(uint64(pos)+recordHead+uint64(keyLen), valueLen)
					return value, err == nil, err
				}
			}
		}
		if at++; at == slots {
			at = 0
		}
	}
	return nil, false, nil
}

// next returns the record at pos and where the one after it begins; ok is
// false at the end of the records.
func (im image) next(pos uint32) (key, value []byte, after uint32, ok bool, err error) {
	if pos >= im.end {
		return nil, nil, pos, false, nil
	}
	keyLen, valueLen, err := im.record(pos)
	if err != nil {
		return nil, nil, pos, false, err
	}
	start := uint64(pos) + recordHead
	if key, err = im.bytes(start, keyLen); err != nil {
		return nil, nil, pos, false, err
	}
	if value, err = im.bytes(start+uint64(keyLen), valueLen); err != nil {
		return nil, nil, pos, false, err
	}
	return key, value, uint32(start + uint64(keyLen) + uint64(valueLen)), true, nil
}
