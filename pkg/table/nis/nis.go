// Package nis has the table type nis as it is on a system that is in no NIS
// domain: nothing is found. Configurations name such tables without meaning
// it, for nis:mail.aliases was part of the default alias_maps for a long time
// (spec tables §11.1).
//
// There is no client of NIS here. On a system that is in a NIS domain the type
// is refused, as one that was not built in.
package nis

import (
	"fmt"
	"sync"

	"golang.org/x/sys/unix"

	"suffix/pkg/maillog"
	"suffix/pkg/table"
)

func init() { table.Register("nis", table.Type{Open: open}) }

type nis struct {
	table.Trusted
	name string
}

// domain returns the NIS domain of the system, empty if there is none. Tests
// replace it.
var domain = func() string {
	var name unix.Utsname
	if unix.Uname(&name) != nil {
		return ""
	}
	d := unix.ByteSliceToString(name.Domainname[:])
	if d == "(none)" {
		return ""
	}
	return d
}

var disabled sync.Once

func open(typ, name string, o table.Options) (table.Table, error) {
	if o.Mode != table.ReadOnly {
		return nil, fmt.Errorf("%s:%s map requires O_RDONLY access mode", typ, name)
	}
	if domain() != "" {
		return nil, fmt.Errorf("unsupported dictionary type: %s", typ)
	}
	disabled.Do(func() {
		maillog.Warnf("dict_nis_init: NIS domain name not set - NIS lookups disabled")
	})
	return &nis{name: name}, nil
}

func (t *nis) Name() string                        { return "nis:" + t.name }
func (t *nis) Fixed() bool                         { return true }
func (t *nis) Changed() bool                       { return false }
func (t *nis) Close() error                        { return nil }
func (t *nis) Lookup(string) (string, bool, error) { return "", false, nil }
