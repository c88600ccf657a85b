package main

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/submit"
)

// setup makes a private instance without services; it returns its queue directory.
func setup(t *testing.T, lines ...string) string {
	t.Helper()
	confDir, queueDir := t.TempDir(), t.TempDir()
	text := "compatibility_level = 3.6\nqueue_directory = " + queueDir + "\ndaemon_directory = /nosuch\nfast_flush_domains = defer.test\n" + strings.Join(lines, "\n") + "\n"
	if err := os.WriteFile(filepath.Join(confDir, "main.cf"), []byte(text), 0600); err != nil {
		t.Fatal(err)
	}
	// A file that was just edited would be read again and again for a while.
	old := time.Unix(1e9, 0)
	if err := os.Chtimes(filepath.Join(confDir, "main.cf"), old, old); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(queueDir, "public"), 0700); err != nil {
		t.Fatal(err)
	}
	t.Setenv(config.EnvDir, confDir)
	t.Chdir(queueDir)
	return queueDir
}

// listen answers each client with the same text and passes on what it sends.
func listen(t *testing.T, path, answer string) <-chan string {
	t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	requests := make(chan string, 10)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			_, _ = io.WriteString(c, strings.ReplaceAll(answer, "|", "\x00"))
			buf := make([]byte, 1000)
			n, err := c.Read(buf)
			if err != nil && !errors.Is(err, io.EOF) {
				n = 0
			}
			c.Close()
			requests <- strings.ReplaceAll(string(buf[:n]), "\x00", "|")
		}
	}()
	return requests
}

func TestErrors(t *testing.T) {
	long := strings.Repeat("x", 150)
	for _, c := range []struct{ args, want string }{
		{"", errUsage.Error()}, {"-p -j", errUsage.Error()}, {"-p x", errUsage.Error()}, {"-z", errUsage.Error()}, {"x -p", errUsage.Error()},
		{"-i a.b", `Cannot flush queue ID - invalid name: "a.b"`},
		{"-i " + long + ".", `Cannot flush queue ID - invalid name: "` + long[:100] + `..."`},
		{"-s bad..dom", `Cannot flush mail queue - invalid destination: "bad..dom"`},
		{"-s 1.2.3.4", `Cannot flush mail queue - invalid destination: "1.2.3.4"`},
		{"-s [::1]", `Cannot flush mail queue - invalid destination: "[::1]"`},
		{"-s [x.y]", `Cannot flush mail queue - invalid destination: "[x.y]"`},
		{"-s [1.2.3.4", `Cannot flush mail queue - invalid destination: "[1.2.3.4"`},
		{"-s a@b", `Cannot flush mail queue - invalid destination: "a@b"`},
		{"-s other.test", `Flush service is not configured for destination "other.test"`},
		{"-s [1.2.3.4]", `Flush service is not configured for destination "[1.2.3.4]"`},
		{"-s [IPv6:::1]", `Flush service is not configured for destination "[IPv6:::1]"`},
		{"-s defer.test", "Cannot flush mail queue - mail system is down"},
		{"-i AAAAA1", "Cannot flush mail queue - mail system is down"},
		{"-f", "Cannot flush mail queue - mail system is down"},
	} {
		setup(t)
		if err := run(strings.Fields(c.args)); err == nil || err.Error() != c.want {
			t.Errorf("postqueue %s: got %v, want %s", c.args, err, c.want)
		}
	}
}

func TestQueueReportUnavailable(t *testing.T) {
	setup(t)
	want := "Queue report unavailable - mail system is down (Connect to the Postfix showq service: No such file or directory)"
	if os.Geteuid() == 0 {
		want = "Error running /nosuch/showq: No such file or directory"
	}
	if err := run([]string{"-p"}); err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
}

func TestAuthorize(t *testing.T) {
	setup(t, "mail_owner = root", "authorized_flush_users = !static:all, nobody", "authorized_mailq_users =")
	cfg, err := config.Load(config.Options{Program: program})
	if err != nil {
		t.Fatal(err)
	}
	const stranger = 123456
	for action, want := range map[submit.Action]string{
		submit.List:  "User unknown(123456) is not allowed to view the mail queue",
		submit.Flush: "User unknown(123456) is not allowed to flush the mail queue",
	} {
		if err := authorize(cfg, action, stranger); err == nil || err.Error() != want {
			t.Errorf("got %v, want %s", err, want)
		}
		if err := authorize(cfg, action, 0); err != nil {
			t.Errorf("root: %v", err)
		}
	}
}

func TestFlush(t *testing.T) {
	setup(t)
	qmgr := listen(t, "public/qmgr", "")
	if err := run([]string{"-f"}); err == nil {
		t.Error("no error without pickup")
	}
	<-qmgr
	pickup := listen(t, "public/pickup", "")
	if err := run([]string{"-f"}); err != nil {
		t.Error(err)
	}
	if q, p := <-qmgr, <-pickup; q != "FADI|" || p != "W|" {
		t.Errorf("sent %q to qmgr, %q to pickup", q, p)
	}
}

func TestFlushService(t *testing.T) {
	for _, c := range []struct{ args, status, request, want string }{
		{"-s Sub.defer.test", "0", "request|send_site|site|Sub.defer.test||", "<nil>"},
		{"-s defer.test", "4", "request|send_site|site|defer.test||", `Flush service is not configured for destination "defer.test"`},
		{"-s defer.test", "3", "request|send_site|site|defer.test||", `Invalid request: "defer.test"`},
		{"-i A1", "0", "request|send_file|queue_id|A1||", "<nil>"},
		{"-i A1", "3", "request|send_file|queue_id|A1||", `Invalid request: "A1"`},
		{"-i A1", "4294967295", "request|send_file|queue_id|A1||", "Cannot flush mail queue - mail system is down"},
	} {
		setup(t)
		requests := listen(t, "public/flush", "protocol|queue_flush_protocol||status|"+c.status+"||")
		err := run(strings.Fields(c.args))
		if got := <-requests; fmt.Sprint(err) != c.want || got != c.request {
			t.Errorf("postqueue %s: %v, sent %s, want %s", c.args, err, got, c.request)
		}
	}
}
