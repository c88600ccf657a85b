package bdb

import "slices"

// btreeWriter writes leaves from left to right. A leaf is held back until the
// number of the next one is known; overflow pages stand between.
type btreeWriter struct {
	o      *output
	leaf   []byte   // being filled; its number is still open
	items  int      // records in leaf
	held   [][]byte // the leaf before, and the pages after it
	prev   uint32   // number of the held leaf
	first  string   // first key of leaf
	before string   // last key put
	level  []child  // leaves written
}

// child is a page below an internal page, with the key that leads to it.
type child struct {
	key  string
	page uint32
}

// btree writes a btree database and returns what becomes known at its end: the
// pages at the start of the file.
func (o *output) btree(records []record) (map[int64][]byte, error) {
	slices.SortFunc(records, byKey)
	// Page 0 describes the file, page 1 is the root.
	if err := o.put(zeroPage, zeroPage); err != nil {
		return nil, err
	}
	o.next = 2
	w := &btreeWriter{o: o, leaf: newPage(0, pageLeaf, 1)}
	for i := range records {
		if err := w.add(&records[i]); err != nil {
			return nil, err
		}
	}
	root, err := w.finish()
	if err != nil {
		return nil, err
	}
	le.PutUint32(root[offPage:], 1)
	m := meta(btreeMagic, pageBtreeMeta, o.next-1)
	le.PutUint32(m[offMinKeys:], 2)
	le.PutUint32(m[offPad:], 0x20)
	le.PutUint32(m[offRoot:], 1)
	return map[int64][]byte{0: m, newPageSize: root}, nil
}

func align4(n int) int { return (n + 3) &^ 3 }

func (w *btreeWriter) add(r *record) error {
	k, bigKey := inPage(len(r.key), maxLeafItem, 3)
	v, bigValue := inPage(len(r.value), maxLeafItem, 3)
	if align4(k)+align4(v)+4 > room(w.leaf) {
		if err := w.closeLeaf(false); err != nil {
			return err
		}
		resetPage(w.leaf, 0, pageLeaf, 1)
		w.items = 0
	}
	if w.items == 0 {
		w.first = separator(w.before, r.key)
	}
	w.items++
	w.before = r.key
	if err := w.putLeafItem(r.key, k, bigKey); err != nil {
		return err
	}
	return w.putLeafItem(r.value, v, bigValue)
}

func (w *btreeWriter) putLeafItem(data string, size int, big bool) error {
	dst := addItem(w.leaf, size, 4)
	if !big {
		le.PutUint16(dst, uint16(len(data)))
		dst[2] = itemData
		copy(dst[3:], data)
		return nil
	}
	putBig(dst, 2, w.o.next, len(data))
	return w.emit(w.overflow(data))
}

// overflow makes the pages of a big item and takes their numbers.
func (w *btreeWriter) overflow(data string) [][]byte {
	pages := overflow([]byte(data), w.o.next)
	w.o.next += uint32(len(pages))
	return pages
}

// emit writes pages behind the leaf that is held back.
func (w *btreeWriter) emit(pages [][]byte) error {
	if w.prev != 0 {
		w.held = append(w.held, pages...)
		return nil
	}
	return w.o.put(pages...)
}

// closeLeaf gives the leaf its number, links it to the one before, and writes
// that one. last: it has no successor.
func (w *btreeWriter) closeLeaf(last bool) error {
	number := w.o.next
	w.o.next++
	leaf := slices.Clone(w.leaf)
	le.PutUint32(leaf[offPage:], number)
	le.PutUint32(leaf[offPrev:], w.prev)
	if w.prev != 0 {
		le.PutUint32(w.held[0][offNext:], number)
		if err := w.o.put(w.held...); err != nil {
			return err
		}
	}
	w.held, w.prev = append(w.held[:0], leaf), number
	w.level = append(w.level, child{w.first, number})
	if last {
		return w.o.put(w.held...)
	}
	return nil
}

// finish writes the last leaf and the internal pages, but for the root, which
// it returns.
func (w *btreeWriter) finish() ([]byte, error) {
	if len(w.level) == 0 {
		return w.leaf, nil // the only leaf is the root
	}
	if err := w.closeLeaf(true); err != nil {
		return nil, err
	}
	w.prev, w.held = 0, nil
	for depth := byte(2); ; depth++ {
		pages, above, err := w.internal(w.level, depth)
		if err != nil {
			return nil, err
		}
		if len(pages) == 1 {
			return pages[0], nil
		}
		for i, p := range pages {
			le.PutUint32(p[offPage:], w.o.next)
			above[i].page = w.o.next
			w.o.next++
		}
		if err := w.o.put(pages...); err != nil {
			return nil, err
		}
		w.level = above
	}
}

// internal makes the internal pages above a level. They get their numbers from
// the caller; the overflow pages of long keys are written here.
func (w *btreeWriter) internal(level []child, depth byte) (pages [][]byte, above []child, err error) {
	var p []byte
	for _, c := range level {
		size, big := 12+len(c.key), false
		if len(c.key) > maxLeafItem {
			size, big = 24, true
		}
		if p == nil || align4(size)+2 > room(p) {
			p = newPage(0, pageInternal, depth)
			pages = append(pages, p)
			above = append(above, c)
			c.key, size, big = "", 12, false // everything below the second key
		}
		dst := addItem(p, size, 4)
		dst[2] = itemData
		le.PutUint32(dst[4:], c.page)
		if !big {
			le.PutUint16(dst, uint16(len(c.key)))
			copy(dst[12:], c.key)
			continue
		}
		dst[2] = itemBig
		le.PutUint16(dst, 12)
		putBig(dst[12:], 2, w.o.next, len(c.key))
		if err := w.o.put(w.overflow(c.key)...); err != nil {
			return nil, nil, err
		}
	}
	return pages, above, nil
}

// separator returns the shortest key that is greater than the last key of one
// leaf and not greater than the first of the next.
func separator(last, first string) string {
	n := 0
	for n < len(last) && n < len(first) && last[n] == first[n] {
		n++
	}
	return first[:min(n+1, len(first))]
}
