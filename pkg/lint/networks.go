package lint

import (
	"net/netip"
	"strings"

	"suffix/pkg/table/netblock"
)

// networkLists are the lists of clients that may do what strangers may not.
var networkLists = []struct{ name, what string }{
	{"mynetworks", "may send mail to any destination through this system"},
	{"qmqpd_authorized_clients", "may send mail to any destination through this system"},
	{"smtpd_authorized_xclient_hosts", "may pretend to be any other client"},
	{"smtpd_authorized_xforward_hosts", "may put any client into the log"},
	{"smtpd_authorized_verp_clients", "may ask for one message for each recipient"},
}

// checkNetworks looks at the lists of trusted clients.
func (c *checker) checkNetworks() {
	for _, s := range c.scopes() {
		for _, l := range networkLists {
			if s.own(l.name) {
				s.checkNetworkList(l.name, l.what)
			}
		}
	}
	c.checkNetworksStyle()
}

func (s *scope) checkNetworkList(name, what string) {
	danger := Serious
	if name == "smtpd_authorized_xforward_hosts" || name == "smtpd_authorized_verp_clients" {
		danger = Advice
	}
	for _, item := range s.list(name) {
		if strings.HasPrefix(item, "!") || strings.HasPrefix(item, "/") {
			continue
		}
		if strings.HasPrefix(item, "#") {
			s.tell(Serious, "comment", name, "%s has a comment, \"%s\", after other text: the rest of the value does not count. A comment needs a line of its own.", name, short(item))
			return
		}
		if item == "static:all" || strings.HasPrefix(item, "static:") {
			s.tell(danger, "networks", name, "%s contains %s, which every client matches: everybody %s. List only those whose users you know.", name, item, what)
			continue
		}
		if isTable(item) {
			continue
		}
		if !looksLikeNetwork(item) {
			if !strings.Contains(item, ".") && item != "localhost" {
				s.tell(Advice, "networks", name, "%s contains \"%s\", which is no address. It matches only clients whose host name is, or ends in, that word.", name, item)
			}
			continue
		}
		if _, err := netblock.Parse(item); err != nil {
			s.tell(Serious, "networks", name, "%s contains a wrong network: %s. Whenever this item is reached the list fails, and clients get a temporary error.", name, err)
			continue
		}
		switch breadth(item) {
		case everything:
			s.tell(danger, "networks", name, "%s contains %s, a large part of the Internet: strangers there %s. List only networks whose users you know.", name, item, what)
		case broad:
			s.tell(Advice, "networks", name, "%s contains %s, which is a large public network. Everybody in it %s. Make sure that all of it is yours.", name, item, what)
		}
	}
}

func looksLikeNetwork(item string) bool {
	return strings.ContainsAny(item, "/:") && strings.Trim(item, "0123456789abcdefABCDEF.:[]/") == "" || strings.HasPrefix(item, "[")
}

// How much of the public Internet a network is.
const (
	narrow     = iota // private, or as large as one owner's
	broad             // larger than most owners have
	everything        // many owners
)

// Prefix lengths of public networks: shorter ones are broad, or everything.
const (
	v4Broad, v4Everything = 16, 8
	v6Broad, v6Everything = 29, 16
)

// notPublic are networks that no packet from the Internet comes from.
func notPublic() (list []netip.Prefix) {
	for _, text := range []string{"0.0.0.0/32", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
		"198.18.0.0/15", "::1/128", "fc00::/7", "fe80::/10", "::ffff:0:0/96"} {
		list = append(list, netip.MustParsePrefix(text))
	}
	return list
}

func breadth(item string) int {
	p, err := netip.ParsePrefix(strings.NewReplacer("[", "", "]", "").Replace(item))
	if err != nil {
		return narrow
	}
	if addr := p.Addr(); addr.Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(addr.Unmap(), p.Bits()-96)
	}
	for _, n := range notPublic() {
		if n.Bits() <= p.Bits() && n.Contains(p.Addr()) {
			return narrow
		}
	}
	limit, all := v4Broad, v4Everything
	if p.Addr().Is6() {
		limit, all = v6Broad, v6Everything
	}
	switch {
	case p.Bits() < all:
		return everything
	case p.Bits() < limit:
		return broad
	}
	return narrow
}

// checkNetworksStyle looks at mynetworks where it derives from the interfaces.
func (c *checker) checkNetworksStyle() {
	s := c.main
	if s.explicit("mynetworks") {
		if s.explicit("mynetworks_style") {
			s.tell(Advice, "networks-style", "mynetworks_style", "mynetworks_style has no effect, because mynetworks is set.")
		}
		return
	}
	if s.explicit("mynetworks_style") && s.value("mynetworks_style") == "class" {
		s.tell(Serious, "networks-style", "mynetworks_style", "mynetworks_style = class trusts whole networks of the old classes A, B and C around each of this machine's addresses, and with them many strangers, who may send mail to any destination through this system. Use host, or list your networks in mynetworks.")
	}
}
