package service

import (
	"encoding/binary"
	"fmt"
	"os"
	"strconv"
	"sync"

	"suffix/pkg/maillog"

	"golang.org/x/sys/unix"
)

// A State is what a child reports to master over the status channel.
type State int32

const (
	// Taken says that the child has as many clients as it can serve.
	Taken State = 0
	// Available says that the child can serve one more.
	Available State = 1
	// Retiring says that the child accepts no more clients, and finishes with
	// those it has. Only our master knows this state.
	Retiring State = 2
)

// ReportSize is the length of a status report in bytes.
const ReportSize = 12

// A Report is a message over the status channel (spec master §4.1).
type Report struct {
	PID        int32
	Generation uint32
	State      State
}

// Append adds the report in the byte order of the machine.
func (r Report) Append(b []byte) []byte {
	b = binary.NativeEndian.AppendUint32(b, uint32(r.PID))
	b = binary.NativeEndian.AppendUint32(b, r.Generation)
	return binary.NativeEndian.AppendUint32(b, uint32(r.State))
}

// ParseReport is the inverse of Append.
func ParseReport(b [ReportSize]byte) Report {
	return Report{
		PID:        int32(binary.NativeEndian.Uint32(b[0:])),
		Generation: binary.NativeEndian.Uint32(b[4:]),
		State:      State(binary.NativeEndian.Uint32(b[8:])),
	}
}

// Descriptors that master leaves to its children (spec master §4).
const (
	flowReadFD  = 3
	flowWriteFD = 4
	statusFD    = 5
	listenFD    = 6
)

// Environment that only our master sets.
const (
	// EnvSessionLimit holds the number of clients that one process may serve
	// at a time, 0 for no limit.
	EnvSessionLimit = "SUFFIX_SESSION_LIMIT"
	// EnvInProcess lists services that a daemon may answer in-process:
	// class/name=program, separated by blanks.
	EnvInProcess = "SUFFIX_INPROCESS"
	// EnvGeneration numbers the children of a master, in octal.
	EnvGeneration = "GENERATION"
)

// channel is the status channel to master.
type channel struct {
	fd         int
	pid        int // under which master knows the process
	generation uint32

	mu   sync.Mutex
	buf  [ReportSize]byte
	gone bool
}

// generation reads GENERATION; a daemon started by hand has generation 0.
func generation() (uint32, error) {
	text := os.Getenv(EnvGeneration)
	if text == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(text, 8, 32)
	if err != nil {
		return 0, fmt.Errorf("bad generation: %s", text)
	}
	return uint32(n), nil
}

// report tells master. It fails when master is gone or has replaced the
// channel by a new one: this process is of the past then.
func (c *channel) report(state State) error {
	if c == nil {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	message := Report{PID: int32(c.pid), Generation: c.generation, State: state}.Append(c.buf[:0])
	for {
		_, err := unix.Write(c.fd, message)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			maillog.Debugf("master_notify: status %d: %v", state, err)
			c.gone = true
			return err
		}
		maillog.Debugf("master_notify: status %d", state)
		return nil
	}
}

// await returns when master has gone or has replaced the channel.
func (c *channel) await() {
	fds := []unix.PollFd{{Fd: int32(c.fd), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err == nil {
			return
		} else if err != unix.EINTR {
			// The descriptor is not usable: nobody waits at its other end.
			return
		}
	}
}
