// Package discard is the discard(8) delivery agent: it claims success for
// every recipient it is given, and throws the mail away. The nexthop is the
// text for the log, and may begin with an enhanced status code.
//
// It talks to bounce, defer, trace, verify and flush, and reads the names of
// those services and the parameters of every daemon.
package discard

import (
	"context"

	"suffix/pkg/deliver"
	"suffix/pkg/dsn"
	"suffix/pkg/maillog"
	"suffix/pkg/outcome"
	"suffix/pkg/service"
)

// Main runs the daemon.
func Main() {
	var agent *deliver.Agent
	service.Run(service.Daemon{
		Program: "discard",
		Kind:    service.Single,
		Setup: func(p *service.Process) error {
			agent = deliver.NewAgent(p.Config, outcome.New(p.Config, "", nil), discardAll)
			return nil
		},
		Serve: func(ctx context.Context, p *service.Process, c *service.Conn) { agent.Serve(ctx, p, c) },
	})
}

func discardAll(_ context.Context, r *deliver.Request) dsn.DSN {
	if r.NextHop == "" {
		maillog.Logf(maillog.Fatal, "%s: empty nexthop hostname", r.QueueID)
		r.KeepForRetry()
		return dsn.DSN{}
	}
	status, reason := dsn.Split(r.NextHop, "2.0.0")
	for _, rcpt := range r.Recipients {
		r.Sent(rcpt, outcome.Attempt{Relay: "none"}, dsn.DSN{Status: status, Reason: reason})
	}
	return dsn.DSN{}
}
