package lint

import (
	"slices"
	"strings"

	"suffix/pkg/config"
)

// restrictionLists are the parameters that hold restrictions of smtpd(8).
var restrictionLists = []string{"smtpd_client_restrictions", "smtpd_helo_restrictions", "smtpd_sender_restrictions", "smtpd_relay_restrictions",
	"smtpd_recipient_restrictions", "smtpd_etrn_restrictions", "smtpd_data_restrictions", "smtpd_end_of_data_restrictions"}

// restrictionNames are the restrictions without those that take an argument.
const restrictionNames = `permit reject defer defer_if_permit defer_if_reject warn_if_reject reject_unauth_pipelining
	reject_plaintext_session permit_inet_interfaces permit_mynetworks permit_sasl_authenticated permit_tls_clientcerts permit_tls_all_clientcerts
	reject_unknown_client_hostname reject_unknown_client reject_unknown_reverse_client_hostname reject_invalid_helo_hostname reject_invalid_hostname
	reject_non_fqdn_helo_hostname reject_non_fqdn_hostname reject_unknown_helo_hostname reject_unknown_hostname reject_non_fqdn_sender
	reject_unknown_sender_domain reject_unknown_address reject_unverified_sender reject_authenticated_sender_login_mismatch
	reject_unauthenticated_sender_login_mismatch reject_sender_login_mismatch reject_known_sender_login_mismatch reject_unlisted_sender
	permit_auth_destination reject_unauth_destination defer_unauth_destination permit_mx_backup reject_non_fqdn_recipient
	reject_unknown_recipient_domain reject_unverified_recipient reject_unlisted_recipient check_recipient_maps reject_multi_recipient_bounce`

// restrictionsWithDomain are followed by a DNS list.
const restrictionsWithDomain = `reject_rbl_client reject_rbl reject_rhsbl_client reject_rhsbl_reverse_client reject_rhsbl_helo
	reject_rhsbl_sender reject_rhsbl_recipient permit_dnswl_client permit_rhswl_client`

// restrictionsWithTable are followed by a table.
const restrictionsWithTable = `check_client_access check_reverse_client_hostname_access check_client_a_access check_client_mx_access
	check_client_ns_access check_reverse_client_hostname_a_access check_reverse_client_hostname_mx_access
	check_reverse_client_hostname_ns_access check_ccert_access check_sasl_access check_helo_access check_helo_a_access check_helo_mx_access
	check_helo_ns_access check_sender_access check_sender_a_access check_sender_mx_access check_sender_ns_access check_recipient_access
	check_recipient_a_access check_recipient_mx_access check_recipient_ns_access check_etrn_access`

// gone says what to write instead of a restriction that no longer exists; ""
// for all others.
func gone(name string) string {
	switch name {
	case "check_relay_domains":
		return "Write reject_unauth_destination instead."
	case "reject_maps_rbl":
		return "Write reject_rbl_client with the name of the list instead."
	case "permit_naked_ip_address":
		return "Write permit_mynetworks or permit_sasl_authenticated instead."
	}
	return ""
}

// wordsOf returns the names in such a text. Nothing of this package may cost a start of
// postconf without --lint anything, so they are cut when they are needed.
func wordsOf(text string) []string { return strings.Fields(text) }

// A restriction is one item of a list.
type restriction struct {
	word  string // as written
	name  string // in lower case; "" for a bare table
	arg   string // table, server or domain
	class bool
	warn  bool // warn_if_reject stands in front
}

// restrictions reads a list as smtpd does.
func (s *scope) restrictions(text string) []restriction {
	words := config.SplitBrace(text)
	classes := s.classes()
	var list []restriction
	warn := false
	for i := 0; i < len(words); i++ {
		r := restriction{word: words[i], name: strings.ToLower(words[i]), warn: warn}
		warn = false
		switch {
		case slices.Contains(classes, r.word):
			r.class = true
		case r.name == "warn_if_reject":
			warn = true
		case strings.HasPrefix(r.word, "{") || strings.Contains(r.word, ":"):
			r.name, r.arg = "", r.word
		case r.name == "check_policy_service" || r.name == "sleep" || slices.Contains(wordsOf(restrictionsWithDomain), r.name) ||
			slices.Contains(wordsOf(restrictionsWithTable), r.name):
			if i+1 < len(words) {
				i++
				r.arg = words[i]
			}
		}
		list = append(list, r)
	}
	return list
}

// classes are the restriction classes that main.cf names.
func (s *scope) classes() []string { return config.SplitList(s.value("smtpd_restriction_classes")) }

// checkRestrictions looks at the lists of every SMTP server.
func (c *checker) checkRestrictions() {
	c.main.checkClasses()
	for _, name := range restrictionLists {
		c.main.checkRestrictionList(name)
	}
	for _, class := range c.main.classes() {
		c.main.checkRestrictionList(class)
	}
	for _, s := range c.running("smtpd") {
		if s.own("smtpd_restriction_classes") {
			s.checkClasses()
		}
		for _, name := range sortedKeys(s.set) {
			if slices.Contains(restrictionLists, name) || slices.Contains(s.classes(), name) {
				s.checkRestrictionList(name)
			}
		}
	}
	c.main.checkServerSettings()
	for _, s := range c.servers() {
		if s.entry != nil {
			s.checkServerSettings()
		}
		s.checkRelay()
		s.checkUseOfLists()
	}
}

func (s *scope) checkClasses() {
	classes := s.classes()
	if len(classes) == 0 {
		return
	}
	var everything strings.Builder
	for _, scope := range s.c.scopes() {
		for name, text := range scope.set {
			if name != "smtpd_restriction_classes" {
				everything.WriteString(text + " ")
			}
		}
	}
	tables := false // a class may be named by an access table only
	for _, list := range restrictionLists {
		tables = tables || strings.Contains(s.value(list), ":")
	}
	for _, class := range classes {
		if s.value(class) == "" {
			s.tell(Serious, "class", "smtpd_restriction_classes", "smtpd_restriction_classes names %s, but there is no setting \"%s = ...\" with restrictions in it. smtpd(8) does not start.",
				class, class)
		}
		if !tables && !slices.Contains(config.SplitList(everything.String()), class) {
			s.tell(Advice, "class", "smtpd_restriction_classes", "no list of restrictions uses the class %s.", class)
		}
	}
}

// checkRestrictionList looks at one list by itself.
func (s *scope) checkRestrictionList(name string) {
	if !s.own(name) {
		return
	}
	list := s.restrictions(s.value(name))
	candidates := slices.Concat(wordsOf(restrictionNames), wordsOf(restrictionsWithTable), wordsOf(restrictionsWithDomain), []string{"check_policy_service", "sleep"}, s.classes())
	for i, r := range list {
		switch {
		case r.class:
		case r.name == "":
			if name == "smtpd_data_restrictions" || name == "smtpd_end_of_data_restrictions" {
				s.tell(Serious, "restriction", name, "%s has a table %s without one of the check_..._access names in front of it, which say what to look up. Clients get an error 451.", name, short(r.arg))
			}
		case gone(r.name) != "":
			s.tell(Serious, "restriction", name, "%s uses %s, which does not exist any more: clients get an error 451 at this point. %s", name, r.word, gone(r.name))
		case r.name == "sleep" && strings.Trim(r.arg, "0123456789") != "":
			s.tell(Serious, "restriction", name, "in %s, sleep needs a number of seconds after it. Clients get an error 451.", name)
		case slices.Contains(wordsOf(restrictionsWithTable), r.name) && !strings.Contains(r.arg, ":"):
			s.tell(Serious, "restriction", name, "in %s, %s needs a table after it, type:name, and \"%s\" is none. Clients get an error 451.", name, r.word, r.arg)
		case r.name == "check_policy_service" && !strings.Contains(r.arg, ":"):
			s.tell(Serious, "restriction", name, "in %s, check_policy_service needs a server after it, such as unix:private/policy or inet:127.0.0.1:10023, and \"%s\" is none. Clients get an error 451.", name, r.arg)
		case slices.Contains(wordsOf(restrictionsWithDomain), r.name) && (r.arg == "" || !strings.Contains(r.arg, ".")):
			s.tell(Advice, "restriction", name, "in %s, %s needs the domain of a DNS list after it, and \"%s\" is none.", name, r.word, r.arg)
		case !slices.Contains(candidates, r.name) && !slices.Contains(candidates, r.word):
			s.tell(Serious, "restriction", name, "%s has \"%s\", which is no restriction: clients get an error 451 at this point. %s", name, short(r.word), meant(r.name, candidates))
		}
		if r.name == "permit_mx_backup" {
			s.tell(Advice, "restriction", name, "%s uses permit_mx_backup, which is on its way out, and lets owners of domains decide who relays through this system. List the domains in relay_domains.", name)
		}
		if ends(r) && i+1 < len(list) {
			s.tell(Advice, "unreachable", name, "in %s nothing after %s is ever looked at: %s. Remove what follows, or move it in front.", name, r.word, rest(list[i+1:]))
			return
		}
	}
}

// ends tells the restrictions after which nothing comes.
func ends(r restriction) bool {
	switch r.name {
	case "permit":
		return !r.class
	case "reject", "defer":
		return !r.warn && !r.class
	}
	return false
}

func rest(list []restriction) string {
	var words []string
	for _, r := range list {
		if r.name != "" {
			words = append(words, r.word)
		}
		if r.arg != "" {
			words = append(words, r.arg)
		}
	}
	return short(strings.Join(words, " "))
}

// An outcome is what a list does with a stranger who wants to send mail to a
// domain that is not ours.
type outcome struct {
	guarded bool     // such mail is refused
	holes   []string // what may let it through before it is
	forged  []string // tables that may let it through, on the word of the client
}

// stranger follows a list.
func (s *scope) stranger(list []restriction, o *outcome, depth int) (done bool) {
	if depth > maxNesting {
		return true
	}
	for _, r := range list {
		if r.class {
			if s.stranger(s.restrictions(s.value(r.word)), o, depth+1) {
				return true
			}
			continue
		}
		switch r.name {
		case "reject_unauth_destination", "defer_unauth_destination", "reject", "defer", "defer_if_permit":
			if !r.warn {
				o.guarded = true
				return true
			}
		case "permit":
			return true
		case "permit_tls_all_clientcerts":
			o.holes = append(o.holes, r.word+" (everybody with a certificate that any trusted authority has signed)")
		case "permit_dnswl_client", "permit_rhswl_client":
			o.holes = append(o.holes, r.word+" (everybody on a list that others keep)")
		case "check_sender_access", "check_helo_access":
			if kind, name, _ := strings.Cut(r.arg, ":"); kind == "static" && permits(name) {
				o.holes = append(o.holes, r.word+" "+r.arg+" (everybody)")
			} else if kind != "static" {
				o.forged = append(o.forged, r.word+" "+r.arg)
			}
		default:
			if kind, name, _ := strings.Cut(r.arg, ":"); kind == "static" && permits(name) {
				o.holes = append(o.holes, strings.TrimSpace(r.word+" "+r.arg)+" (everybody)")
			}
		}
	}
	return false
}

// permits tells whether a result of an access table lets mail pass.
func permits(result string) bool {
	result = strings.ToLower(strings.Trim(result, "{} "))
	return result == "ok" || result == "relay" || result == "permit" || result != "" && strings.Trim(result, "0123456789") == ""
}

// checkRelay looks for an open relay.
func (s *scope) checkRelay() {
	const relay, recipient = "smtpd_relay_restrictions", "smtpd_recipient_restrictions"
	var lists [2]outcome
	for i, name := range []string{relay, recipient} {
		s.stranger(s.restrictions(s.value(name)), &lists[i], 0)
	}
	at := relay
	if !s.explicit(relay) || !s.own(relay) && s.own(recipient) {
		at = recipient
	}
	if !lists[0].guarded && !lists[1].guarded {
		s.tell(Serious, "relay", at, "neither %s nor %s has reject_unauth_destination (or defer_unauth_destination, or reject) before it permits everything. That would be an open relay, so smtpd(8) refuses to start. Without special needs, leave %s at its default.",
			relay, recipient, relay)
		return
	}
	var holes, forged []string
	onlyForged := false
	for _, o := range lists {
		switch {
		case !o.guarded:
			continue
		case len(o.holes) == 0 && len(o.forged) == 0:
			return // this list refuses all strangers
		case len(o.holes) == 0:
			onlyForged = true
		}
		holes, forged = append(holes, o.holes...), append(forged, o.forged...)
	}
	if !onlyForged {
		s.tell(Serious, "relay", at, "strangers may send mail to any destination through this system: %s stands in front of reject_unauth_destination. Put it behind, or into a list that is not about relaying.",
			strings.Join(holes, ", "))
	} else {
		s.tell(Advice, "relay", at, "in front of reject_unauth_destination stands %s. What is looked up there is what clients say about themselves: if the table has a result OK, everybody who guesses the name relays through this system. Use DUNNO for exceptions, or put the check behind reject_unauth_destination.",
			strings.Join(forged, ", "))
	}
}

// checkUseOfLists looks for lists that work only together with other settings.
func (s *scope) checkUseOfLists() {
	has := func(prefix string, in ...string) string {
		for _, name := range in {
			for _, r := range s.restrictions(s.value(name)) {
				if strings.HasPrefix(r.name, prefix) && r.name != "" {
					return r.word
				}
			}
		}
		return ""
	}
	const helo = "smtpd_helo_restrictions"
	if s.value(helo) != "" && s.explicit(helo) && !s.yes("smtpd_helo_required") && has("", helo) != "" {
		s.tell(Advice, "helo", helo, "%s does nothing about clients that send no HELO at all, because smtpd_helo_required is no. Set smtpd_helo_required = yes.", helo)
	}
	if s.value("smtpd_sender_login_maps") != "" {
		found := false
		for _, list := range append(slices.Clone(restrictionLists), s.classes()...) {
			found = found || strings.Contains(s.value(list), "sender_login_mismatch")
		}
		for _, other := range s.c.scopes() {
			for _, text := range other.set {
				found = found || strings.Contains(text, "sender_login_mismatch")
			}
		}
		if !found {
			s.tell(Advice, "login-maps", "smtpd_sender_login_maps", "smtpd_sender_login_maps has no effect, because no list has reject_sender_login_mismatch or one of its kin. Users may send with any address.")
		}
	}
	if !s.yes("smtpd_tls_ask_ccert") && !s.yes("smtpd_tls_req_ccert") {
		for _, name := range restrictionLists {
			if word := has("permit_tls_", name); word != "" {
				s.tell(Advice, "ccert", name, "%s in %s never permits anything, because smtpd_tls_ask_ccert is no: clients are not asked for a certificate.", word, name)
			}
		}
	}
}
