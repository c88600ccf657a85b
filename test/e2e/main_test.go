// Package e2e tests the whole mail system from outside: private instances on
// loopback ports, driven over TCP, through the commands, and at the internal
// sockets and queue files. It needs only Go and runs as any user.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"suffix/test/e2e/programs"
)

// bin has the programs, built once for all tests.
var bin string

// suiteLimit ends the suite, with its instances, before "go test" would kill
// it and leave them running.
const suiteLimit = 9 * time.Minute

func TestMain(m *testing.M) { os.Exit(run(m)) }

func run(m *testing.M) int {
	flag.Parse()
	// The tests wait more than they compute.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := f.Value.Set("6"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	dir, err := os.MkdirTemp("", "suffix-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	bin = filepath.Join(dir, "bin")
	if err := programs.Build(bin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	watchdog := time.AfterFunc(suiteLimit, func() {
		stopAll()
		os.RemoveAll(dir)
		panic(fmt.Sprintf("the tests took more than %v", suiteLimit))
	})
	defer watchdog.Stop()
	defer stopAll()
	code := m.Run()
	if started.Load() {
		c, err := theCommon()
		if err == nil {
			err = c.finish()
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
	}
	return code
}

// running has the instances that must not outlive the suite.
var running struct {
	sync.Mutex
	list map[*system]bool
}

func register(s *system, on bool) {
	running.Lock()
	defer running.Unlock()
	if running.list == nil {
		running.list = make(map[*system]bool)
	}
	if on {
		running.list[s] = true
	} else {
		delete(running.list, s)
	}
}

func stopAll() {
	running.Lock()
	defer running.Unlock()
	for s := range running.list {
		s.kill()
		for _, sink := range s.sinks {
			sink.Close()
		}
		os.RemoveAll(s.Dir)
	}
	running.list = nil
}

// output runs a command of the system and returns what it prints on both
// streams, and its exit status.
func output(cmd *exec.Cmd) (text string, status int, err error) {
	out, err := cmd.CombinedOutput()
	if exit, ok := err.(*exec.ExitError); ok {
		return string(out), exit.ExitCode(), nil
	}
	return string(out), 0, err
}
