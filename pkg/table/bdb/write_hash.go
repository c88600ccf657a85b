package bdb

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
)

// bytesPerBucket is the mean that decides the number of buckets: few buckets
// need a second page then.
const bytesPerBucket = 3400

// hash writes a hash database: bucket b on page b+1, sorted; second pages and
// overflow pages behind all buckets.
func (o *output) hash(records []record) error {
	total := uint64(0)
	for i := range records {
		r := &records[i]
		r.hash = hash(r.key)
		k, _ := inPage(len(r.key), maxHashItem, 1)
		v, _ := inPage(len(r.value), maxHashItem, 1)
		total += uint64(k + v + 4)
	}
	buckets := uint64(2)
	for buckets*bytesPerBucket < total {
		buckets *= 2
	}
	if buckets > 1<<30 {
		return fmt.Errorf("table too large: %d entries", len(records))
	}
	mask := uint32(buckets - 1)
	order, ends := byBucket(records, mask)

	var tail [][]byte
	tailStart := uint32(buckets) + 1
	if err := o.put(zeroPage); err != nil { // the first page, known at the end
		return err
	}
	p := make([]byte, newPageSize)
	for b, i := uint32(0), uint32(0); b <= mask; b++ {
		resetPage(p, b+1, pageHash, 0)
		current := p
		for ; i < ends[b]; i++ {
			r := &records[order[i]]
			k, bigKey := inPage(len(r.key), maxHashItem, 1)
			v, bigValue := inPage(len(r.value), maxHashItem, 1)
			if k+v+4 > room(current) {
				number := tailStart + uint32(len(tail))
				more := newPage(number, pageHash, 0)
				copy(more[offPrev:offPrev+4], current[offPage:offPage+4])
				le.PutUint32(current[offNext:], number)
				tail = append(tail, more)
				current = more
			}
			tail = putHashItem(current, r.key, k, bigKey, tail, tailStart)
			tail = putHashItem(current, r.value, v, bigValue, tail, tailStart)
		}
		if err := o.put(p); err != nil {
			return err
		}
	}
	if err := o.put(tail...); err != nil {
		return err
	}
	o.next = tailStart + uint32(len(tail))
	o.elements = len(records)
	o.buckets = uint32(buckets)
	return nil
}

// byBucket orders records by bucket, and those of one as its pages have them.
// ends says for each bucket where in the order it ends.
func byBucket(records []record, mask uint32) (order, ends []uint32) {
	ends = make([]uint32, mask+1)
	for i := range records {
		ends[records[i].hash&mask]++
	}
	at := uint32(0)
	for b, n := range ends {
		ends[b] = at // where it begins
		at += n
	}
	order = make([]uint32, len(records))
	for i := range records {
		b := records[i].hash & mask
		order[ends[b]] = uint32(i)
		ends[b]++
	}
	start := uint32(0)
	for _, end := range ends {
		slices.SortFunc(order[start:end], func(i, j uint32) int { return inBucket(records[i].key, records[j].key) })
		start = end
	}
	return order, ends
}

// inBucket is hashOrder for strings.
func inBucket(a, b string) int {
	switch c := strings.Compare(a, b); {
	case c < 0 && strings.HasPrefix(b, a):
		return 1
	case c > 0 && strings.HasPrefix(a, b):
		return -1
	default:
		return c
	}
}

func putHashItem(p []byte, data string, size int, big bool, tail [][]byte, tailStart uint32) [][]byte {
	dst := addItem(p, size, 1)
	if !big {
		dst[0] = itemData
		copy(dst[1:], data)
		return tail
	}
	first := tailStart + uint32(len(tail))
	putBig(dst, 0, first, len(data))
	return append(tail, overflow([]byte(data), first)...)
}

// hashMeta makes the first page of a hash database.
func (o *output) hashMeta() []byte {
	m := meta(hashMagic, pageHashMeta, o.next-1)
	le.PutUint32(m[offMaxBucket:], o.buckets-1)
	le.PutUint32(m[offHighMask:], o.buckets-1)
	le.PutUint32(m[offLowMask:], (o.buckets-1)>>1)
	le.PutUint32(m[offElements:], uint32(newPageSize+o.elements))
	le.PutUint32(m[offCharKey:], charKey)
	for i := 0; i <= bits.Len32(o.buckets-1); i++ {
		le.PutUint32(m[offSpares+4*i:], 1)
	}
	return m
}
