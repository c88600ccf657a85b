// Package flushclient talks to the flush(8) service, which remembers which
// messages wait for which destination (spec ipc §13, queue-files §14).
//
// Destinations that fast_flush_domains does not list are refused without a
// connection. A client works in the queue directory.
package flushclient

import (
	"time"

	"suffix/pkg/config"
	"suffix/pkg/ipc"
	"suffix/pkg/maillog"
	"suffix/pkg/matchlist"
	"suffix/pkg/params"
)

// A Status is the answer of the service.
type Status int

// The answers.
const (
	OK     Status = 0
	Fail   Status = -1 // the service could not be reached, or could not do it
	Bad    Status = 3  // a parameter of the request is not valid
	Denied Status = 4  // the destination is not among fast_flush_domains, or there is no such service
)

// A Client sends requests, each over a connection of its own. It is safe for
// concurrent use.
type Client struct {
	service  string
	timeout  time.Duration
	sites    *matchlist.List
	fallback *matchlist.List // backwards-compatible relay_domains
}

// New reads fast_flush_domains, flush_service_name and ipc_timeout. Lists that
// cannot be evaluated are reported when they are used.
func New(cfg *config.Main) *Client {
	c := &Client{
		service: cfg.String(params.FlushServiceName),
		timeout: cfg.Time(params.IpcTimeout),
		sites:   matchlist.New("fast_flush_domains", cfg.String(params.FastFlushDomains), matchlist.Domain, matchlist.Options{Config: cfg}),
	}
	// Long ago relay_domains had another default. While that still applies,
	// its users are told what depends on it.
	if cfg.CompatLevelBelow("2") && !cfg.Explicit("relay_domains") && !cfg.Explicit("fast_flush_domains") {
		c.fallback = c.sites
	}
	return c
}

// eligible tells whether the service keeps a log for a destination.
func (c *Client) eligible(site, purpose string) Status {
	ok, err := c.sites.Match(site)
	switch {
	case err != nil:
		return Fail
	case !ok:
		return Denied
	}
	if c.fallback != nil {
		maillog.Infof("using backwards-compatible default setting relay_domains=$mydestination to %s for domain \"%s\"",
			purpose, maillog.Printable(site))
	}
	return OK
}

// Add remembers that a message waits for a destination, after the recipient
// was deferred. Denied, the usual answer, is no problem.
func (c *Client) Add(site, queueID string) Status {
	if status := c.eligible(site, "update fast-flush logfile"); status != OK {
		return status
	}
	return c.request("add", "site", site, "queue_id", queueID)
}

// SendSite asks for delivery of all mail that waits for a destination.
func (c *Client) SendSite(site string) Status {
	if status := c.eligible(site, "flush mail"); status != OK {
		return status
	}
	return c.request("send_site", "site", site)
}

// SendFile asks for delivery of one deferred message.
func (c *Client) SendFile(queueID string) Status { return c.request("send_file", "queue_id", queueID) }

// Refresh asks for delivery of mail to destinations that nobody asked for in
// fast_flush_refresh_time, and for removal of unused logs.
func (c *Client) Refresh() Status { return c.request("rfrsh") }

// Purge asks for delivery of all mail that the service knows of.
func (c *Client) Purge() Status { return c.request("purge") }

// request sends one request; attributes are name and value in turn. Why it
// failed is logged.
func (c *Client) request(what string, attributes ...string) Status {
	conn, err := ipc.Dial(ipc.Public, c.service, c.timeout)
	if err != nil {
		maillog.Warnf("%v", err)
		return Fail
	}
	defer conn.Close()
	if err := conn.R.Protocol("queue_flush_protocol"); err != nil {
		return c.fail(err)
	}
	if err := conn.R.End(); err != nil {
		return c.fail(err)
	}
	conn.W.Str("request", what)
	for i := 0; i+1 < len(attributes); i += 2 {
		conn.W.Str(attributes[i], attributes[i+1])
	}
	if err := conn.W.End(); err != nil {
		return c.fail(err)
	}
	status, err := conn.R.Int("status")
	if err == nil {
		err = conn.R.End()
	}
	if err != nil {
		return c.fail(err)
	}
	return Status(status)
}

func (c *Client) fail(err error) Status {
	maillog.Warnf("%v", err)
	return Fail
}
