package maps

import (
	"strings"

	"suffix/pkg/address"
	"suffix/pkg/table"
)

// Keys selects the forms of an address that are looked up. They are tried in
// the order of this list; only Full goes to pattern tables.
type Keys uint

const (
	Full           Keys = 1 << iota // user+ext@domain
	NoExtension                     // user@domain
	LocalLocalpart                  // user+ext, user: if the domain is local
	AtDomain                        // @domain
	Domain                          // domain, then its parents
	LocalpartAt                     // user+ext@, user@
	DotParents                      // parents of Domain are looked up as .parent
)

// AddressKeys are the forms used by canonical, virtual alias, generic, BCC,
// relocated, mailbox, login and similar tables.
const AddressKeys = Full | NoExtension | LocalLocalpart | AtDomain

// Search says how FindAddress looks up addresses. The zero value of Keys
// stands for AddressKeys.
type Search struct {
	Keys      Keys
	Extension Extension

	// IsLocal says whether bare localparts are looked up for a domain: it is
	// $myorigin, in mydestination, or a literal with an own address. nil: never.
	IsLocal func(domain string) (bool, error)
}

// A Match is what FindAddress found.
type Match struct {
	Value string
	// Extension of the address, with its delimiter, if the key that was found
	// does not have it: the caller propagates it to the result.
	Extension string
	// Key is the form that was found.
	Key string
	// Partial says that the key is not the whole address.
	Partial bool
	Table   *table.Handle
}

// FindAddress looks up an address in internal form. Each key with a localpart
// is tried in its quoted form and then, if that differs, as it is
// (spec tables §4).
func (m *Maps) FindAddress(addr string, s Search) (match Match, found bool, err error) {
	if m.Empty() || addr == "" {
		return Match{}, false, nil
	}
	keys := s.Keys
	if keys&^DotParents == 0 {
		keys |= AddressKeys
	}
	local, domain, hasDomain := address.Split(addr)
	user, ext := s.Extension.Split(local)

	// try looks up one form; suffix is what follows the localpart.
	try := func(local, suffix, ext string, whole bool) bool {
		quoted := address.QuoteLocal(local) + suffix
		match = Match{Key: quoted, Extension: ext, Partial: !whole}
		match.Value, match.Table, found, err = m.FindTable(quoted, whole)
		if raw := local + suffix; !found && err == nil && raw != quoted {
			match.Key = raw
			match.Value, match.Table, found, err = m.FindTable(raw, whole)
		}
		return found || err != nil
	}
	plain := func(key string) bool {
		match = Match{Key: key, Extension: ext, Partial: true}
		match.Value, match.Table, found, err = m.FindTable(key, false)
		return found || err != nil
	}

	atDomain := ""
	if hasDomain {
		atDomain = "@" + domain
	}
	if keys&Full != 0 && try(local, atDomain, "", true) {
		return match, found, err
	}
	if keys&NoExtension != 0 && ext != "" && try(user, atDomain, ext, false) {
		return match, found, err
	}
	if !hasDomain {
		return Match{}, false, nil
	}
	if keys&LocalLocalpart != 0 && s.IsLocal != nil {
		isLocal, localErr := s.IsLocal(domain)
		if localErr != nil {
			return Match{}, false, localErr
		}
		if isLocal && (try(local, "", "", false) || ext != "" && try(user, "", ext, false)) {
			return match, found, err
		}
	}
	if keys&AtDomain != 0 && domain != "" && plain(atDomain) {
		return match, found, err
	}
	if keys&Domain != 0 {
		for name, first := domain, true; name != ""; first = false {
			if plain(name) {
				return match, found, err
			}
			name = parent(name, first, keys&DotParents != 0)
		}
	}
	if keys&LocalpartAt != 0 {
		if try(local, "@", "", false) || ext != "" && try(user, "@", ext, false) {
			return match, found, err
		}
	}
	return Match{}, false, nil
}

// parent returns the next name to look up after a domain: without its first
// label, or ".parent" where dots says so. "" at the end.
func parent(name string, first, dots bool) string {
	if !first && dots {
		name = name[1:]
	}
	i := strings.IndexByte(name, '.')
	if i < 0 {
		return ""
	}
	if dots {
		return name[i:]
	}
	return name[i+1:]
}
