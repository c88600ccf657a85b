package lint

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"suffix/pkg/params"
)

// lintTexts looks at a configuration of two texts.
func lintTexts(t *testing.T, main, master string) {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{"main.cf": main, "master.cf": master} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	report, err := Run(Options{Dir: dir})
	if err != nil {
		return
	}
	var b strings.Builder
	if err := report.Write(&b); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(b.String()) {
		if strings.ContainsAny(line[:len(line)-1], "\x00\r\x1b\n") {
			t.Fatalf("line %q", line)
		}
	}
}

// pieces are what random values are made of.
var pieces = []string{"hash:", "/etc/aliases", "regexp:{{/x/ y}}", "pipemap:{", "unionmap:{static:x,", "}", "{", "$", "${", "$mydestination", "${x?{a}:{b}}",
	"127.0.0.0/8", "[::1]/128", "0.0.0.0/0", "[", "]", ":", "::/0", "!", "#", ",", " ", "=", "-o", "permit", "reject", "check_sender_access", "warn_if_reject",
	"static:all", "smtp:", "yes", "no", "1d", "-1", "999999999999999999999", "a.example", "@", "*", "\x00", "\xff", "ldap:x", "proxy:", "mine", "unix", "inet", "n", "y"}

func TestRandomConfigurations(t *testing.T) {
	const seed1, seed2 = 7, 11 // any will do
	r := rand.New(rand.NewPCG(seed1, seed2))
	text := func(n int) string {
		var b strings.Builder
		for range r.IntN(n) {
			b.WriteString(pieces[r.IntN(len(pieces))])
			if r.IntN(3) == 0 {
				b.WriteByte(' ')
			}
		}
		return b.String()
	}
	var names []string
	for _, p := range params.All() {
		if p.Name != "inet_interfaces" && p.Name != "proxy_interfaces" { // they ask the resolver
			names = append(names, p.Name)
		}
	}
	names = append(names, "mine", "smtp_time_limit", "x_destination_rate_delay", "x_password")
	for range 150 {
		var main, master strings.Builder
		for range r.IntN(60) {
			fmt.Fprintf(&main, "%s = %s\n", names[r.IntN(len(names))], text(8))
		}
		for range r.IntN(10) {
			fmt.Fprintf(&master, "%s %s - - - %s %s %s %s\n", []string{"smtp", "25", "127.0.0.1:99", "[::1]:x", "mine"}[r.IntN(5)],
				[]string{"inet", "unix", "pass"}[r.IntN(3)], []string{"-", "5?", "x"}[r.IntN(3)], []string{"-", "0", "1"}[r.IntN(3)],
				[]string{"smtpd", "qmgr", "pipe", "nothing"}[r.IntN(4)], text(8))
		}
		lintTexts(t, main.String(), master.String())
	}
}

// A main.cf of thousands of lines, many of them unknown, is no trouble.
func TestLargeConfiguration(t *testing.T) {
	var main strings.Builder
	for i := range 5000 {
		fmt.Fprintf(&main, "my_own_setting_%d = $my_own_setting_%d\n", i, i+1)
		if i%10 == 0 {
			fmt.Fprintf(&main, "smtpd_recipient_restriction_%d = yes\n", i)
		}
	}
	lintTexts(t, main.String(), "smtp inet n - n - - smtpd\n")
}

func FuzzRun(f *testing.F) {
	f.Add("mynetworks = 0.0.0.0/0\nsmtpd_relay_restrictions = permit\n", "smtp inet n - n - - smtpd -o x=y\n")
	f.Add("transport_maps = {hash:/x, search_order = a}\nx = ${{a}=={b}?{c}:{d}}\n", "mine unix - n n - - pipe argv=x {a b}\n")
	f.Fuzz(func(t *testing.T, main, master string) {
		if strings.Contains(main, "interfaces") {
			return // they ask the resolver
		}
		lintTexts(t, main, master)
	})
}
