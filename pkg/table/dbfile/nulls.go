package dbfile

import (
	"bytes"

	"suffix/pkg/table"
)

// Nulls is the convention by which keys and values are stored: with one
// trailing NUL, without, or not known yet (both bits).
type Nulls table.Flags

// The conventions.
const (
	Null0    = Nulls(table.Try0Null)
	Null1    = Nulls(table.Try1Null)
	NullBoth = Null0 | Null1
)

// NullsOf returns the convention that a table is opened with.
func NullsOf(f table.Flags) Nulls {
	n := Nulls(f) & NullBoth
	if n == 0 {
		return NullBoth
	}
	return n
}

// Settle chooses a convention for writing, where none is known yet.
func (n *Nulls) Settle(preferred Nulls) {
	if *n == NullBoth {
		*n = preferred
	}
}

// Stored returns what a settled convention makes of a key or value.
func (n Nulls) Stored(text string) string {
	if n == Null1 {
		return text + "\x00"
	}
	return text
}

// Find looks up a key by each convention that is possible, with the NUL first,
// and settles for the one that has a hit. The slice that get is called with is
// valid during the call only.
func (n *Nulls) Find(key string, get func(stored []byte) ([]byte, bool, error)) (value []byte, found bool, err error) {
	var space [256]byte
	stored := append(append(space[:0], key...), 0)
	if *n&Null1 != 0 {
		value, found, err = get(stored)
		if found {
			*n = Null1
		}
		if found || err != nil {
			return value, found, err
		}
	}
	if *n&Null0 != 0 {
		value, found, err = get(stored[:len(key)])
		if found {
			*n = Null0
		}
	}
	return value, found, err
}

// Text is a stored key or value as its users see it.
func Text(stored []byte) string {
	if i := bytes.IndexByte(stored, 0); i >= 0 {
		stored = stored[:i]
	}
	return string(stored)
}
