package deliver

import (
	"context"
	"time"

	"suffix/pkg/dsn"
	"suffix/pkg/ipc"
	"suffix/pkg/maillog"
	"suffix/pkg/outcome"
)

// Pass hands one recipient of a request on to another agent, which records the
// outcome (spec ipc §12, delivery §8.11). Only whether the recipient must be
// tried again comes back: what the other agent says about its destination
// would blame the wrong transport.
func (r *Request) Pass(ctx context.Context, transport, nexthop string, rcpt dsn.Recipient, timeout time.Duration, dialect37 bool) outcome.Result {
	maillog.Infof("%s: passing <%s> to transport=%s", r.QueueID, r.recorder.LogAddress(rcpt.Address), transport)
	passed := *r
	passed.NextHop = nexthop
	rcpt.Offset = -1
	passed.Recipients = []dsn.Recipient{rcpt}

	unavailable := func(reason string) outcome.Result {
		return r.Defer(rcpt, outcome.Attempt{Relay: "none"}, dsn.DSN{Status: "4.3.0", Reason: reason})
	}
	conn, err := ipc.DialWait(ctx, ipc.Private, transport, timeout, func(text string) { maillog.Warnf("%s", text) })
	if err != nil {
		maillog.Warnf("%v", err)
		return unavailable("mail transport unavailable")
	}
	defer conn.Close()
	if err := conn.R.Protocol(Protocol); err == nil {
		err = conn.R.End()
		if err == nil {
			passed.Put(conn.W, dialect37)
			err = conn.W.Flush()
		}
		if err != nil {
			maillog.Warnf("private/%s: bad write", transport)
			return unavailable("mail transport unavailable")
		}
	} else {
		maillog.Warnf("private/%s: malformed response", transport)
		return unavailable("mail transport unavailable")
	}
	reply, err := ReadReply(conn.R)
	if err != nil {
		maillog.Warnf("private/%s: malformed response", transport)
		return unavailable("unknown mail transport error")
	}
	if reply.Retry {
		r.retry = true
		return outcome.Retry
	}
	return outcome.Done
}
