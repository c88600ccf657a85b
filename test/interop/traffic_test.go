//go:build interop

package interop

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
)

// A run is the traffic through one system, and what was seen of it.
type run struct {
	*system
	seen observations
	ids  map[string]string // queue ID of messages that a later step needs
}

// traffic sends everything through a fresh system and returns what was seen.
// Programs named in present must be running at the end.
func traffic(t *testing.T, c choice, present ...string) observations {
	t.Helper()
	return trafficWith(t, c, nil, present...)
}

// trafficWith is traffic with further settings.
func trafficWith(t *testing.T, c choice, settings map[string]string, present ...string) observations {
	t.Helper()
	s := newSystem(t, c, settings)
	r := &run{system: s, seen: make(observations), ids: make(map[string]string)}
	r.command("", "newaliases")
	s.start()
	for _, step := range []func(*run){
		(*run).connections, (*run).dialogues, (*run).submissions, (*run).aliases, (*run).mailboxes, (*run).rewriting, (*run).checks,
		(*run).nextHops, (*run).notifications, (*run).undeliverable, (*run).fullForms,
	} {
		step(r)
	}
	r.settle()
	for _, step := range []func(*run){
		(*run).cache, (*run).probes, (*run).listings, (*run).holding, (*run).flushing, (*run).requests, (*run).logging,
	} {
		step(r)
		r.settle()
	}
	for _, p := range present {
		if !r.running(p) {
			t.Errorf("%s is not running at the end of the traffic: %v", p, r.processes())
		}
	}
	r.collect()
	r.stop()
	return r.seen
}

// add keeps what was seen under a name.
func (r *run) add(key, text string) { r.seen[key] = append(r.seen[key], r.mask(text)) }

// command runs a command and keeps its output and exit code.
func (r *run) command(input, name string, args ...string) string {
	r.t.Helper()
	cmd := r.in.Command(name, args...)
	cmd.Stdin = strings.NewReader(input)
	cmd.Dir = r.dir
	out, err := cmd.CombinedOutput()
	if err != nil && cmd.ProcessState == nil {
		r.t.Fatal(err)
	}
	key := "command " + name + " " + strings.Join(args, " ")
	r.add(r.mask(key), fmt.Sprintf("%sexit code %d", out, cmd.ProcessState.ExitCode()))
	return string(out)
}

// message makes the text of a message.
func message(subject, body string, headers ...string) string {
	h := strings.Join(headers, "\n")
	if h != "" {
		h += "\n"
	}
	return "From: Sender <sender@interop.test>\nTo: Somebody <somebody@interop.test>\nSubject: " + subject + "\nDate: Mon, 6 Jan 2025 10:11:12 +0100\nMessage-ID: <" +
		strings.ReplaceAll(subject, " ", ".") + "@client.test>\n" + h + "\n" + body
}

// queuedAs is the queue ID in the reply to the content.
var queuedAs = regexp.MustCompile(`queued as (\w+)`)

// session sends one message over SMTP. The sender and each recipient may have
// parameters after a blank. The queue ID is kept under the subject.
func (r *run) session(subject, sender string, recipients []string, text string) {
	r.t.Helper()
	d := dial(r.t, r.ports["SMTPD"])
	d.do("EHLO client.test")
	d.do("MAIL FROM:%s", bracket(sender))
	for _, to := range recipients {
		d.do("RCPT TO:%s", bracket(to))
	}
	if strings.HasPrefix(d.do("DATA"), "354") {
		if m := queuedAs.FindStringSubmatch(d.content(text)); m != nil {
			r.ids[subject] = m[1]
		}
	}
	d.quit()
	r.add("dialogue "+subject, d.transcript())
}

// bracket puts an address that parameters may follow in brackets.
func bracket(text string) string {
	address, parameters, ok := strings.Cut(text, " ")
	if ok {
		parameters = " " + parameters
	}
	return "<" + address + ">" + parameters
}

// send is session with a plain message.
func (r *run) send(subject, sender string, recipients ...string) {
	r.t.Helper()
	r.session(subject, sender, recipients, message(subject, "Text of "+subject+".\n"))
}

// submit sends a plain message through sendmail.
func (r *run) submit(subject, sender string, recipients ...string) {
	r.t.Helper()
	r.command(message(subject, "Text of "+subject+".\n"), "sendmail", append([]string{"-f", sender}, recipients...)...)
}

const local = "@" + hostname

// connections: the third of one client is too much for the LIMIT service.
func (r *run) connections() {
	for i := range 3 {
		d := dial(r.t, r.ports["LIMIT"])
		d.do("NOOP")
		d.quit()
		r.add(fmt.Sprint("dialogue limit ", i+1), d.transcript())
	}
}

// dialogues: commands and refusals of the SMTP server.
func (r *run) dialogues() {
	d := dial(r.t, r.ports["SMTPD"])
	d.do("MAIL FROM:<early@interop.test>")
	d.do("HELO client.test")
	d.do("EHLO client.test")
	d.do("VRFY %s", user)
	d.do("VRFY nobody-such%s", local)
	d.do("MAIL FROM:<sender@interop.test> SIZE=99999999999")
	d.do("MAIL FROM:<sender@interop.test> SIZE=1000 BODY=8BITMIME")
	d.do("RCPT TO:<missing%s>", local)
	d.do("RCPT TO:<missing@virt.test>")
	d.do("RCPT TO:<missing@valias.test>")
	d.do("RCPT TO:<>")
	d.do("RSET")
	d.do("NOOP")
	d.quit()
	r.add("dialogue commands", d.transcript())

	d = dial(r.t, r.ports["SMTPD"])
	d.do("EHLO client.test")
	d.do("XCLIENT NAME=outside.test ADDR=192.0.2.7 PORT=1234 PROTO=ESMTP HELO=outside.test")
	d.do("EHLO outside.test")
	d.do("MAIL FROM:<stranger@outside.test>")
	d.do("RCPT TO:<anybody@elsewhere.test>")
	d.do("RCPT TO:<%s>", user+local)
	d.do("DATA")
	d.content(message("from outside", "Hello.\n"))
	d.do("ETRN etrn.test")
	d.quit()
	r.add("dialogue outside", d.transcript())

	d = dial(r.t, r.ports["SMTPD"])
	d.do("EHLO client.test")
	d.do("XFORWARD NAME=first.test ADDR=192.0.2.9 PROTO=SMTP HELO=first.test SOURCE=REMOTE")
	d.raw("MAIL FROM:<sender@interop.test>\r\nRCPT TO:<" + user + local + ">\r\nRCPT TO:<" + other + local + ">\r\nDATA\r\n")
	for range 4 {
		d.reply()
	}
	d.content(message("pipelined", ".\n..\n.dots\n\n"))
	d.do("MAIL FROM:<sender@interop.test> BODY=8BITMIME")
	d.do("RCPT TO:<%s>", user+local)
	chunk := strings.ReplaceAll(message("in chunks", "Caf\xc3\xa9\n"), "\n", "\r\n")
	d.raw(fmt.Sprintf("BDAT %d\r\n%s", 20, chunk[:20]))
	d.reply()
	d.raw(fmt.Sprintf("BDAT %d LAST\r\n%s", len(chunk)-20, chunk[20:]))
	d.reply()
	d.quit()
	r.add("dialogue transfers", d.transcript())

	for _, sender := range []string{"refused", "held", "redirected", "dropped"} {
		r.send("access "+sender, sender+"@interop.test", user+local)
	}
}

// submissions: sendmail in its modes.
func (r *run) submissions() {
	r.command("From: a@interop.test\nTo: "+user+local+", Second <"+other+local+">\nCc: crowd@sink.test\nBcc: hidden@sink.test\nSubject: sendmail -t\n\nBody\n", "sendmail", "-t", "-f", "sender@interop.test")
	r.command("Subject: full name\n\n.\nafter the dot\n", "sendmail", "-i", "-F", "Full Name", "-f", "sender@interop.test", user)
	r.command("Subject: dot ends\n\nkept\n.\nnot kept\n", "sendmail", "-f", "sender@interop.test", user+local)
	r.command("no header at all\n", "sendmail", "-f", "", user+local)
	r.command("Subject: to nobody\n\n", "sendmail", "-f", "sender@interop.test")
	r.command("Subject: eight bits\n\nCaf\xe9\n", "sendmail", "-B", "8BITMIME", "-f", "sender@interop.test", "eight@sink.test", "eight@plain.test")
	r.command("Subject: notices wanted\n\nx\n", "sendmail", "-N", "success,failure", "-R", "hdrs", "-V", "envid-1", "-f", user+local, "plainly@plain.test", "reject-me@sink.test")
	r.command("Subject: bad notify\n\nx\n", "sendmail", "-N", "sometimes", user)
	r.command("Subject: verbose\n\nx\n", "sendmail", "-v", "-f", user+local, other, "verbose@sink.test")
	r.command("Subject: what if\n\nx\n", "sendmail", "-bv", "-f", user+local, user, "whatif@sink.test", "reject@sink.test", "missing")
	r.command("EHLO inside.test\r\nMAIL FROM:<inside@interop.test>\r\nRCPT TO:<"+user+local+">\r\nDATA\r\nSubject: bs\r\n\r\nbs body\r\n.\r\nQUIT\r\n", "sendmail", "-bs")
	r.command("", "sendmail", "-q5x")
}

// aliases: local delivery in all its forms.
func (r *run) aliases() {
	r.send("team", "sender@interop.test", "team"+local)
	r.send("extension", "sender@interop.test", user+"+ext"+local)
	r.send("file alias", "sender@interop.test", "file"+local)
	r.send("folder alias", "sender@interop.test", "folder"+local)
	r.send("command alias", "sender@interop.test", "command+x"+local)
	r.send("failing command", user+local, "failing"+local)
	r.send("list", "sender@interop.test", "list"+local)
	r.send("loop", user+local, "loop"+local)
	r.send("forward", "sender@interop.test", other+local)
	r.session("already here", user+local, []string{user + local}, message("already here", "x\n", "Delivered-To: "+user+local))
	r.command("Subject: unknown\n\nx\n", "sendmail", "-f", user+local, "missing"+local, "missing@virt.test", "missing@valias.test")
}

// mailboxes of the virtual delivery agent.
func (r *run) mailboxes() {
	r.send("virtual", "sender@interop.test", "folder@virt.test", "mbox@virt.test", "folder+ext@virt.test")
	r.session("From lines", "sender@interop.test", []string{"mbox@virt.test", user + local}, message("From lines", "From here\n>From there\n\nFrom the end\n"))
}

// rewriting: address classes, mappings, automatic copies.
func (r *run) rewriting() {
	r.send("virtual aliases", "sender@interop.test", "both@valias.test", "any@catch.test", "chain@valias.test")
	r.session("canonical", "old@interop.test", []string{user + local}, strings.ReplaceAll(message("canonical", "x\n", "Cc: old@interop.test, bare, user%host@interop.test"), "sender@", "old@"))
	r.send("copied", "watched@interop.test", "watched@sink.test")
}

// checks of headers and body.
func (r *run) checks() {
	for _, h := range []string{"X-Hold: please", "X-Warn: watch out", "X-Change: new words", "X-Prepend: x", "X-Refuse: x", "X-Drop: x", "X-Gone: x"} {
		name, _, _ := strings.Cut(h, ":")
		r.session("check "+name, "sender@interop.test", []string{user + local}, message("check "+name, "x\n", h))
	}
	r.session("check bad text", "sender@interop.test", []string{user + local}, message("check bad text", "x\n", "X-Bad: Caf\xe9"))
	r.session("check body", "sender@interop.test", []string{user + local}, message("check body", "noted\nforbidden fruit\n"))
	r.command(message("checked inside", "forbidden words\n"), "sendmail", "-f", user+local, "anybody@sink.test")
}

// nextHops: SMTP and LMTP.
func (r *run) nextHops() {
	r.send("relayed", "sender@interop.test", "one@sink.test", "two@sink.test", "three@relay.test")
	r.session("eight bit", "sender@interop.test BODY=8BITMIME", []string{"one@sink.test", "one@plain.test"}, message("eight bit", "Caf\xe9 = \xc3\xbc\n"+strings.Repeat("long ", 400)+"\n",
		"MIME-Version: 1.0", "Content-Type: text/plain; charset=utf-8", "Content-Transfer-Encoding: 8bit"))
	r.session("utf8", "s\xc3\xa9nder@interop.test SMTPUTF8", []string{"empf\xc3\xa4nger@sink.test", "ascii@sink.test"}, message("utf8 \xc3\xa4", "x\n"))
	r.session("utf8 refused", "s\xc3\xa9nder@interop.test SMTPUTF8", []string{"one@plain.test"}, message("utf8 \xc3\xa4", "x\n"))
	r.send("partly refused", user+local, "reject-this@sink.test", "fine@sink.test")
	r.send("lmtp", user+local, "one@lmtp.test", "full@lmtp.test", "two@lmtp.test")
	r.send("thrown away", "sender@interop.test", "anybody@discard.test")
	r.session("dots", "sender@interop.test", []string{"dots@sink.test"}, message("dots", ".\n..\n.x\n"))
	for _, first := range []string{"later", "hangup"} {
		r.send("deferred "+first, user+local, first+"@sink.test")
	}
	r.send("etrn", user+local, "later-one@etrn.test")
	r.send("etrn again", user+local, "later-two@etrn.test")
	r.send("dead", user+local, "anybody@dead.test")
	r.logged(`to=<anybody@dead.test>.*status=deferred`)
	r.send("dead again", user+local, "anybody-else@dead.test")
	r.submit("retry", user+local, "anybody@retry.test")
	r.send("waiting command", user+local, "waiting"+local)
}

// notifications: what DSN parameters ask for.
func (r *run) notifications() {
	r.session("success", user+local+" RET=HDRS ENVID=env+2Bid", []string{
		user + local + " NOTIFY=SUCCESS ORCPT=rfc822;original+2Bname@client.test", "folder@virt.test NOTIFY=SUCCESS,FAILURE", "passed-on@sink.test NOTIFY=SUCCESS",
		"relayed@plain.test NOTIFY=SUCCESS", "team" + local + " NOTIFY=SUCCESS", "both@valias.test NOTIFY=SUCCESS", "one@lmtp.test NOTIFY=SUCCESS", "x@discard.test NOTIFY=SUCCESS",
	}, message("success", "x\n"))
	r.session("never", user+local, []string{"reject@sink.test NOTIFY=NEVER", "passed-on@sink.test NOTIFY=NEVER", "reject-too@sink.test NOTIFY=FAILURE"}, message("never", "x\n"))
	r.session("whole", user+local+" RET=FULL", []string{"reject@sink.test NOTIFY=FAILURE", "reject-too@sink.test NOTIFY=DELAY"}, message("whole", "The whole text.\n"))
}

// undeliverable: notices for the sender, for the postmaster, and none.
func (r *run) undeliverable() {
	r.send("refused at once", user+local, "anybody@error.test", "anybody@retry.test")
	r.submit("bounce", user+local, "anybody@error.test")
	r.submit("double bounce", "reject-sender@sink.test", "anybody@error.test")
	r.submit("no sender", "", "anybody@error.test", user+local)
	r.session("eight bit bounce", user+local, []string{"reject@sink.test"}, message("eight bit bounce", "Caf\xe9\n"))
}

// fullForms: content that needs care.
func (r *run) fullForms() {
	r.session("long lines", "sender@interop.test", []string{user + local, "long@sink.test"}, message("long lines", strings.Repeat("0123456789", 500)+"\n", "X-Long: "+strings.Repeat("word ", 300)))
	r.session("empty", "sender@interop.test", []string{user + local}, "")
	r.session("body only", "sender@interop.test", []string{user + local}, "just text\n")
	r.session("multipart", "sender@interop.test", []string{"multi@plain.test"}, message("multipart", "--b\nContent-Type: text/plain\nContent-Transfer-Encoding: 8bit\n\n\xe9\n--b\nContent-Type: message/rfc822\n\nSubject: in\n\n\xe9\n--b--\n",
		"MIME-Version: 1.0", "Content-Type: multipart/mixed; boundary=b", "Content-Transfer-Encoding: 8bit"))
}

// cache: messages one after another over one connection to the next hop.
func (r *run) cache() {
	for i := range 3 {
		subject := fmt.Sprint("cached ", i)
		r.send(subject, "sender@interop.test", fmt.Sprintf("cached%d@cached.test", i))
		r.logged(r.ids[subject] + ": removed")
	}
}

// probes: recipients that are verified before they are accepted.
func (r *run) probes() {
	var wg sync.WaitGroup
	var mu sync.Mutex
	for _, to := range []string{user + local, "reject@sink.test", "later-probe@sink.test", "one@lmtp.test"} {
		wg.Add(1)
		go func() {
			defer wg.Done()
			d := dial(r.t, r.ports["VERIFY"])
			d.do("EHLO client.test")
			d.do("MAIL FROM:<sender@interop.test>")
			d.do("RCPT TO:<%s>", to)
			d.do("RCPT TO:<%s>", to)
			d.quit()
			mu.Lock()
			defer mu.Unlock()
			r.add("dialogue probe of "+to, d.transcript())
		}()
	}
	wg.Wait()
}

// listings of the queue while it has deferred mail and mail on hold.
func (r *run) listings() {
	for _, c := range [][]string{{"postqueue", "-p"}, {"mailq"}, {"sendmail", "-bp"}} {
		cmd := r.in.Command(c[0], c[1:]...)
		out, err := cmd.CombinedOutput()
		check(r.t, err)
		for _, block := range strings.Split(strings.TrimSuffix(string(out), "\n"), "\n\n") {
			header, rest, ok := strings.Cut(block, "\n")
			if ok && strings.HasPrefix(header, "-Queue ID-") {
				r.add("listing "+strings.Join(c, " "), header)
				block = rest
			}
			r.add("listing "+strings.Join(c, " "), block)
		}
	}
	for line := range strings.Lines(r.must("postqueue", "-j")) {
		r.add("listing postqueue -j", line)
	}
	for _, subject := range []string{"deferred later", "access held", "check X-Hold"} {
		for _, option := range []string{"-q", "-bhq", "-eq", "-dq", "-oq"} {
			out, err := r.in.Command("postcat", option, r.ids[subject]).CombinedOutput()
			r.add("postcat "+option+" "+subject, fmt.Sprintf("%s%v", out, err))
		}
	}
}

// holding: release, requeue, hold, delete.
func (r *run) holding() {
	r.command("", "postsuper", "-H", r.ids["access held"])
	r.command("", "postkick", "public", "qmgr", "D")
	r.logged(r.ids["access held"] + ": removed")
	r.command("", "postsuper", "-H", r.ids["check X-Hold"])
	r.command("", "postqueue", "-i", r.ids["check X-Hold"])
	r.logged(r.ids["check X-Hold"] + ": removed")
	r.command("", "postsuper", "-h", r.ids["etrn"])
	r.command("", "postsuper", "-H", r.ids["etrn"])
	r.command("", "postsuper", "-d", r.ids["dead"])
	r.command("", "postsuper", "-d", "0123456789ABC")
	r.command("", "postsuper", "-r", r.ids["dead again"])
	r.command("", "postkick", "public", "pickup", "W")
	r.logged("from=<" + user + local + "> orig_id=" + r.ids["dead again"])
	r.tried("anybody-else@dead.test", 2)
}

// flushing: deferred mail goes out when the next hop takes it.
func (r *run) flushing() {
	r.sink.open.Store(true)
	r.command("", "postqueue", "-i", r.ids["deferred later"])
	r.logged(r.ids["deferred later"] + ": removed")
	r.command("", "postqueue", "-i", "0123456789ABC")
	r.command("", "postqueue", "-s", "unknown.test")
	d := dial(r.t, r.ports["SMTPD"])
	d.do("EHLO etrn.test")
	d.do("ETRN unknown.test")
	d.do("ETRN etrn.test")
	d.quit()
	r.add("dialogue ETRN", d.transcript())
	r.logged(r.ids["etrn"] + ": removed")
	r.logged(r.ids["etrn again"] + ": removed")
	r.sink.open.Store(false)
	r.send("etrn third", user+local, "later-three@etrn.test")
	r.settle()
	r.sink.open.Store(true)
	r.command("", "postqueue", "-s", "etrn.test")
	r.logged(r.ids["etrn third"] + ": removed")
}

// tried waits until delivery to the address was deferred so many times.
func (r *run) tried(address string, times int) {
	r.t.Helper()
	tries := regexp.MustCompile(`to=<` + regexp.QuoteMeta(address) + `>.*status=deferred`)
	r.await(fmt.Sprintf("try %d of %s", times, address), func() bool {
		return len(tries.FindAllString(strings.Join(r.log(), ""), -1)) >= times
	})
}

// requests: everything that is deferred is tried once more.
func (r *run) requests() {
	r.command("", "postqueue", "-f")
	r.tried("hangup@sink.test", 2)
	r.tried("anybody-else@dead.test", 3)
	r.tried("anybody@retry.test", 2)
	r.tried("waiting"+local, 2)
}

// logging by commands, locks, and triggers that nobody takes.
func (r *run) logging() {
	r.command("", "postlog", "-t", "postfix/interop", "words", "of", "the", "admin")
	r.command("first\nsecond\n", "postlog", "-t", "postfix/interop", "-p", "warn")
	r.logged(`postfix/interop\[\d+\]: warning: second`)
	r.command("", "postkick", "private", "nothing", "W")
	r.command("", "postlock", filepath.Join(r.dir, "mbox", user), "echo", "locked")
	r.command("", "postmap", "-q", "both@valias.test", "hash:"+r.in.Config()+"/virtual")
	r.command("", "postmap", "-q", "none@valias.test", "hash:"+r.in.Config()+"/virtual")
	r.command("", "postmap", "-s", "hash:"+r.in.Config()+"/virtual")
	r.command("", "postalias", "-q", "list", "hash:"+r.in.Config()+"/aliases")
	r.command("", "postmap", "-q", "sink.test", "proxy:hash:"+r.in.Config()+"/transport")
	r.command("", "postconf", "-n")
	r.command("", "postconf", "-M")
	r.command("", "postconf", "-h", "myorigin", "mydestination")
}

// collect keeps the mailboxes, the sinks and the log.
func (r *run) collect() {
	r.t.Helper()
	for _, name := range []string{"mbox/" + user, "mbox/" + other, "out/file", "mail/file", "out/command"} {
		content, err := os.ReadFile(filepath.Join(r.dir, name))
		if errors.Is(err, fs.ErrNotExist) {
			continue // no mail: compare sees it if there should be some
		}
		check(r.t, err)
		for i, m := range strings.Split("\n"+string(content), "\nFrom ") {
			if i > 0 {
				r.add("mailbox "+name, "From "+strings.TrimRight(m, "\n"))
			}
		}
	}
	for _, name := range []string{"mail/folder", "out/folder"} {
		files, err := filepath.Glob(filepath.Join(r.dir, name, "new/*"))
		check(r.t, err)
		for _, f := range files {
			content, err := os.ReadFile(f)
			check(r.t, err)
			r.add("mailbox "+name, string(content))
		}
	}
	for name, s := range map[string]*sink{"sink": r.sink, "plain": r.plain, "lmtp": r.lmtp} {
		for _, m := range s.received() {
			r.add("next hop "+name, m)
		}
	}
	for _, line := range r.log() {
		tag, text, ok := splitLog(line)
		if !ok {
			r.t.Errorf("strange line in the log: %q", line)
			continue
		}
		r.add("log "+tag, text)
	}
}
