//go:build interop

package interop

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// unset is the value of settings that the system shall not have.
const unset = "(unset)"

// oldDefaults has mail that a system with the defaults of long ago treats in
// another way than one of today, and returns what it logs about that.
func oldDefaults(t *testing.T, c choice, settings map[string]string) observations {
	t.Helper()
	all := map[string]string{
		"compatibility_level": "0",
		"append_dot_mydomain": unset,
		"mynetworks":          unset,
		"relay_domains":       unset,
		// Who may relay to where, and who may not, is for this test alone.
		"smtpd_recipient_restrictions": "permit_mynetworks, check_recipient_access inline:{{never@other.test=REJECT}}, " +
			"check_client_access inline:{{192.0.2.7=permit}}, reject_unauth_destination",
		"smtpd_etrn_restrictions": "",
		"local_recipient_maps":    "",
		"canonical_maps":          "",
		"default_transport":       "retry:4.4.5 later",
		"relay_transport":         "retry:4.4.5 later",
	}
	for name, value := range settings {
		all[name] = value
	}
	s := newSystem(t, c, all)
	path := filepath.Join(s.in.Config(), "main.cf")
	text, err := os.ReadFile(path)
	check(t, err)
	var kept []string
	for line := range strings.Lines(string(text)) {
		if !strings.HasSuffix(line, "= "+unset+"\n") {
			kept = append(kept, line)
		}
	}
	check(t, os.WriteFile(path, []byte(strings.Join(kept, "")), 0o644))
	past := time.Now().Add(-time.Minute)
	check(t, os.Chtimes(path, past, past))
	r := &run{system: s, seen: make(observations), ids: make(map[string]string)}
	s.start()
	for _, client := range []string{"127.0.0.1", "127.0.0.9", "192.0.2.1", "192.0.2.7"} {
		for _, recipient := range []string{"a@" + hostname, "b@sub." + hostname, "c@other.test", "never@other.test", "d@short", "e@localhost", "\xc3\xa9@" + hostname} {
			d := dial(t, s.in.Port)
			d.do("XCLIENT ADDR=%s NAME=client.example", client)
			d.do("EHLO client.example")
			sender := "sender@interop.test"
			if strings.HasPrefix(recipient, "\xc3") {
				sender = "s\xc3\xa4nder@bare"
			}
			d.do("MAIL FROM:<%s>", sender)
			if strings.HasPrefix(d.do("RCPT TO:<%s>", recipient), "250") {
				d.do("DATA")
				d.content(message("old defaults", "x\n"))
			}
			for _, site := range []string{hostname, "sub." + hostname, "other.test"} {
				if recipient == "c@other.test" {
					d.do("ETRN %s", site)
				}
			}
			d.quit()
			r.add("session "+client+" "+recipient, d.transcript())
		}
	}
	r.settle()
	r.collect()
	r.stop()
	for key, list := range r.seen {
		if !strings.HasPrefix(key, "log ") {
			continue
		}
		// How often an address is rewritten depends on what is kept in memory.
		r.seen[key] = nil
		for _, text := range list {
			if strings.Contains(text, "backwards-compatible") && (key != "log postfix/trivial-rewrite" || !slices.Contains(r.seen[key], text)) {
				r.seen[key] = append(r.seen[key], text)
			}
		}
	}
	return r.seen
}

// TestOldDefaults: with a low compatibility_level the same decisions, and the
// same remarks about defaults that decided.
func TestOldDefaults(t *testing.T) {
	for name, settings := range map[string]map[string]string{
		"0": {"mydestination": "$myhostname"},
		"1": {"compatibility_level": "1", "fast_flush_domains": "$relay_domains",
			"smtpd_relay_restrictions": "permit_mynetworks, check_client_access inline:{{192.0.2.7=permit}}, reject_unauth_destination"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := oldDefaults(t, postfixAlone, settings)
			remarks := 0
			for key, list := range want {
				if strings.HasPrefix(key, "log ") {
					remarks += len(list)
				}
			}
			if remarks == 0 {
				t.Fatal("Postfix remarks nothing")
			}
			compare(t, want, oldDefaults(t, suffixAlone, settings))
		})
	}
}
