package lmdb

import (
	"bytes"
	"slices"
)

// txn is a transaction: changes that are in memory until commit. The file is
// locked for writing all the time.
type txn struct {
	im    image // what the transaction began with
	meta  meta  // what it will leave
	dirty map[uint64]page

	freed   []uint64 // pages that were in use when it began, and no longer are
	spare   []uint64 // pages that it may use, the highest first
	taken   uint64   // free records up to this one are in spare
	records []uint64 // those records
	noMore  bool     // the list of free pages is being written
}

// begin starts a transaction on the current content of a file.
func begin(im image) *txn {
	t := &txn{im: im, meta: im.meta, dirty: make(map[uint64]page)}
	t.meta.txn++
	if uint64(len(im.data))/uint64(im.pageSize) <= im.meta.last {
		// The file has been cut short: never use what might still be there.
		t.noMore = true
	}
	return t
}

func (t *txn) page(number uint64) (page, error) {
	if p, ok := t.dirty[number]; ok {
		return p, nil
	}
	return t.im.page(number)
}

func (t *txn) overflow(number uint64, size uint32) ([]byte, error) {
	if p, ok := t.dirty[number]; ok {
		if headerSize+uint64(size) > uint64(len(p)) {
			return nil, errCorrupt
		}
		return p[headerSize : headerSize+size], nil
	}
	return t.im.overflow(number, size)
}

// fits says that a node has room in a page.
func (p page) fits(n node) bool { return p.room() >= even(len(n))+2 }

func even(n int) int { return (n + 1) &^ 1 }

func (p page) init(number uint64, kind int) {
	clear(p[:headerSize])
	p.setNumber(number)
	le.PutUint16(p[offFlags:], uint16(kind))
	le.PutUint16(p[offLower:], headerSize)
	le.PutUint16(p[offUpper:], uint16(len(p)))
}

// insert puts a node, which fits, before entry i.
func (p page) insert(i int, n node) {
	lower, upper := p.lower(), p.upper()-even(len(n))
	copy(p[headerSize+2*i+2:lower+2], p[headerSize+2*i:lower])
	le.PutUint16(p[headerSize+2*i:], uint16(upper))
	copy(p[upper:], n)
	le.PutUint16(p[offLower:], uint16(lower+2))
	le.PutUint16(p[offUpper:], uint16(upper))
}

// nodes returns copies of all entries.
func (p page) nodes() ([]node, error) {
	all := make([]node, 0, p.count()+1)
	data := bytes.Clone(p)
	leaf := p.leaf()
	for i := range p.count() {
		n, err := page(data).node(i)
		if err != nil {
			return nil, err
		}
		if n, err = n.whole(leaf); err != nil {
			return nil, err
		}
		all = append(all, n[:len(n):len(n)])
	}
	return all, nil
}

// fill makes nodes the entries of a page.
func (p page) fill(number uint64, kind int, nodes []node) error {
	p.init(number, kind)
	for i, n := range nodes {
		if !p.fits(n) {
			return errCorrupt
		}
		p.insert(i, n)
	}
	return nil
}

// step is a page on the way from the root to a leaf, and the entry of it where
// the way goes on, or the place in the leaf.
type step struct {
	p page
	i int
}

// path finds the leaf for a key, and its place there.
func (t *txn) path(tr *tree, key []byte, cmp order) (path []step, found bool, err error) {
	for number := tr.root; number != noPage; {
		if len(path) == maxDepth {
			return nil, false, errCorrupt
		}
		p, err := t.page(number)
		if err != nil {
			return nil, false, err
		}
		if p.leaf() {
			i, found, err := p.search(key, cmp)
			return append(path, step{p, i}), found, err
		}
		if p.count() == 0 {
			return nil, false, errCorrupt
		}
		i, err := p.childFor(key, cmp)
		if err != nil {
			return nil, false, err
		}
		n, err := p.node(i)
		if err != nil {
			return nil, false, err
		}
		path = append(path, step{p, i})
		number = n.child()
	}
	return path, false, nil
}

// touch makes all pages of a path writable: copies of those in use.
func (t *txn) touch(tr *tree, path []step) error {
	for level := range path {
		p, err := t.touchPage(path[level].p)
		if err != nil {
			return err
		}
		path[level].p = p
		if level == 0 {
			tr.root = p.number()
			continue
		}
		if err := setChild(path[level-1], p.number()); err != nil {
			return err
		}
	}
	return nil
}

func setChild(s step, number uint64) error {
	n, err := s.p.node(s.i)
	if err == nil {
		n.setChild(number)
	}
	return err
}

func (t *txn) touchPage(p page) (page, error) {
	old := p.number()
	if _, ok := t.dirty[old]; ok {
		return p, nil
	}
	nodes, err := p.nodes()
	if err != nil {
		return nil, err
	}
	number, err := t.alloc(1)
	if err != nil {
		return nil, err
	}
	fresh := t.newPage(number, p.kind())
	if err := fresh.fill(number, p.kind(), nodes); err != nil {
		return nil, err
	}
	t.freed = append(t.freed, old)
	return fresh, nil
}

func (t *txn) newPage(number uint64, kind int) page {
	p := make(page, t.im.pageSize)
	p.init(number, kind)
	t.dirty[number] = p
	return p
}

// alloc takes the numbers of n pages in a row.
func (t *txn) alloc(n int) (first uint64, err error) {
	for {
		if i := t.findSpare(n); i >= 0 {
			first = t.spare[i+n-1]
			t.spare = slices.Delete(t.spare, i, i+n)
			return first, nil
		}
		if t.noMore || len(t.spare) > 4*t.recordPages() {
			break
		}
		more, err := t.loadSpare()
		if err != nil {
			return 0, err
		}
		if !more {
			break
		}
	}
	first = t.meta.last + 1
	t.meta.last += uint64(n)
	return first, nil
}

// findSpare returns where n pages in a row stand in the list of spare pages,
// or -1. It does not look through a long list of single ones.
func (t *txn) findSpare(n int) int {
	if n == 1 {
		return len(t.spare) - 1
	}
	for i := len(t.spare) - n; i >= max(0, len(t.spare)-n-searchLimit); i-- {
		if t.spare[i]-t.spare[i+n-1] == uint64(n-1) {
			return i
		}
	}
	return -1
}

const searchLimit = 4096

// release gives up n pages in a row.
func (t *txn) release(first uint64, n int) {
	if _, ok := t.dirty[first]; !ok {
		for i := range n {
			t.freed = append(t.freed, first+uint64(i))
		}
		return
	}
	delete(t.dirty, first)
	for i := range n {
		t.addSpare(first + uint64(i))
	}
}

func (t *txn) addSpare(number uint64) {
	at, _ := slices.BinarySearchFunc(t.spare, number, func(a, b uint64) int {
		if a > b {
			return -1
		}
		return 1
	})
	t.spare = slices.Insert(t.spare, at, number)
}

// overflowPages is how many pages a value takes outside of its leaf.
func overflowPages(pageSize int, size uint64) int {
	return int((headerSize + size + uint64(pageSize) - 1) / uint64(pageSize))
}

// maxNode is the size of the largest node that stays in its page.
func maxNode(pageSize int) int { return (pageSize-headerSize)/2&^1 - 2 }

// leafNode makes a node; a big value goes to pages of its own.
func (t *txn) leafNode(tr *tree, key, value []byte) (node, error) {
	if nodeHead+len(key)+len(value) <= maxNode(t.im.pageSize) {
		return newLeafNode(key, value), nil
	}
	count := overflowPages(t.im.pageSize, uint64(len(value)))
	first, err := t.alloc(count)
	if err != nil {
		return nil, err
	}
	t.dirty[first] = newOverflow(t.im.pageSize, first, count, value)
	tr.overflow += uint64(count)
	return newBigNode(key, first, len(value)), nil
}

func newLeafNode(key, value []byte) node {
	n := make(node, nodeHead, nodeHead+len(key)+len(value))
	le.PutUint32(n, uint32(len(value)))
	le.PutUint16(n[6:], uint16(len(key)))
	return append(append(n, key...), value...)
}

func newBigNode(key []byte, first uint64, size int) node {
	n := make(node, nodeHead, nodeHead+len(key)+8)
	le.PutUint32(n, uint32(size))
	le.PutUint16(n[4:], nodeBig)
	le.PutUint16(n[6:], uint16(len(key)))
	return le.AppendUint64(append(n, key...), first)
}

func newBranchNode(key []byte, child uint64) node {
	n := make(node, nodeHead, nodeHead+len(key))
	n.setChild(child)
	le.PutUint16(n[6:], uint16(len(key)))
	return append(n, key...)
}

// newOverflow makes the pages of a big value.
func newOverflow(pageSize int, first uint64, count int, value []byte) page {
	p := make(page, count*pageSize)
	p.setNumber(first)
	le.PutUint16(p[offFlags:], pageOverflow)
	le.PutUint32(p[offCount:], uint32(count))
	copy(p[headerSize:], value)
	return p
}

// dropValue gives up the pages of a node's value.
func (t *txn) dropValue(tr *tree, n node) error {
	data, err := n.inline()
	if err != nil || !n.big() {
		return err
	}
	first, count := le.Uint64(data), overflowPages(t.im.pageSize, uint64(n.valueLen()))
	if _, err := t.overflow(first, n.valueLen()); err != nil {
		return err
	}
	t.release(first, count)
	tr.overflow -= uint64(count)
	return nil
}
