// Package mastercf reads master.cf, the table of services that the master
// process runs (spec master §2).
package mastercf

import (
	"net/netip"
	"strings"
)

// Types of a service: how clients reach it.
const (
	Inet  = "inet"       // TCP socket
	Unix  = "unix"       // stream socket in the file system
	FIFO  = "fifo"       // named pipe
	Pass  = "pass"       // stream socket over which open connections arrive
	Dgram = "unix-dgram" // datagram socket in the file system
)

// An Entry is one service.
type Entry struct {
	Name string // first field, as written
	Type string

	Host, Port string // of an inet service; Host without brackets, "" where none is given

	Private      bool
	Unprivileged bool
	Chroot       bool
	ChrootUnset  bool // the chroot field is "-"

	Wakeup       int  // seconds between wakeup requests; 0: none
	WakeupIfUsed bool // no wakeup before the first client

	MaxProc int // processes at a time; 0: unlimited

	Command string   // program, a name in daemon_directory
	Args    []string // its arguments, without the braces that group words
	Line    int      // number of its first line in the file
}

// Path is the socket or pipe of a service that is not inet, relative to the
// queue directory.
func (e *Entry) Path() string {
	if e.Private {
		return "private/" + e.Name
	}
	return "public/" + e.Name
}

// splitInet takes host and port out of the name of an inet service:
// port, :port, host:port, [host]:port, [IPv6:address]:port. problem is the
// reason why it cannot.
func splitInet(name string, validHost func(string) bool) (host, port, problem string) {
	if strings.HasPrefix(name, "[") {
		end := strings.IndexByte(name, ']')
		if end < 0 {
			return "", "", `missing "]"`
		}
		host, port = name[1:end], name[end+1:]
		const v6 = "ipv6:"
		if len(host) >= len(v6) && strings.EqualFold(host[:len(v6)], v6) {
			host = host[len(v6):]
			if a, err := netip.ParseAddr(host); err != nil || !a.Is6() {
				return "", "", "malformed IPv6 address"
			}
		}
		if port != "" && port[0] != ':' {
			return "", "", `garbage after "]"`
		}
		port = strings.TrimPrefix(port, ":")
		if port == "" {
			return "", "", "missing service information"
		}
		if !validAddress(host) && !validHost(host) {
			return "", "", "valid hostname or network address required"
		}
	} else if i := strings.LastIndexByte(name, ':'); i >= 0 {
		host, port = name[:i], name[i+1:]
		if port == "" {
			return "", "", "missing service information"
		}
		if host != "" && !validAddress(host) && !validHost(host) {
			return "", "", "valid hostname or network address required"
		}
	} else {
		port = name
	}
	if isDigit(port[0]) && leadingDigits(port) < len(port) {
		return "", "", "garbage after numerical service"
	}
	return host, port, ""
}

func validAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func leadingDigits(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}
