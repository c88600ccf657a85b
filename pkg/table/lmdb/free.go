package lmdb

import "slices"

// The free tree has one record for each transaction that has given up pages:
// its number, and the list of the pages, how many and then each, the highest
// first. A transaction may use what was given up before the one that it begins
// with: a crash leaves that one or the one before as it was.

// recordPages is how many page numbers fit into a record of one overflow page.
func (t *txn) recordPages() int { return (t.im.pageSize-headerSize)/8 - 1 }

func freeKey(txn uint64) []byte { return le.AppendUint64(nil, txn) }

// loadSpare takes the pages of the oldest free record that it may use; more is
// false if there is none.
func (t *txn) loadSpare() (more bool, err error) {
	id, list, err := t.im.freeAfter(t.taken)
	if err != nil || list == nil || id >= t.im.meta.txn {
		return false, err
	}
	t.taken = id
	t.records = append(t.records, id)
	t.spare = append(t.spare, list...)
	slices.SortFunc(t.spare, descending)
	for i := 1; i < len(t.spare); i++ {
		if t.spare[i] == t.spare[i-1] {
			return false, errCorrupt // listed twice
		}
	}
	return true, nil
}

func descending(a, b uint64) int {
	switch {
	case a > b:
		return -1
	case a < b:
		return 1
	}
	return 0
}

// freeAfter returns the first free record after one; list is nil after the
// last.
func (im *image) freeAfter(txn uint64) (id uint64, list []uint64, err error) {
	p, i, err := im.meta.free.after(im, freeKey(txn), true, byNumber)
	if p == nil || err != nil {
		return 0, nil, err
	}
	n, err := p.node(i)
	if err != nil {
		return 0, nil, err
	}
	if n.keyLen() != 8 {
		return 0, nil, errCorrupt
	}
	if id = le.Uint64(n.key()); id <= txn {
		return 0, nil, errCorrupt
	}
	data, err := value(im, n)
	if err != nil {
		return 0, nil, err
	}
	if len(data) < 8 || le.Uint64(data) > uint64(len(data)/8-1) {
		return 0, nil, errCorrupt
	}
	count := int(le.Uint64(data))
	list = make([]uint64, 0, count)
	for before := im.meta.last + 1; len(list) < count; {
		number := le.Uint64(data[8+8*len(list):])
		if number < firstPage || number >= before {
			return 0, nil, errCorrupt
		}
		list, before = append(list, number), number
	}
	return id, list, nil
}

// saveFree writes the list of free pages. That takes and gives up pages itself:
// so first the records get places that are large enough, and are filled when
// nothing moves any more.
func (t *txn) saveFree() error {
	tr := &t.meta.free
	for want := 8 + 4*int(tr.depth); !t.noMore && len(t.spare) < want; {
		if more, err := t.loadSpare(); err != nil {
			return err
		} else if !more {
			break
		}
	}
	t.noMore = true
	for _, id := range t.records {
		if _, err := t.del(tr, freeKey(id), byNumber); err != nil {
			return err
		}
	}
	places, err := t.reserveSpare()
	if err != nil {
		return err
	}
	room := 0
	for _, p := range places {
		room += p.room
	}
	own := 0
	for {
		need := len(t.freed) + max(0, len(t.spare)-room)
		if need <= own {
			break
		}
		own = need + 16 + need/256
		if err := t.reserve(t.meta.txn, own); err != nil {
			return err
		}
	}
	for _, p := range places {
		n := min(p.room, len(t.spare))
		if err := t.fillRecord(p.id, t.spare[len(t.spare)-n:]); err != nil {
			return err
		}
		t.spare = t.spare[:len(t.spare)-n]
	}
	if own == 0 {
		return nil
	}
	t.freed = append(t.freed, t.spare...)
	t.spare = nil
	slices.SortFunc(t.freed, descending)
	return t.fillRecord(t.meta.txn, t.freed)
}

// place is a record for pages that this transaction has taken and not used.
type place struct {
	id   uint64
	room int
}

// reserveSpare makes records for the spare pages. All numbers up to the last
// record taken are free for them: where that is possible, the records are
// small, so that the next transaction need not write a long list again.
func (t *txn) reserveSpare() ([]place, error) {
	var places []place
	left, full := len(t.spare), t.recordPages()
	count := min(uint64((left+full-1)/full), t.taken)
	for id := t.taken - count + 1; count > 0; id, count = id+1, count-1 {
		room := left
		if count > 1 {
			room = full
		}
		left -= room
		if err := t.reserve(id, room); err != nil {
			return nil, err
		}
		places = append(places, place{id, room})
	}
	return places, nil
}

// reserve makes a free record with room for some pages.
func (t *txn) reserve(id uint64, room int) error {
	return t.put(&t.meta.free, freeKey(id), make([]byte, 8+8*room), byNumber)
}

func (t *txn) fillRecord(id uint64, list []uint64) error {
	data, found, err := t.meta.free.get(t, freeKey(id), byNumber)
	if err != nil {
		return err
	}
	if !found || len(data) < 8+8*len(list) {
		return errCorrupt
	}
	le.PutUint64(data, uint64(len(list)))
	for i, number := range list {
		le.PutUint64(data[8+8*i:], number)
	}
	return nil
}
