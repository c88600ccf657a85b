package master

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"suffix/pkg/account"
	"suffix/pkg/service"
	"suffix/test/instance"

	"golang.org/x/sys/unix"
)

// The test program is also master and the daemons that it starts, by name.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "master":
		Main()
		os.Exit(0)
	case "ours", "foreign":
		service.Run(service.Daemon{Kind: service.Single, Serve: tell})
	case "dump":
		dump()
	case "fails":
		os.Exit(3)
	case "wakes":
		service.Run(service.Daemon{Kind: service.Trigger, Trigger: func(_ context.Context, _ *service.Process, request []byte) {
			os.WriteFile("woken", request, 0o644)
		}})
	}
	os.Exit(m.Run())
}

// tell answers each line with the process ID and what master said.
func tell(_ context.Context, p *service.Process, c *service.Conn) {
	r := bufio.NewReader(c)
	for {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch strings.TrimSpace(line) {
		case "die":
			os.Exit(4)
		case "limit":
			fmt.Fprintf(c, "%d %d %v\n", os.Getpid(), p.SessionLimit, p.InProcess("public", "plain", "ours"))
		default:
			fmt.Fprintf(c, "%d\n", os.Getpid())
		}
	}
}

// dump writes down what a child of master finds.
func dump() {
	var b bytes.Buffer
	fmt.Fprintf(&b, "%q\n", os.Args)
	env := os.Environ()
	slices.Sort(env)
	fmt.Fprintf(&b, "%q\n", env)
	for fd := 0; fd < 20; fd++ {
		// What has the close-on-exec flag did not come from master.
		inherited, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err != nil || fd < 3 || inherited&unix.FD_CLOEXEC != 0 {
			continue
		}
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0); err == nil {
			fmt.Fprintf(&b, "%d:%v ", fd, flags&unix.O_NONBLOCK != 0)
		}
	}
	cwd, _ := os.Getwd()
	fmt.Fprintf(&b, "\n%s %03o\n", cwd, unix.Umask(0))
	os.WriteFile("dump.new", b.Bytes(), 0o644)
	os.Rename("dump.new", "dump")
	service.Run(service.Daemon{Kind: service.Single, Serve: tell})
}

// system is a master with services of the test's.
type system struct {
	t      *testing.T
	in     *instance.Instance
	master *exec.Cmd
	done   chan error
}

const patience = 20 * time.Second

// newSystem prepares an instance whose master.cf has the given lines.
func newSystem(t *testing.T, masterCF string, settings map[string]string) *system {
	t.Helper()
	dir, err := os.MkdirTemp("", "mst")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	in, err := instance.Create(instance.Options{Dir: dir, Bin: dir, Main: settings})
	if err != nil {
		t.Fatal(err)
	}
	daemons := filepath.Join(dir, "libexec")
	if err := os.Mkdir(daemons, 0o755); err != nil {
		t.Fatal(err)
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	image, err := os.ReadFile(self)
	if err != nil {
		t.Fatal(err)
	}
	// Two files: one is the program of master and "ours", the other one is
	// foreign.
	for file, links := range map[string][]string{"master": {"ours"}, "foreign": {"dump", "fails", "wakes"}} {
		if err := os.WriteFile(filepath.Join(daemons, file), image, 0o755); err != nil {
			t.Fatal(err)
		}
		for _, link := range links {
			if err := os.Link(filepath.Join(daemons, file), filepath.Join(daemons, link)); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, sub := range []string{"pid", "public", "private"} {
		path := filepath.Join(in.Queue(), sub)
		if err := os.Mkdir(path, 0o755); err != nil {
			t.Fatal(err)
		}
		chown(t, path, in)
	}
	data := filepath.Join(dir, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	chown(t, data, in)
	// Daemons write down what they see there.
	if err := os.Chmod(in.Queue(), 0o777); err != nil {
		t.Fatal(err)
	}
	s := &system{t: t, in: in}
	s.write("master.cf", masterCF)
	s.age()
	return s
}

func chown(t *testing.T, path string, in *instance.Instance) {
	t.Helper()
	if os.Getuid() != 0 {
		return
	}
	if err := os.Chown(path, in.Owner.UID, in.Owner.GID); err != nil {
		t.Fatal(err)
	}
}

func (s *system) write(name, content string) {
	s.t.Helper()
	if err := os.WriteFile(filepath.Join(s.in.Config(), name), []byte(content), 0o644); err != nil {
		s.t.Fatal(err)
	}
}

// age makes main.cf look old: programs read one that is new more than once.
func (s *system) age() {
	old := time.Now().Add(-time.Minute)
	if err := os.Chtimes(filepath.Join(s.in.Config(), "main.cf"), old, old); err != nil {
		s.t.Fatal(err)
	}
}

func (s *system) command(args ...string) *exec.Cmd {
	cmd := s.in.Command("libexec/master", args...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	return cmd
}

// start runs master in the foreground of the test.
func (s *system) start(args ...string) {
	s.t.Helper()
	s.master = s.command(args...)
	s.done = make(chan error, 1)
	if err := s.master.Start(); err != nil {
		s.t.Fatal(err)
	}
	pid := s.master.Process.Pid
	s.t.Cleanup(func() { syscall.Kill(-pid, syscall.SIGKILL) })
	go func() { s.done <- s.master.Wait() }()
	s.logged("daemon started -- version ")
}

func (s *system) signal(sig syscall.Signal) {
	s.t.Helper()
	if err := s.master.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

// logged waits for a line in the log that matches.
func (s *system) logged(expression string) string {
	s.t.Helper()
	re := regexp.MustCompile(expression)
	var content []byte
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		content, _ = os.ReadFile(s.in.Log())
		if m := re.Find(content); m != nil {
			return string(m)
		}
	}
	s.t.Fatalf("no line with %q in the log:\n%s", expression, content)
	return ""
}

// client is a connection to a service.
type client struct {
	net.Conn
	r *bufio.Reader
	t *testing.T
}

func (s *system) dial(path string) *client {
	s.t.Helper()
	c, err := net.Dial("unix", filepath.Join(s.in.Queue(), path))
	if err != nil {
		s.t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	s.t.Cleanup(func() { c.Close() })
	return &client{c, bufio.NewReader(c), s.t}
}

// ask sends a line and returns the answer.
func (c *client) ask(line string) string {
	c.t.Helper()
	fmt.Fprintln(c, line)
	answer, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatalf("%s: %v", line, err)
	}
	return strings.TrimSpace(answer)
}

// waits says that nobody answers the client now.
func (c *client) waits() {
	c.t.Helper()
	fmt.Fprintln(c, "x")
	c.SetReadDeadline(time.Now().Add(100 * time.Millisecond))
	if _, err := c.r.Peek(1); err == nil {
		c.t.Error("the client is served above the limit")
	}
	c.SetReadDeadline(time.Now().Add(patience))
}

// answer reads the answer to an earlier line.
func (c *client) answer() string {
	c.t.Helper()
	line, err := c.r.ReadString('\n')
	if err != nil {
		c.t.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// A foreign program gets a process for each client, up to the limit.
func TestForeign(t *testing.T) {
	s := newSystem(t, "svc unix n - n - 2 foreign\n", nil)
	s.start("-d")
	a, b := s.dial("public/svc"), s.dial("public/svc")
	first, second := a.ask("x"), b.ask("x")
	if first == second {
		t.Errorf("one process %s for two clients", first)
	}
	c := s.dial("public/svc")
	c.waits()
	a.Close()
	if got := c.answer(); got != first {
		t.Errorf("process %s instead of %s", got, first)
	}
}

// A program of ours gets one process for all clients.
func TestOurs(t *testing.T) {
	s := newSystem(t, "svc unix n - n - 3 ours -o max_use=1000\nplain unix n - n - 3 ours\n", nil)
	s.start("-d")
	var clients []*client
	for range 3 {
		clients = append(clients, s.dial("public/svc"))
	}
	pid := clients[0].ask("x")
	if got := clients[1].ask("limit"); got != pid+" 3 true" {
		t.Errorf("%q, want process %s, limit 3, plain in-process", got, pid)
	}
	clients[2].ask("x")
	fourth := s.dial("public/svc")
	fourth.waits()
	clients[0].Close()
	if got := fourth.answer(); got != pid {
		t.Errorf("process %s instead of %s", got, pid)
	}
	// A reload: the old process keeps its clients, the next has a new one.
	s.signal(syscall.SIGHUP)
	s.logged(`reload -- version `)
	late := awaitOther(s, "public/svc", pid)
	if got := clients[1].ask("x"); got != pid {
		t.Errorf("the old client has process %s instead of %s", got, pid)
	}
	_ = late
}

// awaitOther connects until a process other than the given one answers.
func awaitOther(s *system, path, old string) *client {
	s.t.Helper()
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		c := s.dial(path)
		if got := c.ask("x"); got != old {
			return c
		}
		c.Close()
	}
	s.t.Fatal("no new process")
	return nil
}

// Of a service with a limit of one there is never a second process, not even
// when a reload finds the first one busy.
func TestSingleton(t *testing.T) {
	for _, program := range []string{"ours", "foreign"} {
		s := newSystem(t, "svc unix n - n - 1 "+program+"\n", nil)
		s.start("-d")
		a := s.dial("public/svc")
		pid := a.ask("x")
		s.signal(syscall.SIGHUP)
		s.logged(`reload -- version `)
		b := s.dial("public/svc")
		b.waits()
		if got := a.ask("x"); got != pid {
			t.Errorf("process %s instead of %s", got, pid)
		}
		a.Close()
		if got := b.answer(); got == pid {
			t.Error("the old process took a client after the reload")
		}
	}
}

func TestChild(t *testing.T) {
	s := newSystem(t, "\n", nil)
	port1, port2 := freePort(t), freePort(t)
	s.write("master.cf", fmt.Sprintf("127.0.0.1:%d inet n - n - - dump -o { a = b c } -o x=y\n%d inet n n n - 0 foreign\n", port1, port2))
	s.start("-d", "-v")
	c, err := net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port1))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var got string
	for deadline := time.Now().Add(patience); got == "" && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		b, _ := os.ReadFile(filepath.Join(s.in.Queue(), "dump"))
		got = string(b)
	}
	name := "127.0.0.1:" + strconv.Itoa(port1)
	want := fmt.Sprintf("%q\n", []string{"dump", "-n", name, "-t", "inet", "-d", "-v", "-u", "-o", "a = b c", "-o", "x=y"}) +
		fmt.Sprintf("%q\n", []string{"GENERATION=1", "LANG=C", "MAIL_CONFIG=" + s.in.Config(), "MAIL_LOGTAG=postfix",
			"POSTLOG_HOSTNAME=suffix", "POSTLOG_SERVICE=" + s.in.Queue() + "/public/postlog"}) +
		"3:true 4:true 5:false 6:true \n" + s.in.Queue() + " 077\n"
	if got != want {
		t.Errorf("the child finds\n%s\nwant\n%s", got, want)
	}
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// A program that fails before it has served anybody is left alone for a while;
// one that has is started again at once.
func TestFailures(t *testing.T) {
	s := newSystem(t, "svc unix n - n - - fails\nnone unix n - n - - nonesuch\ngood unix n - n - - foreign\n", map[string]string{"service_throttle_time": "1s"})
	s.start("-d")
	s.dial("public/svc")
	bad := regexp.QuoteMeta(s.in.Bin + "/libexec/fails")
	s.logged(`postfix/master\[\d+\]: warning: process ` + bad + ` pid \d+ exit status 3\n.*: warning: ` + bad + `: bad command startup -- throttling\n`)
	// After the rest there is another try, and it fails again.
	s.logged(`(?s)(throttling\n.*){2}`)
	s.dial("public/none")
	s.logged(`fatal: master_spawn: exec .*/nonesuch: No such file or directory\n.*: warning: .*/nonesuch: bad command startup -- throttling`)
	c := s.dial("public/good")
	pid := c.ask("x")
	c.Close()
	// That the process reported it cannot be seen from here; it takes the next
	// client because it has.
	for {
		c = s.dial("public/good")
		if c.ask("x") == pid {
			break
		}
		c.Close()
	}
	fmt.Fprintln(c, "die")
	s.logged(`warning: process .*/foreign pid ` + pid + ` exit status 4\n`)
	if got := s.dial("public/good").ask("x"); got == pid {
		t.Error("the dead process answers")
	}
	if content, _ := os.ReadFile(s.in.Log()); bytes.Contains(content, []byte("foreign: bad command")) {
		t.Error("a program that had worked was throttled")
	}
}

func TestWakeup(t *testing.T) {
	s := newSystem(t, "svc unix n - n 1 1 wakes\n", nil)
	s.start("-d")
	woken := filepath.Join(s.in.Queue(), "woken")
	for range 2 {
		var got []byte
		for deadline := time.Now().Add(patience); len(got) == 0 && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
			got, _ = os.ReadFile(woken)
		}
		if len(got) == 0 || got[0] != 'W' {
			t.Fatalf("wakeup call %q", got)
		}
		os.Remove(woken)
	}
}

// What a reload takes out of master.cf ends.
func TestReloadRemoves(t *testing.T) {
	s := newSystem(t, "old unix n - n - - foreign\n", nil)
	s.start("-d")
	c := s.dial("public/old")
	c.ask("x")
	s.write("master.cf", "new unix n - n - - ours\n")
	s.signal(syscall.SIGHUP)
	if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the old service goes on: %v", err)
	}
	s.logged(`reload -- version `)
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if _, err := os.Lstat(filepath.Join(s.in.Queue(), "public/new")); err == nil {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("no new service")
		}
	}
	s.dial("public/new").ask("x")
	content, _ := os.ReadFile(s.in.Log())
	if bytes.Contains(content, []byte("killed by signal")) {
		t.Errorf("master complains about what it did itself:\n%s", content)
	}
}

// Settings for all programs that do nothing in this version are told at start
// and at a reload, once each.
func TestIneffectiveSettings(t *testing.T) {
	s := newSystem(t, "svc unix n - n - - foreign\n", map[string]string{"berkeley_db_read_buffer_size": "5", "qmqpd_timeout": "7s"})
	s.start("-d")
	s.logged(`]: warning: .*/etc/main.cf: berkeley_db_read_buffer_size is set, but tables are written and read without the Berkeley DB library\n`)
	s.dial("public/svc").ask("x")
	content, err := os.ReadFile(s.in.Log())
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(content, []byte(" set, but ")); n != 1 {
		t.Errorf("%d warnings:\n%s", n, content)
	}
}

// A mistake in master.cf ends master with the words of Postfix.
func TestBadConfiguration(t *testing.T) {
	for text, want := range map[string]string{
		"x unix n - n - - foreign\ny unix n - n - q foreign\n": `fatal: .*/etc/master.cf: line 2: field "max_proc": bad value: "q"`,
		"127.0.0.1:nonesuch inet n - n - - foreign\n":          `fatal: 127.0.0.1:nonesuch: Servname not supported for ai_socktype`,
		strings.Repeat("x", 120) + " unix - - n - - foreign\n": `fatal: unix-domain name too long: private/x+`,
	} {
		s := newSystem(t, text, nil)
		err := s.command("-d").Run()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Errorf("%q: %v", text, err)
		}
		s.logged(want)
	}
}

// The daemon detaches itself, keeps others out, and ends with all its children.
func TestLife(t *testing.T) {
	s := newSystem(t, "svc unix n - n - - foreign\n", nil)
	if out, err := s.command("-t").CombinedOutput(); err != nil {
		t.Fatalf("test before start: %v %s", err, out)
	}
	if out, err := s.command("-w").CombinedOutput(); err != nil {
		content, _ := os.ReadFile(s.in.Log())
		t.Fatalf("start: %v %s\n%s", err, out, content)
	}
	content, err := os.ReadFile(filepath.Join(s.in.Queue(), "pid/master.pid"))
	if err != nil || len(content) != 33 || content[32] != '\n' {
		t.Fatalf("%q %v", content, err)
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(content)))
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Kill(-pid, syscall.SIGKILL)
	if group, err := unix.Getpgid(pid); err != nil || group != pid {
		t.Errorf("process group %d, %v", group, err)
	}
	c := s.dial("public/svc")
	child, err := strconv.Atoi(c.ask("x"))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.command("-t").Run(); err == nil {
		t.Error("test while running: success")
	}
	if err := s.command("-w").Run(); err == nil {
		t.Error("a second master started")
	}
	s.logged(`fatal: open lock file pid/master.pid: unable to set exclusive lock: Resource temporarily unavailable`)
	if err := syscall.Kill(pid, syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if _, err := c.r.ReadByte(); !errors.Is(err, io.EOF) {
		t.Errorf("the client is still served: %v", err)
	}
	s.logged(`terminating on signal 15`)
	for deadline := time.Now().Add(patience); syscall.Kill(child, 0) == nil && !zombie(child) && time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
	}
	if err := syscall.Kill(child, 0); err == nil && !zombie(child) {
		t.Error("a child lives on")
	}
}

func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return true
	}
	i := bytes.LastIndexByte(stat, ')')
	return i >= 0 && len(stat) > i+2 && stat[i+2] == 'Z'
}

func TestLifetime(t *testing.T) {
	s := newSystem(t, "svc unix n - n - - foreign\n", nil)
	s.start("-d", "-e", "1")
	if err := <-s.done; err != nil {
		t.Error(err)
	}
	s.logged("master exit time has arrived")
}

// Others than root and mail_owner are kept out.
func TestStranger(t *testing.T) {
	s := newSystem(t, "svc unix n - n - - foreign\n", nil)
	cmd := s.command("-d")
	if os.Getuid() == 0 {
		u, err := account.Lookup("daemon")
		if err != nil {
			t.Fatal(err)
		}
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: u.Credential()}
		if err := os.Chmod(filepath.Dir(s.in.Log()), 0o777); err != nil {
			t.Fatal(err)
		}
	} else {
		s = newSystem(t, "svc unix n - n - - foreign\n", map[string]string{"mail_owner": "daemon", "default_privs": "nobody", "setgid_group": "mail"})
		cmd = s.command("-d")
	}
	if err := cmd.Run(); err == nil {
		t.Error("a stranger started master")
	}
	s.logged("fatal: the master command is reserved for the superuser")
}

func TestUsage(t *testing.T) {
	for args, want := range map[string]string{
		"-x": "usage: ", "word": "usage: ", "-e x": "usage: ",
		"-i": "-i is allowed only for PID 1 process", "-t -w": "the -t and -w options cannot be used together",
	} {
		_, err := parse(strings.Fields(args))
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v", args, err)
		}
	}
}
