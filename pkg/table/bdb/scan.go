package bdb

// pair is an entry as it is stored, with its NULs.
type pair struct{ key, value []byte }

// scanner walks through an image page by page. It remembers numbers only, so
// that the image may be replaced between two steps.
type scanner struct {
	bucket uint32 // hash: next bucket
	page   uint32 // next page of the chain, 0: none
	begun  bool
	pages  uint64 // visited so far: a chain that bites its tail must end
}

// next returns the entries of the next page; ok is false at the end.
func (s *scanner) next(im *image) (pairs []pair, ok bool, err error) {
	for {
		number, more, err := s.number(im)
		if err != nil || !more {
			return nil, false, err
		}
		if s.pages++; s.pages > uint64(im.last)+1 {
			return nil, false, errCorrupt
		}
		p, err := im.page(number)
		if err != nil {
			return nil, false, err
		}
		s.page = 0
		switch p.kind {
		case 0:
			continue
		case pageHash, pageHashUnsorted, pageLeaf:
			if (p.kind == pageLeaf) != im.btree {
				return nil, false, errCorrupt
			}
		default:
			return nil, false, errCorrupt
		}
		s.page = p.next()
		if pairs, err = p.pairs(); err != nil {
			return nil, false, err
		}
		if len(pairs) > 0 {
			return pairs, true, nil
		}
	}
}

// number chooses the page to visit.
func (s *scanner) number(im *image) (number uint32, ok bool, err error) {
	if s.page != 0 {
		return s.page, true, nil
	}
	if im.btree {
		if s.begun {
			return 0, false, nil
		}
		s.begun = true
		first, err := im.leaf(nil)
		if err != nil {
			return 0, false, err
		}
		return uint32(first.start / int(im.pageSize)), true, nil
	}
	if s.bucket > im.maxBucket {
		return 0, false, nil
	}
	number, err = im.bucketPage(s.bucket)
	s.bucket++
	return number, true, err
}

// pairs copies the entries of a leaf or bucket page.
func (p page) pairs() ([]pair, error) {
	var pairs []pair
	for i := 0; i+1 < p.n; i += 2 {
		var key, value item
		var gone, goneValue bool
		var err, errValue error
		if p.kind == pageLeaf {
			key, gone, err = p.leafItem(i)
			value, goneValue, errValue = p.leafItem(i + 1)
		} else {
			key, err = p.hashItem(i)
			value, errValue = p.hashItem(i + 1)
		}
		if err != nil || errValue != nil {
			return nil, errCorrupt
		}
		if gone || goneValue {
			continue
		}
		k, err := p.im.read(key)
		if err != nil {
			return nil, err
		}
		v, err := p.im.read(value)
		if err != nil {
			return nil, err
		}
		pairs = append(pairs, pair{append([]byte(nil), k...), append([]byte(nil), v...)})
	}
	return pairs, nil
}
