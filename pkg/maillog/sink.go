package maillog

import (
	"fmt"
	"os"
	"sync"
	"time"

	"suffix/pkg/safefile"

	"golang.org/x/sys/unix"
)

// sink is the socket that records go to: the postlog service's or syslog's.
//
// Sending does not wait for the lock: a datagram is one record. Only a sender
// that finds the receiver's queue full takes the lock, so that one thread at
// most waits in the system call and the others wait here.
type sink struct {
	mu        sync.RWMutex
	fd        int // -1: not connected
	stream    bool
	nextTry   time.Time
	blocked   sync.Mutex
	setupDone bool
}

// syslogSocket is where the system's logger listens.
var syslogSocket = "/dev/log"

// reset closes the socket and opens the one of the setup.
func (k *sink) reset(s *setup) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.setupDone && k.fd >= 0 {
		unix.Close(k.fd)
	}
	k.setupDone, k.fd, k.nextTry = true, -1, time.Time{}
	if !s.quiet {
		k.connect(s)
	}
}

// connect opens the socket; the caller holds the lock.
func (k *sink) connect(s *setup) bool {
	path := s.socket
	kinds := []int{unix.SOCK_DGRAM}
	if path == "" {
		path = syslogSocket
		kinds = append(kinds, unix.SOCK_STREAM)
	}
	for _, kind := range kinds {
		fd, err := unix.Socket(unix.AF_UNIX, kind|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return false
		}
		err = unix.Connect(fd, &unix.SockaddrUnix{Name: path})
		if err == nil && s.file != nil {
			// Master must not wait for a service that only it can start.
			err = unix.SetsockoptTimeval(fd, unix.SOL_SOCKET, unix.SO_SNDTIMEO, &unix.Timeval{Sec: 1})
		}
		if err == nil {
			k.fd, k.stream = fd, kind == unix.SOCK_STREAM
			return true
		}
		unix.Close(fd)
		if err != unix.EPROTOTYPE {
			break
		}
	}
	return false
}

// send delivers one record, or drops it where nobody takes it.
func (k *sink) send(s *setup, record []byte) {
	if s.direct {
		s.file.write(record)
		return
	}
	if appendRecord(record) {
		return
	}
	k.mu.RLock()
	fd := k.fd
	ok := fd >= 0 && k.write(fd, record)
	k.mu.RUnlock()
	if ok || k.again(s, fd, record) {
		return
	}
	if s.file != nil {
		s.file.write(record)
	}
}

// again connects anew and sends. A connection that another goroutine renewed
// meanwhile is good as it is.
func (k *sink) again(s *setup, failed int, record []byte) bool {
	k.mu.Lock()
	if k.fd == failed {
		if k.fd >= 0 {
			unix.Close(k.fd)
			k.fd = -1
		}
		// A receiver that is not there is asked for once a second, except
		// by those who would write the record into the file themselves.
		if now := time.Now(); s.file == nil && now.Before(k.nextTry) {
			k.mu.Unlock()
			return false
		} else if !k.connect(s) {
			k.nextTry = now.Add(time.Second)
		}
	}
	k.mu.Unlock()
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.fd >= 0 && k.write(k.fd, record)
}

func (k *sink) write(fd int, record []byte) bool {
	if k.stream {
		record = append(record, 0)
		k.blocked.Lock()
		defer k.blocked.Unlock()
		_, err := unix.SendmsgN(fd, record, nil, nil, unix.MSG_NOSIGNAL)
		return err == nil
	}
	_, err := unix.SendmsgN(fd, record, nil, nil, unix.MSG_NOSIGNAL|unix.MSG_DONTWAIT)
	if err == nil {
		return true
	}
	if err != unix.EAGAIN && err != unix.EINTR {
		return false
	}
	k.blocked.Lock()
	defer k.blocked.Unlock()
	for {
		_, err = unix.SendmsgN(fd, record, nil, nil, unix.MSG_NOSIGNAL)
		if err != unix.EINTR {
			return err == nil
		}
	}
}

// fallback is the log file as written by a program that starts or stops the
// mail system, while nobody serves the socket.
type fallback struct {
	path string
	mode os.FileMode
	mu   sync.Mutex
	file *os.File
}

// newFallback opens the file if that is possible now: after a change of
// identity it may not be. A failure shows when a record has to be written.
func newFallback(path string, mode os.FileMode) *fallback {
	f := &fallback{path: path, mode: mode}
	f.file, _ = openLogFile(path, mode)
	return f
}

func openLogFile(path string, mode os.FileMode) (*os.File, error) {
	f, err := safefile.Open(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, mode)
	if err != nil {
		return nil, fmt.Errorf("open logfile '%s': %w", path, err)
	}
	return f, nil
}

func (f *fallback) write(record []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	err := error(nil)
	if f.file == nil {
		f.file, err = openLogFile(f.path, f.mode)
	}
	if err == nil {
		if _, err = f.file.Write(append(record, '\n')); err != nil {
			err = fmt.Errorf("logfile '%s' write error: %w", f.path, safefile.Cause(err))
		}
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "fatal: %v\n", err)
		if !dying.Swap(true) {
			time.Sleep(time.Second)
			os.Exit(1)
		}
	}
}
