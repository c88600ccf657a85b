package main

import (
	"sort"
	"strings"

	"suffix/pkg/params"
)

// complain warns about settings that nothing uses, and about those that have
// been or will be removed. It comes after the output.
func (p *postconf) complain(ofMaster bool) error {
	if err := p.out.Flush(); err != nil {
		return err
	}
	deprecated := false
	if !ofMaster {
		deprecated = p.complainScope(p.dir+"/main.cf", p.main.settings, p.names.user)
	}
	seen := make(map[*serviceParams]bool)
	for _, s := range p.services {
		if !seen[s.params] {
			seen[s.params] = true
			deprecated = p.complainScope(p.dir+"/master.cf", s.params.settings, s.params.user) || deprecated
		}
	}
	if deprecated {
		p.warn("See https://www.postfix.org/DEPRECATION_README.html for details")
	}
	return nil
}

func (p *postconf) complainScope(file string, settings map[string]string, user map[string]bool) (deprecated bool) {
	var list []string
	for name := range settings {
		if deprecation(name) != "" || !p.inUse(name, user) {
			list = append(list, name)
		}
	}
	sort.Strings(list)
	for _, name := range list {
		instead := deprecation(name)
		switch {
		case instead == "":
			p.warn(file + ": unused parameter: " + name + "=" + settings[name])
		case p.inUse(name, user):
			p.warn(file + ": support for parameter \"" + name + "\" will be removed; instead, " + instead)
		default:
			p.warn(file + ": support for parameter " + name + " has been removed; instead, " + instead)
		}
		deprecated = deprecated || instead != ""
	}
	return deprecated
}

// inUse tells whether a name means anything: to a program, or to another
// setting, in main.cf or in the service whose user-defined names are given.
func (p *postconf) inUse(name string, user map[string]bool) bool {
	_, ofService := p.names.service[name]
	return ofService || user[name] || p.names.user[name] || params.Lookup(name) != nil
}

// deprecation says what to do instead of setting a parameter; "" for one that
// is in good standing.
func deprecation(name string) string {
	specify := func(other string) string { return "specify \"" + other + "\"" }
	switch name {
	case "disable_dns_lookups":
		return specify("smtp_dns_support_level")
	case "lmtp_use_tls", "lmtp_tls_enforce_peername":
		return specify("lmtp_tls_security_level")
	case "lmtp_enforce_tls":
		return "lmtp_tls_security_level"
	case "smtp_use_tls", "smtp_enforce_tls", "smtp_tls_enforce_peername":
		return specify("smtp_tls_security_level")
	case "smtpd_use_tls", "smtpd_enforce_tls":
		return specify("smtpd_tls_security_level")
	case "postscreen_use_tls", "postscreen_enforce_tls":
		return specify("postscreen_tls_security_level")
	case "tlsproxy_use_tls", "tlsproxy_enforce_tls":
		return specify("tlsproxy_tls_security_level")
	case "tlsproxy_client_use_tls", "tlsproxy_client_enforce_tls", "tlsproxy_client_level":
		return specify("tlsproxy_client_security_level")
	case "lmtp_tls_per_site":
		return specify("lmtp_tls_policy_maps")
	case "smtp_tls_per_site":
		return specify("smtp_tls_policy_maps")
	case "tlsproxy_client_per_site", "tlsproxy_client_policy":
		return specify("tlsproxy_client_policy_maps")
	case "smtpd_tls_dh1024_param_file", "smtpd_tls_eecdh_grade":
		return "do not specify (leave at default)"
	case "deleted-test-only", "lmtp_cname_overrides_servername", "smtp_cname_overrides_servername", "tlsproxy_client_loglevel_parameter":
		return "do not specify"
	case "authorized_verp_clients":
		return specify("smtpd_authorized_verp_clients")
	case "fallback_relay":
		return specify("smtp_fallback_relay")
	case "lmtp_per_record_deadline", "smtp_per_record_deadline", "smtpd_per_record_deadline":
		return specify(strings.Replace(name, "record", "request", 1))
	case "postscreen_blacklist_action":
		return specify("postscreen_denylist_action")
	case "postscreen_dnsbl_ttl":
		return specify("postscreen_dnsbl_max_ttl")
	case "postscreen_dnsbl_whitelist_threshold":
		return specify("postscreen_dnsbl_allowlist_threshold")
	case "postscreen_whitelist_interfaces":
		return specify("postscreen_allowlist_interfaces")
	case "smtpd_client_connection_limit_exceptions":
		return specify("smtpd_client_event_limit_exceptions")
	case "virtual_maps":
		return specify("virtual_alias_maps")
	}
	return ""
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}
