package e2e

import (
	"fmt"
	"strings"
	"testing"
)

// TestCanonicalAndVirtual rewrites addresses in envelope and header.
func TestCanonicalAndVirtual(t *testing.T) {
	c := shared(t)
	old, renewed := "old-name@"+virtualDomain, "new-name@"+virtualDomain
	c.send(t, old, old, "From: Old <"+old+">\r\nTo: "+old+",\r\n\tother@client.test\r\nSubject: "+old+"\r\n\r\nfrom "+old+"\r\n")
	m := c.awaitMail(t, renewed)
	for _, want := range []string{"Return-Path: <" + renewed + ">\n", "\nX-Original-To: " + old + "\n", "\nFrom: Old <" + renewed + ">\n", "\nTo: " + renewed + ", other@client.test\n", "\nSubject: " + old + "\n", "\n\nfrom " + old + "\n"} {
		if !strings.Contains(m, want) {
			t.Errorf("no %q in\n%s", want, m)
		}
	}

	list := "one-to-two@" + localDomain
	c.send(t, old, list, plain(old, list, "for two"))
	for _, to := range []string{"first@" + virtualDomain, "second@" + virtualDomain} {
		m := c.awaitMail(t, to)
		if !strings.Contains(m, "X-Original-To: "+list+"\n") || !strings.Contains(m, "\nTo: "+list+"\n") {
			t.Errorf("the message for %s is\n%s", to, m)
		}
	}
}

// TestAutomaticCopies sends copies that nobody asked for.
func TestAutomaticCopies(t *testing.T) {
	c := shared(t)
	c.send(t, "bcc@client.test", "watched@"+virtualDomain, plain("bcc@client.test", "watched@"+virtualDomain, "watched text"))
	c.awaitMail(t, "watched@"+virtualDomain)
	if m := c.awaitMail(t, "watcher@"+virtualDomain); !strings.Contains(m, "\nTo: watched@"+virtualDomain+"\n") || !strings.Contains(m, "watched text") {
		t.Errorf("the copy is\n%s", m)
	}
}

// TestAlwaysBCC has a copy of all mail, however it comes in, but not of the
// system's own notices; and a header that a check changes.
func TestAlwaysBCC(t *testing.T) {
	s := start(t, plan{
		main: map[string]string{
			"always_bcc":    "archive@" + virtualDomain,
			"header_checks": "regexp:$config_directory/header_checks",
			"body_checks":   "regexp:$config_directory/body_checks",
		},
		files: map[string]string{
			"header_checks": "/^Subject: forbidden/ REJECT no such subjects\n/^X-Secret:/ IGNORE\n/^X-Old: (.*)/ REPLACE X-New: $1\n/^X-Hold:/ HOLD please look\n",
			"body_checks":   "/^poison$/ DISCARD gone\n",
		},
	})
	from, to := "sender@"+virtualDomain, "rcpt@"+virtualDomain
	s.send(t, from, to, strings.Replace(plain(from, to, "over SMTP"), "Subject", "X-Secret: 1\r\nX-Old: value\r\nSubject", 1))
	s.submit(t, "From: "+from+"\nX-Secret: 2\n\nthrough sendmail\n", "-f", from, to)
	for _, address := range []string{to, "archive@" + virtualDomain} {
		all := strings.Join(s.awaitMails(t, address, 2), "")
		if !strings.Contains(all, "over SMTP") || !strings.Contains(all, "through sendmail") || strings.Contains(all, "X-Secret") || !strings.Contains(all, "\nX-New: value\n") {
			t.Errorf("the messages for %s are\n%s", address, all)
		}
	}

	// A rejected message has its text in the reply; from sendmail it bounces,
	// and the notice has no copy.
	client := s.dial(t)
	must(t, client.Begin("<"+from+">", "<"+to+">"))
	forbidden := strings.Replace(plain(from, to, "bad"), "Subject: test", "Subject: forbidden", 1)
	r, err := client.Data(forbidden)
	must(t, err)
	if want := "550 5.7.1 no such subjects"; r.String() != want {
		t.Errorf("reply %q, want %q", r, want)
	}
	s.awaitLog(t, `cleanup\[\d+\]: \w+: reject: header Subject: forbidden from localhost\[127\.0\.0\.1\]; from=<sender@mail\.suffix\.test> to=<rcpt@mail\.suffix\.test> proto=ESMTP helo=<client\.test>: 5\.7\.1 no such subjects`)
	s.submit(t, strings.ReplaceAll(forbidden, "\r\n", "\n"), "-f", from, to)
	if m := s.awaitMail(t, from); !strings.Contains(m, "no such subjects") {
		t.Errorf("the notice is\n%s", m)
	}

	// The same session goes on.
	must(t, client.Envelope("<"+from+">", "<"+to+">"))
	r, err = client.Data(plain(from, to, "poison"))
	must(t, err)
	if r.Code != "250" {
		t.Errorf("reply %s to what is discarded", r)
	}
	s.awaitLog(t, `discard: body poison from localhost\[127\.0\.0\.1\]; .*: gone`)
	id := s.send(t, from, to, strings.Replace(plain(from, to, "held"), "Subject", "X-Hold: 1\r\nSubject", 1))
	s.awaitQueued(t, id, "hold")
	for address, n := range map[string]int{to: 2, "archive@" + virtualDomain: 2} {
		if list, err := s.mailFor(address); err != nil || len(list) != n {
			t.Errorf("%d messages for %s, want %d (%v)", len(list), address, n, err)
		}
	}
	s.awaitLog(t, fmt.Sprintf(`cleanup\[\d+\]: %s: hold: header X-Hold: 1 from .*: please look`, id))
}
