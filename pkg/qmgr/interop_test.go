//go:build interop

package qmgr

import (
	"context"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/queue"
	_ "suffix/pkg/table/simple"
	"suffix/test/realdaemon"
)

// TestRealServices has Postfix's own resolver, agents, bounce and cleanup do
// the work that our queue manager gives them.
func TestRealServices(t *testing.T) {
	if u, err := user.Current(); err != nil || u.Uid != "0" {
		t.Fatal("the real daemons want to run as root and postfix")
	}
	root, err := os.MkdirTemp("", "qm")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(root) })
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	spool := filepath.Join(root, "spool")
	for _, dir := range []string{"etc", "data", "spool", "spool/pid", "spool/public", "spool/private", "spool/incoming", "spool/active",
		"spool/deferred", "spool/corrupt", "spool/bounce", "spool/defer", "spool/trace", "spool/hold", "spool/flush"} {
		if err := os.Mkdir(filepath.Join(root, dir), 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(filepath.Join(root, dir), 0o777); err != nil {
			t.Fatal(err)
		}
	}
	main := fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s/spool
data_directory = %[1]s/data
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
myhostname = mx.test
mydestination =
inet_interfaces = 127.0.0.1
fast_flush_domains =
hash_queue_names = nothing
transport_maps = inline:{ {dis.test = discard:silently}, {err.test = error:5.7.1 no}, {ret.test = retry:4.7.1 later}, {nox.test = nosuch:} }
`, root)
	for name, text := range map[string]string{"main.cf": main, "master.cf": ""} {
		if err := os.WriteFile(filepath.Join(root, "etc", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	log := realdaemon.Collect(t, spool)
	for _, d := range [][3]string{{"trivial-rewrite", "private", "rewrite"}, {"discard", "private", "discard"}, {"error", "private", "error"},
		{"error", "private", "retry"}, {"bounce", "private", "bounce"}, {"bounce", "private", "defer"}, {"bounce", "private", "trace"}, {"cleanup", "public", "cleanup"}} {
		args := []string{"-m", "1000"}
		if d[0] == "bounce" || d[0] == "cleanup" {
			args = append(args, "-z")
		}
		realdaemon.Start(t, filepath.Join(realdaemon.Dir, d[0]), root+"/etc", spool, d[1], d[2], args...)
	}
	cfg, err := config.Load(config.Options{Dir: root + "/etc", Program: "qmgr", Overrides: []config.Override{{Name: "suffix_dialect", Value: "3.7"}}})
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(spool)
	t.Setenv("POSTLOG_SERVICE", "")
	t.Setenv("POSTLOG_HOSTNAME", "")
	maillog.Init("qmgr")
	if err := maillog.Configure(maillog.Settings{Program: "qmgr", SyslogName: "postfix", Facility: "mail", File: root + "/log",
		Prefixes: []string{root}, Socket: "public/postlog", Hostname: "mx.test"}); err != nil {
		t.Fatal(err)
	}
	manager, err := New(Options{Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, log: log, tree: queue.New(cfg, maillog.Warnf), m: manager, triggers: make(chan []byte)}
	w.put("incoming", "1ABCDE", file{sender: "s@dis.test", rcpts: []string{"a@dis.test", "b@err.test", "c@ret.test", "d@nox.test"}})
	w.put("incoming", "2ABCDE", file{sender: "s@dis.test", rcpts: recipients(12, "dis.test")})
	w.put("incoming", "3ABCDE", file{sender: "s@dis.test", rcpts: []string{"c@ret.test"}, created: time.Now().Add(-6 * 24 * time.Hour)})
	w.start()
	w.waitLog("2ABCDE: removed")
	w.waitLog("3ABCDE: removed")
	w.wait("deferral", func() bool { return w.exists("deferred", "1ABCDE") })
	for _, text := range []string{
		"1ABCDE: to=<a@dis.test>, relay=none, ", "dsn=2.0.0, status=sent (silently)",
		"1ABCDE: to=<b@err.test>, relay=none, ", "dsn=5.7.1, status=bounced (no)",
		"1ABCDE: to=<c@ret.test>, relay=none, ", "dsn=4.7.1, status=deferred (later)",
		"1ABCDE: to=<d@nox.test>, relay=none, ", "dsn=4.3.0, status=deferred (mail transport unavailable)",
		"1ABCDE: sender non-delivery notification: ",
		"3ABCDE: from=<s@dis.test>, status=expired, returned to sender",
	} {
		w.waitLog(text)
	}
	// The notices are in the incoming queue, and go where they belong.
	w.triggers <- []byte("I")
	w.wait("delivery of two notices", func() bool {
		n := 0
		for _, line := range log.Lines() {
			if strings.Contains(line, "to=<s@dis.test>, relay=none") && strings.Contains(line, "status=sent") {
				n++
			}
		}
		return n == 2
	})
	// Next time only what is left is tried.
	before := len(log.Lines())
	w.triggers <- []byte("FAD")
	w.wait("second round", func() bool {
		n := 0
		for _, line := range log.Lines()[before:] {
			if strings.Contains(line, "1ABCDE: to=<") {
				n++
			}
		}
		return n == 2 && w.exists("deferred", "1ABCDE")
	})
	if err := w.stop(); err != nil {
		t.Fatal(err)
	}
	if context.Cause(manager.ctx) == nil {
		t.Error("still running")
	}
}
