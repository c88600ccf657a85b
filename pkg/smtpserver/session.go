package smtpserver

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"suffix/pkg/anvilclient"
	"suffix/pkg/cleanupclient"
	"suffix/pkg/smtpaccess"
)

// A session is the dialogue with one client.
type session struct {
	srv    *Server
	set    *Settings
	rules  *smtpaccess.Checker
	ctx    context.Context
	conn   net.Conn
	in     reader
	out    []byte
	lastIO time.Time

	access smtpaccess.Session
	tx     transaction

	errors, junk int
	classes      smtpaccess.ErrorClass // seen since the last good message
	history      []string
	counts       [len(commandNames)]count
	denied       string // the reply that refused the client at connect
	closing      bool   // a reply ended the session
	finished     bool   // the client was told, or has asked, to go
	reason       string // why the session ended otherwise
	newline      newlineMode
	sawBareLF    bool
	flagged      bool // improper pipelining was logged
	handedOver   bool // by postscreen, which looked for early talkers

	keywords          keywordSet // EHLO keywords not offered
	xclient, xforward bool       // may use the command
	anvil             *anvilclient.Session
	number, sequence  int64
}

// A transaction is the state of one mail transaction. It is only ever replaced
// as a whole (spec hardening §3.1).
type transaction struct {
	access   smtpaccess.Transaction
	stream   cleanupclient.Stream // nil until the first recipient is accepted
	arrival  time.Time
	encoding string
	envID    string
	ret      int
	verp     string
	context  string // rewrite context
	mailLine string
	first    string // first accepted recipient
	over     int    // recipients beyond the limit
	forward  *forwarded
	content  content
	bdat     bdatState
	carry    []byte // unfinished line at the end of a chunk
}

// errData ends a session because a lookup failed that decides what the client
// may do.
var errData = errors.New("data error")

// errHangUp ends a session without a word.
var errHangUp = errors.New("hang up")

func newSession(ctx context.Context, srv *Server, variant Variant, conn net.Conn) *session {
	set := variant.Settings
	s := &session{srv: srv, set: set, rules: variant.Rules, ctx: ctx, conn: conn, lastIO: time.Now(), number: srv.sessions.Add(1)}
	s.in = reader{
		conn: conn, limit: set.lineLimit, timeout: set.timeout,
		request: set.perRequest, minRate: set.minDataRate, beforeIO: s.flush,
	}
	s.access.Log = srv.Log
	s.access.Stage = "CONNECT"
	s.access.Protocol = "SMTP"
	s.access.ServerName = set.hostname
	s.access.Stress = set.stress
	s.access.Tx = &s.tx.access
	return s
}

// run is the life of a session.
func (s *session) run(pass map[string]string) {
	err := s.identify(pass)
	s.logf("connect from %s", s.access.LogName)
	if err == nil {
		err = s.permissions()
	} else {
		s.reply("421 4.3.0 %s Server local error", s.set.hostname)
		err = errHangUp
	}
	if err == nil {
		err = s.start()
	}
	for err == nil && !s.closing && !s.finished {
		err = s.step()
	}
	s.end(err)
}

// end says goodbye as far as possible and writes the last log lines.
func (s *session) end(err error) {
	content := s.tx.content.started
	size := s.tx.content.size + int64(len(s.in.buffered()))
	id, stage := s.access.QueueID(), s.access.Stage
	switch {
	case err == nil || errors.Is(err, errHangUp):
	case errors.Is(err, errTimeout):
		s.reason = "timeout"
		s.reply("421 4.4.2 %s Error: timeout exceeded", s.set.hostname)
	case errors.Is(err, errData):
		text := "421 4.3.0 " + s.set.hostname + " Server local data error"
		s.classes |= smtpaccess.ClassData
		s.access.LogAction(s.set.style, "reject", text)
		s.reply("%s", text)
	default:
		s.reason = "lost connection"
	}
	if flushErr := s.flush(); flushErr != nil && s.reason == "" && !s.finished && !s.closing {
		s.reason = "lost connection"
	}
	if s.reason != "" && !(s.reason == "lost connection" && stage == stageEndOfMessage) {
		prefix := id + ": "
		if s.set.dialect37 {
			prefix = ""
		}
		if content {
			s.logf("%s%s after %s (%d bytes) from %s", prefix, s.reason, stage, size, s.access.LogName)
		} else {
			s.logf("%s%s after %s from %s", prefix, s.reason, stage, s.access.LogName)
		}
	}
	s.endTransaction()
	s.disconnectAnvil()
	s.sendNotice(true)
	s.logf("disconnect from %s%s", s.access.LogName, s.statistics())
}

// sayPanic tells the client that the session ends because of a bug. The panic
// goes on to the frame of the daemon, which logs it.
func (s *session) sayPanic() {
	if bug := recover(); bug != nil {
		s.out = append(s.out[:0], "421 4.3.0 "+s.set.hostname+" Server local error\r\n"...)
		// The client may be gone; the panic matters more.
		_ = s.flush()
		panic(bug)
	}
}

// cleanup releases what a session holds, however it ended. It may be called
// after end, and after a panic.
func (s *session) cleanup() {
	if s.tx.stream != nil {
		s.tx.stream.Abort()
		s.tx.stream = nil
	}
	if s.anvil != nil {
		s.anvil.Close()
	}
}

// endTransaction forgets the mail transaction: sender, recipients, content,
// recorded actions, and the message that cleanup has not been told to keep. It
// is the only way in which any of that ends.
func (s *session) endTransaction() {
	if s.tx.stream != nil {
		s.tx.stream.Abort()
	}
	s.tx = transaction{}
}

// logf writes an info line.
func (s *session) logf(format string, args ...any) { s.srv.Log.Infof(format, args...) }

// warnf writes a warning.
func (s *session) warnf(format string, args ...any) { s.srv.Log.Warnf(format, args...) }

// reject logs a refusal in the usual form and sends it.
func (s *session) reject(class smtpaccess.ErrorClass, text string) {
	s.classes |= class
	s.access.LogAction(s.set.style, "reject", text)
	s.reply("%s", text)
}

// fail notes an error of the given class and replies.
func (s *session) fail(class smtpaccess.ErrorClass, format string, args ...any) (bool, error) {
	s.classes |= class
	s.reply(format, args...)
	return false, nil
}

// refused sends a refusal of the access rules.
func (s *session) refused(reply smtpaccess.Reply) (bool, error) {
	s.classes |= reply.Class
	if reply.HangUp {
		return false, errHangUp
	}
	s.reply("%s", reply.Text)
	return false, nil
}

// checkInvariant makes sure that no remains of a transaction outlive it.
func (s *session) checkInvariant() error {
	tx := &s.tx
	if !tx.access.HasSender && (tx.access.Accepted != 0 || tx.stream != nil || tx.bdat == bdatActive) {
		return fmt.Errorf("transaction state: no sender, but %d recipients, message %t, BDAT state %d", tx.access.Accepted, tx.stream != nil, tx.bdat)
	}
	return nil
}

// sleep pauses, but not longer than the session may live.
func (s *session) sleep(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-s.ctx.Done():
	}
}
