package pebble

import (
	"bytes"
	"encoding/binary"
)

// block is a sequence of entries. An entry has the length of what its key
// shares with the one before, the lengths of the rest of the key and of the
// value, and both. Some entries share nothing; their places follow the entries,
// as 32-bit numbers, and the number of them.
type block struct {
	entries  []byte
	places   []byte
	restarts int
}

func newBlock(data []byte) (b block, err error) {
	if len(data) < 4 {
		return b, errCorrupt
	}
	n := binary.LittleEndian.Uint32(data[len(data)-4:])
	data = data[:len(data)-4]
	if uint64(n)*4 > uint64(len(data)) {
		return b, errCorrupt
	}
	end := len(data) - int(n)*4
	if end == 0 {
		n = 0 // an empty block has a restart too
	}
	return block{entries: data[:end], places: data[end:], restarts: int(n)}, nil
}

// header decodes the start of the entry at pos.
func (b *block) header(pos int) (shared int, rest, value []byte, next int, err error) {
	data := b.entries[pos:]
	var n [3]uint64
	for i := range n {
		if len(data) > 0 && data[0] < 0x80 {
			n[i], data = uint64(data[0]), data[1:]
			continue
		}
		v, size := binary.Uvarint(data)
		if size <= 0 {
			return 0, nil, nil, 0, errCorrupt
		}
		n[i], data = v, data[size:]
	}
	if n[1] > uint64(len(data)) || n[2] > uint64(len(data))-n[1] || n[0] > uint64(len(b.entries)) {
		return 0, nil, nil, 0, errCorrupt
	}
	rest, value = data[:n[1]], data[n[1]:n[1]+n[2]]
	return int(n[0]), rest, value, len(b.entries) - len(data) + len(rest) + len(value), nil
}

// entry decodes the entry at pos. key is that of the entry before, and is
// overwritten.
func (b *block) entry(pos int, key []byte) (_, value []byte, next int, err error) {
	shared, rest, value, next, err := b.header(pos)
	if err != nil || shared > len(key) {
		return key[:0], nil, 0, errCorrupt
	}
	return append(key[:shared], rest...), value, next, nil
}

// restart is the place of the i-th entry that shares nothing.
func (b *block) restart(i int) (pos int, err error) {
	at := binary.LittleEndian.Uint32(b.places[4*i:])
	if uint64(at) >= uint64(len(b.entries)) {
		return 0, errCorrupt
	}
	return int(at), nil
}

func (b *block) restartEntry(i int) (key, value []byte, err error) {
	pos, err := b.restart(i)
	if err != nil {
		return nil, nil, err
	}
	shared, key, value, _, err := b.header(pos)
	if err != nil || shared != 0 {
		return nil, nil, errCorrupt
	}
	return key, value, nil
}

// lookup finds a key in a data block.
func (b *block) lookup(key []byte) (value []byte, found bool, err error) {
	// The last restart that is not above the key.
	low, high := 0, b.restarts
	for low < high {
		middle := int(uint(low+high) / 2)
		first, _, err := b.restartEntry(middle)
		if err != nil {
			return nil, false, err
		}
		user, set := userKey(first)
		if !set {
			return nil, false, errCorrupt
		}
		if bytes.Compare(user, key) <= 0 {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if low == 0 {
		return nil, false, nil
	}
	pos, err := b.restart(low - 1)
	if err != nil {
		return nil, false, err
	}
	var space [128]byte
	current := space[:0]
	for pos < len(b.entries) {
		if current, value, pos, err = b.entry(pos, current); err != nil {
			return nil, false, err
		}
		user, set := userKey(current)
		if !set {
			return nil, false, errCorrupt
		}
		switch c := bytes.Compare(user, key); {
		case c == 0:
			return value, true, nil
		case c > 0:
			return nil, false, nil
		}
	}
	return nil, false, nil
}

// find looks for a name in a block of names and values, which is short.
func (b *block) find(name string) (value []byte, found bool, err error) {
	var key []byte
	for pos := 0; pos < len(b.entries); {
		if key, value, pos, err = b.entry(pos, key); err != nil {
			return nil, false, err
		}
		if string(key) == name {
			return value, true, nil
		}
	}
	return nil, false, nil
}
