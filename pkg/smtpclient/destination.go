package smtpclient

import (
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"suffix/pkg/dnsclient"
)

// A destination is one entry of a next-hop list (spec smtp-client §2.1).
type destination struct {
	text    string // as written
	unix    string // path of a unix-domain socket (LMTP)
	host    string // domain or host, without brackets
	addr    netip.Addr
	literal bool // an address was given
	direct  bool // no MX lookup
	service string
	port    uint16
}

// parseDestination reads an entry. The error has Postfix's words.
func (c *Config) parseDestination(text string) (*destination, error) {
	d := &destination{text: text}
	rest := text
	if c.LMTP {
		if path, ok := strings.CutPrefix(rest, "unix:"); ok {
			d.unix, d.host = path, path
			return d, nil
		}
		rest = strings.TrimPrefix(rest, "inet:")
	}
	fail := func(why string) (*destination, error) {
		return nil, fmt.Errorf("%s in server description: %s", why, text)
	}
	d.service = c.TCPPort
	if inside, ok := strings.CutPrefix(rest, "["); ok {
		d.direct = true
		end := strings.IndexByte(inside, ']')
		if end < 0 {
			return fail(`missing "]"`)
		}
		host, tail := inside[:end], inside[end+1:]
		if tail != "" {
			service, ok := strings.CutPrefix(tail, ":")
			if !ok {
				return fail(`garbage after "]"`)
			}
			if service == "" {
				return fail("missing service information")
			}
			d.service = service
		}
		if v6, ok := cutPrefixFold(host, "IPv6:"); ok {
			a, err := netip.ParseAddr(v6)
			if err != nil || !a.Is6() {
				return fail("malformed IPv6 address")
			}
			host = v6
		}
		d.host = host
	} else {
		host, service, ok := rest, "", false
		if i := strings.LastIndexByte(rest, ':'); i >= 0 {
			host, service, ok = rest[:i], rest[i+1:], true
		}
		if ok && service == "" {
			return fail("missing service information")
		}
		if ok {
			d.service = service
		}
		d.host = host
	}
	if d.host == "" {
		return fail("missing host information")
	}
	if a, err := netip.ParseAddr(d.host); err == nil && a.Zone() == "" {
		d.addr, d.literal = a.Unmap(), true
	} else if !dnsclient.ValidHostname(strings.TrimSuffix(dnsclient.ToASCII(d.host), ".")) {
		return fail("valid hostname or network address required")
	}
	port, err := c.servicePort(d.service, text)
	if err != nil {
		return nil, err
	}
	d.port = port
	return d, nil
}

// servicePort translates a service name or number.
func (c *Config) servicePort(service, text string) (uint16, error) {
	name := service
	if port, ok := c.KnownPorts[name]; ok {
		return port, nil
	}
	if name != "" && strings.Trim(name, "0123456789") == "" {
		n, err := strconv.Atoi(name)
		if err != nil || n < 1 || n > 65535 {
			return 0, fmt.Errorf("bad network port: %s for destination: %s", service, text)
		}
		return uint16(n), nil
	}
	if name != "" && name[0] >= '0' && name[0] <= '9' {
		return 0, fmt.Errorf("garbage after numerical service in server description: %s", text)
	}
	n, err := net.LookupPort("tcp", name)
	if err != nil || n < 1 || n > 65535 {
		return 0, fmt.Errorf("unknown service: %s/tcp", service)
	}
	return uint16(n), nil
}

func cutPrefixFold(s, prefix string) (string, bool) {
	if len(s) >= len(prefix) && strings.EqualFold(s[:len(prefix)], prefix) {
		return s[len(prefix):], true
	}
	return s, false
}

// splitDestinations splits a next-hop list.
func splitDestinations(text string) []string {
	return strings.FieldsFunc(text, func(c rune) bool {
		return c == ',' || c == ' ' || c == '\t' || c == '\r' || c == '\n'
	})
}
