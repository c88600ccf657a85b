package master

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"suffix/pkg/mastercf"
	"suffix/pkg/params"
)

// endpoint is where a service listens.
type endpoint struct {
	canonical string // the service's identity, together with its type
	addresses []netip.AddrPort
	portError error // an unknown service name, which shows when binding
}

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// resolveTimeout bounds the lookup of a host name in master.cf.
const resolveTimeout = 60 * time.Second

// resolve finds the addresses of an inet service (spec master §2.3). The error
// follows the position in master.cf.
func (m *Master) resolve(e *mastercf.Entry) (*endpoint, error) {
	hosts, err := m.hosts(e)
	if err != nil {
		return nil, err
	}
	if m.inet == "" {
		m.inet = m.cfg.String(params.InetInterfaces)
	}
	slices.SortFunc(hosts, func(a, b netip.Addr) int { return a.Compare(b) })
	hosts = slices.Compact(hosts)
	port, known := m.port(e.Port)
	ep := &endpoint{}
	for _, h := range hosts {
		ep.addresses = append(ep.addresses, netip.AddrPortFrom(h, port))
	}
	name := e.Port
	if known {
		name = strconv.Itoa(int(port))
	} else {
		ep.portError = fmt.Errorf("%s:%s: Servname not supported for ai_socktype", hosts[0], e.Port)
	}
	switch {
	case !known:
		ep.canonical = e.Name
	case e.Host == "":
		ep.canonical = name
	default:
		ep.canonical = "[" + e.Host + "]:" + name
	}
	return ep, nil
}

func (m *Master) hosts(e *mastercf.Entry) ([]netip.Addr, error) {
	protocols := m.cfg.Protocols()
	if e.Host != "" {
		if a, err := netip.ParseAddr(e.Host); err == nil {
			if !protocols.Has(a.Unmap()) {
				return nil, fmt.Errorf("no valid IP address found: %s", e.Name)
			}
			return []netip.Addr{a.Unmap()}, nil
		}
		ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
		defer cancel()
		found, err := net.DefaultResolver.LookupNetIP(ctx, protocols.Network(), e.Host)
		if err != nil || len(found) == 0 {
			return nil, fmt.Errorf("bad hostname or network address: %s", e.Name)
		}
		for i := range found {
			found[i] = found[i].Unmap()
		}
		return found, nil
	}
	var hosts []netip.Addr
	if strings.EqualFold(m.cfg.String(params.InetInterfaces), "all") {
		if protocols.IPv4 {
			hosts = append(hosts, netip.IPv4Unspecified())
		}
		if protocols.IPv6 {
			hosts = append(hosts, netip.IPv6Unspecified())
		}
		return hosts, nil
	}
	own, err := m.cfg.OwnAddresses()
	if err != nil {
		return nil, err
	}
	for _, a := range own {
		if protocols.Has(a) {
			hosts = append(hosts, a)
		}
	}
	if len(hosts) == 0 {
		return nil, errors.New("service definition requires valid host name or address, or non-empty inet_interfaces setting")
	}
	return hosts, nil
}

// port turns a number or the name of a TCP service into a port number.
func (m *Master) port(name string) (uint16, bool) {
	if n, err := strconv.ParseUint(name, 10, 64); err == nil {
		return uint16(n), true
	}
	if port, ok := m.cfg.KnownTCPPorts()[name]; ok {
		return port, true
	}
	ctx, cancel := context.WithTimeout(context.Background(), resolveTimeout)
	defer cancel()
	port, err := net.DefaultResolver.LookupPort(ctx, "tcp", name)
	return uint16(port), err == nil
}
