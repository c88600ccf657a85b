//go:build interop

package interop

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// change ends the suite and puts the programs of another choice in its place.
func (s *system) change(c choice) {
	s.t.Helper()
	s.stop()
	s.choice = c
	check(s.t, linkPrograms(s.in.Bin, c))
}

// set changes a parameter in main.cf.
func (s *system) set(name, value string) {
	s.t.Helper()
	path := filepath.Join(s.in.Config(), "main.cf")
	content, err := os.ReadFile(path)
	check(s.t, err)
	var kept []string
	for line := range strings.Lines(string(content)) {
		if !strings.HasPrefix(line, name+" = ") {
			kept = append(kept, line)
		}
	}
	kept = append(kept, name+" = "+value+"\n")
	check(s.t, os.WriteFile(path, []byte(strings.Join(kept, "")), 0o644))
	// A file that changed in the last moment is not to be trusted yet.
	past := time.Now().Add(-time.Minute)
	check(s.t, os.Chtimes(path, past, past))
}

// service puts a service of master.cf in force, or out of it.
func (s *system) service(name string, on bool) {
	s.t.Helper()
	path := filepath.Join(s.in.Config(), "master.cf")
	content, err := os.ReadFile(path)
	check(s.t, err)
	text := "\n" + string(content)
	if on {
		text = strings.Replace(text, "\n#"+name+" ", "\n"+name+" ", 1)
	} else {
		text = strings.Replace(text, "\n"+name+" ", "\n#"+name+" ", 1)
	}
	check(s.t, os.WriteFile(path, []byte(text[1:]), 0o644))
}

// crash kills everything at once.
func (s *system) crash() {
	s.t.Helper()
	group := s.master.Process.Pid
	check(s.t, syscall.Kill(-group, syscall.SIGKILL))
	var exit *exec.ExitError
	if err := s.master.Wait(); err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	s.master = nil
	s.await("the end of all processes", func() bool { return len(s.processes()) == 0 })
}

// A handover is mail that one suite takes and another delivers.
type handover struct {
	name          string
	first, second choice
	before, after map[string]string // settings of the first, and of the second
}

// run puts mail of all kinds into the queue with the first suite, ends it, and
// lets the second deliver everything.
func (h handover) run(t *testing.T) observations {
	t.Helper()
	s := newSystem(t, h.first, h.before)
	r := &run{system: s, seen: make(observations), ids: make(map[string]string)}

	s.start()
	r.session("deferred", user+local+" RET=HDRS ENVID=taken+2Bover", []string{
		"later-one@sink.test NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;first+2Bname@client.test", "later-two@sink.test NOTIFY=NEVER", "fine@sink.test", user + local + " NOTIFY=SUCCESS",
		"reject@sink.test NOTIFY=FAILURE",
	}, message("deferred", "Deferred.\n"))
	r.session("deferred text", user+local+" BODY=8BITMIME", []string{"later-three@sink.test"}, message("deferred text", "Caf\xe9\n.dot\n"+strings.Repeat("long", 1000)+"\n",
		"MIME-Version: 1.0", "Content-Type: text/plain; charset=iso-8859-1", "Content-Transfer-Encoding: 8bit"))
	r.session("deferred utf8", "s\xc3\xa9nder@interop.test SMTPUTF8", []string{"later-\xc3\xa4@sink.test"}, message("deferred utf8 \xc3\xa4", "x\n"))
	r.session("deferred aliases", "watched@interop.test", []string{"later-chain@sink.test", "both@valias.test"}, message("deferred aliases", "x\n"))
	r.send("deferred etrn", user+local, "later-etrn@etrn.test")
	r.submit("deferred submission", user+local, "later-four@sink.test", "later-five@sink.test")
	r.command("Subject: asked\n\nx\n", "sendmail", "-N", "success,delay", "-R", "full", "-V", "from-sendmail", "-f", user+local, "later-six@sink.test")
	r.send("held", "held@interop.test", user+local, "fine@sink.test")
	r.session("held again", "sender@interop.test RET=FULL ENVID=held", []string{"fine@sink.test NOTIFY=SUCCESS"}, message("held again", "x\n", "X-Hold: please"))
	r.settle()

	r.session("stalled", user+local, []string{"stall@sink.test NOTIFY=SUCCESS"}, message("stalled", "x\n"))
	s.await("the stalled session", func() bool { return s.sink.stalled.Load() > 0 })
	s.await("the end of the SMTP session", func() bool { return s.sessions() <= 0 })
	s.crash()

	s.service("qmgr", false)
	s.start()
	r.session("incoming", user+local+" RET=HDRS ENVID=incoming", []string{"fine@sink.test NOTIFY=SUCCESS ORCPT=rfc822;other@client.test", user + local}, message("incoming", "x\n"))
	s.await("the end of the SMTP session", func() bool { return s.sessions() <= 0 })
	s.stop()
	s.service("qmgr", true)

	r.submit("maildrop", user+local, user+local, "fine@sink.test")
	r.command("To: "+user+local+"\nBcc: hidden@sink.test\nSubject: maildrop -t\n\nx\n", "sendmail", "-t", "-N", "never", "-V", "dropped", "-f", user+local)
	for _, queue := range []string{"deferred", "hold", "active", "incoming", "maildrop"} {
		if len(s.queueFiles(queue)) == 0 {
			t.Errorf("there is nothing in the %s queue to be taken over", queue)
		}
	}

	for name, value := range h.after {
		s.set(name, value)
	}
	s.change(h.second)
	for line := range strings.Lines(s.must("postqueue", "-c", s.in.Config(), "-p")) {
		r.add("listing while down", line)
	}
	s.sink.open.Store(true)
	s.start()
	r.settle()
	r.command("", "postqueue", "-s", "etrn.test")
	r.logged(r.ids["deferred etrn"] + ": removed")
	r.command("", "postsuper", "-H", r.ids["held"], "-H", r.ids["held again"])
	r.command("", "postqueue", "-f")
	s.await("an empty queue", func() bool { return len(s.queueFiles("deferred"))+len(s.queueFiles("hold")) == 0 })
	r.settle()
	for _, queue := range []string{"bounce", "defer", "trace", "corrupt"} {
		if ids := s.queueFiles(queue); len(ids) > 0 {
			t.Errorf("left in %s: %v", queue, ids)
		}
	}
	s.stop()
	r.collect()
	return r.seen
}

// TestTakeover: the queue of one suite is delivered by the other, each message
// exactly once, and with what its sender asked for.
func TestTakeover(t *testing.T) {
	long := map[string]string{"enable_long_queue_ids": "yes"}
	want := handover{first: postfixAlone, second: postfixAlone}.run(t)
	wantLong := handover{first: postfixAlone, second: postfixAlone, before: long}.run(t)
	for _, h := range []handover{
		{name: "to ours", first: postfixAlone, second: suffixAlone},
		{name: "to ours in its own dialect", first: postfixAlone, second: suffixAlone, after: map[string]string{"suffix_dialect": "3.11"}},
		{name: "to ours with long names", first: postfixAlone, second: suffixAlone, before: long},
		{name: "back", first: suffixAlone, second: postfixAlone},
		{name: "back from its own dialect", first: suffixAlone, second: postfixAlone, before: map[string]string{"suffix_dialect": "3.11"}},
		{name: "back with long names", first: suffixAlone, second: postfixAlone, before: long},
	} {
		t.Run(h.name, func(t *testing.T) {
			t.Parallel()
			want, more := want, []difference(nil)
			if h.before["enable_long_queue_ids"] != "" {
				want = wantLong
			}
			if h.before["suffix_dialect"]+h.after["suffix_dialect"] != "" {
				more = ownDifferences
			}
			compare(t, want, h.run(t), more...)
		})
	}
}
