// Package flushclient talks to the flush service, which keeps lists of
// deferred mail for domains that may ask for it (spec ipc §13).
package flushclient

import (
	"context"
	"fmt"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/config"
	"suffix/pkg/ipc"
	"suffix/pkg/matchlist"
	"suffix/pkg/params"
)

// A Status is the answer of the service.
type Status int

const (
	OK   Status = 0
	Fail Status = -1
	Bad  Status = 3 // malformed site or queue ID
	Deny Status = 4 // the site is not in fast_flush_domains
)

// A Client asks the flush service. It is safe for concurrent use.
type Client struct {
	service string
	timeout time.Duration
	domains *matchlist.List
}

// New returns a client from main.cf.
func New(cfg *config.Main) *Client {
	return &Client{
		service: cfg.String(params.FlushServiceName),
		timeout: cfg.Time(params.IpcTimeout),
		domains: matchlist.New("fast_flush_domains", cfg.String(params.FastFlushDomains), matchlist.Domain, matchlist.Options{Config: cfg}),
	}
}

// Eligible says whether the service keeps a list for the site.
func (c *Client) Eligible(site string) (bool, error) { return c.domains.Match(site) }

// Add puts a deferred message on the list of a site. Sites that have no list
// are passed over without asking the service.
func (c *Client) Add(ctx context.Context, site, queueID string) error {
	if eligible, err := c.Eligible(site); err != nil || !eligible {
		return err
	}
	status, err := c.call(ctx, func(w *attr.Writer) { w.Str("request", "add").Str("site", site).Str("queue_id", queueID) })
	if err == nil && status != OK {
		return fmt.Errorf("flush service status %d", status)
	}
	return err
}

// SendSite has the mail on the list of a site delivered now.
func (c *Client) SendSite(ctx context.Context, site string) (Status, error) {
	eligible, err := c.Eligible(site)
	switch {
	case err != nil:
		return Fail, err
	case !eligible:
		return Deny, nil
	}
	return c.call(ctx, func(w *attr.Writer) { w.Str("request", "send_site").Str("site", site) })
}

// SendFile has one deferred message delivered now.
func (c *Client) SendFile(ctx context.Context, queueID string) (Status, error) {
	return c.call(ctx, func(w *attr.Writer) { w.Str("request", "send_file").Str("queue_id", queueID) })
}

// Refresh has the service look for lists that are due.
func (c *Client) Refresh(ctx context.Context) (Status, error) {
	return c.call(ctx, func(w *attr.Writer) { w.Str("request", "rfrsh") })
}

// Purge has the service work on all lists.
func (c *Client) Purge(ctx context.Context) (Status, error) {
	return c.call(ctx, func(w *attr.Writer) { w.Str("request", "purge") })
}

func (c *Client) call(ctx context.Context, put func(*attr.Writer)) (Status, error) {
	conn, err := ipc.Dial(ipc.Public, c.service, c.timeout)
	if err != nil {
		return Fail, err
	}
	defer conn.Close()
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	if err := conn.R.Protocol("queue_flush_protocol"); err != nil {
		return Fail, err
	}
	if err := conn.R.End(); err != nil {
		return Fail, err
	}
	put(conn.W)
	if err := conn.W.End(); err != nil {
		return Fail, fmt.Errorf("write %s/%s: %w", ipc.Public, c.service, err)
	}
	status, err := conn.R.Int("status")
	if err != nil {
		return Fail, fmt.Errorf("read %s/%s: %w", ipc.Public, c.service, err)
	}
	return Status(status), conn.R.End()
}
