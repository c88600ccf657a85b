package dnsclient

import (
	"net/netip"
	"strings"

	"golang.org/x/net/idna"
)

// Limits on names (RFC 1035).
const (
	maxName  = 255
	maxLabel = 63
)

// CheckHostname tells what is wrong with a host or domain name; empty means
// nothing. Underscores pass, as they do in Postfix; a final dot does not.
func CheckHostname(name string) string {
	switch {
	case name == "":
		return "empty hostname"
	case len(name) > maxName:
		return "bad length"
	}
	label, numeric := 0, true
	for i := 0; i < len(name); i++ {
		switch c := name[i]; {
		case c >= '0' && c <= '9':
			label++
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c == '_':
			label++
			numeric = false
		case c == '-':
			numeric = false
			label++
			if label == 1 || i+1 == len(name) || name[i+1] == '.' {
				return "misplaced hyphen"
			}
		case c == '.':
			if label == 0 || i+1 == len(name) {
				return "misplaced delimiter"
			}
			label = 0
		default:
			return "invalid character"
		}
		if label > maxLabel {
			return "hostname label too long"
		}
	}
	if numeric {
		return "numeric hostname"
	}
	return ""
}

// ValidHostname says whether name is a host or domain name, and not an address.
func ValidHostname(name string) bool { return CheckHostname(name) == "" }

// ToASCII returns the form of a name that goes into a query: A-labels where
// it has non-ASCII characters. A name that cannot be converted is returned as
// it is; it will not be a valid host name.
func ToASCII(name string) string {
	if isASCII(name) {
		return name
	}
	if a, err := lookupProfile.ToASCII(name); err == nil {
		return a
	}
	return name
}

var lookupProfile = idna.New(idna.MapForLookup(), idna.BidiRule(), idna.StrictDomainName(false))

func isASCII(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}

// parseAddr reads a numeric address, without zone.
func parseAddr(s string) (netip.Addr, bool) {
	a, err := netip.ParseAddr(s)
	if err != nil || a.Zone() != "" {
		return netip.Addr{}, false
	}
	return a.Unmap(), true
}

// EqualNames compares two names: without regard to case and final dot.
func EqualNames(a, b string) bool {
	return strings.EqualFold(strings.TrimSuffix(a, "."), strings.TrimSuffix(b, "."))
}
