package service

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
)

// Limits on a wakeup call (spec ipc §5).
const (
	triggerTimeout = 10 * time.Second
	maxTrigger     = 1024
	maxCallers     = 100 // who are connected and have not called yet
)

// runTriggers serves wakeup calls until there is a reason to leave, and does
// not return.
func (s *server) runTriggers(fifo *os.File) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	requests := make(chan []byte)
	stop := func() {
		s.drain(false)
		cancel()
	}
	if s.maxIdle > 0 {
		s.idle = time.AfterFunc(s.maxIdle, func() {
			maillog.Debugf("idle timeout -- exiting")
			stop()
		})
	}
	go func() {
		s.p.master.await()
		maillog.Debugf("master disconnect -- exiting")
		stop()
	}()
	arrived := func(request []byte) bool { return s.trigger(ctx, requests, request, stop) }
	if fifo != nil {
		go s.readFIFO(fifo, arrived)
	}
	for _, l := range s.listeners {
		go s.acceptTriggers(l, arrived)
	}
	if s.d.Loop != nil {
		if err := s.d.Loop(ctx, s.p, requests); err != nil {
			maillog.Fatalf("%v", err)
		}
		s.p.exit(s.d)
	}
	for {
		select {
		case request := <-requests:
			s.handleTrigger(ctx, request)
		case <-ctx.Done():
			s.p.exit(s.d)
		}
	}
}

// trigger hands one wakeup call over; false when no more are wanted.
func (s *server) trigger(ctx context.Context, requests chan<- []byte, request []byte, stop func()) bool {
	if table, changed := s.p.Changed(); changed {
		maillog.Infof("table %s has changed -- restarting", table)
		stop()
		return false
	}
	if s.idle != nil {
		s.idle.Reset(s.maxIdle)
	}
	select {
	case requests <- request:
	case <-ctx.Done():
		return false
	}
	s.mu.Lock()
	s.uses++
	first, spent := !s.reported, s.spent()
	s.reported = true
	s.mu.Unlock()
	if first {
		// Tells that the process works, for master to judge a later
		// failure by.
		if s.p.master.report(Taken) != nil || s.p.master.report(Available) != nil {
			stop()
		}
	}
	if spent {
		stop()
	}
	return !spent
}

func (s *server) handleTrigger(ctx context.Context, request []byte) {
	defer s.recovered("trigger")
	timer := time.AfterFunc(s.watchdog, func() { maillog.Fatalf("watchdog timeout") })
	defer timer.Stop()
	s.d.Trigger(ctx, s.p, request)
}

// acceptTriggers takes calls from one listener. A caller who does not speak
// keeps nobody waiting but himself.
func (s *server) acceptTriggers(l *listener, arrived func([]byte) bool) {
	silent := make(chan struct{}, maxCallers)
	for {
		if err := l.wait(); err != nil {
			s.acceptError(err)
			if s.isClosing() {
				return
			}
			continue
		}
		c, err := l.accept()
		if err != nil {
			s.acceptError(err)
			continue
		}
		maillog.Debugf("trigger_server_accept_local: trigger arrived")
		silent <- struct{}{}
		go func() {
			defer s.recovered("trigger")
			defer func() { <-silent }()
			takeCall(c, arrived)
		}()
	}
}

// takeCall reads one call and hands it over. Only then does the caller see the
// end: what he asks for after that comes after it.
func takeCall(c net.Conn, arrived func([]byte) bool) {
	defer c.Close()
	buf := make([]byte, maxTrigger)
	if c.SetReadDeadline(time.Now().Add(triggerTimeout)) != nil {
		return
	}
	n, err := c.Read(buf)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) {
		maillog.Debugf("read trigger: %s", syserr.Text(err))
	}
	if n > 0 {
		arrived(buf[:n])
	}
}

// readFIFO takes calls from a FIFO, which has no connections.
func (s *server) readFIFO(f *os.File, arrived func([]byte) bool) {
	buf := make([]byte, maxTrigger)
	for {
		n, err := f.Read(buf)
		if n > 0 {
			maillog.Debugf("trigger_server_accept_fifo: trigger arrived")
			if !arrived(append([]byte(nil), buf[:n]...)) {
				return
			}
			continue
		}
		if err != nil {
			// Master holds it open for writing: there is no end of file.
			s.acceptError(err)
			time.Sleep(time.Second)
		}
	}
}

func (s *server) isClosing() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}
