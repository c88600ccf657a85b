// Package cleanup turns records from a client into a queue file: it rewrites
// and expands addresses, completes and checks headers, and makes the result
// durable (spec cleanup, queue-files §9.7).
//
// An Engine is made once from main.cf. Each message is a Message, a
// cleanupclient.Stream: smtpd and other daemons run it in their own process,
// the cleanup daemon serves it on a socket. In either case it logs as cleanup.
package cleanup

import (
	"context"
	"fmt"

	"suffix/pkg/cleanupclient"
	"suffix/pkg/config"
	"suffix/pkg/localdomain"
	"suffix/pkg/maillog"
	"suffix/pkg/maps"
	"suffix/pkg/matchlist"
	"suffix/pkg/outcome"
	"suffix/pkg/params"
	"suffix/pkg/queue"
	"suffix/pkg/rewriteclient"
	"suffix/pkg/service"
	"suffix/pkg/table"
)

// An Engine has everything that messages share. It is safe for concurrent use.
type Engine struct {
	// OnHold, if set, is called when a message went to the hold queue, so
	// that the queue manager will not give back its flow control token.
	OnHold func()

	set     *settings
	log     *maillog.Logger
	tree    *queue.Tree
	rewrite *rewriteclient.Client
	results *outcome.Recorder
	qmgr    *notifier
	open    unfinished

	senderCanonical, rcptCanonical, canonical, aliases *maps.Maps
	senderBCC, rcptBCC                                 *maps.Maps
	headerChecks, mimeChecks, nestedChecks, bodyChecks *maps.Maps
	masqueradeExceptions                               *matchlist.List
	local                                              *localdomain.Set
	extension                                          maps.Extension
	all                                                []*maps.Maps
}

// New makes an Engine. The working directory need not be the queue directory
// yet; tables are opened now.
func New(cfg *config.Main, log *maillog.Logger) (*Engine, error) {
	set, err := readSettings(cfg)
	if err != nil {
		return nil, err
	}
	e := &Engine{
		set:       set,
		log:       log,
		tree:      queue.New(cfg, log.Warnf),
		rewrite:   rewriteclient.New(cfg),
		results:   outcome.New(cfg, "", nil).WithLog(log),
		extension: maps.ExtensionFrom(cfg),
		qmgr: &notifier{
			service: cfg.String(params.QueueServiceName),
			timeout: cfg.Time(params.TriggerTimeout),
			warn:    log.Warnf,
		},
	}
	e.tree.Info = log.Infof
	address := table.Options{Flags: table.Reader, Config: cfg}
	// Text of messages is in any encoding, and is checked whatever it is.
	checks := table.Options{Flags: table.Lock, Config: cfg}
	for _, m := range []struct {
		to    **maps.Maps
		param params.String
		opt   table.Options
	}{
		{&e.senderCanonical, params.SenderCanonicalMaps, address},
		{&e.rcptCanonical, params.RecipientCanonicalMaps, address},
		{&e.canonical, params.CanonicalMaps, address},
		{&e.aliases, params.VirtualAliasMaps, address},
		{&e.senderBCC, params.SenderBccMaps, address},
		{&e.rcptBCC, params.RecipientBccMaps, address},
		{&e.headerChecks, params.HeaderChecks, checks},
		{&e.mimeChecks, params.MimeHeaderChecks, checks},
		{&e.nestedChecks, params.NestedHeaderChecks, checks},
		{&e.bodyChecks, params.BodyChecks, checks},
	} {
		*m.to = maps.Open(params.Of(m.param).Name, cfg.String(m.param), m.opt)
		e.all = append(e.all, *m.to)
	}
	e.masqueradeExceptions = matchlist.New("masquerade_exceptions", cfg.String(params.MasqueradeExceptions),
		matchlist.String, matchlist.Options{Config: cfg})
	e.local = localdomain.New(cfg)
	return e, cfg.Err()
}

// Changed names a table that has changed since New, for service.Process.Watch.
func (e *Engine) Changed() (name string, changed bool) {
	for _, m := range e.all {
		if name, changed := m.Changed(); changed {
			return name, true
		}
	}
	if name, changed := e.local.Changed(); changed {
		return name, true
	}
	return e.masqueradeExceptions.Changed()
}

// Drain waits until the queue manager has been told about all messages. A
// process calls it before it exits.
func (e *Engine) Drain() { e.qmgr.wait() }

// Host makes cleanupclient.Open answer in this process, where our master says
// that the cleanup service is ours and runs with the plain configuration. A
// daemon calls it in its Setup and calls the returned function in its Exit.
func Host(p *service.Process) (exit func(), err error) {
	name := p.Config.String(params.CleanupServiceName)
	if !p.InProcess("public", name, "cleanup") {
		return func() {}, nil
	}
	cfg, err := config.Load(config.Options{Dir: p.Config.Dir(), Program: "cleanup", Service: name, Warn: func(text string) { maillog.Warnf("%s", text) }})
	if err != nil {
		return nil, err
	}
	e, err := New(cfg, maillog.For("cleanup"))
	if err != nil {
		return nil, fmt.Errorf("%s service: %w", name, err)
	}
	cleanupclient.InProcess = func(ctx context.Context, service string, flags cleanupclient.Flags) (cleanupclient.Stream, error) {
		if service != name {
			return nil, cleanupclient.ErrElsewhere
		}
		p.FlowGet(ctx)
		return e.Open(ctx, flags)
	}
	e.OnHold = func() { p.FlowPut(1) }
	e.RemoveOnTerm()
	p.Watch(e.Changed)
	return e.Drain, nil
}
