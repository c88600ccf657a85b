package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"suffix/test/instance"
)

// A system is the mail system that is hurt.
type system struct {
	in     *instance.Instance
	random *rand.Rand

	killed, mastersKilled int
}

func (s *system) masterPID() (int, error) {
	text, err := os.ReadFile(filepath.Join(s.in.Queue(), "pid", "master.pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}

// start starts the mail system; after a killed master the last of its children
// may still hold something for a moment.
func (s *system) start() error {
	var err error
	for range 30 {
		if err = s.in.Start(); err == nil {
			return nil
		}
		time.Sleep(200 * time.Millisecond)
	}
	return err
}

func (s *system) stop() {
	if err := s.in.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
}

// children lists the processes below master.
func children(master int) ([]int, error) {
	paths, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	var list []int
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended meanwhile
		}
		_, rest, _ := strings.Cut(string(text), ") ")
		fields := strings.Fields(rest)
		pid, err := strconv.Atoi(strings.Split(path, "/")[2])
		if err == nil && len(fields) > 1 && fields[1] == strconv.Itoa(master) {
			list = append(list, pid)
		}
	}
	return list, nil
}

// masterShare is how many victims there are for each killed master.
const masterShare = 15

// killFor kills a process every now and then.
func (s *system) killFor(duration time.Duration) error {
	for end := time.Now().Add(duration); time.Now().Before(end); {
		time.Sleep(time.Duration(20+s.random.IntN(400)) * time.Millisecond)
		master, err := s.masterPID()
		if err != nil {
			return err
		}
		victims, err := children(master)
		if err != nil {
			return err
		}
		if s.random.IntN(masterShare) == 0 || len(victims) == 0 {
			if err := kill(master); err != nil {
				return err
			}
			s.mastersKilled++
			if err := s.start(); err != nil {
				return fmt.Errorf("start after master was killed: %w", err)
			}
		} else if err := kill(victims[s.random.IntN(len(victims))]); err != nil {
			return err
		}
		s.killed++
	}
	return nil
}

func kill(pid int) error {
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
		return fmt.Errorf("kill %d: %w", pid, err)
	}
	return nil
}

// settle waits until everything in the queue has been delivered.
func (s *system) settle(limit time.Duration) error {
	var listing []byte
	for deadline := time.Now().Add(limit); time.Now().Before(deadline); {
		var err error
		if listing, err = s.in.Command("postqueue", "-p").CombinedOutput(); err == nil && strings.HasPrefix(string(listing), "Mail queue is empty") {
			return nil
		}
		// A scan that was due may have died with its queue manager.
		if out, err := s.in.Command("postqueue", "-f").CombinedOutput(); err != nil {
			fmt.Fprintf(os.Stderr, "postqueue -f: %v\n%s", err, out)
		}
		time.Sleep(500 * time.Millisecond)
	}
	return fmt.Errorf("the queue does not become empty:\n%s", listing)
}
