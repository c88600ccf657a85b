//go:build interop

package nis

import (
	"testing"

	"suffix/pkg/table/clienttest"
)

func TestMain(m *testing.M) { clienttest.Main(m, nil) }

// Types of other systems are refused in Postfix's words, and nis is as good as
// empty on a system without a NIS domain.
func TestSameAsPostfix(t *testing.T) {
	dir := clienttest.Config(t)
	var runs [][]string
	for _, typ := range []string{"nis", "dbm", "sdbm", "nisplus", "netinfo"} {
		runs = append(runs, []string{"-q", "x", typ + ":name"}, []string{"-s", typ + ":name"}, []string{"-d", "x", typ + ":name"}, []string{typ + ":/none"})
	}
	runs = append(runs, []string{"-q", "x", "nis:one", "nis:two"})
	clienttest.Each(runs, func(args []string) { clienttest.Compare(t, dir, "", args...) })
}
