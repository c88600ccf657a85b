package lint

import (
	"slices"
	"strings"

	"suffix/pkg/config"
	"suffix/pkg/mastercf"
	"suffix/pkg/params"
	"suffix/pkg/table/typenames"
)

// transportParams name a transport: transport, or transport:nexthop.
var transportParams = []string{"default_transport", "relay_transport", "virtual_transport", "local_transport", "mailbox_transport",
	"fallback_transport", "content_filter", "best_mx_transport", "address_verify_default_transport", "address_verify_local_transport",
	"address_verify_relay_transport", "address_verify_virtual_transport"}

// transportTables are the tables whose results name one.
var transportTables = []string{"transport_maps", "mailbox_transport_maps", "fallback_transport_maps", "sender_dependent_default_transport_maps",
	"address_verify_transport_maps", "address_verify_sender_dependent_default_transport_maps"}

// A need is a service that others cannot do without.
type need struct {
	param  string // that holds its name; or the name itself
	wanted func(c *checker) bool
	effect string
}

func always(*checker) bool { return true }

var needs = []need{
	{"pickup_service_name", always, "mail from local users stays in the maildrop directory"},
	{"cleanup_service_name", always, "no mail can be received"},
	{"queue_service_name", always, "no mail is delivered"},
	{"rewrite_service_name", always, "no mail can be received or delivered"},
	{"bounce_service_name", always, "nobody is told about mail that cannot be delivered, and it stays in the queue"},
	{"defer_service_name", always, "mail that cannot be delivered at once stays in the active queue"},
	{"trace_service_name", always, "senders who ask for reports get none, and their mail stays in the queue"},
	{"error_service_name", always, "addresses that cannot be delivered to stay in the queue"},
	{"showq_service_name", always, "mailq(1) shows nothing"},
	{"flush_service_name", func(c *checker) bool { return c.main.value("fast_flush_domains") != "" }, "ETRN and \"postqueue -s\" do not work"},
	{"proxymap_service_name", func(c *checker) bool { return c.usesProxy("proxy_read_maps") }, "tables of databases, and those with proxy: in front of their names, cannot be used"},
	{"proxywrite_service_name", func(c *checker) bool { return c.usesProxy("proxy_write_maps") }, "tables with proxy: in front of their names cannot be changed"},
	{"address_verify_service_name", func(c *checker) bool { return c.mentions("reject_unverified_") }, "reject_unverified_recipient and reject_unverified_sender cannot work"},
	{"postlog_service_name", func(c *checker) bool { return c.main.value("maillog_file") != "" }, "programs without the rights to write to maillog_file cannot log"},
	{"anvil", func(c *checker) bool { return len(c.running("smtpd")) > 0 }, "limits on clients, such as smtpd_client_connection_rate_limit, do not work, and each session warns about it"},
	{"tlsmgr_service_name", func(c *checker) bool { return c.usesTLS() }, "TLS cannot be used"},
	{"tlsproxy_service_name", func(c *checker) bool { return len(c.running("postscreen")) > 0 && c.usesTLS() }, "postscreen(8) cannot offer TLS"},
	{"dnsblog_service_name", func(c *checker) bool {
		return len(c.running("postscreen")) > 0 && c.main.value("postscreen_dnsbl_sites") != ""
	}, "postscreen(8) cannot ask the DNS lists"},
	{"smtpd_service_name", func(c *checker) bool { return len(c.running("postscreen")) > 0 }, "clients that postscreen(8) lets pass have nowhere to go"},
}

// mentions tells whether a setting contains a word.
func (c *checker) mentions(word string) bool {
	for _, s := range c.scopes() {
		for _, text := range s.set {
			if strings.Contains(text, word) {
				return true
			}
		}
	}
	return false
}

// usesProxy tells whether a table that the list approves is used through proxymap.
func (c *checker) usesProxy(list string) bool {
	write := list == "proxy_write_maps"
	return slices.ContainsFunc(c.refs, func(r tableRef) bool {
		return (r.proxied || slices.Contains(typenames.Heavy, r.kind)) && isCache(r.param) == write
	})
}

func (c *checker) usesTLS() bool {
	for _, s := range c.servers() {
		if level := s.value("smtpd_tls_security_level"); level != "" && level != "none" {
			return true
		}
	}
	level := c.main.value("smtp_tls_security_level")
	return level != "" && level != "none"
}

// checkRoutes looks whether master.cf has the services that settings name.
func (c *checker) checkRoutes() {
	if len(c.services) == 0 {
		c.main.tell(Serious, "services", "config_directory", "%s has no services: the mail system does nothing.", c.file("master.cf"))
		return
	}
	for _, n := range needs {
		name := n.param
		if params.Lookup(name) != nil {
			name = c.main.value(n.param)
		}
		if name == "" || !n.wanted(c) || c.service(name) != nil || c.disabled(name) {
			continue
		}
		sev := Serious
		if n.param == "anvil" || n.param == "flush_service_name" || n.param == "showq_service_name" {
			sev = Advice
		}
		if c.main.explicit(n.param) {
			c.main.tell(sev, "service-missing", n.param, "%s is %s, but master.cf has no such service: %s. %s", n.param, name, n.effect, meant(name, c.transportNames()))
		} else {
			c.add(sev, "service-missing", c.file("master.cf"), inMaster, 0, "there is no service \"%s\": %s. Take the entry from the master.cf that is shipped with the system.", name, n.effect)
		}
	}
	for _, s := range c.scopes() {
		for _, name := range transportParams {
			if s.own(name) || s.entry == nil {
				s.checkTransport(name, s.value(name), "")
			}
		}
	}
	for i := range c.refs {
		r := &c.refs[i]
		if !slices.Contains(transportTables, r.param) {
			continue
		}
		list, _ := r.entries()
		for _, e := range list {
			if transport, _, found := strings.Cut(e.value, ":"); found || strings.HasPrefix(r.param, "mailbox_") || strings.HasPrefix(r.param, "fallback_") {
				r.s.checkTransport(r.param, transport, " in "+r.name+", entry "+e.key)
			}
		}
	}
	c.checkFilterLoop()
	c.checkScreen()
}

// disabled tells whether master_service_disable takes something out.
func (c *checker) disabled(name string) bool {
	for _, item := range config.SplitList(c.main.value("master_service_disable")) {
		if item == "unix" || strings.EqualFold(item, name+"/unix") || strings.EqualFold(item, name+".unix") {
			return true
		}
	}
	return false
}

func (s *scope) checkTransport(param, value, where string) {
	transport, _, _ := strings.Cut(value, ":")
	transport = strings.TrimSpace(transport)
	if transport == "" || s.c.service(transport) != nil {
		return
	}
	if strings.ContainsAny(transport, " /[") {
		s.tell(Serious, "transport", param, "%s%s has \"%s\" where the name of a service in master.cf should be. Write transport:nexthop.", param, where, short(value))
		return
	}
	what := meant(transport, s.c.transportNames())
	for _, other := range s.c.services {
		if other.Name == transport && other.Type == mastercf.Inet {
			what = "There is one of type inet, which is a server; a transport has type unix."
		}
	}
	if s.explicit(param) {
		s.tell(Serious, "transport", param, "%s%s sends mail to the service \"%s\", which master.cf does not have: such mail waits in the queue. %s", param, where, transport, what)
		return
	}
	if s.entry == nil && !strings.HasPrefix(param, "address_verify_") {
		if param == "local_transport" && s.value("mydestination") == "" || param == "relay_transport" && s.value("relay_domains") == "" ||
			param == "virtual_transport" && s.value("virtual_mailbox_domains") == "" {
			return // nothing goes there
		}
		s.c.add(Serious, "transport", s.c.file("master.cf"), inMaster, 0, "there is no service \"%s\", to which %s sends mail by default: such mail waits in the queue.", transport, param)
	}
}

// checkFilterLoop looks for a content filter whose mail comes back to it.
func (c *checker) checkFilterLoop() {
	if c.main.value("content_filter") == "" || !c.main.own("content_filter") {
		return
	}
	for _, s := range c.services {
		if _, set := s.set["content_filter"]; set || strings.Contains(strings.Join(s.Args, " "), "no_filter") {
			return
		}
	}
	c.main.tell(Advice, "filter-loop", "content_filter", "content_filter is set for all mail, and no service of master.cf takes it off again. If the filter gives mail back by SMTP, it goes round and round. Give the service that takes it back the option -o content_filter= and let only the filter reach it.")
}

// checkScreen looks at postscreen and the smtpd behind it.
func (c *checker) checkScreen() {
	for _, p := range c.running("postscreen") {
		for _, s := range c.running("smtpd") {
			if s.Type == mastercf.Inet && s.identity() == p.identity() {
				s.tell(Serious, "postscreen", "smtpd(8) and postscreen(8) cannot both have port %s.", s.Port)
			}
		}
	}
}
