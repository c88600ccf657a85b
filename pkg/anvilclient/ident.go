package anvilclient

import "net/netip"

// Ident names a client of a service. Clients whose addresses agree in the
// first ipv4Bits or ipv6Bits bits count as one: such a network is written
// ADDRESS/BITS, a full address alone. Bits out of range mean the full address.
func Ident(service string, address netip.Addr, ipv4Bits, ipv6Bits int) string {
	address = address.Unmap().WithZone("")
	bits := ipv6Bits
	if address.Is4() {
		bits = ipv4Bits
	}
	if address.IsValid() && bits >= 0 && bits < address.BitLen() {
		if prefix, err := address.Prefix(bits); err == nil {
			return service + ":" + prefix.String()
		}
	}
	return service + ":" + address.String()
}
