// Package cleanup is the cleanup(8) daemon: it receives messages on the socket
// public/cleanup, one per connection, and puts them into the incoming queue.
//
// It talks to trivial-rewrite (addresses), bounce and trace (mail that it
// returns or reports), verify (probes), and qmgr (new mail). The work is done
// by pkg/cleanup, which names the parameters that are read.
package cleanup

import (
	"context"
	"errors"
	"io"
	"os"

	"suffix/pkg/attr"
	"suffix/pkg/cleanup"
	"suffix/pkg/cleanupclient"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/record"
	"suffix/pkg/service"
	"suffix/pkg/syserr"

	_ "suffix/pkg/alltables" // the table types of main.cf
)

// Main runs the daemon.
func Main() {
	d := &daemon{}
	service.Run(service.Daemon{
		Program: "cleanup",
		Kind:    service.Single,
		Limit:   service.LimitZero,
		Flow:    true,
		Setup:   d.setup,
		Serve:   d.serve,
		Exit:    func(*service.Process) { d.engine.Drain() },
	})
}

type daemon struct {
	engine *cleanup.Engine
}

func (d *daemon) setup(p *service.Process) error {
	engine, err := cleanup.New(p.Config, maillog.Default())
	if err != nil {
		return err
	}
	d.engine = engine
	engine.OnHold = func() { p.FlowPut(1) }
	engine.RemoveOnTerm()
	maillog.AtFatal(engine.RemoveUnfinished)
	p.Watch(engine.Changed)
	if p.Config.String(params.NonSmtpdMilters) != "" {
		maillog.Warnf("non_smtpd_milters is set, but this cleanup cannot talk to Milters: mail that needs them is not accepted")
	}
	return nil
}

// serve receives one message (spec ipc §8).
func (d *daemon) serve(ctx context.Context, p *service.Process, c *service.Conn) {
	m, err := d.engine.Create(ctx)
	if err != nil {
		maillog.Warnf("%v", err)
		return
	}
	defer m.Abort()
	if err := c.W.Str("protocol", "cleanup_protocol").Str("queue_id", m.QueueID()).End(); err != nil {
		maillog.Warnf("%s: write greeting: %s", m.QueueID(), syserr.Text(err))
		return
	}
	flags, err := readFlags(c.R)
	switch {
	case errors.Is(err, attr.ErrEOF):
		return
	case err != nil:
		maillog.Warnf("%v", err)
		m.Fail(cleanupclient.Bad)
	default:
		m.SetFlags(cleanupclient.Flags(flags))
		if !receive(m, c) {
			return
		}
	}
	status, reason, err := m.Finish()
	if err != nil {
		maillog.Warnf("%v", err)
	}
	if err := c.W.Int("status", int(status)).Str("reason", reason).End(); err != nil {
		maillog.Warnf("%s: write status: %s", m.QueueID(), syserr.Text(err))
	}
}

func readFlags(r *attr.Reader) (int, error) {
	flags, err := r.Int("flags")
	if err != nil {
		return 0, err
	}
	return flags, r.End()
}

// receive reads records up to the end of the message. It returns false when
// the client is gone: there is nobody to tell then.
func receive(m *cleanup.Message, c *service.Conn) bool {
	r := record.NewReader(c.R.Buffered(), c.R.Stream(), 0)
	for {
		t, data, err := r.Next()
		switch {
		case err == nil:
			m.PutBytes(t, data)
			if m.Ended() {
				return true
			}
		case errors.Is(err, os.ErrDeadlineExceeded):
			maillog.Warnf("%s: read timeout on %s", m.QueueID(), c.R.Stream())
			return false
		case errors.Is(err, io.EOF):
			return false
		case record.IsBad(err):
			maillog.Warnf("%v", err)
			m.Fail(cleanupclient.Bad)
			return true
		default:
			maillog.Debugf("%s: %v", m.QueueID(), err)
			return false
		}
	}
}
