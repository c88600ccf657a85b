// Package proxymap is the proxymap(8) daemon: it opens lookup tables for its
// clients, so that they can be in a chroot jail and share one connection to a
// database. Under the name proxywrite it also changes tables (spec tables §12,
// ipc §16).
//
// Its executable alone links the clients of SQL databases, of LDAP and of
// MongoDB. A table of such a type is approved when main.cf or a -o option in
// master.cf names it, with or without proxy:, and is opened before the daemon
// gives up its privileges, as Postfix's daemons do, so that its configuration
// may be readable by root alone. A command that reads such a table starts this
// program for itself, with one connection as its standard input.
//
// It talks with no other service but what the tables use. It reads
// proxy_read_maps or proxy_write_maps, smtpd_restriction_classes,
// proxymap_service_name, proxywrite_service_name, and the parameters of tables
// and of every daemon.
package proxymap

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	client "suffix/pkg/proxymapclient"
	"suffix/pkg/service"
	"suffix/pkg/table"

	_ "suffix/pkg/alltables"
)

// Main runs the daemon.
func Main() {
	if len(os.Args) > 2 && os.Args[1] == client.ServeCommand {
		serveCommand(os.Args[2], os.Args[3:])
	}
	s := &server{tables: make(map[string]*table.Handle)}
	service.Run(service.Daemon{
		Program: "proxymap",
		Kind:    service.Multi,
		Limit:   service.AnyLimit,
		Setup:   s.setup,
		Serve:   func(ctx context.Context, _ *service.Process, c *service.Conn) { s.serve(ctx, c.Conn) },
	})
}

// server keeps the tables that clients asked for; they are never closed.
type server struct {
	cfg      table.Config
	approved map[string]bool          // nil: all
	early    map[string]*table.Handle // opened before privileges were given up
	write    bool                     // the proxywrite service
	access   string                   // for the log
	param    string                   // that approves

	mu     sync.Mutex
	tables map[string]*table.Handle // by name and flags
}

// bodyTime is how long a client may take to send the rest of a request.
const bodyTime = time.Second

func (s *server) setup(p *service.Process) error {
	cfg := p.Config
	s.cfg = cfg
	maps := params.ProxyReadMaps
	name, export := exported(p.Service)
	switch name {
	case cfg.String(params.ProxymapServiceName):
		s.access = "read-only"
	case cfg.String(params.ProxywriteServiceName):
		s.write, s.access, maps = true, "read-write", params.ProxyWriteMaps
	default:
		return fmt.Errorf("invalid service name: \"%s\" - service name must be \"%s\" or \"%s\"", p.Service,
			cfg.String(params.ProxywriteServiceName), cfg.String(params.ProxymapServiceName))
	}
	s.param = params.Of(maps).Name
	if export != "" {
		s.export(cfg, maps, export == exportAll)
	}
	s.approved = approve(s.param, cfg.String(maps), restrictionClasses(cfg), cfg.Dialect37())
	if !s.write {
		s.openEarly(heavyTables(cfg))
	}
	if !s.write {
		p.Watch(s.changed)
	}
	return cfg.Err()
}

// changed names an open table whose file has changed.
func (s *server) changed() (name string, changed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, h := range s.tables {
		if h.Changed() {
			return h.RegisteredName(), true
		}
	}
	return "", false
}

// request is what a client asks, in the form of Postfix 3.7 (old) or 3.11.
type request struct {
	kind, table, key, value   string
	instance, flags, function int
	old                       bool
}

// session is the state of one connection.
type session struct {
	*server
	cursors map[*table.Handle]table.Cursor
	err     error // of the last request
}

// serve answers requests until the client goes.
func (s *server) serve(ctx context.Context, c *attr.Conn) {
	if err := c.W.Str("protocol", client.Protocol).End(); err != nil {
		return
	}
	idle := s.cfg.Time(params.IpcTimeout)
	if s.approved == nil {
		idle = 0 // a command may wait for its user
	}
	sess := &session{server: s, cursors: make(map[*table.Handle]table.Cursor)}
	for ctx.Err() == nil {
		c.SetTimeout(idle)
		kind, err := c.R.Str("request")
		if err != nil {
			if !errors.Is(err, attr.ErrEOF) {
				maillog.Warnf("%v", err)
			}
			return
		}
		c.SetTimeout(bodyTime)
		r, err := read(c.R, kind)
		if err == nil {
			err = c.R.End()
		}
		if err != nil {
			maillog.Warnf("%v", err)
			var missing *attr.MissingError
			var unexpected *attr.UnexpectedError
			if !errors.As(err, &missing) && !errors.As(err, &unexpected) {
				return
			}
			reply(c.W, r, client.Bad, 0, blanks(kind)...)
			// Behind an attribute that does not belong there, nobody knows
			// where the next request begins.
			if c.W.End() != nil || unexpected != nil {
				return
			}
			c.R.Reset()
			continue
		}
		sess.answer(c.W, r)
		if err := c.W.End(); err != nil {
			return
		}
	}
}

// read reads the rest of a request: in either form, as instance_flags or flags
// follows the table.
func read(in *attr.Reader, kind string) (r request, err error) {
	r.kind = kind
	if !known(kind) {
		for {
			if _, _, more, err := in.Next(); err != nil || !more {
				return r, err
			}
		}
	}
	if kind == client.Reason {
		return r, nil
	}
	if r.table, err = in.Str("table"); err != nil {
		return r, err
	}
	name, text, more, err := in.Next()
	switch {
	case err != nil:
		return r, err
	case !more:
		return r, &attr.MissingError{Name: "instance_flags", Stream: "proxymap socket"}
	case name == "flags":
		r.old = true
		r.flags, err = number(name, text)
		r.instance = r.flags
	case name == "instance_flags":
		r.instance, err = number(name, text)
		if err == nil && kind != client.Open {
			r.flags, err = in.Int("flags")
		}
	default:
		return r, &attr.UnexpectedError{Got: name, Want: "instance_flags", Stream: "proxymap socket"}
	}
	if err != nil {
		return r, err
	}
	switch kind {
	case client.Lookup, client.Delete:
		r.key, err = in.Str("key")
	case client.Update:
		if r.key, err = in.Str("key"); err == nil {
			r.value, err = in.Str("value")
		}
	case client.Sequence:
		r.function, err = in.Int("function")
	}
	return r, err
}
