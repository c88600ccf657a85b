package dnsclient

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
)

// NativeResult is the class of an error of the system's resolver.
type NativeResult int

const (
	NativeNoName NativeResult = iota // no such name
	NativeNoData                     // no address of the wanted family
	NativeAgain                      // temporary failure
	NativeSystem                     // memory or system error
	NativeFail                       // anything else
)

// NativeError is a failure of the system's resolver, in the words of
// getaddrinfo(3).
type NativeError struct {
	Result NativeResult
	Text   string
}

func (e *NativeError) Error() string { return e.Text }

func nativeError(err error) *NativeError {
	var d *net.DNSError
	switch {
	case errors.As(err, &d) && d.IsNotFound:
		return &NativeError{NativeNoName, "Name or service not known"}
	case errors.As(err, &d) && (d.IsTemporary || d.IsTimeout),
		errors.Is(err, context.DeadlineExceeded), errors.Is(err, context.Canceled):
		return &NativeError{NativeAgain, "Temporary failure in name resolution"}
	case errors.As(err, &d):
		return &NativeError{NativeFail, "Non-recoverable failure in name resolution"}
	}
	return &NativeError{NativeSystem, "System error"}
}

// nativeResolver is Go's own reading of /etc/nsswitch.conf and /etc/hosts,
// with the servers of the DNS lookups: resolv.conf may be out of reach in a
// chroot jail.
func (r *Resolver) nativeResolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		var lastErr error = errors.New("no name server")
		for _, server := range r.conf.get().servers {
			c, err := d.DialContext(ctx, network, server)
			if err == nil {
				return c, nil
			}
			lastErr = err
		}
		return nil, lastErr
	}}
}

// NativeAddrs returns the addresses of a host as the system knows them (hosts
// file, DNS with search list), in the system's order. The error is a
// *NativeError.
func (r *Resolver) NativeAddrs(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, ok := parseAddr(host); ok {
		return []netip.Addr{a}, nil
	}
	list, err := r.native.LookupNetIP(ctx, "ip", ToASCII(host))
	if err != nil {
		return nil, nativeError(err)
	}
	if len(list) == 0 {
		return nil, &NativeError{NativeNoData, "No address associated with hostname"}
	}
	for i := range list {
		list[i] = list[i].Unmap()
	}
	return list, nil
}

// NativeName returns the first name of an address as the system knows it,
// without final dot. The error is a *NativeError.
func (r *Resolver) NativeName(ctx context.Context, addr netip.Addr) (string, error) {
	names, err := r.native.LookupAddr(ctx, addr.Unmap().String())
	if err != nil {
		return "", nativeError(err)
	}
	for _, n := range names {
		if n = strings.TrimSuffix(n, "."); n != "" {
			return n, nil
		}
	}
	return "", &NativeError{NativeNoName, "Name or service not known"}
}
