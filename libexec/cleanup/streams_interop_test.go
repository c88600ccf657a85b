//go:build interop

package cleanup_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/cleanupclient"
	"suffix/pkg/record"
)

// sendStream passes a message, one record on a line, to a cleanup service and
// returns the verdict and the queue file.
func (s *site) sendStream(service string, flags cleanupclient.Flags, text string) string {
	s.t.Helper()
	conn, err := net.Dial("unix", filepath.Join(s.dir, "public", service))
	if err != nil {
		s.t.Fatal(err)
	}
	stream, err := cleanupclient.Greet(attr.NewConn(conn, attr.Null, service, 20*time.Second), flags)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.SplitSeq(text, "\n") {
		if line != "" {
			stream.Put(record.Type(line[0]), strings.NewReplacer(`\n`, "\n", `\r`, "\r", `\0`, "\x00").Replace(strings.TrimPrefix(line[1:], " ")))
		}
	}
	status, reason, err := stream.Finish()
	if err != nil {
		return err.Error()
	}
	verdict := status.Detail().Text + " " + reason + "\n"
	for _, q := range []string{"incoming", "hold"} {
		path := filepath.Join(s.dir, q, stream.QueueID())
		if _, err := os.Stat(path); err == nil {
			verdict += q + "\n" + s.show(path)
			os.Remove(path)
		}
	}
	return verdict
}

const base = `T 1700000000 123456
A rewrite_context=local
A log_message_origin=host[1.2.3.4]
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

// Records straight to cleanup: what Postfix's does with them, ours does too.
func TestStreams(t *testing.T) {
	s := newSite(t, ourPrograms(t))
	s.write("checks", "/^Subject: reject/ REJECT no\n/^Subject: later/ REJECT 4.7.1 wait\n/^Subject: hold/ HOLD x\n/^Subject: gone/ DISCARD\n"+
		"/^Subject: pre/ PREPEND X-A: b\n/^Subject: rep/ REPLACE To: foo, bar\n/^Subject: drop/ IGNORE\n/^Subject: filt/ FILTER a:b\n"+
		"/^Subject: redir/ REDIRECT a@b\n/^Subject: bcc/ BCC a@b\n/^bod/ WARN x\n/^strip/ STRIP\n/^X-Part/ REJECT part\n")
	s.configure("/usr/sbin", `header_checks = regexp:$queue_directory/checks
body_checks = regexp:$queue_directory/checks
canonical_maps = inline:{{old@a.test = new@a.test} {@all.test = @every.test} {up@a.test = UP@a.test}}
virtual_alias_maps = inline:{{list@b.test = x@c.test, y@c.test, list@b.test} {@dom.test = @new.test} {@catch.test = one@c.test} {l1@b.test = l2@b.test} {l2@b.test = l1@b.test}}
masquerade_domains = !host.m.test m.test
masquerade_exceptions = root
recipient_delimiter = +
strict_mime_encoding_domain = yes
delay_warning_time = 4h
message_size_limit = 20000
hopcount_limit = 5
max_use = 100000`)
	s.daemon(realSbin+"trivial-rewrite", "rewrite", "private", "unix")
	s.daemon(realSbin+"cleanup", "cleanup", "public", "unix", "-z")
	s.daemon(filepath.Join(s.ours, "cleanup"), "ours", "public", "unix", "-z")
	s.sink("qmgr")

	replace := func(pairs ...string) string { return strings.NewReplacer(pairs...).Replace(base) }
	rcpt := func(addr string) string { return replace("R rcpt@b.test", "R "+addr) }
	head := func(text string) string { return replace("N Subject: hi\n", text) }
	streams := []string{
		base, "E", replace("S sender@a.test\n", ""), replace("T 1700000000 123456\n", ""), replace("R rcpt@b.test\n", ""),
		replace("S ", "S first\nS "), replace("M\n", "Z\nM\n"), replace("M\n", "p 0\nM\n"), replace("N body", "R x"), replace("X\n", "X\nN\n"),
		replace("S sender@a.test", "S"), replace("S sender@a.test", "S MAILER-DAEMON"), replace("S sender@a.test", "S old+ext@a.test"),
		replace("M\n", "A x=y\nA\nM\n"), replace("M\n", "A notify_flags=6\nA notify_flags=x\nO o\nR r@s\nn 1\no rfc822;q\nR t@u\nM\n"),
		replace("M\n", "D d\n/ c\nK x=y\nV +=\nW 5\nL a:b\n> c@d\nI i\nc 1\nM\n"), replace("X\n", "X\nL a:b\nA foo=bar\nR z\nA notify_flags=1\nr q\n"),
		replace("M\n", "f 4\nM\n"), replace("M\n", "f 8\nM\n"), replace("M\n", "A envelope_id=e\ni f\nA ret_flags=1\n< 2\nM\n"), replace("M\n", "A ret_flags=9\nM\n"),
		rcpt("list@b.test"), rcpt("list+x@b.test"), rcpt("q+e@dom.test"), rcpt("q+e@catch.test"), rcpt("l1@b.test"), rcpt("user"), rcpt(""), rcpt("a b@c"),
		rcpt("x@sub.m.test\nR x@SUB.M.TEST\nR x@host.m.test\nR root@q.m.test"), rcpt("q@all.test"), rcpt("up@a.test"),
		head("N Subject: reject\n"), head("N Subject: later\n"), head("N Subject: hold\n"), head("N Subject: gone\n"), head("N Subject: pre\n"),
		head("N Subject: rep\n"), head("N Subject: drop\n"), head("N Subject: filt\nN Subject: redir\nN Subject: bcc\n"),
		head("N To: Foo <bar>,\nN \tbaz, (c) q@sub.m.test\nN Cc: grp:a,b;\nN Bcc: x\nN Message-ID: <a@b> (c)\n"),
		head("N Resent-To: a\nN Date: x\nN From: y\n"), head("N not a header\n"), head("N Subject  : blanks\n"), head("N Subject: a\\rb\\nc\n"),
		head("N Content-Type: multipart/mixed; boundary=b\nN\nN --b\nN Content-Type: message/rfc822\nN Content-Transfer-Encoding: base64\nN\nN X-Part: y\n"),
		head("N Content-Type: multipart/mixed; boundary=\"b c\"\nN\nN strip\nN --b c\nN X-Part: y\nN\nN --b c--\n"), head(strings.Repeat("N Received: y\n", 5)),
		head("L Subject: long\nN  piece\n"), head("N X: " + strings.Repeat("y", 5000) + "\n"), replace("N body", "L body"), replace("N body", "N "+strings.Repeat("z", 5000)),
		replace("N body", strings.Repeat("N "+strings.Repeat("z", 1000)+"\n", 30)), replace("N\n", ""), replace("N\nN body\n", ""),
		"m 0\n" + base, "m 0\n" + replace("S sender@a.test", "S a@b", "Subject: hi", "X: y"),
	}
	for _, flags := range []cleanupclient.Flags{178, 178 + 64, 32, 178 + 512, 178 + 4} {
		for _, stream := range streams {
			want := s.sendStream("cleanup", flags, stream)
			if got := s.sendStream("ours", flags, stream); got != want {
				t.Errorf("flags %d, input:\n%s%s\nwant:\n%s", flags, stream, difference(got, want), want)
			}
		}
	}
}
