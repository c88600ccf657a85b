package table

import "strings"

// Flags say how a table is used. The bit values are those of the proxymap
// protocol (spec tables §1.4, ipc §16).
type Flags uint32

const (
	WarnDup     Flags = 1 << 0  // update of a present key: warn, keep the old value
	IgnoreDup   Flags = 1 << 1  // update of a present key: keep the old value
	Try0Null    Flags = 1 << 2  // keys and values are stored without a trailing NUL
	Try1Null    Flags = 1 << 3  // keys and values are stored with one trailing NUL
	FixedKeys   Flags = 1 << 4  // set by the table: fixed strings, partial keys make sense
	PatternKeys Flags = 1 << 5  // set by the table: patterns, only whole keys make sense
	Lock        Flags = 1 << 6  // lock the file around each access
	ReplaceDup  Flags = 1 << 7  // update of a present key: replace the value
	SyncUpdate  Flags = 1 << 8  // an update is on disk when it returns
	NoRegSub    Flags = 1 << 11 // no $number in results of pattern tables
	NoProxy     Flags = 1 << 12 // open proxy:X as X
	NoUnauth    Flags = 1 << 13 // refuse tables that anybody may answer
	FoldFix     Flags = 1 << 14 // fold the case of keys of fixed-string tables
	FoldMul     Flags = 1 << 15 // fold the case of keys of pattern tables
	OpenLock    Flags = 1 << 16 // keep an exclusive lock while the table is open
	BulkUpdate  Flags = 1 << 17 // the table is being rebuilt
	MultiWriter Flags = 1 << 18 // set by the table: safe for several writers
	UTF8Request Flags = 1 << 19 // keys and values are to be checked as UTF-8
	UTF8Active  Flags = 1 << 20 // set by Open: they are checked
	FileValues  Flags = 1 << 21 // source values are names of files with the real value
	Surrogate   Flags = 1 << 22 // set by Open: the table could not be opened
)

// InstanceFlags are part of the identity of an open table; the others travel
// with each request.
const InstanceFlags = Try0Null | Try1Null | FixedKeys | PatternKeys | Lock | NoRegSub | NoProxy | NoUnauth |
	FoldFix | FoldMul | OpenLock | BulkUpdate | MultiWriter | UTF8Request | UTF8Active | FileValues | Surrogate

// Reader is what nearly every reader of a table asks for.
const Reader = Lock | FoldFix | UTF8Request

var flagNames = [...]struct {
	bit  Flags
	name string
}{
	{WarnDup, "warn_dup"}, {IgnoreDup, "ignore_dup"}, {Try0Null, "try0null"}, {Try1Null, "try1null"},
	{FixedKeys, "fixed"}, {PatternKeys, "pattern"}, {Lock, "lock"}, {ReplaceDup, "dup_replace"},
	{SyncUpdate, "sync_update"}, {NoRegSub, "no_regsub"}, {NoProxy, "no_proxy"}, {NoUnauth, "no_unauth"},
	{FoldFix, "fold_fix"}, {FoldMul, "fold_mul"}, {OpenLock, "open_lock"}, {BulkUpdate, "bulk_update"},
	{MultiWriter, "multi_writer"}, {UTF8Request, "utf8_request"}, {UTF8Active, "utf8_active"},
	{FileValues, "src_rhs_is_file"}, {Surrogate, "surrogate"},
}

// String gives the symbolic names, joined by "|", as logs show them.
func (f Flags) String() string {
	var names []string
	for _, n := range flagNames {
		if f&n.bit != 0 {
			names = append(names, n.name)
		}
	}
	return strings.Join(names, "|")
}
