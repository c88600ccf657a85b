package service

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"suffix/test/instance"

	"golang.org/x/sys/unix"
)

// The test program is also the daemons that the tests start.
func TestMain(m *testing.M) {
	if kind := os.Getenv("TEST_DAEMON"); kind != "" {
		Run(testDaemons[kind])
	}
	os.Exit(m.Run())
}

var testDaemons = map[string]Daemon{
	"single": {Kind: Single, Setup: watchTable, Serve: talk, Exit: sayGoodbye, Drain: sayDraining},
	"multi":  {Kind: Multi, Setup: watchTable, Serve: talk, Exit: sayGoodbye},
	"event":  {Kind: Event, Serve: talk, Exit: sayGoodbye, Drain: sayDraining},
	"one":    {Kind: Single, Limit: LimitOne, Serve: talk},
	"zero":   {Kind: Single, Limit: LimitZero, Serve: talk},
	"root":   {Kind: Single, Privileged: true, Serve: talk},
	"trigger": {Kind: Trigger, Trigger: func(_ context.Context, p *Process, request []byte) {
		note("triggers", string(request)+"\n")
	}},
	"loop": {Kind: Trigger, Loop: func(ctx context.Context, p *Process, triggers <-chan []byte) error {
		for {
			select {
			case request := <-triggers:
				note("triggers", string(request)+"\n")
			case <-ctx.Done():
				note("triggers", "end\n")
				return nil
			}
		}
	}},
	"dgram": {Kind: Datagram, Datagram: func(p *Process, packet []byte) { note("packets", string(packet)+"\n") }},
}

func watchTable(p *Process) error {
	p.Watch(func() (string, bool) {
		_, err := os.Stat("changed")
		return "hash:test", err == nil
	})
	return nil
}

func sayGoodbye(*Process) { note("exits", "exit\n") }

func sayDraining(*Process) { note("drained", "yes\n") }

// note appends to a file in the queue directory.
func note(name, text string) {
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		panic(err)
	}
	f.WriteString(text)
	f.Close()
}

// talk answers each line.
func talk(ctx context.Context, p *Process, c *Conn) {
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch line = strings.TrimSpace(line); line {
		case "panic":
			panic("oops")
		case "quit":
			return
		case "pass":
			line = c.Pass["client_address"] + " " + c.Pass["client_port"]
		case "stress":
			line = strconv.FormatBool(p.Stress())
		case "inside":
			line = strconv.FormatBool(p.InProcess("private", "rewrite", "trivial-rewrite"))
		case "env":
			line = os.Getenv(EnvSessionLimit) + os.Getenv(EnvGeneration) + os.Getenv(EnvInProcess)
		}
		fmt.Fprintf(c, "%d %s\n", os.Getpid(), line)
	}
}

// rig plays the part of master.
type rig struct {
	t      *testing.T
	in     *instance.Instance
	status *os.File // master's end
	peer   *os.File // the children's end
	listen *os.File
	addr   string
	flow   [2]*os.File
	log    *net.UnixConn
	kind   string

	program string // its name if that is not the kind

	stdin, stdout *os.File // of the daemons, nil for /dev/null
}

func newRig(t *testing.T, kind string) *rig {
	t.Helper()
	dir, err := os.MkdirTemp("", "svc")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	in, err := instance.Create(instance.Options{Dir: dir, Bin: dir, Main: map[string]string{"in_flow_delay": "0"}})
	if err != nil {
		t.Fatal(err)
	}
	// The daemon reads a configuration that changed just now more than once.
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(filepath.Join(in.Config(), "main.cf"), old, old); err != nil {
		t.Fatal(err)
	}
	for _, d := range []string{"pid", "public"} {
		if err := os.MkdirAll(filepath.Join(in.Queue(), d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	r := &rig{t: t, in: in, kind: kind}
	r.log, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: in.Queue() + "/public/postlog", Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.log.Close() })
	r.addr = in.Queue() + "/public/test"
	switch kind {
	case "dgram":
		c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: r.addr, Net: "unixgram"})
		if err != nil {
			t.Fatal(err)
		}
		r.listen, _ = c.File()
		c.Close()
	default:
		l, err := net.ListenUnix("unix", &net.UnixAddr{Name: r.addr, Net: "unix"})
		if err != nil {
			t.Fatal(err)
		}
		l.SetUnlinkOnClose(false)
		r.listen, _ = l.File()
		l.Close()
	}
	r.newStatus()
	if r.flow[0], r.flow[1], err = os.Pipe(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.listen.Close(); r.flow[0].Close(); r.flow[1].Close() })
	return r
}

func (r *rig) newStatus() {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		r.t.Fatal(err)
	}
	unix.SetNonblock(fds[0], true)
	r.status, r.peer = os.NewFile(uintptr(fds[0]), "status"), os.NewFile(uintptr(fds[1]), "peer")
	r.t.Cleanup(func() { r.status.Close(); r.peer.Close() })
}

// process is a daemon that was started.
type process struct {
	*exec.Cmd
	done chan error
}

// start starts a daemon; env are further variables.
func (r *rig) start(env []string, args ...string) *process {
	r.t.Helper()
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Args[0] = cmp.Or(r.program, r.kind)
	cmd.Dir = r.in.Queue()
	cmd.Env = append([]string{"TEST_DAEMON=" + r.kind, "MAIL_CONFIG=" + r.in.Config(), "GENERATION=17",
		"POSTLOG_SERVICE=" + r.in.Queue() + "/public/postlog", "POSTLOG_HOSTNAME=h"}, env...)
	cmd.ExtraFiles = []*os.File{r.flow[0], r.flow[1], r.peer, r.listen}
	if r.stdin != nil {
		cmd.Stdin, cmd.Stdout = r.stdin, r.stdout
	}
	if err := cmd.Start(); err != nil {
		r.t.Fatal(err)
	}
	p := &process{cmd, make(chan error, 1)}
	go func() { p.done <- cmd.Wait() }()
	r.t.Cleanup(func() { cmd.Process.Kill() })
	return p
}

const patience = 20 * time.Second

// ends waits for the end of a process and returns its exit status.
func (r *rig) ends(p *process) int {
	r.t.Helper()
	select {
	case err := <-p.done:
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			return exit.ExitCode()
		}
		if err != nil {
			r.t.Fatal(err)
		}
		return 0
	case <-time.After(patience):
		r.t.Fatal("the process does not end")
	}
	return -1
}

// report reads one status report.
func (r *rig) report() Report {
	r.t.Helper()
	var b [ReportSize]byte
	r.status.SetReadDeadline(time.Now().Add(patience))
	n, err := r.status.Read(b[:])
	if err != nil || n != len(b) {
		r.t.Fatalf("status report: %d bytes, %v", n, err)
	}
	return ParseReport(b)
}

// expect reads reports and compares their states.
func (r *rig) expect(p *process, states ...State) {
	r.t.Helper()
	for _, want := range states {
		got := r.report()
		if got.State != want || got.Generation != 15 || int(got.PID) != p.Process.Pid {
			r.t.Fatalf("report %+v, want state %d of %d", got, want, p.Process.Pid)
		}
	}
}

// silent makes sure that no report has arrived.
func (r *rig) silent() {
	r.t.Helper()
	var b [ReportSize]byte
	r.status.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if n, err := r.status.Read(b[:]); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
		r.t.Fatalf("unexpected report %v %v", b[:n], err)
	}
}

// client is a connection to the daemon.
type client struct {
	net.Conn
	r *bufio.Reader
	t *testing.T
}

func (r *rig) dial() *client {
	r.t.Helper()
	c, err := net.Dial("unix", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	r.t.Cleanup(func() { c.Close() })
	return &client{c, bufio.NewReader(c), r.t}
}

// ask sends a line and returns the answer without the process ID.
func (c *client) ask(line string) string {
	c.t.Helper()
	fmt.Fprintln(c, line)
	answer, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("%s: %v", line, err)
	}
	_, text, _ := strings.Cut(strings.TrimSpace(answer), " ")
	return text
}

// gone waits for the end of the connection.
func (c *client) gone() {
	c.t.Helper()
	if _, err := c.r.ReadByte(); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		c.t.Fatalf("the connection goes on: %v", err)
	}
}

// logged waits for a log line that contains the text, in the log file or on
// its way to postlogd.
func (r *rig) logged(text string) {
	r.t.Helper()
	buf := make([]byte, 4096)
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); {
		if file, err := os.ReadFile(r.in.Log()); err == nil && bytes.Contains(file, []byte(text)) {
			return
		}
		r.log.SetReadDeadline(time.Now().Add(10 * time.Millisecond))
		if n, err := r.log.Read(buf); err == nil && bytes.Contains(buf[:n], []byte(text)) {
			return
		}
	}
	r.t.Fatalf("no log line with %q", text)
}

// noted waits until a file of the daemon's has the content.
func (r *rig) noted(name, want string) {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for {
		got, _ := os.ReadFile(filepath.Join(r.in.Queue(), name))
		if string(got) == want {
			return
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("%s: %q, want %q", name, got, want)
		}
		time.Sleep(5 * time.Millisecond)
	}
}
