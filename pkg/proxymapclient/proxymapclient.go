// Package proxymapclient has the tables that another process opens and reads:
// those of type proxy, which the proxymap service has, or proxywrite where they
// are to be changed (spec tables §12, ipc §16), and those whose clients are too
// large for every program: SQL databases, LDAP and MongoDB.
//
// A daemon asks the proxymap service for the latter too, which approves those
// that main.cf or master.cf name. A command starts daemon_directory/proxymap
// for itself, with the rights it has, and needs no mail system.
package proxymapclient

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"

	"suffix/pkg/attr"
	"suffix/pkg/ipc"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/table"
)

func init() { table.Register("proxy", table.Type{Open: open}) }

// Protocol is what the service announces.
const Protocol = "proxymap_protocol"

// Status is the outcome of a request.
type Status int

const (
	OK       Status = iota
	NotFound        // no such key
	Retry           // temporary trouble
	Bad             // the request makes no sense
	Denied          // the table is not approved
	Config          // the table or its contents are wrong
)

// Functions of a sequence request.
const (
	First = 0
	Next  = 1
)

// Requests. Reason is our own: the text of the error that the last reply on
// this connection, or the surrogate that it opened, stands for.
const (
	Open     = "open"
	Lookup   = "lookup"
	Update   = "update"
	Delete   = "delete"
	Sequence = "sequence"
	Reason   = "reason"
)

// caller makes requests on connections to a server.
type caller interface {
	// Call makes one request: f writes it and reads the reply; it is called
	// again, on another connection, where that may help.
	Call(ctx context.Context, f func(c *attr.Conn) error) error
}

// clients are the connections of this process, by the path of the socket.
var (
	mu      sync.Mutex
	clients = make(map[string]*ipc.Persistent)
)

func client(class, service string, cfg table.Config) *ipc.Persistent {
	mu.Lock()
	defer mu.Unlock()
	path := class + "/" + service
	c := clients[path]
	if c == nil {
		c = &ipc.Persistent{Class: class, Service: service, Protocol: Protocol,
			Warn: func(text string) { maillog.Warnf("%s", text) }}
		if cfg != nil {
			c.Timeout, c.Idle, c.TTL = cfg.Time(params.IpcTimeout), cfg.Time(params.IpcIdle), cfg.Time(params.IpcTtl)
		}
		clients[path] = c
	}
	return c
}

// proxy is a table at the service.
type proxy struct {
	service  string
	name     string // of the real table
	old      bool   // the requests of Postfix 3.7
	instance table.Flags
	flags    table.Flags // of each request
	reasons  bool        // the server may be asked why
	server   atomic.Uint32
	client   caller
}

func open(_, name string, o table.Options) (table.Table, error) {
	for strings.HasPrefix(name, "proxy:") {
		name = name[len("proxy:"):]
	}
	service, id := "proxymap", params.ProxymapServiceName
	if o.Mode != table.ReadOnly {
		service, id = "proxywrite", params.ProxywriteServiceName
	}
	class := ipc.Private
	if o.Config != nil {
		service = o.Config.String(id)
		if o.Command {
			// A command runs anywhere; daemons run in the queue directory.
			class = filepath.Join(o.Config.String(params.QueueDirectory), ipc.Private)
		}
	}
	p := newProxy(service, name, o, client(class, service, o.Config))
	status, _, err := p.call(Open, nil, nil)
	if err != nil {
		return nil, fmt.Errorf("%s open failed for table \"%s\": %w", service, name, err)
	}
	switch status {
	case OK:
		return p, nil
	case Denied:
		return nil, fmt.Errorf("%s service is not configured for table \"%s\"", service, name)
	}
	return nil, fmt.Errorf("%s open failed for table \"%s\": invalid request", service, name)
}

func newProxy(service, name string, o table.Options, c caller) *proxy {
	p := &proxy{service: service, name: name, old: o.Dialect37(), client: c}
	p.flags = o.Flags &^ (table.UTF8Active | table.Surrogate)
	p.instance = p.flags & table.InstanceFlags
	return p
}

// call makes a request. put adds what the kind of request has, get reads what
// its reply has. why is the server's error, where it may be asked for one.
func (p *proxy) call(request string, put func(w *attr.Writer), get func(r *attr.Reader) error) (status Status, why *table.Error, err error) {
	err = p.client.Call(context.Background(), func(c *attr.Conn) error {
		why = nil
		w := c.W.Str("request", request).Str("table", p.name)
		if p.old {
			flags := p.flags &^ (table.FoldFix | table.FoldMul)
			if request == Open {
				flags &= table.NoRegSub | table.NoProxy | table.NoUnauth
			}
			w.Int("flags", int(flags))
		} else {
			w.Int("instance_flags", int(p.instance))
			if request != Open {
				w.Int("flags", int(p.flags))
			}
		}
		if put != nil {
			put(w)
		}
		if err := w.End(); err != nil {
			// Nothing was sent: the request itself cannot be.
			return ipc.Permanent(err)
		}
		n, err := c.R.Int("status")
		if err != nil {
			return err
		}
		status = Status(n)
		if status == Bad || status == Denied {
			// The service may answer with the status alone.
			for {
				_, _, more, err := c.R.Next()
				if err != nil {
					return err
				}
				if !more {
					return c.R.End()
				}
			}
		}
		if request == Open || !p.old {
			flags, err := c.R.Int("flags")
			if err != nil {
				return err
			}
			p.server.Store(uint32(flags))
		}
		if get != nil {
			if err := get(c.R); err != nil {
				return err
			}
		}
		if err := c.R.End(); err != nil {
			return err
		}
		if p.reasons && (status == Retry || status == Config || status == OK && p.Flags()&table.Surrogate != 0) {
			why, err = askReason(c)
		}
		return err
	})
	return status, why, err
}

// askReason asks why the last request failed. The answer is nil where the
// server does not know the question.
func askReason(c *attr.Conn) (why *table.Error, err error) {
	if err := c.W.Str("request", Reason).End(); err != nil {
		return nil, err
	}
	n, err := c.R.Int("status")
	if err != nil {
		return nil, err
	}
	if Status(n) != OK {
		return nil, c.R.End()
	}
	text, err := c.R.Str("reason")
	if err != nil {
		return nil, err
	}
	whole, err := c.R.Int("whole")
	if err != nil {
		return nil, err
	}
	why = &table.Error{Whole: whole != 0}
	if text != "" {
		why.Err = errors.New(text)
	}
	return why, c.R.End()
}

// failed makes an error of a status.
func (p *proxy) failed(request, key string, status Status, why *table.Error, err error) error {
	switch {
	case err != nil:
		return &table.Error{Err: err}
	case why != nil:
		why.Config = status == Config
		return why
	case status == Retry:
		return &table.Error{}
	case status == Config:
		return &table.Error{Config: true}
	}
	text := fmt.Sprintf("%s %s failed for table \"%s\" key \"%s\": invalid request", p.service, request, p.name, key)
	if status == Denied {
		text = fmt.Sprintf("%s service is not configured for table \"%s\"", p.service, p.name)
		if request == Update || request == Delete {
			text = fmt.Sprintf("%s %s access is not configured for table \"%s\"", p.service, request, p.name)
		}
	}
	// The lookup fails, not the program, however often that happens.
	maillog.Logf(maillog.Error, "%s", text)
	return &table.Error{Err: errors.New(text)}
}

func (p *proxy) Name() string       { return "proxy:" + p.name }
func (p *proxy) Flags() table.Flags { return table.Flags(p.server.Load()) }
func (p *proxy) Fixed() bool        { return p.Flags()&table.FixedKeys != 0 }
func (p *proxy) Changed() bool      { return false }
func (p *proxy) Close() error       { return nil }

// Lookup asks the service for a key.
func (p *proxy) Lookup(key string) (value string, found bool, err error) {
	if strings.IndexByte(key, 0) >= 0 {
		return "", false, nil
	}
	status, why, err := p.call(Lookup,
		func(w *attr.Writer) { w.Str("key", key) },
		func(r *attr.Reader) (err error) { value, err = r.Str("value"); return err })
	switch {
	case err == nil && status == OK:
		return value, true, nil
	case err == nil && status == NotFound:
		return "", false, nil
	}
	return "", false, p.failed(Lookup, key, status, why, err)
}

// Update stores a value, replacing an old one.
func (p *proxy) Update(key, value string) error {
	status, why, err := p.call(Update, func(w *attr.Writer) { w.Str("key", key).Str("value", value) }, nil)
	if err == nil && status == OK {
		return nil
	}
	return p.failed(Update, key, status, why, err)
}

// Delete removes a key.
func (p *proxy) Delete(key string) (found bool, err error) {
	status, why, err := p.call(Delete, func(w *attr.Writer) { w.Str("key", key) }, nil)
	if err == nil && (status == OK || status == NotFound) {
		return status == OK, nil
	}
	return false, p.failed(Delete, key, status, why, err)
}

// Cursor lists the table. The service remembers how far it is, by connection:
// only one listing at a time makes sense.
func (p *proxy) Cursor() (table.Cursor, error) { return &cursor{p: p, function: First}, nil }

type cursor struct {
	p        *proxy
	function int
}

func (c *cursor) Next() (key, value string, ok bool, err error) {
	status, why, err := c.p.call(Sequence,
		func(w *attr.Writer) { w.Int("function", c.function) },
		func(r *attr.Reader) (err error) {
			if key, err = r.Str("key"); err == nil {
				value, err = r.Str("value")
			}
			return err
		})
	c.function = Next
	switch {
	case err == nil && status == OK:
		return key, value, true, nil
	case err == nil && status == NotFound:
		return "", "", false, nil
	}
	return "", "", false, c.p.failed(Sequence, "", status, why, err)
}
