package cdb

import (
	"io"

	"golang.org/x/sys/unix"
)

// file is what a builder writes to.
type file interface {
	io.WriterAt
	io.ReaderAt
	Truncate(size int64) error
}

// builder writes a database: first the records, as they come, then the hash
// tables. In memory it has the hash and the position of each record only; keys
// that have the same hash are compared in the file.
type builder struct {
	f       file
	buf     []byte // what is to be written at flushed
	flushed uint64
	records [tables]bucket
	removed int
}

// bucket has the records of one hash table in the order in which they came.
type bucket struct {
	slots []slot
	index []uint32 // open addressing by hash: 1 + number in slots, 0 empty
}

type slot struct {
	hash uint32
	pos  uint32 // 0: removed
}

const bufferSize = 256 << 10

// errTooLarge is how libcdb calls positions that do not fit into 32 bits.
var errTooLarge error = unix.ENOMEM

func newBuilder(f file) *builder {
	return &builder{f: f, buf: make([]byte, headerSize, bufferSize)}
}

// end is where the next record goes.
func (b *builder) end() uint64 { return b.flushed + uint64(len(b.buf)) }

func (b *builder) flush() error {
	_, err := b.f.WriteAt(b.buf, int64(b.flushed))
	b.flushed += uint64(len(b.buf))
	b.buf = b.buf[:0]
	return err
}

func (b *builder) write(data string) error {
	for len(data) > 0 {
		n := min(len(data), bufferSize-len(b.buf))
		b.buf = append(b.buf, data[:n]...)
		data = data[n:]
		if len(b.buf) == bufferSize {
			if err := b.flush(); err != nil {
				return err
			}
		}
	}
	return nil
}

// readAt reads what has been written, flushed or not.
func (b *builder) readAt(p []byte, pos uint64) error {
	if pos < b.flushed {
		n := min(uint64(len(p)), b.flushed-pos)
		if _, err := b.f.ReadAt(p[:n], int64(pos)); err != nil {
			return err
		}
		p, pos = p[n:], pos+n
	}
	if len(p) > 0 {
		copy(p, b.buf[pos-b.flushed:])
	}
	return nil
}

// add writes a record.
func (b *builder) add(key, value string) error {
	pos := b.end()
	if pos+recordHead+uint64(len(key))+uint64(len(value)) > maxSize {
		return errTooLarge
	}
	var head [recordHead]byte
	le.PutUint32(head[:], uint32(len(key)))
	le.PutUint32(head[4:], uint32(len(value)))
	for _, part := range []string{string(head[:]), key, value} {
		if err := b.write(part); err != nil {
			return err
		}
	}
	h := hash(key)
	b.records[h%tables].add(slot{h, uint32(pos)})
	return nil
}

func (k *bucket) add(s slot) {
	k.slots = append(k.slots, s)
	if 2*len(k.slots) <= len(k.index) {
		k.enter(len(k.slots) - 1)
		return
	}
	k.index = make([]uint32, max(64, 4*len(k.slots)))
	for i := range k.slots {
		k.enter(i)
	}
}

func (k *bucket) enter(i int) {
	at := k.start(k.slots[i].hash)
	for k.index[at] != 0 {
		at = (at + 1) % len(k.index)
	}
	k.index[at] = uint32(i + 1)
}

// start is where the search for a hash begins. The low byte is the same for
// all of the bucket.
func (k *bucket) start(h uint32) int { return int(h>>8) % len(k.index) }

// find returns the slot of the first record with a key, nil if there is none.
func (b *builder) find(key string) (*slot, error) {
	h := hash(key)
	k := &b.records[h%tables]
	if len(k.index) == 0 {
		return nil, nil
	}
	for at := k.start(h); k.index[at] != 0; at = (at + 1) % len(k.index) {
		s := &k.slots[k.index[at]-1]
		if s.hash != h || s.pos == 0 {
			continue
		}
		same, err := b.hasKey(uint64(s.pos), key)
		if err != nil {
			return nil, err
		}
		if same {
			return s, nil
		}
	}
	return nil, nil
}

func (b *builder) hasKey(pos uint64, key string) (bool, error) {
	var head [recordHead]byte
	if err := b.readAt(head[:], pos); err != nil {
		return false, err
	}
	if int(le.Uint32(head[:])) != len(key) {
		return false, nil
	}
	stored := make([]byte, len(key))
	err := b.readAt(stored, pos+recordHead)
	return string(stored) == key, err
}

// remove takes a record away; finish closes the gap.
func (b *builder) remove(s *slot) {
	s.pos = 0
	b.removed++
}

// finish writes the hash tables and the head of the file.
func (b *builder) finish() error {
	if b.removed > 0 {
		if err := b.compact(); err != nil {
			return err
		}
	}
	var head [headerSize]byte
	var order []byte
	for i := range b.records {
		slots := b.records[i].live()
		n := 2 * uint64(len(slots))
		if b.end()+n*slotSize > maxSize {
			return errTooLarge
		}
		le.PutUint32(head[8*i:], uint32(b.end()))
		le.PutUint32(head[8*i+4:], uint32(n))
		if size := int(n * slotSize); cap(order) < size {
			order = make([]byte, size)
		} else {
			order = order[:size]
			clear(order)
		}
		for _, s := range slots {
			at := uint64(s.hash>>8) % n
			for le.Uint32(order[at*slotSize+4:]) != 0 {
				at = (at + 1) % n
			}
			le.PutUint32(order[at*slotSize:], s.hash)
			le.PutUint32(order[at*slotSize+4:], s.pos)
		}
		if err := b.write(string(order)); err != nil {
			return err
		}
	}
	if err := b.flush(); err != nil {
		return err
	}
	_, err := b.f.WriteAt(head[:], 0)
	return err
}

// live returns the slots of records that have not been removed.
func (k *bucket) live() []slot {
	live := k.slots[:0]
	for _, s := range k.slots {
		if s.pos != 0 {
			live = append(live, s)
		}
	}
	k.slots, k.index = live, nil
	return live
}
