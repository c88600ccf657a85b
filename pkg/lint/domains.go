package lint

import (
	"strings"

	"suffix/pkg/config"
)

// domainClasses are the lists of domains; a domain belongs to one of them.
var domainClasses = []struct{ name, does string }{
	{"mydestination", "delivers to the accounts and aliases of this machine"},
	{"virtual_alias_domains", "only rewrites with virtual_alias_maps"},
	{"virtual_mailbox_domains", "delivers with virtual_transport"},
	{"relay_domains", "passes on to another system"},
}

// checkDomains looks at the lists of domains.
func (c *checker) checkDomains() {
	s := c.main
	first := make(map[string]int) // domain to the class that has it
	for i, class := range domainClasses {
		if class.name == "relay_domains" && !s.explicit(class.name) {
			continue // in old defaults all of mydestination
		}
		for _, domain := range c.domains(class.name) {
			old, seen := first[domain]
			if !seen {
				first[domain] = i
				continue
			}
			if old == i {
				continue
			}
			at := class.name
			if !s.explicit(at) {
				at = domainClasses[old].name
			}
			s.tell(Serious, "domain-twice", at, "%s is in %s, which %s, and in %s, which %s. The first of these counts, and each process that resolves addresses warns about it. Remove the domain from one of them.",
				domain, domainClasses[old].name, domainClasses[old].does, class.name, class.does)
		}
		c.checkDomainList(class.name)
	}
	if s.explicit("relay_domains") && s.value("relay_domains") != "" {
		c.checkRecipients("relay_domains", "relay_recipient_maps")
	}
	if s.explicit("virtual_mailbox_domains") && s.value("virtual_mailbox_domains") != "" {
		c.checkRecipients("virtual_mailbox_domains", "virtual_mailbox_maps")
	}
	if s.explicit("local_recipient_maps") && s.value("local_recipient_maps") == "" && s.value("mydestination") != "" {
		s.tell(Advice, "backscatter", "local_recipient_maps", "local_recipient_maps is empty: mail to any name in mydestination is accepted and, where nobody has the name, returned to a sender who is most often forged. Remove the setting, unless luser_relay or fallback_transport takes such mail.")
	}
	if s.value("luser_relay") != "" && s.value("local_recipient_maps") != "" {
		s.tell(Advice, "luser-relay", "luser_relay", "luser_relay gets no mail from the network, because local_recipient_maps makes smtpd(8) refuse unknown recipients first. Set local_recipient_maps empty if you want such mail.")
	}
}

// checkRecipients looks whether unknown recipients can be refused.
func (c *checker) checkRecipients(domains, maps string) {
	if c.main.value(maps) != "" || c.mentions("reject_unverified_recipient") || c.mentions("check_recipient_access") || c.mentions("check_policy_service") ||
		c.mentions("smtpd_milters") {
		return
	}
	c.main.tell(Advice, "backscatter", domains, "%s has domains, and %s is empty: mail to any name in them is accepted and, where nobody has the name, returned to a sender who is most often forged. List the recipients in %s, or use reject_unverified_recipient.",
		domains, maps, maps)
}

// domains lists the domains of a class in small letters: those written out,
// and the keys of tables whose source can be read.
func (c *checker) domains(class string) []string {
	var list []string
	c.eachDomain(class, c.main.value(class), &list, 0)
	return list
}

func (c *checker) eachDomain(class, text string, list *[]string, depth int) {
	if depth > maxNesting {
		return
	}
	for _, item := range config.SplitBrace(text) {
		switch {
		case item[0] == '!' || item[0] == '#' || item[0] == '{':
			return // what remains depends on the order
		case item[0] == '/':
			if text, ok := c.readFile(item); ok {
				lines := config.NewLines(item, string(text), nil)
				for {
					line, _, more := lines.Next()
					if !more {
						break
					}
					c.eachDomain(class, line, list, depth+1)
				}
			}
		case isTable(item):
			for strings.HasPrefix(item, "proxy:") {
				item = item[len("proxy:"):]
			}
			kind, name, _ := strings.Cut(item, ":")
			r := tableRef{s: c.main, param: class, kind: kind, name: name}
			entries, _ := r.entries()
			for _, e := range entries {
				if !strings.ContainsAny(e.key, "@/") && strings.Contains(e.key, ".") {
					*list = append(*list, e.key)
				}
			}
		default:
			*list = append(*list, strings.ToLower(item))
		}
	}
}

// checkDomainList looks for items that match more than one domain, or nothing.
func (c *checker) checkDomainList(class string) {
	s := c.main
	if !s.own(class) {
		return
	}
	for _, item := range s.list(class) {
		switch {
		case item[0] == '!' || item[0] == '/' || item[0] == '#':
		case strings.HasPrefix(item, "static:"):
			effect := "every domain in the world counts as one of this system's, and so this system takes mail for all of them from anybody"
			s.tell(Serious, "domain-wildcard", class, "%s contains %s: %s. List your domains.", class, item, effect)
		case isTable(item):
		case strings.Contains(item, "*"):
			s.tell(Advice, "domain-wildcard", class, "%s contains \"%s\": lists of domains know no *, so that this matches nothing. Write a table of type pcre, or list the domains.", class, item)
		case class == "relay_domains" && !strings.Contains(strings.Trim(item, "."), ".") && item != "localhost":
			s.tell(Serious, "domain-wildcard", class, "relay_domains contains \"%s\", which stands for all domains below it: this system takes mail for any of them from anybody. List your domains.", item)
		case strings.Contains(item, "@"):
			s.tell(Advice, "domain-wildcard", class, "%s contains \"%s\", which is an address and no domain: it matches nothing.", class, item)
		}
	}
}
