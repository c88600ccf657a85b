// Package trivialrewrite is the trivial-rewrite(8) daemon: it completes
// addresses and finds transport and next hop of recipients, for smtpd,
// cleanup, qmgr, local and others, who keep their connections to it.
//
// It talks to no other service, except proxymap where main.cf names proxied
// tables. It reads what package rewrite reads: the address classes
// (mydestination, virtual_alias_domains, virtual_mailbox_domains,
// relay_domains, inet_interfaces, proxy_interfaces), the transports of each
// class and their address_verify_* counterparts, relayhost, transport_maps,
// relocated_maps, the sender_dependent_* tables, and the switches of address
// rewriting (append_at_myorigin, append_dot_mydomain, swap_bangpath,
// allow_percent_hack, remote_header_rewrite_domain, resolve_*).
package trivialrewrite

import (
	"context"
	"time"

	"suffix/pkg/rewrite"
	"suffix/pkg/service"

	_ "suffix/pkg/alltables"
)

// checkInterval is how often tables are looked at while clients stay.
const checkInterval = 10 * time.Second

// Main runs the daemon.
func Main() {
	var engine *rewrite.Engine
	service.Run(service.Daemon{
		Program: "trivial-rewrite",
		Kind:    service.Multi,
		Setup: func(p *service.Process) (err error) {
			if engine, err = rewrite.New(p.Config, nil); err != nil {
				return err
			}
			p.Watch(engine.Changed)
			return nil
		},
		Ready: func(p *service.Process) error {
			time.AfterFunc(checkInterval, func() { recheck(p) })
			return nil
		},
		Serve: func(ctx context.Context, _ *service.Process, c *service.Conn) { engine.Serve(ctx, c.Conn) },
	})
}

// recheck looks at the tables from time to time. Clients that stay connected
// would otherwise keep the process, and its old tables, alive.
func recheck(p *service.Process) {
	p.Recheck()
	time.AfterFunc(checkInterval, func() { recheck(p) })
}
