package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	"suffix/pkg/table/clienttest"
)

// TestTablesOfServers has tables that other programs answer for: the SMTP
// server asks for permission, proxymap and cleanup for addresses.
func TestTablesOfServers(t *testing.T) {
	socketmap := clienttest.Serve(t, "tcp", func(c net.Conn, _ int) {
		in := bufio.NewReader(c)
		for {
			var n int
			if _, err := fmt.Fscanf(in, "%d:", &n); err != nil || n > 1000 {
				return
			}
			request := make([]byte, n+1)
			if _, err := io.ReadFull(in, request); err != nil {
				return
			}
			reply, ok := map[string]string{
				"access bad@" + virtualDomain:   "OK REJECT nobody of that name",
				"access later@" + virtualDomain: "TEMP come back",
				"access never@" + virtualDomain: "PERM out of order",
				"alias list@" + virtualDomain:   "OK member@" + virtualDomain,
			}[string(request[:n])]
			if !ok {
				reply = "NOTFOUND "
			}
			fmt.Fprintf(c, "%d:%s,", len(reply), reply)
			if strings.Contains(string(request), "member") {
				return // the next one has to connect again
			}
		}
	})
	lines := func(answer func(words []string) string) func(c net.Conn, _ int) {
		return func(c net.Conn, _ int) {
			for in := bufio.NewScanner(c); in.Scan(); {
				if _, err := io.WriteString(c, answer(append(strings.Fields(in.Text()), "", ""))); err != nil {
					return
				}
			}
		}
	}
	tcp := clienttest.Serve(t, "tcp", lines(func(words []string) string {
		if words[1] == "spammer@client.test" {
			return "200 REJECT%20no%20bulk%20here\n"
		}
		return "500 not found\n"
	}))
	cache := clienttest.Serve(t, "tcp", lines(func(words []string) string {
		if words[1] == "p:bad.test" {
			return "VALUE p:bad.test 0 23\r\nREJECT change your name\r\nEND\r\n"
		}
		return "END\r\n"
	}))
	s := start(t, plan{
		main: map[string]string{
			"smtpd_recipient_restrictions": "check_recipient_access socketmap:inet:" + socketmap.Addr + ":access, check_sender_access tcp:" + tcp.Addr +
				", check_helo_access memcache:DIR/etc/cache.cf, permit_mynetworks, reject",
			"virtual_alias_maps": "proxy:socketmap:inet:" + socketmap.Addr + ":alias",
		},
		files: map[string]string{"cache.cf": "memcache = inet:" + cache.Addr + "\nkey_format = p:%s\n"},
	})

	client := s.dial(t)
	ask := func(helo, from, to, want string) {
		t.Helper()
		for _, command := range []string{"HELO " + helo, "MAIL FROM:<" + from + ">"} {
			_, err := client.Expect(command, "250")
			must(t, err)
		}
		r, err := client.Do("RCPT TO:<" + to + ">")
		must(t, err)
		if !strings.HasPrefix(r.String(), want) {
			t.Errorf("%s, %s, %s: reply %q, want %q", helo, from, to, r, want)
		}
	}
	const from = "someone@client.test"
	good := "good@" + virtualDomain
	ask("client.test", from, good, "250 2.1.5 Ok")
	ask("client.test", from, "bad@"+virtualDomain, "554 5.7.1 <bad@"+virtualDomain+">: Recipient address rejected: nobody of that name")
	ask("client.test", from, "later@"+virtualDomain, "451 4.3.5 <later@"+virtualDomain+">: Recipient address rejected: Server configuration error")
	ask("client.test", from, "never@"+virtualDomain, "451 4.3.5 ")
	ask("client.test", from, "member@"+virtualDomain, "250 2.1.5 Ok")
	ask("client.test", from, good, "250 2.1.5 Ok")
	ask("client.test", "spammer@client.test", good, "554 5.7.1 <spammer@client.test>: Sender address rejected: no bulk here")
	ask("bad.test", from, good, "554 5.7.1 <bad.test>: Helo command rejected: change your name")
	must(t, client.Quit())

	s.awaitLog(t, `warning: socketmap:inet:`+socketmap.Addr+`:access socketmap server temporary error: come back`)
	s.awaitLog(t, `warning: socketmap:inet:`+socketmap.Addr+`:access lookup error for "never@`+virtualDomain+`"`)

	s.send(t, from, "list@"+virtualDomain, plain(from, "list@"+virtualDomain, "by another name"))
	if m := s.awaitMail(t, "member@"+virtualDomain); !strings.Contains(m, "\nX-Original-To: list@"+virtualDomain+"\n") {
		t.Errorf("the message is\n%s", m)
	}
}
