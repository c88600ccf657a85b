package rewrite

import (
	"fmt"
	"strings"
)

// withoutTag removes the tag of an IPv6 address literal.
func withoutTag(literal string) string {
	if len(literal) >= 5 && strings.EqualFold(literal[:5], "ipv6:") {
		return literal[5:]
	}
	return literal
}

// checkLiteral says why the text between the brackets is no address, in the
// words that Postfix logs.
func checkLiteral(text string) error {
	if rest := withoutTag(text); len(rest) < len(text) {
		return checkIPv6(rest)
	}
	return checkIPv4(text)
}

func checkIPv4(text string) error {
	bad := func(why string) error { return fmt.Errorf("valid_ipv4_hostaddr: %s: %s", why, text) }
	octets, value, inside := 0, 0, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c >= '0' && c <= '9':
			if !inside {
				octets, value, inside = octets+1, 0, true
			}
			if value = value*10 + int(c-'0'); value > 255 {
				return bad("invalid octet value")
			}
		case c == '.':
			if !inside || i == len(text)-1 {
				return bad("misplaced dot")
			}
			if octets == 1 && value == 0 && strings.Trim(text[i:], ".0") != "" {
				return bad("bad initial octet value")
			}
			inside = false
		default:
			return fmt.Errorf("valid_ipv4_hostaddr: invalid character %d(decimal): %s", c, text)
		}
	}
	if octets != 4 {
		return bad("invalid octet count")
	}
	return nil
}

// checkIPv6 checks the form of an address only: fewer fields than eight are
// not noticed, as nobody connects to such an address anyhow.
func checkIPv6(text string) error {
	bad := func(why string) error { return fmt.Errorf("valid_ipv6_hostaddr: %s IPv6 address: %s", why, text) }
	colons, digits, double := 0, 0, false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == ':':
			if colons++; colons > 7 {
				return bad("too many `:' in")
			}
			if digits = 0; i > 0 && text[i-1] == ':' {
				if double {
					return bad("too many `::' in")
				}
				double = true
			}
		case c == '.':
			if colons != 6 && !(double && colons < 6) {
				return fmt.Errorf("valid_ipv6_hostaddr: malformed IPv4-in-IPv6 address: %s", text)
			}
			return checkIPv4(text[i-digits:])
		case c >= '0' && c <= '9', c|0x20 >= 'a' && c|0x20 <= 'f':
			if i == 1 && text[0] == ':' {
				return bad("bad null first field in")
			}
			if digits++; digits > 4 {
				return bad("malformed")
			}
		default:
			return bad(fmt.Sprintf("invalid character %d(decimal) in", c))
		}
	}
	switch {
	case colons < 2:
		return bad("too few `:' in")
	case text[len(text)-1] == ':' && text[len(text)-2] != ':':
		return bad("bad null last field in")
	}
	return nil
}
