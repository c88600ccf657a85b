// Package scache is the scache(8) daemon: it keeps open SMTP connections for
// processes that will need them again within a moment. Our own SMTP client
// keeps its connections itself; this service is for clients of other releases.
//
// It talks to nobody else. It reads connection_cache_ttl_limit and
// connection_cache_status_update_time.
package scache

import (
	"context"
	"errors"
	"net"
	"os"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/service"
)

// Main runs the daemon.
func Main() {
	var connections *cache
	service.Run(service.Daemon{
		Program:  "scache",
		Kind:     service.Multi,
		Limit:    service.LimitOne,
		NoMaxUse: true,
		Setup: func(p *service.Process) error {
			connections = newCache(p.Config.Time(params.ConnectionCacheTtlLimit))
			go logStatistics(connections, p.Config.Time(params.ConnectionCacheStatusUpdateTime))
			return nil
		},
		Serve: func(_ context.Context, _ *service.Process, c *service.Conn) { serve(connections, c.Conn, c.Unix()) },
		Exit:  func(*service.Process) { connections.logStatistics() },
	})
}

func logStatistics(c *cache, interval time.Duration) {
	if interval <= 0 {
		return
	}
	for range time.Tick(interval) {
		c.logStatistics()
	}
}

// Values of status.
const (
	statusOK   = 0
	statusBad  = 1
	statusFail = 2
)

// serve answers the requests of one client. The socket is that of the
// connection; nil where descriptors cannot pass.
func serve(connections *cache, c *attr.Conn, socket *net.UnixConn) {
	if socket == nil {
		maillog.Warnf("connection cache client is not on a unix-domain socket")
		return
	}
	if c.W.Str("protocol", "connection_cache_protocol").End() != nil {
		return
	}
	for {
		if _, err := c.R.Buffered().Peek(1); err != nil {
			return
		}
		request, err := c.R.Str("request")
		if err != nil {
			maillog.Warnf("%v", err)
			return
		}
		switch request {
		case "save_endp":
			err = saveEndpoint(connections, c, socket)
		case "find_endp":
			err = findEndpoint(connections, c, socket)
		case "save_dest":
			err = saveDestination(connections, c)
		case "find_dest":
			err = findDestination(connections, c, socket)
		default:
			maillog.Warnf("unrecognized request: \"%s\", ignored", maillog.Printable(request))
			c.R.Lenient = true
			if err = c.R.End(); err == nil {
				err = c.W.Int("status", statusBad).End()
			}
			c.R.Lenient = false
		}
		if err != nil {
			if !errors.Is(err, os.ErrClosed) {
				maillog.Debugf("connection cache client: %v", err)
			}
			return
		}
	}
}

// bad says that a request lacks something.
func bad(operation string, err error) bool {
	if err == nil {
		return false
	}
	maillog.Warnf("%v", err)
	maillog.Warnf("scache_%s_service: bad or missing request parameter", operation)
	return true
}

var errTTL = errors.New("time to live is not positive")

func saveEndpoint(connections *cache, c *attr.Conn, socket *net.UnixConn) error {
	ttl, _ := c.R.Int("ttl")
	label, _ := c.R.Str("label")
	property, _ := c.R.Str("property")
	err := c.R.End()
	if err == nil && ttl <= 0 {
		err = errTTL
	}
	if bad("save_endp", err) {
		return c.W.Int("status", statusBad).End()
	}
	if err := c.W.Str("dummy", "").End(); err != nil {
		return err
	}
	f, err := attr.ReceiveFile(socket)
	if err != nil {
		maillog.Warnf("scache_save_endp_service: unable to receive file descriptor: %v", err)
		return c.W.Int("status", statusFail).End()
	}
	connections.saveEndpoint(time.Duration(ttl)*time.Second, label, property, f)
	return c.W.Int("status", statusOK).End()
}

func findEndpoint(connections *cache, c *attr.Conn, socket *net.UnixConn) error {
	label, _ := c.R.Str("label")
	if bad("find_endp", c.R.End()) {
		return c.W.Int("status", statusBad).Str("property", "").End()
	}
	property, f := connections.findEndpoint(label)
	if f == nil {
		return c.W.Int("status", statusFail).Str("property", "").End()
	}
	defer f.Close()
	if err := c.W.Int("status", statusOK).Str("property", property).End(); err != nil {
		return err
	}
	return hand(c, socket, f, "find_endp")
}

func saveDestination(connections *cache, c *attr.Conn) error {
	ttl, _ := c.R.Int("ttl")
	label, _ := c.R.Str("label")
	property, _ := c.R.Str("property")
	endpoint, _ := c.R.Str("label")
	err := c.R.End()
	if err == nil && ttl <= 0 {
		err = errTTL
	}
	if bad("save_dest", err) {
		return c.W.Int("status", statusBad).End()
	}
	connections.saveDestination(time.Duration(ttl)*time.Second, label, property, endpoint)
	return c.W.Int("status", statusOK).End()
}

func findDestination(connections *cache, c *attr.Conn, socket *net.UnixConn) error {
	label, _ := c.R.Str("label")
	if bad("find_dest", c.R.End()) {
		return c.W.Int("status", statusBad).Str("property", "").Str("property", "").End()
	}
	destination, endpoint, f := connections.findDestination(label)
	if f == nil {
		return c.W.Int("status", statusFail).Str("property", "").Str("property", "").End()
	}
	defer f.Close()
	if err := c.W.Int("status", statusOK).Str("property", destination).Str("property", endpoint).End(); err != nil {
		return err
	}
	return hand(c, socket, f, "find_dest")
}

// hand passes a connection to the client, which says before and after that it
// has read everything else.
func hand(c *attr.Conn, socket *net.UnixConn, f *os.File, operation string) error {
	if err := acknowledgement(c); err != nil {
		return err
	}
	if err := attr.SendFile(socket, f); err != nil {
		maillog.Warnf("scache_%s_service: cannot send file descriptor: %v", operation, err)
		return err
	}
	return acknowledgement(c)
}

func acknowledgement(c *attr.Conn) error {
	if _, err := c.R.Str("dummy"); err != nil {
		return err
	}
	return c.R.End()
}
