package qmgr

import (
	"bytes"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"suffix/pkg/deliver"
	"suffix/pkg/dsn"
	"suffix/pkg/queue"
	"suffix/pkg/record"
	"suffix/pkg/safefile"
)

func TestDelivery(t *testing.T) {
	w := newWorld(t, "smtp_destination_recipient_limit = 2", "in_flow_delay = 1", "default_process_limit = 7")
	w.agent("smtp", sent)
	w.agent("box", sent)
	var before []byte
	for _, a := range []string{"log_client_name=c.test", "log_client_address=192.0.2.1", "log_helo_name=hi", "log_protocol_name=ESMTP",
		"log_client_port=99", "sasl_method=plain", "sasl_username=me", "log_ident=IDENT", "rewrite_context=remote", "envelope_id=env", "ret_flags=2"} {
		before = record.Append(before, record.Attr, a)
	}
	w.put("incoming", "A1", file{sender: "s@x.test", before: before, rcpts: []string{"a@smtp.one", "b@box.two", "c@smtp.one", "d@smtp.one"},
		rcptAttrs: func(i int) []byte {
			b := record.Append(nil, record.Attr, "notify_flags=6")
			b = record.Append(b, record.Attr, "dsn_orig_rcpt=rfc822;orig")
			return record.Append(b, record.OrigRecipient, "orig@x")
		}, extracted: record.Append(nil, record.Attr, "encoding=8bit")})
	w.start()
	w.waitLog("A1: removed")
	if !w.logged("A1: from=<s@x.test>, size=14, nrcpt=4 (queue active)") {
		t.Error(w.log.Lines())
	}
	if w.exists("active", "A1") || w.exists("deferred", "A1") || w.exists("incoming", "A1") {
		t.Error("file left")
	}
	var got []string
	for _, r := range w.allRequests() {
		var rcpts []string
		for _, rcpt := range r.Recipients {
			rcpts = append(rcpts, rcpt.Address)
			if rcpt.Original != "orig@x" || rcpt.ORCPT != "rfc822;orig" || rcpt.Notify != 6 || rcpt.Offset <= 0 {
				t.Errorf("%+v", rcpt)
			}
		}
		got = append(got, r.NextHop+": "+strings.Join(rcpts, " "))
		if r.QueueID != "A1" || r.QueueName != "active" || r.Sender != "s@x.test" || r.Encoding != "8bit" || r.Flags&^0x1800 != 3 ||
			r.ClientName != "c.test" || r.ClientAddress != "192.0.2.1" || r.ClientHelo != "hi" || r.ClientProtocol != "ESMTP" ||
			r.ClientPort != "99" || r.SASLMethod != "plain" || r.SASLUsername != "me" || r.LogIdent != "IDENT" ||
			r.RewriteContext != "remote" || r.EnvelopeID != "env" || r.Ret != dsn.RetHdrs || r.Size != 14 || r.Offset <= 0 ||
			r.Times.Arrival.IsZero() || r.Times.Active.IsZero() {
			t.Errorf("%+v", r)
		}
	}
	slices.Sort(got)
	if want := []string{"one: a@smtp.one c@smtp.one", "one: d@smtp.one", "two: b@box.two"}; !slices.Equal(got, want) {
		t.Errorf("%q", got)
	}
	w.wait("flow tokens", func() bool { return w.flow.FlowPending() == 7 })
}

func TestDeferAndFlush(t *testing.T) {
	w := newWorld(t)
	var ready sync.Mutex
	up := false
	w.agent("smtp", func(*deliver.Request) *deliver.Reply {
		ready.Lock()
		defer ready.Unlock()
		return &deliver.Reply{Retry: !up}
	})
	w.put("incoming", "A1", file{sender: "s@x", rcpts: []string{"a@smtp.one"}, created: time.Now().Add(-1000 * time.Second)})
	w.start()
	w.wait("deferral", func() bool { return w.exists("deferred", "A1") })
	info, err := os.Stat(w.tree.Path("deferred", "A1"))
	if err != nil {
		t.Fatal(err)
	}
	if d := time.Until(info.ModTime()); d < 950*time.Second || d > 1050*time.Second {
		t.Errorf("next try in %v, message is 1000 s old", d)
	}
	ready.Lock()
	up = true
	ready.Unlock()
	w.triggers <- []byte("D\x00") // not due
	w.triggers <- []byte("FADI\x00")
	w.waitLog("A1: removed")
	if n := len(w.allRequests()); n != 2 {
		t.Errorf("%d attempts", n)
	}
}

func TestBackoffLimits(t *testing.T) {
	w := newWorld(t)
	w.agent("smtp", later)
	w.put("incoming", "NEW", file{sender: "s@x", rcpts: []string{"a@smtp.one"}})
	w.put("incoming", "OLD", file{sender: "s@x", rcpts: []string{"a@smtp.one"}, created: time.Now().Add(-24 * time.Hour)})
	w.start()
	for id, want := range map[string]time.Duration{"NEW": 300 * time.Second, "OLD": 4000 * time.Second} {
		w.wait("deferral", func() bool { return w.exists("deferred", id) })
		info, err := os.Stat(w.tree.Path("deferred", id))
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Until(info.ModTime()); d < want-30*time.Second || d > want+30*time.Second {
			t.Errorf("%s: next try in %v, want %v", id, d, want)
		}
	}
}

func TestDeadDestination(t *testing.T) {
	w := newWorld(t, "initial_destination_concurrency = 1")
	w.agent("smtp", func(*deliver.Request) *deliver.Reply {
		return &deliver.Reply{Retry: true, Hop: dsn.DSN{Status: "4.4.1", Reason: "no route"}}
	})
	w.agent("retry", later)
	w.put("incoming", "A1", file{sender: "s@x", rcpts: recipients(120, "smtp.one")})
	w.start()
	w.wait("deferral", func() bool { return w.exists("deferred", "A1") })
	var hops []string
	total := 0
	for _, r := range w.allRequests() {
		hops = append(hops, r.NextHop)
		total += len(r.Recipients)
	}
	const suspended = "4.4.1 delivery temporarily suspended: no route"
	if !slices.Equal(hops, []string{"one", suspended, suspended}) || total != 120 {
		t.Errorf("%d recipients, %q", total, hops)
	}
	// The next message does not bother the destination.
	w.put("incoming", "A2", file{sender: "s@x", rcpts: []string{"z@smtp.one"}})
	w.triggers <- []byte("I")
	w.wait("deferral", func() bool { return w.exists("deferred", "A2") })
	if r := w.allRequests(); r[len(r)-1].NextHop != suspended {
		t.Error(r[len(r)-1].NextHop)
	}
	// A message with the flush bit does.
	w.put("incoming", "A3", file{sender: "s@x", rcpts: []string{"z@smtp.one"}, mode: queue.ModeFlush})
	w.triggers <- []byte("I")
	w.wait("deferral", func() bool { return w.exists("deferred", "A3") })
	if r := w.allRequests(); r[len(r)-1].NextHop != "one" {
		t.Error(r[len(r)-1].NextHop)
	}
	if info, err := os.Stat(w.tree.Path("deferred", "A3")); err != nil || info.Mode().Perm() != queue.ModeReady {
		t.Errorf("flush bit stays: %v, %v", info.Mode(), err)
	}
}

func TestFailedCohorts(t *testing.T) {
	w := newWorld(t, "initial_destination_concurrency = 5", "destination_concurrency_feedback_debug = yes")
	w.agent("smtp", func(*deliver.Request) *deliver.Reply {
		return &deliver.Reply{Retry: true, Hop: dsn.DSN{Status: "4.4.1", Reason: "no route"}}
	})
	w.put("incoming", "A1", file{sender: "s@x", rcpts: []string{"a@smtp.one"}})
	w.start()
	w.waitLog("qmgr_queue_throttle: queue one: limit 20 window 3 success 0 failure 1 fail_cohorts 0.2")
}

func TestNoTransport(t *testing.T) {
	w := newWorld(t)
	w.agent("retry", later)
	w.put("incoming", "A1", file{sender: "s@x", rcpts: []string{"a@nosuch.one"}})
	w.start()
	w.wait("deferral", func() bool { return w.exists("deferred", "A1") })
	w.waitLog("warning: connect to transport private/nosuch: No such file or directory")
	if r := w.allRequests(); len(r) != 1 || r[0].NextHop != "4.3.0 mail transport unavailable" {
		t.Errorf("%+v", r)
	}
}

func TestNoRetryTransport(t *testing.T) {
	w := newWorld(t)
	w.put("incoming", "A1", file{sender: "s@x", rcpts: []string{"a@nosuch.one", "b@nosuch.two"}})
	w.start()
	w.wait("deferral", func() bool { return w.exists("deferred", "A1") })
	for _, rcpt := range []string{"a@nosuch.one", "b@nosuch.two"} {
		if !slices.Contains(w.allReports(), "defer 0 0 "+rcpt+" 4.3.0 mail transport unavailable") {
			t.Errorf("%q", w.allReports())
		}
		w.waitLog("A1: to=<" + rcpt + ">, relay=none, delay=")
		w.waitLog("dsn=4.3.0, status=deferred (mail transport unavailable)")
	}
}

func TestAgentTrouble(t *testing.T) {
	w := newWorld(t)
	w.agent("crash", func(*deliver.Request) *deliver.Reply { return nil })
	w.put("incoming", "A1", file{sender: "s@x", rcpts: []string{"a@crash.one"}})
	w.start()
	w.waitLog("warning: private/crash socket: premature disconnect")
	w.wait("deferral", func() bool { return w.exists("deferred", "A1") })
	if len(w.allReports()) != 0 {
		t.Errorf("%q", w.allReports())
	}
}

func TestResolverAnswers(t *testing.T) {
	w := newWorld(t, "defer_transports = slow", "double_bounce_sender = double-bounce")
	w.agent("retry", later)
	w.agent("error", sent)
	w.put("incoming", "A1", file{sender: "s@x", rcpts: []string{"a@fail.x", "b@broken.x", "c@error.x", "d@slow.x", "", "Double-Bounce@local.x"}})
	w.start()
	w.wait("deferral", func() bool { return w.exists("deferred", "A1") })
	got := map[string]string{}
	for _, r := range w.allRequests() {
		for _, rcpt := range r.Recipients {
			got[rcpt.Address] = r.NextHop
		}
	}
	for rcpt, want := range map[string]string{
		"a@fail.x":   "4.3.0 address resolver failure",
		"b@broken.x": "4.3.0 address resolver failure",
		"c@error.x":  "5.1.3 bad address syntax",
		"d@slow.x":   "4.3.2 deferred transport",
		"":           "5.1.3 null recipient address",
	} {
		if got[rcpt] != want {
			t.Errorf("%q: %q, want %q", rcpt, got[rcpt], want)
		}
	}
	w.waitLog("to=<Double-Bounce@local.x>, relay=none")
	w.waitLog("dsn=2.0.0, status=sent (undeliverable postmaster notification discarded)")
}

func TestFilterRedirectVERP(t *testing.T) {
	w := newWorld(t)
	for _, name := range []string{"scan", "smtp", "verify"} {
		w.agent(name, sent)
	}
	w.put("incoming", "A1", file{sender: "s@x", rcpts: []string{"a@smtp.one"}, extracted: record.Append(nil, record.Filter, "scan:[127.0.0.1]:10025")})
	w.put("incoming", "A2", file{sender: "s@x", rcpts: []string{"a@smtp.one"}, extracted: record.Append(nil, record.Filter, "scan:")})
	w.put("incoming", "A3", file{sender: "s@x", rcpts: []string{"a@smtp.one", "b@smtp.two"}, extracted: record.Append(nil, record.Redirect, "other@smtp.three")})
	w.put("incoming", "A4", file{sender: "list@x", rcpts: []string{"a@smtp.one", "b@smtp.one"}, before: record.Append(nil, record.Verp, "+=")})
	w.put("incoming", "A5", file{sender: "s@x", rcpts: []string{"p@smtp.one"}, before: record.Append(nil, record.Attr, "trace_flags=256")})
	w.put("incoming", "A6", file{sender: "s@x", rcpts: []string{"i@smtp.one"}, before: record.Append(nil, record.Inspector, "x")})
	w.start()
	var got []string
	for _, id := range []string{"A1", "A2", "A3", "A4", "A5", "A6"} {
		w.waitLog(id + ": removed")
	}
	w.mu.Lock()
	for i, r := range w.requests {
		line := []string{r.QueueID, w.services[i], r.NextHop, r.Sender}
		for _, rcpt := range r.Recipients {
			line = append(line, rcpt.Address)
		}
		got = append(got, strings.Join(line, " "))
		if want := map[string]int{"A5": 0x103, "A6": 2}[r.QueueID]; want != 0 && r.Flags&^0x1800 != want {
			t.Errorf("%s: flags %#x, want %#x", r.QueueID, r.Flags, want)
		}
	}
	w.mu.Unlock()
	slices.Sort(got)
	want := []string{
		"A1 scan [127.0.0.1]:10025 s@x a@smtp.one",
		"A2 scan smtp.one s@x a@smtp.one",
		"A3 smtp three s@x other@smtp.three",
		"A4 smtp one list+a=smtp.one@x a@smtp.one",
		"A4 smtp one list+b=smtp.one@x b@smtp.one",
		"A5 verify one s@x p@smtp.one",
		"A6 smtp one s@x i@smtp.one",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s", strings.Join(got, "\n"))
	}
}

func TestReports(t *testing.T) {
	w := newWorld(t)
	w.agent("smtp", sent)
	w.agent("late", later)
	now := time.Now()
	warn := record.AppendNumber(nil, record.Warn, now.Unix()-5, record.NumberWidth)
	w.put("incoming", "BOUNCED", file{sender: "s@x", rcpts: []string{"a@smtp.one"}})
	w.put("incoming", "EMPTYLOG", file{sender: "s@x", rcpts: []string{"a@smtp.one"}})
	w.put("incoming", "TRACED", file{sender: "s@x", rcpts: []string{"a@smtp.one"}, before: record.Append(nil, record.Attr, "trace_flags=1024")})
	w.put("incoming", "SUCCESS", file{sender: "s@x", rcpts: []string{"a@smtp.one"}, options: optNotifySuccess})
	w.put("incoming", "EXPIRED", file{sender: "s@x", rcpts: []string{"a@late.one"}, created: now.Add(-6 * 24 * time.Hour)})
	w.put("incoming", "FORCED", file{sender: "s@x", rcpts: []string{"a@late.one"}, mode: queue.ModeExpire})
	w.put("incoming", "WARNED", file{sender: "s@x", rcpts: []string{"a@late.one"}, before: warn})
	for path, text := range map[string]string{"bounce/BOUNCED": "x", "bounce/EMPTYLOG": "", "defer/FORCED": "x", "defer/WARNED": "old"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	for _, id := range []string{"BOUNCED", "EMPTYLOG", "TRACED", "SUCCESS", "EXPIRED", "FORCED"} {
		w.waitLog(id + ": removed")
	}
	w.wait("deferral", func() bool { return w.exists("deferred", "WARNED") })
	reports := w.allReports()
	slices.Sort(reports)
	want := []string{"bounce 1 0", "defer 1 2", "defer 1 2", "defer 2 0", "trace 5 0", "trace 5 1024"}
	if !slices.Equal(reports, want) {
		t.Errorf("%q", reports)
	}
	for _, text := range []string{"EXPIRED: from=<s@x>, status=expired, returned to sender", "FORCED: from=<s@x>, status=force-expired, returned to sender"} {
		w.waitLog(text)
	}
	if w.exists("defer", "WARNED") || w.exists("bounce", "EMPTYLOG") {
		t.Error("old log not removed")
	}
	data, err := os.ReadFile(w.tree.Path("deferred", "WARNED"))
	if err != nil || !strings.Contains(string(data), "W\x0f             -1") {
		t.Errorf("warning time not cleared: %v", err)
	}
	for _, r := range w.allRequests() {
		if r.QueueID == "FORCED" {
			t.Error("delivery attempt of an expired message")
		}
	}
}

func TestReportFails(t *testing.T) {
	w := newWorld(t, "suffix_dialect = 3.7")
	w.agent("smtp", sent)
	w.refuse["bounce"], w.refuse["trace"] = true, true
	w.put("incoming", "A1", file{sender: "s@x", rcpts: []string{"a@smtp.one"}})
	w.put("incoming", "A2", file{sender: "s@x", rcpts: []string{"a@smtp.one"}, before: record.Append(nil, record.Verp, "+=")})
	w.put("incoming", "A3", file{sender: "s@x", rcpts: []string{"a@smtp.one"}, before: record.Append(nil, record.Attr, "trace_flags=512")})
	for _, path := range []string{"bounce/A1", "bounce/A2"} {
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	w.start()
	for _, id := range []string{"A1", "A2", "A3"} {
		w.wait("deferral", func() bool { return w.exists("deferred", id) })
	}
	for _, text := range []string{"A1: status=deferred (bounce failed)", "A2: status=deferred (verp failed)", "A3: status=deferred (trace failed)"} {
		w.waitLog(text)
	}
}

func TestRestart(t *testing.T) {
	w := newWorld(t)
	w.agent("smtp", sent)
	w.put("active", "A1", file{sender: "s@x", rcpts: []string{"a@smtp.one"}})
	w.put("active", "BUSY", file{sender: "s@x", rcpts: []string{"a@smtp.one"}})
	if err := os.WriteFile("active/bad.name", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	agent, err := os.Open(w.tree.Path("active", "BUSY"))
	if err != nil {
		t.Fatal(err)
	}
	defer agent.Close()
	if err := safefile.Lock(agent, false, false); err != nil {
		t.Fatal(err)
	}
	w.start()
	w.waitLog("A1: removed")
	w.waitLog("BUSY: skipped, still being delivered")
	w.waitLog("qmgr_move: ignored: queue active id bad.name")
	w.wait("cool down", func() bool {
		info, err := os.Stat(w.tree.Path("incoming", "BUSY"))
		return err == nil && time.Until(info.ModTime()) > 30*time.Second
	})
}

func TestCorrupt(t *testing.T) {
	w := newWorld(t)
	w.agent("smtp", sent)
	good := file{sender: "s@x", rcpts: []string{"a@smtp.one"}}
	sizes := func(s record.Sizes) []byte { return record.AppendSizes(nil, s) }
	broken := map[string]struct {
		data []byte
		log  string
	}{
		"EMPTY":     {nil, "EMPTY: message rejected: missing end record"},
		"CUT":       {good.build()[:150], "CUT: message rejected: missing end record"},
		"NOEND":     {good.build()[:len(good.build())-2], "NOEND: message rejected: missing end record"},
		"TYPE":      {record.Append(nil, record.Type('Z'), "x"), "Unexpected record type 'Z' at offset 0"},
		"ATTR":      {record.Append(nil, record.Attr, "x"), "ATTR: bad attribute record: missing '=' after attribute name: x"},
		"SIZE":      {sizes(record.Sizes{Segment: -1, Offset: 5}), "SIZE: invalid size record: "},
		"FLAGS":     {sizes(record.Sizes{Segment: 1, Offset: 5, Options: 32}), "FLAGS: invalid flags in size record: "},
		"WEIRD":     {record.Append(nil, record.Size, "x y"), "WEIRD: message rejected: weird size record"},
		"NOTIME":    {record.Append(nil, record.End, ""), "NOTIME: message rejected: missing arrival time record"},
		"NOSENDER":  {record.Append(record.AppendTime(nil, 1, 1), record.End, ""), "NOSENDER: message rejected: missing sender record"},
		"NOSIZE":    {record.Append(record.Append(record.AppendTime(nil, 1, 1), record.Sender, "s"), record.End, ""), "NOSIZE: message rejected: missing size record"},
		"NOEXTRACT": {append(sizes(record.Sizes{Segment: 2, Offset: 97}), "N\x00R\x00"...), "Unexpected record type 'R' at offset 99"},
		"POINTER":   {record.Append(nil, record.Pointer, "x"), "malformed pointer record value: x"},
		"LONG":      {[]byte("T\x80\x80\x80\x80\x08"), "too many length bits, record type 84"},
	}
	for id, b := range broken {
		w.putBytes("incoming", id, b.data, 0)
	}
	w.put("incoming", "GOOD", good)
	w.start()
	w.waitLog("GOOD: removed")
	for id, b := range broken {
		w.wait(id+" in corrupt", func() bool { return w.exists("corrupt", id) })
		w.waitLog(b.log)
		w.waitLog(`warning: saving corrupt file "` + id + `" from queue "active" to queue "corrupt"`)
	}
}

func TestDamagedByAgent(t *testing.T) {
	w := newWorld(t)
	w.agent("smtp", func(r *deliver.Request) *deliver.Reply {
		if err := os.Chmod(w.tree.Path("active", r.QueueID), queue.ModeCorrupt); err != nil {
			t.Error(err)
		}
		return &deliver.Reply{Retry: true}
	})
	w.put("incoming", "A1", file{sender: "s@x", rcpts: []string{"a@smtp.one"}})
	w.start()
	w.wait("corrupt", func() bool { return w.exists("corrupt", "A1") })
}

func TestOddEnvelopes(t *testing.T) {
	w := newWorld(t)
	w.agent("smtp", sent)
	attrs := func(list ...string) (b []byte) {
		for _, a := range list {
			b = record.Append(b, record.Attr, a)
		}
		return b
	}
	w.put("incoming", "A1", file{sender: "", rcpts: []string{"a@smtp.one"}, before: append(record.Append(nil, record.Verp, "+="),
		attrs("ret_flags=7", "sasl_method=a", "sasl_method=b", "notify_flags=1", "notify_flags=2", "dsn_orig_rcpt=x", "dsn_orig_rcpt=y", "notify_flags=9")...)})
	count := file{sender: "s", rcpts: []string{"a@smtp.one"}}.build()
	copy(count[2+2*16:], "              3") // recipients
	w.putBytes("incoming", "COUNT", count, 0)
	w.put("incoming", "NONE", file{sender: "s"})
	w.put("incoming", "VERP", file{sender: "s", rcpts: []string{"a@smtp.one"}, before: record.Append(nil, record.Verp, "xy")})
	w.start()
	for _, id := range []string{"A1", "COUNT", "NONE", "VERP"} {
		w.waitLog(id + ": removed")
	}
	for _, text := range []string{
		"A1: from=<>, size=14, nrcpt=1 (queue active)",
		"A1: ignoring VERP request for null sender",
		"A1: ignoring malformed DSN RET flags in queue file record:7",
		"A1: ignoring multiple sasl_method attribute: b",
		"A1: ignoring out-of-order DSN notify flags <1>",
		"A1: ignoring out-of-order DSN original recipient address <x>",
		"A1: ignoring malformed DSN notify flags <9>",
		"COUNT: rcpt count mismatch (2)",
		`VERP: ignoring bad VERP request: "xy"`,
	} {
		w.waitLog(text)
	}
}

// TestManyRecipients has a message with many more recipients than may be in
// memory: each must be delivered to exactly once.
func TestManyRecipients(t *testing.T) {
	for name, mixed := range map[string]bool{"plain": false, "mixed": true} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t, "qmgr_message_active_limit = 10", "qmgr_message_recipient_limit = 100", "smtp_recipient_limit = 60",
				"smtp_extra_recipient_limit = 20", "smtp_destination_recipient_limit = 7", "smtp_recipient_refill_limit = 10")
			w.agent("smtp", sent)
			f := file{sender: "s@x", rcpts: recipients(3000, "smtp.one"), extracted: record.Append(nil, record.Attr, "encoding=8bit")}
			if mixed {
				f.options = optMixed
				f.rcptAttrs = func(i int) []byte {
					return record.Append(record.Append(nil, record.OrigRecipient, "o"), record.Attr, "x=y")
				}
			}
			w.put("incoming", "A1", f)
			w.put("incoming", "A2", file{sender: "s@x", rcpts: recipients(900, "smtp.two")})
			w.start()
			w.waitLog("A1: removed")
			w.waitLog("A2: removed")
			seen := map[string]int{}
			for _, r := range w.allRequests() {
				if r.QueueID == "A1" && r.Encoding != "8bit" {
					t.Fatal("records behind the recipients were not read")
				}
				for _, rcpt := range r.Recipients {
					seen[rcpt.Address]++
					if mixed && r.QueueID == "A1" && rcpt.Original != "o" {
						t.Fatalf("%+v", rcpt)
					}
				}
			}
			if len(seen) != 3900 {
				t.Errorf("%d recipients", len(seen))
			}
			for rcpt, n := range seen {
				if n != 1 {
					t.Errorf("%s: %d times", rcpt, n)
				}
			}
			if err := w.stop(); err != nil {
				t.Fatal(err)
			}
			checkEmpty(t, w.m)
		})
	}
}

// checkEmpty looks for anything that an idle Manager must not have.
func checkEmpty(t *testing.T, m *Manager) {
	t.Helper()
	if m.rcptCount != 0 || len(m.messages) != 0 || len(m.arriving) != 0 || m.probes != 0 {
		t.Errorf("left: %d recipients, %d messages, %d arriving, %d probes", m.rcptCount, len(m.messages), len(m.arriving), m.probes)
	}
	for name, tr := range m.transports {
		if tr.pool != tr.rcptPool || tr.byTime.n != 0 || tr.byPriority.n != 0 || tr.ready != 0 || len(tr.queues) != 0 {
			t.Errorf("%s: pool %d of %d, %d+%d jobs, %d ready, %d queues", name, tr.pool, tr.rcptPool, tr.byTime.n, tr.byPriority.n, tr.ready, len(tr.queues))
		}
	}
}

// TestPreemption has a large message on a narrow transport: a small one that
// comes later does not wait for all of it.
func TestPreemption(t *testing.T) {
	w := newWorld(t, "slow_destination_recipient_limit = 2", "slow_destination_concurrency_limit = 1", "slow_initial_destination_concurrency = 1")
	arrived := make(chan struct{})
	var once sync.Once
	w.agent("slow", func(r *deliver.Request) *deliver.Reply {
		once.Do(func() {
			w.put("incoming", "SMALL", file{sender: "s@x", rcpts: []string{"z@slow.one"}})
			w.triggers <- []byte("I")
			w.wait("the small message", func() bool { return w.logged("SMALL: from=") })
			close(arrived)
		})
		<-arrived
		return &deliver.Reply{}
	})
	w.put("incoming", "BIG", file{sender: "s@x", rcpts: recipients(100, "slow.one")})
	w.start()
	w.waitLog("BIG: removed")
	w.waitLog("SMALL: removed")
	at := slices.IndexFunc(w.allRequests(), func(r *deliver.Request) bool { return r.QueueID == "SMALL" })
	if at < 1 || at > 40 {
		t.Errorf("the small message was delivery number %d of 51", at)
	}
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	checkEmpty(t, w.m)
}

// TestBlockedDestination has one destination at its limit: mail for others goes
// past it.
func TestBlockedDestination(t *testing.T) {
	w := newWorld(t, "smtp_destination_concurrency_limit = 1")
	release := make(chan struct{})
	w.agent("smtp", func(r *deliver.Request) *deliver.Reply {
		if r.NextHop == "stuck" {
			<-release
		}
		return &deliver.Reply{}
	})
	w.put("incoming", "A1", file{sender: "s@x", rcpts: recipients(120, "smtp.stuck")})
	w.start()
	w.wait("first delivery", func() bool { return len(w.allRequests()) == 1 })
	w.put("incoming", "A2", file{sender: "s@x", rcpts: recipients(120, "smtp.stuck")})
	w.put("incoming", "A3", file{sender: "s@x", rcpts: []string{"a@smtp.free"}})
	w.triggers <- []byte("I")
	w.waitLog("A3: removed")
	close(release)
	w.waitLog("A1: removed")
	w.waitLog("A2: removed")
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	checkEmpty(t, w.m)
}

func TestConcurrencyLimits(t *testing.T) {
	w := newWorld(t, "smtp_destination_concurrency_limit = 4", "smtp_destination_recipient_limit = 1", "rate_destination_rate_delay = 1",
		"rate_destination_recipient_limit = 2", "turn_transport_rate_delay = 1")
	var mu sync.Mutex
	busy, most := map[string]int{}, map[string]int{}
	for _, name := range []string{"smtp", "rate", "turn"} {
		w.agent(name, func(r *deliver.Request) *deliver.Reply {
			mu.Lock()
			busy[r.NextHop]++
			most[r.NextHop] = max(most[r.NextHop], busy[r.NextHop])
			mu.Unlock()
			defer func() { mu.Lock(); busy[r.NextHop]--; mu.Unlock() }()
			return &deliver.Reply{}
		})
	}
	same := make([]string, 60)
	for i := range same {
		same[i] = "same+" + string(rune('a'+i%26)) + "@smtp.one"
	}
	w.put("incoming", "A1", file{sender: "s@x", rcpts: same})
	w.put("incoming", "A2", file{sender: "s@x", rcpts: recipients(4, "rate.two")})
	w.put("incoming", "A3", file{sender: "s@x", rcpts: []string{"a@turn.three"}})
	w.put("incoming", "A4", file{sender: "s@x", rcpts: []string{"b@turn.three"}})
	w.start()
	for _, id := range []string{"A1", "A2", "A3", "A4"} {
		w.waitLog(id + ": removed")
	}
	mu.Lock()
	defer mu.Unlock()
	if most["one"] > 4 || most["two"] > 1 || most["three"] > 1 {
		t.Errorf("concurrency %v", most)
	}
}

func TestFeedback(t *testing.T) {
	for text, want := range map[string]feedback{
		"1":                      {number: 1},
		"0.5":                    {number: 0.5},
		"1/4":                    {number: 0.25},
		" 1 / concurrency":       {kind: feedbackConcurrency, number: 1},
		"0.5 / sqrt_concurrency": {kind: feedbackSqrt, number: 0.5},
		"2":                      {number: 1},
		"-1":                     {number: 1},
		"x":                      {number: 1},
		"1/0":                    {number: 1},
		"0/0":                    {number: 1},
	} {
		if got := parseFeedback("", text, nil); got != want {
			t.Errorf("%q: %+v", text, got)
		}
	}
	if v := (feedback{kind: feedbackSqrt, number: 1}).value(4); v != 0.5 {
		t.Error(v)
	}
}

func TestClogWarning(t *testing.T) {
	w := newWorld(t, "qmgr_message_active_limit = 10", "smtp_destination_recipient_limit = 1", "smtp_destination_concurrency_limit = 1")
	hold := make(chan struct{})
	w.agent("smtp", func(*deliver.Request) *deliver.Reply { <-hold; return &deliver.Reply{} })
	w.put("incoming", "A1", file{sender: "s@x", rcpts: []string{"a@smtp.one", "a@smtp.one", "a@smtp.one", "a@smtp.one", "a@smtp.one"}})
	w.start()
	w.waitLog("warning: mail for one is using up 3 of 1 active queue entries")
	w.waitLog("warning: you may need to increase the main.cf smtp_destination_concurrency_limit from 1")
	w.waitLog("warning: to turn off these warnings specify: qmgr_clog_warn_time = 0")
	close(hold)
	w.waitLog("A1: removed")
}

func TestActiveLimit(t *testing.T) {
	w := newWorld(t, "qmgr_message_active_limit = 2")
	hold := make(chan struct{})
	w.agent("smtp", func(*deliver.Request) *deliver.Reply { <-hold; return &deliver.Reply{} })
	for _, id := range []string{"A1", "A2", "A3", "A4"} {
		w.put("deferred", id, file{sender: "s@x", rcpts: []string{"a@smtp.one"}})
	}
	w.start()
	w.wait("two deliveries", func() bool { return len(w.allRequests()) == 2 })
	entries, err := os.ReadDir("active")
	if err != nil || len(entries) != 2 {
		t.Errorf("%d messages active, %v", len(entries), err)
	}
	close(hold)
	for _, id := range []string{"A1", "A2", "A3", "A4"} {
		w.waitLog(id + ": removed")
	}
}

func FuzzEnvelope(f *testing.F) {
	f.Add(file{sender: "s@x", rcpts: []string{"a@b", "c@d"}}.build(), 1)
	f.Add(file{sender: "s@x", rcpts: []string{"a@b", "c@d"}, options: optMixed, extracted: record.Append(nil, record.Pointer, "0")}.build(), 1)
	f.Add([]byte("p\x011"), 5)
	m := &Manager{settings: settings{verpDelimiters: "+-="}}
	f.Fuzz(func(t *testing.T, data []byte, limit int) {
		limit = max(1, limit)
		msg := &message{id: "X"}
		total := 0
		for {
			at := msg.nextOffset
			rcpts, err := m.readEnvelope(msg, bytes.NewReader(data), "X", limit)
			if err != nil {
				return
			}
			if total += len(rcpts); total > len(data) {
				t.Fatalf("%d recipients in %d bytes", total, len(data))
			}
			if msg.nextOffset == 0 {
				return
			}
			if msg.nextOffset == at {
				t.Fatal("no progress")
			}
		}
	})
}
