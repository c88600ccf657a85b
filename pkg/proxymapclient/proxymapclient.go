// Package proxymapclient has the table type proxy: tables that the proxymap
// service opens and reads for its clients, or proxywrite writes for them
// (spec tables §12, ipc §16).
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

// Requests.
const (
	Open     = "open"
	Lookup   = "lookup"
	Update   = "update"
	Delete   = "delete"
	Sequence = "sequence"
)

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
	server   atomic.Uint32
	client   *ipc.Persistent
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
	p := &proxy{service: service, name: name, old: o.Dialect37(), client: client(class, service, o.Config)}
	p.flags = o.Flags &^ (table.UTF8Active | table.Surrogate)
	p.instance = p.flags & table.InstanceFlags
	status, err := p.call(Open, nil, nil)
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

// call makes a request. put adds what the kind of request has, get reads what
// its reply has.
func (p *proxy) call(request string, put func(w *attr.Writer), get func(r *attr.Reader) error) (status Status, err error) {
	err = p.client.Call(context.Background(), func(c *attr.Conn) error {
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
		return c.R.End()
	})
	return status, err
}

// failed makes an error of a status.
func (p *proxy) failed(request, key string, status Status, err error) error {
	switch {
	case err != nil:
		return &table.Error{Err: err}
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
	status, err := p.call(Lookup,
		func(w *attr.Writer) { w.Str("key", key) },
		func(r *attr.Reader) (err error) { value, err = r.Str("value"); return err })
	switch {
	case err == nil && status == OK:
		return value, true, nil
	case err == nil && status == NotFound:
		return "", false, nil
	}
	return "", false, p.failed(Lookup, key, status, err)
}

// Update stores a value, replacing an old one.
func (p *proxy) Update(key, value string) error {
	status, err := p.call(Update, func(w *attr.Writer) { w.Str("key", key).Str("value", value) }, nil)
	if err == nil && status == OK {
		return nil
	}
	return p.failed(Update, key, status, err)
}

// Delete removes a key.
func (p *proxy) Delete(key string) (found bool, err error) {
	status, err := p.call(Delete, func(w *attr.Writer) { w.Str("key", key) }, nil)
	if err == nil && (status == OK || status == NotFound) {
		return status == OK, nil
	}
	return false, p.failed(Delete, key, status, err)
}

// Cursor lists the table. The service remembers how far it is, by connection:
// only one listing at a time makes sense.
func (p *proxy) Cursor() (table.Cursor, error) { return &cursor{p: p, function: First}, nil }

type cursor struct {
	p        *proxy
	function int
}

func (c *cursor) Next() (key, value string, ok bool, err error) {
	status, err := c.p.call(Sequence,
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
	return "", "", false, c.p.failed(Sequence, "", status, err)
}
