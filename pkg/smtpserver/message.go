package smtpserver

import (
	"context"
	"strconv"
	"strings"
	"syscall"
	"time"

	"suffix/pkg/address"
	"suffix/pkg/cleanupclient"
	"suffix/pkg/record"
	"suffix/pkg/smtpaccess"
)

// checkSpace refuses a message for which the disk may have no room.
func (s *session) checkSpace() (bool, error) {
	if s.set.standalone {
		return true, nil
	}
	free, err := s.srv.freeSpace()
	if err != nil {
		s.warnf("cannot determine free space in mail queue: %s", err)
		return true, nil
	}
	limit := s.set.messageLimit
	if free > s.set.minFree && float64(free)/1.5 > float64(limit) || s.set.minFree == 0 && limit == 0 {
		return true, nil
	}
	s.tx.access.HasSender = false
	s.reject(smtpaccess.ClassResource, "452 4.3.1 Insufficient system storage")
	s.warnf("not enough free space in mail queue: %d bytes < 1.5*message size limit", free)
	s.endTransaction()
	return false, nil
}

// freeSpace returns the free bytes of the queue's file system. The system is
// asked at most once a second.
func (srv *Server) freeSpace() (int64, error) {
	if srv.FreeSpace != nil {
		return srv.FreeSpace()
	}
	srv.space.mu.Lock()
	defer srv.space.mu.Unlock()
	if time.Since(srv.space.asked) < time.Second {
		return srv.space.free, srv.space.err
	}
	var fs syscall.Statfs_t
	srv.space.err = syscall.Statfs(".", &fs)
	srv.space.free = int64(fs.Bavail) * fs.Bsize
	srv.space.asked = time.Now()
	return srv.space.free, srv.space.err
}

// openMessage starts a message with cleanup and sends the envelope as far as it
// is known (spec smtpd §14). On failure it has replied.
func (s *session) openMessage() (bool, error) {
	tx := &s.tx
	flags := s.set.cleanupFlags
	if tx.access.SMTPUTF8 {
		flags = flags&^cleanupclient.AutoUTF8 | cleanupclient.SMTPUTF8
	}
	open := s.srv.Open
	if open == nil {
		open = cleanupclient.Open
	}
	if s.set.standalone {
		open = s.openPostdrop
	}
	stream, err := open(s.ctx, s.set.cleanup, flags)
	if err != nil {
		s.warnf("%s", err)
		s.classes |= smtpaccess.ClassResource
		s.reply("451 4.3.0 Error: queue file write error")
		return false, nil
	}
	tx.stream = stream
	tx.access.QueueID = stream.QueueID()
	s.logClient()
	s.putEnvelope()
	return true, nil
}

// openPostdrop submits a message as a user's program does: the server has no
// rights of its own.
func (s *session) openPostdrop(ctx context.Context, _ string, _ cleanupclient.Flags) (cleanupclient.Stream, error) {
	return openPostdrop(ctx, s.set.postdrop)
}

// logClient tells who sends the message.
func (s *session) logClient() {
	a := &s.access
	line := a.QueueID() + ": client=" + a.LogName
	if a.Method != "" {
		line += ", sasl_method=" + a.Method
	}
	if a.Login != "" {
		line += ", sasl_username=" + a.Login
	}
	if s.tx.access.SASLSender != "" {
		line += ", sasl_sender=" + s.tx.access.SASLSender
	}
	if f := s.tx.forward; f != nil {
		if f.ident != "" {
			line += ", orig_queue_id=" + f.ident
		}
		if f.identity {
			line += ", orig_client=" + f.logName(s.set.portLogging)
		}
	}
	s.logf("%s", line)
}

// putAttr adds an attribute to the message, if it has a value. No line break
// enters the envelope.
func (s *session) putAttr(name, value string) {
	if value != "" {
		cleanupclient.PutAttr(s.tx.stream, name, neutralizeBreaks(value))
	}
}

// neutralizeBreaks replaces the bytes that end lines and strings.
func neutralizeBreaks(text string) string {
	if !strings.ContainsAny(text, "\r\n\x00") {
		return text
	}
	return strings.NewReplacer("\r", "?", "\n", "?", "\x00", "?").Replace(text)
}

// putAttrInt adds a number to the message, if it is not zero.
func (s *session) putAttrInt(name string, n int) {
	if n != 0 {
		cleanupclient.PutAttr(s.tx.stream, name, strconv.Itoa(n))
	}
}

// putEnvelope sends what is known before the first recipient.
func (s *session) putEnvelope() {
	tx, a := &s.tx, &s.access
	if s.set.standalone {
		tx.stream.Put(record.Sender, tx.access.Sender)
		s.putAttr("encoding", tx.encoding)
		return
	}
	tx.stream.Put(record.Time, strconv.FormatInt(tx.arrival.Unix(), 10)+" "+strconv.Itoa(tx.arrival.Nanosecond()/1000))
	if s.set.contentFilter != "" {
		tx.stream.Put(record.Filter, s.set.contentFilter)
	}
	ident, rewrite := tx.access.QueueID, tx.context
	f := tx.forward
	if f != nil && f.ident != "" {
		ident = f.ident
	}
	if f != nil && f.domain != "" {
		rewrite = f.domain
	}
	s.putAttr("log_ident", ident)
	s.putAttr("rewrite_context", rewrite)
	s.putAttr("sasl_method", a.Method)
	s.putAttr("sasl_username", a.Login)
	s.putAttr("sasl_sender", tx.access.SASLSender)
	s.putAttr("envelope_id", tx.envID)
	s.putAttrInt("ret_flags", tx.ret)
	tx.stream.Put(record.Sender, tx.access.Sender)
	s.putAttr("encoding", tx.encoding)
	if f != nil && f.identity {
		s.putAttr("log_client_name", f.name)
		s.putAttr("log_client_address", f.rfcAddress())
		s.putAttr("log_client_port", f.port)
		s.putAttr("log_message_origin", f.logName(s.set.portLogging))
		s.putAttr("log_helo_name", f.helo)
		s.putAttr("log_protocol_name", f.protocol)
	} else {
		s.putAttr("log_client_name", a.Name)
		s.putAttr("log_client_address", a.RFCAddress())
		s.putAttr("log_client_port", a.Port)
		s.putAttr("log_message_origin", a.LogName)
		s.putAttr("log_helo_name", a.Helo)
		s.putAttr("log_protocol_name", a.Protocol)
	}
	s.putAttr("client_name", a.Name)
	s.putAttr("reverse_client_name", a.ReverseName)
	s.putAttr("client_address", a.Address)
	s.putAttr("client_port", a.Port)
	s.putAttr("server_address", a.ServerAddress)
	s.putAttr("server_port", a.ServerPort)
	s.putAttr("helo_name", a.Helo)
	s.putAttr("protocol_name", a.Protocol)
	cleanupclient.PutAttr(tx.stream, "client_address_type", strconv.Itoa(a.Family()))
	if tx.verp != "" {
		tx.stream.Put(record.Verp, tx.verp)
	}
}

// pendingFlags are the hold and discard actions, as cleanup wants them.
func (s *session) pendingFlags() int {
	flags := 0
	if s.tx.access.Actions.Hold {
		flags |= int(cleanupclient.Hold)
	}
	if s.tx.access.Actions.Discard {
		flags |= int(cleanupclient.Discard)
	}
	return flags
}

// beginContent sends what stands between envelope and content.
func (s *session) beginContent() {
	tx := &s.tx
	tx.content = content{started: true, first: true, lineStart: true, prevCRLF: true}
	if !s.set.standalone {
		if flags := s.pendingFlags(); flags != 0 {
			tx.content.flags = flags
			tx.stream.Put(record.Flags, strconv.Itoa(flags))
		}
	}
	tx.stream.Put(record.Content, "")
	for _, header := range tx.access.Actions.Prepend {
		s.putText(header)
	}
	s.putReceived()
}

// putText adds a line of content that this server makes.
func (s *session) putText(line string) {
	s.storeBytes([]byte(line), crlfEnd)
}

// endMessage ends the content and waits for the verdict of cleanup.
func (s *session) endMessage() (status cleanupclient.Status, reason string) {
	tx := &s.tx
	actions := &tx.access.Actions
	tx.stream.Put(record.Extracted, "")
	if !s.set.standalone {
		if actions.Filter != "" {
			tx.stream.Put(record.Filter, actions.Filter)
		}
		if actions.Redirect != "" {
			tx.stream.Put(record.Redirect, actions.Redirect)
		}
		for _, bcc := range actions.BCC {
			tx.stream.Put(record.Recipient, bcc)
			s.putAttrInt("notify_flags", notifyNever)
		}
		if flags := s.pendingFlags(); flags != tx.content.flags {
			tx.stream.Put(record.Flags, strconv.Itoa(flags))
		}
	}
	tx.stream.Put(record.End, "")
	status, reason, err := tx.stream.Finish()
	if err != nil {
		s.warnf("%s: %s", s.access.QueueID(), err)
		return status | cleanupclient.Write, ""
	}
	return status, reason
}

// finishMessage does what is to be done when all content was received: the last
// rules, the hand-over, the reply (spec smtpd §10). It ends the transaction.
func (s *session) finishMessage(bdat bool) (bool, error) {
	tx := &s.tx
	defer s.in.shrink()
	defer s.endTransaction()
	s.access.Stage = stageEndOfMessage
	tx.access.Size = tx.content.size
	status := tx.content.status
	reason := ""
	if status == 0 && s.rules != nil {
		if reply := s.rules.EndOfData(s.ctx, &s.access); reply.Refused() {
			tx.content.started = false
			return s.refused(reply)
		}
	}
	switch {
	case status != 0:
	case s.ctx.Err() != nil:
		// The session is being ended: nobody would hear that the message
		// was accepted.
		status = cleanupclient.Write
	default:
		status, reason = s.endMessage()
	}
	tx.content.started = false
	if status == 0 {
		s.errors, s.junk, s.classes = 0, 0, 0
		if bdat {
			s.reply("250 2.0.0 Ok: %d bytes queued as %s", tx.content.size, tx.access.QueueID)
		} else {
			s.reply("250 2.0.0 Ok: queued as %s", tx.access.QueueID)
		}
		return true, nil
	}
	s.messageError(status, reason)
	return false, nil
}

// messageError sends the reply for a message that was not accepted. The first
// bit in Postfix's order decides.
func (s *session) messageError(status cleanupclient.Status, reason string) {
	smtpReply := len(reason) >= 3 && isRefusal(reason+" ")
	fail := func(class smtpaccess.ErrorClass, format string, args ...any) {
		s.classes |= class
		s.reply(format, args...)
	}
	switch {
	case status&cleanupclient.BareLF != 0:
		s.rejectBareLF()
	case smtpReply && status&(cleanupclient.Cont|cleanupclient.Defer) != 0:
		fail(smtpaccess.ClassPolicy, "%s", reason)
	case status&cleanupclient.Defer != 0:
		if reason == "" {
			reason = "4.7.1 Error: service unavailable"
		}
		fail(smtpaccess.ClassPolicy, "451 %s", reason)
	case status&cleanupclient.Bad != 0:
		fail(smtpaccess.ClassSoftware, "451 4.3.0 Error: internal error %d", int(status))
	case status&cleanupclient.Size != 0:
		fail(smtpaccess.ClassBounce, "552 5.3.4 Error: message file too big")
	case status&cleanupclient.Hops != 0:
		fail(smtpaccess.ClassBounce, "554 5.4.0 Error: too many hops")
	case status&cleanupclient.Cont != 0:
		if reason == "" {
			reason = "5.7.1 Error: message content rejected"
		}
		fail(smtpaccess.ClassPolicy, "550 %s", reason)
	case status&cleanupclient.Write != 0:
		fail(smtpaccess.ClassResource, "451 4.3.0 Error: queue file write error")
	default:
		fail(smtpaccess.ClassSoftware, "451 4.3.0 Error: internal error %d", int(status))
	}
}

// putReceived adds the Received: header (spec smtpd §13).
func (s *session) putReceived() {
	tx, a := &s.tx, &s.access
	date := cleanupclient.Date(tx.arrival, s.set.dialect37)
	id := tx.access.QueueID
	rcpt := ""
	if tx.access.Accepted == 1 && tx.first != "" {
		rcpt = address.QuoteUnlessEmpty(tx.first)
	}
	if s.set.hideClient && !s.set.dialect37 {
		by := "Received: by " + s.set.hostname + " (" + s.set.mailName + ") id " + id
		if rcpt != "" {
			s.putText(by)
			s.putText("\tfor <" + rcpt + ">; " + date)
			return
		}
		s.putText(by + ";")
		s.putText("\t" + date)
		return
	}
	helo := a.Helo
	if !a.HasHelo {
		helo = a.Name
	}
	s.putText("Received: from " + helo + " (" + a.Name + " [" + a.RFCAddress() + "])")
	with := a.Protocol
	if tx.access.SMTPUTF8 {
		with = "UTF8SMTP"
	}
	if a.Protocol == "ESMTP" && a.Login != "" {
		with += "A"
	}
	if a.Login != "" && s.set.authHeader {
		s.putText("\t(Authenticated sender: " + commentText(a.Login) + ")")
	}
	by := "\tby " + s.set.hostname + " (" + s.set.mailName + ") with " + with + " id " + id
	if rcpt != "" {
		s.putText(by)
		s.putText("\tfor <" + rcpt + ">; " + date)
		return
	}
	s.putText(by + ";")
	s.putText("\t" + date)
}

// commentText makes a name safe inside a header comment.
func commentText(text string) string {
	b := []byte(printableBytes(text, '?'))
	depth := 0
	for i, c := range b {
		switch c {
		case '\\':
			b[i] = '?'
		case '(':
			depth++
		case ')':
			if depth == 0 {
				b[i] = '?'
			} else {
				depth--
			}
		}
	}
	return string(b) + strings.Repeat(")", depth)
}
