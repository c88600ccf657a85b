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

// TestOwnDialect: our suite as it is without suffix_dialect, whole, and those
// daemons in Postfix whose protocols have not changed.
func TestOwnDialect(t *testing.T) {
	own := map[string]string{"suffix_dialect": "3.11"}
	t.Run("whole", func(t *testing.T) {
		t.Parallel()
		compare(t, postfix(t), trafficWith(t, suffixAlone, own), ownDifferences...)
	})
	t.Run("mixed", func(t *testing.T) {
		t.Parallel()
		// The protocol of proxymap has changed, and that of bounce, which
		// cleanup needs for mail from pickup.
		own := map[string]string{
			"suffix_dialect":       "3.11",
			"local_recipient_maps": "unix:passwd.byname $alias_maps",
			"virtual_alias_maps":   "hash:$config_directory/virtual",
			"virtual_mailbox_maps": "hash:$config_directory/vmailbox",
			"transport_maps":       "hash:$config_directory/transport",
		}
		mixed := []string{"anvil", "flush", "master", "postlogd", "smtpd", "trivial-rewrite", "verify"}
		compare(t, trafficWith(t, postfixAlone, own), trafficWith(t, oursIn(mixed...), own, mixed...))
	})
}

// otherPrograms in Debian's directory of daemons that are not swapped, and why.
var otherPrograms = map[string]string{
	"dnsblog":            notWritten,
	"pipe":               notWritten,
	"postscreen":         notWritten,
	"qmqpd":              notWritten,
	"spawn":              notWritten,
	"tlsproxy":           notWritten,
	"fsstone":            "a test program that nothing runs",
	"nqmgr":              "another name of qmgr",
	"oqmgr":              "the queue manager of long ago",
	"post-install":       "a part of postfix(1)",
	"postfix-script":     "a part of postfix(1)",
	"postfix-tls-script": "a part of postfix(1)",
	"postfix-wrapper":    "a part of postmulti(1)",
	"postmulti-script":   "a part of postmulti(1)",
	"tlsmgr":             "see TestTLSManager",
}

const notWritten = "not written yet"

// TestNothingForgotten: each of Debian's daemons is swapped, or there is a
// reason why not that still holds.
func TestNothingForgotten(t *testing.T) {
	for name := range theirs {
		reason, excused := otherPrograms[name]
		_, exists := ours[name]
		switch {
		case slices.Contains(commands, name) || slices.Contains(daemons, name):
			if excused {
				t.Errorf("%s is swapped, and has a reason why not", name)
			}
		case !excused:
			t.Errorf("%s is not swapped", name)
		case exists && reason == notWritten:
			t.Errorf("%s exists now: it has to be swapped", name)
		}
	}
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
