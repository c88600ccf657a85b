package smtpaccess

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
)

// parseAddrPattern reads a pattern of IPv4 addresses: four parts, each a number
// or "[a;b;c..d]". The whole may stand in brackets too.
func parseAddrPattern(text string) (match func(netip.Addr) bool, err error) {
	body := text
	if inner, ok := strings.CutPrefix(body, "["); ok && strings.HasSuffix(inner, "]") && balanced(inner[:len(inner)-1]) {
		body = inner[:len(inner)-1]
	}
	var parts [4][256]bool
	rest := body
	for i := range parts {
		if i > 0 {
			if !strings.HasPrefix(rest, ".") {
				return nil, fmt.Errorf("bad address pattern: %s", text)
			}
			rest = rest[1:]
		}
		var part string
		if strings.HasPrefix(rest, "[") {
			end := strings.IndexByte(rest, ']')
			if end < 0 {
				return nil, fmt.Errorf("missing \"]\" in address pattern: %s", text)
			}
			part, rest = rest[1:end], rest[end+1:]
		} else {
			n := digits(rest)
			part, rest = rest[:n], rest[n:]
		}
		for _, choice := range strings.Split(part, ";") {
			from, to, isRange := strings.Cut(choice, "..")
			if !isRange {
				to = from
			}
			lo, err1 := strconv.ParseUint(from, 10, 8)
			hi, err2 := strconv.ParseUint(to, 10, 8)
			if err1 != nil || err2 != nil || lo > hi {
				return nil, fmt.Errorf("bad address pattern: %s", text)
			}
			for n := lo; n <= hi; n++ {
				parts[i][n] = true
			}
		}
	}
	if rest != "" {
		return nil, fmt.Errorf("garbage after address pattern: %s", text)
	}
	return func(addr netip.Addr) bool {
		if !addr.Is4() {
			return false
		}
		for i, octet := range addr.As4() {
			if !parts[i][octet] {
				return false
			}
		}
		return true
	}, nil
}

// balanced says that brackets in text are paired, so that a bracket before it
// belongs to one behind it.
func balanced(text string) bool {
	depth := 0
	for _, c := range text {
		switch c {
		case '[':
			depth++
		case ']':
			if depth--; depth < 0 {
				return false
			}
		}
	}
	return depth == 0
}
