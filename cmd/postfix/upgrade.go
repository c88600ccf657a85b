package main

import (
	"fmt"
	"os"
	"regexp"
	"strings"

	"suffix/pkg/safefile"
)

// upgrade is a change to a master.cf of the past (spec master §10.5).
type upgrade struct {
	present string // regular expression of a line that makes it needless
	add     string // line to add, "" for an edit
	edit    func(line string) string
	old     string // regular expression of a line to edit
	action  string
}

func missing(service, present, line string) upgrade {
	return upgrade{present: present, add: line, action: "adding missing entry for " + service + " service"}
}

func fields(line string, change func(f []string)) string {
	f := strings.Fields(line)
	change(f)
	return strings.Join(f, "\t")
}

func limitOne(line string) string { return fields(line, func(f []string) { f[6] = "1" }) }

var upgrades = []upgrade{
	missing("relay", `^relay`, "relay\t  unix\t-\t-\tn\t-\t-\tsmtp"),
	missing("flush", `^flush.*flush`, "flush     unix  n       -       n       1000?   0       flush"),
	missing("trace", `^trace.*bounce`, "trace\t  unix\t-\t-\tn\t-\t0\tbounce"),
	missing("verify", `^verify.*verify`, "verify\t  unix\t-\t-\tn\t-\t1\tverify"),
	{old: `^verify.*[ \t]0[ \t]+verify`, edit: limitOne, action: "setting verify process limit to 1"},
	{old: `^pickup[ \t]+fifo[ \t]+n[ \t]+n`, edit: func(line string) string {
		return fields(line, func(f []string) { f[3] = "-" })
	}, action: "making the pickup service unprivileged"},
	{old: `^cleanup[ \t]+unix[ \t]+[-y]`, edit: public, action: "making the cleanup service public"},
	{old: `^flush[ \t]+unix[ \t]+[-y]`, edit: public, action: "making the flush service public"},
	missing("proxymap", `^proxymap.*proxymap`, "proxymap  unix  -       -       n       -       -       proxymap"),
	missing("anvil", `^anvil.*anvil`, "anvil\t  unix\t-\t-\tn\t-\t1\tanvil"),
	missing("scache", `^scache.*scache`, "scache\t  unix\t-\t-\tn\t-\t1\tscache"),
	missing("discard", `^discard.*discard`, "discard\t  unix\t-\t-\tn\t-\t-\tdiscard"),
	{old: `^tlsmgr[ \t]+fifo[ \t]`, edit: func(line string) string {
		return fields(line, func(f []string) {
			f[1] = "unix"
			if !strings.HasSuffix(f[5], "?") {
				f[5] += "?"
			}
		})
	}, action: "updating the tlsmgr from fifo to unix service"},
	missing("tlsmgr", `^tlsmgr.*tlsmgr`, "tlsmgr    unix  -       -       n       1000?   1       tlsmgr"),
	missing("retry", `^retry.*error`, "retry     unix  -       -       n       -       -       error"),
	missing("proxywrite", `^proxywrite.*proxymap`, "proxywrite unix -       -       n       -       1       proxymap"),
	{old: `^proxywrite[ \t]+unix([ \t]+[^ \t]+){4}[ \t]+-[ \t]`, edit: limitOne, action: "setting proxywrite process limit to 1"},
	{present: `^#?smtp[ \t]+inet.*[ \t]postscreen`, add: "#smtp      inet  n       -       n       -       1       postscreen", action: "adding missing entry for postscreen TCP service"},
	{present: `^#?smtpd[ \t]+pass.*[ \t]smtpd`, add: "#smtpd     pass  -       -       n       -       -       smtpd", action: "adding missing entry for smtpd unix-domain service"},
	{present: `^#?dnsblog[ \t]+unix.*[ \t]dnsblog`, add: "#dnsblog   unix  -       -       n       -       0       dnsblog", action: "adding missing entry for dnsblog unix-domain service"},
	{present: `^#?tlsproxy[ \t]+unix.*[ \t]tlsproxy`, add: "#tlsproxy  unix  -       -       n       -       0       tlsproxy", action: "adding missing entry for tlsproxy unix-domain service"},
	{present: `^postlog`, add: "postlog   unix-dgram n  -       n       -       1       postlogd", action: "adding missing entry for postlog unix-domain datagram service"},
}

func public(line string) string { return fields(line, func(f []string) { f[2] = "n" }) }

// upgradeConfiguration brings a master.cf of the past up to date.
func (s *script) upgradeConfiguration() error {
	path := s.dir + "/master.cf"
	content, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("open %s: %w", path, safefile.Cause(err))
	}
	lines := strings.Split(strings.TrimSuffix(string(content), "\n"), "\n")
	changed := false
	for _, u := range upgrades {
		applied := false
		if u.edit == nil {
			if !anyMatch(lines, u.present) {
				lines, applied = append(lines, u.add), true
			}
		} else {
			old := regexp.MustCompile(u.old)
			for i, line := range lines {
				if old.MatchString(line) && len(strings.Fields(line)) >= 8 {
					lines[i], applied = u.edit(line), true
				}
			}
		}
		if applied {
			fmt.Printf("Editing %s, %s\n", path, u.action)
			changed = true
		}
	}
	if !changed {
		return nil
	}
	return safefile.WriteAtomic(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644)
}

func anyMatch(lines []string, expression string) bool {
	re := regexp.MustCompile(expression)
	for _, line := range lines {
		if re.MatchString(line) {
			return true
		}
	}
	return false
}
