package smtpclient

import (
	"errors"
	"fmt"
	"os"

	"suffix/pkg/dsn"
)

// A scope says whom a failure concerns (spec smtp-client §7.1).
type scope int

const (
	scopeSite    scope = iota // all left recipients; the destination is in trouble
	scopeStream               // the same, because the connection is gone
	scopeMessage              // all left recipients; the message is the reason
)

// A failure ends the work of a session with the recipients that are left.
type failure struct {
	scope scope
	dsn   dsn.DSN
	// noThrottle keeps the queue manager from blaming the destination.
	noThrottle bool
	// softUntilFinal lets a permanent failure count as temporary while there
	// is another server.
	softUntilFinal bool
	// noCache keeps the connection from being reused.
	noCache bool
	// dead says that nothing may be sent any more, not even QUIT.
	dead bool
}

func (f *failure) Error() string { return f.dsn.Reason }

// siteFailure makes a failure that is no answer of the server.
func siteFailure(status, format string, args ...any) *failure {
	return &failure{scope: scopeSite, dsn: dsn.DSN{Status: status, Reason: fmt.Sprintf(format, args...)}}
}

func messageFailure(status, format string, args ...any) *failure {
	return &failure{scope: scopeMessage, dsn: dsn.DSN{Status: status, Reason: fmt.Sprintf(format, args...)}}
}

// errLocalData marks an error of a lookup table in the middle of a dialogue.
var errLocalData = errors.New("local data error")

// streamFailure classifies an error of the connection.
func (s *session) streamFailure(err error) *failure {
	f := &failure{scope: scopeStream, noCache: true, dead: true}
	switch {
	case errors.Is(err, errLocalData):
		f.dsn = dsn.DSN{Status: "4.3.0", Reason: "local data error while talking to " + s.nameAddr}
		f.dead = false
		s.oddity("data")
	case errors.Is(err, os.ErrDeadlineExceeded):
		f.dsn = dsn.DSN{Status: "4.4.2", Reason: "conversation with " + s.nameAddr + " timed out while " + s.state}
	default:
		f.dsn = dsn.DSN{Status: "4.4.2", Reason: "lost connection with " + s.nameAddr + " while " + s.state}
	}
	return f
}

// replyDSN makes the DSN of a server's rejection. A reply that does not say
// failure at all is a protocol error, and permanent.
func (s *session) replyDSN(r *reply, reason string) dsn.DSN {
	d := dsn.DSN{
		Status: r.status, Reason: reason,
		DiagType: "smtp", DiagText: r.oneLine(),
		MTAType: "dns", MTAName: s.host,
	}
	if class := dsn.Class(d.Status); class != '4' && class != '5' {
		d.Status = "5.5.0"
		d.Reason = "Protocol error: " + d.Reason
	}
	s.noteOddCode(r.code)
	return d
}

// noteOddCode remembers replies that the postmaster may want to see.
func (s *session) noteOddCode(code int) {
	if code < 400 || code > 599 || code == 555 || code >= 500 && code < 510 {
		s.oddity("protocol")
	}
}

// refused is the site failure of a server that does not want to talk.
func (s *session) refused(r *reply) *failure {
	return &failure{scope: scopeSite, dsn: s.replyDSN(r, fmt.Sprintf("host %s refused to talk to me: %s", s.nameAddr, r.oneLine()))}
}

// said is the DSN of a rejected command.
func (s *session) said(r *reply, command string) dsn.DSN {
	return s.replyDSN(r, fmt.Sprintf("host %s said: %s (in reply to %s command)", s.nameAddr, r.oneLine(), command))
}
