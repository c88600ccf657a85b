package ldap

import (
	"net"
	"net/url"
	"strings"

	goldap "github.com/go-ldap/ldap/v3"
)

// A searchURL is a search written as an LDAP URL (RFC 2255). Its host is not
// used here: searches go to the table's own servers.
type searchURL struct {
	scheme, host string
	dn           string
	attributes   []string
	scope        int
	filter       string
}

// What can be wrong with a URL, as the C library numbers it.
const (
	urlBadScheme    = 3
	urlBadEnclosure = 4
	urlBadURL       = 5
	urlBadScope     = 8
)

// unwrap removes what may stand around a URL.
func unwrap(text string) (plain string, enclosed bool) {
	if strings.HasPrefix(text, "<") {
		enclosed, text = true, text[1:]
	}
	if len(text) > 4 && strings.EqualFold(text[:4], "URL:") {
		text = text[4:]
	}
	return text, enclosed
}

// isURL tells a URL from a distinguished name.
func isURL(text string) bool {
	text, _ = unwrap(text)
	scheme, _, ok := strings.Cut(text, "://")
	switch strings.ToLower(scheme) {
	case "ldap", "ldaps", "ldapi":
		return ok
	}
	return false
}

// parseURL takes a URL apart. problem is zero for a good one.
func parseURL(text string) (u searchURL, problem int) {
	u = searchURL{scope: goldap.ScopeBaseObject, filter: "(objectClass=*)"}
	text, enclosed := unwrap(text)
	if enclosed {
		inner, ok := strings.CutSuffix(text, ">")
		if !ok {
			return u, urlBadEnclosure
		}
		text = inner
	}
	scheme, rest, ok := strings.Cut(text, "://")
	if !ok {
		return u, urlBadScheme
	}
	u.scheme = strings.ToLower(scheme)
	host, rest, _ := strings.Cut(rest, "/")
	if u.host = unescape(host); strings.HasPrefix(host, "[") && !strings.Contains(host, "]") {
		return u, urlBadURL
	}
	parts := append(strings.SplitN(rest, "?", 5), "", "", "", "")
	u.dn = unescape(parts[0])
	for _, a := range strings.Split(parts[1], ",") {
		if a = strings.TrimSpace(unescape(a)); a != "" {
			u.attributes = append(u.attributes, a)
		}
	}
	switch strings.ToLower(parts[2]) {
	case "", "base":
	case "one", "onelevel":
		u.scope = goldap.ScopeSingleLevel
	case "sub", "subtree":
		u.scope = goldap.ScopeWholeSubtree
	default:
		return u, urlBadScope
	}
	if parts[3] != "" {
		u.filter = unescape(parts[3])
	}
	return u, 0
}

// unescape undoes %XX. Text with a bad one counts as empty.
func unescape(text string) string {
	plain, err := url.PathUnescape(text)
	if err != nil {
		return ""
	}
	return plain
}

// address is where a server URL's server listens. The certificate of the
// server must have its name.
func (u *searchURL) address() (network, address, name string, ok bool) {
	if u.scheme == "ldapi" {
		if u.host == "" {
			return "unix", "/var/run/slapd/ldapi", "", true
		}
		return "unix", u.host, "", true
	}
	port := "389"
	if u.scheme == "ldaps" {
		port = "636"
	}
	name = u.host
	if host, given, err := net.SplitHostPort(u.host); err == nil {
		if name = host; given != "0" {
			port = given
		}
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if strings.ContainsAny(name, "/ ") || port == "" || strings.Trim(port, "0123456789") != "" {
		return "", "", "", false
	}
	if name == "" {
		name = "localhost"
	}
	return "tcp", net.JoinHostPort(name, port), name, true
}
