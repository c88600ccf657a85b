// Package local is the local(8) delivery agent. It expands aliases, .forward
// and include files, and delivers to mailboxes, maildirs, files and commands
// with the rights of their owners.
//
// It talks to rewrite for the addresses in lists, to cleanup for mail that is
// sent on, to other delivery agents for mail that is passed on, and to bounce,
// defer, trace, verify and flush about the outcome.
//
// It reads alias_maps, forward_path, mailbox_command, mailbox_transport,
// fallback_transport, luser_relay, home_mailbox, mail_spool_directory,
// mailbox_size_limit, mailbox_delivery_lock, allow_mail_to_commands,
// allow_mail_to_files, default_privs, command_time_limit,
// propagate_unmatched_extensions, prepend_delivered_header,
// recipient_delimiter, and the parameters that package localdelivery names.
package local

import (
	"context"

	_ "suffix/pkg/alltables"
	"suffix/pkg/deliver"
	"suffix/pkg/localdelivery"
	"suffix/pkg/outcome"
	"suffix/pkg/service"
)

// Main runs the daemon.
func Main() {
	var agent *deliver.Agent
	service.Run(service.Daemon{
		Program:    "local",
		Kind:       service.Single,
		Privileged: true,
		Setup: func(p *service.Process) error {
			engine, err := localdelivery.New(p.Config, p.Service)
			if err != nil {
				return err
			}
			p.Watch(engine.Changed)
			recorder := outcome.New(p.Config, "local_delivery_status_filter", engine.Filter())
			agent = deliver.NewAgent(p.Config, recorder, engine.Deliver)
			return nil
		},
		Serve: func(ctx context.Context, p *service.Process, c *service.Conn) { agent.Serve(ctx, p, c) },
	})
}
