//go:build interop

package interop

import (
	"fmt"
	"syscall"
	"testing"
)

// control goes through the life of a mail system with postfix(1).
func control(t *testing.T, c choice) observations {
	t.Helper()
	s := newSystem(t, c, nil)
	r := &run{system: s, seen: make(observations), ids: make(map[string]string)}
	t.Cleanup(func() {
		for _, p := range s.processes() {
			t.Errorf("%s is still running: %v", p.name, syscall.Kill(p.pid, syscall.SIGKILL))
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
	s.await("the end of all processes", func() bool { return len(s.processes()) == 0 })
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
