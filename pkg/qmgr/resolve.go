package qmgr

import (
	"cmp"
	"slices"
	"strings"

	"suffix/pkg/address"
	"suffix/pkg/dsn"
	"suffix/pkg/rewriteclient"
)

// A resolved recipient knows its destination.
type resolved struct {
	dsn.Recipient
	transport string
	nexthop   string
	flags     rewriteclient.Flags
}

// resolveAll finds the destination of each recipient (spec qmgr §5, what does
// not depend on the state of transports) and puts recipients for the same
// destination together. It runs outside the owner. The error is that of the
// Manager's end: the message then stays where it is.
func (m *Manager) resolveAll(msg *message, rcpts []dsn.Recipient) ([]resolved, error) {
	if msg.redirect != "" && len(rcpts) > 0 {
		rcpts = rcpts[:1]
		msg.nextOffset, msg.unread = 0, 0
	}
	batch := make([]resolved, 0, len(rcpts))
	for _, rcpt := range rcpts {
		batch = append(batch, m.resolveOne(msg, rcpt))
		if err := m.ctx.Err(); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(batch, func(a, b resolved) int {
		return cmp.Or(strings.Compare(a.transport, b.transport), strings.Compare(a.nexthop, b.nexthop),
			compareDomains(a.Address, b.Address), strings.Compare(a.Address, b.Address))
	})
	return batch, nil
}

// compareDomains orders addresses by domain; those without one come last.
func compareDomains(a, b string) int {
	_, domainA, okA := address.Split(a)
	_, domainB, okB := address.Split(b)
	switch {
	case okA && okB:
		return strings.Compare(strings.ToLower(domainA), strings.ToLower(domainB))
	case okA:
		return -1
	case okB:
		return 1
	}
	return 0
}

func (m *Manager) resolveOne(msg *message, rcpt dsn.Recipient) resolved {
	r := resolved{Recipient: rcpt}
	failed := func() resolved {
		r.transport, r.nexthop, r.flags = m.settings.retryService, "4.3.0 address resolver failure", 0
		return r
	}
	switch {
	case msg.redirect != "":
		external, err := m.resolver.Rewrite(m.ctx, rewriteclient.Local, address.Quote(msg.redirect))
		if err != nil {
			return failed()
		}
		r.Address = address.Unquote(external)
	case msg.filter != "" && !msg.probe():
		r.transport, r.nexthop, _ = strings.Cut(msg.filter, ":")
		if r.nexthop == "" {
			r.nexthop = m.settings.filterNexthop
		}
		if r.nexthop == "" {
			_, r.nexthop, _ = address.Split(rcpt.Address)
		}
		if r.nexthop == "" {
			r.nexthop = m.settings.myhostname
		}
		return m.checkRecipient(msg, r)
	}
	ask := m.resolver.Resolve
	if msg.traceFlags&traceProbe != 0 {
		ask = m.resolver.VerifyResolve
	}
	reply, err := ask(m.ctx, msg.sender, r.Address)
	switch {
	case err != nil || reply.Flags&rewriteclient.Fail != 0:
		return failed()
	case reply.Flags&rewriteclient.Error != 0:
		r.transport, r.nexthop = m.settings.errorService, "5.1.3 bad address syntax"
		return m.checkRecipient(msg, r)
	}
	r.transport, r.nexthop, r.Address, r.flags = reply.Transport, reply.NextHop, reply.Recipient, reply.Flags
	return m.checkRecipient(msg, r)
}

// checkRecipient replaces the destination where the recipient or the message
// calls for it.
func (m *Manager) checkRecipient(msg *message, r resolved) resolved {
	if r.Address == "" {
		r.transport, r.nexthop, r.flags = m.settings.errorService, "5.1.3 null recipient address", 0
	}
	if msg.forceExpire {
		r.transport, r.nexthop, r.flags = m.settings.retryService, "4.7.0 message is administratively expired", 0
	}
	return r
}

// isDoubleBounce says whether a recipient is where nobody wants mail to go.
func (m *Manager) isDoubleBounce(r *resolved) bool {
	if r.flags&rewriteclient.ClassLocal == 0 {
		return false
	}
	local, _, _ := address.Split(r.Address)
	return strings.EqualFold(local, m.settings.doubleBounce)
}
