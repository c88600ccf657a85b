// Package qmgr is the qmgr(8) daemon: it moves mail from the incoming and
// deferred queues to the active queue, and has delivery agents deliver it.
//
// It talks to trivial-rewrite, the delivery agents, bounce, defer, trace, and
// flush; cleanup, sendmail, postqueue, flush and master wake it up. Where our
// own master runs trivial-rewrite with its default settings, it resolves
// addresses by itself. It reads the qmgr_* parameters, *_queue_lifetime,
// *_backoff_time, queue_run_delay, defer_transports, the concurrency, rate and
// recipient limits of each transport (spec qmgr §17), and those that package
// rewrite reads.
package qmgr

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"suffix/pkg/config"
	"suffix/pkg/ipc"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/qmgr"
	"suffix/pkg/rewrite"
	"suffix/pkg/rewriteclient"
	"suffix/pkg/service"

	_ "suffix/pkg/alltables"
)

// Main runs the daemon.
func Main() {
	var manager *qmgr.Manager
	service.Run(service.Daemon{
		Program:   "qmgr",
		Kind:      service.Trigger,
		Limit:     service.LimitOne,
		NoMaxUse:  true,
		NoMaxIdle: true,
		Setup: func(p *service.Process) (err error) {
			if filepath.Base(os.Args[0]) == "nqmgr" {
				maillog.Warnf("please update the %s/master.cf file; the new queue manager", p.Config.Dir())
				maillog.Warnf("(old name: nqmgr) has become the standard queue manager (new name: qmgr)")
				maillog.Warnf("support for the name old name (nqmgr) will be removed from Postfix")
			}
			timeout := fmt.Sprintf("%ds", int(p.Config.Time(params.QmgrIpcTimeout).Seconds()))
			cfg := p.Config.With(config.Override{Name: "ipc_timeout", Value: timeout})
			if err := resolveHere(p, cfg); err != nil {
				return err
			}
			manager, err = qmgr.New(qmgr.Options{Config: cfg, Flow: p})
			return err
		},
		Loop: func(ctx context.Context, _ *service.Process, triggers <-chan []byte) error {
			return manager.Run(ctx, triggers)
		},
	})
}

// resolveHere answers requests to the rewrite service inside this process,
// where that makes no difference to the admin.
func resolveHere(p *service.Process, cfg *config.Main) error {
	const program = "trivial-rewrite"
	if !p.InProcess(ipc.Private, cfg.String(params.RewriteServiceName), program) {
		return nil
	}
	engine, err := rewrite.New(cfg, maillog.For(program))
	if err != nil {
		return err
	}
	p.Watch(engine.Changed)
	rewriteclient.InProcess = engine
	return nil
}
