package master

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"suffix/pkg/maillog"
	frame "suffix/pkg/service"
	"suffix/pkg/syserr"
)

// insideList names the services whose answers one of our daemons may produce
// by itself: ours, and without arguments that could make a difference.
func (m *Master) insideList() string {
	var list []string
	for _, s := range m.services {
		if s.ours && !s.removed && len(s.entry.Args) == 0 && s.entry.Type == "unix" && !strings.ContainsAny(s.entry.Name, " \t=") {
			list = append(list, s.entry.Path()+"="+s.entry.Command)
		}
	}
	return strings.Join(list, " ")
}

// spawn starts a process of a service for the client at its door.
func (m *Master) spawn(s *service) {
	stress := m.stress(s)
	m.generation++
	pid, err := syscall.ForkExec(s.path, m.argv(s, stress), &syscall.ProcAttr{
		Env:   m.environ(s),
		Files: m.files(s),
	})
	if err != nil {
		m.spawnFailed(s, err)
		return
	}
	m.debugf("spawn command %s; pid %d", s.path, pid)
	c := &child{pid: pid, generation: m.generation, service: s, avail: true}
	s.children[pid] = c
	m.children[pid] = c
	s.total++
	s.avail++
	if s.ours {
		s.accepting = c
	}
	if s.entry.WakeupIfUsed && s.wakeupAt.IsZero() && s.entry.Wakeup > 0 {
		m.debugf("start conditional timer for %s", s.entry.Name)
		s.wakeupAt = time.Now()
	}
}

// spawnFailed gives the service a rest. The system has one call for fork and
// exec: what cannot be executed counts as a child that failed at once.
func (m *Master) spawnFailed(s *service, err error) {
	switch err {
	case syscall.EAGAIN, syscall.ENOMEM, syscall.EMFILE, syscall.ENFILE:
		maillog.Warnf("master_spawn: fork: %s -- throttling", syserr.Text(err))
	default:
		maillog.Logf(maillog.Fatal, "master_spawn: exec %s: %s", s.path, syserr.Text(err))
		maillog.Warnf("%s: bad command startup -- throttling", s.path)
	}
	m.throttle(s)
}

func (m *Master) throttle(s *service) {
	m.debugf("throttling command %s", s.path)
	s.throttledUntil = time.Now().Add(s.throttle)
}

// stress says whether the next process is told that the service is under
// stress. The one that reaches the limit begins a period of it: processes that
// were told otherwise are replaced.
func (m *Master) stress(s *service) bool {
	if !s.stressAware() || s.ours {
		return false
	}
	now := time.Now()
	if s.total+1 == s.entry.MaxProc {
		if now.After(s.stressUntil) {
			if err := m.replaceStatus(s, false); err != nil {
				maillog.Warnf("master_spawn: %v", err)
			}
			if !s.wakeupAt.IsZero() {
				s.wakeupAt = now
			}
		}
		s.stressUntil = now.Add(stressTime)
	}
	return now.Before(s.stressUntil)
}

// argv is the command line of a child (spec master §4.2).
func (m *Master) argv(s *service, stress bool) []string {
	e := &s.entry
	argv := []string{e.Command}
	switch e.MaxProc {
	case 0:
		argv = append(argv, "-z")
	case 1:
		argv = append(argv, "-l")
	}
	if base := e.Command[strings.LastIndexByte(e.Command, '/')+1:]; base != e.Name {
		argv = append(argv, "-n", e.Name)
	}
	argv = append(argv, "-t", e.Type)
	if m.o.KeepTerminal {
		argv = append(argv, "-d")
	}
	if m.o.Verbose {
		argv = append(argv, "-v")
	}
	if e.Unprivileged {
		argv = append(argv, "-u")
	}
	if e.Chroot {
		argv = append(argv, "-c")
	}
	if s.stressAware() {
		value := "stress="
		if stress {
			value = "stress=yes"
		}
		argv = append(argv, "-o", value)
	}
	if len(s.listen) > 1 {
		argv = append(argv, "-s", strconv.Itoa(len(s.listen)))
	}
	return append(argv, e.Args...)
}

// environ is the environment of a child.
func (m *Master) environ(s *service) []string {
	env := append(os.Environ(), frame.EnvGeneration+"="+strconv.FormatUint(uint64(m.generation), 8))
	if s.ours {
		env = append(env, fmt.Sprintf("%s=%d", frame.EnvSessionLimit, s.entry.MaxProc))
		if m.inside != "" {
			env = append(env, frame.EnvInProcess+"="+m.inside)
		}
	}
	return env
}

// files are the descriptors of a child, from 0 on.
func (m *Master) files(s *service) []uintptr {
	files := []uintptr{0, 1, 2, uintptr(m.flow[0]), uintptr(m.flow[1]), uintptr(s.status.inherit)}
	for _, fd := range s.listen {
		files = append(files, uintptr(fd))
	}
	return files
}
