package master

import (
	"fmt"
	"net/netip"

	"suffix/pkg/mastercf"
	"suffix/pkg/params"
	"suffix/pkg/safefile"

	"golang.org/x/sys/unix"
)

// listen opens the sockets of a service; they stay open for its life, so that
// clients wait in the kernel while its processes come and go.
func (m *Master) listen(e *mastercf.Entry, ep *endpoint) ([]int, error) {
	backlog := max(e.MaxProc, m.cfg.Int(params.DefaultProcessLimit))
	if e.Type == mastercf.Inet {
		if ep.portError != nil {
			return nil, ep.portError
		}
		var fds []int
		for _, a := range ep.addresses {
			fd, err := m.listenInet(a, backlog)
			if err != nil {
				return nil, err
			}
			fds = append(fds, fd)
		}
		return fds, nil
	}
	var fd int
	err := m.asOwner(func() (err error) {
		switch e.Type {
		case mastercf.FIFO:
			fd, err = listenFIFO(e.Path())
		case mastercf.Dgram:
			fd, err = listenUnix(e.Path(), unix.SOCK_DGRAM, 0)
		default:
			fd, err = listenUnix(e.Path(), unix.SOCK_STREAM, backlog)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return []int{fd}, nil
}

func (m *Master) listenInet(a netip.AddrPort, backlog int) (int, error) {
	family, sa := unix.AF_INET6, unix.Sockaddr(&unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()})
	if a.Addr().Is4() {
		family, sa = unix.AF_INET, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", safefile.Cause(err))
	}
	type option struct {
		level, name, value int
		text               string
	}
	options := []option{
		{unix.SOL_SOCKET, unix.SO_REUSEADDR, 1, "setsockopt(SO_REUSEADDR)"},
		{unix.SOL_SOCKET, unix.SO_REUSEPORT, 1, "setsockopt(SO_REUSEPORT)"},
	}
	if family == unix.AF_INET6 {
		options = append([]option{{unix.IPPROTO_IPV6, unix.IPV6_V6ONLY, 1, "setsockopt(IPV6_V6ONLY)"}}, options...)
	}
	for _, o := range options {
		if err := unix.SetsockoptInt(fd, o.level, o.name, o.value); err != nil {
			unix.Close(fd)
			return -1, fmt.Errorf("%s: %w", o.text, safefile.Cause(err))
		}
	}
	if err := unix.Bind(fd, sa); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("bind %s port %d: %w", a.Addr(), a.Port(), safefile.Cause(err))
	}
	if size := m.cfg.Int(params.TcpWindowsize); size > 0 {
		for _, name := range []int{unix.SO_SNDBUF, unix.SO_RCVBUF} {
			if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, name, size); err != nil {
				unix.Close(fd)
				return -1, fmt.Errorf("setsockopt buffer size %d: %w", size, safefile.Cause(err))
			}
		}
	}
	if err := unix.Listen(fd, backlog); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("listen: %w", safefile.Cause(err))
	}
	return fd, nil
}

// maxSocketPath is the room for a path in a socket address, in bytes.
const maxSocketPath = 108

// listenUnix makes a socket in the file system. Who may connect is decided by
// the directory.
func listenUnix(path string, kind, backlog int) (int, error) {
	if len(path) >= maxSocketPath {
		text := "unix-domain name too long: " + path
		if kind == unix.SOCK_DGRAM {
			text = "unix_dgram_listen: " + text
		}
		return -1, fmt.Errorf("%s", text)
	}
	fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return -1, fmt.Errorf("socket: %w", safefile.Cause(err))
	}
	if err := unix.Unlink(path); err != nil && err != unix.ENOENT {
		unix.Close(fd)
		return -1, fmt.Errorf("remove %s: %w", path, safefile.Cause(err))
	}
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("bind: %s: %w", path, safefile.Cause(err))
	}
	if err := unix.Chmod(path, 0o666); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("chmod socket %s: %w", path, safefile.Cause(err))
	}
	if kind == unix.SOCK_DGRAM {
		return fd, nil
	}
	if err := unix.Listen(fd, backlog); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("listen: %w", safefile.Cause(err))
	}
	return fd, nil
}

// listenFIFO makes a named pipe. It is open for writing too, so that there is
// no end of file when a writer closes it.
func listenFIFO(path string) (int, error) {
	if err := unix.Unlink(path); err != nil && err != unix.ENOENT {
		return -1, fmt.Errorf("fifo_listen: remove %s: %w", path, safefile.Cause(err))
	}
	if err := unix.Mkfifo(path, 0o622); err != nil {
		return -1, fmt.Errorf("fifo_listen: create fifo %s: %w", path, safefile.Cause(err))
	}
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return -1, fmt.Errorf("fifo_listen: open %s: %w", path, safefile.Cause(err))
	}
	if err := unix.Fchmod(fd, 0o622); err != nil {
		unix.Close(fd)
		return -1, fmt.Errorf("fifo_listen: fchmod %s: %w", path, safefile.Cause(err))
	}
	var stale [4096]byte
	for {
		if n, err := unix.Read(fd, stale[:]); err != nil || n <= 0 {
			return fd, nil
		}
	}
}
