package smtpclient

import (
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"suffix/pkg/deliver"
	"suffix/pkg/dsn"
	"suffix/pkg/outcome"
	"suffix/pkg/record"
)

// expect compares what was recorded; RELAY stands for the server's name.
func expect(t *testing.T, what string, rec *testRecorder, s *scripted, want ...string) {
	t.Helper()
	got := strings.Join(rec.results, "\n")
	expected := strings.Join(want, "\n")
	if s != nil {
		expected = strings.ReplaceAll(expected, "RELAY", s.relay())
	}
	if got != expected {
		t.Errorf("%s:\ngot  %s\nwant %s", what, got, expected)
	}
}

func TestDelivery(t *testing.T) {
	s := serve(t, nil)
	req := request(t, s.nexthop(), testContent, "one@example.com", "two@example.com")
	req.Encoding = "8bit"
	req.EnvelopeID, req.Ret = "env+1", dsn.RetHdrs
	req.Recipients[0].ORCPT = "rfc822;first+tag@example.com"
	req.Recipients[0].Notify = dsn.NotifySuccess | dsn.NotifyFailure
	req.Recipients[1].Original = "orig two@example.com"
	rec, hop := run(t, New(testConfig()), req)
	expect(t, "delivery", rec, s,
		"one@example.com 2.0.0 sent RELAY (250 2.0.0 Ok: queued as ABC)",
		"two@example.com 2.0.0 sent RELAY (250 2.0.0 Ok: queued as ABC)")
	if hop.Status != "" {
		t.Errorf("hop status %v", hop)
	}
	if rec.notify["one@example.com"] != dsn.NotifyFailure || rec.actions["one@example.com"] != "relayed" {
		t.Errorf("notify %v, action %v", rec.notify, rec.actions)
	}
	wantCommands := "EHLO client.example|MAIL FROM:<sender@example.org> SIZE=28 BODY=8BITMIME ENVID=env+2B1 RET=HDRS|" +
		"RCPT TO:<one@example.com> ORCPT=rfc822;first+2Btag@example.com NOTIFY=SUCCESS,FAILURE|" +
		"RCPT TO:<two@example.com> ORCPT=rfc822;\"orig+20two\"@example.com|DATA|QUIT"
	waitFor(t, func() bool { return strings.HasSuffix(s.commands(), "QUIT") })
	if got := s.commands(); got != wantCommands {
		t.Errorf("commands:\ngot  %s\nwant %s", got, wantCommands)
	}
	if got, want := s.content(), "Subject: test\r\n\r\nHello.\r\n..\r\nBye\r\n"; got != want {
		t.Errorf("content %q, want %q", got, want)
	}
}

// waitFor waits for something that another goroutine brings about.
func waitFor(t *testing.T, ready func() bool) {
	t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !ready() {
		if time.Now().After(deadline) {
			t.Fatal("it does not happen")
		}
		time.Sleep(time.Millisecond)
	}
}

// TestStages has a failure at every stage of the dialogue (spec §7).
func TestStages(t *testing.T) {
	const host = "host 127.0.0.1[127.0.0.1]"
	noPipelining := "250-server.example\n250 8BITMIME"
	tests := []struct {
		name   string
		server dialogue
		want   string
		hop    string // status reported to the queue manager
		// commands that must come last, besides QUIT
		last string
	}{
		{"greeting 4xx", dialogue{"CONNECT": "421 4.3.2 busy"}, "4.3.2 deferred RELAY (" + host + " refused to talk to me: 421 4.3.2 busy)", "4.3.2", "QUIT"},
		{"greeting 5xx", dialogue{"CONNECT": "550 5.3.2 no service for you"}, "4.3.2 deferred RELAY (" + host + " refused to talk to me: 550 5.3.2 no service for you)", "4.3.2", "QUIT"},
		{"greeting without code", dialogue{"CONNECT": "554"}, "4.0.0 deferred RELAY (" + host + " refused to talk to me: 554)", "4.0.0", "QUIT"},
		{"greeting lost", dialogue{"CONNECT": "!"}, "4.4.2 deferred RELAY (lost connection with 127.0.0.1[127.0.0.1] while receiving the initial server greeting)", "4.4.2", ""},
		{"EHLO lost", dialogue{"EHLO": "!"}, "4.4.2 deferred RELAY (lost connection with 127.0.0.1[127.0.0.1] while performing the EHLO handshake)", "4.4.2", "EHLO client.example"},
		{"EHLO 421", dialogue{"EHLO": "421 4.7.0 go away"}, "4.7.0 deferred RELAY (" + host + " refused to talk to me: 421 4.7.0 go away)", "4.7.0", "QUIT"},
		{"EHLO 5xx, HELO 4xx", dialogue{"EHLO": "502 what", "HELO": "450 4.7.1 no"}, "4.7.1 deferred RELAY (" + host + " refused to talk to me: 450 4.7.1 no)", "4.7.1", "QUIT"},
		{"EHLO 5xx, HELO 5xx", dialogue{"EHLO": "502 what", "HELO": "550 5.7.1 no"}, "5.7.1 bounced RELAY (" + host + " refused to talk to me: 550 5.7.1 no)", "", "QUIT"},
		{"EHLO 5xx, HELO ok", dialogue{"EHLO": "502 what"}, "2.0.0 sent RELAY (250 2.0.0 Ok: queued as ABC)", "", "QUIT"},
		{"MAIL 4xx", dialogue{"MAIL": "451 4.3.0 later"}, "4.3.0 deferred RELAY (" + host + " said: 451 4.3.0 later (in reply to MAIL FROM command))", "", "QUIT"},
		{"MAIL 5xx, no pipelining", dialogue{"EHLO": noPipelining, "MAIL": "550 5.1.8 no"}, "5.1.8 bounced RELAY (" + host + " said: 550 5.1.8 no (in reply to MAIL FROM command))", "", "RSET|QUIT"},
		{"MAIL 354", dialogue{"MAIL": "354 what"}, "5.5.0 bounced RELAY (" + host + " said: 354 what (in reply to MAIL FROM command))", "", "QUIT"},
		{"MAIL lost", dialogue{"MAIL": "!"}, "4.4.2 deferred RELAY (lost connection with 127.0.0.1[127.0.0.1] while sending MAIL FROM)", "4.4.2", ""},
		{"RCPT 4xx", dialogue{"EHLO": noPipelining, "RCPT": "450 4.2.0 greylisted"}, "4.2.0 deferred RELAY (" + host + " said: 450 4.2.0 greylisted (in reply to RCPT TO command))", "", "RSET|QUIT"},
		{"RCPT 5xx pipelined", dialogue{"RCPT": "550 5.1.1 unknown", "DATA": "554 5.5.1 no valid recipients"}, "5.1.1 bounced RELAY (" + host + " said: 550 5.1.1 unknown (in reply to RCPT TO command))", "", "DATA|RSET|QUIT"},
		{"RCPT 5xx, DATA accepted", dialogue{"RCPT": "550 5.1.1 unknown"}, "5.1.1 bounced RELAY (" + host + " said: 550 5.1.1 unknown (in reply to RCPT TO command))", "", "DATA|QUIT"},
		{"RCPT lost", dialogue{"EHLO": noPipelining, "RCPT": "!"}, "4.4.2 deferred RELAY (lost connection with 127.0.0.1[127.0.0.1] while sending RCPT TO)", "4.4.2", ""},
		{"DATA 4xx", dialogue{"DATA": "452 4.3.1 full"}, "4.3.1 deferred RELAY (" + host + " said: 452 4.3.1 full (in reply to DATA command))", "", "RSET|QUIT"},
		{"DATA 250", dialogue{"DATA": "250 2.0.0 fine"}, "5.5.0 bounced RELAY (Protocol error: " + host + " said: 250 2.0.0 fine (in reply to DATA command))", "", "RSET|QUIT"},
		{"DATA lost", dialogue{"DATA": "!"}, "4.4.2 deferred RELAY (lost connection with 127.0.0.1[127.0.0.1] while sending DATA command)", "4.4.2", ""},
		{"dot 4xx", dialogue{".": "451 4.3.0 disk"}, "4.3.0 deferred RELAY (" + host + " said: 451 4.3.0 disk (in reply to end of DATA command))", "", "QUIT"},
		{"dot 5xx", dialogue{".": "550 5.7.1 spam"}, "5.7.1 bounced RELAY (" + host + " said: 550 5.7.1 spam (in reply to end of DATA command))", "", "QUIT"},
		{"dot multi-line", dialogue{".": "250-2.6.0 first\n250 2.6.0 second"}, "2.6.0 sent RELAY (250-2.6.0 first 250 2.6.0 second)", "", "QUIT"},
		{"dot lost", dialogue{".": "!"}, "4.4.2 deferred RELAY (lost connection with 127.0.0.1[127.0.0.1] while sending end of data -- message may be sent more than once)", "4.4.2", ""},
		{"garbage before the reply", dialogue{".": "hello there\n250 2.0.0 fine"}, "2.0.0 sent RELAY (hello there 250 2.0.0 fine)", "", "QUIT"},
		{"controls", dialogue{".": "250 2.0.0 a\tb\x01"}, "2.0.0 sent RELAY (250 2.0.0 a?b?)", "", "QUIT"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			s := serve(t, test.server)
			rec, hop := run(t, New(testConfig()), request(t, s.nexthop(), testContent))
			expect(t, test.name, rec, s, "rcpt@example.com "+test.want)
			if hop.Status != test.hop {
				t.Errorf("hop status %q, want %q", hop.Status, test.hop)
			}
			waitFor(t, func() bool { return strings.HasSuffix(s.commands(), test.last) })
		})
	}
}

// TestTimeouts lets the server hang at every stage.
func TestTimeouts(t *testing.T) {
	for verb, state := range map[string]string{
		"CONNECT": "receiving the initial server greeting",
		"EHLO":    "performing the EHLO handshake",
		"MAIL":    "sending MAIL FROM",
		"RCPT":    "sending RCPT TO",
		"DATA":    "sending DATA command",
		".":       "sending end of data -- message may be sent more than once",
	} {
		t.Run(verb, func(t *testing.T) {
			s := serve(t, dialogue{verb: "~"})
			c := testConfig()
			const short = 50 * time.Millisecond
			switch verb {
			case "CONNECT", "EHLO":
				c.HeloTimeout = short
			case "MAIL":
				c.MailTimeout = short
			case "RCPT":
				c.RcptTimeout = short
			case "DATA":
				c.DataInitTimeout = short
			case ".":
				c.DataDoneTimeout = short
			}
			rec, hop := run(t, New(c), request(t, s.nexthop(), testContent))
			expect(t, verb, rec, s, "rcpt@example.com 4.4.2 deferred RELAY (conversation with 127.0.0.1[127.0.0.1] timed out while "+state+")")
			if hop.Status != "4.4.2" {
				t.Errorf("hop status %q", hop.Status)
			}
		})
	}
}

// TestEndless has servers that never stop.
func TestEndless(t *testing.T) {
	for name, chunk := range map[string]string{
		"line":  strings.Repeat("x", 1000),
		"lines": strings.Repeat("250-more\r\n", 100),
		"junk":  strings.Repeat("junk\r\n", 100),
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			go func() {
				c, err := l.Accept()
				if err != nil {
					return
				}
				defer c.Close()
				for {
					if _, err := c.Write([]byte(chunk)); err != nil {
						return
					}
				}
			}()
			rec, _ := run(t, New(testConfig()), request(t, "["+strings.Replace(l.Addr().String(), ":", "]:", 1), testContent))
			if len(rec.results) != 1 || !strings.Contains(rec.results[0], "4.4.2 deferred") || !strings.Contains(rec.results[0], "lost connection") {
				t.Errorf("got %v", rec.results)
			}
		})
	}
}

// TestBodyRefused has a server that answers and closes in the middle of the
// content.
func TestBodyRefused(t *testing.T) {
	s := serve(t, dialogue{"body": "552 5.3.4 too big!"})
	content := "Subject: big\n\n" + strings.Repeat(strings.Repeat("x", 70)+"\n", 200000)
	rec, _ := run(t, New(testConfig()), request(t, s.nexthop(), content))
	if len(rec.results) != 1 {
		t.Fatalf("got %v", rec.results)
	}
	// The answer can be lost with the connection, when unread content makes
	// the server's kernel reset it; both outcomes are right, success is not.
	ok := strings.Contains(rec.results[0], "5.3.4 bounced") && strings.Contains(rec.results[0], "said: 552 5.3.4 too big (in reply to end of DATA command)") ||
		strings.Contains(rec.results[0], "4.4.2 deferred") && strings.Contains(rec.results[0], "while sending message body")
	if !ok {
		t.Errorf("got %v", rec.results)
	}
}

func TestManyRecipients(t *testing.T) {
	s := serve(t, dialogue{"RCPT TO:<r500@example.com>": "550 5.1.1 no such user", "EHLO": "250-server.example\n250 PIPELINING"})
	var rcpts []string
	for i := range 1000 {
		rcpts = append(rcpts, fmt.Sprintf("r%d@example.com", i))
	}
	rec, _ := run(t, New(testConfig()), request(t, s.nexthop(), testContent, rcpts...))
	sent, bounced := 0, 0
	for _, r := range rec.results {
		if strings.Contains(r, " sent ") {
			sent++
		} else if strings.HasPrefix(r, "r500@example.com 5.1.1 bounced") {
			bounced++
		}
	}
	if sent != 999 || bounced != 1 || len(rec.results) != 1000 {
		t.Errorf("sent %d, bounced %d, results %d", sent, bounced, len(rec.results))
	}
}

func TestSizeLimit(t *testing.T) {
	s := serve(t, dialogue{"EHLO": "250-server.example\n250 SIZE 10"})
	rec, hop := run(t, New(testConfig()), request(t, s.nexthop(), testContent))
	expect(t, "size", rec, s, "rcpt@example.com 5.3.4 bounced RELAY (message size 28 exceeds size limit 10 of server 127.0.0.1[127.0.0.1])")
	waitFor(t, func() bool { return s.commands() == "EHLO client.example" })
	if hop.Status != "" {
		t.Errorf("hop %v", hop)
	}
}

func TestProbe(t *testing.T) {
	s := serve(t, dialogue{"RCPT TO:<no@example.com>": "550 5.1.1 unknown"})
	req := request(t, s.nexthop(), testContent, "yes@example.com", "no@example.com")
	req.Flags |= outcome.FlagProbe
	rec, _ := run(t, New(testConfig()), req)
	expect(t, "probe", rec, s,
		"no@example.com 5.1.1 bounced RELAY (host 127.0.0.1[127.0.0.1] said: 550 5.1.1 unknown (in reply to RCPT TO command))",
		"yes@example.com 2.0.0 sent RELAY (250 2.0.0 Ok)")
	waitFor(t, func() bool { return strings.HasSuffix(s.commands(), "RSET|QUIT") })
	if strings.Contains(s.commands(), "DATA") {
		t.Errorf("commands %s", s.commands())
	}

	s = serve(t, nil)
	c := testConfig()
	c.VerifyData = true
	req = request(t, s.nexthop(), testContent)
	req.Flags |= outcome.FlagProbe
	rec, _ = run(t, New(c), req)
	expect(t, "data probe", rec, s, "rcpt@example.com 2.0.0 sent RELAY (354 go ahead)")
	waitFor(t, func() bool { return s.content() == "[lost]" })
}

func TestBadEnvelope(t *testing.T) {
	s := serve(t, nil)
	req := request(t, s.nexthop(), testContent, "a\r\nRSET@example.com", "good@example.com")
	rec, _ := run(t, New(testConfig()), req)
	expect(t, "recipient", rec, s, "a\r\nRSET@example.com 5.1.3 bounced RELAY (bad recipient address syntax)",
		"good@example.com 2.0.0 sent RELAY (250 2.0.0 Ok: queued as ABC)")
	req = request(t, s.nexthop(), testContent)
	req.Sender = "a\nb@example.com"
	rec, _ = run(t, New(testConfig()), req)
	expect(t, "sender", rec, s, "rcpt@example.com 5.1.7 bounced RELAY (bad sender address syntax)")
}

func TestNoServer(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	c := testConfig()
	rec, hop := run(t, New(c), request(t, fmt.Sprintf("[127.0.0.1]:%d", port), testContent))
	why := fmt.Sprintf("connect to 127.0.0.1[127.0.0.1]:%d: Connection refused", port)
	expect(t, "refused", rec, nil, "rcpt@example.com 4.4.1 deferred none ("+why+")")
	if hop.Status != "4.4.1" || hop.Reason != why {
		t.Errorf("hop %v", hop)
	}
	if !c.Log.(*testLog).has(why) {
		t.Errorf("not logged: %v", c.Log.(*testLog).lines)
	}
}

// TestNextServer moves recipients from server to server.
func TestNextServer(t *testing.T) {
	first := serve(t, dialogue{"RCPT TO:<later@example.com>": "450 4.2.0 busy"})
	second := serve(t, nil)
	c := testConfig()
	req := request(t, first.nexthop()+", "+second.nexthop(), testContent, "now@example.com", "later@example.com")
	rec, hop := run(t, New(c), req)
	expect(t, "second destination", rec, first,
		"now@example.com 2.0.0 sent RELAY (250 2.0.0 Ok: queued as ABC)",
		"later@example.com 2.0.0 sent "+second.relay()+" (250 2.0.0 Ok: queued as ABC)")
	if hop.Status != "" {
		t.Errorf("hop %v", hop)
	}
	if !c.Log.(*testLog).has("4ABCDEF: host 127.0.0.1[127.0.0.1] said: 450 4.2.0 busy (in reply to RCPT TO command)") {
		t.Errorf("log %v", c.Log.(*testLog).lines)
	}

	// A fallback relay that rejects permanently is a configuration problem
	// only when the lookup failed; a rejection bounces.
	bad := serve(t, dialogue{"CONNECT": "421 4.3.2 busy"})
	reject := serve(t, dialogue{"RCPT": "554 5.7.1 relay denied"})
	c = testConfig()
	c.FallbackRelay = []string{reject.nexthop()}
	rec, _ = run(t, New(c), request(t, bad.nexthop(), testContent))
	expect(t, "fallback", rec, reject, "rcpt@example.com 5.7.1 bounced RELAY (host 127.0.0.1[127.0.0.1] said: 554 5.7.1 relay denied (in reply to RCPT TO command))")
}

func TestSoftBounce(t *testing.T) {
	first := serve(t, dialogue{"RCPT": "550 5.1.1 unknown"})
	second := serve(t, nil)
	c := testConfig()
	c.SoftBounce = true
	rec, _ := run(t, New(c), request(t, first.nexthop()+","+second.nexthop(), testContent))
	expect(t, "soft bounce", rec, second, "rcpt@example.com 2.0.0 sent RELAY (250 2.0.0 Ok: queued as ABC)")
}

func TestLMTP(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "lmtp.sock")
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	s := serveOn(t, l, dialogue{"lmtp": "yes", ".2": "450 4.2.0 later", "LHLO": "250-server.example\n250 PIPELINING"})
	c := testConfig()
	c.LMTP, c.Prefix, c.Flags.Final = true, "lmtp", true
	rec, hop := run(t, New(c), request(t, "unix:"+path, testContent, "u1@l.test", "u2@l.test", "u3@l.test"))
	relay := "client.example[" + path + "]"
	expect(t, "lmtp", rec, nil,
		"u1@l.test 2.0.0 sent "+relay+" (250 2.0.0 Ok: queued as ABC)",
		"u2@l.test 4.2.0 deferred "+relay+" (host "+relay+" said: 450 4.2.0 later (in reply to end of DATA command))",
		"u3@l.test 2.0.0 sent "+relay+" (250 2.0.0 Ok: queued as ABC)")
	if hop.Status != "" || rec.actions["u1@l.test"] != "delivered" {
		t.Errorf("hop %v, actions %v", hop, rec.actions)
	}
	if !strings.HasPrefix(s.commands(), "LHLO client.example|MAIL FROM:<sender@example.org>|RCPT TO:<u1@l.test>|") {
		t.Errorf("commands %s", s.commands())
	}

	// One reply is missing: the recipients without one are tried again.
	path2 := filepath.Join(dir, "short.sock")
	if l, err = net.Listen("unix", path2); err != nil {
		t.Fatal(err)
	}
	serveOn(t, l, dialogue{"lmtp": "yes", ".2": "!"})
	rec, _ = run(t, New(c), request(t, "unix:"+path2, testContent, "u1@l.test", "u2@l.test"))
	if len(rec.results) != 2 || !strings.Contains(rec.results[0], " sent ") || !strings.Contains(rec.results[1], "4.4.2 deferred") {
		t.Errorf("short: %v", rec.results)
	}
}

func TestConnectionCache(t *testing.T) {
	s := serve(t, nil)
	c := testConfig()
	e := New(c)
	defer e.Close()
	for i := range 3 {
		req := request(t, s.nexthop(), testContent)
		req.Flags |= deliver.FlagConnLoad | deliver.FlagConnStore
		rec, _ := run(t, e, req)
		expect(t, "cached", rec, s, "rcpt@example.com 2.0.0 sent RELAY (250 2.0.0 Ok: queued as ABC)")
		if rec.reuse[0] != i {
			t.Errorf("delivery %d: reuse %d", i, rec.reuse[0])
		}
	}
	if s.connections() != 1 || strings.Contains(s.commands(), "QUIT") || strings.Count(s.commands(), "RSET") != 2 {
		t.Errorf("%d connections, commands %s", s.connections(), s.commands())
	}
	if e.cache.size() != 1 {
		t.Errorf("%d connections in the cache", e.cache.size())
	}
	// A destination that is listed needs no flags; brackets and port do not count.
	listed := testConfig()
	listed.CacheDestinations = only("127.0.0.1")
	listed.CacheTimeLimit = time.Hour
	l := New(listed)
	defer l.Close()
	run(t, l, request(t, s.nexthop(), testContent))
	if l.cache.size() != 1 {
		t.Errorf("%d connections to a listed destination", l.cache.size())
	}
	s.forget()
	// A message with other needs does not get the connection.
	req := request(t, s.nexthop(), testContent)
	req.Flags |= deliver.FlagConnLoad | deliver.FlagConnStore
	req.SendOpts = deliver.OptSMTPUTF8 | deliver.OptSenderUTF8
	rec, _ := run(t, e, req)
	expect(t, "SMTPUTF8", rec, s, "rcpt@example.com 5.6.7 bounced RELAY (message requires SMTPUTF8, but no server was found that supports SMTPUTF8. The last attempted server was 127.0.0.1[127.0.0.1])")
	if s.connections() != 2 || e.cache.size() != 1 {
		t.Errorf("%d connections, %d cached", s.connections(), e.cache.size())
	}
	// Without the flags nothing is kept.
	rec, _ = run(t, e, request(t, s.nexthop(), testContent))
	expect(t, "no flags", rec, s, "rcpt@example.com 2.0.0 sent RELAY (250 2.0.0 Ok: queued as ABC)")
	if s.connections() != 3 || e.cache.size() != 1 {
		t.Errorf("%d connections, %d cached", s.connections(), e.cache.size())
	}
}

// TestCacheAndNextDestination: a connection that is saved on the way must not
// be taken for the next destination.
func TestCacheAndNextDestination(t *testing.T) {
	first := serve(t, dialogue{"RCPT": "450 4.2.0 busy"})
	second := serve(t, nil)
	e := New(testConfig())
	defer e.Close()
	req := request(t, first.nexthop()+", "+second.nexthop(), testContent)
	req.Flags |= deliver.FlagConnLoad | deliver.FlagConnStore
	rec, _ := run(t, e, req)
	expect(t, "next", rec, second, "rcpt@example.com 2.0.0 sent RELAY (250 2.0.0 Ok: queued as ABC)")
	if strings.Count(first.commands(), "MAIL") != 1 {
		t.Errorf("commands %s", first.commands())
	}
}

// TestStaleCache has a server that closes idle connections.
func TestStaleCache(t *testing.T) {
	s := serve(t, dialogue{"RSET": "!"})
	e := New(testConfig())
	defer e.Close()
	for range 2 {
		req := request(t, s.nexthop(), testContent)
		req.Flags |= deliver.FlagConnLoad | deliver.FlagConnStore
		rec, _ := run(t, e, req)
		expect(t, "stale", rec, s, "rcpt@example.com 2.0.0 sent RELAY (250 2.0.0 Ok: queued as ABC)")
		if rec.reuse[0] != 0 {
			t.Errorf("reuse %d", rec.reuse[0])
		}
	}
	if s.connections() != 2 {
		t.Errorf("%d connections", s.connections())
	}
}

func TestReuseCountAndExpiry(t *testing.T) {
	s := serve(t, nil)
	c := testConfig()
	c.ReuseCountLimit = 2
	c.CacheTimeLimit = time.Hour
	e := New(c)
	defer e.Close()
	for range 4 {
		req := request(t, s.nexthop(), testContent)
		req.Flags |= deliver.FlagConnLoad | deliver.FlagConnStore
		run(t, e, req)
	}
	if s.connections() != 2 {
		t.Errorf("%d connections for 4 deliveries, 2 each", s.connections())
	}
	c.CacheTimeLimit = time.Millisecond
	c.ReuseCountLimit = 0
	req := request(t, s.nexthop(), testContent)
	req.Flags |= deliver.FlagConnStore
	run(t, e, req)
	waitFor(t, func() bool { return e.cache.size() == 0 })
}

func TestCorruptQueueFile(t *testing.T) {
	s := serve(t, nil)
	var buf []byte
	buf = record.Append(buf, record.Content, "")
	offset := int64(len(buf))
	buf = record.Append(buf, record.Text, "Subject: x")
	buf = record.Append(buf, record.Sender, "who@example.com")
	req := request(t, s.nexthop(), testContent)
	req.File, req.Offset = fileWith(t, buf), offset
	rec, hop := run(t, New(testConfig()), req)
	expect(t, "corrupt", rec, s, "rcpt@example.com 5.3.0 bounced RELAY (unreadable mail queue entry)")
	if !rec.corrupt || hop.Status != "" {
		t.Errorf("corrupt %v, hop %v", rec.corrupt, hop)
	}
	waitFor(t, func() bool { return strings.HasSuffix(s.content(), "[lost]") })
}

func TestConfigurationErrors(t *testing.T) {
	for nexthop, want := range map[string]string{
		"a:b:[::1]:26":     "valid hostname or network address required in server description: a:b:[::1]:26",
		"host:25x":         "garbage after numerical service in server description: host:25x",
		"[127.0.0.1":       `missing "]" in server description: [127.0.0.1`,
		"[127.0.0.1]x":     `garbage after "]" in server description: [127.0.0.1]x`,
		"[ipv6:zz]":        "malformed IPv6 address in server description: [ipv6:zz]",
		":25":              "missing host information in server description: :25",
		"host:":            "missing service information in server description: host:",
		"host..x":          "valid hostname or network address required in server description: host..x",
		"host:99999":       "bad network port: 99999 for destination: host:99999",
		"host:no-such-svc": "unknown service: no-such-svc/tcp",
	} {
		c := testConfig()
		rec, _ := run(t, New(c), request(t, nexthop, testContent))
		expect(t, nexthop, rec, nil, "rcpt@example.com 4.3.5 deferred none (mail system configuration error)")
		if !c.Log.(*testLog).has(want) {
			t.Errorf("%s: log %v, want %s", nexthop, c.Log.(*testLog).lines, want)
		}
	}
	c := testConfig()
	c.Refusal, c.RefusalStatus = "TLS is required, but our TLS engine is unavailable", "4.7.5"
	s := serve(t, nil)
	rec, _ := run(t, New(c), request(t, s.nexthop(), testContent))
	expect(t, "refusal", rec, s, "rcpt@example.com 4.7.5 deferred none (TLS is required, but our TLS engine is unavailable)")
	if s.connections() != 0 {
		t.Errorf("%d connections", s.connections())
	}
}

func TestFlags(t *testing.T) {
	s := serve(t, nil)
	c := testConfig()
	c.Flags = DeliveryFlags{DeliveredTo: true, OriginalTo: true, ReturnPath: true}
	req := request(t, s.nexthop(), testContent)
	req.Recipients[0].Original = "Alias@example.com"
	run(t, New(c), req)
	want := "Return-Path: <sender@example.org>\r\nX-Original-To: Alias@example.com\r\nDelivered-To: rcpt@example.com\r\nSubject: test\r\n"
	if !strings.HasPrefix(s.content(), want) {
		t.Errorf("content %q", s.content())
	}
	rec, _ := run(t, New(c), request(t, s.nexthop(), "Received: x\n y\ndelivered-to:  RCPT@example.com\n\nbody\n"))
	expect(t, "loop", rec, s, "rcpt@example.com 5.4.6 bounced smtp (mail forwarding loop for rcpt@example.com)")
	rec, _ = run(t, New(c), request(t, s.nexthop(), testContent, "a@example.com", "b@example.com"))
	expect(t, "two", rec, s, "a@example.com 4.3.5 deferred smtp (mail system configuration error)", "b@example.com 4.3.5 deferred smtp (mail system configuration error)")
}

func TestXForward(t *testing.T) {
	s := serve(t, dialogue{"EHLO": "250-server.example\n250-PIPELINING\n250 XFORWARD NAME ADDR PORT PROTO HELO IDENT SOURCE"})
	c := testConfig()
	c.SendXForward = true
	req := request(t, s.nexthop(), testContent)
	req.ClientName, req.ClientAddress, req.ClientPort = "localhost", "127.0.0.1", "59840"
	req.ClientProtocol, req.ClientHelo, req.LogIdent, req.RewriteContext = "ESMTP", "local host", "54EE0990976", "local"
	run(t, New(c), req)
	want := "EHLO client.example|XFORWARD NAME=localhost ADDR=127.0.0.1 PORT=59840|XFORWARD PROTO=ESMTP HELO=local+20host IDENT=54EE0990976 SOURCE=LOCAL|MAIL FROM:<sender@example.org>|"
	if !strings.HasPrefix(s.commands(), want) {
		t.Errorf("commands %s", s.commands())
	}
}

func TestConversion(t *testing.T) {
	s := serve(t, dialogue{"EHLO": "250 server.example"})
	req := request(t, s.nexthop(), "MIME-Version: 1.0\nContent-Type: text/plain; charset=utf-8\nContent-Transfer-Encoding: 8bit\nSubject: x\n\ncaf\xc3\xa9 = \n", "rcpt@example.com")
	req.Encoding = "8bit"
	run(t, New(testConfig()), req)
	want := "MIME-Version: 1.0\r\nContent-Type: text/plain; charset=utf-8\r\nSubject: x\r\nContent-Transfer-Encoding: quoted-printable\r\n\r\ncaf=C3=A9 =3D=20\r\n"
	if s.content() != want {
		t.Errorf("got  %q\nwant %q", s.content(), want)
	}
	if strings.Contains(s.commands(), "BODY=") {
		t.Errorf("commands %s", s.commands())
	}
}

func TestLongLines(t *testing.T) {
	s := serve(t, nil)
	c := testConfig()
	run(t, New(c), request(t, s.nexthop(), "Subject: x\n\n"+strings.Repeat("x", 990)+"\\\n"+strings.Repeat("y", 20)+"\n"))
	want := "Subject: x\r\n\r\n" + strings.Repeat("x", 990) + "yyyyyyyy\r\n yyyyyyyyyyyy\r\n"
	if s.content() != want {
		t.Errorf("got %q", s.content())
	}
	if !c.Log.(*testLog).has("4ABCDEF: breaking line > 998 bytes with <CR><LF>SPACE") {
		t.Errorf("log %v", c.Log.(*testLog).lines)
	}
}

func TestOwnHost(t *testing.T) {
	s := serve(t, dialogue{"EHLO": "250 CLIENT.example"})
	c := testConfig()
	// Port 25 cannot be had here: the handshake is told to look.
	conn, err := net.Dial("tcp", s.addr.String())
	if err != nil {
		t.Fatal(err)
	}
	sess := newSession(c, conn, "mx.example", "127.0.0.1", s.addr.Addr(), s.addr.Port())
	defer sess.close()
	sess.bestMX = true
	f := sess.handshake(&handshakeRequest{nexthop: "example.com", loopCheck: true})
	if f == nil || f.dsn.Status != "5.4.6" || f.dsn.Reason != "mail for example.com loops back to myself" {
		t.Errorf("got %+v", f)
	}
}

func TestPIX(t *testing.T) {
	s := serve(t, dialogue{"CONNECT": "220 **************************"})
	c := testConfig()
	req := request(t, s.nexthop(), testContent)
	req.Times.Arrival = time.Now().Add(-time.Hour)
	run(t, New(c), req)
	if !strings.HasPrefix(s.commands(), "HELO client.example|MAIL FROM:<sender@example.org>|RCPT") {
		t.Errorf("commands %s", s.commands())
	}
	if !c.Log.(*testLog).has("4ABCDEF: enabling PIX workarounds: disable_esmtp delay_dotcrlf for " + s.relay()) {
		t.Errorf("log %v", c.Log.(*testLog).lines)
	}
}

func TestRequireTLS(t *testing.T) {
	s := serve(t, nil)
	c := testConfig()
	c.RequireTLSEnable = true
	req := request(t, s.nexthop(), testContent)
	req.SendOpts = deliver.OptRequireTLS
	rec, _ := run(t, New(c), req)
	expect(t, "enforce", rec, s, "rcpt@example.com 5.7.10 bounced none (Sender requested REQUIRETLS, but my configured TLS security level 'none' disables certificate matching. The last attempted server was 127.0.0.1)")
	if s.connections() != 0 {
		t.Errorf("%d connections", s.connections())
	}
	c.RequireTLSPolicy = []PolicyItem{{Action: "opportunistic"}}
	req = request(t, s.nexthop(), testContent)
	req.SendOpts = deliver.OptRequireTLS
	rec, _ = run(t, New(c), req)
	expect(t, "opportunistic", rec, s, "rcpt@example.com 2.0.0 sent RELAY (250 2.0.0 Ok: queued as ABC)")
	if !strings.Contains(s.commands(), "RET=HDRS") {
		t.Errorf("commands %s", s.commands())
	}
}

func TestNotice(t *testing.T) {
	s := serve(t, dialogue{"RCPT": "555 5.5.4 what is this"})
	c := testConfig()
	c.NotifyProtocol = true
	var subject, body string
	c.Notify = func(s string, lines []string) error {
		subject, body = s, strings.Join(lines, "\n")
		return nil
	}
	run(t, New(c), request(t, s.nexthop(), testContent))
	if subject != "Postfix SMTP client: errors from "+s.relay() {
		t.Errorf("subject %q", subject)
	}
	for _, line := range []string{"Unexpected response from " + s.relay() + ".\n\nTranscript of session follows.\n\n In:  220 server.example ESMTP\n Out: EHLO client.example\n", " In:  555 5.5.4 what is this\n", "\n\nFor other details, see the local mail logfile"} {
		if !strings.Contains(body, line) {
			t.Errorf("no %q in\n%s", line, body)
		}
	}
}
