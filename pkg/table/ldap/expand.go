package ldap

import (
	"fmt"
	"slices"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"

	"suffix/pkg/maillog"
	"suffix/pkg/table"
	"suffix/pkg/table/dbcommon"
)

// An expansion gathers the values of the entries that a search has found, and
// of their members.
type expansion struct {
	*directory
	conn    *connection
	results *dbcommon.Results
	key     string
	last    int // the result of the last search for members
}

// entries takes the values of entries. depth counts the searches that have led
// to them, from 1.
func (e *expansion) entries(entries []*goldap.Entry, depth int) error {
	where := fmt.Sprintf("dict_ldap_get_values[%d]", depth)
	if e.sizeLimit > 0 && len(entries) > e.sizeLimit {
		maillog.Warnf("%s: %s: Query size limit (%d) exceeded", where, e.Source.Name(), e.sizeLimit)
		return &table.Error{}
	}
	for _, entry := range entries {
		isTerminal := slices.ContainsFunc(entry.Attributes, func(a *goldap.EntryAttribute) bool {
			return len(a.Values) > 0 && listed(e.terminal, a.Name)
		})
		isLeaf := !slices.ContainsFunc(entry.Attributes, func(a *goldap.EntryAttribute) bool {
			return len(a.Values) > 0 && listed(e.special, a.Name)
		})
		for _, a := range entry.Attributes {
			var err error
			switch {
			case isTerminal && !listed(e.terminal, a.Name):
			case isTerminal, listed(e.result, a.Name), isLeaf && listed(e.leaf, a.Name):
				e.results.Limit = fmt.Sprintf("%s: %s: Expansion limit exceeded for key: '%s'", where, e.Source.Name(), e.key)
				err = e.values(a)
			case listed(e.special, a.Name):
				err = e.members(a, where, depth)
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

func (e *expansion) values(a *goldap.EntryAttribute) error {
	for _, value := range a.Values {
		if err := e.results.Add(value); err != nil {
			return err
		}
	}
	return nil
}

// members follows the names and URLs of other entries.
func (e *expansion) members(a *goldap.EntryAttribute, where string, depth int) error {
	for _, value := range a.Values {
		if depth >= e.maxDepth {
			maillog.Warnf("%s: %s: Recursion limit exceeded for special attribute %s=%s", where, e.Source.Name(), a.Name, value)
			return &table.Error{}
		}
		request := e.request(value, goldap.ScopeBaseObject, "objectclass=*", e.asked)
		if isURL(value) {
			u, problem := parseURL(value)
			if problem != 0 {
				maillog.Warnf("%s: malformed URL %s: %s(%d)", where, value, textOf(problem), problem)
				return &table.Error{}
			}
			attributes := e.common(u.attributes)
			if len(attributes) == 0 {
				continue
			}
			request = e.request(u.dn, u.scope, u.filter, attributes)
		}
		entries, err := e.conn.search(request)
		e.last = codeOf(err)
		switch {
		case err == nil:
		case e.last == goldap.LDAPResultNoSuchObject:
			maillog.Warnf("%s: DN %s not found, skipping ", where, value)
			continue
		default:
			maillog.Warnf("%s: search error %d: %s ", where, e.last, textOf(e.last))
			return &table.Error{Err: e.conn.cause(e.last)}
		}
		if err := e.entries(entries, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// common returns the attributes that both a URL and the table want. Where one
// of them wants one option of an attribute only, that is asked for. A URL
// without attributes wants all.
func (e *expansion) common(wanted []string) []string {
	if len(wanted) == 0 {
		return e.asked
	}
	var both []string
	for _, w := range wanted {
		for _, a := range e.asked {
			switch {
			case strings.EqualFold(w, a):
				both = append(both, a)
			case !strings.Contains(a, ";") && hasOption(w, a):
				both = append(both, w)
			case !strings.Contains(w, ";") && hasOption(a, w):
				both = append(both, a)
			}
		}
	}
	return both
}

// listed says whether an attribute of an entry is one of the list: "cn;lang-en"
// is if "cn" is listed.
func listed(list []string, name string) bool {
	return slices.ContainsFunc(list, func(item string) bool { return strings.EqualFold(item, name) || hasOption(name, item) })
}

// hasOption says that name is attribute with an option.
func hasOption(name, attribute string) bool {
	return len(name) > len(attribute) && name[len(attribute)] == ';' && strings.EqualFold(name[:len(attribute)], attribute)
}
