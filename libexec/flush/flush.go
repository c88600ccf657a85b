// Package flush is the flush(8) daemon: for each destination in
// fast_flush_domains it keeps a list of the messages that wait for it, and
// moves them back to the incoming queue when somebody asks for that: a client
// with ETRN, sendmail -qR, postqueue -s or -i (spec queue-files §14, ipc §13).
//
// It triggers qmgr. It reads fast_flush_domains, fast_flush_purge_time,
// fast_flush_refresh_time, parent_domain_matches_subdomains,
// queue_service_name, hash_queue_depth, hash_queue_names and the parameters of
// every daemon.
package flush

import (
	"context"
	"errors"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/flushclient"
	"suffix/pkg/ipc"
	"suffix/pkg/maillog"
	"suffix/pkg/matchlist"
	"suffix/pkg/params"
	"suffix/pkg/queue"
	"suffix/pkg/service"

	_ "suffix/pkg/alltables"
)

// Main runs the daemon.
func Main() {
	s := &server{}
	service.Run(service.Daemon{
		Program: "flush",
		Kind:    service.Single,
		Limit:   service.LimitZero,
		Setup:   s.setup,
		Serve: func(ctx context.Context, _ *service.Process, c *service.Conn) {
			s.serve(ctx, c.Conn)
		},
	})
}

// server answers requests.
type server struct {
	tree         *queue.Tree
	sites        *matchlist.List
	refreshAfter time.Duration
	purgeAfter   time.Duration
	trigger      func(request string) // to the queue manager
}

const triggerTimeout = 10 * time.Second

func (s *server) setup(p *service.Process) error {
	cfg := p.Config
	s.tree = queue.New(cfg, maillog.Warnf)
	s.sites = matchlist.New("fast_flush_domains", cfg.String(params.FastFlushDomains), matchlist.Domain, matchlist.Options{Config: cfg})
	s.refreshAfter = cfg.Time(params.FastFlushRefreshTime)
	s.purgeAfter = cfg.Time(params.FastFlushPurgeTime)
	qmgr := cfg.String(params.QueueServiceName)
	s.trigger = func(request string) {
		if err := ipc.Trigger(ipc.Public, qmgr, request, triggerTimeout, triggerTimeout); err != nil {
			maillog.Debugf("trigger %s: %v", qmgr, err)
		}
	}
	p.Watch(s.sites.Changed)
	return cfg.Err()
}

// serve handles one connection: one request.
func (s *server) serve(ctx context.Context, c *attr.Conn) {
	if err := c.W.Str("protocol", "queue_flush_protocol").End(); err != nil {
		return
	}
	// master's wakeup is two bytes where others send an attribute list.
	in := c.R.Buffered()
	if head, err := in.Peek(2); err == nil && head[1] == 0 && in.Buffered() == 2 {
		if head[0] == 'W' {
			s.reply(c, flushclient.OK)
			s.refresh(ctx, s.refreshAfter)
		}
		return
	}
	c.R.Lenient = false
	request, err := c.R.Str("request")
	if err != nil {
		warn(err)
		return
	}
	switch request {
	case "add":
		site, queueID, err := two(c.R, "site", "queue_id")
		status := flushclient.Bad
		if err != nil {
			warn(err)
		} else {
			status = s.add(ctx, site, queueID)
		}
		s.reply(c, status)
	case "send_site":
		site, err := last(c.R, "site")
		status := flushclient.Bad
		if err != nil {
			warn(err)
		} else {
			status = s.sendSite(ctx, site)
		}
		s.reply(c, status)
	case "send_file":
		queueID, err := last(c.R, "queue_id")
		status := flushclient.Bad
		if err != nil {
			warn(err)
		} else {
			status = s.sendFile(queueID)
		}
		s.reply(c, status)
	case "rfrsh":
		s.reply(c, flushclient.OK)
		s.refresh(ctx, s.refreshAfter)
	case "purge":
		s.reply(c, flushclient.OK)
		s.refresh(ctx, 0)
	}
}

// reply sends the status. A client that has gone does not need it.
func (s *server) reply(c *attr.Conn, status flushclient.Status) {
	if err := c.W.Int("status", int(status)).End(); err != nil {
		maillog.Debugf("write reply: %v", err)
	}
}

// warn logs what is wrong with a request, unless the client said nothing.
func warn(err error) {
	if !errors.Is(err, attr.ErrEOF) {
		maillog.Warnf("%v", err)
	}
}

// last reads one attribute and the end of the list. An attribute too many is
// logged and makes no difference.
func last(r *attr.Reader, name string) (string, error) {
	value, err := r.Str(name)
	if err != nil {
		return "", err
	}
	if err := r.End(); err != nil {
		warn(err)
	}
	return value, nil
}

func two(r *attr.Reader, first, second string) (a, b string, err error) {
	if a, err = r.Str(first); err != nil {
		return "", "", err
	}
	b, err = last(r, second)
	return a, b, err
}
