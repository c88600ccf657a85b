package qmgr

import (
	"sync/atomic"
	"time"

	"suffix/pkg/queue"
	"suffix/pkg/syserr"
)

// scanFlags say how a queue is to be scanned (spec qmgr §2.1).
type scanFlags uint32

const (
	scanStart       scanFlags = 1 << iota // begin, now or after the scan in progress
	scanIgnoreTimes                       // take messages that are not due yet
	scanFlush                             // forget dead destinations, ignore defer_transports
)

// A candidate is a complete message file that a scan found.
type candidate struct {
	id   string
	info queue.Info
}

// A scan walks through one queue directory, time after time. Its goroutine
// offers files in small batches and waits until they are taken, so that what
// it says about a file is not old.
type scan struct {
	m         *Manager
	queueName string
	current   scanFlags // of the scan in progress
	next      scanFlags // of the one after that
	running   bool
	walking   bool          // the goroutine has not come to the end yet
	found     []candidate   // offered, not taken
	resume    chan struct{} // asks the goroutine for more
	ignore    atomic.Bool   // scanIgnoreTimes is in current
}

func newScan(m *Manager, queueName string) *scan {
	return &scan{m: m, queueName: queueName, resume: make(chan struct{}, 1)}
}

// request asks for a scan, or changes how the scan in progress, or the next
// one, treats messages.
func (s *scan) request(flags scanFlags) {
	if flags&scanFlush != 0 {
		s.m.unthrottleAll()
	}
	if s.running {
		s.current |= flags & (scanIgnoreTimes | scanFlush)
		s.ignore.Store(s.current&scanIgnoreTimes != 0)
	}
	s.next |= flags
	if !s.running {
		s.begin()
	}
}

// begin starts the next scan if somebody asked for one.
func (s *scan) begin() {
	if s.next&scanStart == 0 {
		return
	}
	s.current, s.next = s.next&^scanStart, 0
	s.ignore.Store(s.current&scanIgnoreTimes != 0)
	s.running, s.walking = true, true
	go s.walk()
}

// scanBatch is how many files are offered at a time.
const scanBatch = 64

// walk is the goroutine of one scan.
func (s *scan) walk() {
	files := s.m.tree.Scan(s.queueName)
	defer files.Close()
	var batch []candidate
	for files.Next() {
		info, ok := s.m.tree.Ready(s.queueName, files.Name())
		if !ok || !s.ignore.Load() && info.Mtime.After(time.Now().Add(time.Second)) {
			continue
		}
		if batch = append(batch, candidate{files.Name(), info}); len(batch) == scanBatch {
			offer := batch
			batch = nil
			s.m.post(func() { s.found = offer })
			select {
			case <-s.resume:
			case <-s.m.ctx.Done():
				return
			}
		}
	}
	dir, err := files.Dir(), files.Err()
	s.m.post(func() {
		if err != nil {
			if dir == "" {
				dir = s.queueName
			}
			s.m.fail("scan_dir_push: open directory %s: %s", dir, syserr.Text(err))
		}
		s.found, s.walking = batch, false
	})
}

// take returns the next file. ok is false when there is none, or none yet.
func (s *scan) take() (c candidate, ok bool) {
	if len(s.found) == 0 {
		if s.running && !s.walking {
			s.running, s.current = false, 0
			s.begin()
		}
		return candidate{}, false
	}
	c, s.found = s.found[0], s.found[1:]
	if len(s.found) == 0 && s.walking {
		s.resume <- struct{}{}
	}
	return c, true
}
