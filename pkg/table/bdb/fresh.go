package bdb

import (
	"unsafe"

	"suffix/pkg/table/dbfile"
)

// freshRecords returns the entries of a new table for writing. They share the
// memory of r, which does not change any more.
func freshRecords(r *dbfile.Records) []record {
	records := make([]record, r.Len())
	for i := range records {
		records[i].key, records[i].value = text(r.Key(i)), text(r.Value(i))
	}
	return records
}

// text is b without a copy: b must not change.
func text(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
