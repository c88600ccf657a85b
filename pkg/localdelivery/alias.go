package localdelivery

import (
	"fmt"
	"strings"

	"suffix/pkg/account"
	"suffix/pkg/address"
	"suffix/pkg/dsn"
	"suffix/pkg/maillog"
	"suffix/pkg/outcome"
	"suffix/pkg/rewriteclient"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
)

// aliasMatch is an alias and the table that has it.
type aliasMatch struct {
	Value string
	Table *table.Handle
}

// aliasLookup asks the alias tables: quoted as an external localpart, then as
// it is (spec delivery §8.2).
func (d *delivery) aliasLookup(name string) (m aliasMatch, found bool, err error) {
	quoted := address.QuoteLocal(name)
	for _, key := range []string{quoted, name} {
		m.Value, m.Table, found, err = d.aliases.FindTable(key, true)
		if err != nil {
			maillog.Warnf("%s: lookup of '%s' failed", d.aliases.Title(), name)
		}
		if err != nil || found || quoted == name {
			return m, found, err
		}
	}
	return m, false, nil
}

// alias expands a name that is an alias. found is false when it is none.
func (d *delivery) alias(s state, name string) (result outcome.Result, found bool) {
	if strings.EqualFold(name, s.expandedFrom) {
		return outcome.Done, false
	}
	m, found, err := d.aliasLookup(name)
	if err != nil {
		return d.later(s, "4.3.0", "alias database unavailable"), true
	}
	if !found {
		return outcome.Done, false
	}
	if d.req.Flags&outcome.FlagProbe != 0 {
		return d.sent(s, dsn.DSN{Status: "2.0.0", Reason: "aliased to " + m.Value}), true
	}
	if s.depth+2 > maxDepth {
		maillog.Warnf("alias database loop for %s", name)
		return d.bounce(s, "5.4.6", "alias database loop for "+name), true
	}
	nested := s
	nested.depth += 3
	nested.expandedFrom, nested.origin = name, fromAlias
	if !d.frozenDelivered {
		nested.delivered = s.rcpt.Address
	}
	if result, ok := d.aliasOwner(s, &nested, m); !ok {
		return result, true
	}
	hasOwner, result, ok := d.listOwner(s, &nested, name)
	if !ok {
		return result, true
	}
	nested.rcpt.Notify = withoutSuccess(s.rcpt.Notify)
	if hasOwner {
		nested.rcpt.ORCPT, nested.rcpt.Original = "", ""
		nested.envelopeID, nested.ret = "", 0
	}
	result, count := d.list(nested, m.Value)
	if count == 0 {
		maillog.Warnf("no recipient in alias lookup result for %s", name)
		return d.later(s, "4.3.0", "alias database unavailable"), true
	}
	if s.rcpt.Notify&dsn.NotifySuccess != 0 {
		action := "expanded"
		if hasOwner {
			action = "delivered"
		}
		result = both(result, d.req.Expanded(s.rcpt, d.at(), action))
	}
	return result, true
}

// aliasOwner sets the user in whose name an alias's files and commands are
// handled: nobody special where root owns the table, else the table's owner.
func (d *delivery) aliasOwner(s state, nested *state, m aliasMatch) (outcome.Result, bool) {
	uid, known := m.Table.Owner()
	if !known || uid == 0 {
		nested.user = nil
		return outcome.Done, true
	}
	user, err := account.LookupUID(uid)
	if err != nil {
		maillog.Warnf("cannot find alias database owner for %s: %s", m.Table.Name(), syserr.Text(err))
		return d.later(s, "4.3.0", "cannot find alias database owner"), false
	}
	nested.user = user
	return outcome.Done, true
}

// listOwner looks for owner-NAME, who answers for the members of a list.
func (d *delivery) listOwner(s state, nested *state, name string) (has bool, result outcome.Result, ok bool) {
	if !d.ownerRequest {
		return false, outcome.Done, true
	}
	m, found, err := d.aliasLookup("owner-" + name)
	if err != nil {
		return false, d.later(s, "4.3.0", "alias database unavailable"), false
	}
	if !found {
		if d.resetOwner {
			nested.owner = ""
		}
		return false, outcome.Done, true
	}
	owner, err := d.canonicalOwner("owner-"+name, m.Value)
	if err != nil {
		return false, d.later(s, "4.3.0", "address resolver failure"), false
	}
	nested.sender, nested.owner = owner, owner
	return true, outcome.Done, true
}

// canonicalOwner gives the address of a list's owner in full.
func (d *delivery) canonicalOwner(name, target string) (string, error) {
	if d.expandOwner {
		if first, ok := address.Parse(target, d.tokenLimit).First(); ok {
			name = first
		}
	}
	return d.canonical(name)
}

// canonical rewrites an address in internal form by the rule for local mail.
func (d *delivery) canonical(internal string) (string, error) {
	external, err := d.rewrite.Rewrite(d.ctx, rewriteclient.Local, address.Quote(internal))
	if err != nil {
		return "", fmt.Errorf("rewrite %s: %w", internal, err)
	}
	return address.Unquote(external), nil
}

// withoutSuccess is the NOTIFY value for members of a list.
func withoutSuccess(n dsn.Notify) dsn.Notify {
	if n == dsn.NotifySuccess {
		return dsn.NotifyNever
	}
	return n &^ dsn.NotifySuccess
}
