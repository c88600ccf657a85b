package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"suffix/test/e2e/peer"
)

// TestDeferred has a next server that is busy: the message waits, the queue can
// be seen, and it goes when it is told to.
func TestDeferred(t *testing.T) {
	c := shared(t)
	sender, to := "deferred@"+virtualDomain, "busy@"+relayDomain
	c.reply(to, "450 4.2.1 mailbox is busy")
	id := c.send(t, sender, to, plain(sender, to, "for later"))
	q := c.awaitQueued(t, id, "deferred")
	reason := "host 127.0.0.1[127.0.0.1] said: 450 4.2.1 mailbox is busy (in reply to RCPT TO command)"
	if q.Sender != sender || len(q.RecipientList) != 1 || q.RecipientList[0].Address != to || q.RecipientList[0].DelayReason != reason || q.MessageSize < 200 || time.Since(time.Unix(q.ArrivalTime, 0)) > time.Hour {
		t.Errorf("postqueue -j says %+v", q)
	}
	c.awaitLog(t, id+`: to=<busy@relay\.test>, relay=127\.0\.0\.1\[127\.0\.0\.1\]:\d+, delay=[\d.]+, delays=[\d./]+, (tls=\w+\??, )?dsn=4\.2\.1, status=deferred \(`+regexp.QuoteMeta(reason)+`\)`)

	c.checkMailq(t, q, reason)

	// Flushing before the other side is ready changes nothing.
	c.command(t, "", "postqueue", "-i", id)
	deferrals := func() int {
		n := 0
		for _, line := range c.logLines(t, id+": to=<"+to+">") {
			if strings.Contains(line, "status=deferred") {
				n++
			}
		}
		return n
	}
	must(t, poll("second deferral", func() (bool, error) { return deferrals() == 2, nil }))
	c.awaitQueued(t, id, "deferred")
	c.reply(to, "")
	c.command(t, "", "postqueue", "-f")
	m := c.awaitSink(t, c.smtp, to)
	if !strings.HasSuffix(m.Data, "\r\n\r\nfor later\r\n") {
		t.Errorf("the message is %q", m.Data)
	}
	c.awaitLog(t, `qmgr\[\d+\]: `+id+`: removed`)
	c.awaitQueued(t, id, "")
	if _, err := os.Stat(filepath.Join(c.Queue(), "defer", id[:1], id)); !os.IsNotExist(err) {
		t.Errorf("the log of deferrals is still there: %v", err)
	}
}

// checkMailq finds a message in what mailq prints.
func (c *common) checkMailq(t *testing.T, q queued, reason string) {
	t.Helper()
	want := fmt.Sprintf("%-11s %7d %s  %s\n%76s\n%41s%s\n", q.QueueID, q.MessageSize, time.Unix(q.ArrivalTime, 0).Format("Mon Jan _2 15:04:05"),
		q.Sender, "("+reason+")", "", q.RecipientList[0].Address)
	for _, command := range [][]string{{"mailq"}, {"postqueue", "-p"}, {"sendmail", "-bp"}} {
		out := c.command(t, "", command[0], command[1:]...)
		if !strings.HasPrefix(out, "-Queue ID-  --Size-- ----Arrival Time---- -Sender/Recipient-------\n") || !regexp.MustCompile(`\n-- \d+ Kbytes in \d+ Requests?\.\n$`).MatchString(out) {
			t.Errorf("%s prints\n%s", command, out)
		}
		if !strings.Contains(out, want) {
			t.Errorf("%s prints\n%s\nwant there\n%s", command, out, want)
		}
	}
}

// TestFlushOne delivers one of two deferred messages with "postqueue -i", and
// the other by name of its site.
func TestFlushOne(t *testing.T) {
	sink := newSink(t, peer.SinkOptions{})
	s := start(t, plan{main: map[string]string{
		"transport_maps": "inline:{site.test=smtp:" + sink.NextHop() + "}", "relay_domains": "site.test", "queue_run_delay": "1000s",
		"defer_transports": "smtp",
	}})
	var ids []string
	for i := range 3 {
		to := fmt.Sprintf("flush-%d@site.test", i)
		ids = append(ids, s.send(t, "flush@client.test", to, plain("flush@client.test", to, "text")))
		s.awaitQueued(t, ids[i], "deferred")
	}
	text, err := os.ReadFile(filepath.Join(s.Config(), "main.cf"))
	must(t, err)
	must(t, s.configure("main.cf", strings.Replace(string(text), "defer_transports = smtp", "defer_transports =", 1)))
	must(t, s.age())
	must(t, s.Control("reload"))
	s.awaitLog(t, `: reload -- version `)
	s.command(t, "", "postqueue", "-i", ids[1])
	s.awaitSink(t, sink, "flush-1@site.test")
	s.awaitQueued(t, ids[1], "")
	s.awaitQueued(t, ids[0], "deferred")
	s.command(t, "", "postqueue", "-s", "site.test")
	s.awaitSink(t, sink, "flush-0@site.test")
	s.awaitSink(t, sink, "flush-2@site.test")
	s.awaitEmpty(t)
	if n := len(sink.Messages()); n != 3 {
		t.Errorf("%d messages, want 3", n)
	}
	out := s.command(t, "", "mailq")
	if out != "Mail queue is empty\n" {
		t.Errorf("mailq prints %q", out)
	}
	for _, test := range []struct {
		args []string
		want string
	}{
		{[]string{"-s", "other.test"}, "postqueue: fatal: Flush service is not configured for destination \"other.test\"\n"},
		{[]string{"-i", "no/id"}, "postqueue: fatal: Cannot flush queue ID - invalid name: \"no/id\"\n"},
		{[]string{"-p", "-f"}, "postqueue: fatal: usage: postqueue -f | postqueue -i queueid | postqueue -j | postqueue -p | postqueue -s site\n"},
	} {
		if text, code := status(t, s.Command("postqueue", test.args...)); text != test.want || code != 69 {
			t.Errorf("postqueue %s: exit status %d, %q; want 69, %q", test.args, code, text, test.want)
		}
	}
}

// postsuper runs postsuper, and returns what it prints.
func (s *system) postsuper(t *testing.T, args ...string) string {
	t.Helper()
	text, code := status(t, s.Command("postsuper", args...))
	if code != 0 {
		t.Fatalf("postsuper %s: exit status %d\n%s", args, code, text)
	}
	return text
}

// TestPostsuper holds, releases, requeues, expires and deletes messages.
func TestPostsuper(t *testing.T) {
	sink := newSink(t, peer.SinkOptions{Reply: func(verb, argument string) string {
		if verb == "RCPT" && strings.Contains(argument, "busy") {
			return "450 4.2.1 busy"
		}
		return ""
	}})
	s := start(t, plan{main: map[string]string{
		"transport_maps": "inline:{relay.test=smtp:" + sink.NextHop() + "}", "queue_run_delay": "1000s",
	}})
	sender := "sender@" + virtualDomain
	send := func(name string) string {
		t.Helper()
		id := s.send(t, sender, name+"@relay.test", plain(sender, name+"@relay.test", "text of "+name))
		s.awaitQueued(t, id, "deferred")
		return id
	}
	held := send("busy-hold")
	out := s.postsuper(t, "-h", held)
	if want := "postsuper: " + held + ": placed on hold\npostsuper: Placed on hold: 1 message\n"; out != want {
		t.Errorf("postsuper -h prints %q, want %q", out, want)
	}
	s.awaitQueued(t, held, "hold")
	if out := s.command(t, "", "mailq"); !strings.Contains(out, held+"! ") {
		t.Errorf("mailq prints\n%s", out)
	}
	s.command(t, "", "postqueue", "-f")
	s.awaitQueued(t, held, "hold")
	s.postsuper(t, "-H", held)
	s.awaitQueued(t, held, "deferred")

	out = s.postsuper(t, "-r", held)
	if want := "postsuper: " + held + ": requeued\npostsuper: Requeued: 1 message\n"; out != want {
		t.Errorf("postsuper -r prints %q, want %q", out, want)
	}
	s.command(t, "", "postqueue", "-f")
	line := s.awaitLog(t, `pickup\[\d+\]: \w+: uid=\d+ from=<`+sender+`> orig_id=`+held)
	renewed := regexp.MustCompile(`: (\w+): uid=`).FindStringSubmatch(line)[1]
	s.awaitQueued(t, renewed, "deferred")
	s.awaitQueued(t, held, "")

	out = s.postsuper(t, "-d", renewed)
	if want := "postsuper: " + renewed + ": removed\npostsuper: Deleted: 1 message\n"; out != want {
		t.Errorf("postsuper -d prints %q, want %q", out, want)
	}
	s.awaitQueued(t, renewed, "")

	expired := send("busy-expire")
	s.postsuper(t, "-e", expired)
	if q := s.awaitQueued(t, expired, "deferred"); !q.ForcedExpire {
		t.Errorf("postqueue -j says %+v", q)
	}
	s.command(t, "", "postqueue", "-f")
	s.awaitLog(t, expired+`: from=<`+sender+`>, status=force-expired, returned to sender`)
	if m := s.awaitMail(t, sender); !strings.Contains(m, "text of busy-expire") {
		t.Errorf("the notice is\n%s", m)
	}

	for i := range 3 {
		send(fmt.Sprintf("busy-%d", i))
	}
	if out := s.postsuper(t, "-d", "ALL"); out != "postsuper: Deleted: 3 messages\n" {
		t.Errorf("postsuper -d ALL prints %q", out)
	}
	if list, err := s.queue(); err != nil || len(list) > 0 {
		t.Errorf("the queue has %v, %v", list, err)
	}
	if n := len(sink.Messages()); n != 0 {
		t.Errorf("%d messages arrived, want none", n)
	}
}

// TestPickupWhileStopped submits mail while the system does not run.
func TestPickupWhileStopped(t *testing.T) {
	s := prepare(t, plan{})
	must(t, s.Start())
	must(t, s.Stop())
	if pid := s.masterPID(); pid != 0 {
		t.Fatalf("master still runs as %d", pid)
	}
	to := "patient@" + virtualDomain
	s.submit(t, "Subject: early\n\ntext\n", "-f", "early@client.test", to)
	text, code := status(t, s.Command("postfix", "status"))
	if code != 1 || !strings.Contains(text, "the Postfix mail system is not running") {
		t.Errorf("postfix status: exit status %d, %q", code, text)
	}
	text, code = status(t, s.Command("postqueue", "-f"))
	if code != 69 || !strings.Contains(text, "postqueue: fatal: Cannot flush mail queue - mail system is down") {
		t.Errorf("postqueue -f: exit status %d, %q", code, text)
	}
	text, code = status(t, s.Command("postfix", "stop"))
	if code != 1 || !strings.Contains(text, "the Postfix mail system is not running") {
		t.Errorf("postfix stop: exit status %d, %q", code, text)
	}
	must(t, s.Start())
	text, code = status(t, s.Command("postfix", "start"))
	if code != 1 || !strings.Contains(text, "the Postfix mail system is already running") {
		t.Errorf("postfix start: exit status %d, %q", code, text)
	}
	text, code = status(t, s.Command("postfix", "status"))
	if code != 0 || !strings.Contains(text, fmt.Sprintf("the Postfix mail system is running: PID: %d", s.masterPID())) {
		t.Errorf("postfix status: exit status %d, %q", code, text)
	}
	s.awaitMail(t, to)
}
