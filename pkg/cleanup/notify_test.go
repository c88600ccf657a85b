package cleanup

import (
	"net"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Triggers are never lost and do not pile up: while one is being answered any
// number of messages cause one more.
func TestNotifierCoalesces(t *testing.T) {
	queueDir(t)
	l, err := net.Listen("unix", "public/qmgr")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var count atomic.Int32
	first, release := make(chan struct{}), make(chan struct{})
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			b := make([]byte, 10)
			if n, _ := c.Read(b); n == 0 || b[0] != 'W' {
				t.Errorf("trigger %q", b[:n])
			}
			if count.Add(1) == 1 {
				close(first)
				<-release
			}
			c.Close()
		}
	}()
	n := &notifier{service: "qmgr", timeout: time.Minute, warn: t.Errorf}
	n.fire()
	<-first
	for range 100 {
		n.fire()
	}
	close(release)
	n.wait()
	if got := count.Load(); got != 2 {
		t.Errorf("%d triggers, want 2", got)
	}
}

func TestNotifierWarnsWithoutService(t *testing.T) {
	queueDir(t)
	warned := make(chan string, 1)
	n := &notifier{service: "qmgr", timeout: time.Minute, warn: func(f string, a ...any) { warned <- a[0].(error).Error() }}
	n.fire()
	n.wait()
	if got := <-warned; got != "unable to look up public/qmgr: No such file or directory" {
		t.Errorf("got %q", got)
	}
}

// A queue manager that is not running finds the mail when it starts.
func TestNotifierIsSilentWithoutServer(t *testing.T) {
	queueDir(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: "public/qmgr"}); err != nil {
		t.Fatal(err)
	}
	n := &notifier{service: "qmgr", timeout: time.Minute, warn: t.Errorf}
	n.fire()
	n.wait()
}
