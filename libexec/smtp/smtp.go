// Package smtp is the SMTP and LMTP client, smtp(8): a delivery agent that
// sends mail to other hosts. Under the name smtp it speaks SMTP and reads the
// smtp_ parameters, under the name lmtp it speaks LMTP and reads the lmtp_
// ones. The relay service is the same program under another service name.
//
// It talks to bounce, defer, trace, verify and flush about recipients, to
// cleanup when a postmaster notice is due, to proxymap for proxied tables, and
// to the name servers. It does not use the scache service: all deliveries of
// a transport run in one process, which keeps idle connections itself.
//
// Parameters: those of spec smtp-client §18, and those of every daemon.
package smtp

import (
	"context"
	"os"
	"path/filepath"

	"suffix/pkg/deliver"
	"suffix/pkg/maillog"
	"suffix/pkg/service"
	"suffix/pkg/smtpclient"

	_ "suffix/pkg/alltables" // tables that main.cf may name
)

// Main runs the daemon. Which protocol it speaks depends on the name under
// which it was started.
func Main() {
	program := filepath.Base(os.Args[0])
	if program != "smtp" && program != "lmtp" {
		maillog.Init(program)
		maillog.Fatalf("unexpected process name \"%s\" - specify \"smtp\" or \"lmtp\"", program)
	}
	var (
		agent  *deliver.Agent
		engine *smtpclient.Engine
	)
	service.Run(service.Daemon{
		Program:   program,
		Kind:      service.Single,
		Arguments: true,
		Setup: func(p *service.Process) error {
			cfg, err := smtpclient.Load(p.Config, program, p.Service, p.Args)
			if err != nil {
				return err
			}
			recorder := smtpclient.NewRecorder(p.Config, cfg)
			if err := p.Config.Err(); err != nil {
				return err
			}
			engine = smtpclient.New(cfg)
			agent = deliver.NewAgent(p.Config, recorder, engine.Deliver)
			p.Watch(cfg.Changed)
			return nil
		},
		Serve: func(ctx context.Context, p *service.Process, c *service.Conn) { agent.Serve(ctx, p, c) },
		Exit:  func(*service.Process) { engine.Close() },
	})
}
