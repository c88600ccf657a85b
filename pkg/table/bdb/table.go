package bdb

import (
	"bytes"
	"fmt"
	"os"
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
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

func openError(path string, err error) error {
	if err == errCorrupt {
		return fmt.Errorf("open database %s: Invalid argument", path)
	}
	return fmt.Errorf("open database %s: %s", path, syserr.Text(err))
}

// warnIfOlder warns of a table that does not show what its source file says.
func warnIfOlder(source string, info os.FileInfo) {
	src, err := os.Stat(source)
	if err == nil && src.ModTime().Unix() > info.ModTime().Unix() && time.Since(src.ModTime()) > 100*time.Second {
		maillog.Warnf("database %s is older than source file %s", source+suffix, source)
	}
}

// nulls is the convention by which keys and values are stored: with one
// trailing NUL, without, or not known yet (both bits).
type nulls table.Flags

const (
	null0    = nulls(table.Try0Null)
	null1    = nulls(table.Try1Null)
	nullBoth = null0 | null1
)

func nullsOf(f table.Flags) nulls {
	n := nulls(f) & nullBoth
	if n == 0 {
		return nullBoth
	}
	return n
}

// find looks up a key by each convention that is possible, and settles for the
// one that has a hit.
func (n *nulls) find(key string, get func(stored []byte) ([]byte, bool, error)) (value []byte, found bool, err error) {
	var space [256]byte
	stored := append(append(space[:0], key...), 0)
	if *n&null1 != 0 {
		value, found, err = get(stored)
		if found {
			*n = null1
		}
		if found || err != nil {
			return value, found, err
		}
	}
	if *n&null0 != 0 {
		value, found, err = get(stored[:len(key)])
		if found {
			*n = null0
		}
	}
	return value, found, err
}

// text is a stored key or value as its users see it.
func text(stored []byte) string {
	if i := bytes.IndexByte(stored, 0); i >= 0 {
		stored = stored[:i]
	}
	return string(stored)
}
