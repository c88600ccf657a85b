// Package lmdb reads and writes LMDB files in the 64-bit layout: the table
// type lmdb: (spec tables §14.4).
//
// A file is a B+tree of copy-on-write pages. Two pages at its start, the metas,
// say where the tree begins; a transaction writes new pages beside those in
// use, and then the meta that is older. So a crash leaves the old content or
// the new one. A second tree in the file lists pages that are free.
//
// All programs that use a file lock it by fcntl(2): for reading around each
// lookup, for writing around each change. A reader begins each lookup at the
// metas, so it sees the changes of others at once.
package lmdb

import (
	"encoding/binary"
	"fmt"

	"suffix/pkg/syserr"
	"suffix/pkg/table"
	"suffix/pkg/table/dbfile"
)

func init() {
	table.Register("lmdb", table.Type{Open: open, Bulk: true})
}

const suffix = ".lmdb"

func open(_, name string, o table.Options) (table.Table, error) {
	switch o.Mode {
	case table.ReadOnly:
		return openReader(name, o)
	case table.Bulk:
		return openBuilder(name, o)
	}
	return openStore(name, o)
}

var le = binary.LittleEndian

// An errorText is an error of the library's own; people know these words.
type errorText string

func (e errorText) Error() string { return string(e) }

const (
	errInvalid  errorText = "MDB_INVALID: File is not an LMDB file"
	errVersion  errorText = "MDB_VERSION_MISMATCH: Database environment version mismatch"
	errNoPage   errorText = "MDB_PAGE_NOTFOUND: Requested page not found"
	errCorrupt  errorText = "MDB_CORRUPTED: Located page was wrong type"
	errKeySize  errorText = "MDB_BAD_VALSIZE: Unsupported size of key/DB name/data, or wrong DUPFIXED size"
	errOtherUse errorText = "MDB_INCOMPATIBLE: Operation and DB incompatible, or DB flags changed"
)

// reason words an error.
func reason(err error) string {
	if e, ok := err.(errorText); ok {
		return string(e)
	}
	return syserr.Text(err)
}

func openError(path string, err error) error {
	if e, ok := err.(errorText); ok {
		return fmt.Errorf("open database %s: %s", path, e)
	}
	return dbfile.OpenError(path, err)
}

// maxKey is the greatest length of a stored key.
const maxKey = 511
