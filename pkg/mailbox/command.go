package mailbox

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"suffix/pkg/deliver"
	"suffix/pkg/dsn"
	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
)

// maxOutput is how much of a command's output is kept.
const maxOutput = 4096

// A Command is an external program that takes a message on standard input
// (spec delivery §7).
type Command struct {
	Program string   // name of the agent, for error texts
	Text    string   // the command as the user wrote it
	Argv    []string // what to run; empty: Text, directly where it is simple enough, else by a shell
	Shell   string   // local_command_shell, in front of Text
	Dir     string
	Chroot  string
	UID     int
	GID     int
	Env     []string
	Limit   time.Duration // for each of writing, reading and waiting
}

// directly lists what a command may consist of to be run without a shell.
const directly = "1234567890!@%-_=+:,./abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ \t"

// argv decides how the command is run.
func (c *Command) argv() []string {
	if len(c.Argv) > 0 {
		return c.Argv
	}
	if c.Shell != "" {
		return append(strings.Fields(c.Shell), c.Text)
	}
	simple := strings.Trim(c.Text, directly) == ""
	if words := strings.Fields(c.Text); simple && len(words) > 0 {
		if strings.Contains(words[0], "/") || c.inPath(words[0]) {
			return words
		}
	}
	return []string{"/bin/sh", "-c", c.Text}
}

// DefaultPath is where commands are searched.
const DefaultPath = "/usr/bin:/bin"

func (c *Command) inPath(name string) bool {
	_, err := lookPath(name)
	return err == nil
}

func lookPath(name string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for dir := range strings.SplitSeq(DefaultPath, ":") {
		path := dir + "/" + name
		if info, err := os.Stat(path); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fs.ErrNotExist
}

// Run feeds the message to the command. The DSN describes a failure; output is
// what the command said, on success too.
func (c *Command) Run(ctx context.Context, r *deliver.Request, o CopyOptions) (output string, d dsn.DSN, err error) {
	argv := c.argv()
	child := exec.Cmd{Path: argv[0], Args: argv, Dir: c.Dir, Env: c.Env}
	if path, err := lookPath(argv[0]); err == nil {
		child.Path = path
	}
	child.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Chroot: c.Chroot}
	if os.Geteuid() == 0 {
		child.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(c.UID), Gid: uint32(c.GID), Groups: []uint32{uint32(c.GID)}}
	}
	stdin, childIn, err := pipeTo()
	if err != nil {
		return "", dsn.DSN{Status: "4.3.0", Reason: "Delivery failed: " + syserr.Text(err)}, err
	}
	defer stdin.Close()
	stdout, childOut, err := pipeFrom()
	if err != nil {
		childIn.Close()
		return "", dsn.DSN{Status: "4.3.0", Reason: "Delivery failed: " + syserr.Text(err)}, err
	}
	defer stdout.Close()
	child.Stdin, child.Stdout, child.Stderr = childIn, childOut, childOut
	err = child.Start()
	childIn.Close()
	childOut.Close()
	if err != nil {
		return c.notStarted(argv[0], err)
	}
	return c.converse(ctx, &child, stdin, stdout, r, o)
}

func pipeTo() (write, read *os.File, err error) {
	read, write, err = os.Pipe()
	return write, read, err
}

// pipeFrom makes the pipe for output. The child does not wait for somebody to
// read it: what the pipe cannot hold is lost to it.
func pipeFrom() (read, write *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, os.NewSyscallError("pipe2", err)
	}
	// Package os knows the writing end as a blocking one, and leaves its mode
	// alone when it hands it to the child.
	write = os.NewFile(uintptr(fds[1]), "output")
	for _, fd := range fds {
		if err := unix.SetNonblock(fd, true); err != nil {
			unix.Close(fds[0])
			write.Close()
			return nil, nil, os.NewSyscallError("fcntl", err)
		}
	}
	return os.NewFile(uintptr(fds[0]), "output"), write, nil
}

// notStarted words the failure as the child process of Postfix would, which
// exits with "temporary failure".
func (c *Command) notStarted(name string, err error) (string, dsn.DSN, error) {
	if errors.Is(err, syscall.EAGAIN) || errors.Is(err, syscall.ENOMEM) {
		maillog.Warnf("fork: %s", syserr.Text(err))
		return "", dsn.DSN{Status: "4.3.0", Reason: "Delivery failed: " + syserr.Text(err)}, err
	}
	why := fmt.Sprintf("%s: fatal: execvp %s: %s ", c.Program, name, syserr.Text(err))
	var pathErr *fs.PathError
	if errors.As(err, &pathErr) && pathErr.Op == "chdir" {
		why = fmt.Sprintf("%s: fatal: cannot change directory to \"%s\" for uid=%d gid=%d: %s ", c.Program, c.Dir, c.UID, c.GID, syserr.Text(err))
	}
	return why, exitDSN(75, why), err
}

// converse writes the message, reads the output and waits, each within the
// time limit.
func (c *Command) converse(ctx context.Context, child *exec.Cmd, stdin, stdout *os.File, r *deliver.Request, o CopyOptions) (string, dsn.DSN, error) {
	// A process group is killed only while its first process is there: after
	// that, its number may belong to others.
	var mu sync.Mutex
	reaped := false
	timedOut := false
	kill := func(late bool) {
		mu.Lock()
		defer mu.Unlock()
		if reaped {
			return
		}
		timedOut = timedOut || late
		if err := syscall.Kill(-child.Process.Pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			maillog.Warnf("kill process group %d: %s", child.Process.Pid, syserr.Text(err))
		}
	}
	wait := func() error {
		exited(child.Process.Pid)
		mu.Lock()
		defer mu.Unlock()
		reaped = true
		return child.Wait()
	}
	defer func() {
		if !reaped { // a panic
			kill(false)
			_ = wait()
		}
	}()
	stop := context.AfterFunc(ctx, func() { kill(false) })
	defer stop()

	expired := false
	expire := func(what string) {
		maillog.Warnf("%s", what)
		expired = true
		kill(true)
	}
	copyErr := Copy(&deadlineWriter{stdin, c.Limit}, r, o)
	stdin.Close()
	if errors.Is(copyErr, os.ErrDeadlineExceeded) {
		expire("pipe_command_write: write time limit exceeded")
	}
	output, err := readOutput(stdout, c.Limit)
	if errors.Is(err, os.ErrDeadlineExceeded) && !expired {
		expire("pipe_command_read: read time limit exceeded")
	}
	waiter := time.AfterFunc(c.Limit, func() {
		maillog.Warnf("pipe_command_wait_or_kill: child wait time limit exceeded")
		kill(true)
	})
	waitErr := wait()
	waiter.Stop()
	return c.result(child, waitErr, timedOut, copyErr, output)
}

// exited returns when a child has ended, and leaves it to be reaped.
func exited(pid int) {
	for unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil) == unix.EINTR {
	}
}

func (c *Command) result(child *exec.Cmd, waitErr error, timedOut bool, copyErr error, output string) (string, dsn.DSN, error) {
	name := c.Text
	if len(c.Argv) > 0 {
		name = c.Argv[0]
	}
	plus := ""
	if output != "" {
		plus = ". Command output: " + output
	}
	fail := func(status, reason, standard string) (string, dsn.DSN, error) {
		d := dsn.DSN{Status: status, Reason: reason, DiagType: "x-unix", DiagText: output}
		if output == "" {
			d.DiagText = standard
		}
		return output, d, errors.New(reason)
	}
	status, _ := child.ProcessState.Sys().(syscall.WaitStatus)
	var copyFailure *CopyError
	errors.As(copyErr, &copyFailure)
	switch {
	case timedOut:
		return fail("5.3.0", fmt.Sprintf("Command time limit exceeded: \"%s\"%s", name, plus), "internal software error")
	case status.Signaled():
		return fail("4.3.0", fmt.Sprintf("Command died with signal %d: \"%s\"%s", status.Signal(), name, plus), "internal software error")
	case status.ExitStatus() > 0:
		if dsn.Valid(output) {
			code, text := dsn.Split(output, "")
			return output, dsn.DSN{Status: code, Reason: text, DiagType: "x-unix", DiagText: text}, errors.New(text)
		}
		if _, ok := exitTexts[status.ExitStatus()]; ok {
			return output, exitDSN(status.ExitStatus(), output), errors.New("command failed")
		}
		return fail("5.3.0", fmt.Sprintf("Command died with status %d: \"%s\"%s", status.ExitStatus(), name, plus),
			fmt.Sprintf("unknown mail system error %d", status.ExitStatus()))
	case copyFailure != nil && copyFailure.Corrupt:
		return output, dsn.DSN{}, copyErr
	case copyFailure != nil && !errors.Is(copyErr, syscall.EPIPE):
		d := copyFailure.DSN()
		d.Reason = fmt.Sprintf("Command failed: %s: \"%s\"", d.Reason, name)
		return output, d, copyErr
	case copyErr != nil && copyFailure == nil:
		return fail("4.3.0", "Command failed: "+syserr.Text(copyErr), "internal software error")
	case waitErr != nil && !child.ProcessState.Success():
		return fail("4.3.0", "Delivery failed: "+waitErr.Error(), "internal software error")
	}
	return output, dsn.DSN{}, nil
}

// deadlineWriter gives every write the time limit. EPIPE is the copier's to
// report: a command need not read its input.
type deadlineWriter struct {
	f     *os.File
	limit time.Duration
}

func (w *deadlineWriter) Write(b []byte) (int, error) {
	if err := w.f.SetWriteDeadline(time.Now().Add(w.limit)); err != nil {
		return 0, err
	}
	return w.f.Write(b)
}

// readOutput reads up to maxOutput bytes, with everything unprintable replaced.
func readOutput(f *os.File, limit time.Duration) (string, error) {
	buf := make([]byte, maxOutput)
	n := 0
	var err error
	for n < len(buf) && err == nil {
		if err = f.SetReadDeadline(time.Now().Add(limit)); err != nil {
			break
		}
		var m int
		m, err = f.Read(buf[n:])
		n += m
	}
	for i, b := range buf[:n] {
		switch {
		case b == '\t' || b == '\n':
			buf[i] = ' '
		case b < ' ' || b > '~':
			buf[i] = '_'
		}
	}
	if err == io.EOF {
		err = nil
	}
	return string(buf[:n]), err
}

// exitTexts are the meanings of exit codes 64 to 78 (sysexits.h).
var exitTexts = map[int]struct{ status, text string }{
	64: {"5.3.0", "command line usage error"},
	65: {"5.6.0", "data format error"},
	66: {"5.3.0", "cannot open input"},
	67: {"5.1.1", "user unknown"},
	68: {"5.1.2", "host name unknown"},
	69: {"5.3.0", "service unavailable"},
	70: {"5.3.0", "internal software error"},
	71: {"4.3.0", "system resource problem"},
	72: {"5.3.0", "critical OS file missing"},
	73: {"5.2.0", "can't create user output file"},
	74: {"5.3.0", "input/output error"},
	75: {"4.3.0", "temporary failure"},
	76: {"5.5.0", "remote error in protocol"},
	77: {"5.7.0", "permission denied"},
	78: {"5.3.5", "local configuration error"},
}

func exitDSN(code int, output string) dsn.DSN {
	t := exitTexts[code]
	d := dsn.DSN{Status: t.status, Reason: t.text, DiagType: "x-unix", DiagText: t.text}
	if output != "" {
		d.Reason, d.DiagText = t.text+". Command output: "+output, output
	}
	return d
}

// ExportEnvironment builds the environment of a command from a list such as
// export_environment: a name keeps the variable, name=value sets it.
func ExportEnvironment(list []string) []string {
	var env []string
	for _, item := range list {
		if strings.Contains(item, "=") {
			env = append(env, item)
		} else if value, ok := os.LookupEnv(item); ok {
			env = append(env, item+"="+value)
		}
	}
	return append(env, "PATH="+DefaultPath)
}
