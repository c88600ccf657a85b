package config

import (
	"fmt"
	"strconv"
	"strings"

	"suffix/pkg/params"
)

// KnownTCPPorts returns the names of services and their port numbers that
// known_tcp_ports declares; they count before the system's own list. Items
// that make no sense are warned about and left out (spec config §5).
func (m *Main) KnownTCPPorts() map[string]uint16 {
	ports := make(map[string]uint16)
	for item := range strings.SplitSeq(m.String(params.KnownTcpPorts), ",") {
		if item = trimSpace(item); item == "" {
			continue
		}
		names, port, problem := parsePorts(item)
		if problem != "" {
			m.warn("known_tcp_ports: " + problem)
			continue
		}
		for _, name := range names {
			ports[name] = port
		}
	}
	return ports
}

// parsePorts reads name=name=number.
func parsePorts(item string) (names []string, port uint16, problem string) {
	parts := strings.Split(item, "=")
	for i := range parts {
		parts[i] = trimSpace(parts[i])
	}
	last := len(parts) - 1
	number := parts[last]
	switch {
	case last == 0:
		return nil, 0, fmt.Sprintf("in \"%s\" is not in \"name = value\" form", item)
	case number == "":
		return nil, 0, fmt.Sprintf("in \"%s\": missing port value after \"=\"", item)
	case strings.ContainsAny(number, " \t\r\n\v\f"):
		return nil, 0, fmt.Sprintf("in \"%s\": whitespace in port number", item)
	}
	for _, name := range parts[:last] {
		switch {
		case name == "":
			return nil, 0, fmt.Sprintf("in \"%s\": missing service name before \"=\"", item)
		case strings.ContainsAny(name, " \t\r\n\v\f"):
			return nil, 0, fmt.Sprintf("in \"%s\": whitespace in service name", item)
		}
	}
	n, err := strconv.ParseUint(number, 10, 16)
	if err != nil || n == 0 {
		return nil, 0, fmt.Sprintf("in \"%s\": port number out of range", item)
	}
	return parts[:last], uint16(n), ""
}
