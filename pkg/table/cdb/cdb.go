// Package cdb reads and writes constant databases: the table type cdb:
// (spec tables §14.3).
//
// A file PATH.cdb is read through mmap(2) and never changed: postmap(1) writes
// PATH.cdb.tmp and renames it. So a reader needs no lock, and notices by the
// link count of the file it has open that there is a new one.
//
// Files begin with 256 pairs (position, slots) that say where the hash tables
// are. Then come the records, then the hash tables, of (hash, position) slots.
package cdb

import (
	"encoding/binary"
	"errors"

	"suffix/pkg/table"
)

func init() {
	table.Register("cdb", table.Type{Open: open, Bulk: true})
}

const (
	suffix     = ".cdb"
	tempSuffix = ".cdb.tmp"

	tables     = 256        // hash tables
	headerSize = tables * 8 // the pairs that point to them
	recordHead = 8          // length of key, length of value
	slotSize   = 8          // hash, position
	maxSize    = 1<<32 - 1  // positions are 32 bits
)

var le = binary.LittleEndian

// hash is the hash function of the format.
func hash[T string | []byte](key T) uint32 {
	h := uint32(5381)
	for i := 0; i < len(key); i++ {
		h = h*33 ^ uint32(key[i])
	}
	return h
}

// Postfix has these words for a request to change a file.
var (
	errNoUpdate   = errors.New("unsupported non-bulk change request")
	errNoUpdate37 = errors.New(`dict_cdb_open: inappropriate open flags for cdb database - specify O_RDONLY or O_WRONLY|O_CREAT|O_TRUNC`)
)

func open(typ, name string, o table.Options) (table.Table, error) {
	switch o.Mode {
	case table.ReadOnly:
		return openReader(name, o)
	case table.Bulk:
		return openWriter(name, o)
	}
	if o.Dialect37() {
		return nil, errNoUpdate37
	}
	return nil, errNoUpdate
}
