package main

import (
	"fmt"
	"strings"

	"suffix/pkg/account"
	"suffix/pkg/address"
	"suffix/pkg/maillog"
	"suffix/pkg/maps"
	"suffix/pkg/params"
	"suffix/pkg/table"
)

// authorize checks that the user may give this sender (spec submission §3,
// parameter local_login_sender_maps). Otherwise it sets status and reason.
func (m *message) authorize(sender string) {
	const param = "local_login_sender_maps"
	value := m.cfg.String(params.LocalLoginSenderMaps)
	if value == "static:*" {
		return
	}
	login := fmt.Sprintf("uid:%d", m.uid)
	if u, err := account.LookupUID(m.uid); err == nil {
		login = u.Name
	}
	list := maps.Open(param, value, table.Options{Flags: table.Lock | table.FoldFix | table.UTF8Request, Config: m.cfg})
	defer list.Close()
	patterns, found, err := list.Find(login)
	if err != nil {
		m.status, m.reason = statusWrite, fmt.Sprintf("%s table lookup error for '%s'", param, value)
		return
	}
	if found && senderMatches(patterns, sender, m.cfg.String(params.RecipientDelimiter),
		m.cfg.String(params.EmptyAddressLocalLoginSenderMapsLookupKey), maps.ExtensionFrom(m.cfg)) {
		return
	}
	m.status, m.reason = statusNoPerm, fmt.Sprintf("not authorized to use sender='%s'", maillog.Printable(cut(sender, 200)))
}

// senderMatches says whether a list of patterns allows a sender: "*" any, the
// key for the empty sender, "@domain", or the address without extension.
func senderMatches(patterns, sender, delimiters, emptyKey string, extension maps.Extension) bool {
	local, domain, hasDomain := address.Split(sender)
	if delimiters != "" {
		local, _ = extension.Split(local)
	}
	whole := address.QuoteLocal(local)
	if hasDomain {
		whole += "@" + domain
	}
	for _, pattern := range splitQuoted(patterns) {
		switch {
		case pattern == "*":
			return true
		case sender == "":
			if strings.EqualFold(pattern, emptyKey) {
				return true
			}
		case strings.HasPrefix(pattern, "@"):
			if hasDomain && strings.EqualFold(pattern[1:], domain) {
				return true
			}
		case strings.EqualFold(pattern, whole):
			return true
		}
	}
	return false
}

// splitQuoted splits at commas and blanks outside of quotes.
func splitQuoted(text string) []string {
	var words []string
	quoted := false
	start := -1
	for i := 0; i <= len(text); i++ {
		end := i == len(text) || !quoted && strings.IndexByte(", \t\r\n", text[i]) >= 0
		switch {
		case end && start >= 0:
			words = append(words, text[start:i])
			start = -1
		case !end && start < 0:
			start = i
		}
		if i < len(text) && text[i] == '"' {
			quoted = !quoted
		}
	}
	return words
}
