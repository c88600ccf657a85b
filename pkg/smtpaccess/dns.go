package smtpaccess

import (
	"context"
	"net/netip"
	"slices"

	"suffix/pkg/dnsclient"
)

// maxServerAddresses bounds the addresses that one server-access check looks at.
const maxServerAddresses = 100

// lookupAny asks for record types in turn until one exists, or the answer
// makes further questions pointless.
func (c *Checker) lookupAny(ctx context.Context, name string, types ...uint16) dnsclient.Answer {
	var missing, retry dnsclient.Answer
	for _, qtype := range types {
		answer := c.resolver.Lookup(ctx, dnsclient.ToASCII(name), qtype)
		switch {
		case answer.Result.Missing() || answer.Result == dnsclient.Fail:
			missing = answer
		case answer.Result == dnsclient.Retry:
			retry = answer
		default:
			return answer
		}
	}
	if retry.Result == dnsclient.Retry {
		return retry
	}
	return missing
}

// addresses looks up the addresses of a host in the enabled families.
func (c *Checker) addresses(ctx context.Context, host string) dnsclient.Answer {
	var types []uint16
	if c.protocols.IPv4 {
		types = append(types, dnsclient.TypeA)
	}
	if c.protocols.IPv6 {
		types = append(types, dnsclient.TypeAAAA)
	}
	return c.resolver.LookupAddrs(ctx, dnsclient.ToASCII(host), types...)
}

// isOwn says whether an address is one of this machine's (inet_interfaces).
func (c *Checker) isOwn(addr netip.Addr) bool { return slices.Contains(c.ownAddresses, addr) }

// isOwnOrProxy says whether mail sent to an address arrives here.
func (c *Checker) isOwnOrProxy(addr netip.Addr) bool {
	return c.isOwn(addr) || slices.Contains(c.proxyAddresses, addr)
}
