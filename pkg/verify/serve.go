package verify

import (
	"context"
	"errors"

	"suffix/pkg/attr"
	"suffix/pkg/maillog"
	"suffix/pkg/verifyclient"
)

// Values of the reply attribute status.
const (
	statusOK      = 0
	statusRequest = -2 // the request is not one
)

// Serve answers the requests of one client until it disconnects.
func (e *Engine) Serve(ctx context.Context, c *attr.Conn) {
	if err := c.W.Str("protocol", verifyclient.Protocol).End(); err != nil {
		return
	}
	for ctx.Err() == nil {
		err := e.serveOne(c)
		var missing *attr.MissingError
		var unexpected *attr.UnexpectedError
		switch {
		case err == nil:
		case errors.As(err, &missing), errors.As(err, &unexpected):
			// There is no answer, but the connection stays.
			e.log.Warnf("%s", err)
			c.R.Reset()
		default:
			if !errors.Is(err, attr.ErrEOF) {
				e.log.Warnf("%s", err)
			}
			return
		}
	}
}

func (e *Engine) serveOne(c *attr.Conn) error {
	request, err := c.R.Str("request")
	if err != nil {
		return err
	}
	switch request {
	case "query":
		addr, err := c.R.Str("address")
		if err != nil {
			return err
		}
		if err := c.R.End(); err != nil {
			return err
		}
		verdict, text := e.Query(addr)
		return c.W.Int("status", statusOK).Int("recipient_status", int(verdict)).Str("reason", text).End()
	case "update":
		addr, _ := c.R.Str("address")
		verdict, _ := c.R.Int("recipient_status")
		text, err := c.R.Str("reason")
		if err != nil {
			return err
		}
		if err := c.R.End(); err != nil {
			return err
		}
		if verdict < 0 || verdict > int(verifyclient.Undeliverable) {
			e.log.Warnf("bad recipient status %d for recipient %s", verdict, maillog.Printable(addr))
			return c.W.Int("status", statusRequest).End()
		}
		e.Update(addr, verifyclient.Verdict(verdict), text)
		return c.W.Int("status", statusOK).End()
	}
	e.log.Warnf("unrecognized request: \"%s\", ignored", maillog.Printable(request))
	for { // whatever belongs to it
		if _, _, more, err := c.R.Next(); err != nil {
			return err
		} else if !more {
			break
		}
	}
	if err := c.R.End(); err != nil {
		return err
	}
	return c.W.Int("status", statusRequest).End()
}
