package smtpclient

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"suffix/pkg/dsn"
	"suffix/pkg/syserr"
)

// maxUnixPath is what a unix-domain address holds.
const maxUnixPath = 108

// connect opens a connection to a server.
func (c *Config) connect(ctx context.Context, t *target) (*session, *dsn.DSN) {
	where := netip.AddrPortFrom(t.addr, t.port).String()
	name := fmt.Sprintf("%s[%s]:%d", t.host, t.addr, t.port)
	dialer := net.Dialer{Timeout: c.ConnectTimeout, KeepAlive: -1}
	if c.WindowSize > 0 {
		dialer.Control = func(_, _ string, raw syscall.RawConn) error {
			return setWindow(raw, c.WindowSize)
		}
	}
	source := c.source(t.addr)
	if source.IsValid() {
		dialer.LocalAddr = &net.TCPAddr{IP: source.AsSlice()}
	}
	conn, err := dialer.DialContext(ctx, "tcp", where)
	if err != nil && source.IsValid() && isBindError(err) {
		c.Log.Warnf("smtp_connect_addr: bind %s: %s", source, syserr.Text(err))
		if c.BindEnforce && c.bind(t.addr).IsValid() {
			return nil, &dsn.DSN{Status: "4.4.0", Reason: "server configuration error"}
		}
		dialer.LocalAddr = nil
		conn, err = dialer.DialContext(ctx, "tcp", where)
	}
	if err != nil {
		return nil, &dsn.DSN{Status: "4.4.1", Reason: "connect to " + name + ": " + connectError(err)}
	}
	s := newSession(c, conn, t.host, t.addr.String(), t.addr, t.port)
	s.bestMX = t.best
	return s, nil
}

// connectUnix opens a connection to a local server.
func (c *Config) connectUnix(ctx context.Context, path string) (*session, *dsn.DSN) {
	if len(path) >= maxUnixPath {
		c.Log.Warnf("unix-domain name too long: %s", path)
		return nil, &dsn.DSN{Status: "4.3.5", Reason: "Server configuration error"}
	}
	dialer := net.Dialer{Timeout: c.ConnectTimeout}
	conn, err := dialer.DialContext(ctx, "unix", path)
	if err != nil {
		return nil, &dsn.DSN{Status: "4.4.1", Reason: "connect to " + c.HostName + "[" + path + "]: " + connectError(err)}
	}
	s := newSession(c, conn, c.HostName, path, netip.Addr{}, 0)
	s.bestMX = true
	return s, nil
}

func connectError(err error) string {
	if isTimeout(err) {
		err = syscall.ETIMEDOUT
	}
	return syserr.Text(err)
}

// isBindError tells a failure of bind(2) from one of connect(2).
func isBindError(err error) bool {
	switch syserr.Cause(err) {
	case syscall.EADDRNOTAVAIL, syscall.EADDRINUSE, syscall.EACCES:
		return true
	}
	return false
}

func (c *Config) bind(to netip.Addr) netip.Addr {
	if to.Is4() {
		return c.BindIPv4
	}
	return c.BindIPv6
}

// source returns the address to connect from, or none.
func (c *Config) source(to netip.Addr) netip.Addr {
	if a := c.bind(to); a.IsValid() {
		return a
	}
	if to.Is4() {
		return c.SourceIPv4
	}
	return c.SourceIPv6
}

func setWindow(raw syscall.RawConn, size int) error {
	var failed error
	err := raw.Control(func(fd uintptr) {
		for _, option := range []int{unix.SO_SNDBUF, unix.SO_RCVBUF} {
			if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, size); err != nil {
				failed = err
			}
		}
	})
	if err != nil {
		return err
	}
	return failed
}

// portText is a port for keys and texts.
func portText(port uint16) string { return strconv.Itoa(int(port)) }

// sleep waits, but no longer than the context lives.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}
