package smtpclient

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"suffix/pkg/address"
	"suffix/pkg/datawriter"
	"suffix/pkg/dsn"
	"suffix/pkg/maillog"
	"suffix/pkg/mime"
	"suffix/pkg/outcome"
	"suffix/pkg/record"
)

// errCorrupt says that the queue file does not hold what it should.
var errCorrupt = errors.New("unreadable mail queue entry")

// readError is a failure to read the queue file, in contrast to one to write
// to the server.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

var fileReaders = sync.Pool{New: func() any { return record.NewFileReader(nil, "") }}

// message sends the content and deals with the answer to it.
func (t *transaction) message() error {
	d, s := t.d, t.s
	s.state = "sending message body"
	out := timedWriter{s: s, timeout: s.cfg.DataXferTimeout}
	var paced *pacedWriter
	var sink io.Writer = out
	if s.cfg.PerRequestDeadline {
		paced = &pacedWriter{s: s, start: time.Now()}
		sink = paced
	}
	w := datawriter.New(sink)
	defer w.Release()
	w.LineLimit = s.cfg.LineLimit

	err := t.content(w)
	if w.Broken {
		s.log().Infof("%s: breaking line > %d bytes with <CR><LF>SPACE", d.req.QueueID, s.cfg.LineLimit)
	}
	var local readError
	var mimeError mime.Error
	switch {
	case err == nil:
	case errors.Is(err, errCorrupt):
		t.corrupt()
		return nil
	case errors.As(err, &local):
		// Nothing was committed: the server sees the connection go.
		s.log().Logf(maillog.Error, "%s: queue file read error: %v", d.req.QueueID, local.error)
		s.dead, s.noCache = true, true
		d.fail(s, messageFailure("4.3.0", "queue file read error"))
		return nil
	case errors.As(err, &mimeError):
		s.dead, s.noCache = true, true
		d.fail(s, messageFailure("5.6.0", "%s", mimeError.Error()))
		return nil
	case errors.Is(err, errLocalData):
		// The connection is dropped, so that half a message is none.
		f := s.streamFailure(err)
		f.dead = true
		d.fail(s, f)
		return nil
	default:
		return t.afterBodyError(err)
	}
	if s.has(featPIXDelay) {
		if err := w.Flush(); err != nil {
			return t.afterBodyError(err)
		}
		sleep(d.ctx, s.cfg.PIXDelay)
	}
	s.state = "sending end of data -- message may be sent more than once"
	after := ""
	if s.has(featPipelining) && !(d.store && s.reusable()) {
		after = "QUIT\r\n"
		s.quitSent = true
	}
	if s.transcribes() {
		s.record(" Out: .")
	}
	if err := w.End(after); err != nil {
		return t.afterBodyError(err)
	}
	return t.endOfData()
}

// afterBodyError reads what the server said before it stopped listening.
func (t *transaction) afterBodyError(err error) error {
	d, s := t.d, t.s
	s.noCache = true
	var r reply
	if s.reply(s.cfg.DataDoneTimeout, &r) != nil {
		return err
	}
	s.dead = true
	d.req.Times.Delivered = time.Now()
	d.fail(s, &failure{scope: scopeMessage, dsn: s.said(&r, "end of DATA"), dead: true, noCache: true})
	return nil
}

// endOfData reads the answer to the message: one, or in LMTP one for each
// recipient.
func (t *transaction) endOfData() error {
	d, s := t.d, t.s
	var r reply
	for i := range d.rcpts {
		rcpt := &d.rcpts[i]
		if rcpt.state != left || !rcpt.accepted {
			continue
		}
		if d.cfg.LMTP || r.text == "" {
			if err := s.reply(s.cfg.DataDoneTimeout, &r); err != nil {
				return err
			}
			d.req.Times.Delivered = time.Now()
		}
		switch {
		case r.ok():
			d.sent(s, rcpt, &r)
		case d.cfg.LMTP:
			d.failRecipient(s, rcpt, s.said(&r, "end of DATA"))
		default:
			d.fail(s, &failure{scope: scopeMessage, dsn: s.said(&r, "end of DATA")})
		}
	}
	if s.quitSent {
		s.awaitQuit()
	}
	return nil
}

// corrupt deals with a damaged queue file: the senders of what is left are
// told, and the queue manager puts the file away.
func (t *transaction) corrupt() {
	d, s := t.d, t.s
	s.dead, s.noCache = true, true
	why := dsn.DSN{Status: "5.3.0", Reason: errCorrupt.Error()}
	d.stampFailure()
	bounced := true
	for i := range d.rcpts {
		r := &d.rcpts[i]
		if r.state == left {
			r.state = done
			result := d.rec.Bounce(*r.Recipient, d.attempt(d.relay(s)), why)
			bounced = bounced && result == outcome.Done
		}
	}
	if bounced {
		d.rec.MarkCorrupt(d.req.QueueName + "/" + d.req.QueueID)
	}
}

// records calls each for every content record of the queue file.
func (d *delivery) records(each func(t record.Type, data []byte) (bool, error)) error {
	r := fileReaders.Get().(*record.FileReader)
	defer func() {
		r.Reset(nil, "")
		fileReaders.Put(r)
	}()
	r.Reset(d.req.File, d.req.QueueID)
	r.SeekTo(d.req.Offset)
	for {
		t, data, err := r.Next()
		switch {
		case err == io.EOF || record.IsBad(err):
			d.cfg.Log.Warnf("%s: bad record type: %d in message content", d.req.QueueID, -1)
			return errCorrupt
		case err != nil:
			return readError{err}
		case t == record.Text || t == record.Fragment:
			if more, err := each(t, data); !more || err != nil {
				return err
			}
		case t == record.Extracted:
			return nil
		default:
			d.cfg.Log.Warnf("%s: bad record type: %d in message content", d.req.QueueID, t)
			return errCorrupt
		}
	}
}

// content writes the message.
func (t *transaction) content(w *datawriter.Writer) error {
	d := t.d
	if t.edits() {
		return t.editedContent(w)
	}
	for _, line := range t.extraHeaders() {
		if err := w.Line([]byte(line)); err != nil {
			return err
		}
	}
	return d.records(func(kind record.Type, data []byte) (bool, error) {
		if kind == record.Fragment {
			return true, w.Text(data)
		}
		return true, w.Line(data)
	})
}

// edits says whether the content must be looked at.
func (t *transaction) edits() bool {
	c := t.d.cfg
	return t.convert || !c.Generic.Empty() || !c.HeaderChecks.Empty() || !c.MIMEHeaderChecks.Empty() ||
		!c.NestedHeaderChecks.Empty() || !c.BodyChecks.Empty()
}

// extraHeaders are the headers that the transport's flags ask for.
func (t *transaction) extraHeaders() []string {
	d, c := t.d, t.d.cfg
	mapped := func(internal string) string {
		// A table error shows up again at the envelope, which comes first.
		if m, err := c.generic(internal); err == nil {
			internal = m
		}
		return safeHeader(address.Quote(internal))
	}
	var lines []string
	if c.Flags.ReturnPath {
		sender := ""
		if d.req.Sender != "" {
			sender = mapped(d.req.Sender)
		}
		lines = append(lines, "Return-Path: <"+sender+">")
	}
	if rcpt := d.rcpts[0]; c.Flags.OriginalTo && rcpt.Original != "" {
		lines = append(lines, "X-Original-To: "+mapped(rcpt.Original))
	}
	if c.Flags.DeliveredTo {
		lines = append(lines, "Delivered-To: "+mapped(d.rcpts[0].Address))
	}
	return lines
}

// safeHeader keeps an address from becoming several header lines. Bytes that
// are no UTF-8 stay as they are.
func safeHeader(text string) string {
	b := []byte(text)
	for i, c := range b {
		if c < 32 || c == 127 {
			b[i] = ' '
		}
	}
	return string(b)
}

// pacedWriter gives the whole content one time limit, which grows with what
// the server takes (smtp_per_request_deadline, smtp_min_data_rate).
type pacedWriter struct {
	s     *session
	start time.Time
	sent  int64
}

func (p *pacedWriter) Write(b []byte) (int, error) {
	const step = 16 << 10
	written := 0
	for len(b) > 0 {
		c := p.s.cfg
		limit := p.start.Add(c.DataXferTimeout)
		if c.MinDataRate > 0 {
			limit = limit.Add(time.Duration(p.sent) * time.Second / time.Duration(c.MinDataRate))
		}
		n, err := timedWriter{s: p.s, deadline: limit}.Write(b[:min(len(b), step)])
		written += n
		p.sent += int64(n)
		if err != nil {
			return written, err
		}
		b = b[n:]
	}
	return written, nil
}

// hasDeliveredTo looks for a Delivered-To header with an address, in the
// message's own headers (spec delivery §4.1).
func (d *delivery) hasDeliveredTo(internal string) (bool, error) {
	const limit = 1000
	want := strings.ToLower(address.Quote(internal))
	found, continued, seen := false, false, 0
	err := d.records(func(t record.Type, data []byte) (bool, error) {
		skip := continued
		continued = t == record.Fragment
		if skip {
			return true, nil
		}
		if len(data) > 0 && (data[0] == ' ' || data[0] == '\t') {
			return true, nil
		}
		name, value, ok := strings.Cut(string(data), ":")
		if !ok || strings.ContainsAny(strings.TrimRight(name, " \t"), " \t") {
			return false, nil
		}
		if strings.EqualFold(strings.TrimRight(name, " \t"), "Delivered-To") {
			if seen++; seen > limit {
				return false, nil
			}
			found = found || strings.ToLower(strings.TrimLeft(value, " \t")) == want
		}
		return !found, nil
	})
	if err != nil {
		return false, fmt.Errorf("look for Delivered-To: %w", err)
	}
	return found, nil
}
