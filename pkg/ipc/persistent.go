package ipc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"syscall"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/syserr"
)

// A Persistent client keeps connections to a service that answers many
// requests on one connection: rewrite, verify, proxymap, anvil, tlsmgr.
//
// It is safe for concurrent use: calls at the same time use connections of
// their own, and give them back to a small pool. The zero value of the
// optional fields means Postfix's defaults.
type Persistent struct {
	Class, Service string
	Protocol       string        // announced by the server, checked on each new connection; empty: none
	Form           attr.Form     // encoding, Null by default
	Lenient        bool          // replies may hold attributes that were not asked for
	Timeout        time.Duration // of one operation (ipc_timeout)
	Idle           time.Duration // an unused connection is closed after this time (ipc_idle)
	TTL            time.Duration // no connection is used longer (ipc_ttl)
	Tries          int           // 0: retry until the context ends; else give up after so many tries
	Warn           func(string)  // where failures are reported

	mu     sync.Mutex
	idle   []*pooled
	reaper *time.Timer
}

type pooled struct {
	*attr.Conn
	born, used time.Time
}

// Call makes one request: f writes it to the connection and reads the reply.
// When that fails the connection is dropped and the request is made again on
// a new one, after a second. f must therefore be repeatable.
//
// An error for which Permanent was used is returned at once, and so is that of
// a request that cannot be sent because of a value in it.
func (p *Persistent) Call(ctx context.Context, f func(c *attr.Conn) error) error {
	for try := 1; ; try++ {
		conn, err := p.get()
		if err == nil {
			if err = f(conn.Conn); err == nil {
				p.put(conn)
				return nil
			}
			conn.Close()
		}
		var permanent *permanentError
		if errors.As(err, &permanent) {
			return permanent.error
		}
		var value *attr.ValueError
		if errors.As(err, &value) {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		// A server that retires between two requests is routine.
		routine := try == 1 && (errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ENOENT) || errors.Is(err, attr.ErrEOF))
		if !routine && p.Warn != nil {
			p.Warn(fmt.Sprintf("problem talking to service %s: %s", p.Service, syserr.Text(err)))
		}
		if p.Tries > 0 && try >= p.Tries {
			return fmt.Errorf("service %s/%s: %w", p.Class, p.Service, err)
		}
		if !routine {
			if err := sleep(ctx, retryDelay); err != nil {
				return err
			}
		}
	}
}

// Permanent marks an error of a Call as final: the request is not repeated.
func Permanent(err error) error { return &permanentError{err} }

type permanentError struct{ error }

// Close drops all idle connections.
func (p *Persistent) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle {
		c.Close()
	}
	p.idle = nil
}

func (p *Persistent) get() (*pooled, error) {
	now := time.Now()
	p.mu.Lock()
	for len(p.idle) > 0 {
		c := p.idle[len(p.idle)-1]
		p.idle = p.idle[:len(p.idle)-1]
		if now.Sub(c.born) < p.ttl() && now.Sub(c.used) < p.idleTime() && !readable(c.Conn) {
			p.mu.Unlock()
			return c, nil
		}
		c.Close()
	}
	p.mu.Unlock()

	c, err := DialForm(p.Class, p.Service, p.Form, p.timeout())
	if err != nil {
		return nil, err
	}
	c.R.Lenient = p.Lenient
	if p.Protocol != "" {
		if err := c.R.Protocol(p.Protocol); err != nil {
			c.Close()
			return nil, err
		}
		if err := c.R.End(); err != nil {
			c.Close()
			return nil, err
		}
	}
	return &pooled{Conn: c, born: now}, nil
}

func (p *Persistent) put(c *pooled) {
	c.used = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle = append(p.idle, c)
	if p.reaper == nil {
		p.reaper = time.AfterFunc(p.idleTime(), p.reap)
	}
}

// reap closes connections that nobody used for a while, so that servers may
// retire.
func (p *Persistent) reap() {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	keep := p.idle[:0]
	for _, c := range p.idle {
		if now.Sub(c.used) < p.idleTime() {
			keep = append(keep, c)
		} else {
			c.Close()
		}
	}
	clear(p.idle[len(keep):])
	p.idle = keep
	p.reaper = nil
	if len(keep) > 0 {
		p.reaper = time.AfterFunc(p.idleTime(), p.reap)
	}
}

func (p *Persistent) timeout() time.Duration  { return orDefault(p.Timeout, 3600*time.Second) }
func (p *Persistent) idleTime() time.Duration { return orDefault(p.Idle, 5*time.Second) }
func (p *Persistent) ttl() time.Duration      { return orDefault(p.TTL, 1000*time.Second) }

func orDefault(d, def time.Duration) time.Duration {
	if d > 0 {
		return d
	}
	return def
}

// readable reports whether an idle connection has input waiting: the server
// closed it, or said something that nobody asked for. Either way it is dead.
func readable(c *attr.Conn) bool {
	if c.R.Buffered().Buffered() > 0 {
		return true
	}
	unixConn, ok := c.Conn.(*net.UnixConn)
	if !ok {
		return false
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return true
	}
	input := true
	if err := raw.Read(func(fd uintptr) bool {
		var buf [1]byte
		_, _, err := syscall.Recvfrom(int(fd), buf[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		input = !errors.Is(err, syscall.EAGAIN)
		return true
	}); err != nil {
		return true
	}
	return input
}
