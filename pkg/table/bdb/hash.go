package bdb

import (
	"bytes"
	"cmp"
	"math/bits"
)

// hash is libdb's default hash function (FNV-1 with a start value of 0).
func hash[T string | []byte](key T) uint32 {
	var h uint32
	for i := 0; i < len(key); i++ {
		h *= 16777619
		h ^= uint32(key[i])
	}
	return h
}

// bucketPage returns the first page of a bucket.
func (im *image) bucketPage(bucket uint32) (uint32, error) {
	power := bits.Len32(bucket) // ceil(log2(bucket+1))
	if power >= maxSpares {
		return 0, errCorrupt
	}
	return bucket + im.spares[power], nil
}

// hashItem returns an item of a hash page: even ones are keys, odd ones values.
func (p page) hashItem(i int) (item, error) {
	off, end := p.offset(i), p.size()
	if i > 0 {
		end = p.offset(i - 1)
	}
	raw, err := p.bytes(off, end-off)
	if err != nil || len(raw) == 0 {
		return item{}, errCorrupt
	}
	switch raw[0] {
	case itemData:
		return item{data: raw[1:]}, nil
	case itemBig:
		if len(raw) < 12 {
			return item{}, errCorrupt
		}
		at := p.start + off
		return item{big: true, page: p.im.u32(at + 4), size: p.im.u32(at + 8)}, nil
	}
	return item{}, errCorrupt
}

// hashOrder is the order of keys in a sorted hash page. Where one key is the
// beginning of another, the longer one comes first. That only happens with keys
// that are stored without NUL.
func hashOrder(a, b []byte) int {
	n := min(len(a), len(b))
	if c := bytes.Compare(a[:n], b[:n]); c != 0 {
		return c
	}
	return cmp.Compare(len(b), len(a))
}

// compareItem orders key and an item of a btree file.
func (im *image) compareItem(key []byte, it item) (int, error) {
	data, err := im.read(it)
	if err != nil {
		return 0, err
	}
	return bytes.Compare(key, data), nil
}

func (im *image) hashLookup(key []byte) ([]byte, bool, error) {
	h := hash(key)
	bucket := h & im.highMask
	if bucket > im.maxBucket {
		bucket = h & im.lowMask
	}
	number, err := im.bucketPage(bucket)
	if err != nil {
		return nil, false, err
	}
	for steps := uint32(0); number != 0; steps++ {
		p, err := im.page(number)
		if err != nil || steps > im.last {
			return nil, false, errCorrupt
		}
		value, found, err := p.hashFind(key)
		if found || err != nil {
			return value, found, err
		}
		if p.kind == 0 {
			return nil, false, nil
		}
		number = p.next()
	}
	return nil, false, nil
}

func (p page) hashFind(key []byte) ([]byte, bool, error) {
	found := -1
	switch p.kind {
	case 0:
		return nil, false, nil
	case pageHash:
		for lo, hi := 0, p.n/2; lo < hi && found < 0; {
			mid := (lo + hi) / 2
			it, err := p.hashItem(2 * mid)
			if err != nil {
				return nil, false, err
			}
			data, err := p.im.read(it)
			if err != nil {
				return nil, false, err
			}
			switch c := hashOrder(key, data); {
			case c == 0:
				found = 2 * mid
			case c < 0:
				hi = mid
			default:
				lo = mid + 1
			}
		}
	case pageHashUnsorted:
	default:
		return nil, false, errCorrupt
	}
	// libdb loses the order where a key without NUL is the beginning of a big
	// one, so that it does not find the key itself; we do.
	if found < 0 && (p.kind == pageHashUnsorted || len(key) == 0 || key[len(key)-1] != 0) {
		var err error
		if found, err = p.hashScan(key); err != nil {
			return nil, false, err
		}
	}
	if found < 0 || found+1 >= p.n {
		return nil, false, nil
	}
	it, err := p.hashItem(found + 1)
	if err != nil {
		return nil, false, err
	}
	value, err := p.im.read(it)
	return value, err == nil, err
}

// hashScan looks at all keys of a page, and returns -1 if key is not there.
func (p page) hashScan(key []byte) (int, error) {
	for i := 0; i+1 < p.n; i += 2 {
		it, err := p.hashItem(i)
		if err != nil {
			return -1, err
		}
		if it.big && int(it.size) != len(key) {
			continue
		}
		data, err := p.im.read(it)
		if err != nil {
			return -1, err
		}
		if bytes.Equal(key, data) {
			return i, nil
		}
	}
	return -1, nil
}
