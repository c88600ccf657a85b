package lmdb

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"suffix/pkg/table"
	"suffix/pkg/table/dbfile"
)

// builder is a table that is written anew. The old content is there until
// Close: all that time the file is locked for reading, so that there are
// readers and no other writers.
type builder struct {
	name  string // "lmdb:PATH"
	flags table.Flags
	quiet bool

	mu      sync.Mutex
	h       *file
	null    dbfile.Nulls
	records *dbfile.Records
}

func openBuilder(name string, o table.Options) (table.Table, error) {
	h, err := openWritable(name+suffix, o)
	if err != nil {
		return nil, err
	}
	if err := h.lock(unix.F_RDLCK); err != nil {
		h.close()
		return nil, openError(h.path, err)
	}
	b := &builder{name: "lmdb:" + name, flags: o.Flags, quiet: o.Command, h: h,
		null: dbfile.NullsOf(o.Flags), records: dbfile.NewRecords()}
	b.null.Settle(dbfile.Null1)
	return b, nil
}

func (b *builder) Name() string  { return b.name }
func (b *builder) Fixed() bool   { return true }
func (b *builder) Changed() bool { return false }

// Owner returns the owner of the file.
func (b *builder) Owner() (uid int, known bool) { return b.h.owner() }

// Lookup is not possible before the table is complete.
func (b *builder) Lookup(string) (value string, found bool, err error) {
	return "", false, &table.NotSupportedError{Table: b.name, Operation: "lookup"}
}

// Delete is not possible: a table is only built.
func (b *builder) Delete(string) (found bool, err error) {
	return false, &table.NotSupportedError{Table: b.name, Operation: "delete"}
}

// Update stores a value.
func (b *builder) Update(key, value string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	k := b.null.Stored(key)
	if len(k) == 0 || len(k) > maxKey {
		return failed(b.quiet, "updating", b.name, errKeySize)
	}
	if b.records.Put(k, b.null.Stored(value), b.flags&table.ReplaceDup != 0) && b.flags&table.ReplaceDup == 0 {
		return duplicate(b.flags, b.name, key)
	}
	return nil
}

// Put stores an entry and replaces an old one. A raw one is stored as it
// stands, without NULs. The extra records of postalias(1) are written by this.
func (b *builder) Put(key, value string, raw bool) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !raw {
		key, value = b.null.Stored(key), b.null.Stored(value)
	}
	if len(key) == 0 || len(key) > maxKey {
		return failed(b.quiet, "updating", b.name, errKeySize)
	}
	b.records.Put(key, value, true)
	return nil
}

// Close writes the new content.
func (b *builder) Close() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	err := dbfile.Guarded(errNoPage, b.write)
	if closeErr := b.h.close(); err == nil {
		err = closeErr
	}
	if err != nil {
		return fmt.Errorf("error updating %s: %s", b.name, reason(err))
	}
	return nil
}

func (b *builder) write() error {
	t, err := replacing(b.h.im)
	if err != nil {
		size, err := b.h.size()
		if err != nil {
			return err
		}
		t = beside(b.h.im, size)
	}
	t.meta.main = tree{root: noPage}
	w := bulkWriter{t: t, tree: &t.meta.main, out: pageWriter{f: b.h.out, pageSize: t.im.pageSize}}
	if err := w.run(b.records); err != nil {
		return err
	}
	return b.h.commit(t)
}

// replacing starts a transaction that gives up the pages of the old content,
// and may use all that are free.
func replacing(im image) (*txn, error) {
	t := begin(im)
	for {
		more, err := t.loadSpare()
		if err != nil {
			return nil, err
		}
		if !more {
			return t, t.releaseTree(&im.meta.main)
		}
	}
}

// beside starts a transaction for a file whose old content is damaged: nothing
// of that is used again, the new content comes behind it.
func beside(im image, size int64) *txn {
	t := begin(im)
	t.noMore = true
	empty := emptyMeta(im.pageSize, im.meta.mapSize)
	t.meta.free = empty.free
	t.meta.last = max(empty.last, uint64(size)/uint64(im.pageSize))
	return t
}

// releaseTree gives up all pages of a tree.
func (t *txn) releaseTree(tr *tree) error {
	if tr.root == noPage {
		return nil
	}
	pages := uint64(0) // more than the file has: it leads in circles
	return t.releaseBelow(tr.root, tr.overflow > 0, 0, &pages)
}

func (t *txn) releaseBelow(number uint64, big bool, depth int, pages *uint64) error {
	if *pages++; depth == maxDepth || *pages > t.im.meta.last {
		return errCorrupt
	}
	p, err := t.im.page(number)
	if err != nil {
		return err
	}
	t.freed = append(t.freed, number)
	for i := range p.count() {
		if p.leaf() && !big {
			break
		}
		n, err := p.node(i)
		if err != nil {
			return err
		}
		switch {
		case !p.leaf():
			err = t.releaseBelow(n.child(), big, depth+1, pages)
		case n.big():
			var data []byte
			if data, err = n.inline(); err == nil {
				first, count := le.Uint64(data), overflowPages(t.im.pageSize, uint64(n.valueLen()))
				if _, err = t.im.overflow(first, n.valueLen()); err == nil {
					t.release(first, count)
					*pages += uint64(count)
				}
			}
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bulkWriter writes a tree from left to right.
type bulkWriter struct {
	t    *txn
	tree *tree
	out  pageWriter
}

// child is a page of one level, with the key that leads to it.
type child struct {
	key    []byte
	number uint64
}

func (w *bulkWriter) run(records *dbfile.Records) error {
	if records.Len() == 0 {
		return nil
	}
	level, err := w.leaves(records)
	for w.tree.depth = 1; err == nil && len(level) > 1; w.tree.depth++ {
		level, err = w.branches(level)
	}
	if err != nil {
		return err
	}
	w.tree.root = level[0].number
	w.tree.entries = uint64(records.Len())
	return w.out.flush()
}

// leaves writes the leaf pages and the overflow pages.
func (w *bulkWriter) leaves(records *dbfile.Records) (level []child, err error) {
	p := make(page, w.t.im.pageSize)
	p.init(0, pageLeaf)
	var first []byte
	flush := func() error {
		number, err := w.t.alloc(1)
		if err != nil {
			return err
		}
		p.setNumber(number)
		level = append(level, child{first, number})
		w.tree.leaf++
		err = w.out.write(number, p)
		clear(p)
		p.init(0, pageLeaf)
		return err
	}
	for _, i := range records.Order(dbfile.Prefix, nil) {
		key := records.Key(int(i))
		n, err := w.node(key, records.Value(int(i)))
		if err != nil {
			return nil, err
		}
		if !p.fits(n) {
			if err := flush(); err != nil {
				return nil, err
			}
		}
		if p.count() == 0 {
			first = key
		}
		p.insert(p.count(), n)
	}
	return level, flush()
}

func (w *bulkWriter) node(key, value []byte) (node, error) {
	if nodeHead+len(key)+len(value) <= maxNode(w.t.im.pageSize) {
		return newLeafNode(key, value), nil
	}
	count := overflowPages(w.t.im.pageSize, uint64(len(value)))
	first, err := w.t.alloc(count)
	if err != nil {
		return nil, err
	}
	w.tree.overflow += uint64(count)
	return newBigNode(key, first, len(value)), w.out.write(first, newOverflow(w.t.im.pageSize, first, count, value))
}

// branches writes the pages above a level. Each has two children or more.
func (w *bulkWriter) branches(below []child) (level []child, err error) {
	for len(below) > 0 {
		p := make(page, w.t.im.pageSize)
		p.init(0, pageBranch)
		p.insert(0, newBranchNode(nil, below[0].number))
		count := 1
		for ; count < len(below); count++ {
			n := newBranchNode(below[count].key, below[count].number)
			if !p.fits(n) {
				break
			}
			p.insert(count, n)
		}
		if count == len(below)-1 {
			// Not one alone for the next page.
			count--
			if err := p.remove(count); err != nil {
				return nil, err
			}
		}
		number, err := w.t.alloc(1)
		if err != nil {
			return nil, err
		}
		p.setNumber(number)
		if err := w.out.write(number, p); err != nil {
			return nil, err
		}
		w.tree.branch++
		level = append(level, child{below[0].key, number})
		below = below[count:]
	}
	return level, nil
}
