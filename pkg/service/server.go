package service

import (
	"context"
	"errors"
	"net"
	"os"
	"runtime/debug"
	"sync"
	"time"

	"suffix/pkg/attr"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/safefile"
	"suffix/pkg/syserr"
)

// server accepts clients and counts them.
//
// Each listener has a goroutine that waits for a client, and each client one
// that serves it. What they share is under mu.
type server struct {
	d         *Daemon
	p         *Process
	listeners []*listener
	lockFile  *os.File // held while waiting for a client; nil: not shared
	limit     int      // clients at a time, 0: any number
	maxUse    int      // clients in a life, 0: any number
	maxIdle   time.Duration
	timeout   time.Duration // ipc_timeout
	watchdog  time.Duration
	draining  chan struct{}

	mu       sync.Mutex
	change   sync.Cond // busy, waiting or closing changed
	busy     int
	uses     int
	waiting  bool // the accept lock is held, or there is none
	closing  bool
	reported bool // master knows that a request was completed
	streams  map[*stream]struct{}
	idle     *time.Timer
	stress   time.Time // until when the service counts as stressed
	panics   []time.Time
}

func newServer(d *Daemon, p *Process) *server {
	s := &server{
		d: d, p: p,
		limit:    p.SessionLimit,
		timeout:  p.Config.Time(params.IpcTimeout),
		watchdog: p.Config.Time(params.DaemonTimeout),
		draining: make(chan struct{}),
		streams:  make(map[*stream]struct{}),
	}
	s.change.L = &s.mu
	if !p.NoMaxUse {
		s.maxUse = p.Config.Int(params.MaxUse)
		if p.ours && d.Kind != Trigger && d.Kind != Datagram {
			slots := p.slots
			if slots == 0 {
				slots = p.Config.Int(params.DefaultProcessLimit)
			}
			s.maxUse *= max(slots, 1)
		}
	}
	if !p.NoMaxIdle {
		s.maxIdle = p.Config.Time(params.MaxIdle)
	}
	return s
}

// run serves until there is a reason to leave, and does not return.
func (s *server) run() {
	if s.maxIdle > 0 {
		s.idle = time.AfterFunc(s.maxIdle, s.idleTimeout)
	}
	if s.d.Retires {
		time.AfterFunc(s.retirement(), func() {
			maillog.Debugf("time to retire -- exiting")
			s.drain(true)
		})
	}
	go s.awaitMaster()
	if s.lockFile == nil {
		s.waiting = true
	} else {
		go s.takeTurn()
	}
	for _, l := range s.listeners {
		go s.accept(l)
	}
	s.mu.Lock()
	for !s.closing || s.busy > 0 {
		s.change.Wait()
	}
	s.mu.Unlock()
	s.p.exit(s.d)
}

// retirement is the life time of a daemon that ends even when busy.
func (s *server) retirement() time.Duration {
	if s.p.options.retire > 0 {
		return s.p.options.retire
	}
	life := s.p.Config.Time(params.MaxIdle) * time.Duration(s.p.Config.Int(params.MaxUse))
	return min(life, 18000*time.Second)
}

// awaitMaster stops accepting when master has gone or wants new processes.
func (s *server) awaitMaster() {
	s.p.master.await()
	maillog.Debugf("master disconnect -- exiting")
	s.drain(false)
}

func (s *server) idleTimeout() {
	s.mu.Lock()
	idle := s.busy == 0 && !s.closing
	s.mu.Unlock()
	if idle {
		maillog.Debugf("idle timeout -- exiting")
		s.drain(false)
	}
}

// takeTurn gets the accept lock that the processes of a service share.
func (s *server) takeTurn() {
	if err := safefile.Lock(s.lockFile, true, true); err != nil {
		maillog.Fatalf("select lock: %v", err)
	}
	s.mu.Lock()
	s.waiting = true
	s.change.Broadcast()
	s.mu.Unlock()
}

// mayAccept says whether one more client can be served. The caller holds mu.
func (s *server) mayAccept() bool {
	return s.waiting && (s.limit == 0 || s.busy < s.limit)
}

// accept takes clients from one listener until the process stops accepting.
func (s *server) accept(l *listener) {
	for {
		s.mu.Lock()
		for !s.closing && !s.mayAccept() {
			s.change.Wait()
		}
		closing := s.closing
		s.mu.Unlock()
		if closing {
			return
		}
		if err := l.wait(); err != nil {
			s.acceptError(err)
			continue
		}
		s.mu.Lock()
		if s.closing || !s.mayAccept() {
			s.mu.Unlock()
			continue
		}
		// The client at the door must not meet a table of the past.
		if table, changed := s.p.Changed(); changed {
			s.mu.Unlock()
			s.tableChanged(table)
			continue
		}
		s.enter()
		s.mu.Unlock()
		c, err := l.accept()
		if err != nil {
			s.leave(false)
			s.acceptError(err)
			continue
		}
		s.accepted()
		go s.session(c)
	}
}

// enter counts a client in. The caller holds mu.
func (s *server) enter() {
	s.busy++
	if s.lockFile != nil {
		s.waiting = false
	}
	if s.busy == 1 && s.idle != nil {
		s.idle.Stop()
	}
}

// accepted gives other processes their turn, and tells master about it.
func (s *server) accepted() {
	if s.lockFile != nil {
		if err := safefile.Unlock(s.lockFile); err != nil {
			maillog.Fatalf("select unlock: %v", err)
		}
	}
	s.mu.Lock()
	s.uses++
	full := s.limit > 0 && s.busy == s.limit
	if full {
		s.stress = time.Now().Add(stressTime)
	}
	retire := s.limit != 1 && s.d.Kind == Single && s.spent()
	s.mu.Unlock()
	switch {
	case retire:
		s.drain(true)
	case full:
		// Master may have gone meanwhile: the client is served all the same.
		_ = s.p.master.report(Taken)
	}
}

// spent says whether the process served as many clients as it should in its
// life. The caller holds mu.
func (s *server) spent() bool { return s.maxUse > 0 && s.uses >= s.maxUse }

// leave counts a client out; served says that there was one.
func (s *server) leave(served bool) {
	s.mu.Lock()
	wasFull := s.limit > 0 && s.busy == s.limit
	s.busy--
	if s.busy == 0 && s.idle != nil {
		s.idle.Reset(s.maxIdle)
	}
	closing := s.closing
	report := served && !closing && (wasFull || !s.reported)
	if served {
		s.reported = true
	}
	exit := !closing && served && s.busy == 0 && s.spent()
	s.change.Broadcast()
	s.mu.Unlock()
	if report {
		if s.limit == 0 {
			// Nobody waits for this process to have room: it tells that
			// it works, for master to judge a later failure by.
			_ = s.p.master.report(Taken)
		}
		if s.p.master.report(Available) != nil {
			exit = true
		}
	}
	if exit {
		s.drain(false)
	} else if s.lockFile != nil && !closing {
		s.takeTurn()
	}
}

func (s *server) underStress(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return now.Before(s.stress)
}

func (s *server) acceptError(err error) {
	if errors.Is(err, os.ErrDeadlineExceeded) || isTransient(err) {
		return
	}
	s.mu.Lock()
	closing := s.closing
	s.mu.Unlock()
	if closing {
		return
	}
	// Out of descriptors, for one: the next try would fail at once, again.
	// This does not count towards the errors that end a program: the clients
	// that it has are well.
	maillog.Logf(maillog.Error, "accept connection: %s", syserr.Text(err))
	time.Sleep(time.Second)
}

func (s *server) tableChanged(table string) {
	if s.isClosing() {
		return
	}
	if s.d.Kind == Event {
		maillog.Infof("table %s has changed - finishing in the background", table)
	} else {
		maillog.Infof("table %s has changed -- restarting", table)
	}
	s.drain(true)
}

// drain stops accepting. The process ends with its last session; persistent
// clients are disconnected between their requests. retire says that the
// wish is our own, so that master must hear of it to make a successor.
func (s *server) drain(retire bool) {
	s.mu.Lock()
	if s.closing {
		s.mu.Unlock()
		return
	}
	s.closing = true
	maillog.StopAppending()
	busy := s.busy
	close(s.draining)
	for _, l := range s.listeners {
		l.interrupt()
	}
	if s.d.Kind == Multi {
		for c := range s.streams {
			c.endInput()
		}
	}
	s.mu.Unlock()
	if busy > 0 {
		if s.d.Drain != nil {
			s.d.Drain(s.p)
		}
		if retire && s.p.ours && !(s.p.options.limitOne && s.d.Kind == Multi) {
			// If master has gone there is nobody left to make one.
			_ = s.p.master.report(Retiring)
		}
	}
	s.mu.Lock()
	s.change.Broadcast()
	s.mu.Unlock()
}

// session serves one client.
func (s *server) session(c net.Conn) {
	defer s.leave(true)
	defer c.Close()
	defer s.recovered("client " + peerName(c))
	defer maillog.Debugf("connection closed")
	maillog.Debugf("connection established")
	var pass map[string]string
	if s.p.Transport == "pass" {
		passed, attributes, err := receivePassed(c)
		if err != nil {
			maillog.Warnf("%v", err)
			return
		}
		defer passed.Close()
		c, pass = passed, attributes
	}
	client := s.conn(c)
	client.Pass = pass
	if !s.register(client.stream) {
		return
	}
	defer s.unregister(client.stream)
	ctx, cancel := context.WithTimeout(context.Background(), s.watchdog)
	defer cancel()
	stop := context.AfterFunc(ctx, func() {
		if ctx.Err() == context.DeadlineExceeded && s.d.Kind == Single {
			s.stuck(c)
		}
	})
	defer stop()
	if s.d.Kind != Single {
		// A persistent client may stay for as long as it likes.
		ctx = context.Background()
	}
	if s.d.Flow {
		s.p.FlowGet(ctx)
	}
	s.d.Serve(ctx, s.p, client)
}

func (s *server) conn(c net.Conn) *Conn {
	st := &stream{Conn: c}
	return &Conn{Conn: attr.NewConn(st, attr.Null, s.p.Service+" socket", s.timeout), stream: st}
}

// register remembers a persistent client for the day of disconnection.
func (s *server) register(c *stream) bool {
	if s.d.Kind != Multi {
		return true
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams[c] = struct{}{}
	return !s.closing
}

func (s *server) unregister(c *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.streams, c)
}

// stuck ends a session that lasts longer than daemon_timeout: the process when
// it has no other, else the connection.
func (s *server) stuck(c net.Conn) {
	if s.limit == 1 {
		maillog.Fatalf("watchdog timeout")
	}
	maillog.Warnf("watchdog timeout: closing the connection of %s", peerName(c))
	c.Close()
}

func peerName(c net.Conn) string {
	if a := c.RemoteAddr(); a != nil && a.String() != "" && a.String() != "@" {
		return a.String()
	}
	return "(local)"
}

// Panics within panicWindow that end the process.
const (
	maxPanics   = 3
	panicWindow = time.Minute
)

// recovered keeps a failed session from ending the others.
func (s *server) recovered(what string) {
	reason := recover()
	if reason == nil {
		return
	}
	maillog.Panicf("%s: %v: %s", what, reason, stackSummary(string(debug.Stack())))
	now := time.Now()
	s.mu.Lock()
	recent := s.panics[:0]
	for _, t := range s.panics {
		if now.Sub(t) < panicWindow {
			recent = append(recent, t)
		}
	}
	s.panics = append(recent, now)
	tooMany := len(s.panics) > maxPanics
	s.mu.Unlock()
	if tooMany {
		maillog.Fatalf("too many panics - program terminated")
	}
}
