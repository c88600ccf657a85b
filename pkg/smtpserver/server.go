package smtpserver

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"suffix/pkg/cleanupclient"
	"suffix/pkg/dnsclient"
	"suffix/pkg/rewriteclient"
	"suffix/pkg/smtpaccess"
)

// A Variant is one set of settings with the rules that belong to it.
type Variant struct {
	Settings *Settings
	Rules    *smtpaccess.Checker // nil in stand-alone mode
}

// A Server serves SMTP clients. Its fields are set before the first session.
type Server struct {
	Normal, Stressed Variant // Stressed is used while the service is at its limit

	Log      smtpaccess.Logger
	Resolver *dnsclient.Resolver
	Rewrite  *rewriteclient.Client
	// Open starts a message; nil: cleanupclient.Open.
	Open func(ctx context.Context, service string, flags cleanupclient.Flags) (cleanupclient.Stream, error)
	// Flush asks the flush service to deliver what waits for a site (spec
	// smtpd §7.7, ETRN).
	Flush func(ctx context.Context, site string) FlushResult
	// FreeSpace returns the free bytes of the queue's file system; nil: ask the
	// system about the working directory.
	FreeSpace func() (int64, error)

	space struct {
		mu    sync.Mutex
		asked time.Time
		free  int64
		err   error
	}
	sessions atomic.Int64 // numbers the sessions, for notices and instances
}

// A FlushResult is the answer of the flush service to an ETRN.
type FlushResult int

const (
	FlushStarted     FlushResult = iota
	FlushNotEligible             // the site is not in fast_flush_domains
	FlushBad                     // refused as malformed
	FlushUnreachable
)

// Changed names a table that has changed on disk since it was opened.
func (srv *Server) Changed() (name string, changed bool) {
	for _, v := range []Variant{srv.Normal, srv.Stressed} {
		if v.Settings != nil {
			if name, changed = v.Settings.Changed(); changed {
				return name, true
			}
		}
		if v.Rules != nil {
			if name, changed = v.Rules.Changed(); changed {
				return name, true
			}
		}
	}
	return "", false
}

// Serve runs one session and returns when it is over. The caller closes the
// connection. pass holds the attributes of a connection handed over by
// postscreen, nil for others.
func (srv *Server) Serve(ctx context.Context, conn net.Conn, pass map[string]string, stress bool) {
	variant := srv.Normal
	if stress && srv.Stressed.Settings != nil {
		variant = srv.Stressed
	}
	s := newSession(ctx, srv, variant, conn)
	defer s.cleanup()
	defer s.sayPanic()
	s.run(pass)
}
