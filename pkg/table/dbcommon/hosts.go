package dbcommon

import (
	"net/netip"
	"strings"
)

// Kind is how a server is reached. Servers of a lower kind are tried first.
type Kind int

const (
	Unix Kind = iota // a socket in the file system
	TCP
	URI // a connection string, which only the driver understands
)

// A Target is a server that can answer queries.
type Target struct {
	Kind Kind
	// Text is the item as configured; messages show it.
	Text string
	// Address is a path (Unix), a host with an optional ":port" (TCP), or the
	// whole item (URI).
	Address string
}

// Hosts returns the servers in parameter hosts, localhost where it is empty.
// uri tells the items that are connection strings; nil: there are none.
func (s *Source) Hosts(uri func(item string) bool) []Target {
	items := splitHosts(s.String("hosts", "", 0, 0))
	if len(items) == 0 {
		items = []string{"localhost"}
	}
	targets := make([]Target, 0, len(items))
	for _, item := range items {
		targets = append(targets, parseTarget(item, uri))
	}
	return targets
}

// splitHosts splits at commas and blanks; braces mean nothing in host names.
func splitHosts(text string) []string {
	return strings.FieldsFunc(text, func(r rune) bool {
		return r == ',' || r == ' ' || r == '\t' || r == '\r' || r == '\n'
	})
}

func parseTarget(item string, uri func(string) bool) Target {
	if uri != nil && uri(item) {
		return Target{URI, item, item}
	}
	if path, ok := strings.CutPrefix(item, "unix:"); ok {
		return Target{Unix, item, path}
	}
	return Target{TCP, item, strings.TrimPrefix(item, "inet:")}
}

// CutPort splits "host:port" at the last colon. given is false where there is
// no port. An IPv6 address may stand in brackets.
func CutPort(address string) (host, port string, given bool) {
	if rest, ok := strings.CutPrefix(address, "["); ok {
		if host, after, ok := strings.Cut(rest, "]"); ok {
			port, given = strings.CutPrefix(after, ":")
			return host, port, given
		}
	}
	colon := strings.LastIndexByte(address, ':')
	if colon < 0 {
		return address, "", false
	}
	host, port = address[:colon], address[colon+1:]
	// "::1" is an address, "::1:25" an address and a port.
	if strings.Contains(host, ":") && !isIP(host) && isIP(address) {
		return address, "", false
	}
	return host, port, true
}

func isIP(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}
