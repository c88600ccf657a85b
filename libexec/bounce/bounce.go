// Package bounce is the bounce(8) daemon, which serves the services bounce,
// defer and trace. For each message it keeps a log of recipients that failed,
// were delayed or are to be reported on, and tells the sender, and the
// postmaster where notify_classes says so.
//
// It talks to cleanup, to which it hands the notices.
//
// It reads bounce_size_limit, bounce_template_file, notify_classes,
// bounce_notice_recipient, delay_notice_recipient, 2bounce_notice_recipient,
// double_bounce_sender, maximal_queue_lifetime, delay_warning_time,
// enable_threaded_bounces, header_from_format, requiretls_redact_dsn and
// backwards_bounce_logfile_compatibility.
package bounce

import (
	"context"
	"fmt"
	"os"

	"suffix/pkg/bounce"
	"suffix/pkg/service"
)

// Main runs the daemon. Under the service names expand_templates and
// dump_templates it prints the notices' texts instead, for postconf(1).
func Main() {
	var server *bounce.Server
	service.Run(service.Daemon{
		Program: "bounce",
		Kind:    service.Single,
		Setup: func(p *service.Process) (err error) {
			switch p.Service {
			case "expand_templates", "dump_templates":
				return printTemplates(p)
			}
			server, err = bounce.New(p.Config, p.Service)
			return err
		},
		Serve: func(ctx context.Context, p *service.Process, c *service.Conn) { server.Serve(ctx, p, c) },
	})
}

func printTemplates(p *service.Process) error {
	templates, err := bounce.LoadTemplates(p.Config)
	if err != nil {
		return err
	}
	text, err := templates.Print(p.Service == "expand_templates")
	if err != nil {
		return err
	}
	if _, err := fmt.Print(text); err != nil {
		return err
	}
	os.Exit(0)
	return nil
}
