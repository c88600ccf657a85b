package config

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"suffix/pkg/params"
	"suffix/pkg/syserr"
)

// Protocols are the address families that inet_protocols leaves enabled and
// the kernel supports.
type Protocols struct{ IPv4, IPv6 bool }

// None tells that there is nothing to talk over.
func (p Protocols) None() bool { return !p.IPv4 && !p.IPv6 }

// Has tells whether addresses of this family may be used.
func (p Protocols) Has(a netip.Addr) bool {
	if a.Is4() || a.Is4In6() {
		return p.IPv4
	}
	return p.IPv6
}

// Network is "ip", "ip4" or "ip6", for lookups of addresses.
func (p Protocols) Network() string {
	switch {
	case p.IPv4 && p.IPv6:
		return "ip"
	case p.IPv6:
		return "ip6"
	}
	return "ip4"
}

var kernelSupport = sync.OnceValue(func() (s struct{ v4, v6 error }) {
	s.v4 = trySocket(syscall.AF_INET)
	s.v6 = trySocket(syscall.AF_INET6)
	return s
})

func trySocket(family int) error {
	fd, err := syscall.Socket(family, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	return syscall.Close(fd)
}

// Protocols returns what inet_protocols allows (spec config §8.2).
func (m *Main) Protocols() Protocols {
	p, err := m.protocols(0)
	if err != nil {
		m.fail(err)
	}
	return p
}

func (m *Main) protocols(hidden computedSet) (p Protocols, err error) {
	text, err := m.expandParam("inet_protocols", hidden)
	if err != nil {
		return p, err
	}
	for _, word := range SplitList(text) {
		switch word {
		case "all":
			p.IPv4, p.IPv6 = true, true
		case "ipv4":
			p.IPv4 = true
		case "ipv6":
			p.IPv6 = true
		default:
			return Protocols{}, fmt.Errorf("unknown inet_protocols value \"%s\" in \"%s\"", word, text)
		}
	}
	kernel := kernelSupport()
	if p.IPv6 && kernel.v6 != nil {
		p.IPv6 = false
		m.warn("inet_protocols: disabling IPv6 name/address support: " + syserr.Text(kernel.v6))
	}
	if p.IPv4 && kernel.v4 != nil {
		p.IPv4 = false
		m.warn("inet_protocols: disabling IPv4 name/address support: " + syserr.Text(kernel.v4))
	}
	return p, nil
}

// expandParam expands a parameter that a computed default depends on.
func (m *Main) expandParam(name string, hidden computedSet) (string, error) {
	text, _ := m.unexpanded(name, hidden)
	if m.limited && m.Explicit(name) {
		hidden |= defaultsHidden
	}
	return m.expand(text, hidden)
}

// localAddresses is the outcome of OwnAddresses, kept for the next call.
type localAddresses struct {
	own []netip.Prefix
	err error
}

// OwnAddresses returns the addresses on which this system receives mail
// (inet_interfaces), IPv4 first. The error has Postfix's fatal text.
func (m *Main) OwnAddresses() ([]netip.Addr, error) {
	own, err := m.ownPrefixes(0)
	addrs := make([]netip.Addr, len(own))
	for i, p := range own {
		addrs[i] = p.Addr()
	}
	return addrs, err
}

func (m *Main) ownPrefixes(hidden computedSet) ([]netip.Prefix, error) {
	m.mu.Lock()
	known := m.local
	m.mu.Unlock()
	if known != nil {
		return known.own, known.err
	}
	var l localAddresses
	l.own, l.err = m.findOwn(hidden)
	if hidden == 0 {
		m.mu.Lock()
		m.local = &l
		m.mu.Unlock()
	}
	return l.own, l.err
}

func (m *Main) findOwn(hidden computedSet) ([]netip.Prefix, error) {
	protocols, err := m.protocols(hidden)
	if err != nil || protocols.None() {
		return nil, err
	}
	text, err := m.expandParam("inet_interfaces", hidden)
	if err != nil || text == "" {
		return nil, err
	}
	local, err := interfaceAddresses(protocols)
	if err != nil {
		return nil, err
	}
	switch text {
	case "all":
		if len(local) == 0 {
			return nil, fmt.Errorf("could not find any active network interfaces")
		}
		return local, nil
	case "loopback-only":
		return slices.DeleteFunc(local, func(p netip.Prefix) bool { return !p.Addr().IsLoopback() }), nil
	}
	addrs, err := resolveList("inet_interfaces", text, protocols)
	if err != nil {
		return nil, err
	}
	var own []netip.Prefix
	for _, a := range addrs {
		i := slices.IndexFunc(local, func(p netip.Prefix) bool { return p.Addr() == a })
		if i < 0 {
			return nil, fmt.Errorf("parameter inet_interfaces: no local interface found for %s", a)
		}
		own = append(own, local[i])
	}
	sortFamilies(own)
	return own, nil
}

// ProxyAddresses returns the addresses at which others receive mail for this
// system (proxy_interfaces). The error has Postfix's fatal text.
func (m *Main) ProxyAddresses() ([]netip.Addr, error) {
	protocols, err := m.protocols(0)
	if err != nil || protocols.None() {
		return nil, err
	}
	return resolveList("proxy_interfaces", m.String(params.ProxyInterfaces), protocols)
}

// resolveTime bounds the lookup of one name of an interface list.
const resolveTime = 60 * time.Second

func resolveList(param, text string, protocols Protocols) ([]netip.Addr, error) {
	var addrs []netip.Addr
	add := func(a netip.Addr) {
		if a = a.Unmap(); protocols.Has(a) && !slices.Contains(addrs, a) {
			addrs = append(addrs, a)
		}
	}
	for _, word := range strings.FieldsFunc(text, func(r rune) bool { return r == ',' || r == ' ' || r == '\t' }) {
		host := word
		if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
			host = host[1 : len(host)-1]
		}
		if a, err := netip.ParseAddr(host); err == nil {
			if !protocols.Has(a) {
				return nil, fmt.Errorf("config variable %s: host not found: %s", param, word)
			}
			add(a)
			continue
		}
		ctx, cancel := context.WithTimeout(context.Background(), resolveTime)
		found, err := net.DefaultResolver.LookupNetIP(ctx, protocols.Network(), host)
		cancel()
		if err != nil || len(found) == 0 {
			return nil, fmt.Errorf("config variable %s: host not found: %s", param, word)
		}
		for _, a := range found {
			add(a)
		}
	}
	return addrs, nil
}

// interfaceAddresses returns the addresses of all interfaces that are up,
// each with the length of its interface's mask, IPv4 first.
func interfaceAddresses(protocols Protocols) ([]netip.Prefix, error) {
	interfaces, err := net.Interfaces()
	if err != nil {
		return nil, fmt.Errorf("getifaddrs: %s", syserr.Text(err))
	}
	var list []netip.Prefix
	for _, ifi := range interfaces {
		if ifi.Flags&net.FlagUp == 0 {
			continue
		}
		addrs, err := ifi.Addrs()
		if err != nil {
			return nil, fmt.Errorf("getifaddrs: %s", syserr.Text(err))
		}
		for _, a := range addrs {
			ipnet, ok := a.(*net.IPNet)
			if !ok {
				continue
			}
			ip, ok := netip.AddrFromSlice(ipnet.IP)
			if ip = ip.Unmap(); !ok || ip.IsUnspecified() || !protocols.Has(ip) {
				continue
			}
			ones, _ := ipnet.Mask.Size()
			if p := netip.PrefixFrom(ip, ones); !slices.Contains(list, p) {
				list = append(list, p)
			}
		}
	}
	sortFamilies(list)
	return list, nil
}

// sortFamilies puts IPv4 before IPv6 and leaves the order within each.
func sortFamilies(list []netip.Prefix) {
	family := func(p netip.Prefix) int {
		if p.Addr().Is4() {
			return 4
		}
		return 6
	}
	slices.SortStableFunc(list, func(a, b netip.Prefix) int { return family(a) - family(b) })
}

// MyNetworks returns mynetworks: set, or derived from the own addresses.
func (m *Main) MyNetworks() string { return m.String(params.Mynetworks) }

// defaultNetworks derives mynetworks from the own addresses (spec config §8.5).
func (m *Main) defaultNetworks(hidden computedSet) string {
	style, err := m.networksStyle(hidden)
	if err != nil {
		m.fail(err)
		return ""
	}
	own, err := m.ownPrefixes(hidden)
	if err != nil {
		m.fail(err)
		return ""
	}
	var networks []string
	for _, p := range own {
		if text := networkOf(p, style); !slices.Contains(networks, text) {
			networks = append(networks, text)
		}
	}
	return strings.Join(networks, " ")
}

const (
	styleHost   = "host"
	styleSubnet = "subnet"
	styleClass  = "class"
)

func (m *Main) networksStyle(hidden computedSet) (string, error) {
	text, err := m.expandParam("mynetworks_style", hidden)
	if err != nil {
		return "", err
	}
	words := SplitList(text)
	for _, word := range words {
		if word != styleHost && word != styleSubnet && word != styleClass {
			return "", fmt.Errorf("unknown mynetworks mask style value \"%s\" in \"%s\"", word, text)
		}
	}
	if len(words) == 0 || slices.ContainsFunc(words, func(w string) bool { return w != words[0] }) {
		return "", fmt.Errorf("bad mynetworks_style value: %s; specify exactly one value", text)
	}
	return words[0], nil
}

func networkOf(p netip.Prefix, style string) string {
	addr, bits := p.Addr().WithZone(""), p.Bits()
	switch {
	case style == styleHost:
		bits = addr.BitLen()
	case style == styleClass && addr.Is4():
		switch first := addr.As4()[0]; {
		case first < 128:
			bits = 8
		case first < 192:
			bits = 16
		case first < 224:
			bits = 24
		default:
			bits = 4
		}
	}
	network := netip.PrefixFrom(addr, bits).Masked()
	if addr.Is4() {
		return network.String()
	}
	return fmt.Sprintf("[%s]/%d", network.Addr(), bits)
}
