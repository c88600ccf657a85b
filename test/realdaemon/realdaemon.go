// Package realdaemon runs single daemons of an installed Postfix in the way
// its master does, so that tests can put the same questions to them and to
// ours.
package realdaemon

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Dir is where Debian installs Postfix's daemons.
const Dir = "/usr/lib/postfix/sbin"

// Start runs the daemon program for the service class/name of the instance
// whose main.cf is in configDir. The queue directory has the folders public,
// private and pid. The daemon ends with the test.
func Start(t *testing.T, program, configDir, queueDir, class, name string, args ...string) {
	t.Helper()
	path := filepath.Join(queueDir, class, name)
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	file, err := listener.(*net.UnixListener).File()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	flowRead, flowWrite, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	// Close must end the read that waits for reports.
	if err := syscall.SetNonblock(pair[0], true); err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(pair[0]), "status"), os.NewFile(uintptr(pair[1]), "status")
	// The child's end of the pipe blocks, so there must be enough tokens.
	if _, err := flowWrite.Write(make([]byte, 4096)); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(program, append([]string{"-n", name, "-t", "unix"}, args...)...)
	cmd.Dir = queueDir
	cmd.Env = []string{"MAIL_CONFIG=" + configDir, "GENERATION=1", "PATH=/usr/bin:/bin"}
	cmd.ExtraFiles = []*os.File{flowRead, flowWrite, theirs, file}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	theirs.Close()
	file.Close()
	go func() {
		// Status reports must not fill the socket.
		buf := make([]byte, 1024)
		for {
			if _, err := ours.Read(buf); err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		ours.Close()
		done := make(chan struct{})
		go func() {
			_ = cmd.Wait() // however it ends
			close(done)
		}()
		select {
		case <-done:
		case <-time.After(5 * time.Second):
			if err := cmd.Process.Kill(); err != nil {
				t.Error(err)
			}
			<-done
		}
		flowRead.Close()
		flowWrite.Close()
		listener.Close()
	})
}

// A Log collects what daemons log through the postlog service.
type Log struct {
	mu    sync.Mutex
	lines []string
}

// Collect serves public/postlog below queueDir until the test ends. The main.cf
// of the instance names any maillog_file.
func Collect(t *testing.T, queueDir string) *Log {
	t.Helper()
	path := filepath.Join(queueDir, "public/postlog")
	conn, err := net.ListenPacket("unixgram", path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	l := &Log{}
	go func() {
		buf := make([]byte, 65536)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			l.mu.Lock()
			l.lines = append(l.lines, strings.TrimRight(string(buf[:n]), "\n\x00"))
			l.mu.Unlock()
		}
	}()
	return l
}

// Lines returns what was logged so far.
func (l *Log) Lines() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.lines...)
}
