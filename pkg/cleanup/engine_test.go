package cleanup

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"suffix/pkg/cleanupclient"
	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/record"
	"suffix/pkg/rewriteclient"

	_ "suffix/pkg/table/regexp"
	_ "suffix/pkg/table/simple"
)

// completer stands for trivial-rewrite: it adds the domain.
type completer struct{}

func (completer) Rewrite(rule rewriteclient.Rule, addr string) (string, error) {
	if !strings.Contains(addr, "@") {
		domain := map[rewriteclient.Rule]string{rewriteclient.Local: "mx.test", rewriteclient.Remote: "remote.invalid"}[rule]
		addr += "@" + domain
	}
	return addr, nil
}

func (completer) Resolve(sender, addr string, verify bool) (rewriteclient.Reply, error) {
	return rewriteclient.Reply{}, nil
}

func TestMain(m *testing.M) {
	rewriteclient.InProcess = completer{}
	maillog.Init("cleanup", maillog.StderrOnly("cleanup"))
	os.Exit(m.Run())
}

// queueDir makes an empty queue and enters it.
func queueDir(t testing.TB) {
	t.Helper()
	dir := t.TempDir()
	for _, q := range []string{"incoming", "hold", "defer", "bounce", "trace", "public", "private"} {
		if err := os.Mkdir(filepath.Join(dir, q), 0700); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
}

// newEngine makes an engine with settings in the form of main.cf.
func newEngine(t testing.TB, settings ...string) *Engine {
	t.Helper()
	queueDir(t)
	list := []config.Setting{{Name: "myhostname", Value: "mx.test"}, {Name: "mydomain", Value: "test"}, {Name: "inet_interfaces", Value: "127.0.0.1"},
		{Name: "compatibility_level", Value: "3.6"}, {Name: "inet_protocols", Value: "ipv4"}}
	for _, s := range settings {
		name, value, _ := strings.Cut(s, "=")
		list = append(list, config.Setting{Name: strings.TrimSpace(name), Value: strings.TrimSpace(value)})
	}
	e, err := New(config.New(t.TempDir(), list, config.Options{Program: "cleanup", Service: "cleanup"}), nil)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// rec is one record of test input, "T data".
type rec string

func (r rec) put(s cleanupclient.Stream) {
	s.Put(record.Type(r[0]), strings.TrimPrefix(string(r[1:]), " "))
}

// recs splits a text into records, one on a line.
func recs(text string) []rec {
	var all []rec
	for line := range strings.SplitSeq(strings.TrimPrefix(text, "\n"), "\n") {
		if line != "" {
			all = append(all, rec(line))
		}
	}
	return all
}

const standard = `
T 1700000000 123456
A rewrite_context=local
S sender@a.test
R rcpt@b.test
M
N Received: by x
N Subject: hi
N
N body
X
E
`

// send passes a message through and returns the outcome and the queue file.
func send(t testing.TB, e *Engine, flags cleanupclient.Flags, input []rec) (cleanupclient.Status, string, string) {
	t.Helper()
	m, err := e.Open(context.Background(), flags)
	if err != nil {
		t.Fatal(err)
	}
	for _, r := range input {
		r.put(m)
	}
	id := m.QueueID()
	status, reason, err := m.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return status, reason, dump(t, id)
}

var (
	maskDate = regexp.MustCompile(`(?m)^N Date: .*$`)
	maskTime = regexp.MustCompile(`(create_time=|<)\d{10,}`)
)

// dump shows the queue file, "" if there is none. Times and IDs are masked.
func dump(t testing.TB, id string) string {
	t.Helper()
	for _, q := range []string{"incoming", "hold"} {
		f, err := os.Open(q + "/" + id)
		if err != nil {
			continue
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			t.Fatal(err)
		}
		if info.Mode() != 0700 {
			t.Errorf("mode %v", info.Mode())
		}
		var b strings.Builder
		if q != "incoming" {
			fmt.Fprintf(&b, "(%s)\n", q)
		}
		r := record.NewFileReader(f, id)
		r.Raw = true
		var sizes record.Sizes
		for {
			typ, data, err := r.Next()
			if err != nil {
				break
			}
			switch {
			case typ == record.Size:
				if sizes, _, err = record.ParseSizes(data); err != nil {
					t.Errorf("size record %q: %v", data, err)
				}
				fmt.Fprintf(&b, "C rcpts=%d opts=%d send=%d\n", sizes.Recipients, sizes.Options, sizes.SendOpts)
				continue
			case typ == record.Extracted && r.Offset() != sizes.Offset+sizes.Segment:
				t.Errorf("content ends at %d, size record says %d+%d", r.Offset(), sizes.Offset, sizes.Segment)
			}
			fmt.Fprintf(&b, "%c %s\n", typ, data)
		}
		out := strings.ReplaceAll(b.String(), id, "ID")
		out = maskDate.ReplaceAllString(out, "N Date: D")
		return maskTime.ReplaceAllString(out, "${1}N")
	}
	return ""
}

func equal(t *testing.T, got, want string) {
	t.Helper()
	want = strings.TrimPrefix(want, "\n")
	if strings.ReplaceAll(got, " \n", "\n") != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

const normal = cleanupclient.Filter | cleanupclient.BCC | cleanupclient.Map

func TestMessage(t *testing.T) {
	e := newEngine(t)
	status, reason, file := send(t, e, normal, recs(standard))
	if status != 0 || reason != "" {
		t.Errorf("status %d %q", status, reason)
	}
	equal(t, file, `
C rcpts=1 opts=0 send=0
T 1700000000 123456
A create_time=N
A rewrite_context=local
S sender@a.test
A dsn_orig_rcpt=rfc822;rcpt@b.test
O rcpt@b.test
R rcpt@b.test
M
N Received: by x
N Subject: hi
N Message-Id: <N.ID@mx.test>
N Date: D
N From: sender@a.test
N
N body
X
A message_id=<N.ID@mx.test>
E
`)
}

func TestAddressesAndAliases(t *testing.T) {
	e := newEngine(t, "virtual_alias_maps = inline:{list@b.test=a@c.test, {two@b.test=x@c.test y@c.test}}",
		"canonical_maps = inline:{old@a.test=new@a.test}", "recipient_delimiter = +", "always_bcc = archive",
		"masquerade_domains = m.test", "sender_bcc_maps = inline:{new@a.test=sbcc@a.test}")
	_, _, file := send(t, e, normal, recs(`
T 1 0
A rewrite_context=local
S old+x@a.test
A notify_flags=4
R two@b.test
R list+ext@b.test
R LIST+ext@b.test
R local
D gone@b.test
M
N Received: x
N To: "Some One" <user@sub.m.test>, local
N Bcc: secret
N Message-Id: <a@b> (c)
N Date: D
X
R extracted
E
`))
	equal(t, file, `
C rcpts=7 opts=8 send=0
T 1 0
A create_time=N
A rewrite_context=local
S new+x@a.test
A notify_flags=1
O sbcc@a.test
R sbcc@a.test
A notify_flags=4
A dsn_orig_rcpt=rfc822;two@b.test
O two@b.test
R x@c.test
A notify_flags=4
A dsn_orig_rcpt=rfc822;two@b.test
O two@b.test
R y@c.test
A dsn_orig_rcpt=rfc822;list+ext@b.test
O list+ext@b.test
R a+ext@c.test
A dsn_orig_rcpt=rfc822;local@mx.test
O local
R local@mx.test
M
N Received: x
N To: "Some One" <user@m.test>, local@mx.test
N Message-Id: <a@b> (c)
N Date: D
N From: new+x@a.test
X
A message_id=<a@b>
A dsn_orig_rcpt=rfc822;extracted@mx.test
O extracted
R extracted@mx.test
A notify_flags=1
O archive@mx.test
R archive@mx.test
E
`)
}

func TestEnvelopeErrors(t *testing.T) {
	e := newEngine(t, "queue_file_attribute_count_limit = 5")
	replace := func(old, with string) []rec { return recs(strings.Replace(standard, old, with, 1)) }
	for _, c := range []struct {
		name  string
		input []rec
		want  cleanupclient.Status
	}{
		{"no time", replace("T 1700000000 123456\n", ""), cleanupclient.Bad},
		{"no sender", replace("S sender@a.test\n", ""), cleanupclient.Bad},
		{"two senders", replace("S sender@a.test\n", "S a\nS b\n"), cleanupclient.Bad},
		{"no recipient", replace("R rcpt@b.test\n", ""), cleanupclient.Rcpt},
		{"no end", replace("\nE\n", "\n"), cleanupclient.Bad},
		{"pointer", replace("M\n", "p 0\nM\n"), cleanupclient.Bad},
		{"padding", replace("M\n", "w 0\nM\n"), cleanupclient.Bad},
		{"unknown", replace("M\n", "Z\nM\n"), cleanupclient.Bad},
		{"unknown in content", replace("N body", "R x"), cleanupclient.Bad},
		{"unknown in extracted", replace("X\n", "X\nN x\n"), cleanupclient.Bad},
		{"bad attribute", replace("M\n", "A foo\nM\n"), cleanupclient.Bad},
		{"bad context", replace("=local", "=global"), cleanupclient.Bad},
		{"bad ret", replace("M\n", "A ret_flags=3\nM\n"), cleanupclient.Bad},
		{"bad envid", replace("M\n", "A envelope_id=a\x01\nM\n"), cleanupclient.Bad},
		{"bad trace flags", replace("M\n", "A trace_flags=-1\nM\n"), cleanupclient.Bad},
		{"many attributes", replace("M\n", "A a=b\nA b=b\nA c=b\nA d=b\nM\n"), cleanupclient.Bad},
		{"no Received", replace("N Received: by x\n", ""), cleanupclient.Bad},
		{"hops", replace("N Subject", strings.Repeat("N Received: y\n", 50)+"N Subject"), cleanupclient.Hops},
	} {
		if status, _, file := send(t, e, normal, c.input); status != c.want || file != "" {
			t.Errorf("%s: status %d, want %d; file %q", c.name, status, c.want, file)
		}
	}
	if left, _ := filepath.Glob("incoming/*"); len(left) != 0 {
		t.Errorf("files left: %v", left)
	}
}

func TestHoldAndDiscard(t *testing.T) {
	e := newEngine(t)
	held := false
	e.OnHold = func() { held = true }
	status, _, file := send(t, e, normal, recs(strings.Replace(standard, "M\n", "f 4\nM\n", 1)))
	if status != 0 || !strings.HasPrefix(file, "(hold)\n") || !held {
		t.Errorf("hold: status %d, told %v, file %q", status, held, file)
	}
	status, _, file = send(t, e, normal|cleanupclient.Discard, recs("Z\n"))
	if status != 0 || file != "" {
		t.Errorf("discard: status %d, file %q", status, file)
	}
}

func TestChecks(t *testing.T) {
	table := filepath.Join(t.TempDir(), "checks")
	rules := "/^Subject: (reject.*)/ REJECT no $1\n/^Subject: later/ REJECT 4.7.1 later\n/^Subject: hold/ HOLD\n/^Subject: gone/ DISCARD\n" +
		"/^Subject: replace/ REPLACE X-New: yes\n/^Subject: pre/ PREPEND X-Pre: yes\n/^Subject: drop/ IGNORE\n/^Subject: filter/ FILTER smtp:x\n" +
		"/^Subject: redirect/ REDIRECT a@b\n/^Subject: bcc/ BCC c@d\n/^line/ STRIP\n/^text/ REPLACE other\n/not this/ REJECT bad words\n"
	if err := os.WriteFile(table, []byte(rules), 0600); err != nil {
		t.Fatal(err)
	}
	e := newEngine(t, "header_checks = regexp:"+table, "body_checks = regexp:"+table)
	try := func(subject, line string) (cleanupclient.Status, string, string) {
		return send(t, e, normal, recs(strings.NewReplacer("Subject: hi", "Subject: "+subject, "body", line).Replace(standard)))
	}
	for _, c := range []struct {
		subject, line string
		status        cleanupclient.Status
		reason        string
		has, hasNot   string
	}{
		{"reject me", "x", cleanupclient.Cont, "5.7.1 no reject me", "", ""},
		{"in Latin-1 \xe9, not this", "x", cleanupclient.Cont, "5.7.1 bad words", "", ""},
		{"x", "in Latin-1 \xe9, not this", cleanupclient.Cont, "5.7.1 bad words", "", ""},
		{"later", "x", cleanupclient.Defer, "4.7.1 later", "", ""},
		{"hold", "x", 0, "", "(hold)", ""},
		{"gone", "x", 0, "", "", ""},
		{"replace", "x", 0, "", "N X-New: yes\n", "Subject"},
		{"pre", "x", 0, "", "N X-Pre: yes\nN Subject: pre\n", ""},
		{"drop", "x", 0, "", "N Received", "Subject"},
		{"filter", "x", 0, "", "X \nL smtp:x\n", ""},
		{"redirect", "x", 0, "", "X \n> a@b\n", ""},
		{"bcc", "x", 0, "", "A notify_flags=1\nO c@d\nR c@d\nE", ""},
		{"x", "line", 0, "", "Subject", "N line"},
		{"x", "text", 0, "", "N other\n", "N text"},
	} {
		status, reason, file := try(c.subject, c.line)
		if status != c.status || reason != c.reason || !strings.Contains(file, c.has) || c.hasNot != "" && strings.Contains(file, c.hasNot) {
			t.Errorf("%s/%s: %d %q\n%s", c.subject, c.line, status, reason, file)
		}
		if c.status == 0 && c.has == "" && file != "" {
			t.Errorf("%s: not discarded", c.subject)
		}
	}
}

func TestCharacters(t *testing.T) {
	e := newEngine(t, `message_reject_characters = \0`, `message_strip_characters = \001z`)
	status, reason, _ := send(t, e, normal, append(recs(standard)[:8], "N a\x00b", "X", "E"))
	if status != cleanupclient.Cont || reason != "5.7.1 disallowed character" {
		t.Errorf("status %d %q", status, reason)
	}
	_, _, file := send(t, e, normal, append(recs(standard)[:8], "N az\x01b\rc\nd", "L end", "X", "E"))
	if !strings.Contains(file, "N ab c d\nL end\nN \nX") {
		t.Errorf("got %s", file)
	}
}

func TestSizeLimit(t *testing.T) {
	e := newEngine(t, "message_size_limit = 500000")
	big := recs(standard)[:8]
	line := rec("N " + strings.Repeat("x", 1000))
	for range 600 {
		big = append(big, line)
	}
	big = append(big, "X", "E")
	if status, _, file := send(t, e, normal, big); status != cleanupclient.Size || file != "" {
		t.Errorf("status %d", status)
	}
	if status, _, file := send(t, e, normal, append(big[:400:400], "X", "E")); status != 0 || strings.Count(file, "xxx\n") != 392 {
		t.Errorf("status %d, %d lines", status, strings.Count(file, "xxx\n"))
	}
}

func TestMiltersAreNotPassedOver(t *testing.T) {
	e := newEngine(t, "non_smtpd_milters = inet:127.0.0.1:1")
	status, reason, file := send(t, e, normal|cleanupclient.Milter, recs(standard))
	if status != cleanupclient.Defer || reason == "" || file != "" {
		t.Errorf("non_smtpd_milters: %d %q", status, reason)
	}
	if status, _, _ := send(t, e, normal, recs(standard)); status != 0 {
		t.Errorf("without the flag: %d", status)
	}
	e = newEngine(t)
	if status, _, _ = send(t, e, normal|cleanupclient.Milter, recs(strings.Replace(standard, "M\n", "m 1\nM\n", 1))); status != cleanupclient.Defer {
		t.Errorf("hand-over: %d", status)
	}
	_, _, file = send(t, e, normal|cleanupclient.Milter, recs("m 0\n"+strings.Replace(standard, "S sender@a.test", "S s@t", 1)))
	for _, want := range []string{"S s@t\np          0\n", "N Subject: hi\nw  0\n", "p               0\nM", "p               0\nX"} {
		if !strings.Contains(file, want) {
			t.Errorf("no %q in\n%s", want, file)
		}
	}
}

func TestAbortRemovesFile(t *testing.T) {
	e := newEngine(t)
	m, err := e.Open(context.Background(), normal)
	if err != nil {
		t.Fatal(err)
	}
	m.Put(record.Sender, "x")
	m.Abort()
	m.Abort()
	if left, _ := filepath.Glob("incoming/*"); len(left) != 0 {
		t.Errorf("files left: %v", left)
	}
	if status, _, _ := m.Finish(); status == 0 {
		t.Error("success after Abort")
	}
	for range 2 {
		if _, err := e.Open(context.Background(), normal); err != nil {
			t.Fatal(err)
		}
	}
	e.RemoveUnfinished()
	if left, _ := filepath.Glob("incoming/*"); len(left) != 0 {
		t.Errorf("files left: %v", left)
	}
}

func TestFrom(t *testing.T) {
	e := newEngine(t)
	for _, c := range []struct{ name, want string }{
		{"  Joe   User ", "From: Joe User <s@example.com>"},
		{"J. User", `From: "J. User" <s@example.com>`},
		{`Joe "Q" User`, `From: "Joe \"Q\" User" <s@example.com>`},
		{"foo(bar", `From: "foo(bar" <s@example.com>`},
		{"café", "From: =?utf-8?Q?caf=C3=A9?= <s@example.com>"},
		{"", "From: s@example.com"},
	} {
		_, _, file := send(t, e, normal, recs(strings.NewReplacer("sender@a.test", "s@example.com", "S ", "F "+c.name+"\nS ").Replace(standard)))
		if !strings.Contains(file, "N "+c.want+"\n") {
			t.Errorf("%q: %s", c.name, file)
		}
	}
	e = newEngine(t, "header_from_format = obsolete")
	for _, c := range []struct{ name, want string }{
		{"  Joe   User ", "From: s@example.com (Joe User)"},
		{"foo(bar", "From: s@example.com (foo(bar))"},
		{`a)b\`, "From: s@example.com (ab)"},
		{"café", "From: s@example.com (=?utf-8?Q?caf=C3=A9?=)"},
	} {
		_, _, file := send(t, e, normal, recs(strings.NewReplacer("sender@a.test", "s@example.com", "S ", "F "+c.name+"\nS ").Replace(standard)))
		if !strings.Contains(file, "N "+c.want+"\n") {
			t.Errorf("%q: %s", c.name, file)
		}
	}
}

func TestEncodedWords(t *testing.T) {
	words := encodeWords(strings.Repeat("ü", 60), "utf-8", standardSpecials)
	if len(words) < 2 {
		t.Fatalf("got %q", words)
	}
	for _, w := range words {
		if len(w) > maxWord || !strings.HasPrefix(w, "=?utf-8?B?") || !strings.HasSuffix(w, "?=") {
			t.Errorf("bad word %q", w)
		}
	}
	if got := encodeWords("a_b é", "utf-8", obsoleteSpecials); len(got) != 1 || got[0] != "=?utf-8?Q?a=5Fb_=C3=A9?=" {
		t.Errorf("got %q", got)
	}
}

func TestBadSettings(t *testing.T) {
	for _, s := range []string{"canonical_classes = foo", "sender_canonical_classes = header_recipient", "non_empty_end_of_header_action = x",
		"disable_mime_input_processing = yes\nforce_mime_input_conversion = yes", "hopcount_limit = x"} {
		var list []config.Setting
		for line := range strings.SplitSeq(s, "\n") {
			name, value, _ := strings.Cut(line, " = ")
			list = append(list, config.Setting{Name: name, Value: value})
		}
		if _, err := New(config.New(t.TempDir(), list, config.Options{Program: "cleanup"}), nil); err == nil {
			t.Errorf("%s: accepted", s)
		}
	}
}
