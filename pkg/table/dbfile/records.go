package dbfile

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"slices"
)

// Records are the entries of a table that is being built, in memory, with an
// index to find duplicates. They are kept in large pieces without pointers, so
// that millions of them take little more space than their text.
type Records struct {
	pieces [][]byte
	recs   []record
	index  []uint32 // open addressing: 1 + number in recs, 0 empty
	seed   maphash.Seed
}

// record says where a key begins in a piece; its value follows.
type record struct {
	at       uint64 // piece << 32 | offset
	key      uint32 // length
	value    uint32
	indexTag uint32 // of the hash, so that few keys must be compared
}

const pieceSize = 1 << 20

// NewRecords makes an empty collection.
func NewRecords() *Records { return &Records{seed: maphash.MakeSeed()} }

// Len is the number of entries.
func (r *Records) Len() int { return len(r.recs) }

// Key returns the stored key of entry i.
func (r *Records) Key(i int) []byte {
	rec := &r.recs[i]
	off := uint32(rec.at)
	return r.pieces[rec.at>>32][off : off+rec.key]
}

// Value returns the stored value of entry i.
func (r *Records) Value(i int) []byte {
	rec := &r.recs[i]
	off := uint32(rec.at) + rec.key
	return r.pieces[rec.at>>32][off : off+rec.value]
}

// slot returns the place in the index where a key is or would be.
func (r *Records) slot(key string, hash uint64) int {
	mask := len(r.index) - 1
	for at := int(hash) & mask; ; at = (at + 1) & mask {
		i := int(r.index[at]) - 1
		if i < 0 || r.recs[i].indexTag == uint32(hash>>32) && string(r.Key(i)) == key {
			return at
		}
	}
}

// Put adds an entry with a stored key and value. If the key is there already,
// it is replaced or left, and there is true.
func (r *Records) Put(key, value string, replace bool) (there bool) {
	if 4*(len(r.recs)+1) > 3*len(r.index) {
		r.grow()
	}
	hash := maphash.String(r.seed, key)
	at := r.slot(key, hash)
	rec := record{key: uint32(len(key)), value: uint32(len(value)), indexTag: uint32(hash >> 32)}
	if i := int(r.index[at]) - 1; i >= 0 {
		if replace {
			rec.at = r.store(key, value)
			r.recs[i] = rec
		}
		return true
	}
	rec.at = r.store(key, value)
	r.recs = append(r.recs, rec)
	r.index[at] = uint32(len(r.recs))
	return false
}

// Find returns the stored value of a stored key. The caller must not change it.
func (r *Records) Find(key string) (value []byte, found bool) {
	if len(r.index) == 0 {
		return nil, false
	}
	i := int(r.index[r.slot(key, maphash.String(r.seed, key))]) - 1
	if i < 0 {
		return nil, false
	}
	return r.Value(i), true
}

// store appends the text of an entry.
func (r *Records) store(key, value string) (at uint64) {
	n := len(key) + len(value)
	last := len(r.pieces) - 1
	if last < 0 || cap(r.pieces[last])-len(r.pieces[last]) < n {
		r.pieces = append(r.pieces, make([]byte, 0, max(pieceSize, n)))
		last++
	}
	p := r.pieces[last]
	r.pieces[last] = append(append(p, key...), value...)
	return uint64(last)<<32 | uint64(len(p))
}

func (r *Records) grow() {
	r.index = make([]uint32, max(1024, 2*len(r.index)))
	mask := len(r.index) - 1
	for i := range r.recs {
		at := int(maphash.Bytes(r.seed, r.Key(i))) & mask
		for r.index[at] != 0 {
			at = (at + 1) & mask
		}
		r.index[at] = uint32(i + 1)
	}
}

// Order returns the entries' numbers sorted by a first criterion, which rank
// tells of a key, and then by key. tie, if not nil, compares the keys then.
// Nothing can be put any more.
func (r *Records) Order(rank func(key []byte) uint64, tie func(a, b []byte) int) []uint32 {
	r.index = nil
	if tie == nil {
		tie = bytes.Compare
	}
	type ranked struct {
		rank uint64
		i    uint32
	}
	all := make([]ranked, len(r.recs))
	for i := range all {
		all[i] = ranked{rank(r.Key(i)), uint32(i)}
	}
	slices.SortFunc(all, func(a, b ranked) int {
		if a.rank != b.rank {
			return cmp.Compare(a.rank, b.rank)
		}
		return tie(r.Key(int(a.i)), r.Key(int(b.i)))
	})
	order := make([]uint32, len(all))
	for i := range all {
		order[i] = all[i].i
	}
	return order
}

// Prefix is a rank for sorting by key.
func Prefix(key []byte) uint64 {
	if len(key) >= 8 {
		return binary.BigEndian.Uint64(key)
	}
	var b [8]byte
	copy(b[:], key)
	return binary.BigEndian.Uint64(b[:])
}
