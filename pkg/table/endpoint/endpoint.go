// Package endpoint connects to the servers of table types that name them as
// inet:host:port or unix:path, and keeps the connections.
package endpoint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
)

// An Endpoint is the place of a server.
type Endpoint struct {
	text       string // as messages show it, without "inet:" or "unix:"
	path       string // of a local socket, empty: use host and port
	host, port string // an empty host is this one
	families   config.Protocols
	ports      map[string]uint16
}

// Parse reads inet:host:port or unix:path. The errors are in Postfix's words.
func Parse(service string, c table.Config) (*Endpoint, error) {
	transport, rest, ok := strings.Cut(service, ":")
	if !ok || rest == "" {
		return nil, fmt.Errorf("need service transport:endpoint instead of \"%s\"", service)
	}
	switch transport {
	case "inet":
		return ParseInet(rest, c)
	case "unix":
		return &Endpoint{text: rest, path: rest}, nil
	}
	return nil, fmt.Errorf("invalid transport name: %s in service: %s", transport, service)
}

// ParseInet reads host:port, [host]:port, or only a port of this host.
func ParseInet(text string, c table.Config) (*Endpoint, error) {
	e := &Endpoint{text: text, families: config.Protocols{IPv4: true, IPv6: true}}
	if m, ok := c.(interface {
		Protocols() config.Protocols
		KnownTCPPorts() map[string]uint16
	}); ok {
		e.families, e.ports = m.Protocols(), m.KnownTCPPorts()
	}
	fail := func(why string) (*Endpoint, error) { return nil, fmt.Errorf("%s: %s", text, why) }
	bracket := strings.HasPrefix(text, "[")
	if bracket {
		host, rest, ok := strings.Cut(text[1:], "]")
		if !ok {
			return fail("missing \"]\"")
		}
		if rest != "" && rest[0] != ':' {
			return fail("garbage after \"]\"")
		}
		e.host, e.port = host, strings.TrimPrefix(rest, ":")
	} else if at := strings.LastIndexByte(text, ':'); at >= 0 {
		e.host, e.port = text[:at], text[at+1:]
	} else {
		e.port = text
	}
	if e.port == "" {
		return fail("missing service information")
	}
	if (bracket || e.host != "") && !validHost(e.host) {
		return fail("valid hostname or network address required")
	}
	return e, nil
}

// validHost accepts addresses and names; a colon only stands in an address.
func validHost(host string) bool {
	if strings.Contains(host, ":") {
		_, err := netip.ParseAddr(strings.TrimPrefix(strings.ToLower(host), "ipv6:"))
		return err == nil
	}
	if strings.Trim(host, "0123456789.") == "" {
		a, err := netip.ParseAddr(host)
		return err == nil && a.Is4()
	}
	if len(host) > 255 || strings.HasPrefix(host, ".") || strings.Contains(host, "..") {
		return false
	}
	for label := range strings.SplitSeq(host, ".") {
		if len(label) > 63 || strings.HasPrefix(label, "-") || strings.HasSuffix(label, "-") {
			return false
		}
		for i := 0; i < len(label); i++ {
			c := label[i]
			if c < 0x80 && c != '-' && c != '_' && !('0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z') {
				return false
			}
		}
	}
	return true
}

// String is how messages name the endpoint.
func (e *Endpoint) String() string { return e.text }

// Local says that it is a socket of this system.
func (e *Endpoint) Local() bool { return e.path != "" }

// Residue is the system error that Postfix reports for failures that have
// none: its last system call that failed was the connect that does not wait.
func (e *Endpoint) Residue() error {
	if e.Local() {
		return nil
	}
	return syscall.EINPROGRESS
}

// Dial connects. All addresses of a host are tried in order until the time is
// over. Names that mean nothing are logged; the error is the system's.
func (e *Endpoint) Dial(timeout time.Duration) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), timeout)
	defer cancel()
	var dialer net.Dialer
	if e.path != "" {
		conn, err := dialer.DialContext(ctx, "unix", e.path)
		return conn, system(err)
	}
	addresses, problem := e.resolve(ctx)
	if problem != "" {
		maillog.Warnf("host or service %s not found: %s", e.text, problem)
		return nil, syscall.EADDRNOTAVAIL
	}
	var last error
	for _, address := range addresses {
		conn, err := dialer.DialContext(ctx, "tcp", address.String())
		if err == nil {
			return conn, nil
		}
		last = err
	}
	return nil, system(last)
}

// system returns the system error behind err; a deadline counts as ETIMEDOUT.
func system(err error) error {
	if err == nil {
		return nil
	}
	cause := syserr.Cause(err)
	if _, ok := cause.(syscall.Errno); ok {
		return cause
	}
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		return syscall.ETIMEDOUT
	}
	return cause
}

// resolve finds the addresses of the host and the number of the port. problem
// is in the words of the C library.
func (e *Endpoint) resolve(ctx context.Context) (addresses []netip.AddrPort, problem string) {
	port, ok := e.portNumber(ctx)
	if !ok {
		return nil, "Servname not supported for ai_socktype"
	}
	var hosts []netip.Addr
	host := e.host
	if v6, ok := strings.CutPrefix(strings.ToLower(host), "ipv6:"); ok {
		host = v6
	}
	if addr, err := netip.ParseAddr(host); err == nil {
		hosts = append(hosts, addr)
	} else if host == "" {
		hosts = append(hosts, netip.AddrFrom4([4]byte{127, 0, 0, 1}), netip.IPv6Loopback())
	} else if hosts, err = net.DefaultResolver.LookupNetIP(ctx, e.families.Network(), host); err != nil {
		var dnsError *net.DNSError
		if errors.As(err, &dnsError) && dnsError.IsNotFound {
			return nil, "Name or service not known"
		}
		return nil, "Temporary failure in name resolution"
	}
	for _, addr := range hosts {
		if addr = addr.Unmap(); e.families.Has(addr) {
			addresses = append(addresses, netip.AddrPortFrom(addr, port))
		}
	}
	if len(addresses) == 0 {
		return nil, "Address family for hostname not supported"
	}
	return addresses, ""
}

func (e *Endpoint) portNumber(ctx context.Context) (uint16, bool) {
	if n, err := strconv.ParseUint(e.port, 10, 16); err == nil {
		return uint16(n), n != 0
	}
	if n, ok := e.ports[e.port]; ok {
		return n, true
	}
	if e.port == "" || e.port[0] < 'A' {
		return 0, false // no name: the resolver would take other number forms
	}
	n, err := net.DefaultResolver.LookupPort(ctx, "tcp", e.port)
	return uint16(n), err == nil && n > 0
}
