package bdb

import "bytes"

// leafItem returns an item of a leaf page: even ones are keys, odd ones
// values. deleted: it is no longer there.
func (p page) leafItem(i int) (it item, deleted bool, err error) {
	off := p.offset(i)
	head, err := p.bytes(off, 3)
	if err != nil {
		return item{}, false, err
	}
	kind := head[2]
	deleted = kind&0x80 != 0
	switch kind &^ 0x80 {
	case itemData:
		data, err := p.bytes(off+3, p.im.u16(p.start+off))
		return item{data: data}, deleted, err
	case itemBig:
		it, err := p.bigRef(off)
		return it, deleted, err
	}
	return item{}, false, errCorrupt
}

// bigRef reads the 12-byte reference to an overflow chain.
func (p page) bigRef(off int) (item, error) {
	if _, err := p.bytes(off, 12); err != nil {
		return item{}, err
	}
	return item{big: true, page: p.im.u32(p.start + off + 4), size: p.im.u32(p.start + off + 8)}, nil
}

// internalItem returns the key and the child page of an item of an internal page.
func (p page) internalItem(i int) (it item, child uint32, err error) {
	off := p.offset(i)
	head, err := p.bytes(off, 12)
	if err != nil {
		return item{}, 0, err
	}
	child = p.im.u32(p.start + off + 4)
	switch head[2] &^ 0x80 {
	case itemData:
		data, err := p.bytes(off+12, p.im.u16(p.start+off))
		return item{data: data}, child, err
	case itemBig:
		it, err := p.bigRef(off + 12)
		return it, child, err
	}
	return item{}, 0, errCorrupt
}

// leaf descends to the leaf page where key belongs; with key nil to the first one.
func (im *image) leaf(key []byte) (page, error) {
	number := im.root
	for depth := 0; depth < maxLevels; depth++ {
		p, err := im.page(number)
		if err != nil {
			return page{}, err
		}
		if p.kind == pageLeaf {
			return p, nil
		}
		if p.kind != pageInternal || p.n == 0 {
			return page{}, errCorrupt
		}
		// The first key stands for "less than the second".
		lo, hi := 0, p.n
		for key != nil && hi-lo > 1 {
			mid := (lo + hi) / 2
			it, _, err := p.internalItem(mid)
			if err != nil {
				return page{}, err
			}
			c, err := im.compareItem(key, it)
			if err != nil {
				return page{}, err
			}
			if c < 0 {
				hi = mid
			} else {
				lo = mid
			}
		}
		if _, number, err = p.internalItem(lo); err != nil {
			return page{}, err
		}
	}
	return page{}, errCorrupt
}

func (im *image) btreeLookup(key []byte) ([]byte, bool, error) {
	p, err := im.leaf(key)
	if err != nil {
		return nil, false, err
	}
	for lo, hi := 0, p.n/2; lo < hi; {
		mid := (lo + hi) / 2
		it, deleted, err := p.leafItem(2 * mid)
		if err != nil {
			return nil, false, err
		}
		data, err := im.read(it)
		if err != nil {
			return nil, false, err
		}
		switch c := bytes.Compare(key, data); {
		case c < 0:
			hi = mid
		case c > 0:
			lo = mid + 1
		default:
			it, gone, err := p.leafItem(2*mid + 1)
			if err != nil || deleted || gone {
				return nil, false, err
			}
			value, err := im.read(it)
			return value, err == nil, err
		}
	}
	return nil, false, nil
}
