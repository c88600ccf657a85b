package lmdb

// put stores a value in a tree, in place of an old one.
func (t *txn) put(tr *tree, key, value []byte, cmp order) error {
	path, found, err := t.path(tr, key, cmp)
	if err != nil {
		return err
	}
	if len(path) == 0 {
		number, err := t.alloc(1)
		if err != nil {
			return err
		}
		t.newPage(number, pageLeaf)
		tr.root, tr.depth, tr.leaf = number, 1, tr.leaf+1
		path = []step{{t.dirty[number], 0}}
	}
	if err := t.touch(tr, path); err != nil {
		return err
	}
	leaf := len(path) - 1
	if found {
		old, err := path[leaf].p.node(path[leaf].i)
		if err != nil {
			return err
		}
		if err := t.dropValue(tr, old); err != nil {
			return err
		}
		if err := path[leaf].p.remove(path[leaf].i); err != nil {
			return err
		}
		tr.entries--
	}
	n, err := t.leafNode(tr, key, value)
	if err != nil {
		return err
	}
	tr.entries++
	return t.insert(tr, path, leaf, path[leaf].i, n)
}

// remove takes entry i out of a page.
func (p page) remove(i int) error {
	n, err := p.node(i)
	if err != nil {
		return err
	}
	if n, err = n.whole(p.leaf()); err != nil {
		return err
	}
	off, size := int(le.Uint16(p[headerSize+2*i:])), even(len(n))
	lower, upper := p.lower(), p.upper()
	copy(p[upper+size:off+size], p[upper:off])
	copy(p[headerSize+2*i:], p[headerSize+2*i+2:lower])
	lower, upper = lower-2, upper+size
	for at := headerSize; at < lower; at += 2 {
		if o := int(le.Uint16(p[at:])); o < off {
			le.PutUint16(p[at:], uint16(o+size))
		}
	}
	le.PutUint16(p[offLower:], uint16(lower))
	le.PutUint16(p[offUpper:], uint16(upper))
	return nil
}

// insert puts a node into a page of a path, whose pages are all writable. Full
// pages are split; then the path is no longer right.
func (t *txn) insert(tr *tree, path []step, level, i int, n node) error {
	p := path[level].p
	if p.fits(n) {
		p.insert(i, n)
		return nil
	}
	nodes, err := p.nodes()
	if err != nil {
		return err
	}
	nodes = append(nodes, nil)
	copy(nodes[i+1:], nodes[i:])
	nodes[i] = n
	number, err := t.alloc(1)
	if err != nil {
		return err
	}
	right := t.newPage(number, p.kind())
	at := splitAt(nodes, p.leaf(), i == len(nodes)-1, len(p)-headerSize)
	sep, err := distribute(p, right, nodes, at)
	if err != nil {
		return err
	}
	if p.leaf() {
		tr.leaf++
	} else {
		tr.branch++
	}
	if level > 0 {
		return t.insert(tr, path, level-1, path[level-1].i+1, newBranchNode(sep, number))
	}
	top, err := t.alloc(1)
	if err != nil {
		return err
	}
	root := t.newPage(top, pageBranch)
	root.insert(0, newBranchNode(nil, p.number()))
	root.insert(1, newBranchNode(sep, number))
	tr.root, tr.depth, tr.branch = top, tr.depth+1, tr.branch+1
	return nil
}

// distribute fills two neighbours with nodes, and returns the key that leads to
// the right one. The first entry of a branch page has no key.
func distribute(left, right page, nodes []node, at int) (sep []byte, err error) {
	sep = nodes[at].key()
	second := nodes[at:]
	if !left.leaf() {
		second = append([]node{newBranchNode(nil, nodes[at].child())}, nodes[at+1:]...)
	}
	if err = left.fill(left.number(), left.kind(), nodes[:at]); err == nil {
		err = right.fill(right.number(), right.kind(), second)
	}
	return sep, err
}

func sizeOf(nodes []node) int {
	total := 0
	for _, n := range nodes {
		total += even(len(n)) + 2
	}
	return total
}

// splitAt chooses where nodes, which do not fit into one page of some room,
// are split: in two halves, or at the end where the new entry is the last, as
// then more are likely to follow. A branch page has two entries or more.
func splitAt(nodes []node, leaf, last bool, room int) int {
	least := 1
	if !leaf {
		least = 2
	}
	total := sizeOf(nodes)
	best, difference := least, total+room
	for at, left := least, sizeOf(nodes[:least]); at <= len(nodes)-least; at++ {
		right := total - left
		if left <= room && right <= room {
			if last {
				best = at
			} else if d := max(left-right, right-left); d < difference {
				best, difference = at, d
			}
		}
		left += even(len(nodes[at])) + 2
	}
	return best
}

// del removes a key from a tree.
func (t *txn) del(tr *tree, key []byte, cmp order) (found bool, err error) {
	path, found, err := t.path(tr, key, cmp)
	if !found || err != nil {
		return false, err
	}
	if err := t.touch(tr, path); err != nil {
		return false, err
	}
	leaf := len(path) - 1
	n, err := path[leaf].p.node(path[leaf].i)
	if err != nil {
		return false, err
	}
	if err := t.dropValue(tr, n); err != nil {
		return false, err
	}
	if err := path[leaf].p.remove(path[leaf].i); err != nil {
		return false, err
	}
	tr.entries--
	return true, t.rebalance(tr, path, leaf)
}

// releasePage gives up a page of a tree.
func (t *txn) releasePage(tr *tree, p page) {
	if p.leaf() {
		tr.leaf--
	} else {
		tr.branch--
	}
	t.release(p.number(), 1)
}

// rebalance puts right what a removal from a page has left: pages without
// entries go, and pages that are nearly empty are joined with a neighbour.
func (t *txn) rebalance(tr *tree, path []step, level int) error {
	p := path[level].p
	count := p.count()
	if level == 0 {
		return t.shrinkRoot(tr, p)
	}
	least := 1
	if !p.leaf() {
		least = 2
	}
	if used := len(p) - headerSize - p.room(); count >= least && used >= (len(p)-headerSize)/4 {
		return nil
	}
	parent := path[level-1]
	if count == 0 {
		t.releasePage(tr, p)
		return t.removeChild(tr, path, level-1, parent.i)
	}
	if parent.p.count() < 2 {
		return nil
	}
	at, next := parent.i, parent.i+1
	if at > 0 {
		at, next = at-1, at
	}
	left, err := t.childOf(parent.p, at)
	if err != nil {
		return err
	}
	right, err := t.childOf(parent.p, next)
	if err != nil {
		return err
	}
	if left.kind() != right.kind() {
		return errCorrupt
	}
	nodes, err := left.nodes()
	if err != nil {
		return err
	}
	more, err := right.nodes()
	if err != nil {
		return err
	}
	if !p.leaf() && len(more) > 0 {
		n, err := parent.p.node(next)
		if err != nil {
			return err
		}
		more[0] = newBranchNode(n.key(), more[0].child())
	}
	nodes = append(nodes, more...)
	if sizeOf(nodes) <= len(p)-headerSize {
		if err := left.fill(left.number(), left.kind(), nodes); err != nil {
			return err
		}
		t.releasePage(tr, right)
		return t.removeChild(tr, path, level-1, next)
	}
	if count >= least {
		return nil
	}
	sep, err := distribute(left, right, nodes, splitAt(nodes, p.leaf(), false, len(p)-headerSize))
	if err != nil {
		return err
	}
	if err := parent.p.remove(next); err != nil {
		return err
	}
	path[level-1].i = next - 1
	return t.insert(tr, path, level-1, next, newBranchNode(sep, right.number()))
}

// childOf returns a child of a page, writable.
func (t *txn) childOf(parent page, i int) (page, error) {
	n, err := parent.node(i)
	if err != nil {
		return nil, err
	}
	p, err := t.page(n.child())
	if err == nil {
		p, err = t.touchPage(p)
	}
	if err == nil {
		n.setChild(p.number())
	}
	return p, err
}

// removeChild takes an entry out of a branch page.
func (t *txn) removeChild(tr *tree, path []step, level, i int) error {
	p := path[level].p
	if err := p.remove(i); err != nil {
		return err
	}
	if i == 0 && p.count() > 0 {
		n, err := p.node(0)
		if err != nil {
			return err
		}
		first := newBranchNode(nil, n.child())
		if err := p.remove(0); err != nil {
			return err
		}
		p.insert(0, first)
	}
	return t.rebalance(tr, path, level)
}

// shrinkRoot takes away a root without entries, or with a single child.
func (t *txn) shrinkRoot(tr *tree, p page) error {
	for !p.leaf() && p.count() == 1 {
		n, err := p.node(0)
		if err != nil {
			return err
		}
		child, err := t.page(n.child())
		if err != nil {
			return err
		}
		t.releasePage(tr, p)
		tr.root, tr.depth, p = child.number(), tr.depth-1, child
	}
	if p.count() == 0 {
		t.releasePage(tr, p)
		tr.root, tr.depth = noPage, 0
	}
	return nil
}
