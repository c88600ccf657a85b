package cdb

import "slices"

// compact moves the records together where some have been removed.
func (b *builder) compact() error {
	if err := b.flush(); err != nil {
		return err
	}
	var all []*slot
	for i := range b.records {
		slots := b.records[i].live()
		for j := range slots {
			all = append(all, &slots[j])
		}
	}
	slices.SortFunc(all, func(a, b *slot) int {
		if a.pos < b.pos {
			return -1
		}
		return 1
	})
	size := b.flushed
	b.flushed = headerSize
	var piece [64 << 10]byte
	for _, s := range all {
		from := uint64(s.pos)
		var head [recordHead]byte
		if _, err := b.f.ReadAt(head[:], int64(from)); err != nil {
			return err
		}
		s.pos = uint32(b.end())
		for left := recordHead + uint64(le.Uint32(head[:])) + uint64(le.Uint32(head[4:])); left > 0; {
			part := piece[:min(left, uint64(len(piece)))]
			// What is written never reaches what is still to be read: it only
			// moves towards the start of the file.
			if _, err := b.f.ReadAt(part, int64(from)); err != nil {
				return err
			}
			if err := b.write(string(part)); err != nil {
				return err
			}
			from, left = from+uint64(len(part)), left-uint64(len(part))
		}
	}
	if err := b.flush(); err != nil {
		return err
	}
	if b.flushed < size {
		return b.f.Truncate(int64(b.flushed))
	}
	return nil
}
