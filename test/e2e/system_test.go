package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"suffix/test/e2e/peer"
	"suffix/test/instance"
)

// A system is an instance of the mail system under test.
type system struct {
	*instance.Instance
	t     testing.TB // nil for the common one
	sinks []*peer.Sink

	mu   sync.Mutex
	mail map[string]string // messages in the mailbox, by file name
}

// A plan says what is special about an instance.
type plan struct {
	main    map[string]string // DIR/ in values is the directory of the instance
	entries []string
	files   map[string]string // in the configuration directory
}

// Waits poll at this interval, and give up after this time.
const (
	pollInterval = 20 * time.Millisecond
	pollLimit    = 30 * time.Second
)

// poll waits until the condition holds.
func poll(what string, condition func() (bool, error)) error {
	for deadline := time.Now().Add(pollLimit); ; {
		ok, err := condition()
		if ok || err != nil {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s: it did not happen within %v", what, pollLimit)
		}
		time.Sleep(pollInterval)
	}
}

// create makes an instance that does not run yet.
func create(p plan) (*system, error) {
	dir, err := os.MkdirTemp("", "suffix-e2e-")
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, err
	}
	settings := map[string]string{
		"smtpd_error_sleep_time": "0",
		"local_recipient_maps":   "",
		"biff":                   "no",
	}
	for name, value := range p.main {
		settings[name] = strings.ReplaceAll(value, "DIR/", dir+"/")
	}
	in, err := instance.Create(instance.Options{Dir: dir, Bin: bin, Main: settings, Entries: p.entries})
	if err != nil {
		return nil, err
	}
	s := &system{Instance: in, mail: make(map[string]string)}
	for name, text := range p.files {
		if err := s.configure(name, text); err != nil {
			return nil, err
		}
	}
	return s, s.age()
}

// configure writes a file of the configuration.
func (s *system) configure(name, text string) error {
	return os.WriteFile(filepath.Join(s.Config(), name), []byte(text), 0o644)
}

// age makes main.cf look old: programs read a file again that may be in the
// middle of a change.
func (s *system) age() error {
	before := time.Now().Add(-time.Hour)
	return os.Chtimes(filepath.Join(s.Config(), "main.cf"), before, before)
}

// start makes and starts an instance for one test.
func start(t *testing.T, p plan) *system {
	t.Helper()
	s := prepare(t, p)
	if err := s.Start(); err != nil {
		t.Fatal(err, "\n", s.logTail())
	}
	return s
}

// prepare makes an instance for one test. What runs of it at the end of the
// test is stopped, and a panic in its log is a failure.
func prepare(t *testing.T, p plan) *system {
	t.Helper()
	s, err := create(p)
	if err != nil {
		t.Fatal(err)
	}
	s.t = t
	register(s, true)
	t.Cleanup(func() {
		s.kill()
		register(s, false)
		if err := s.healthy(); err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Log(s.logTail())
		}
		if err := os.RemoveAll(s.Dir); err != nil {
			t.Error(err)
		}
	})
	return s
}

// healthy looks for crashes in the log.
func (s *system) healthy() error {
	log, err := os.ReadFile(s.Log())
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for line := range strings.Lines(string(log)) {
		for _, bad := range []string{"]: panic:", "killed by signal", "goroutine ", "watchdog timeout"} {
			if strings.Contains(line, bad) {
				return fmt.Errorf("in the log: %s", line)
			}
		}
	}
	return nil
}

// logTail is the end of the log, for failed tests.
func (s *system) logTail() string {
	log, err := os.ReadFile(s.Log())
	if err != nil {
		return err.Error()
	}
	const most = 20000
	return "end of the log:\n" + string(log[max(0, len(log)-most):])
}

// masterPID finds the running master; 0: there is none.
func (s *system) masterPID() int {
	text, err := os.ReadFile(filepath.Join(s.Queue(), "pid", "master.pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(strings.TrimSpace(string(text)))
	if err != nil || !strings.HasPrefix(commandLine(pid), filepath.Join(bin, "libexec")) {
		return 0
	}
	return pid
}

// kill ends the instance without its help.
func (s *system) kill() {
	pid := s.masterPID()
	if pid == 0 {
		return
	}
	// Master leads a process group, to which all daemons belong.
	if err := syscall.Kill(-pid, syscall.SIGKILL); err != nil {
		return
	}
	for commandLine(pid) != "" || len(childrenOf(pid)) > 0 {
		time.Sleep(pollInterval)
	}
}

// A process that a master started.
type process struct {
	pid  int
	name string // of the program
	args []string
}

func commandLine(pid int) string {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return ""
	}
	return string(b)
}

// childrenOf lists the processes below a master. The process ID in the fourth
// field of the statistics is that of the parent.
func childrenOf(master int) []process {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	var list []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			continue
		}
		_, rest, _ := strings.Cut(string(stat), ") ")
		fields := strings.Fields(rest)
		if len(fields) < 2 || fields[1] != strconv.Itoa(master) || fields[0] == "Z" {
			continue
		}
		args := strings.Split(strings.TrimSuffix(commandLine(pid), "\x00"), "\x00")
		list = append(list, process{pid, filepath.Base(args[0]), args})
	}
	return list
}

// daemons lists the daemons with a program name, "" for all.
func (s *system) daemons(name string) []process {
	var list []process
	for _, p := range childrenOf(s.masterPID()) {
		if name == "" || p.name == name {
			list = append(list, p)
		}
	}
	return list
}

// command runs a program of the suite, which must succeed, and returns what it
// prints.
func (s *system) command(t testing.TB, stdin, name string, args ...string) string {
	t.Helper()
	cmd := s.Command(name, args...)
	cmd.Stdin = strings.NewReader(stdin)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %s: %v\n%s%s", name, strings.Join(args, " "), err, &out, &errs)
	}
	return out.String()
}

// submit gives a message to sendmail.
func (s *system) submit(t testing.TB, content string, args ...string) {
	t.Helper()
	s.command(t, content, "sendmail", args...)
}

// send gives a message to the SMTP server, and returns its queue ID.
func (s *system) send(t testing.TB, from, to, content string) string {
	t.Helper()
	id, err := peer.Send(s.Address(), "<"+from+">", []string{"<" + to + ">"}, content)
	if err != nil {
		t.Fatalf("message from %s for %s: %v", from, to, err)
	}
	return id
}

// dial opens an SMTP session that ends with the test.
func (s *system) dial(t testing.TB) *peer.Client {
	t.Helper()
	c, err := peer.Dial(s.Address())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// must ends the test on an error.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// readMail takes new messages from the mailbox of the virtual domain.
func (s *system) readMail() error {
	dir := filepath.Join(s.Maildir(), "new")
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if _, ok := s.mail[e.Name()]; ok {
			continue
		}
		content, err := os.ReadFile(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		s.mail[e.Name()] = string(content)
	}
	return nil
}

// mailFor lists the messages for an address of the virtual domain.
func (s *system) mailFor(addr string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.readMail(); err != nil {
		return nil, err
	}
	var list []string
	for _, m := range s.mail {
		head, _, _ := strings.Cut(m, "\n\n")
		if strings.Contains(head, "\nDelivered-To: "+addr+"\n") {
			list = append(list, m)
		}
	}
	return list, nil
}

// awaitMail waits for the one message for an address of the virtual domain.
func (s *system) awaitMail(t testing.TB, addr string) string {
	t.Helper()
	return s.awaitMails(t, addr, 1)[0]
}

// awaitMails waits for so many messages for an address.
func (s *system) awaitMails(t testing.TB, addr string, n int) []string {
	t.Helper()
	var list []string
	err := poll(fmt.Sprintf("arrival of %d messages for %s", n, addr), func() (bool, error) {
		var err error
		list, err = s.mailFor(addr)
		return len(list) >= n, err
	})
	if err != nil {
		t.Fatalf("%v (%d are there)\n%s", err, len(list), s.logTail())
	}
	if len(list) > n {
		t.Fatalf("%d messages for %s, want %d", len(list), addr, n)
	}
	return list
}

// logLines lists the records of the log that have a text.
func (s *system) logLines(t testing.TB, text string) []string {
	t.Helper()
	log, err := os.ReadFile(s.Log())
	must(t, err)
	var list []string
	for line := range strings.Lines(string(log)) {
		if strings.Contains(line, text) {
			list = append(list, strings.TrimSuffix(line, "\n"))
		}
	}
	return list
}

// awaitLog waits for a record that matches, and returns it.
func (s *system) awaitLog(t testing.TB, pattern string) string {
	t.Helper()
	re := regexp.MustCompile(`(?m)^.*` + pattern + `.*$`)
	var found string
	err := poll("log record "+pattern, func() (bool, error) {
		log, err := os.ReadFile(s.Log())
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		found = string(re.Find(log))
		return found != "", nil
	})
	if err != nil {
		t.Fatal(err, "\n", s.logTail())
	}
	return found
}

// queued is what "postqueue -j" says of a message.
type queued struct {
	QueueName     string `json:"queue_name"`
	QueueID       string `json:"queue_id"`
	ArrivalTime   int64  `json:"arrival_time"`
	MessageSize   int64  `json:"message_size"`
	ForcedExpire  bool   `json:"forced_expire"`
	Sender        string `json:"sender"`
	RecipientList []struct {
		OrigAddress  string `json:"orig_address"`
		Address      string `json:"address"`
		DelayReason  string `json:"delay_reason"`
		BounceReason string `json:"bounce_reason"`
	} `json:"recipients"`
}

// queue lists the queue with "postqueue -j".
func (s *system) queue() ([]queued, error) {
	out, err := s.Command("postqueue", "-j").Output()
	if err != nil {
		return nil, fmt.Errorf("postqueue -j: %w", err)
	}
	var list []queued
	for line := range bytes.Lines(out) {
		var q queued
		d := json.NewDecoder(bytes.NewReader(line))
		d.DisallowUnknownFields()
		if err := d.Decode(&q); err != nil {
			return nil, fmt.Errorf("postqueue -j printed %s: %w", line, err)
		}
		list = append(list, q)
	}
	return list, nil
}

// awaitQueued waits until a message is in a queue; "" means in none.
func (s *system) awaitQueued(t testing.TB, id, where string) queued {
	t.Helper()
	var found queued
	err := poll(fmt.Sprintf("%s in queue %q", id, where), func() (bool, error) {
		list, err := s.queue()
		if err != nil {
			return false, err
		}
		found = queued{}
		for _, q := range list {
			if q.QueueID == id {
				found = q
			}
		}
		return found.QueueName == where, nil
	})
	if err != nil {
		t.Fatal(err, "\n", s.logTail())
	}
	return found
}

// awaitEmpty waits until nothing is queued.
func (s *system) awaitEmpty(t testing.TB) {
	t.Helper()
	err := poll("empty queue", func() (bool, error) {
		list, err := s.queue()
		return len(list) == 0, err
	})
	if err != nil {
		t.Fatal(err, "\n", s.logTail())
	}
}

// queueFile finds a message file; "" when it is nowhere.
func (s *system) queueFile(id string) string {
	for _, name := range []string{"maildrop", "incoming", "active", "deferred", "hold", "corrupt"} {
		for _, path := range []string{filepath.Join(name, id), filepath.Join(name, id[:1], id)} {
			if _, err := os.Lstat(filepath.Join(s.Queue(), path)); err == nil {
				return path
			}
		}
	}
	return ""
}

// newSink starts a server that lives as long as the test.
func newSink(t testing.TB, o peer.SinkOptions) *peer.Sink {
	t.Helper()
	sink, err := peer.NewSink(o)
	must(t, err)
	t.Cleanup(func() {
		sink.Close()
		for _, f := range sink.Faults() {
			t.Error("the client broke the protocol: ", f)
		}
	})
	return sink
}

// awaitSink waits until a sink has the message for an address.
func (s *system) awaitSink(t testing.TB, sink *peer.Sink, addr string) *peer.Message {
	t.Helper()
	m, err := sink.AwaitRcpt(pollLimit, addr)
	if err != nil {
		t.Fatal(err, "\n", s.logTail())
	}
	return m
}

// status runs a program and returns its output and exit status.
func status(t testing.TB, cmd *exec.Cmd) (string, int) {
	t.Helper()
	text, code, err := output(cmd)
	must(t, err)
	return text, code
}
