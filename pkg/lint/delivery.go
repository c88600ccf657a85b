package lint

import (
	"slices"
	"strings"

	"suffix/pkg/params"
)

// checkDelivery looks at how mail is delivered here, and at settings that are
// meant for a short time.
func (c *checker) checkDelivery() {
	for _, s := range c.scopes() {
		if s.own("soft_bounce") && s.yes("soft_bounce") {
			s.tell(Advice, "soft-bounce", "soft_bounce", "soft_bounce turns every final error into a temporary one: mail to addresses that do not exist stays in queues, here and elsewhere, for days. It is meant for tests. Set it to no.")
		}
		for _, name := range []string{"smtpd_tls_loglevel", "smtp_tls_loglevel", "lmtp_tls_loglevel"} {
			if level, ok := s.number(name); ok && s.own(name) && level >= 3 {
				s.tell(Advice, "debug", name, "%s is %d, which fills the log with dumps of each session. It is meant for tests: 1 says what is worth knowing.", name, level)
			}
		}
		if s.own("debug_peer_list") && s.value("debug_peer_list") != "" && s.value("debug_peer_list") != "127.0.0.1" {
			s.tell(Advice, "debug", "debug_peer_list", "debug_peer_list is set: the log gets many lines for each session with %s. It is meant for tests.", short(s.value("debug_peer_list")))
		}
	}
	for _, s := range c.services {
		for _, arg := range s.Args {
			if arg == "-v" || arg == "-vv" || arg == "-vvv" {
				s.tell(Advice, "debug", "the service is started with %s: it logs many lines for each request. That is meant for tests.", arg)
			}
			if len(arg) == 0 || arg[0] != '-' {
				break
			}
		}
	}
	c.checkMailbox()
}

// mailboxParams are the ways to deliver to a local user: the first that is set
// is taken. A table may leave some users to the next.
var mailboxParams = []string{"mailbox_transport_maps", "mailbox_transport", "mailbox_command_maps", "mailbox_command", "home_mailbox"}

func (c *checker) checkMailbox() {
	s := c.main
	winner := ""
	for _, name := range mailboxParams {
		text, _ := s.raw(name)
		if d := params.Lookup(name); d == nil || d.Kind != params.KindRaw {
			text = s.value(name)
		}
		switch {
		case text == "":
		case winner != "" && s.own(name):
			s.tell(Advice, "mailbox", name, "%s has no effect, because %s comes first and takes all local mail.", name, winner)
		case !strings.HasSuffix(name, "_maps"):
			winner = name
		}
	}
	if home := s.value("home_mailbox"); s.own("home_mailbox") && strings.HasPrefix(home, "/") {
		s.tell(Serious, "mailbox", "home_mailbox", "home_mailbox is %s: it is taken as a path below the home directory of each user. For mailboxes outside, use mail_spool_directory.", home)
	}
	if !s.usesVirtual() {
		return
	}
	base := s.value("virtual_mailbox_base")
	switch {
	case base == "" && s.value("virtual_mailbox_maps") != "":
		s.tell(Advice, "virtual", "virtual_mailbox_maps", "virtual_mailbox_base is empty: the results of virtual_mailbox_maps must be whole paths, and a mistake in the table may hit any file.")
	case base != "" && base[0] != '/':
		s.tell(Serious, "virtual", "virtual_mailbox_base", "virtual_mailbox_base is %s, which is no whole path.", base)
	}
	for _, name := range []string{"virtual_uid_maps", "virtual_gid_maps"} {
		if s.value(name) == "" {
			at := "virtual_mailbox_domains"
			s.tell(Serious, "virtual", at, "virtual(8) delivers to the domains in virtual_mailbox_domains, but %s is empty, so that it does not know with whose rights: mail is deferred. Write, for example, %s = static:5000.", name, name)
		}
	}
	if minimum, ok := s.number("virtual_minimum_uid"); ok {
		for _, item := range s.list("virtual_uid_maps") {
			id, isStatic := strings.CutPrefix(item, "static:")
			if isStatic && digits(id) && len(id) < 10 && atoi(id) < minimum {
				s.tell(Serious, "virtual", "virtual_uid_maps", "virtual_uid_maps gives the user ID %s, which is less than virtual_minimum_uid (%d): mail is deferred.", id, minimum)
			}
		}
	}
}

func digits(text string) bool { return text != "" && strings.Trim(text, "0123456789") == "" }

func atoi(text string) (n int64) {
	for i := range len(text) {
		n = n*10 + int64(text[i]-'0')
	}
	return n
}

// checkSASL looks at authentication.
func (c *checker) checkSASL() {
	for _, s := range c.servers() {
		if s.yes("smtpd_sasl_auth_enable") {
			s.checkSASLServer()
			continue
		}
		if s.own("smtpd_sasl_path", "smtpd_sasl_type") && !c.anyService(func(o *scope) bool { return o.yes("smtpd_sasl_auth_enable") }) {
			s.tell(Advice, "sasl", "smtpd_sasl_path", "clients are not offered authentication: smtpd_sasl_auth_enable is no.")
		}
		if s.entry != nil && (s.entry.Name == "submission" || s.entry.Name == "submissions" || s.entry.Name == "587" || s.entry.Name == "465") &&
			strings.Contains(s.value("smtpd_relay_restrictions")+s.value("smtpd_client_restrictions")+s.value("smtpd_recipient_restrictions"), "permit_sasl_authenticated") &&
			!strings.Contains(s.value("smtpd_relay_restrictions"), "permit_mynetworks") {
			s.tellHere(Serious, "sasl", "this service permits only clients that have logged in (permit_sasl_authenticated), but smtpd_sasl_auth_enable is no, so that nobody can.")
		}
	}
	for _, prefix := range []string{"smtp", "lmtp"} {
		c.checkSASLClient(prefix)
	}
}

func (c *checker) anyService(f func(*scope) bool) bool {
	return slices.ContainsFunc(c.scopes(), f)
}

func (s *scope) checkSASLServer() {
	at := "smtpd_sasl_auth_enable"
	for _, name := range []string{"smtpd_tls_auth_only", "smtpd_tls_security_level", "smtpd_tls_wrappermode"} {
		if s.entry != nil && s.own(name) && !s.own(at) {
			at = name
		}
	}
	level := s.value("smtpd_tls_security_level")
	if !s.yes("smtpd_tls_auth_only") && level != "encrypt" && !s.yes("smtpd_tls_wrappermode") && !s.yes("smtpd_enforce_tls") &&
		!strings.Contains(s.value("smtpd_sasl_security_options"), "noplaintext") && !s.loopback() {
		s.tell(Advice, "sasl", at, "passwords may be sent over connections that are not encrypted, where others can read them. Set smtpd_tls_auth_only = yes.")
	}
	for _, name := range []string{"smtpd_relay_restrictions", "smtpd_recipient_restrictions"} {
		var o outcome
		list := s.restrictions(s.value(name))
		if s.stranger(list, &o, 0); !o.guarded {
			continue
		}
		mentioned := slices.ContainsFunc(list, func(r restriction) bool {
			return r.name == "permit_sasl_authenticated" || r.class || r.name == "check_sasl_access" || r.name == "permit_mynetworks" && s.loopback()
		})
		if !mentioned {
			s.tell(Advice, "sasl", name, "users may log in, but %s does not have permit_sasl_authenticated: they cannot send mail to other domains.", name)
		}
	}
	if s.value("smtpd_sasl_type") == "dovecot" {
		path := s.value("smtpd_sasl_path")
		if !s.explicit("smtpd_sasl_path") || path == "smtpd" {
			s.tell(Advice, "sasl", at, "smtpd_sasl_type is dovecot, and smtpd_sasl_path is \"%s\". It should name the socket of Dovecot's authentication, such as private/auth.", path)
		}
	}
}

// loopback tells whether only this machine can reach a service.
func (s *scope) loopback() bool {
	if s.entry != nil && s.entry.Host != "" {
		return strings.HasPrefix(s.entry.Host, "127.") || s.entry.Host == "localhost" || s.entry.Host == "::1"
	}
	return s.value("inet_interfaces") == "loopback-only"
}

func (c *checker) checkSASLClient(prefix string) {
	s := c.main
	enable, maps := prefix+"_sasl_auth_enable", prefix+"_sasl_password_maps"
	enabled := c.anyService(func(o *scope) bool { return o.yes(enable) })
	switch {
	case s.value(maps) != "" && !enabled:
		s.tell(Advice, "sasl", maps, "%s has no effect, because %s is no.", maps, enable)
	case s.yes(enable) && s.value(maps) == "" && !c.anyService(func(o *scope) bool { return o.value(maps) != "" }):
		s.tell(Advice, "sasl", enable, "%s has no effect, because %s is empty: there is no password to send.", enable, maps)
	case s.yes(enable) && slices.Contains(strings.FieldsFunc(s.value(prefix+"_sasl_tls_security_options"), isSeparator), "noplaintext") && s.value("relayhost") != "":
		s.tell(Advice, "sasl", enable, "%s_sasl_tls_security_options has noplaintext, so that PLAIN and LOGIN are not used even where TLS protects them. Most providers offer nothing else, and mail then waits with \"no mechanism available\". Set %s_sasl_tls_security_options = noanonymous, and %s_tls_security_level = encrypt.",
			prefix, prefix, prefix)
	}
	if s.yes(enable) && s.value("relayhost") != "" {
		switch s.value(prefix + "_tls_security_level") {
		case "", "none", "may":
			options := s.value(prefix + "_sasl_security_options")
			if !strings.Contains(options, "noplaintext") && s.own(prefix+"_sasl_security_options") {
				s.tell(Advice, "sasl", enable, "the password for %s may be sent over a connection that is not encrypted. Set %s_tls_security_level = encrypt.", s.value("relayhost"), prefix)
			}
		}
	}
}

func isSeparator(r rune) bool { return strings.ContainsRune(", \t\r\n", r) }
