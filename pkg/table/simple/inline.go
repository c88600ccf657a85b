package simple

import (
	"fmt"
	"strings"

	"suffix/pkg/table"
)

// inline: the entries stand in the table's name.
func openInline(typ, name string, o table.Options) (table.Table, error) {
	if err := readOnly(typ, name, o); err != nil {
		return nil, err
	}
	need := "name=value..."
	if o.Flags&table.FileValues != 0 {
		need = "name=filename..."
	}
	bad := func(why string) error {
		return fmt.Errorf("%s: \"%s:%s\"; need \"%s:{%s}\"", why, typ, name, typ, need)
	}
	if _, err := table.Unbrace(name); err != nil || name == "{}" {
		return nil, bad("bad syntax")
	}
	inner := name[1 : len(name)-1]
	if o.UTF8() && !validText(inner) {
		return nil, bad("bad UTF-8 syntax")
	}
	t := &memory{base: base{typ + ":" + name}, values: make(map[string]string)}
	for _, item := range table.SplitList(inner) {
		if item[0] == '{' {
			text, err := table.Unbrace(item)
			if err != nil {
				return nil, bad(err.Error())
			}
			item = text
		}
		key, value, err := splitEntry(item)
		if err != nil {
			return nil, bad(err.Error())
		}
		if key == "" && !o.Dialect37() {
			return nil, bad("no key found; expected format: key = value")
		}
		if o.Flags&table.FileValues != 0 {
			if value, err = table.FileValue(value); err != nil {
				return nil, bad(err.Error())
			}
		}
		if o.Flags&table.FoldFix != 0 {
			key = table.Fold(key, o.UTF8() && o.Dialect37())
		}
		t.values[key] = value
	}
	if len(t.values) == 0 {
		return nil, bad("empty table")
	}
	return t, nil
}

// splitEntry splits "key = value". The key may contain quoted blanks and
// keeps its quotes and backslashes.
func splitEntry(item string) (key, value string, err error) {
	quoted := false
	i := 0
scan:
	for ; i < len(item); i++ {
		switch c := item[i]; {
		case c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '=' || table.IsSpace(c)):
			break scan
		}
	}
	i = min(i, len(item))
	if quoted {
		return "", "", fmt.Errorf("unbalanced '\"'")
	}
	rest := item[i:]
	for rest != "" && table.IsSpace(rest[0]) {
		rest = rest[1:]
	}
	if !strings.HasPrefix(rest, "=") {
		return "", "", fmt.Errorf("missing '=' after attribute name")
	}
	return item[:i], table.TrimSpace(rest[1:]), nil
}
