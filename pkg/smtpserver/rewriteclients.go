package smtpserver

import (
	"slices"
	"strings"

	"suffix/pkg/maps"
	"suffix/pkg/params"
	"suffix/pkg/smtpaccess"
	"suffix/pkg/table"
)

// A rewriteRule is an item of local_header_rewrite_clients: whose mail has its
// headers completed as if it were submitted here.
type rewriteRule struct {
	name string
	maps *maps.Maps // check_address_map
}

// readRewriteRules reads local_header_rewrite_clients.
func (s *Settings) readRewriteRules(log smtpaccess.Logger) {
	words := s.cfg.List(params.LocalHeaderRewriteClients)
	for i := 0; i < len(words); i++ {
		name := strings.ToLower(words[i])
		switch name {
		case "permit_inet_interfaces", "permit_mynetworks", "permit_sasl_authenticated", "permit_tls_clientcerts", "permit_tls_all_clientcerts":
			s.rewriteClients = append(s.rewriteClients, rewriteRule{name: name})
			continue
		case "check_address_map":
			if i+1 < len(words) {
				i++
			}
		}
		if !strings.Contains(words[i], ":") {
			log.Warnf("parameter %s: invalid request: %s", params.Of(params.LocalHeaderRewriteClients).Name, words[i])
			continue
		}
		m := maps.Open(params.Of(params.LocalHeaderRewriteClients).Name, words[i], table.Options{Flags: table.Reader, Config: s.cfg})
		s.mapses = append(s.mapses, m)
		s.rewriteClients = append(s.rewriteClients, rewriteRule{name: "check_address_map", maps: m})
	}
}

// rewriteContext says how cleanup completes addresses in headers: local or
// remote.
func (s *session) rewriteContext() (context string, err error) {
	set, a := s.set, &s.access
	for _, rule := range set.rewriteClients {
		match := false
		switch rule.name {
		case "permit_inet_interfaces":
			own, ownErr := set.cfg.OwnAddresses()
			match, err = slices.Contains(own, a.IP), ownErr
		case "permit_mynetworks":
			match, err = set.myNetworks.MatchHost(a.Name, a.Address)
		case "permit_sasl_authenticated":
			match = a.Login != "" && !strings.EqualFold(a.Method, "anonymous")
		case "check_address_map":
			_, match, err = rule.maps.Find(a.Address)
		}
		if err != nil {
			return "", err
		}
		if match {
			return "local", nil
		}
	}
	return "remote", nil
}
