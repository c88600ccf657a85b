package qmgr

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"time"
	"unicode/utf8"

	"suffix/pkg/address"
	"suffix/pkg/attr"
	"suffix/pkg/deliver"
	"suffix/pkg/dsn"
	"suffix/pkg/ipc"
	"suffix/pkg/outcome"
	"suffix/pkg/syserr"
)

// startDeliveries connects to agents while there is work for one more.
func (m *Manager) startDeliveries() {
	for t := m.selectTransport(); t != nil; t = m.selectTransport() {
		t.pending++
		t.locked = t.transportDelay > 0
		a := &agent{m: m, t: t, work: make(chan *deliver.Request, 1)}
		go a.converse()
	}
}

// An agent is a connection to a delivery agent, from the connect to the reply
// (spec qmgr §10). Its goroutine does the talking; the entry belongs to the
// owner of the tables.
type agent struct {
	m     *Manager
	t     *transport
	work  chan *deliver.Request // closed when there is none
	entry *entry
}

// converse is the goroutine of a connection.
func (a *agent) converse() {
	conn, err := a.connect()
	a.m.post(func() { a.answered(err) })
	if err != nil {
		return
	}
	defer conn.Close()
	// The agent waits for a request. It is not wanted any more when the
	// Manager ends; then it sees the end of the connection.
	var request *deliver.Request
	select {
	case request = <-a.work:
	case <-a.m.ctx.Done():
	}
	if request == nil {
		return
	}
	request.Put(conn.W, a.m.settings.dialect37)
	if err := conn.W.Flush(); err != nil {
		a.m.log.Warnf("write to process (%s): %s", a.t.name, syserr.Text(err))
		a.m.post(a.refused)
		return
	}
	reply, err := deliver.ReadReply(conn.R)
	a.m.post(func() { a.finished(reply, err) })
}

// connectPause is the time between tries to connect to a service that has
// more clients waiting than its socket can hold.
const connectPause = 50 * time.Millisecond

// connect reaches an agent that is ready for a request.
func (a *agent) connect() (*attr.Conn, error) {
	timeout := a.m.settings.daemonTimeout
	var conn *attr.Conn
	var err error
	for deadline := time.Now().Add(timeout); ; {
		conn, err = ipc.Dial(ipc.Private, a.t.name, timeout)
		if !errors.Is(err, syscall.EAGAIN) || time.Now().After(deadline) {
			break
		}
		if err := pause(a.m.ctx, connectPause); err != nil {
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	if err = conn.R.Protocol(deliver.Protocol); err == nil {
		err = conn.R.End()
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// logBroken tells how an agent could not be reached, or failed to speak its
// protocol.
func (a *agent) logBroken(err error) {
	var unreachable *ipc.ConnectError
	if errors.As(err, &unreachable) {
		a.m.log.Warnf("connect to transport private/%s: %s", a.t.name, syserr.Text(err))
		return
	}
	if errors.Is(err, attr.ErrEOF) {
		a.m.log.Warnf("private/%s socket: premature disconnect", a.t.name)
		return
	}
	a.m.log.Warnf("%s", err)
	a.m.log.Warnf("private/%s socket: malformed response", a.t.name)
}

// isTimeout says whether a read or a connect ended by its deadline.
func isTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, syscall.ETIMEDOUT)
}

var (
	errNoTransport = dsn.DSN{Status: "4.3.0", Reason: "mail transport unavailable"}
	errCrash       = dsn.DSN{Status: "4.3.0", Reason: "unknown mail transport error"}
)

// answered gives the agent that answered something to do, now or after
// transport_rate_delay.
func (a *agent) answered(err error) {
	a.t.pending--
	switch {
	case isTimeout(err):
		a.m.fail("timeout connecting to transport: %s", a.t.name)
	case err != nil:
		a.t.locked = false
		if a.t.dead == nil {
			a.logBroken(err)
			a.t.throttle(errNoTransport)
		}
	case a.t.transportDelay > 0:
		a.m.after(a.t.transportDelay, a.assign)
	default:
		a.assign()
	}
}

func (a *agent) assign() {
	e := a.t.nextEntry()
	if e == nil {
		a.t.locked = false
		close(a.work)
		return
	}
	e.queue.touchCache()
	a.entry = e
	a.work <- a.m.request(e)
}

// refused puts the entry back that the agent did not take.
func (a *agent) refused() {
	a.entry.putBack()
	a.t.locked = false
	a.t.throttle(errNoTransport)
}

// finished handles the agent's reply, or the lack of one.
func (a *agent) finished(reply deliver.Reply, err error) {
	e := a.entry
	msg, q, t := e.job.msg, e.queue, a.t
	hop := reply.Hop
	if err != nil {
		if isTimeout(err) {
			a.m.fail("%s: timeout receiving delivery status from transport: %s", msg.id, t.name)
			return
		}
		a.logBroken(err)
		hop, reply.Retry = errCrash, true
	}
	msg.retry = msg.retry || reply.Retry
	t.locked = false
	if hop.Status != "" {
		if !dsn.ValidStatus(hop.Status) {
			hop.Status = "4.0.0"
		}
		if hop.Reason == "" {
			hop.Reason = "unknown error"
		}
		q.throttle(hop)
	}
	if err == nil {
		t.unthrottle()
		if hop.Status == "" {
			q.unthrottle()
		}
	}
	e.done()
}

// request makes the delivery request of an entry.
func (m *Manager) request(e *entry) *deliver.Request {
	msg := e.job.msg
	flags := deliver.FlagBounce
	if msg.inspector == "" {
		flags |= deliver.FlagMarkDone
	}
	sender, sendOpts := msg.sender, msg.sendOpts
	if m.settings.utf8 {
		for _, rcpt := range e.rcpts {
			if needsUTF8(rcpt.Address) {
				sendOpts |= deliver.OptRecipientUTF8
				break
			}
		}
	}
	if msg.verp != "" {
		sender = verpSender(msg.sender, msg.verp, e.rcpts[0])
		if m.settings.utf8 && needsUTF8(sender) {
			sendOpts |= deliver.OptSenderUTF8
		}
	}
	c := &msg.client
	return &deliver.Request{
		Flags:          msg.traceFlags | e.queue.cache | flags,
		QueueName:      "active",
		QueueID:        msg.id,
		Offset:         msg.contentStart,
		Size:           msg.contentLen,
		NextHop:        e.queue.nexthop,
		Encoding:       msg.encoding,
		SendOpts:       sendOpts,
		Sender:         sender,
		EnvelopeID:     msg.envelopeID,
		Ret:            msg.ret,
		Times:          outcome.Times{Arrival: msg.arrival, Active: msg.active},
		ClientName:     c.name,
		ClientAddress:  c.address,
		ClientPort:     c.port,
		ClientProtocol: c.protocol,
		ClientHelo:     c.helo,
		SASLMethod:     c.saslMethod,
		SASLUsername:   c.saslUsername,
		SASLSender:     c.saslSender,
		LogIdent:       c.logIdent,
		RewriteContext: c.rewriteContext,
		Recipients:     e.rcpts,
	}
}

// needsUTF8 says whether an address has valid UTF-8 outside of ASCII.
func needsUTF8(addr string) bool {
	for i := 0; i < len(addr); i++ {
		if addr[i] >= 0x80 {
			return utf8.ValidString(addr)
		}
	}
	return false
}

// verpSender encodes the recipient into the sender, between two delimiters.
func verpSender(sender, delimiters string, rcpt dsn.Recipient) string {
	to := rcpt.Original
	if to == "" {
		to = rcpt.Address
	}
	local, domain, hasDomain := address.Split(sender)
	rcptLocal, rcptDomain, rcptHasDomain := address.Split(to)
	var b strings.Builder
	fmt.Fprintf(&b, "%s%c%s", local, delimiters[0], rcptLocal)
	if rcptHasDomain {
		fmt.Fprintf(&b, "%c%s", delimiters[1], rcptDomain)
	}
	if hasDomain {
		b.WriteString("@" + domain)
	}
	return b.String()
}
