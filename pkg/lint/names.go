package lint

import (
	"slices"
	"strings"

	"suffix/pkg/config"
)

// checkNames looks at the names that this system has.
func (c *checker) checkNames() {
	s := c.main
	host := s.value("myhostname")
	lower := strings.ToLower(host)
	switch {
	case config.ValidHostname(host) != "":
		// A rule of its own tells about a setting; without one no program starts.
		if !s.explicit("myhostname") {
			s.tell(Serious, "hostname", "myhostname", "this machine's name, \"%s\", is no valid host name, so that no program starts. Set myhostname.", host)
		}
	case !strings.Contains(host, "."):
		s.tell(Advice, "hostname", "myhostname", "myhostname is %s, without a domain. Many servers refuse mail from a client that greets them so. Set the full name, such as %s.example.com.", host, host)
	case strings.HasSuffix(lower, ".localdomain") || strings.HasSuffix(lower, ".local") || lower == "localhost.localdomain":
		how := "Set it to the name that the DNS has for this machine."
		if !s.explicit("myhostname") {
			how = "It derives from the name of this machine. " + how
		}
		s.tell(Advice, "hostname", "myhostname", "myhostname is %s, a name that nobody else knows. Many servers refuse mail from a client that greets them so, and bounces to this system get lost. %s", host, how)
	}
	c.checkOrigin(host)
	if relay := s.value("relayhost"); relay != "" {
		name, _, _ := strings.Cut(strings.Trim(relay, "[]"), "]")
		name, _, _ = strings.Cut(name, ":")
		if strings.EqualFold(relay, host) {
			s.tell(Serious, "relayhost", "relayhost", "relayhost is this machine itself, %s: no program starts.", host)
		} else if strings.EqualFold(name, host) || strings.EqualFold(name, "localhost") && !strings.Contains(relay, ":") || slices.Contains(c.ownDomains(), strings.ToLower(name)) {
			s.tell(Serious, "relayhost", "relayhost", "relayhost, %s, is a name of this machine: mail would go round in circles. Name another machine, or nothing.", relay)
		}
		if strings.ContainsAny(relay, ", \t") {
			s.tell(Serious, "relayhost", "relayhost", "relayhost holds one destination, not a list: \"%s\" is not found. For a second one use smtp_fallback_relay, or several addresses for one name.", relay)
		}
	}
	if s.value("inet_interfaces") == "" {
		for _, service := range c.services {
			if service.Type == "inet" && service.Host == "" {
				service.tell(Serious, "interfaces", "inet_interfaces is empty, so that %s has no address to listen on: master(8) ends with an error. Use loopback-only, or put a # in front of the entry.", service.Name)
			}
		}
	}
	for _, item := range config.SplitList(s.value("inet_interfaces")) {
		if l := strings.ToLower(item); (l == "all" || l == "loopback-only") && (item != l || len(config.SplitList(s.value("inet_interfaces"))) > 1) {
			s.tell(Serious, "interfaces", "inet_interfaces", "in inet_interfaces, \"%s\" counts as a host name: %s works only in small letters and alone.", item, l)
		}
	}
}

// ownDomains are the literal names in mydestination.
func (c *checker) ownDomains() []string {
	var list []string
	for _, item := range c.main.list("mydestination") {
		if !isTable(item) && item[0] != '/' && item[0] != '!' {
			list = append(list, strings.ToLower(item))
		}
	}
	return list
}

func (c *checker) checkOrigin(host string) {
	s := c.main
	origin := s.value("myorigin")
	if strings.HasPrefix(origin, "/") {
		text, ok := c.readFile(origin)
		if !ok {
			return // a rule about values tells about a file that is not there
		}
		first, _, _ := strings.Cut(string(text), "\n")
		origin = strings.TrimSpace(first)
	}
	switch {
	case strings.ContainsAny(origin, ", \t"):
		s.tell(Serious, "origin", "myorigin", "myorigin is one domain, not a list: with \"%s\" no program starts.", short(origin))
	case strings.Contains(origin, "@"):
		s.tell(Serious, "origin", "myorigin", "myorigin is \"%s\": it is a domain, without @.", origin)
	case origin == "":
		if s.explicit("myorigin") {
			s.tell(Serious, "origin", "myorigin", "myorigin is empty: addresses of local users get no domain.")
		}
	case !strings.Contains(origin, ".") && origin != host:
		s.tell(Advice, "origin", "myorigin", "myorigin is %s, without a dot. Addresses of local users become user@%s, which others cannot answer.", origin, origin)
	}
}
