package simple

import (
	"fmt"
	"strings"

	"suffix/pkg/table"
)

// composed is what pipemap and unionmap share: a list of other tables.
type composed struct {
	base
	members []*table.Handle
	fixed   bool
}

func openComposed(typ, name string, o table.Options) (composed, error) {
	if err := readOnly(typ, name, o); err != nil {
		return composed{}, err
	}
	bad := fmt.Errorf("bad syntax: \"%s:%s\"; need \"%s:{type:name...}\"", typ, name, typ)
	inner, err := table.Unbrace(name)
	items := table.SplitList(inner)
	if err != nil || len(items) == 0 {
		return composed{}, bad
	}
	for _, item := range items {
		if !strings.Contains(item, ":") {
			return composed{}, bad
		}
	}
	c := composed{base: base{typ + ":" + name}}
	for _, item := range items {
		member := table.Open(item, o.Inner())
		c.members = append(c.members, member)
		if err := member.Err(); err != nil && o.Command {
			c.Close()
			return composed{}, err
		}
	}
	c.fixed = c.members[0].Fixed()
	return c, nil
}

func (c *composed) Fixed() bool { return c.fixed }

// Close closes the member tables.
func (c *composed) Close() error {
	var first error
	for _, m := range c.members {
		if err := m.Close(); first == nil {
			first = err
		}
	}
	return first
}

// Changed says that the file of a member has changed.
func (c *composed) Changed() bool {
	for _, m := range c.members {
		if m.Changed() {
			return true
		}
	}
	return false
}

// Owner is the least trusted of the members' owners: unknown where a member's
// is, or where two members have different owners other than root.
func (c *composed) Owner() (uid int, known bool) {
	for _, m := range c.members {
		memberUID, memberKnown := m.Owner()
		switch {
		case !memberKnown, memberUID != 0 && uid != 0 && memberUID != uid:
			return 0, false
		case uid == 0:
			uid = memberUID
		}
	}
	return uid, true
}

// pipemap: the value that one table gives is the key for the next.
type pipemap struct{ composed }

func openPipemap(typ, name string, o table.Options) (table.Table, error) {
	c, err := openComposed(typ, name, o)
	if err != nil {
		return nil, err
	}
	return &pipemap{c}, nil
}

func (t *pipemap) Lookup(key string) (string, bool, error) {
	for _, m := range t.members {
		value, found, err := m.Lookup(key)
		if err != nil || !found {
			return "", false, err
		}
		key = value
	}
	return key, true, nil
}

// unionmap: the values of all tables, joined by commas.
type unionmap struct{ composed }

func openUnionmap(typ, name string, o table.Options) (table.Table, error) {
	c, err := openComposed(typ, name, o)
	if err != nil {
		return nil, err
	}
	return &unionmap{c}, nil
}

func (t *unionmap) Lookup(key string) (string, bool, error) {
	var values []string
	for _, m := range t.members {
		value, found, err := m.Lookup(key)
		if err != nil {
			return "", false, err
		}
		if found {
			values = append(values, value)
		}
	}
	return strings.Join(values, ","), len(values) > 0, nil
}
