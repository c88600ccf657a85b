package main

import (
	"fmt"
	"net"
	"net/netip"
	"os"

	"golang.org/x/sys/unix"
)

// listenTCP opens a TCP socket with the given backlog, which net.Listen does
// not let one choose.
func listenTCP(network, address string, backlog, window int) (net.Listener, error) {
	a, err := net.ResolveTCPAddr(network, address)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", address, err)
	}
	ip := a.AddrPort().Addr().Unmap()
	if a.IP == nil {
		if ip = netip.IPv6Unspecified(); network == "tcp4" {
			ip = netip.IPv4Unspecified()
		}
	}
	family := unix.AF_INET6
	var sa unix.Sockaddr = &unix.SockaddrInet6{Port: a.Port, Addr: ip.As16()}
	if ip.Is4() {
		family = unix.AF_INET
		sa = &unix.SockaddrInet4{Port: a.Port, Addr: ip.As4()}
	}
	return listenSocket(family, backlog, func(fd int) error {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1); err != nil {
			return err
		}
		if family == unix.AF_INET6 {
			only := 0
			if network == "tcp6" {
				only = 1
			}
			if err := unix.SetsockoptInt(fd, unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, only); err != nil {
				return err
			}
		}
		if window > 0 {
			for _, option := range []int{unix.SO_SNDBUF, unix.SO_RCVBUF} {
				if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, option, window); err != nil {
					return err
				}
			}
		}
		return unix.Bind(fd, sa)
	})
}

func listenUnix(path string, backlog int) (net.Listener, error) {
	return listenSocket(unix.AF_UNIX, backlog, func(fd int) error {
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			return err
		}
		return os.Chmod(path, 0o777)
	})
}

func listenSocket(family, backlog int, bind func(fd int) error) (net.Listener, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socket: %w", err)
	}
	f := os.NewFile(uintptr(fd), "listener")
	defer f.Close()
	if err := bind(fd); err != nil {
		return nil, fmt.Errorf("bind: %w", err)
	}
	if err := unix.Listen(fd, backlog); err != nil {
		return nil, fmt.Errorf("listen: %w", err)
	}
	return net.FileListener(f)
}
