package cleanup

import (
	"fmt"
	"strings"

	"suffix/pkg/address"
	"suffix/pkg/cleanupclient"
	"suffix/pkg/maps"
	"suffix/pkg/rewriteclient"
)

// bccTable is what mappedBCC needs of a list of tables.
type bccTable = *maps.Maps

// maxCanonical is how often an address may be mapped again.
const maxCanonical = 10

// rewriteInternal brings an address in internal form into standard form. The
// empty address stays empty.
func (m *Message) rewriteInternal(rule rewriteclient.Rule, addr string) (string, bool) {
	if addr == "" {
		return "", true
	}
	result, err := m.e.rewrite.Rewrite(m.ctx, rule, address.Quote(addr))
	if err != nil {
		m.warnf("rewrite %s: %v", m.logAddress(addr), err)
		m.status |= cleanupclient.Write
		return "", false
	}
	return address.Unquote(result), true
}

func (m *Message) search() maps.Search {
	return maps.Search{Keys: maps.AddressKeys, Extension: m.e.extension, IsLocal: m.e.local.Bare}
}

// mapAddress looks an address up and returns the addresses that the table
// gives, in standard form (spec cleanup §8.6).
func (m *Message) mapAddress(table *maps.Maps, addr string, propagate bool) (result []string, found bool, err error) {
	match, found, err := table.FindAddress(addr, m.search())
	if !found || err != nil {
		return nil, false, err
	}
	if strings.HasPrefix(match.Key, "@") {
		match.Extension = "" // a domain's entry takes the localpart with all it has
	}
	value := match.Value
	if strings.HasPrefix(value, "@") {
		local, _, _ := address.Split(addr)
		value = address.QuoteLocal(strings.TrimSuffix(local, match.Extension)) + value
	}
	list := address.Parse(value, 0)
	all := list.Addresses()
	if len(all) == 0 && (strings.TrimSpace(value) == "<>" || strings.TrimSpace(value) == "") {
		all = []string{""}
	}
	for _, a := range all {
		a, ok := m.rewriteInternal(rewriteclient.Local, a)
		if !ok {
			return nil, false, fmt.Errorf("%s: address rewriting failed", table.Title())
		}
		if match.Extension != "" && propagate {
			local, domain, hasDomain := address.Split(a)
			a = local + match.Extension
			if hasDomain {
				a += "@" + domain
			}
		}
		result = append(result, a)
	}
	if len(result) == 0 {
		m.e.log.Warnf("%s lookup of %s returns non-address result \"%s\"", table.Title(), addr, value)
		return nil, false, fmt.Errorf("%s: non-address result", table.Title())
	}
	return result, true, nil
}

// canonicalize maps an address until it does not change any more.
func (m *Message) canonicalize(addr string, table *maps.Maps) string {
	if table.Empty() || addr == "" {
		return addr
	}
	for range maxCanonical {
		result, found, err := m.mapAddress(table, addr, m.e.set.propagateCanonical)
		if err != nil {
			m.warnf("%s map lookup problem for %s -- message not accepted, try again later", table.Title(), addr)
			m.status |= cleanupclient.Write
			return addr
		}
		if !found {
			return addr
		}
		if len(result) > 1 {
			m.warnf("multi-valued %s entry for %s", table.Title(), addr)
		}
		same := strings.EqualFold(result[0], addr)
		addr = result[0]
		if same {
			return addr
		}
	}
	m.warnf("unreasonable %s map nesting for %s -- message not accepted, try again later", table.Title(), addr)
	return addr
}

// masquerade hides subdomains (spec cleanup §8.7).
func (m *Message) masquerade(addr string) string {
	if len(m.e.set.masqueradeDomains) == 0 {
		return addr
	}
	local, domain, ok := address.Split(addr)
	if !ok {
		return addr
	}
	if !m.e.masqueradeExceptions.Empty() {
		excepted, err := m.e.masqueradeExceptions.Match(address.QuoteLocal(local))
		if err != nil {
			m.warnf("masquerade_exceptions map lookup problem -- message not accepted, try again later")
			m.status |= cleanupclient.Write
			return addr
		}
		if excepted {
			return addr
		}
	}
	for _, entry := range m.e.set.masqueradeDomains {
		keep := false
		for strings.HasPrefix(entry, "!") {
			keep, entry = !keep, entry[1:]
		}
		at := len(domain) - len(entry)
		if at < 0 || !strings.EqualFold(domain[at:], entry) {
			continue
		}
		if at == 0 {
			return addr
		}
		if domain[at-1] == '.' {
			if keep {
				return addr
			}
			return local + "@" + entry
		}
	}
	return addr
}

const aliasError = "4.6.0 Alias expansion error"

// expand returns the members of a virtual alias, or the address itself
// (spec cleanup §8.4).
func (m *Message) expand(addr string) []string {
	list := []string{addr}
	if m.flags&cleanupclient.Map == 0 || m.e.aliases.Empty() || addr == "" {
		return list
	}
	fail := func(status cleanupclient.Status, format string, args ...any) []string {
		m.warnf(format+" -- message not accepted, try again later", args...)
		m.fail(status, aliasError)
		return []string{addr}
	}
	title := m.e.aliases.Title()
	done := make(map[string]bool)
	for i := 0; i < len(list); i++ {
		if len(list) > m.e.set.aliasSize {
			return fail(cleanupclient.Defer, "unreasonable %s map expansion size for %s", title, addr)
		}
		for n := 0; !done[strings.ToLower(list[i])]; n++ {
			if n >= m.e.set.aliasNesting {
				return fail(cleanupclient.Defer, "unreasonable %s map nesting for %s", title, addr)
			}
			looked := list[i]
			result, found, err := m.mapAddress(m.e.aliases, looked, m.e.set.propagateVirtual)
			if err != nil {
				return fail(cleanupclient.Write, "%s map lookup problem for %s", title, addr)
			}
			if !found {
				break
			}
			for j, member := range result {
				if len(member) > m.e.set.aliasLength {
					return fail(cleanupclient.Defer, "unreasonable %s result %s...", title, shown([]byte(member), 300))
				}
				if j == 0 {
					list[i] = member
				} else {
					list = append(list, member)
				}
				if strings.EqualFold(member, looked) {
					done[strings.ToLower(looked)] = true
				}
			}
		}
	}
	return list
}

// findBCC returns the address that a BCC table gives for an address.
func (m *Message) findBCC(table *maps.Maps, addr string) (string, bool, error) {
	match, found, err := table.FindAddress(addr, m.search())
	if !found || err != nil {
		return "", false, err
	}
	return match.Value, true, nil
}
