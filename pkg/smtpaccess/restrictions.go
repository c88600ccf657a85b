package smtpaccess

import (
	"fmt"
	"strings"

	"suffix/pkg/config"
	"suffix/pkg/table"
)

// A restriction is one item of a restriction list.
type restriction struct {
	word  string // as written
	kind  string // lower case, after aliases; kindTable for a bare table
	arg   string
	next  string // word of the item after this one, empty at the end
	table *table.Handle
}

// Kinds that are not names of restrictions.
const (
	kindTable = ":"
	kindClass = "class"
)

// aliases are the old names of restrictions.
var aliases = map[string]string{
	"reject_unknown_client":    "reject_unknown_client_hostname",
	"reject_invalid_hostname":  "reject_invalid_helo_hostname",
	"reject_non_fqdn_hostname": "reject_non_fqdn_helo_hostname",
	"reject_unknown_hostname":  "reject_unknown_helo_hostname",
	"reject_unknown_address":   "reject_unknown_sender_domain",
	"reject_rbl":               "reject_rbl_client",
	"check_recipient_maps":     "reject_unlisted_recipient",
}

// takesArgument says that the word after a restriction belongs to it.
func takesArgument(kind string) bool {
	switch kind {
	case "check_policy_service", "sleep",
		"reject_rbl_client", "reject_rhsbl_client", "reject_rhsbl_reverse_client", "reject_rhsbl_helo",
		"reject_rhsbl_sender", "reject_rhsbl_recipient", "permit_dnswl_client", "permit_rhswl_client":
		return true
	}
	return takesTable(kind)
}

// takesTable says that the argument of a restriction is a table.
func takesTable(kind string) bool {
	return strings.HasPrefix(kind, "check_") && strings.HasSuffix(kind, "_access")
}

// compile reads a restriction list. Tables are taken from those opened at
// start; with open set they are opened.
func (c *Checker) compile(text string, open bool) []restriction {
	words := config.SplitBrace(text)
	var list []restriction
	for i := 0; i < len(words); i++ {
		r := restriction{word: words[i], kind: strings.ToLower(words[i])}
		if alias, ok := aliases[r.kind]; ok {
			r.kind = alias
		}
		if _, ok := c.classes[r.word]; ok {
			r.kind = kindClass
		} else if strings.Contains(r.word, ":") {
			r.kind, r.arg = kindTable, r.word
			r.table = c.accessTable(r.arg, open)
		} else if takesArgument(r.kind) && i+1 < len(words) {
			i++
			r.arg = words[i]
			if takesTable(r.kind) {
				r.table = c.accessTable(tableArgument(r.kind, r.arg), open)
			}
			if r.kind == "check_policy_service" && open && c.policies[r.arg] == nil {
				p, err := c.parsePolicy(r.arg)
				if err != nil && c.fatal == nil {
					c.fatal = err
				}
				c.policies[r.arg] = p
			}
		}
		if len(list) > 0 {
			list[len(list)-1].next = r.word
		}
		list = append(list, r)
	}
	return list
}

// accessTable returns the open table of the given name, nil if the text is no
// table name or the table was not opened at start.
func (c *Checker) accessTable(spec string, open bool) *table.Handle {
	if !strings.Contains(spec, ":") {
		return nil
	}
	if handle, ok := c.tables[spec]; ok || !open {
		return handle
	}
	handle := table.Open(spec, table.Options{Flags: table.Reader, Config: c.cfg})
	c.tables[spec] = handle
	return handle
}

// workingRejects are the restrictions of which one must be present to keep
// the server from being an open relay.
var workingRejects = map[string]bool{
	"reject_unauth_destination": true,
	"defer_unauth_destination":  true,
	"reject":                    true,
	"defer":                     true,
	"defer_if_permit":           true,
	"check_relay_domains":       true,
}

// hasWorkingReject looks for one of workingRejects before a permit.
func (c *Checker) hasWorkingReject(list []restriction, depth int) bool {
	if depth > maxRecursion {
		return false
	}
	for i, r := range list {
		switch {
		case r.kind == kindClass:
			if c.hasWorkingReject(c.classes[r.word], depth+1) {
				return true
			}
		case workingRejects[r.kind]:
			if i == 0 || list[i-1].kind != "warn_if_reject" {
				return true
			}
		case r.kind == "permit":
			if r.next != "" {
				c.log.Warnf("restriction `%s' after `%s' is ignored", r.next, r.word)
			}
			return false
		}
	}
	return false
}

// checkRelayControl refuses a configuration that would make an open relay.
func (c *Checker) checkRelayControl() error {
	if c.hasWorkingReject(c.lists[stageRelay], 0) || c.hasWorkingReject(c.lists[stageRecipient], 0) {
		return nil
	}
	return fmt.Errorf("in parameter smtpd_relay_restrictions or smtpd_recipient_restrictions, specify at least one working instance of: reject_unauth_destination, defer_unauth_destination, reject, defer, defer_if_permit or check_relay_domains")
}
