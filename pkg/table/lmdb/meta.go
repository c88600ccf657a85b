package lmdb

// Offsets in a meta page; those behind offMapSize are also in the part of it
// that a transaction writes.
const (
	offMagic   = 16
	offVersion = 20
	offMapSize = 32
	offFree    = 40
	offMain    = 88
	offLast    = 136
	offTxn     = 144
	metaEnd    = 152
	metaPart   = metaEnd - offMapSize

	magic   = 0xBEEFC0DE
	version = 1

	freeFlags = 0x4008 // keys are numbers; the file is no directory
	noPage    = ^uint64(0)
	firstPage = 2
)

// A tree is the record of a B+tree.
type tree struct {
	pad      uint32 // of the free tree: the page size
	flags    uint16
	depth    uint16
	branch   uint64 // pages
	leaf     uint64
	overflow uint64
	entries  uint64
	root     uint64 // noPage: empty
}

// A meta says where the trees of one transaction begin.
type meta struct {
	mapSize uint64
	free    tree
	main    tree
	last    uint64 // number of the last page in use
	txn     uint64
}

func treeAt(b []byte) tree {
	return tree{
		pad: le.Uint32(b), flags: le.Uint16(b[4:]), depth: le.Uint16(b[6:]),
		branch: le.Uint64(b[8:]), leaf: le.Uint64(b[16:]), overflow: le.Uint64(b[24:]),
		entries: le.Uint64(b[32:]), root: le.Uint64(b[40:]),
	}
}

func (t *tree) put(b []byte) {
	le.PutUint32(b, t.pad)
	le.PutUint16(b[4:], t.flags)
	le.PutUint16(b[6:], t.depth)
	for i, v := range []uint64{t.branch, t.leaf, t.overflow, t.entries, t.root} {
		le.PutUint64(b[8+8*i:], v)
	}
}

// metaAt reads the meta page that b begins with.
func metaAt(b []byte) (meta, error) {
	if len(b) < metaEnd || le.Uint16(b[offFlags:])&pageMeta == 0 || le.Uint32(b[offMagic:]) != magic {
		return meta{}, errInvalid
	}
	if le.Uint32(b[offVersion:]) != version {
		return meta{}, errVersion
	}
	return meta{
		mapSize: le.Uint64(b[offMapSize:]), free: treeAt(b[offFree:]), main: treeAt(b[offMain:]),
		last: le.Uint64(b[offLast:]), txn: le.Uint64(b[offTxn:]),
	}, nil
}

// part is what a transaction writes of a meta page, from offMapSize on.
func (m *meta) part() []byte {
	b := make([]byte, metaPart)
	le.PutUint64(b, m.mapSize)
	m.free.put(b[offFree-offMapSize:])
	m.main.put(b[offMain-offMapSize:])
	le.PutUint64(b[offLast-offMapSize:], m.last)
	le.PutUint64(b[offTxn-offMapSize:], m.txn)
	return b
}

// emptyMeta is that of a new file.
func emptyMeta(pageSize int, mapSize uint64) meta {
	return meta{mapSize: mapSize, last: firstPage - 1,
		free: tree{pad: uint32(pageSize), flags: freeFlags, root: noPage}, main: tree{root: noPage}}
}

// newFile returns the first two pages of a new file.
func newFile(pageSize int, mapSize uint64) []byte {
	b := make([]byte, 2*pageSize)
	m := emptyMeta(pageSize, mapSize)
	for i := range 2 {
		p := b[i*pageSize:]
		le.PutUint64(p[offNumber:], uint64(i))
		le.PutUint16(p[offFlags:], pageMeta)
		le.PutUint32(p[offMagic:], magic)
		le.PutUint32(p[offVersion:], version)
		copy(p[offMapSize:], m.part())
	}
	return b
}

// image is the content of a file as one transaction has left it.
type image struct {
	data     []byte
	pageSize int
	meta     meta
}

// parse reads the metas and chooses the newer one.
func parse(data []byte) (image, error) {
	first, err := metaAt(data)
	if err != nil {
		return image{}, err
	}
	size := int(first.free.pad)
	if size < minPageSize || size > maxPageSize || size&(size-1) != 0 || len(data) < 2*size {
		return image{}, errInvalid
	}
	second, err := metaAt(data[size:])
	if err != nil {
		return image{}, err
	}
	im := image{data, size, first}
	if second.txn > first.txn {
		im.meta = second
	}
	if im.meta.main.flags != 0 {
		return image{}, errOtherUse // keys are sorted in another way
	}
	return im, nil
}

// page returns a branch or leaf page.
func (im *image) page(number uint64) (page, error) {
	b, err := im.bytes(number, 0, uint64(im.pageSize))
	if err != nil {
		return nil, err
	}
	p := page(b)
	return p, p.check(number)
}

// bytes returns n bytes from an offset in a page; they may go on in the pages
// after it.
func (im *image) bytes(number, off, n uint64) ([]byte, error) {
	size := uint64(im.pageSize)
	if number < firstPage || number > im.meta.last || number > uint64(len(im.data))/size {
		return nil, errNoPage
	}
	start := number*size + off
	if n > uint64(len(im.data)) || start+n > uint64(len(im.data)) {
		return nil, errNoPage
	}
	return im.data[start : start+n : start+n], nil
}

// overflow returns the value of size bytes that begins in a page.
func (im *image) overflow(number uint64, size uint32) ([]byte, error) {
	head, err := im.bytes(number, 0, headerSize)
	if err != nil {
		return nil, err
	}
	if page(head).kind() != pageOverflow || page(head).number() != number {
		return nil, errCorrupt
	}
	return im.bytes(number, headerSize, uint64(size))
}
