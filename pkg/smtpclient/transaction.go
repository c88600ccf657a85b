package smtpclient

import (
	"strconv"
	"strings"
	"time"

	"suffix/pkg/address"
	"suffix/pkg/deliver"
	"suffix/pkg/dsn"
)

// The steps of a mail transaction that have one command and one reply.
type stepKind uint8

const (
	stepXForward1 stepKind = iota
	stepXForward2
	stepMail
	stepRcpt
	stepData
	stepReset
)

type step struct {
	kind stepKind
	rcpt *recipient
}

// A transaction is the dialogue about one message with one server
// (spec smtp-client §8).
type transaction struct {
	d *delivery
	s *session

	pending    []step // sent or queued, not answered
	accepted   int
	mailFailed bool
	dataSent   bool
	dataOK     bool
	dataReply  reply
	convert    bool // 8bit content must become 7bit
}

// run goes through the transaction. The recipients are dealt with when it returns;
// the session may then be reused, or is at its end.
func (t *transaction) run() {
	d, s := t.d, t.s
	d.req.Times.Reuse = s.reuse
	if s.has(featSize) && s.sizeLimit > 0 && s.sizeLimit < d.req.Size {
		d.fail(s, messageFailure("5.3.4", "message size %d exceeds size limit %d of server %s", d.req.Size, s.sizeLimit, s.nameAddr))
		d.completed = true
		s.quitSent = true // Postfix hangs up here without a word
		return
	}
	t.convert = !s.has(feat8BITMIME) && !d.cfg.DisableConversion && d.req.Encoding != "7bit"
	if err := t.dialogue(); err != nil {
		if f := s.streamFailure(err); d.left() > 0 {
			d.fail(s, f)
		} else {
			s.dead, s.noCache = s.dead || f.dead, true
		}
		return
	}
	d.completed = d.completed || !s.dead
}

// timeout returns the limit for a step and sets the state for error texts.
func (t *transaction) timeout(k stepKind) time.Duration {
	s, c := t.s, t.s.cfg
	switch k {
	case stepXForward1:
		s.state = "sending XFORWARD name/address"
		return c.XForwardTimeout
	case stepXForward2:
		s.state = "sending XFORWARD protocol/helo_name"
		return c.XForwardTimeout
	case stepMail:
		s.state = "sending MAIL FROM"
		return c.MailTimeout
	case stepRcpt:
		s.state = "sending RCPT TO"
		return c.RcptTimeout
	case stepData:
		s.state = "sending DATA command"
		return c.DataInitTimeout
	}
	s.state = "sending final RSET"
	return c.RsetTimeout
}

// dialogue sends the steps, as many at once as the server and the window
// allow. It returns an error of the connection only.
func (t *transaction) dialogue() error {
	d, s := t.d, t.s
	if err := t.xforward(); err != nil {
		return err
	}
	mail, why := t.mailCommand()
	if why != nil {
		d.fail(s, why)
		return nil
	}
	if d.req.Times.SetupDone.IsZero() {
		d.req.Times.SetupDone = time.Now()
	}
	if err := t.put(step{kind: stepMail}, mail); err != nil {
		return err
	}
	for i := range d.rcpts {
		r := &d.rcpts[i]
		if r.state != left {
			continue
		}
		if t.mailFailed {
			break
		}
		command, bad, err := t.rcptCommand(r)
		if err != nil {
			return err
		}
		if bad != "" {
			d.failRecipient(s, r, dsn.DSN{Status: "5.1.3", Reason: bad})
			continue
		}
		if err := t.put(step{kind: stepRcpt, rcpt: r}, command); err != nil {
			return err
		}
	}
	if d.probe() && !d.cfg.VerifyData {
		return t.endProbe()
	}
	// Without pipelining all answers are in; with it, none need be.
	if len(t.pending) == 0 && (t.mailFailed || t.accepted == 0) {
		return t.reset()
	}
	if err := t.put(step{kind: stepData}, "DATA"); err != nil {
		return err
	}
	if err := t.sync(); err != nil {
		return err
	}
	switch {
	case !t.dataOK:
		return t.reset()
	case t.mailFailed || t.accepted == 0:
		return t.emptyMessage()
	case d.probe():
		return t.answerDataProbe()
	}
	return t.message()
}

// put queues a command; it is sent at once, and its reply awaited, when the
// server does not pipeline, or when the window is full.
func (t *transaction) put(st step, command string) error {
	s := t.s
	if len(s.out) > 0 && len(s.out)+len(command)+2 > windowSize {
		if err := t.sync(); err != nil {
			return err
		}
		if st.kind == stepRcpt && t.mailFailed {
			return nil
		}
		if st.kind == stepData && (t.mailFailed || t.accepted == 0) {
			return nil
		}
	}
	s.command(command)
	t.pending = append(t.pending, st)
	if st.kind == stepData {
		t.dataSent = true
	}
	if !s.has(featPipelining) {
		return t.sync()
	}
	return nil
}

// sync sends what is queued and reads all replies.
func (t *transaction) sync() error {
	if len(t.pending) == 0 {
		return nil
	}
	timeout := t.timeout(t.pending[0].kind)
	if err := t.s.flush(timeout); err != nil {
		return err
	}
	for _, st := range t.pending {
		var r reply
		if err := t.s.reply(t.timeout(st.kind), &r); err != nil {
			return err
		}
		t.answer(st, &r)
	}
	t.pending = t.pending[:0]
	return nil
}

// answer deals with the reply to one step.
func (t *transaction) answer(st step, r *reply) {
	d, s := t.d, t.s
	switch st.kind {
	case stepXForward1, stepXForward2:
		if !r.ok() {
			name := "XFORWARD name/address"
			if st.kind == stepXForward2 {
				name = "XFORWARD helo/protocol"
			}
			s.log().Warnf("host %s said: %s (in reply to %s command)", s.nameAddrPort, r.oneLine(), name)
		}
	case stepMail:
		if !r.ok() {
			t.mailFailed = true
			d.fail(s, &failure{scope: scopeMessage, dsn: s.said(r, "MAIL FROM")})
		}
	case stepRcpt:
		switch {
		case t.mailFailed || st.rcpt.state != left:
		case r.ok():
			st.rcpt.accepted = true
			t.accepted++
			if d.probe() {
				st.rcpt.reply = *r
			}
		default:
			d.failRecipient(s, st.rcpt, s.said(r, "RCPT TO"))
		}
	case stepData:
		t.dataOK = r.code/100 == 3
		t.dataReply = *r
		if !t.dataOK && !t.mailFailed && t.accepted > 0 {
			d.fail(s, &failure{scope: scopeMessage, dsn: s.said(r, "DATA")})
		}
	}
}

// reset ends a transaction that brought no message under way.
func (t *transaction) reset() error {
	s := t.s
	var r reply
	s.state = "sending final RSET"
	// Its failure is nobody's business any more: the recipients are dealt with.
	if err := s.ask(s.state, s.cfg.RsetTimeout, &r, "RSET"); err != nil {
		s.dead, s.noCache = true, true
		return nil
	}
	if !r.ok() {
		s.noCache = true
	}
	return nil
}

// emptyMessage takes back a DATA command that was sent before it was known
// that nobody wants the message.
func (t *transaction) emptyMessage() error {
	s := t.s
	s.noCache = true
	s.state = "sending end of data -- message may be sent more than once"
	s.command(".")
	if s.has(featPipelining) {
		s.command("QUIT")
		s.quitSent = true
	}
	var r reply
	// The recipients are dealt with: what happens here is nobody's business.
	err := s.flush(s.cfg.DataDoneTimeout)
	if err == nil {
		err = s.reply(s.cfg.DataDoneTimeout, &r)
	}
	if err != nil {
		s.dead = true
	} else if s.quitSent {
		s.awaitQuit()
	}
	return nil
}

// endProbe asks for the replies to RCPT and takes the transaction back.
func (t *transaction) endProbe() error {
	d, s := t.d, t.s
	if err := t.sync(); err != nil {
		return err
	}
	d.req.Times.Delivered = time.Now()
	for i := range d.rcpts {
		if r := &d.rcpts[i]; r.state == left && r.accepted {
			d.sent(s, r, &r.reply)
		}
	}
	return t.reset()
}

// answerDataProbe ends a probe that went as far as DATA: the connection is
// dropped, so that there is no message.
func (t *transaction) answerDataProbe() error {
	d, s := t.d, t.s
	s.dead, s.noCache = true, true
	answer := t.dataReply
	answer.status = "2.0.0"
	d.req.Times.Delivered = time.Now()
	for i := range d.rcpts {
		if r := &d.rcpts[i]; r.state == left && r.accepted {
			d.sent(s, r, &answer)
		}
	}
	d.completed = true
	return nil
}

// xforward passes on what is known about the client (spec smtp-client §8.1).
func (t *transaction) xforward() error {
	d, s := t.d, t.s
	if !d.cfg.SendXForward {
		return nil
	}
	known := func(v string) bool { return v != "" && !strings.EqualFold(v, "unknown") }
	var b strings.Builder
	add := func(f features, name, value string, available bool) {
		if s.has(f) && available {
			b.WriteString(" " + name + "=" + xtext(value, ""))
		}
	}
	q := d.req
	add(featXName, "NAME", q.ClientName, known(q.ClientName))
	add(featXAddr, "ADDR", q.ClientAddress, known(q.ClientAddress))
	add(featXPort, "PORT", q.ClientPort, known(q.ClientPort))
	if b.Len() > 0 {
		if err := t.put(step{kind: stepXForward1}, "XFORWARD"+b.String()); err != nil {
			return err
		}
	}
	b.Reset()
	source := "REMOTE"
	if q.RewriteContext == "local" {
		source = "LOCAL"
	}
	add(featXProto, "PROTO", q.ClientProtocol, known(q.ClientProtocol))
	add(featXHelo, "HELO", q.ClientHelo, q.ClientHelo != "")
	add(featXIdent, "IDENT", q.LogIdent, q.LogIdent != "")
	add(featXSource, "SOURCE", source, q.RewriteContext != "")
	if b.Len() > 0 {
		return t.put(step{kind: stepXForward2}, "XFORWARD"+b.String())
	}
	return nil
}

// envelope converts an address to the form for a command.
func (t *transaction) envelope(internal string) (string, error) {
	mapped, err := t.d.cfg.generic(internal)
	if err != nil {
		return "", err
	}
	if t.d.cfg.QuoteEnvelope {
		mapped = address.QuoteSMTP(mapped)
	}
	return mapped, nil
}

// mailCommand makes the MAIL command.
func (t *transaction) mailCommand() (string, *failure) {
	d, s, q := t.d, t.s, t.d.req
	var b strings.Builder
	b.WriteString("MAIL FROM:<")
	if q.Sender != "" {
		sender, err := t.envelope(q.Sender)
		if err != nil {
			return "", s.streamFailure(err)
		}
		if unsafeInCommand(sender) {
			return "", messageFailure("5.1.7", "bad sender address syntax")
		}
		b.WriteString(sender)
	}
	b.WriteByte('>')
	if s.has(featSize) && !t.convert {
		b.WriteString(" SIZE=" + strconv.FormatInt(q.Size, 10))
	}
	if s.has(feat8BITMIME) {
		switch q.Encoding {
		case "8bit":
			b.WriteString(" BODY=8BITMIME")
		case "7bit":
			b.WriteString(" BODY=7BIT")
		case "":
		default:
			s.log().Warnf("%s: unknown content encoding: %s", q.QueueID, printable(q.Encoding, false))
		}
	}
	if s.has(featDSN) {
		if q.EnvelopeID != "" {
			b.WriteString(" ENVID=" + xtext(q.EnvelopeID, "+="))
		}
		ret := q.Ret
		if d.wantsRequireTLS() {
			ret = dsn.RetHdrs
		}
		if ret.String() != "" {
			b.WriteString(" RET=" + ret.String())
		}
	}
	if s.has(featSMTPUTF8) && q.SendOpts&deliver.OptSMTPUTF8 != 0 {
		b.WriteString(" SMTPUTF8")
	}
	return b.String(), nil
}

// rcptCommand makes the RCPT command of one recipient; bad says why that
// cannot be done.
func (t *transaction) rcptCommand(r *recipient) (command, bad string, err error) {
	s := t.s
	to, err := t.envelope(r.Address)
	if err != nil {
		return "", "", err
	}
	if unsafeInCommand(to) {
		return "", "bad recipient address syntax", nil
	}
	if !s.has(featDSN) {
		return "RCPT TO:<" + to + ">", "", nil
	}
	var b strings.Builder
	b.WriteString("RCPT TO:<" + to + ">")
	if orcpt := t.orcpt(r); orcpt != "" {
		b.WriteString(" ORCPT=" + orcpt)
	}
	if n := r.Notify; n.Valid() && n != 0 {
		b.WriteString(" NOTIFY=" + n.String())
	}
	return b.String(), "", nil
}

// orcpt returns the value of ORCPT, empty for none.
func (t *transaction) orcpt(r *recipient) string {
	if r.ORCPT != "" {
		kind, value, ok := strings.Cut(r.ORCPT, ";")
		if !ok || kind == "" || unsafeInCommand(kind) || strings.ContainsAny(kind, " +=") {
			return ""
		}
		if strings.EqualFold(kind, "utf-8") {
			return kind + ";" + unitext(value, t.s.has(featSMTPUTF8))
		}
		return kind + ";" + xtext(value, "+=")
	}
	if r.Original == "" {
		return ""
	}
	value := address.Quote(r.Original)
	const utf8Bits = deliver.OptSMTPUTF8 | deliver.OptHeaderUTF8 | deliver.OptSenderUTF8 | deliver.OptRecipientUTF8
	if !isASCII(value) && validUTF8(value) && t.d.req.SendOpts&utf8Bits != 0 {
		return "utf-8;" + unitext(value, t.s.has(featSMTPUTF8))
	}
	return "rfc822;" + xtext(value, "+=")
}
