package smtpserver

import (
	"strconv"
	"strings"

	"suffix/pkg/cleanupclient"
	"suffix/pkg/smtpaccess"
)

// bdatState says where a message that comes in chunks stands.
type bdatState uint8

const (
	bdatIdle   bdatState = iota
	bdatActive           // chunks were stored
	bdatFailed           // chunks are dropped until the last one, or RSET
)

// A chunkError is a refusal that is sent when the chunk was skipped.
type chunkError struct {
	class  smtpaccess.ErrorClass
	text   string // empty: the message was refused before
	hangUp bool
}

// bdat handles BDAT (spec smtpd §7.6).
func (s *session) bdat(line string, args []token) (bool, error) {
	if s.keywords&keyCHUNKING != 0 {
		// The administrator has turned CHUNKING off; the client would go on to
		// send what it takes for a chunk, so this reply ends the session.
		return s.fail(smtpaccess.ClassProtocol, "521 5.5.1 Error: command not implemented")
	}
	size, last, ok := parseChunk(args)
	if !ok {
		s.warnf("%s: malformed BDAT command syntax from %s: %s", s.access.QueueID(), s.access.LogName, cut(printableBytes(line, '?'), 100))
		return s.fail(smtpaccess.ClassProtocol, "521 5.5.4 Syntax: BDAT count [LAST]")
	}
	if s.tx.bdat == bdatFailed {
		return s.refuseChunk(size, last, chunkError{})
	}
	if size == 0 && !last {
		s.warnf("%s: null BDAT request from %s", s.access.QueueID(), s.access.LogName)
		return s.refuseChunk(size, last, chunkError{smtpaccess.ClassProtocol, "551 5.7.1 Null BDAT request", false})
	}
	if s.tx.bdat == bdatIdle {
		if refusal := s.beginChunks(); refusal != nil {
			return s.refuseChunk(size, last, *refusal)
		}
	}
	if limit := s.set.messageLimit; limit > 0 && size > limit-s.tx.content.size {
		s.warnf("%s: BDAT request from %s exceeds message size limit", s.access.QueueID(), s.access.LogName)
		return s.refuseChunk(size, last, chunkError{smtpaccess.ClassPolicy, "552 5.3.4 Chunk exceeds message size limit", false})
	}
	return s.storeChunk(size, last)
}

// parseChunk reads the arguments of BDAT.
func parseChunk(args []token) (size int64, last, ok bool) {
	if len(args) < 2 || len(args) > 3 || len(args) == 3 && !strings.EqualFold(args[2].text, "LAST") {
		return 0, false, false
	}
	size, ok, _ = parseSize(args[1].text)
	return size, len(args) == 3, ok
}

// beginChunks starts the content with the first chunk.
func (s *session) beginChunks() *chunkError {
	switch {
	case !s.tx.access.HasSender:
		return &chunkError{smtpaccess.ClassProtocol, "503 5.5.1 Error: need RCPT command", false}
	case s.tx.access.Accepted == 0:
		return &chunkError{0, "554 5.5.1 Error: no valid recipients", false}
	}
	if s.rules != nil {
		if reply := s.rules.Data(s.ctx, &s.access); reply.Refused() {
			return &chunkError{reply.Class, reply.Text, reply.HangUp}
		}
	}
	s.tx.bdat = bdatActive
	s.beginContent()
	s.tx.content.first = false
	return nil
}

// refuseChunk skips a chunk, so that the next command is found behind it, and
// then refuses it. What would take too long to skip ends the session
// (spec hardening SM5).
func (s *session) refuseChunk(size int64, last bool, e chunkError) (bool, error) {
	tx := &s.tx
	limit := s.set.messageLimit
	tooMuch := limit > 0 && (size > limit+limit/2 || tx.content.size > limit+limit/2-size)
	text := e.text
	if text == "" {
		text = "551 5.0.0 Discarded " + strconv.FormatInt(size, 10) + " bytes after earlier error"
	}
	if !tooMuch {
		s.in.startRequest()
		if err := s.in.skip(size); err != nil {
			tx.content.started = true
			return false, err
		}
		tx.content.size += size
	}
	s.classes |= e.class
	if e.hangUp {
		return false, errHangUp
	}
	s.reply("%s", text)
	switch {
	case tooMuch:
		s.warnf("%s: too much BDAT content -- disabling further input from %s", s.access.QueueID(), s.access.LogName)
		s.in.disable()
		s.endTransaction()
		return false, errLost
	case last:
		s.endTransaction()
	default:
		tx.bdat = bdatFailed
	}
	return false, nil
}

// storeChunk reads a chunk and passes it on line by line.
func (s *session) storeChunk(size int64, last bool) (bool, error) {
	tx := &s.tx
	c := &tx.content
	s.in.startRequest()
	put := func(piece []byte, end lineEnd) {
		if end == bareLF {
			s.noteBareLF()
		}
		s.store(piece, end)
		c.lineStart = end != noEnd
	}
	var err error
	if tx.carry, err = s.in.chunk(size, tx.carry, put); err != nil {
		return false, err
	}
	if last {
		if len(tx.carry) > 0 || !c.lineStart {
			put(tx.carry, crlfEnd)
		}
		return s.finishMessage(true)
	}
	if c.status != 0 {
		if c.status&cleanupclient.BareLF != 0 && c.status&cleanupclient.Size == 0 {
			// The reply comes with the last chunk.
			s.reply("250 2.0.0 Ok: %d bytes", size)
			return true, nil
		}
		s.messageError(c.status, "")
		tx.bdat = bdatFailed
		return false, nil
	}
	s.reply("250 2.0.0 Ok: %d bytes", size)
	return true, nil
}
