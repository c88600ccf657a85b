// Package verify is the verify(8) daemon: it tells smtpd whether mail for an
// address can be delivered, and sends probe messages to find out. Delivery
// agents report to it what became of the probes.
//
// It talks to cleanup (probes) and trivial-rewrite (their sender). It reads the
// address_verify_* parameters, double_bounce_sender, data_directory and
// mail_owner.
package verify

import (
	"context"
	"syscall"

	"suffix/pkg/maillog"
	"suffix/pkg/service"
	"suffix/pkg/verify"

	_ "suffix/pkg/alltables"
)

// Main runs the daemon.
func Main() {
	var engine *verify.Engine
	ctx, stop := context.WithCancel(context.Background())
	cleaned := make(chan struct{})
	service.Run(service.Daemon{
		Program: "verify",
		Kind:    service.Multi,
		Limit:   service.LimitOne,
		Setup: func(p *service.Process) (err error) {
			// A signal for master's group must not cut an update short. The
			// leader of a group cannot leave it, and need not.
			if _, err := syscall.Setsid(); err != nil {
				maillog.Debugf("setsid: %v", err)
			}
			if engine, err = verify.New(p.Config); err != nil {
				return err
			}
			if engine.InMemory() {
				p.NoMaxUse, p.NoMaxIdle = true, true
			}
			return nil
		},
		Ready: func(*service.Process) error {
			engine.Start()
			go func() {
				defer close(cleaned)
				engine.Clean(ctx)
			}()
			return nil
		},
		Serve: func(ctx context.Context, _ *service.Process, c *service.Conn) { engine.Serve(ctx, c.Conn) },
		Exit: func(*service.Process) {
			stop()
			<-cleaned
			if err := engine.Close(); err != nil {
				maillog.Warnf("address_verify_map: %v", err)
			}
		},
	})
}
