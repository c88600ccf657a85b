// Package showq is the showq(8) daemon: it lists the mail queue for mailq and
// postqueue (spec queue-files §16.1, ipc §14).
//
// It talks to no other service. It reads duplicate_filter_limit,
// empty_address_recipient, hash_queue_depth, hash_queue_names, suffix_dialect
// and the parameters of every daemon.
package showq

import (
	"context"
	"errors"
	"syscall"

	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/queue"
	"suffix/pkg/service"
)

// Main runs the daemon.
func Main() {
	l := &lister{}
	service.Run(service.Daemon{
		Program: "showq",
		Kind:    service.Single,
		Setup:   l.setup,
		Serve:   l.serve,
	})
}

func (l *lister) setup(p *service.Process) error {
	l.tree = queue.New(p.Config, maillog.Warnf)
	l.nobody = p.Config.String(params.EmptyAddressRecipient)
	l.limit = p.Config.Int(params.DuplicateFilterLimit)
	l.dialect37 = p.Config.Dialect37()
	return p.Config.Err()
}

// serve writes the listing: there is no request. A client may leave before the
// end, as postqueue does when its output is closed.
func (l *lister) serve(ctx context.Context, _ *service.Process, c *service.Conn) {
	if err := l.list(ctx, c.W); err != nil && ctx.Err() == nil && !errors.Is(err, syscall.EPIPE) && !errors.Is(err, syscall.ECONNRESET) {
		maillog.Warnf("write queue listing: %v", err)
	}
}
