package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"suffix/test/instance"
)

// A killer ends processes of an instance.
type killer struct {
	in     *instance.Instance
	random *rand.Rand
	killed map[string]int // by program
}

// victims are the programs that may be killed, besides all daemons.
var victims = []string{"sendmail", "postdrop"}

// A process of the instance.
type process struct {
	pid  int
	name string
}

// processes lists what runs of the instance: programs from its directory that
// have its configuration in their environment.
func (k *killer) processes() ([]process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	setting := "MAIL_CONFIG=" + k.in.Config()
	var list []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		// A process may end at any time, and others are none of our business.
		args, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		if err != nil {
			continue
		}
		program, _, _ := strings.Cut(string(args), "\x00")
		name := filepath.Base(program)
		executable, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid))
		if err != nil {
			continue
		}
		daemon := filepath.Dir(executable) == filepath.Join(k.in.Bin, "libexec")
		if !daemon && !slices.Contains(victims, name) {
			continue
		}
		environment, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
		if err != nil || !slices.Contains(strings.Split(string(environment), "\x00"), setting) && !k.lockedBy(pid, name) {
			continue
		}
		list = append(list, process{pid, name})
	}
	return list, nil
}

// lockedBy says that a process is the master of the instance.
func (k *killer) lockedBy(pid int, name string) bool {
	return name == "master" && pid == k.masterPID()
}

func (k *killer) masterPID() int {
	text, err := os.ReadFile(filepath.Join(k.in.Queue(), "pid", "master.pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil {
		return 0
	}
	return pid
}

// run kills processes for a time. Each kind of program has the same chance,
// so that the few which are rare are hit as often as those that are many.
func (k *killer) run(ctx context.Context, duration, interval time.Duration, progress func(kills int)) error {
	k.killed = make(map[string]int)
	end := time.Now().Add(duration)
	told := time.Now()
	for time.Now().Before(end) && ctx.Err() == nil {
		pause := time.Duration(k.random.ExpFloat64() * float64(interval))
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(min(pause, 10*interval)):
		}
		list, err := k.processes()
		if err != nil {
			return err
		}
		kinds := make(map[string][]process)
		for _, p := range list {
			kinds[p.name] = append(kinds[p.name], p)
		}
		names := slices.Sorted(maps.Keys(kinds))
		if len(names) > 0 {
			kind := kinds[names[k.random.IntN(len(names))]]
			p := kind[k.random.IntN(len(kind))]
			if err := syscall.Kill(p.pid, syscall.SIGKILL); err == nil {
				k.killed[p.name]++
			}
			if p.name == "master" {
				if err := k.ensureRunning(time.Now().Add(restartTime)); err != nil {
					return err
				}
			}
		}
		if time.Since(told) > 10*time.Second {
			told = time.Now()
			progress(k.kills())
		}
	}
	return nil
}

// ensureRunning starts the system unless it runs. The daemons of a master that
// was killed may still be about to leave.
func (k *killer) ensureRunning(deadline time.Time) error {
	for {
		if k.in.Control("status") == nil {
			return nil
		}
		err := k.in.Start()
		if err == nil {
			return nil
		}
		if time.Now().After(deadline) {
			return err
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (k *killer) kills() int {
	n := 0
	for _, count := range k.killed {
		n += count
	}
	return n
}

// summary says what was killed how often.
func (k *killer) summary() string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(k.killed)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, k.killed[name]))
	}
	return fmt.Sprintf("%d processes: %s", k.kills(), strings.Join(parts, ", "))
}

// killAll ends the instance.
func (k *killer) killAll() {
	if pid := k.masterPID(); pid != 0 && k.in.Control("status") == nil {
		_ = syscall.Kill(-pid, syscall.SIGKILL)
	}
	for range 100 {
		list, err := k.processes()
		if err != nil || len(list) == 0 {
			return
		}
		for _, p := range list {
			_ = syscall.Kill(p.pid, syscall.SIGKILL)
		}
		time.Sleep(50 * time.Millisecond)
	}
}
