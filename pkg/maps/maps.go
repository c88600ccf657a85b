// Package maps looks up keys in lists of tables, such as the value of
// virtual_alias_maps, and mail addresses in the order of keys that Postfix's
// address tables share (spec tables §2.1 and §4).
package maps

import (
	"fmt"

	"suffix/pkg/maillog"
	"suffix/pkg/table"
)

// Maps is a list of tables that are searched in order.
type Maps struct {
	title  string
	tables []*table.Handle
}

// Open opens the tables named in value, the value of the parameter title. It
// never fails: a table that cannot be opened fails each lookup that reaches it.
func Open(title, value string, o table.Options) *Maps {
	m := &Maps{title: title}
	for _, item := range table.SplitList(value) {
		m.tables = append(m.tables, table.Open(item, o))
	}
	return m
}

// Empty says that the list has no tables.
func (m *Maps) Empty() bool { return m == nil || len(m.tables) == 0 }

// Title is the parameter name that Open was told.
func (m *Maps) Title() string { return m.title }

// Tables returns the tables of the list.
func (m *Maps) Tables() []*table.Handle {
	if m == nil {
		return nil
	}
	return m.tables
}

// Err returns why the first unusable table cannot be used. Commands end with
// this text.
func (m *Maps) Err() error {
	for _, t := range m.Tables() {
		if err := t.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Changed names the first table whose file has changed since it was opened, by
// its registered name as in "table NAME has changed -- restarting".
func (m *Maps) Changed() (name string, changed bool) {
	for _, t := range m.Tables() {
		if t.Changed() {
			return t.RegisteredName(), true
		}
	}
	return "", false
}

// Close closes the tables.
func (m *Maps) Close() {
	for _, t := range m.Tables() {
		if err := t.Close(); err != nil {
			maillog.Warnf("close %s: %s", t.Name(), err)
		}
	}
}

// Find looks up a whole key in all tables. The first hit or error ends the
// search. Errors are logged; the empty key is never found.
func (m *Maps) Find(key string) (value string, found bool, err error) {
	return m.find(key, true)
}

// FindPartial looks up a part of a key, such as the domain of an address, in
// the tables with fixed keys.
func (m *Maps) FindPartial(key string) (value string, found bool, err error) {
	return m.find(key, false)
}

func (m *Maps) find(key string, whole bool) (string, bool, error) {
	value, _, found, err := m.FindTable(key, whole)
	return value, found, err
}

// FindTable is Find (whole) or FindPartial, and tells the table that has the
// key or failed.
func (m *Maps) FindTable(key string, whole bool) (value string, t *table.Handle, found bool, err error) {
	if key == "" || m == nil {
		return "", nil, false, nil
	}
	for _, t := range m.tables {
		if !whole && !t.Fixed() {
			continue
		}
		value, found, err := t.Lookup(key)
		switch {
		case err != nil:
			maillog.Warnf("%s lookup error for \"%s\"", t.Name(), key)
			return "", t, false, fmt.Errorf("%s lookup error for \"%s\": %w", t.Name(), key, err)
		case found && value == "":
			maillog.Warnf("%s lookup of %s returns an empty string result", m.title, key)
			maillog.Warnf("%s should return NO RESULT in case of NOT FOUND", m.title)
			return "", t, false, fmt.Errorf("%s lookup of %s returns an empty string result: %w", m.title, key, &table.Error{Config: true})
		case found:
			return value, t, true, nil
		}
	}
	return "", nil, false, nil
}
