package pgsql

import (
	"testing"

	"suffix/pkg/table"
	"suffix/pkg/table/dbcommon/dbtest"
	"suffix/pkg/table/tabletest"
)

// open opens a table with a client file.
func open(t *testing.T, conf string) *table.Handle {
	t.Helper()
	return tabletest.Open(t, "pgsql:"+dbtest.Write(t, t.TempDir()+"/p.cf", conf), table.Options{Flags: table.Reader})
}
