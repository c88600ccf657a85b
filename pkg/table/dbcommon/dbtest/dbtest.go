// Package dbtest helps the tests of tables that ask a server: it writes client
// files, starts private servers, and runs postmap(1), ours and Debian's, with
// the same arguments.
package dbtest

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"suffix/pkg/table/clienttest"
)

// Write writes a file that looks old: a young one is read again and again until
// it is sure to be whole.
func Write(t testing.TB, path, text string) string {
	t.Helper()
	if err := write(path, text); err != nil {
		t.Fatal(err)
	}
	return path
}

func write(path, text string) error {
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return err
	}
	old := time.Unix(1e9, 0)
	return os.Chtimes(path, old, old)
}

// A Result is what a run of postmap(1) showed.
type Result struct {
	Stdout, Stderr string
	Status         int
}

func (r Result) String() string {
	return fmt.Sprintf("stdout %q\nstderr %q\nstatus %d", r.Stdout, r.Stderr, r.Status)
}

// runPostmap runs a program as postmap in dir, with a main.cf of its own.
func runPostmap(program, dir, name, settings, stdin string, args []string, env ...string) (Result, error) {
	conf := filepath.Join(dir, name)
	if err := os.MkdirAll(conf, 0o755); err != nil {
		return Result{}, err
	}
	err := write(conf+"/main.cf", "compatibility_level = 3.6\nmyhostname = host.example\nmaillog_file = "+conf+"/log\nmaillog_file_prefixes = "+dir+"\n"+settings)
	if err != nil {
		return Result{}, err
	}
	cmd := exec.Command(program, args...)
	cmd.Args[0] = "postmap"
	cmd.Dir = dir
	cmd.Env = append([]string{"MAIL_CONFIG=" + conf, "PATH=/bin:/usr/bin", "HOME=" + dir}, env...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, messages bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &messages
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		return Result{}, err
	}
	return Result{out.String(), messages.String(), cmd.ProcessState.ExitCode()}, nil
}

// A Case is a run of both postmaps.
type Case struct {
	Client   string // text of the client file; "": there is none
	Settings string // lines of main.cf
	Stdin    string
	Args     []string // FILE stands for the path of the client file
}

// Compare runs all cases and reports those where Debian's postmap and ours
// differ in what same makes of their results. It returns what Debian's showed.
func Compare(t *testing.T, cases []Case, same func(Result) string) []Result {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	results := make([]Result, len(cases))
	work := make(chan int)
	var workers sync.WaitGroup
	// A command that fails sleeps for a second.
	for range 16 {
		workers.Add(1)
		go func() {
			defer workers.Done()
			for i := range work {
				c := cases[i]
				dir := filepath.Join(root, strconv.Itoa(i))
				if err := os.Mkdir(dir, 0o755); err != nil {
					t.Error(err)
					continue
				}
				file := dir + "/client.cf"
				if c.Client != "" {
					if err := write(file, c.Client); err != nil {
						t.Error(err)
						continue
					}
				}
				var args []string
				for _, arg := range c.Args {
					args = append(args, strings.ReplaceAll(arg, "FILE", file))
				}
				debian, err := runPostmap("/usr/sbin/postmap", dir, "debian", c.Settings, c.Stdin, args)
				if err != nil {
					t.Error(err)
					continue
				}
				ours, err := runPostmap(self, dir, "ours", "suffix_dialect = 3.7\n"+c.Settings, c.Stdin, args, clienttest.AsPostmap+"=1")
				if err != nil {
					t.Error(err)
					continue
				}
				if d, o := same(debian), same(ours); d != o {
					t.Errorf("postmap %q\n%s\nDebian: %s\nours:   %s", args, c.Client, d, o)
				}
				results[i] = debian
			}
		}()
	}
	for i := range cases {
		work <- i
	}
	close(work)
	workers.Wait()
	return results
}

// A Server is a private database server.
type Server struct {
	Dir   string // writable for the server's account
	cmd   *exec.Cmd
	log   *os.File
	ended chan struct{}
	err   error
}

// NewServer makes a directory for a server that runs as the named account
// where the test is root.
func NewServer(account string) (*Server, error) {
	dir, err := os.MkdirTemp("", "suffix-"+account+"-")
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir}
	if err := os.Chmod(dir, 0o755); err != nil {
		return s, err
	}
	if c := credential(account); c != nil {
		return s, os.Chown(dir, int(c.Uid), int(c.Gid))
	}
	return s, nil
}

func credential(account string) *syscall.Credential {
	u, err := user.Lookup(account)
	if os.Geteuid() != 0 || err != nil {
		return nil
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	return &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
}

// Run runs a program to its end as the server's account.
func (s *Server) Run(account, program string, args ...string) error {
	cmd := exec.Command(program, args...)
	cmd.Dir = s.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(account)}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, out)
	}
	return nil
}

// Start starts the server and waits until ready returns nil.
func (s *Server) Start(account string, ready func() error, program string, args ...string) error {
	if s.log == nil {
		log, err := os.Create(filepath.Join(s.Dir, "log"))
		if err != nil {
			return err
		}
		s.log = log
	}
	s.cmd = exec.Command(program, args...)
	s.cmd.Dir, s.cmd.Stdout, s.cmd.Stderr = s.Dir, s.log, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Credential: credential(account), Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	s.ended = make(chan struct{})
	go func(cmd *exec.Cmd, ended chan struct{}) {
		// The server is killed when the thread that started it ends.
		runtime.LockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			s.err = cmd.Wait()
			close(ended)
		}
	}(s.cmd, s.ended)
	if err := <-started; err != nil {
		s.cmd = nil
		return err
	}
	deadline := time.Now().Add(2 * time.Minute)
	for {
		err := ready()
		if err == nil {
			return nil
		}
		select {
		case <-s.ended:
			text, _ := os.ReadFile(s.log.Name())
			return fmt.Errorf("%s ended: %v: %s", program, s.err, text)
		case <-time.After(20 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s is not ready: %w", program, err)
		}
	}
}

// Kill ends the server process with a signal.
func (s *Server) Kill(signal os.Signal) {
	if s.cmd != nil {
		_ = s.cmd.Process.Signal(signal) // it may have ended
		<-s.ended
		s.cmd = nil
	}
}

// signal ends a server at once: postgres wants to tell its children.
func (s *Server) signal() os.Signal {
	if s.cmd != nil && strings.HasSuffix(s.cmd.Path, "/postgres") {
		return syscall.SIGQUIT
	}
	return syscall.SIGKILL
}

// Stop ends the server and removes its directory.
func (s *Server) Stop() {
	s.Kill(s.signal())
	if s.log != nil {
		_ = s.log.Close()
	}
	_ = os.RemoveAll(s.Dir)
}

// FreePort returns a TCP port of the loopback address that nobody uses.
func FreePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}
