package localdelivery

import (
	"strings"

	"suffix/pkg/address"
	"suffix/pkg/maillog"
	"suffix/pkg/outcome"
	"suffix/pkg/rewriteclient"
)

// list delivers to every member of an address list, as aliases, .forward and
// include files have them (spec delivery §8.5). count says how many there were.
func (d *delivery) list(s state, text string) (result outcome.Result, count int) {
	result = outcome.Done
	for _, member := range address.Parse(text, d.tokenLimit).Addresses() {
		count++
		result = both(result, d.member(s, member))
	}
	return result, count
}

const includePrefix = ":include:"

// member delivers to one destination: a file, a command, an include file, or
// an address.
func (d *delivery) member(s state, text string) outcome.Result {
	switch {
	case strings.HasPrefix(text, "/"):
		return d.file(s, text)
	case strings.HasPrefix(text, "~"):
		return d.homeFile(s, text)
	case strings.HasPrefix(text, "|"):
		if !d.allowedCommands[s.origin] {
			return d.bounce(s, "5.7.1", "mail to command is restricted")
		}
		return d.command(s, text[1:])
	case len(text) >= len(includePrefix) && strings.EqualFold(text[:len(includePrefix)], includePrefix):
		return d.include(s, text[len(includePrefix):])
	}
	return d.address(s, text)
}

// address delivers to an address of a list: here, when we are its transport,
// else by sending the message on.
func (d *delivery) address(s state, internal string) outcome.Result {
	internal = strings.TrimPrefix(internal, `\`)
	full, err := d.canonical(internal)
	if err != nil {
		return d.later(s, "4.3.0", "address resolver failure")
	}
	reply, err := d.rewrite.Resolve(d.ctx, s.sender, full)
	switch {
	case err != nil || reply.Flags&rewriteclient.Fail != 0:
		return d.later(s, "4.3.0", "address resolver failure")
	case reply.Flags&rewriteclient.Error != 0:
		return d.bounce(s, "5.1.3", "bad recipient address syntax: "+internal)
	}
	s.rcpt.Address = reply.Recipient
	if s.unmatched != "" {
		local, domain, ok := address.Split(s.rcpt.Address)
		s.rcpt.Address = local + s.delimiter + s.unmatched
		if ok {
			s.rcpt.Address += "@" + domain
		}
	}
	if reply.Transport == d.service {
		return d.recipient(s)
	}
	return d.resubmit(s)
}

// homeFile delivers to ~/file.
func (d *delivery) homeFile(s state, text string) outcome.Result {
	if !strings.HasPrefix(text, "~/") {
		maillog.Warnf("bad home directory syntax for: %s", text)
		return d.bounce(s, "5.3.5", "mail system configuration error")
	}
	if s.user == nil {
		maillog.Warnf("unknown home directory for: %s", text)
		return d.bounce(s, "5.3.5", "mail system configuration error")
	}
	return d.file(s, strings.TrimSuffix(s.user.Home, "/")+text[1:])
}
