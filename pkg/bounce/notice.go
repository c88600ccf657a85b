package bounce

import (
	"context"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"

	"suffix/pkg/address"
	"suffix/pkg/bounceclient"
	"suffix/pkg/bouncelog"
	"suffix/pkg/cleanupclient"
	"suffix/pkg/deliver"
	"suffix/pkg/dsn"
	"suffix/pkg/header"
	"suffix/pkg/maillog"
	"suffix/pkg/record"
)

// kind is what a notice reports.
type kind int

const (
	failure kind = iota
	delay
	success
	verify
)

// logName is how the log line calls the notice.
func (k kind) logName() string {
	switch k {
	case failure:
		return "non-delivery"
	case delay:
		return "delay"
	}
	return "delivery status"
}

// A notice is one message to be made.
type notice struct {
	kind       kind
	template   *Template
	postmaster bool
	from       string // envelope sender; empty for the null sender
	to         string
	entries    []bouncelog.Entry
	full       bool // return the whole message, where it is not too large
}

// entryOf turns a recipient that has no log into a log entry. Nothing in it
// can make a line of its own, as in a log.
func entryOf(r dsn.Recipient, d dsn.DSN) bouncelog.Entry {
	clean := maillog.Printable
	return bouncelog.Entry{
		Original: quoted(r.Original), Recipient: quoted(r.Address), Offset: r.Offset, DSNOrig: clean(r.ORCPT), Notify: int(r.Notify),
		Status: clean(d.Status), Action: clean(d.Action), DiagType: clean(d.DiagType), DiagText: clean(d.DiagText),
		MTAType: clean(d.MTAType), MTAName: clean(d.MTAName), Reason: clean(d.Reason),
	}
}

func quoted(internal string) string {
	if internal == "" {
		return ""
	}
	return maillog.Printable(address.Quote(internal))
}

// composer writes one notice.
type composer struct {
	*Server
	notice
	n        *bounceclient.Notice
	o        *original
	out      cleanupclient.Stream
	boundary string
	encoding string // of the notice: 8bit, 7bit or empty
}

// send composes a notice and hands it to cleanup. When it fails, text is
// cleanup's word for it, where it said anything.
func (s *Server) send(ctx context.Context, n *bounceclient.Notice, o *original, m notice) (text string, err error) {
	var extra cleanupclient.Flags
	if n.SendOpts&deliver.OptSMTPUTF8 != 0 {
		extra |= cleanupclient.SMTPUTF8
	}
	if n.SendOpts&deliver.OptRequireTLS != 0 {
		extra |= cleanupclient.RequireTLS
	}
	var body []string
	if !m.postmaster {
		if body, err = m.template.Expand(s.cfg); err != nil {
			return err.Error(), err
		}
	}
	out, err := cleanupclient.PostMail(ctx, s.cfg, cleanupclient.Mail{
		Sender: m.from, Recipient: m.to, Class: cleanupclient.ClassBounce, Extra: extra,
	})
	if err != nil {
		maillog.Warnf("%v", err)
		return "", err
	}
	defer out.Abort() // whatever happens before its end
	addressee := "sender"
	if m.postmaster {
		addressee = "postmaster"
	}
	logLine := func() {
		maillog.Infof("%s: %s %s notification: %s", n.QueueID, addressee, m.kind.logName(), out.QueueID())
	}
	if !s.dialect37 {
		logLine()
	}
	c := &composer{Server: s, notice: m, n: n, o: o, out: out,
		boundary: fmt.Sprintf("%s.%d/%s", n.QueueID, time.Now().Unix(), s.hostname)}
	c.chooseEncoding()
	c.headers()
	c.explanation(body)
	c.report()
	if err := c.message(); err != nil {
		return "", err
	}
	status, reason, err := cleanupclient.EndMail(out)
	if err != nil {
		maillog.Warnf("%v", err)
		return "", err
	}
	if status != 0 {
		if reason == "" {
			reason = status.Detail().Text
		}
		return reason, errNotSent
	}
	if s.dialect37 {
		logLine()
	}
	return "", nil
}

func (c *composer) line(text string) { c.out.Put(record.Text, text) }

func (c *composer) linef(format string, args ...any) { c.line(fmt.Sprintf(format, args...)) }

func (c *composer) chooseEncoding() {
	switch c.encoding = c.n.Encoding; {
	case c.smtputf8:
		c.encoding = "8bit"
	case c.encoding == "7bit" && !isASCII(strings.Join(c.template.Text, "")):
		c.encoding = "8bit"
	case c.encoding != "" && c.encoding != "7bit" && c.encoding != "8bit":
		maillog.Warnf("%s: unknown encoding: %s", c.n.QueueID, c.encoding)
		c.encoding = ""
	}
}

// utf8Message says that the original asked for SMTPUTF8.
func (c *composer) utf8Message() bool { return c.n.SendOpts&deliver.OptSMTPUTF8 != 0 }

func (c *composer) headers() {
	t := c.template
	c.line("From: " + t.From)
	subject := t.Subject
	if c.postmaster && t.PostmasterSubject != "" {
		subject = t.PostmasterSubject
	}
	c.line("Subject: " + subject)
	c.line("To: " + address.Quote(c.to))
	if c.threaded && c.o.messageID != "" {
		c.line("References: " + c.o.messageID)
		c.line("In-Reply-To: " + c.o.messageID)
	}
	if c.tlsRequired && c.n.SendOpts&deliver.OptTLSNotRequired != 0 {
		c.line("TLS-Required: no")
	}
	if c.postmaster {
		c.line("Auto-Submitted: auto-generated")
	} else {
		c.line("Auto-Submitted: auto-replied")
	}
	c.line("MIME-Version: 1.0")
	c.line("Content-Type: multipart/report; report-type=delivery-status;")
	c.linef("\tboundary=\"%s\"", c.boundary)
	if c.encoding != "" {
		c.line("Content-Transfer-Encoding: " + c.encoding)
	}
	c.line("")
	c.line("This is a MIME-encapsulated message.")
	c.line("")
}

// part begins a MIME part.
func (c *composer) part(description, contentType string, eightBit bool) {
	c.line("--" + c.boundary)
	c.line("Content-Description: " + description)
	c.line("Content-Type: " + contentType)
	if eightBit && c.encoding == "8bit" {
		c.line("Content-Transfer-Encoding: 8bit")
	}
	c.line("")
}

// explanation is the part for people.
func (c *composer) explanation(body []string) {
	charset := c.template.Charset
	if strings.EqualFold(charset, "us-ascii") {
		charset = "us-ascii"
		if c.encoding == "8bit" {
			charset = "utf-8"
		}
	}
	c.part("Notification", "text/plain; charset="+charset, true)
	for _, line := range body {
		c.line(line)
	}
	if c.entries == nil && c.kind == failure {
		c.line("")
		c.line("\t--- Delivery report unavailable ---")
	}
	for i := range c.entries {
		e := &c.entries[i]
		c.line("")
		text := "<" + angle(e.Recipient) + ">: "
		if e.Original != "" {
			text = "<" + angle(e.Recipient) + "> (expanded from <" + angle(e.Original) + ">): "
		}
		c.folded(text + e.Reason)
	}
	c.line("")
}

// angle is an address as it stands between angle brackets; the log has <> for
// an empty one.
func angle(logged string) string {
	if logged == "<>" {
		return ""
	}
	return logged
}

// folded writes text that moves words to continuation lines (spec delivery §12.3).
func (c *composer) folded(text string) {
	const firstLimit, nextLimit, indent = 79, 75, "    "
	line, limit := "", firstLimit
	prefix := ""
	for word := range strings.FieldsSeq(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > limit:
			c.line(prefix + line)
			line, limit, prefix = word, nextLimit, indent
		default:
			line += " " + word
		}
	}
	c.line(prefix + line)
}

// report is the part for programs (RFC 3464).
func (c *composer) report() {
	contentType := "message/delivery-status"
	if c.utf8Message() {
		contentType = "message/global-delivery-status"
	}
	c.part("Delivery report", contentType, c.utf8Message())
	name := fieldName(c.mailName)
	c.line("Reporting-MTA: dns; " + c.hostname)
	if c.n.EnvelopeID != "" {
		c.line("Original-Envelope-Id: " + c.n.EnvelopeID)
	}
	c.linef("X-%s-Queue-ID: %s", name, c.n.QueueID)
	if c.o.hasSender {
		sender := quoted(c.o.sender)
		if sender == "" {
			sender = "MAILER-DAEMON@" + c.hostname
		}
		c.linef("X-%s-Sender: %s; %s", name, c.addressType(sender), sender)
	}
	if !c.o.arrival.IsZero() {
		c.line("Arrival-Date: " + c.date(c.o.arrival))
	}
	for i := range c.entries {
		c.line("")
		c.recipientFields(&c.entries[i], name)
	}
	c.line("")
}

func (c *composer) date(t time.Time) string { return cleanupclient.Date(t, c.dialect37) }

func (c *composer) recipientFields(e *bouncelog.Entry, name string) {
	c.linef("Final-Recipient: %s; %s", c.addressType(e.Recipient), angle(e.Recipient))
	switch {
	case e.DSNOrig != "":
		c.line("Original-Recipient: " + e.DSNOrig)
	case e.Original != "":
		c.linef("Original-Recipient: %s; %s", c.addressType(e.Original), e.Original)
	}
	action := e.Action
	if c.kind == failure {
		action = "failed"
	}
	c.line("Action: " + action)
	c.line("Status: " + e.Status)
	if e.MTAType != "" && e.MTAName != "" {
		c.folded("Remote-MTA: " + e.MTAType + "; " + e.MTAName)
	}
	if e.DiagType != "" && e.DiagText != "" {
		c.folded("Diagnostic-Code: " + e.DiagType + "; " + e.DiagText)
	} else {
		c.folded("Diagnostic-Code: X-" + name + "; " + e.Reason)
	}
	if c.kind == delay && !c.o.arrival.IsZero() {
		c.line("Will-Retry-Until: " + c.date(c.o.arrival.Add(c.lifetime)))
	}
}

// addressType is the type before an address: utf-8 for one that needs it in a
// message that may have it.
func (c *composer) addressType(addr string) string {
	const anyUTF8 = deliver.OptSMTPUTF8 | deliver.OptHeaderUTF8 | deliver.OptSenderUTF8 | deliver.OptRecipientUTF8
	if c.n.SendOpts&anyUTF8 != 0 && !isASCII(addr) && utf8.ValidString(addr) {
		return "utf-8"
	}
	return "rfc822"
}

// fieldName makes mail_name usable within a header name.
func fieldName(name string) string {
	return strings.Map(func(r rune) rune {
		if strings.ContainsRune(" \t\r\n()<>@,;:\\\".[]", r) {
			return '-'
		}
		return r
	}, name)
}

// message is the part with the original message, or its header.
func (c *composer) message() error {
	full := c.full && c.o.size >= 0 && c.o.size <= int64(c.sizeLimit)
	description := "Message"
	if c.kind == failure || c.kind == delay {
		description = "Undelivered Message"
	}
	contentType := "message/rfc822"
	switch {
	case full && c.utf8Message():
		contentType = "message/global"
	case !full && c.utf8Message():
		contentType = "message/global-headers"
	case !full:
		contentType = "text/rfc822-headers"
	}
	if !full {
		description += " Headers"
	}
	c.part(description, contentType, true)
	if c.o.file == nil || c.o.dataOffset <= 0 {
		c.line("\t--- Undelivered message unavailable ---")
		return nil
	}
	sender := quoted(c.o.sender)
	if sender == "" {
		sender = "MAILER-DAEMON@" + c.hostname
	}
	c.line("Return-Path: <" + sender + ">")
	if err := c.content(full); err != nil {
		return err
	}
	c.line("")
	c.line("--" + c.boundary + "--")
	return nil
}

// content copies the content records. A damaged message ends early: it is
// being returned, not delivered. A file that cannot be read now is an error.
func (c *composer) content(full bool) error {
	in := record.NewFileReader(c.o.file, c.n.QueueID)
	in.SeekTo(c.o.dataOffset)
	lineStart := true
	for {
		t, data, err := in.Next()
		switch {
		case err == io.EOF || record.IsBad(err):
			maillog.Warnf("%s: %v", c.n.QueueID, err)
			return nil
		case err != nil:
			return err
		}
		if t != record.Text && t != record.Fragment {
			return nil
		}
		if !full && lineStart {
			continued := len(data) > 0 && (data[0] == ' ' || data[0] == '\t')
			if !continued && !header.Is(data) {
				return nil
			}
		}
		lineStart = t == record.Text
		c.out.PutBytes(t, data)
	}
}
