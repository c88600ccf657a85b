//go:build interop

package interop

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// control goes through the life of a mail system with postfix(1).
func control(t *testing.T, c choice) observations {
	t.Helper()
	s := newSystem(t, c, nil)
	r := &run{system: s, seen: make(observations), ids: make(map[string]string)}
	t.Cleanup(func() {
		content, err := os.ReadFile(filepath.Join(s.in.Queue(), "pid/master.pid"))
		var pid int
		if err != nil {
			return // it never started
		}
		if _, err := fmt.Sscan(string(content), &pid); err == nil && syscall.Kill(pid, 0) == nil {
			if exe, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", pid)); err == nil && strings.Contains(exe, "master") || strings.Contains(exe, "suffixd") {
				t.Errorf("master is still running: %v", syscall.Kill(pid, syscall.SIGKILL))
			}
		}
	})
	for i, command := range []string{"status", "flush", "start", "start", "status", "check", "reload", "flush", "nonsense", "stop", "stop", "status", "start", "abort"} {
		out, err := s.in.Command("postfix", command).CombinedOutput()
		r.add(fmt.Sprintf("postfix %d %s", i, command), fmt.Sprintf("%s%v", out, err))
		if command == "start" {
			r.send(fmt.Sprint("message ", i), "sender@interop.test", user+local)
			r.settle()
		}
	}
	s.await("the end of master", func() bool {
		c, err := net.Dial("tcp4", s.in.Address())
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	r.collect()
	return r.seen
}

// TestControl: postfix(1) and master of either suite with each other.
func TestControl(t *testing.T) {
	t.Parallel()
	want := control(t, postfixAlone)
	for name, c := range map[string]choice{"ours": suffixAlone, "our command": oursIn("postfix"), "their command": theirsIn("postfix"),
		"our master": oursIn("master"), "their master": theirsIn("master")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			compare(t, want, control(t, c))
		})
	}
}
