// Package netblock parses the address patterns of Postfix: an address, or
// network/length, optionally in brackets. cidr: tables and address lists share
// it (spec tables §9.2).
package netblock

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// A Block is a network, or a single address. IPv4 and IPv6 never match each
// other; an IPv4-mapped IPv6 address is an IPv6 address.
type Block struct{ prefix netip.Prefix }

// IPv6 tells the family of the block.
func (b Block) IPv6() bool { return b.prefix.Addr().Is6() }

// Contains says whether an address is in the block.
func (b Block) Contains(ip netip.Addr) bool {
	return b.prefix.Bits() == 0 && ip.Is6() == b.IPv6() || b.prefix.Contains(ip) ||
		ip.Is4In6() && b.IPv6() && contains6(b.prefix, ip)
}

// contains6 compares IPv4-mapped addresses as the IPv6 addresses that they
// are; netip.Prefix takes no part in that.
func contains6(p netip.Prefix, ip netip.Addr) bool {
	a, c := p.Addr().As16(), ip.As16()
	bits := p.Bits()
	full := bits / 8
	if string(a[:full]) != string(c[:full]) {
		return false
	}
	if bits%8 == 0 {
		return true
	}
	shift := 8 - bits%8
	return a[full]>>shift == c[full]>>shift
}

// Parse parses a pattern. Errors are in Postfix's words.
func Parse(text string) (Block, error) {
	pattern := text
	tail := ""
	if strings.HasPrefix(pattern, "[") {
		end := strings.IndexByte(pattern, ']')
		if end < 0 {
			return Block{}, fmt.Errorf("missing ']' character after \"%s\"", text)
		}
		tail = pattern[end+1:]
		if tail != "" && tail[0] != '/' {
			return Block{}, fmt.Errorf("garbage after \"%s\"", pattern[:end+1])
		}
		pattern = pattern[1:end] + tail
	}
	net, length, isNet := strings.Cut(pattern, "/")
	if !isNet {
		ip, ok := ParseAddr(net)
		if !ok {
			return Block{}, fmt.Errorf("bad address pattern: \"%s\"", pattern)
		}
		return Block{netip.PrefixFrom(ip, ip.BitLen())}, nil
	}
	max := 32
	if strings.Contains(net, ":") {
		max = 128
	}
	bits, err := strconv.Atoi(length)
	if err != nil || strings.Trim(length, "0123456789") != "" {
		return Block{}, fmt.Errorf("bad mask value in \"%s\"", pattern)
	}
	if bits > max {
		return Block{}, fmt.Errorf("bad mask length in \"%s\"", pattern)
	}
	ip, ok := ParseAddr(net)
	if !ok {
		return Block{}, fmt.Errorf("bad network value in \"%s\"", pattern)
	}
	prefix := netip.PrefixFrom(ip, bits)
	if masked := mask(prefix); masked.Addr() != ip {
		return Block{}, fmt.Errorf("non-null host address bits in \"%s\", perhaps you should use \"%s\" instead", pattern, masked)
	}
	return Block{prefix}, nil
}

// mask clears the host bits, also of IPv4-mapped addresses.
func mask(p netip.Prefix) netip.Prefix {
	if !p.Addr().Is4In6() {
		return p.Masked()
	}
	a := p.Addr().As16()
	for bit := p.Bits(); bit < 128; bit++ {
		a[bit/8] &^= 0x80 >> (bit % 8)
	}
	return netip.PrefixFrom(netip.AddrFrom16(a), p.Bits())
}

// ParseAddr parses an address strictly: four decimal parts without leading
// zeros, or IPv6 text without a zone.
func ParseAddr(text string) (netip.Addr, bool) {
	ip, err := netip.ParseAddr(text)
	if err != nil || ip.Zone() != "" {
		return netip.Addr{}, false
	}
	return ip, true
}
