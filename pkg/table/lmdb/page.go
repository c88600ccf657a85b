package lmdb

import "bytes"

// Offsets in the header of a page.
const (
	offNumber  = 0
	offFlags   = 10
	offLower   = 12 // end of the node offsets
	offUpper   = 14 // start of the nodes
	offCount   = 12 // in an overflow page: how many there are in a row
	headerSize = 16
	nodeHead   = 8
)

// Kinds of pages.
const (
	pageBranch   = 1
	pageLeaf     = 2
	pageOverflow = 4
	pageMeta     = 8
	pageKinds    = 0x6f // all bits that say what a page is

	nodeBig = 1 // flag of a leaf node: the value is in overflow pages
)

const (
	minPageSize = 4096
	maxPageSize = 32768
	maxDepth    = 32
)

// A page is a branch or leaf page. Its methods check every offset, as the file
// may say anything; pages that a transaction has made are right.
type page []byte

func (p page) number() uint64 { return le.Uint64(p[offNumber:]) }
func (p page) kind() int      { return int(le.Uint16(p[offFlags:])) & pageKinds }
func (p page) leaf() bool     { return p.kind() == pageLeaf }
func (p page) lower() int     { return int(le.Uint16(p[offLower:])) }
func (p page) upper() int     { return int(le.Uint16(p[offUpper:])) }
func (p page) count() int     { return (p.lower() - headerSize) / 2 }
func (p page) room() int      { return p.upper() - p.lower() }

func (p page) setNumber(n uint64) { le.PutUint64(p[offNumber:], n) }

// check checks the header of a page that has been read.
func (p page) check(number uint64) error {
	if k := p.kind(); k != pageBranch && k != pageLeaf || p.number() != number {
		return errCorrupt
	}
	if lower := p.lower(); lower < headerSize || lower&1 != 0 || lower > p.upper() || p.upper() > len(p) {
		return errCorrupt
	}
	return nil
}

// A node is an entry of a page: a key with a child page, or with a value.
type node []byte

// node returns entry i < count with its key; more of a leaf's may follow.
func (p page) node(i int) (node, error) {
	off := int(le.Uint16(p[headerSize+2*i:]))
	if off < p.lower() || off+nodeHead > len(p) {
		return nil, errCorrupt
	}
	n := node(p[off:])
	if nodeHead+n.keyLen() > len(n) {
		return nil, errCorrupt
	}
	return n, nil
}

func (n node) keyLen() int { return int(le.Uint16(n[6:])) }
func (n node) key() []byte { return n[nodeHead : nodeHead+n.keyLen()] }
func (n node) flags() int  { return int(le.Uint16(n[4:])) }
func (n node) big() bool   { return n.flags()&nodeBig != 0 }

// child is the page below a branch node.
func (n node) child() uint64 {
	return uint64(le.Uint32(n)) | uint64(le.Uint16(n[4:]))<<32
}

func (n node) setChild(number uint64) {
	le.PutUint32(n, uint32(number))
	le.PutUint16(n[4:], uint16(number>>32))
}

// valueLen is the length of a leaf node's value.
func (n node) valueLen() uint32 { return le.Uint32(n) }

// inline returns what a leaf node has after its key: the value, or the number
// of its overflow pages.
func (n node) inline() ([]byte, error) {
	size := uint64(n.valueLen())
	switch n.flags() {
	case 0:
	case nodeBig:
		size = 8
	default:
		return nil, errOtherUse // sorted duplicates, named databases
	}
	start := nodeHead + n.keyLen()
	if uint64(start)+size > uint64(len(n)) {
		return nil, errCorrupt
	}
	return n[start : start+int(size)], nil
}

// whole returns the bytes that belong to the node.
func (n node) whole(leaf bool) (node, error) {
	size := nodeHead + n.keyLen()
	if leaf {
		data, err := n.inline()
		if err != nil {
			return nil, err
		}
		size += len(data)
	}
	return n[:size], nil
}

// An order compares keys: those of users byte by byte, those of the tree of
// free pages as numbers.
type order func(a, b []byte) int

func byBytes(a, b []byte) int { return bytes.Compare(a, b) }

func byNumber(a, b []byte) int {
	if len(a) != 8 || len(b) != 8 {
		return bytes.Compare(a, b)
	}
	switch x, y := le.Uint64(a), le.Uint64(b); {
	case x < y:
		return -1
	case x > y:
		return 1
	}
	return 0
}

// search returns the first entry of a leaf page that is not less than key, and
// whether it is the key.
func (p page) search(key []byte, cmp order) (i int, found bool, err error) {
	lo, hi := 0, p.count()
	for lo < hi {
		mid := (lo + hi) / 2
		n, err := p.node(mid)
		if err != nil {
			return 0, false, err
		}
		switch c := cmp(key, n.key()); {
		case c == 0:
			return mid, true, nil
		case c < 0:
			hi = mid
		default:
			lo = mid + 1
		}
	}
	return lo, false, nil
}

// childFor returns the entry of a branch page that leads to a key. The first
// entry has no key: it leads to all that is less than the second.
func (p page) childFor(key []byte, cmp order) (i int, err error) {
	lo, hi := 1, p.count()
	for lo < hi {
		mid := (lo + hi) / 2
		n, err := p.node(mid)
		if err != nil {
			return 0, err
		}
		if cmp(key, n.key()) < 0 {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return lo - 1, nil
}
