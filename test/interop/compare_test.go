//go:build interop

package interop

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// observations are masked texts by what they were seen of; their order does not
// count.
type observations map[string][]string

// logLine is a line of the log: time, host, tag[pid], text.
var logLine = regexp.MustCompile(`^\w{3} [ \d]\d \d\d:\d\d:\d\d \S+ ([^\[\s]+)\[\d+\]: (.*)\n$`)

func splitLog(line string) (tag, text string, ok bool) {
	m := logLine.FindStringSubmatch(line)
	if m == nil {
		return "", "", false
	}
	return m[1], m[2], true
}

// masks hide what differs between any two runs.
var masks = []struct {
	pattern *regexp.Regexp
	text    string
}{
	{regexp.MustCompile(`\b(deferred|defer|hold)/[0-9A-F]/`), "$1/X/"},
	{regexp.MustCompile(`\b\d{14}\.\w{8,20}@`), "TIME.ID@"},
	{regexp.MustCompile(`\b\w{8,20}([.]\d{10}/)`), "ID.EPOCH/"},
	{regexp.MustCompile(`\b0123456789ABC\b`), "NO-SUCH-ID"},
	{regexp.MustCompile(`\b[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{10}z[0-9B-DF-HJ-NP-TV-Zb-df-hj-np-tv-z]{4,8}\b`), "ID"},
	{regexp.MustCompile(`\b[0-9A-F]{9,16}([*!]? )`), "ID$1"},
	{regexp.MustCompile(`\b[0-9A-F]{9,16}\b`), "ID"},
	{regexp.MustCompile(`\b(\w{3}, )?[ \d]?\d \w{3} 20\d\d \d\d:\d\d:\d\d [+-]\d{4}( \(\w+\))?`), "DATE"},
	{regexp.MustCompile(`\b\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d( 20\d\d)?`), "DATE"},
	{regexp.MustCompile(`\bdelays?=[\d./]+`), "delay=T"},
	{regexp.MustCompile(`\b(pid|PID)(=|:? )\d+`), "$1=PID"},
	{regexp.MustCompile(`\bSIZE=\d+`), "SIZE=N"},
	{regexp.MustCompile(`, size=\d+`), ", size=N"},
	{regexp.MustCompile(`^ID([*! ]) +\d+ `), "ID$1 N "},
	{regexp.MustCompile(`-- \d+ Kbytes`), "-- N Kbytes"},
	{regexp.MustCompile(`"(arrival_time|message_size)": \d+`), `"$1": N`},
	{regexp.MustCompile(`\b(message_size:|create_time=|arrival_time:|message_arrival_time:|log_client_port=|client_port=|rewrite_context_time=).*`), "$1 N"},
	{regexp.MustCompile(`\b3\.(7\.11|11\.\d+)\b`), "VERSION"},
}

// portNumber is what may be a port of a system: see freePort.
var portNumber = regexp.MustCompile(`\b[23]\d{4}\b`)

func (s *system) mask(text string) string {
	text = strings.ReplaceAll(text, s.dir, "DIR")
	text = portNumber.ReplaceAllStringFunc(text, func(number string) string {
		for name, port := range s.ports {
			if number == strconv.Itoa(port) {
				return name
			}
		}
		return number
	})
	for _, m := range masks {
		text = m.pattern.ReplaceAllString(text, m.text)
	}
	return text
}

// A difference is known: what matches the pattern, in observations whose name
// matches where, is replaced in both runs before they are compared.
type difference struct {
	where, pattern *regexp.Regexp
	text           string
	reason         string
}

// differences between Postfix 3.7 and what this suite does, also where it is
// told to speak as 3.7.
var differences = []difference{
	{regexp.MustCompile(`^(command postconf|postfix )`), regexp.MustCompile(`(?m)^(.*unused parameter: suffix_dialect=3\.\d+|suffix_dialect = 3\.\d+)\n`), "", "the parameter is ours"},
	{regexp.MustCompile(`^(command postlog|postfix )`), regexp.MustCompile(`(?m)^postlog: .*\n`), "", "Postfix before 3.8 writes to standard error only where that is a terminal"},
	{regexp.MustCompile(`^listing postqueue -j`), regexp.MustCompile(`"orig_address": "[^"]*", `), "", "Postfix before 3.11 has no original addresses in the listing"},
	{regexp.MustCompile(`^mailbox`), regexp.MustCompile(`(?s)(\nThis is the mail system at host [^\n]*\n).*?\n( +The mail system\n)`), "$1$2", "the words of the built-in notices are our own"},
	{regexp.MustCompile(`^postcat -oq`), regexp.MustCompile(`(?m)^ +\d+ `), "N ", "offsets depend on the lengths of times and ports"},
	{regexp.MustCompile(`^command postkick`), regexp.MustCompile(`exit code -1`), "exit code 0", "Postfix's postkick dies of SIGPIPE where the server ends the connection before the end of the request"},
	{regexp.MustCompile(`^log postfix/verify$`), regexp.MustCompile(`^(cache \S+ full cleanup: .*|error: unsupported dictionary type: pebble|warning: address_verify_map: unsupported dictionary type: pebble.*)$`), "", "there are no caches on disk yet"},
	{regexp.MustCompile(`^(log postfix$|postfix )`), regexp.MustCompile(`(?m)^(postfix: )?(Postfix is using backwards-compatible|See https?://www.postfix.org/COMPAT|To disable backwards compat).*\n?`), "", "the level of the tests, 3.6, is what 3.7 has itself"},
	{regexp.MustCompile(`^log postfix/postfix-script`), regexp.MustCompile(`, logrotate, tls, non-bdb\)`), ", logrotate)", "commands since 3.8 and 3.11"},
	{regexp.MustCompile(`^(log postfix/postfix-script|postfix )`), regexp.MustCompile(`(?m)^(postfix/postfix-script: )?warning: symlink leaves directory: .*\n?`), "", "the programs of these tests are links"},
	{regexp.MustCompile(`^log postfix/master$`), regexp.MustCompile(`^terminating on signal 15$`), "", "whether this is logged depends on who ends first, master or the logger"},
	{regexp.MustCompile(`^log postfix/tlsmgr$`), regexp.MustCompile(`^.*(TLS cache|session cache cleanup|session id=).*$`), "", "ours does not log every access to a cache at log level 2"},
}

// ownDifferences are further ones, where our suite is not told to speak as 3.7.
var ownDifferences = []difference{
	{regexp.MustCompile(`^log postfix/(smtp|lmtp)$`), regexp.MustCompile(`, tls=none\??`), "", "logged since 3.11"},
	{regexp.MustCompile(`^log postfix/cleanup$`), regexp.MustCompile(`^ID: removed \((canceled|discarded)\)$`), "", "logged since 3.10"},
	{regexp.MustCompile(`^postcat`), regexp.MustCompile(`(?m)^(N | 65 )?named_attribute: message_id=.*\n`), "", "kept in the queue file since 3.10"},
	{regexp.MustCompile(`sendmail`), regexp.MustCompile(`bad -N option value(: 'sometimes')? -- ignored`), "bad -N", "newer words"},
	{regexp.MustCompile(`^(log postfix/smtp$|mailbox)`), regexp.MustCompile(`message requires\s+SMTPUTF8, but no server was found that supports\s+SMTPUTF8. The last attempted server was|SMTPUTF8 is required, but was not offered by\s+host`), "no SMTPUTF8:", "newer words"},
}

// settle applies known differences. The order of what a notice says about
// recipients of different transports is not fixed.
func (o observations) settle(known []difference) observations {
	settled := make(observations)
	for key, list := range o {
		for _, text := range list {
			for _, d := range known {
				if d.where.MatchString(key) {
					text = d.pattern.ReplaceAllString(text, d.text)
				}
			}
			if strings.Contains(text, "multipart/report") {
				paragraphs := strings.Split(text, "\n\n")
				slices.Sort(paragraphs)
				text = strings.Join(paragraphs, "\n\n")
			}
			if text != "" {
				settled[key] = append(settled[key], text)
			}
		}
	}
	return settled
}

// compare reports what got has and want has not, and the reverse, but for known
// differences and some more.
func compare(t *testing.T, want, got observations, more ...difference) {
	t.Helper()
	known := slices.Concat(differences, more)
	want, got = want.settle(known), got.settle(known)
	keys := maps.Clone(want)
	maps.Copy(keys, got)
	for _, key := range slices.Sorted(maps.Keys(keys)) {
		missing, extra := subtract(want[key], got[key]), subtract(got[key], want[key])
		if len(missing)+len(extra) == 0 {
			continue
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%s differs from Postfix:\n", key)
		missing, extra = pairs(&b, missing, extra)
		for _, text := range missing {
			fmt.Fprintf(&b, "- %s\n", strings.ReplaceAll(text, "\n", "\n- "))
		}
		for _, text := range extra {
			fmt.Fprintf(&b, "+ %s\n", strings.ReplaceAll(text, "\n", "\n+ "))
		}
		t.Error(b.String())
	}
}

// subtract returns the elements of a that are not in b, as many as there are
// more of them.
func subtract(a, b []string) []string {
	count := make(map[string]int)
	for _, text := range b {
		count[text]++
	}
	var rest []string
	for _, text := range a {
		if count[text]--; count[text] < 0 {
			rest = append(rest, text)
		}
	}
	return rest
}

// pairs shows texts of several lines that are alike line by line, and returns
// the rest.
func pairs(b *strings.Builder, missing, extra []string) (m, e []string) {
	e = extra
	for _, text := range missing {
		lines := strings.Split(text, "\n")
		best := slices.MaxFunc(append(e, ""), func(x, y string) int { return similar(lines, x) - similar(lines, y) })
		if similar(lines, best) < 2 {
			m = append(m, text)
			continue
		}
		e = slices.DeleteFunc(slices.Clone(e), func(x string) bool { return x == best })
		fmt.Fprintf(b, "lines of the text that begins with %.100q:\n", text)
		others := strings.Split(best, "\n")
		gone, new := subtract(lines, others), subtract(others, lines)
		if len(gone)+len(new) == 0 {
			fmt.Fprintf(b, "(only their order)\n")
			gone, new = lines, others
		}
		for _, l := range gone {
			fmt.Fprintf(b, "  - %q\n", l)
		}
		for _, l := range new {
			fmt.Fprintf(b, "  + %q\n", l)
		}
	}
	return m, e
}

// similar counts the lines that a text shares with others.
func similar(lines []string, text string) int {
	other := strings.Split(text, "\n")
	if len(lines) < 2 || len(other) < 2 {
		return 0
	}
	return len(lines) - len(subtract(lines, other))
}
