package lmdb

// pages is where trees are read from: an image, or a transaction on top of it.
type pages interface {
	page(number uint64) (page, error)
	overflow(number uint64, size uint32) ([]byte, error)
}

// value returns the value of a leaf node.
func value(src pages, n node) ([]byte, error) {
	data, err := n.inline()
	if err != nil || !n.big() {
		return data, err
	}
	return src.overflow(le.Uint64(data), n.valueLen())
}

// leafFor returns the leaf where a key is or would be; nil in an empty tree.
func (t *tree) leafFor(src pages, key []byte, cmp order) (page, error) {
	if t.root == noPage {
		return nil, nil
	}
	number := t.root
	for range maxDepth {
		p, err := src.page(number)
		if err != nil || p.leaf() {
			return p, err
		}
		if p.count() == 0 {
			return nil, errCorrupt
		}
		i, err := p.childFor(key, cmp)
		if err != nil {
			return nil, err
		}
		n, err := p.node(i)
		if err != nil {
			return nil, err
		}
		number = n.child()
	}
	return nil, errCorrupt
}

// get finds the value of a key.
func (t *tree) get(src pages, key []byte, cmp order) (data []byte, found bool, err error) {
	p, err := t.leafFor(src, key, cmp)
	if p == nil || err != nil {
		return nil, false, err
	}
	i, found, err := p.search(key, cmp)
	if !found || err != nil {
		return nil, false, err
	}
	n, err := p.node(i)
	if err != nil {
		return nil, false, err
	}
	data, err = value(src, n)
	return data, err == nil, err
}

// after returns the leaf with the first key that is greater than one, and its
// place there; with from unset it is the first key of all. The leaf is nil
// after the last one.
func (t *tree) after(src pages, key []byte, from bool, cmp order) (page, int, error) {
	if t.root == noPage {
		return nil, 0, nil
	}
	var path [maxDepth]struct {
		p page
		i int
	}
	number, depth := t.root, 0
	down := from // the way down is still that to the key
	for steps := 0; ; steps++ {
		// Leaves have entries, so the way is short in a file that is right.
		if depth == maxDepth || steps > 10*maxDepth {
			return nil, 0, errCorrupt
		}
		p, err := src.page(number)
		if err != nil {
			return nil, 0, err
		}
		i, found := 0, false
		switch {
		case !down:
		case p.leaf():
			i, found, err = p.search(key, cmp)
			if found {
				i++
			}
		default:
			i, err = p.childFor(key, cmp)
		}
		if err != nil {
			return nil, 0, err
		}
		path[depth].p, path[depth].i = p, i
		if p.leaf() {
			if i < p.count() {
				return p, i, nil
			}
			// The next leaf: the first below the next child of a page above.
			for depth--; depth >= 0 && path[depth].i+1 >= path[depth].p.count(); depth-- {
			}
			if depth < 0 {
				return nil, 0, nil
			}
			path[depth].i++
			down = false
		} else if p.count() == 0 {
			return nil, 0, errCorrupt
		}
		n, err := path[depth].p.node(path[depth].i)
		if err != nil {
			return nil, 0, err
		}
		number = n.child()
		depth++
	}
}
