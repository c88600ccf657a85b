// Package erroragent is the error(8) delivery agent: it returns or defers
// every recipient it is given, with the text that stands in the nexthop.
//
// The service named error returns mail as undeliverable, the service named
// retry defers it. The text may begin with an enhanced status code:
// "5.7.1 we do not accept mail for this domain".
//
// It talks to bounce, defer, trace, verify and flush, and reads
// soft_bounce, the names of those services, and the parameters of every daemon.
package erroragent

import (
	"context"
	"fmt"

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
		Program: "error",
		Kind:    service.Single,
		Setup: func(p *service.Process) error {
			deliverer := bounceAll
			switch p.Service {
			case "error":
			case "retry":
				deliverer = deferAll
			default:
				return fmt.Errorf("bad error service name: %s", p.Service)
			}
			agent = deliver.NewAgent(p.Config, outcome.New(p.Config, "", nil), deliverer)
			return nil
		},
		Serve: func(ctx context.Context, p *service.Process, c *service.Conn) { agent.Serve(ctx, p, c) },
	})
}

var nowhere = outcome.Attempt{Relay: "none"}

func bounceAll(_ context.Context, r *deliver.Request) dsn.DSN {
	return each(r, "5.0.0", r.Bounce)
}

func deferAll(_ context.Context, r *deliver.Request) dsn.DSN {
	return each(r, "4.0.0", r.Defer)
}

func each(r *deliver.Request, status string, record func(dsn.Recipient, outcome.Attempt, dsn.DSN) outcome.Result) dsn.DSN {
	if r.NextHop == "" {
		maillog.Logf(maillog.Fatal, "%s: empty nexthop hostname", r.QueueID)
		r.KeepForRetry()
		return dsn.DSN{}
	}
	status, reason := dsn.Split(r.NextHop, status)
	for _, rcpt := range r.Recipients {
		record(rcpt, nowhere, dsn.DSN{Status: status, Reason: reason})
	}
	return dsn.DSN{}
}
