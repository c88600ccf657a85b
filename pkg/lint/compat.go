package lint

import (
	"strings"

	"suffix/pkg/macro"
)

// newest is the last level at which a default changed.
const newest = "3.11"

// compatDefaults are the defaults that depend on compatibility_level.
var compatDefaults = []struct{ level, name, effect string }{
	{"1", "append_dot_mydomain", "append_dot_mydomain is yes, so that user@foo becomes user@foo.$mydomain"},
	{"1", "smtputf8_enable", "smtputf8_enable is no, so that addresses with other than ASCII letters are not checked"},
	{"1", "smtpd_relay_restrictions", "smtpd_relay_restrictions is empty, so that only smtpd_recipient_restrictions keeps this system from being an open relay"},
	{"2", "mynetworks_style", "mynetworks_style is subnet, so that every machine in this one's networks may send mail anywhere"},
	{"2", "relay_domains", "relay_domains is $mydestination, so that mail for all names below those domains is taken from anybody"},
	{"3.6", "smtpd_relay_before_recipient_restrictions", "smtpd_recipient_restrictions is looked at before smtpd_relay_restrictions"},
	{"3.6", "smtpd_tls_fingerprint_digest", "fingerprints of certificates are made with md5, which can be forged"},
	{"3.6", "respectful_logging", "the log of postscreen(8) uses old words"},
	{"3.11", "smtp_tls_security_level", "smtp(8) does not use TLS where a server offers it"},
}

// checkCompat tells what a low compatibility_level means here.
func (c *checker) checkCompat() {
	s := c.main
	text := s.value("compatibility_level")
	have, ok := macro.ParseLevel(text)
	if !ok {
		return
	}
	var effects []string
	for _, d := range compatDefaults {
		limit, _ := macro.ParseLevel(d.level)
		if have.Compare(limit) >= 0 || s.explicit(d.name) {
			continue
		}
		switch d.name {
		case "mynetworks_style":
			if s.explicit("mynetworks") {
				continue
			}
		case "smtpd_tls_fingerprint_digest":
			if !c.mentions("ccert") && s.value("relay_clientcerts") == "" {
				continue
			}
		case "respectful_logging":
			if len(c.running("postscreen")) == 0 {
				continue
			}
		case "smtpd_relay_before_recipient_restrictions":
			if s.value("smtpd_recipient_restrictions") == "" {
				continue
			}
		}
		effects = append(effects, d.effect)
	}
	if len(effects) == 0 {
		return
	}
	set := "is " + text
	if !s.explicit("compatibility_level") {
		set = "is not set"
	}
	s.tell(Advice, "compatibility", "compatibility_level", "compatibility_level %s, so that old defaults are in force: %s. When you have set those that you want to keep, run: postconf compatibility_level=%s.",
		set, strings.Join(effects, "; "), newest)
}
