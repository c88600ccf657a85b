// Package smtpd is the smtpd(8) daemon: the SMTP server. It receives mail from
// the network, on connections that master or postscreen accepted, or from
// standard input (sendmail -bs).
//
// It talks to cleanup (the messages), trivial-rewrite (addresses), verify
// (recipients and senders elsewhere), flush (ETRN), anvil (counts of clients),
// policy servers and the DNS; stand-alone it runs postdrop. Where our master
// says so, cleanup and trivial-rewrite are not asked over their sockets but
// answered in this process.
//
// The dialogue is package smtpserver, the rules are package smtpaccess; the
// parameters that they read begin with smtpd_, and are listed in their
// NewSettings and New.
package smtpd

import (
	"context"
	"fmt"
	"os"
	"strings"

	"suffix/pkg/cleanup"
	"suffix/pkg/cleanupclient"
	"suffix/pkg/config"
	"suffix/pkg/dnsclient"
	"suffix/pkg/flushclient"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/rewrite"
	"suffix/pkg/rewriteclient"
	"suffix/pkg/service"
	"suffix/pkg/smtpaccess"
	"suffix/pkg/smtpserver"
	"suffix/pkg/table"
	"suffix/pkg/verifyclient"

	_ "suffix/pkg/alltables" // the table types of main.cf
)

// Main runs the daemon.
func Main() {
	d := &daemon{exit: func() {}}
	service.Run(service.Daemon{
		Program: "smtpd",
		Kind:    service.Single,
		Setup:   d.setup,
		Ready:   d.ready,
		Serve: func(ctx context.Context, p *service.Process, c *service.Conn) {
			// A process for one client is always full: that says nothing.
			stress := p.SessionLimit != 1 && p.Stress()
			d.server.Serve(ctx, c.NetConn(), c.Pass, stress)
		},
		Exit: func(*service.Process) { d.exit() },
	})
}

type daemon struct {
	server *smtpserver.Server
	exit   func()
}

// setup reads main.cf and opens tables and connections.
func (d *daemon) setup(p *service.Process) error {
	if len(p.Args) > 0 {
		return fmt.Errorf("unexpected command-line argument: %s", p.Args[0])
	}
	log := maillog.Default()
	d.server = &smtpserver.Server{Log: log}
	cleanupclient.Timeout = p.Config.Time(params.IpcTimeout)
	if p.Standalone {
		variant, err := d.variant(p, p.Config, smtpaccess.Services{})
		d.server.Normal = variant
		d.server.Resolver = newResolver(p.Config)
		return err
	}
	if err := d.host(p); err != nil {
		return err
	}
	services := smtpaccess.Services{
		Rewrite:  rewriteclient.New(p.Config),
		Verify:   verifyclient.New(p.Config),
		Resolver: newResolver(p.Config),
		Log:      log,
	}
	d.server.Rewrite, d.server.Resolver = services.Rewrite, services.Resolver
	flush := flushclient.New(p.Config)
	d.server.Flush = func(_ context.Context, site string) smtpserver.FlushResult { return flushSite(flush, site) }
	var err error
	if d.server.Normal, err = d.variant(p, p.Config, services); err != nil {
		return err
	}
	if p.Config.String(params.Stress) == "" {
		// Warnings about the configuration were given once.
		services.Log = quiet{}
		if d.server.Stressed, err = d.variant(p, p.Config.With(config.Override{Name: "stress", Value: "yes"}), services); err != nil {
			return err
		}
	}
	p.Watch(d.server.Changed)
	return nil
}

// variant reads one set of settings and rules.
func (d *daemon) variant(p *service.Process, cfg *config.Main, services smtpaccess.Services) (v smtpserver.Variant, err error) {
	var log smtpaccess.Logger = maillog.Default()
	if services.Log != nil {
		log = services.Log
	}
	if v.Settings, err = smtpserver.NewSettings(cfg, p.Service, p.Standalone, log); err != nil || p.Standalone {
		return v, err
	}
	v.Rules, err = smtpaccess.New(cfg, services)
	return v, err
}

// quiet drops what was logged before.
type quiet struct{}

func (quiet) Infof(string, ...any) {}
func (quiet) Warnf(string, ...any) {}

// host starts the engines that answer in this process in place of services.
func (d *daemon) host(p *service.Process) error {
	if p.InProcess("private", p.Config.String(params.RewriteServiceName), "trivial-rewrite") {
		engine, err := rewrite.New(p.Config, maillog.For("trivial-rewrite"))
		if err != nil {
			return err
		}
		rewriteclient.InProcess = engine
		p.Watch(engine.Changed)
	}
	exit, err := cleanup.Host(p)
	if exit != nil {
		d.exit = exit
	}
	return err
}

// ready makes sure that the server has no more rights than it needs.
func (d *daemon) ready(p *service.Process) error {
	if p.Standalone || os.Geteuid() != 0 {
		return nil
	}
	maillog.Errorf("incorrect SMTP server privileges: uid=%d euid=%d", os.Getuid(), os.Geteuid())
	return fmt.Errorf("the Postfix SMTP server must run with $mail_owner privileges")
}

// newResolver returns the DNS client, with the filter of main.cf.
func newResolver(cfg *config.Main) *dnsclient.Resolver {
	options := dnsclient.Options{Warnf: maillog.Warnf, Infof: maillog.Infof}
	if spec := cfg.String(params.SmtpdDnsReplyFilter); spec != "" {
		filter := table.Open(spec, table.Options{Flags: table.Reader, Config: cfg})
		options.Filter, options.FilterName = filter.Lookup, params.Of(params.SmtpdDnsReplyFilter).Name
	}
	return dnsclient.New(options)
}

// flushSite asks the flush service for the mail of a site.
func flushSite(client *flushclient.Client, site string) smtpserver.FlushResult {
	switch client.SendSite(strings.ToLower(site)) {
	case flushclient.OK:
		return smtpserver.FlushStarted
	case flushclient.Denied:
		return smtpserver.FlushNotEligible
	case flushclient.Bad:
		return smtpserver.FlushBad
	}
	return smtpserver.FlushUnreachable
}
