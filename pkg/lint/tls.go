package lint

import (
	"slices"
	"strings"
	"time"

	"suffix/pkg/config"
)

// checkTLS looks whether TLS can work.
func (c *checker) checkTLS() {
	for _, s := range c.servers() {
		s.checkServerTLS()
	}
	for _, s := range append([]*scope{c.main}, c.clientScopes()...) {
		s.checkClientTLS("smtp")
		s.checkClientTLS("lmtp")
	}
	c.checkRelayPort()
}

// clientScopes are the services of smtp(8) and lmtp(8) with settings of their own.
func (c *checker) clientScopes() (list []*scope) {
	for _, s := range append(c.running("smtp"), c.running("lmtp")...) {
		if len(s.set) > 0 {
			list = append(list, s.scope)
		}
	}
	return list
}

// certificateParams end the names of the parameters that hold certificates and keys.
var certificateParams = [...]struct{ cert, key string }{
	{"cert_file", "key_file"}, {"eccert_file", "eckey_file"}, {"dcert_file", "dkey_file"},
}

func (s *scope) checkServerTLS() {
	level := s.value("smtpd_tls_security_level")
	wrapper := s.yes("smtpd_tls_wrappermode")
	must := wrapper || level == "encrypt" || s.yes("smtpd_enforce_tls")
	at := "smtpd_tls_security_level"
	if wrapper && !s.own(at) {
		at = "smtpd_tls_wrappermode"
	}
	if s.entry != nil && s.entry.Type == "inet" {
		port := s.entry.Port
		switch {
		case (port == "465" || port == "smtps" || port == "submissions") && !wrapper:
			s.tellHere(Serious, "wrappermode", "clients expect TLS from the first byte on port %s, and this service does not speak it: they wait until they give up. Add -o smtpd_tls_wrappermode=yes.", port)
		case (port == "25" || port == "smtp" || port == "587" || port == "submission") && wrapper:
			s.tellHere(Serious, "wrappermode", "clients do not expect TLS from the first byte on port %s: with smtpd_tls_wrappermode = yes nobody can talk to this service.", port)
		}
	}
	if level == "fingerprint" || level == "verify" || level == "secure" {
		s.tell(Advice, "tls-level", at, "smtpd_tls_security_level = %s does not exist for servers and counts as encrypt. To ask clients for certificates use smtpd_tls_req_ccert.", level)
		must = true
	}
	if !must && level != "may" && !s.yes("smtpd_use_tls") {
		return
	}
	if level == "encrypt" && s.entry != nil && (s.entry.Port == "25" || s.entry.Port == "smtp") && s.entry.Type == "inet" && !s.loopback() {
		s.tell(Advice, "tls-level", at, "this system takes no mail without TLS on port %s: some senders cannot do that, and their mail is lost to you. RFC 2487 forbids it for public servers. Use may.", s.entry.Port)
	}
	any := s.value("smtpd_tls_chain_files") != ""
	if any {
		s.checkChain("smtpd_tls_chain_files", must)
	} else {
		for _, p := range certificateParams {
			any = s.checkPair("smtpd_tls_"+p.cert, "smtpd_tls_"+p.key, must) || any
		}
	}
	any = any || s.value("tls_server_sni_maps") != ""
	switch {
	case any:
	case must:
		s.tell(Serious, "tls-certificate", at, "clients must use TLS, but no certificate is set, so that nobody can: set smtpd_tls_chain_files, or smtpd_tls_cert_file and smtpd_tls_key_file.")
	default:
		s.tell(Advice, "tls-certificate", at, "TLS is offered to clients, but no certificate is set: each STARTTLS is answered with an error, and some clients send their mail later or not at all. Set smtpd_tls_chain_files, or smtpd_tls_cert_file and smtpd_tls_key_file, or smtpd_tls_security_level = none.")
	}
	for _, name := range []string{"smtpd_tls_CAfile", "smtpd_tls_CApath"} {
		s.checkAuthorities(name)
	}
	if s.yes("smtpd_tls_req_ccert") && !must {
		s.tell(Advice, "tls-level", "smtpd_tls_req_ccert", "smtpd_tls_req_ccert has no effect, because clients need not use TLS. Set smtpd_tls_security_level = encrypt.")
	}
}

func (s *scope) checkClientTLS(prefix string) {
	level := s.value(prefix + "_tls_security_level")
	must := !slices.Contains([]string{"", "none", "may", "dane"}, level)
	if s.own(prefix + "_tls_chain_files") {
		s.checkChain(prefix+"_tls_chain_files", must)
	}
	for _, p := range certificateParams {
		if s.own(prefix+"_tls_"+p.cert, prefix+"_tls_"+p.key) {
			s.checkPair(prefix+"_tls_"+p.cert, prefix+"_tls_"+p.key, must)
		}
	}
	for _, end := range []string{"_tls_CAfile", "_tls_CApath", "_tls_trust_anchor_file"} {
		if s.own(prefix + end) {
			s.checkAuthorities(prefix + end)
		}
	}
	at := prefix + "_tls_security_level"
	if !s.own(at) {
		return
	}
	switch level {
	case "verify", "secure":
		if s.value(prefix+"_tls_CAfile") == "" && s.value(prefix+"_tls_CApath") == "" && s.value(prefix+"_tls_trust_anchor_file") == "" {
			s.tell(Serious, "tls-level", at, "%s is %s, but no certificate authority is trusted: no server passes the check, and no mail is sent. Set %s_tls_CAfile, for example to /etc/ssl/certs/ca-certificates.crt.", at, level, prefix)
		}
	case "fingerprint":
		if s.value(prefix+"_tls_fingerprint_cert_match") == "" && s.value(prefix+"_tls_policy_maps") == "" {
			s.tell(Serious, "tls-level", at, "%s is fingerprint, but %s_tls_fingerprint_cert_match is empty: no server passes the check, and no mail is sent.", at, prefix)
		}
	case "dane", "dane-only":
		if s.value(prefix+"_dns_support_level") != "dnssec" {
			if level == "dane" {
				s.tell(Advice, "tls-level", at, "%s is dane, but %s_dns_support_level is not dnssec: it counts as may, and each delivery warns about it.", at, prefix)
			} else {
				s.tell(Serious, "tls-level", at, "%s is dane-only, but %s_dns_support_level is not dnssec: no mail is sent.", at, prefix)
			}
		}
	}
	if s.entry == nil && prefix == "smtp" && slices.Contains([]string{"encrypt", "verify", "secure", "fingerprint", "dane-only"}, level) && s.value("relayhost") == "" {
		s.tell(Advice, "tls-level", at, "%s is %s for all destinations: mail to servers that cannot meet it stays in the queue until it is returned. Use may or dane here, and smtp_tls_policy_maps for single destinations.", at, level)
	}
}

// checkRelayPort looks for the two kinds of ports that mail programs use.
func (c *checker) checkRelayPort() {
	s := c.main
	relay := s.value("relayhost")
	_, port, _ := strings.Cut(relay[strings.LastIndexByte(relay, ']')+1:], ":")
	switch port {
	case "465", "smtps", "submissions":
		if !c.anyService(func(o *scope) bool { return o.yes("smtp_tls_wrappermode") }) {
			s.tell(Serious, "wrappermode", "relayhost", "relayhost uses port %s, where TLS is spoken from the first byte, but smtp_tls_wrappermode is no: both sides wait for each other. Set smtp_tls_wrappermode = yes and smtp_tls_security_level = encrypt, or use port 587.", port)
		}
	case "25", "smtp", "587", "submission":
		if s.yes("smtp_tls_wrappermode") {
			s.tell(Serious, "wrappermode", "smtp_tls_wrappermode", "relayhost uses port %s, where TLS begins with STARTTLS, but smtp_tls_wrappermode is yes: no session succeeds. Set it to no.", port)
		}
	}
	if level := s.value("smtp_tls_security_level"); s.own("smtp_tls_wrappermode") && s.yes("smtp_tls_wrappermode") && (level == "" || level == "none" || level == "may") {
		s.tell(Serious, "wrappermode", "smtp_tls_wrappermode", "smtp_tls_wrappermode is yes, which needs smtp_tls_security_level to be encrypt or better.")
	}
}

// checkAuthorities looks at the file or directory of trusted authorities.
func (s *scope) checkAuthorities(name string) {
	path := s.value(name)
	if path == "" {
		return
	}
	if strings.HasSuffix(name, "anchor_file") {
		for _, path := range config.SplitList(path) {
			s.checkReadable(name, path, false)
		}
		return
	}
	st, ok := s.c.stat(path)
	isPath := strings.HasSuffix(name, "CApath")
	switch {
	case !ok:
		s.tell(Serious, "tls-file", name, "%s is %s, which does not exist.", name, path)
	case st == nil:
	case isPath && !st.IsDir():
		s.tell(Serious, "tls-file", name, "%s is %s, which is no directory.", name, path)
	case !isPath && st.IsDir():
		s.tell(Serious, "tls-file", name, "%s is %s, which is a directory. That belongs into the parameter that ends in CApath.", name, path)
	case !isPath:
		s.checkReadable(name, path, false)
	}
}

// checkReadable returns the PEM blocks of a file; nil after a finding, or when
// the caller has no right to read it.
func (s *scope) checkReadable(name, path string, key bool) []block {
	st, ok := s.c.stat(path)
	if !ok {
		s.tell(Serious, "tls-file", name, "%s names %s, which does not exist: TLS is turned off.", name, path)
		return nil
	}
	if st == nil {
		return nil
	}
	if !st.Mode().IsRegular() {
		s.tell(Serious, "tls-file", name, "%s names %s, which is no regular file: TLS is turned off.", name, path)
		return nil
	}
	text, ok := s.c.readFile(path)
	if !ok {
		return nil
	}
	blocks, encrypted := blocksOf(text)
	switch {
	case encrypted:
		s.tell(Serious, "tls-file", name, "the key in %s is protected by a password, which no program knows: TLS is turned off. Store it without one, readable by root only.", path)
		return nil
	case len(blocks) == 0:
		s.tell(Serious, "tls-file", name, "%s names %s, which has no certificate or key in PEM form (-----BEGIN ...-----): TLS is turned off.", name, path)
		return nil
	}
	if hasKey(blocks) && st.Mode()&0o004 != 0 {
		s.tell(Serious, "secret", name, "every user of this machine can read the private key in %s, and pretend to be this server. Run: chmod o-r %s, and get a new key.", path, path)
	}
	if key && !hasKey(blocks) {
		s.tell(Serious, "tls-file", name, "there is no private key in %s, which %s names: TLS is turned off.", path, name)
		return nil
	}
	return blocks
}

// checkPair looks at a certificate and its key; set tells whether there is one.
func (s *scope) checkPair(certParam, keyParam string, must bool) (set bool) {
	cert, key := s.value(certParam), s.value(keyParam)
	if cert == "" {
		if key != "" && s.explicit(keyParam) {
			s.tell(Serious, "tls-file", keyParam, "%s is set, but %s, which goes with it, is not.", keyParam, certParam)
		}
		return false
	}
	if cert == "none" {
		return true
	}
	certs := s.checkReadable(certParam, cert, key == cert || key == "")
	keys := certs
	if key != cert && key != "" {
		keys = s.checkReadable(keyParam, key, true)
	}
	if certs == nil {
		return true
	}
	leaf := firstCertificate(certs)
	if leaf == nil {
		s.tell(Serious, "tls-file", certParam, "there is no certificate in %s, which %s names: TLS is turned off.", cert, certParam)
		return true
	}
	s.checkDates(certParam, cert, leaf, must)
	if keys != nil && differ(leaf, firstKey(keys)) {
		s.tell(Serious, "tls-file", keyParam, "the private key in %s does not belong to the certificate in %s: TLS is turned off. The certificate of the server itself must come first in its file.", key, cert)
	}
	return true
}

// checkChain looks at files of keys and certificates, which count as one: each
// key, its certificate, and those of the authorities.
func (s *scope) checkChain(name string, must bool) {
	var blocks []block
	var paths []string // of blocks
	for _, path := range s.list(name) {
		found := s.checkReadable(name, path, false)
		if found == nil {
			return // a part is missing, or may not be read
		}
		for _, b := range found {
			blocks, paths = append(blocks, b), append(paths, path)
		}
	}
	for i, b := range blocks {
		switch {
		case i == 0 && b.isCertificate():
			s.tell(Serious, "tls-file", name, "%s begins with a certificate: in %s each private key must come before its certificate. TLS is turned off.", paths[0], name)
			return
		case !b.isKey():
			continue
		case i+1 == len(blocks) || !blocks[i+1].isCertificate():
			s.tell(Serious, "tls-file", name, "no certificate follows the private key in %s, which %s names: TLS is turned off.", paths[i], name)
			return
		}
		leaf := parseCertificate(blocks[i+1].der)
		if leaf == nil {
			continue
		}
		s.checkDates(name, paths[i+1], leaf, must)
		if differ(leaf, &blocks[i]) {
			s.tell(Serious, "tls-file", name, "the certificate after the private key in %s is not the one that belongs to it: TLS is turned off. The order is: key, its certificate, then those of the authorities.", paths[i])
		}
	}
}

// expiresSoon is how long before its end a certificate is spoken of.
const expiresSoon = 14 * day * time.Second

func (s *scope) checkDates(name, path string, leaf *certificate, must bool) {
	now := time.Now()
	sev := Advice
	if must {
		sev = Serious
	}
	switch {
	case leaf.notAfter.IsZero():
	case now.After(leaf.notAfter):
		s.tell(sev, "tls-expired", name, "the certificate in %s ended on %s: whoever checks it ends the session. Renew it, and run \"postfix reload\".", path, leaf.notAfter.Format(time.DateOnly))
	case now.Before(leaf.notBefore):
		s.tell(sev, "tls-expired", name, "the certificate in %s begins on %s only: until then, whoever checks it ends the session.", path, leaf.notBefore.Format(time.DateOnly))
	case leaf.notAfter.Sub(now) < expiresSoon:
		s.tell(Advice, "tls-expired", name, "the certificate in %s ends on %s. Renew it, and run \"postfix reload\".", path, leaf.notAfter.Format(time.DateOnly))
	}
}
