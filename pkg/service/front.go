package service

import (
	"fmt"
	"os"
	"syscall"

	"suffix/pkg/maillog"
	"suffix/pkg/safefile"

	"golang.org/x/sys/unix"
)

// envFront marks the process that serves while another stands in for it.
const envFront = "SUFFIX_FRONT"

// front splits an event-driven daemon in two under a foreign master. That
// master makes a new process after a reload only when the old one has ended,
// but the old one has sessions that go on. So the process that master knows
// only waits: for master, whose wish for a new process it fulfils by ending at
// once, and for the other, which serves, and which sees the same wish.
//
// It returns in the serving process; in the other one only if that cannot be
// started.
func (p *Process) front() error {
	if _, ok := os.LookupEnv(envFront); ok {
		os.Unsetenv(envFront)
		p.master.pid = os.Getppid()
		return nil
	}
	files := make([]uintptr, listenFD+p.options.sockets)
	for fd := range files {
		files[fd] = uintptr(fd)
	}
	env := append(os.Environ(), envFront+"=1", fmt.Sprintf("%s=%o", EnvGeneration, p.generation))
	pid, err := syscall.ForkExec("/proc/self/exe", os.Args, &syscall.ProcAttr{Env: env, Files: files})
	if err != nil {
		return fmt.Errorf("fork: %w", safefile.Cause(err))
	}
	for fd := listenFD; fd < len(files); fd++ {
		unix.Close(fd)
	}
	go func() {
		p.master.await()
		os.Exit(0)
	}()
	var status unix.WaitStatus
	for {
		_, err := unix.Wait4(pid, &status, 0, nil)
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return fmt.Errorf("wait for process %d: %w", pid, safefile.Cause(err))
		}
		break
	}
	if status.Signaled() {
		maillog.Warnf("process %d killed by signal %d", pid, status.Signal())
		os.Exit(1)
	}
	os.Exit(status.ExitStatus())
	return nil
}
