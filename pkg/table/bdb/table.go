package bdb

import (
	"golang.org/x/sys/unix"

	"suffix/pkg/table"
	"suffix/pkg/table/dbfile"
)

func init() {
	table.Register("hash", table.Type{Open: open, Bulk: true})
	table.Register("btree", table.Type{Open: open, Bulk: true})
}

// suffix of the file behind a table.
const suffix = ".db"

func open(typ, name string, o table.Options) (table.Table, error) {
	if o.Mode == table.ReadOnly {
		return openReader(typ, name, o)
	}
	return openStore(typ, name, o)
}

// openError words why a table cannot be opened.
func openError(path string, err error) error {
	if err == errCorrupt {
		err = unix.EINVAL
	}
	return dbfile.OpenError(path, err)
}
