package smtpclient

import (
	"fmt"
	"strings"

	"suffix/pkg/config"
	"suffix/pkg/maps"
	"suffix/pkg/params"
	"suffix/pkg/table"
)

// tls reads what decides about TLS in a program that has none.
func (l loader) tls() {
	m, c := l.m, l.c
	c.TLSLevel = "none"
	c.Wrapper = l.bool(params.SmtpTlsWrappermode, params.LmtpTlsWrappermode)
	c.LogTLS = !c.Dialect37 && l.bool(params.SmtpLogTlsFeatureStatus, params.LmtpLogTlsFeatureStatus)
	c.NoteStartTLS = l.bool(params.SmtpTlsNoteStarttlsOffer, params.LmtpTlsNoteStarttlsOffer)
	if l.bool(params.SmtpTlsrptEnable, params.LmtpTlsrptEnable) {
		if c.LMTP {
			// Postfix's words: it reports for SMTP only.
			c.Log.Warnf("TLSRPT support is not implemented for LMTP")
		} else {
			c.Log.Warnf("TLSRPT is selected, but TLSRPT is not compiled in")
		}
	}
	c.RequireTLSEnable = m.Bool(params.RequiretlsEnable)
	for _, item := range config.SplitBrace(l.str(params.SmtpRequiretlsPolicy, params.LmtpRequiretlsPolicy)) {
		if !c.RequireTLSEnable {
			break
		}
		if strings.Contains(item, ":") {
			t := maps.Open(item, item, table.Options{Config: m, Flags: table.FoldFix})
			c.Tables = append(c.Tables, t)
			c.RequireTLSPolicy = append(c.RequireTLSPolicy, PolicyItem{Table: t})
			continue
		}
		c.RequireTLSPolicy = append(c.RequireTLSPolicy, PolicyItem{Action: item})
	}
}

// refusals sets the reason for which no mail may be sent: main.cf asks for
// TLS or authentication. Mail that waits is better than mail in the clear.
func (l loader) refusals() error {
	c := l.c
	level, err := l.level()
	if err != nil {
		return err
	}
	refuse := func(status, format string, args ...any) {
		if c.Refusal == "" {
			c.RefusalStatus, c.Refusal = status, fmt.Sprintf(format, args...)
			c.Log.Warnf("%s -- no mail will be sent", c.Refusal)
		}
	}
	switch {
	case level == "none":
	case level == "may":
		c.TLSLevel = "may"
		if l.m.Explicit(c.Prefix + "_tls_security_level") {
			c.Log.Warnf("%s_tls_security_level = may: TLS is not available in this program, mail is sent in plaintext", c.Prefix)
		}
	default:
		refuse("4.7.5", "TLS is required, but our TLS engine is unavailable (%s_tls_security_level = %s)", c.Prefix, level)
	}
	if c.Wrapper {
		refuse("4.7.5", "TLS is required, but our TLS engine is unavailable (%s_tls_wrappermode = yes)", c.Prefix)
	}
	if l.str(params.SmtpTlsPolicyMaps, params.LmtpTlsPolicyMaps) != "" {
		refuse("4.7.5", "TLS policies are not available in this program (%s_tls_policy_maps is set)", c.Prefix)
	}
	if l.str(params.SmtpTlsPerSite, params.LmtpTlsPerSite) != "" {
		refuse("4.7.5", "TLS policies are not available in this program (%s_tls_per_site is set)", c.Prefix)
	}
	if l.bool(params.SmtpSaslAuthEnable, params.LmtpSaslAuthEnable) {
		if l.str(params.SmtpSaslPasswordMaps, params.LmtpSaslPasswordMaps) == "" {
			return fmt.Errorf("specify a password table via the `%s_sasl_password_maps' configuration parameter", c.Prefix)
		}
		refuse("4.7.0", "SASL authentication is not available in this program (%s_sasl_auth_enable = yes)", c.Prefix)
	}
	return nil
}

// level returns the TLS security level of main.cf.
func (l loader) level() (string, error) {
	c := l.c
	text := strings.ToLower(strings.TrimSpace(l.str(params.SmtpTlsSecurityLevel, params.LmtpTlsSecurityLevel)))
	if text == "" {
		switch {
		case l.bool(params.SmtpEnforceTls, params.LmtpEnforceTls):
			return "verify", nil
		case l.bool(params.SmtpUseTls, params.LmtpUseTls):
			return "may", nil
		}
		if !c.LMTP && !c.Dialect37 && l.m.CompatLevelBelow("3.11") && !l.m.Explicit("smtp_tls_security_level") {
			c.Log.Infof("using backwards-compatible default setting smtp_tls_security_level=(empty)")
		}
		return "none", nil
	}
	switch text {
	case "none", "may", "encrypt", "fingerprint", "dane", "dane-only", "verify", "secure":
		return text, nil
	}
	//lint:ignore ST1005 the text that Postfix logs
	return "", fmt.Errorf("Invalid TLS level \"%s\"", text)
}
