package smtpserver

import (
	"bytes"

	"suffix/pkg/cleanupclient"
	"suffix/pkg/record"
	"suffix/pkg/smtpaccess"
)

// content is the state of the message text being received.
type content struct {
	started   bool
	first     bool // the next piece is the first line
	lineStart bool // the next piece begins a line
	prevCRLF  bool // the line before ended in CR LF
	size      int64
	flags     int // sent to cleanup before the content
	status    cleanupclient.Status
}

// data handles DATA (spec smtpd §7.5, §9).
func (s *session) data(_ string, args []token) (bool, error) {
	tx := &s.tx
	switch {
	case tx.bdat != bdatIdle:
		return s.fail(smtpaccess.ClassProtocol, "503 5.5.1 Error: DATA after BDAT")
	case tx.access.Accepted == 0:
		return s.noRecipients()
	case len(args) != 1:
		return s.fail(smtpaccess.ClassProtocol, "501 5.5.4 Syntax: DATA")
	}
	if s.rules != nil {
		if reply := s.rules.Data(s.ctx, &s.access); reply.Refused() {
			return s.refused(reply)
		}
	}
	s.reply("354 End data with <CR><LF>.<CR><LF>")
	s.beginContent()
	if err := s.readContent(); err != nil {
		return false, err
	}
	return s.finishMessage(false)
}

// noRecipients refuses content that nobody shall receive.
func (s *session) noRecipients() (bool, error) {
	if !s.tx.access.HasSender {
		return s.fail(smtpaccess.ClassProtocol, "503 5.5.1 Error: need RCPT command")
	}
	return s.fail(0, "554 5.5.1 Error: no valid recipients")
}

// readContent reads lines until the end of the message.
func (s *session) readContent() error {
	c := &s.tx.content
	s.in.startRequest()
	for {
		piece, end, err := s.in.piece()
		if err != nil {
			return err
		}
		if end == bareLF {
			s.noteBareLF()
		}
		if !c.lineStart {
			s.store(piece, end)
			c.lineStart, c.prevCRLF = end != noEnd, end == crlfEnd
			continue
		}
		if c.first {
			c.first = false
			s.firstLine(piece)
		}
		if len(piece) > 0 && piece[0] == '.' {
			if len(piece) == 1 && end != noEnd {
				if s.newline == newlineAny || end == crlfEnd && c.prevCRLF {
					return nil
				}
				// Neither content nor an end that other systems agree on.
				c.prevCRLF = end == crlfEnd
				continue
			}
			piece = piece[1:]
		}
		s.store(piece, end)
		c.lineStart, c.prevCRLF = end != noEnd, end == crlfEnd
	}
}

// noteBareLF records a line end without CR.
func (s *session) noteBareLF() {
	switch s.newline {
	case newlineReject:
		s.tx.content.status |= cleanupclient.BareLF
	case newlineNote:
		s.sawBareLF = true
	}
}

// firstLine handles a first line that is no header: the start of a mailbox
// file entry becomes a header, and a continuation line the first of the body.
func (s *session) firstLine(line []byte) {
	if len(line) > 0 && (line[0] == ' ' || line[0] == '\t') {
		s.store(nil, crlfEnd)
		return
	}
	if bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From ")) {
		s.store([]byte("X-Mailbox-Line: "), noEnd)
	}
}

// store counts a piece of content and passes it on, as long as nothing is
// wrong with the message.
func (s *session) store(piece []byte, end lineEnd) {
	c := &s.tx.content
	limit := s.set.messageLimit
	if c.status&cleanupclient.Size != 0 {
		return
	}
	if add := int64(len(piece)) + 2; limit > 0 && limit-c.size < add {
		c.status |= cleanupclient.Size
		s.warnf("%s: queue file size limit exceeded", s.access.QueueID())
		return
	} else {
		c.size += add
	}
	if c.status == 0 {
		s.storeBytes(piece, end)
	}
}

// storeBytes passes a piece of content on.
func (s *session) storeBytes(piece []byte, end lineEnd) {
	t := record.Text
	if end == noEnd {
		t = record.Fragment
	}
	s.tx.stream.PutBytes(t, piece)
}
