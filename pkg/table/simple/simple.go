// Package simple has the table types that need no file format of their own:
// static, inline, texthash, internal, environ, fail, randmap, pipemap,
// unionmap, debug and unix (spec tables §3).
package simple

import (
	"suffix/pkg/table"
)

func init() {
	for name, open := range map[string]table.Opener{
		"static": openStatic, "inline": openInline, "texthash": openTexthash, "internal": openInternal,
		"environ": openEnviron, "randmap": openRandmap, "pipemap": openPipemap, "unionmap": openUnionmap,
		"debug": openDebug, "unix": openUnix,
	} {
		table.Register(name, table.Type{Open: open})
	}
	table.Register("fail", table.Type{Open: openFail, Bulk: true})
}

// base has what is the same in all of these tables.
type base struct{ name string }

func (b base) Name() string  { return b.name }
func (b base) Changed() bool { return false }
func (b base) Close() error  { return nil }

// readOnly refuses to open a table for writing.
func readOnly(typ, name string, o table.Options) error {
	if o.Mode == table.ReadOnly {
		return nil
	}
	return &readOnlyError{typ + ":" + name}
}

type readOnlyError struct{ table string }

func (e *readOnlyError) Error() string { return e.table + " map requires O_RDONLY access mode" }
