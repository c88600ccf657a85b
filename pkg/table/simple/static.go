package simple

import (
	"fmt"
	"math/rand/v2"
	"strings"

	"suffix/pkg/table"
)

// static: every key has the same value.
type static struct {
	base
	table.Trusted
	value string
}

func openStatic(typ, name string, o table.Options) (table.Table, error) {
	value := name
	if strings.HasPrefix(name, "{") {
		inner, err := table.Unbrace(name)
		if err != nil {
			return nil, fmt.Errorf("bad static:name syntax: %w", err)
		}
		value = inner
	}
	if o.Flags&table.FileValues != 0 {
		encoded, err := table.FileValue(value)
		if err != nil {
			return nil, err
		}
		value = encoded
	}
	return &static{base: base{typ + ":" + name}, value: value}, nil
}

func (t *static) Fixed() bool                         { return true }
func (t *static) Lookup(string) (string, bool, error) { return t.value, true, nil }

// randmap: each lookup picks one of the values.
type randmap struct {
	base
	table.Trusted
	values []string
}

func openRandmap(typ, name string, o table.Options) (table.Table, error) {
	if err := readOnly(typ, name, o); err != nil {
		return nil, err
	}
	inner, err := table.Unbrace(name)
	items := table.SplitList(inner)
	if err != nil || len(items) == 0 {
		return nil, fmt.Errorf("bad syntax: \"%s:%s\"; need \"%s:{value...}\"", typ, name, typ)
	}
	if o.Flags&table.FileValues != 0 {
		for i := range items {
			if items[i], err = table.FileValue(items[i]); err != nil {
				return nil, err
			}
		}
	}
	return &randmap{base: base{typ + ":" + name}, values: items}, nil
}

func (t *randmap) Fixed() bool { return false }
func (t *randmap) Lookup(string) (string, bool, error) {
	return t.values[rand.IntN(len(t.values))], true, nil
}
