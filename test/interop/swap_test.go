//go:build interop

package interop

import (
	"slices"
	"sync"
	"testing"
)

// reference is what Postfix alone does with the traffic.
var reference struct {
	once sync.Once
	seen observations
}

// postfix returns what Postfix alone does.
func postfix(t *testing.T) observations {
	t.Helper()
	reference.once.Do(func() { reference.seen = traffic(t, postfixAlone) })
	if reference.seen == nil {
		t.Fatal("the traffic through Postfix alone has failed")
	}
	return reference.seen
}

// TestRepeatable: two runs of Postfix alone look the same, so that differences
// found by other tests come from the programs.
func TestRepeatable(t *testing.T) {
	t.Parallel()
	compare(t, postfix(t), traffic(t, postfixAlone))
}

// TestSuffix: the whole suite against Postfix.
func TestSuffix(t *testing.T) {
	t.Parallel()
	compare(t, postfix(t), traffic(t, suffixAlone))
}

// daemons that the traffic uses.
var daemons = []string{"anvil", "bounce", "cleanup", "discard", "error", "flush", "lmtp", "local", "master", "pickup", "postlogd", "proxymap", "qmgr",
	"scache", "showq", "smtp", "smtpd", "trivial-rewrite", "verify", "virtual"}

// TestDaemons: each daemon of either suite alone inside the other.
func TestDaemons(t *testing.T) {
	want := postfix(t)
	for _, program := range daemons {
		if _, ok := ours[program]; !ok {
			t.Errorf("there is no %s", program)
			continue
		}
		t.Run("ours/"+program, func(t *testing.T) {
			t.Parallel()
			compare(t, want, traffic(t, oursIn(program), program))
		})
		if program == "scache" {
			continue // our smtp keeps connections itself, so nothing would use it
		}
		t.Run("theirs/"+program, func(t *testing.T) {
			t.Parallel()
			compare(t, want, traffic(t, theirsIn(program), program))
		})
	}
}

// TestCommands: each command of either suite alone with the other.
func TestCommands(t *testing.T) {
	want := postfix(t)
	for _, program := range commands {
		if slices.Contains([]string{"postfix", "postmulti"}, program) {
			continue // see the takeover
		}
		if _, ok := ours[program]; !ok {
			t.Errorf("there is no %s", program)
			continue
		}
		t.Run("ours/"+program, func(t *testing.T) {
			t.Parallel()
			compare(t, want, traffic(t, oursIn(program)))
		})
		t.Run("theirs/"+program, func(t *testing.T) {
			t.Parallel()
			compare(t, want, traffic(t, theirsIn(program)))
		})
	}
}
