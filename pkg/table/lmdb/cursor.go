package lmdb

import (
	"bytes"

	"suffix/pkg/table/dbfile"
)

// cursor walks through a table. It remembers the last key, and the entries of
// one leaf as long as nobody changes the table.
type cursor struct {
	// access runs f on the current content; changing says that it is in the
	// middle of a transaction.
	access func(f func(src pages, m *meta, changing bool) error) error

	begun bool
	last  []byte // stored key of the last entry that was returned
	txn   uint64 // the transaction that ready is of
	ready []entry
}

type entry struct{ key, value []byte }

// Next returns the next entry.
func (c *cursor) Next() (key, value string, ok bool, err error) {
	err = c.access(func(src pages, m *meta, changing bool) error {
		if changing || m.txn != c.txn {
			c.ready = nil
		}
		if len(c.ready) == 0 {
			if err := c.fill(src, m); err != nil {
				return err
			}
			c.txn = m.txn
		}
		return nil
	})
	if err != nil || len(c.ready) == 0 {
		return "", "", false, err
	}
	e := c.ready[0]
	c.ready = c.ready[1:]
	c.begun, c.last = true, e.key
	return dbfile.Text(e.key), dbfile.Text(e.value), true, nil
}

// fill copies the rest of the leaf after the last key.
func (c *cursor) fill(src pages, m *meta) error {
	p, i, err := m.main.after(src, c.last, c.begun, byBytes)
	if err != nil || p == nil {
		return err
	}
	last := c.last
	for ; i < p.count(); i++ {
		n, err := p.node(i)
		if err != nil {
			return err
		}
		if (c.begun || len(c.ready) > 0) && bytes.Compare(n.key(), last) <= 0 {
			return errCorrupt // or it would never end
		}
		v, err := value(src, n)
		if err != nil {
			return err
		}
		e := entry{bytes.Clone(n.key()), bytes.Clone(v)}
		c.ready, last = append(c.ready, e), e.key
	}
	return nil
}
