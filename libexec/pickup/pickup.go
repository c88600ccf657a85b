// Package pickup is the pickup(8) daemon: it takes messages out of the
// maildrop queue, where postdrop put them, and hands them to cleanup
// (spec submission §5).
//
// It is woken up by postdrop and, from time to time, by master. Parameters:
// content_filter, cleanup_service_name, ipc_timeout, line_length_limit,
// mail_owner, receive_override_options, smtputf8_autodetect_classes,
// info_log_address_format.
package pickup

import (
	"context"

	"suffix/pkg/cleanup"
	"suffix/pkg/cleanupclient"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/service"

	_ "suffix/pkg/alltables" // the table types of main.cf, where cleanup runs in this process
)

// Main runs the daemon.
func Main() {
	d := &daemon{}
	service.Run(service.Daemon{
		Program: "pickup",
		Kind:    service.Trigger,
		Limit:   service.LimitOne,
		Setup:   d.setup,
		Trigger: func(ctx context.Context, p *service.Process, _ []byte) { d.scanner.scan(ctx) },
		Exit:    func(*service.Process) { d.drain() },
	})
}

type daemon struct {
	scanner *scanner
	drain   func()
}

func (d *daemon) setup(p *service.Process) error {
	var err error
	if d.scanner, err = newScanner(p.Config, maillog.Default()); err != nil {
		return err
	}
	cleanupclient.Timeout = p.Config.Time(params.IpcTimeout)
	d.drain, err = cleanup.Host(p)
	return err
}
