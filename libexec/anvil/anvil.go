// Package anvil is the anvil(8) daemon: it counts how many sessions each
// client of a server has open, and how much each does in a unit of time. The
// servers, smtpd and postscreen, ask it and enforce their limits.
//
// It talks to nobody else. It reads anvil_rate_time_unit and
// anvil_status_update_time.
package anvil

import (
	"context"
	"errors"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/service"
)

// Main runs the daemon.
func Main() {
	var clients *table
	service.Run(service.Daemon{
		Program:  "anvil",
		Kind:     service.Multi,
		Limit:    service.LimitOne,
		NoMaxUse: true,
		Setup: func(p *service.Process) error {
			clients = newTable(p.Config.Time(params.AnvilRateTimeUnit), time.Now)
			go logStatistics(clients, p.Config.Time(params.AnvilStatusUpdateTime))
			return nil
		},
		Serve: func(_ context.Context, p *service.Process, c *service.Conn) {
			serve(clients, attr.NewConn(c.Conn.Conn, attr.Plain, p.Service+" socket", p.Config.Time(params.IpcTimeout)))
		},
		Exit: func(*service.Process) { clients.logStatistics() },
	})
}

func logStatistics(t *table, interval time.Duration) {
	if interval <= 0 {
		return
	}
	for range time.Tick(interval) {
		t.logStatistics()
	}
}

// serve answers the requests of one server process, which may register one
// client at a time. Closing the connection takes the client away.
func serve(t *table, c *attr.Conn) {
	registered := ""
	defer func() {
		if registered != "" {
			t.disconnect(registered)
		}
	}()
	if c.W.Str("protocol", "anvil_protocol").End() != nil {
		return
	}
	for {
		// A server may be silent for as long as its client is connected.
		if c.AwaitRequest() != nil {
			return
		}
		request, _ := c.R.Str("request")
		ident, _ := c.R.Str("ident")
		if err := c.R.End(); err != nil {
			if !errors.Is(err, attr.ErrEOF) {
				maillog.Warnf("%v", err)
			}
			return
		}
		ident = maillog.Printable(ident)
		answer(t, c, request, ident, &registered)
		if c.W.End() != nil {
			return
		}
	}
}

// answer puts the reply to one request into the connection's buffer.
func answer(t *table, c *attr.Conn, request, ident string, registered *string) {
	if event, ok := events[request]; ok {
		rate, registers := t.count(ident, event, request != "newtls_status")
		if registers {
			replace(t, registered, ident)
		}
		c.W.Int("status", 0).Int("rate", rate)
		return
	}
	switch request {
	case "connect":
		count, rate := t.connect(ident)
		replace(t, registered, ident)
		c.W.Int("status", 0).Int("count", count).Int("rate", rate)
	case "disconnect":
		if *registered == ident {
			t.disconnect(ident)
			*registered = ""
		}
		c.W.Int("status", 0)
	case "lookup":
		v, known := t.lookup(ident)
		c.W.Int("status", 0).Int("count", v.open).Int("rate", v.rates[rateConnect]).
			Int("mail", v.rates[rateMessage]).Int("rcpt", v.rates[rateRecipient]).
			Int("newtls", v.rates[rateNewTLS]).Int("auth", v.rates[rateAuth])
		if known {
			c.W.Int("auth", v.rates[rateTLSTrace])
		}
	default:
		maillog.Warnf("unrecognized request: \"%s\", ignored", maillog.Printable(request))
		c.W.Int("status", -1)
	}
}

// replace makes ident the client of a connection; the one before it is gone.
func replace(t *table, registered *string, ident string) {
	if *registered != "" {
		t.disconnect(*registered)
	}
	*registered = ident
}

// events are the requests that count something other than connections.
var events = map[string]rate{
	"message": rateMessage, "recipient": rateRecipient, "auth": rateAuth,
	"newtls": rateNewTLS, "newtls_status": rateNewTLS, "tlstr": rateTLSTrace,
}
