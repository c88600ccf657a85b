package endpoint

import (
	"net"
	"sync"
	"syscall"
	"time"
)

// A Conn is a connection to a server that its pool takes back after use.
type Conn struct {
	net.Conn
	Fresh  bool // nothing has been asked over it before
	Broken bool // not to be used again

	buf  [4096]byte
	r, w int // of buf
	born time.Time
	used time.Time
}

// ReadByte reads one byte through a buffer.
func (c *Conn) ReadByte() (byte, error) {
	if c.r == c.w {
		n, err := c.Conn.Read(c.buf[:])
		if n <= 0 {
			return 0, err
		}
		c.r, c.w = 0, n
	}
	b := c.buf[c.r]
	c.r++
	return b, nil
}

// Read reads through the same buffer.
func (c *Conn) Read(p []byte) (int, error) {
	if c.r < c.w {
		n := copy(p, c.buf[c.r:c.w])
		c.r += n
		return n, nil
	}
	return c.Conn.Read(p)
}

// clean says that all that was read has been used.
func (c *Conn) clean() bool { return c.r == c.w }

// quiet says that the server has neither closed the connection nor sent
// anything while nobody asked.
func (c *Conn) quiet() bool {
	sc, ok := c.Conn.(syscall.Conn)
	if !ok {
		return true
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	quiet := false
	err = raw.Read(func(fd uintptr) bool {
		var b [1]byte
		_, _, err := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK|syscall.MSG_DONTWAIT)
		quiet = err == syscall.EAGAIN
		return true
	})
	return err == nil && quiet
}

// A Pool keeps connections to an endpoint. Calls at the same time use
// connections of their own.
type Pool struct {
	*Endpoint
	Timeout time.Duration // of connecting
	Idle    time.Duration // an unused connection is closed after this time; 0: never
	TTL     time.Duration // no connection is used longer; 0: for ever

	mu     sync.Mutex
	users  int
	free   []*Conn
	reaper *time.Timer
}

// maxFree limits the connections that are kept without use.
const maxFree = 20

// Get takes a connection that is kept, or connects.
func (p *Pool) Get() (*Conn, error) {
	now := time.Now()
	p.mu.Lock()
	for len(p.free) > 0 {
		last := len(p.free) - 1
		c := p.free[last]
		p.free = p.free[:last]
		if p.expired(c, now) || !c.quiet() {
			c.Close()
			continue
		}
		p.mu.Unlock()
		c.Fresh = false
		return c, nil
	}
	p.mu.Unlock()
	return p.Dial()
}

// Dial connects anew.
func (p *Pool) Dial() (*Conn, error) {
	conn, err := p.Endpoint.Dial(p.Timeout)
	if err != nil {
		return nil, err
	}
	return &Conn{Conn: conn, Fresh: true, born: time.Now()}, nil
}

// Put gives a connection back. One over which the server has sent more than it
// was asked for is closed: the next reply would be taken for another's.
func (p *Pool) Put(c *Conn) {
	now := time.Now()
	c.used = now
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users == 0 || len(p.free) >= maxFree || c.Broken || !c.clean() || p.expired(c, now) {
		c.Close()
		return
	}
	p.free = append(p.free, c)
	if p.Idle > 0 && p.reaper == nil {
		p.reaper = time.AfterFunc(p.Idle, p.reap)
	}
}

func (p *Pool) expired(c *Conn, now time.Time) bool {
	return p.TTL > 0 && now.Sub(c.born) >= p.TTL || p.Idle > 0 && now.Sub(c.used) >= p.Idle
}

// reap closes connections that nobody has used for a while.
func (p *Pool) reap() {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.free[:0]
	for _, c := range p.free {
		if p.expired(c, now) {
			c.Close()
		} else {
			kept = append(kept, c)
		}
	}
	clear(p.free[len(kept):])
	p.free, p.reaper = kept, nil
	if len(kept) > 0 {
		p.reaper = time.AfterFunc(p.Idle-now.Sub(kept[0].used), p.reap)
	}
}

// Open counts one more user of the pool.
func (p *Pool) Open() {
	p.mu.Lock()
	p.users++
	p.mu.Unlock()
}

// Close counts one user less. The last one closes what is kept.
func (p *Pool) Close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.users--; p.users > 0 {
		return nil
	}
	for _, c := range p.free {
		c.Close()
	}
	p.free = nil
	if p.reaper != nil {
		p.reaper.Stop()
		p.reaper = nil
	}
	return nil
}
