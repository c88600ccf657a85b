package config

import (
	"strconv"
	"strings"

	"suffix/pkg/params"
)

// KnownTCPPorts returns the names of services and their port numbers that
// known_tcp_ports declares; they count before the system's own list. Items
// that make no sense are left out, with a warning the first time (spec config
// §5). The caller must not change the map.
func (m *Main) KnownTCPPorts() map[string]uint16 {
	m.mu.Lock()
	known := m.ports
	m.mu.Unlock()
	if known != nil {
		return known
	}
	ports := make(map[string]uint16)
	for item := range strings.SplitSeq(m.String(params.KnownTcpPorts), ",") {
		if trimSpace(item) == "" {
			continue
		}
		if problem := addPorts(ports, item); problem != "" {
			m.warn("known_tcp_ports: in \"" + item + "\"" + problem)
		}
	}
	m.mu.Lock()
	m.ports = ports
	m.mu.Unlock()
	return ports
}

// addPorts reads name=name=number; a problem is told in the words that come
// after the item.
func addPorts(ports map[string]uint16, item string) (problem string) {
	parts := strings.Split(item, "=")
	for i := range parts {
		parts[i] = trimSpace(parts[i])
	}
	last := len(parts) - 1
	number := parts[last]
	switch {
	case last == 0:
		return " is not in \"name = value\" form"
	case number == "":
		return ": missing port value after \"=\""
	case strings.ContainsAny(number, " \t\r\n\v\f"):
		return ": whitespace in port number"
	}
	port, err := strconv.ParseUint(number, 10, 16)
	for _, name := range parts[:last] {
		_, twice := ports[name]
		switch {
		case name == "":
			return ": missing service name before \"=\""
		case strings.ContainsAny(name, " \t\r\n\v\f"):
			return ": whitespace in service name"
		case err != nil || port == 0:
			return ": port number out of range"
		case twice:
			return ": duplicate service name"
		}
		ports[name] = uint16(port)
	}
	return ""
}
