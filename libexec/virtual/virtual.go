// Package virtual is the virtual(8) delivery agent: it delivers to mailboxes of
// virtual domains, which need no accounts on the system. Tables say which
// mailbox an address has, and whose numeric rights it is written with.
//
// It talks to bounce, defer, trace, verify and flush about the outcome.
//
// It reads virtual_mailbox_base, virtual_mailbox_maps, virtual_uid_maps,
// virtual_gid_maps, virtual_minimum_uid, virtual_mailbox_limit,
// virtual_mailbox_lock, virtual_delivery_status_filter, recipient_delimiter,
// strict_mailbox_ownership, enable_original_recipient and the lock parameters.
package virtual

import (
	"context"

	_ "suffix/pkg/alltables"
	"suffix/pkg/deliver"
	"suffix/pkg/outcome"
	"suffix/pkg/service"
)

// Main runs the daemon.
func Main() {
	var agent *deliver.Agent
	service.Run(service.Daemon{
		Program:    "virtual",
		Kind:       service.Single,
		Privileged: true,
		Setup: func(p *service.Process) error {
			engine, err := newEngine(p.Config, p.Service)
			if err != nil {
				return err
			}
			p.Watch(engine.changed)
			recorder := outcome.New(p.Config, "virtual_delivery_status_filter", engine.filter)
			agent = deliver.NewAgent(p.Config, recorder, engine.deliver)
			return nil
		},
		Serve: func(ctx context.Context, p *service.Process, c *service.Conn) { agent.Serve(ctx, p, c) },
	})
}
