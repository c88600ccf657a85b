package rewrite

import (
	"context"
	"errors"

	"suffix/pkg/attr"
	"suffix/pkg/maillog"
	"suffix/pkg/rewriteclient"
)

// Serve answers the requests of one client until it disconnects or sends
// something that is no request (spec ipc §9).
func (e *Engine) Serve(ctx context.Context, c *attr.Conn) {
	if err := c.W.Str("protocol", rewriteclient.Protocol).End(); err != nil {
		return
	}
	for ctx.Err() == nil {
		request, err := c.R.Str("request")
		if err != nil {
			if !errors.Is(err, attr.ErrEOF) {
				e.log.Warnf("%s", err)
			}
			return
		}
		switch request {
		case "rewrite":
			err = e.serveRewrite(c)
		case "resolve", "verify":
			err = e.serveResolve(c, request == "verify")
		default:
			if len(request) > 30 {
				request = request[:30]
			}
			e.log.Warnf("bad command %s", maillog.Printable(request))
			return
		}
		if err != nil {
			e.log.Warnf("%s", err)
			return
		}
	}
}

func (e *Engine) serveRewrite(c *attr.Conn) error {
	rule, _ := c.R.Str("rule")
	text, err := c.R.Str("address")
	if err != nil {
		return err
	}
	if err := e.endRequest(c); err != nil {
		return err
	}
	result, err := e.Rewrite(rewriteclient.Rule(rule), text)
	if err != nil {
		return err
	}
	return c.W.Int("flags", 0).Str("address", result).End()
}

func (e *Engine) serveResolve(c *attr.Conn, verify bool) error {
	sender, _ := c.R.Str("sender")
	addr, err := c.R.Str("address")
	if err != nil {
		return err
	}
	if err := e.endRequest(c); err != nil {
		return err
	}
	reply, err := e.Resolve(sender, addr, verify)
	if err != nil {
		return err
	}
	return c.W.Int("flags", 0).Str("transport", reply.Transport).Str("nexthop", reply.NextHop).
		Str("recipient", reply.Recipient).Int("flags", int(reply.Flags)).End()
}

// endRequest reads the end of a request. One attribute too many is logged; the
// request is answered all the same.
func (e *Engine) endRequest(c *attr.Conn) error {
	err := c.R.End()
	var extra *attr.UnexpectedError
	if errors.As(err, &extra) {
		e.log.Warnf("%s", err)
		return nil
	}
	return err
}
