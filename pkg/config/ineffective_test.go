package config

import (
	"slices"
	"strings"
	"testing"
)

// What is set in vain is told once, by the programs that would use it; what
// equals the default, as the second option does here, counts for nothing.
func TestIneffective(t *testing.T) {
	const text = `
smtpd_tls_cert_file = /etc/cert.pem
smtpd_tls_key_file = $smtpd_tls_cert_file
smtpd_tls_ask_ccert = NO
smtpd_tls_received_header = ${bad
milter_connect_timeout = 1m
milter_command_timeout = 31s
smtpd_starttls_timeout = ${stress?{10}:{300}}s
tls_high_cipherlist = x
smtp_tls_CAfile = /x
berkeley_db_create_buffer_size = 1000
berkeley_db_read_buffer_size = 0131072
maillog_file = /var/log/x
postscreen_cache_map = x
smtpd_tls_loglevel = 1
tls_random_bytes = 99
`
	for program, want := range map[string][]string{
		"smtpd": {
			"D/main.cf: milter_command_timeout is set, but Milters are not supported yet",
			"D/main.cf: smtpd_tls_cert_file, smtpd_tls_loglevel, smtpd_tls_received_header, tls_high_cipherlist are set, but TLS is not supported yet",
			"D/master.cf: smtpd_sasl_path is set, but SASL authentication is not supported yet",
		},
		"smtp":     {"D/main.cf: smtp_tls_CAfile, tls_high_cipherlist are set, but TLS is not supported yet"},
		"lmtp":     {"D/main.cf: tls_high_cipherlist is set, but TLS is not supported yet"},
		"master":   {"D/main.cf: berkeley_db_create_buffer_size is set, but tables are written and read without the Berkeley DB library"},
		"tlsmgr":   {"D/main.cf: tls_random_bytes is set, but random data comes from the operating system"},
		"pickup":   nil,
		"proxymap": nil,
	} {
		m, warnings := load(t, text, Override{"smtpd_sasl_path", "x"}, Override{"milter_connect_timeout", "40s"}, Override{"milter_connect_timeout", "30"})
		got := m.Ineffective(program)
		for i := range got {
			got[i] = strings.ReplaceAll(got[i], m.Dir()+"/", "D/")
		}
		slices.Sort(got)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %q; want %q", program, got, want)
		}
		if len(*warnings) > 0 || m.Err() != nil {
			t.Errorf("%s: warnings %q, error %v", program, *warnings, m.Err())
		}
	}
}
