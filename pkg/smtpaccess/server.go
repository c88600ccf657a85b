package smtpaccess

import (
	"net/netip"
	"strings"

	"suffix/pkg/dnsclient"
)

// serverAccess applies a table to the mail servers, name servers or addresses
// of a host or domain (spec smtpd-access §9).
func (e *evaluation) serverAccess(r *restriction, host, name, class string) verdict {
	if host == "" {
		return dunno
	}
	kind := "a"
	switch {
	case strings.HasSuffix(r.kind, "_mx_access"):
		kind = "mx"
	case strings.HasSuffix(r.kind, "_ns_access"):
		kind = "ns"
	}
	if inner, ok := literal(host); ok {
		addr, ok := literalAddr(inner)
		if kind == "ns" || !ok {
			return dunno
		}
		v, _ := e.checkAddr(r.table, addr.String(), name, class)
		return e.forbidPermit(v, r.word, name)
	}
	if _, err := netip.ParseAddr(host); err == nil {
		v, _ := e.checkAddr(r.table, host, name, class)
		return e.forbidPermit(v, r.word, name)
	}
	hosts, ok := e.servers(kind, host)
	if !ok {
		return dunno
	}
	count := 0
	for _, server := range hosts {
		if kind != "a" {
			if v, found := e.checkName(r.table, server, name, class); found {
				return e.forbidPermit(v, r.word, name)
			}
		}
		answer := e.c.addresses(e.ctx, server)
		if answer.Result != dnsclient.OK {
			if kind != "a" {
				e.s.Log.Warnf("Unable to look up %s host %s for %s %s: %s", strings.ToUpper(kind), server, class, name, answer.Text)
			}
			continue
		}
		for _, record := range answer.Records {
			if count++; count > maxServerAddresses {
				e.s.Log.Warnf("check_server_access: %s server address count limit (%d) exceeded for %s %s -- ignoring the remainder", strings.ToUpper(kind), maxServerAddresses, class, name)
				return dunno
			}
			if v, found := e.checkAddr(r.table, record.Addr.String(), name, class); found {
				return e.forbidPermit(v, r.word, name)
			}
		}
	}
	return dunno
}

// servers returns the hosts whose names and addresses are to be checked.
func (e *evaluation) servers(kind, host string) (hosts []string, ok bool) {
	switch kind {
	case "mx":
		answer := e.c.resolver.Lookup(e.ctx, dnsclient.ToASCII(host), dnsclient.TypeMX)
		switch {
		case answer.Result == dnsclient.OK:
			return targets(answer), true
		case answer.Result == dnsclient.NullMX:
			return nil, false
		case answer.Result.Missing():
			return []string{host}, true
		}
		e.s.Log.Warnf("Unable to look up MX host for %s: %s", host, answer.Text)
		return nil, false
	case "ns":
		domain := host
		for {
			answer := e.c.resolver.Lookup(e.ctx, dnsclient.ToASCII(domain), dnsclient.TypeNS)
			if answer.Result == dnsclient.OK {
				return targets(answer), true
			}
			i := strings.IndexByte(domain, '.')
			if !answer.Result.Missing() || i < 0 || domain[i+1:] == "" {
				e.s.Log.Warnf("Unable to look up NS host for %s: %s", domain, answer.Text)
				return nil, false
			}
			domain = domain[i+1:]
		}
	}
	return []string{host}, true
}

func targets(answer dnsclient.Answer) []string {
	hosts := make([]string, 0, len(answer.Records))
	for _, record := range answer.Records {
		hosts = append(hosts, record.Target)
	}
	return hosts
}
