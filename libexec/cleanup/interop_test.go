//go:build interop

package cleanup_test

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"suffix/libexec/cleanup"
	"suffix/libexec/pickup"
	"suffix/pkg/account"
	"suffix/pkg/record"
)

// The test binary is our cleanup and pickup when it is started by their names.
func TestMain(m *testing.M) {
	switch filepath.Base(os.Args[0]) {
	case "cleanup":
		cleanup.Main()
	case "pickup":
		pickup.Main()
	}
	os.Exit(m.Run())
}

const realSbin = "/usr/lib/postfix/sbin/"

// ourPrograms makes a directory with everything of ours that takes part.
func ourPrograms(t *testing.T) string {
	dir := t.TempDir()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"cleanup", "pickup"} {
		if err := os.Symlink(self, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"postdrop", "sendmail"} {
		out, err := exec.Command("go", "build", "-o", filepath.Join(dir, name), "suffix/cmd/"+name).CombinedOutput()
		if err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	return dir
}

// site is a private mail system without a master.
type site struct {
	t    *testing.T
	dir  string
	ours string // our programs
	env  []string
}

func newSite(t *testing.T, programs string) *site {
	s := &site{t: t, dir: t.TempDir(), ours: programs}
	owner, err := account.Lookup("postfix")
	if err != nil {
		t.Fatal(err)
	}
	for _, dir := range []string{filepath.Dir(s.dir), s.dir, s.ours} {
		if err := os.Chmod(dir, 0755); err != nil {
			t.Fatal(err)
		}
	}
	for _, d := range []string{"incoming", "hold", "maildrop", "defer", "bounce", "trace", "public", "private", "pid", "active", "deferred", "corrupt", "saved", "flush", "data", "etc"} {
		if err := os.Mkdir(filepath.Join(s.dir, d), 0755); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(filepath.Join(s.dir, d), owner.UID, 0); err != nil {
			t.Fatal(err)
		}
	}
	s.write("etc/master.cf", "")
	s.write("log", "")
	if err := os.Chown(filepath.Join(s.dir, "log"), owner.UID, 0); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) write(name, text string) {
	s.t.Helper()
	path := filepath.Join(s.dir, name)
	if err := os.WriteFile(path, []byte(text), 0644); err != nil {
		s.t.Fatal(err)
	}
	// A main.cf that was just edited would be read again and again for a while.
	if err := os.Chtimes(path, time.Unix(1e9, 0), time.Unix(1e9, 0)); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) configure(commands, extra string) {
	s.write("etc/main.cf", fmt.Sprintf(`compatibility_level = 3.6
queue_directory = %[1]s
data_directory = %[1]s/data
command_directory = %[2]s
myhostname = mx.example.test
mydestination = $myhostname
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
maillog_file = %[1]s/log
maillog_file_prefixes = %[1]s
suffix_dialect = 3.7
%[3]s
`, s.dir, commands, extra))
}

// daemon runs a program as master would, until the test ends.
func (s *site) daemon(path, service, class, kind string, args ...string) {
	s.t.Helper()
	socket := filepath.Join(s.dir, class, service)
	os.Remove(socket)
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: socket})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chmod(socket, 0666); err != nil {
		s.t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	listen, err := l.File()
	if err != nil {
		s.t.Fatal(err)
	}
	var flow [2]int
	if err := syscall.Pipe2(flow[:], syscall.O_NONBLOCK|syscall.O_CLOEXEC); err != nil {
		s.t.Fatal(err)
	}
	flowRead, flowWrite := os.NewFile(uintptr(flow[0]), "flow"), os.NewFile(uintptr(flow[1]), "flow")
	if _, err := flowWrite.Write(bytes.Repeat([]byte("x"), 1000)); err != nil {
		s.t.Fatal(err)
	}
	pair, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	status, peer := os.NewFile(uintptr(pair[0]), "status"), os.NewFile(uintptr(pair[1]), "status")
	cmd := exec.Command(path, append([]string{"-n", service, "-t", "unix", "-u"}, args...)...)
	cmd.Dir = s.dir
	cmd.Env = append([]string{"MAIL_CONFIG=" + s.dir + "/etc", "GENERATION=1", "MAIL_LOGTAG=postfix", "PATH=/usr/bin:/bin"}, s.env...)
	cmd.ExtraFiles = []*os.File{flowRead, flowWrite, peer, listen}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	peer.Close()
	go func() {
		b := make([]byte, 100)
		for {
			if _, err := status.Read(b); err != nil {
				return
			}
		}
	}()
	s.t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		status.Close()
		l.Close()
	})
}

// sink accepts triggers.
func (s *site) sink(name string) {
	socket := filepath.Join(s.dir, "public", name)
	l, err := net.Listen("unix", socket)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := os.Chmod(socket, 0666); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			c.Close()
		}
	}()
	s.t.Cleanup(func() { l.Close() })
}

// take waits for one message in the incoming queue and shows it, masked.
func (s *site) take() string {
	deadline := time.Now().Add(10 * time.Second)
	for time.Now().Before(deadline) {
		names, err := filepath.Glob(filepath.Join(s.dir, "incoming", "*"))
		if err != nil {
			s.t.Fatal(err)
		}
		if len(names) == 1 {
			if info, err := os.Stat(names[0]); err == nil && info.Mode() == 0700 {
				text := s.show(names[0])
				os.Remove(names[0])
				return text
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	s.t.Fatalf("no message; log:\n%s", log)
	return ""
}

var masks = []struct {
	re   *regexp.Regexp
	with string
}{
	{regexp.MustCompile(`(?m)^T \d+ \d+$`), "T NOW"},
	{regexp.MustCompile(`create_time=\d+`), "create_time=NOW"},
	{regexp.MustCompile(`\w{3}, [ \d]\d \w{3} \d{4} \d\d:\d\d:\d\d \+0000 \(UTC\)`), "DATE"},
	{regexp.MustCompile(`<\d{14}\.`), "<TIME."},
}

// show lists all records. The only offset in them, where the content begins,
// is checked and not shown: it depends on the digits of the arrival time.
func (s *site) show(path string) string {
	f, err := os.Open(path)
	if err != nil {
		s.t.Fatal(err)
	}
	defer f.Close()
	r := record.NewFileReader(f, path)
	r.Raw = true
	var b strings.Builder
	var sizes record.Sizes
	var content int64
	for {
		t, data, err := r.Next()
		if err != nil {
			break
		}
		switch t {
		case record.Size:
			if sizes, _, err = record.ParseSizes(data); err != nil || len(data) != record.SizeLength {
				s.t.Errorf("size record %q: %v", data, err)
			}
			content = sizes.Offset
			sizes.Offset = 0
			data = fmt.Appendf(nil, "%+v", sizes)
		case record.Content:
			if content != r.NextOffset() {
				s.t.Errorf("content at %d, size record says %d", r.NextOffset(), content)
			}
		}
		fmt.Fprintf(&b, "%c %s\n", t, data)
	}
	text := strings.ReplaceAll(b.String(), filepath.Base(path), "QUEUEID")
	for _, m := range masks {
		text = m.re.ReplaceAllString(text, m.with)
	}
	return text
}

var messages = []struct {
	args    []string
	content string
}{
	{[]string{"user"}, "Subject: hi\n\nbody\n"},
	{[]string{"-f", "a b@c", "-F", "Joe User", "x@y.test", "Name <z>"}, "To: x, y\nCc: Full Name <z>,\n\tgrp:a,b;\nSubject: s\n\n.\n"},
	{[]string{"-t", "-i"}, "To: a, b\nBcc: c\nResent-To: d\n\n.\n.\nlast"},
	{[]string{"-N", "failure,delay", "-R", "hdrs", "-V", "env id", "-B", "8BITMIME", "q@r"}, "From: me\n\nlong " + strings.Repeat("x", 5000) + "\n"},
	{[]string{"-f", "<>", "nobody"}, " starts with space\n"},
	{[]string{"-XV+=", "-f", "s@t", "r"}, "Message-Id: <a@b>\nDate: now\nContent-Type: multipart/mixed; boundary=b\n\n--b\nX: y\n\ntext\n--b--\n"},
	{[]string{"-v", "v"}, ""},
	{[]string{"-bv", "w"}, ""},
	{[]string{"u"}, strings.Repeat("line of text\r\n", 20000)},
}

// Where pickup does cleanup's work the log shows both.
func (s *site) checkLog() {
	log, err := os.ReadFile(filepath.Join(s.dir, "log"))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, want := range []string{"postfix/pickup[", "postfix/cleanup["} {
		if strings.Count(string(log), want) < len(messages) {
			s.t.Errorf("log lacks %s:\n%s", want, log)
		}
	}
}

// Each of postdrop, pickup and cleanup is Postfix's or ours; the messages that
// come out are the same, byte for byte.
func TestChain(t *testing.T) {
	if os.Getuid() != 0 {
		t.Fatal("the programs of Postfix must be run as root")
	}
	programs := ourPrograms(t)
	var want []string
	for combination := range 9 {
		name := fmt.Sprintf("ours=%03b", combination)
		inProcess := combination == 8
		if inProcess {
			name, combination = "in-process", 7
		}
		t.Run(name, func(t *testing.T) {
			s := newSite(t, programs)
			sbin := func(bit int, program string) string {
				if combination>>bit&1 != 0 {
					return filepath.Join(s.ours, program)
				}
				return realSbin + program
			}
			commands, sendmail := "/usr/sbin", "/usr/sbin/sendmail"
			if combination>>2&1 != 0 {
				commands, sendmail = s.ours, filepath.Join(s.ours, "sendmail")
			}
			s.configure(commands, "virtual_alias_maps = inline:{{user@mx.example.test = one@mx.example.test, two@else.test}}")
			s.daemon(realSbin+"trivial-rewrite", "rewrite", "private", "unix")
			if inProcess {
				s.env = []string{"SUFFIX_SESSION_LIMIT=1", "SUFFIX_INPROCESS=public/cleanup=cleanup"}
			} else {
				s.daemon(sbin(0, "cleanup"), "cleanup", "public", "unix", "-z")
			}
			s.daemon(sbin(1, "pickup"), "pickup", "public", "unix", "-l")
			s.sink("qmgr")
			for i, m := range messages {
				cmd := exec.Command(sendmail, m.args...)
				cmd.Env = []string{"MAIL_CONFIG=" + s.dir + "/etc", "PATH=/usr/bin:/bin"}
				cmd.Stdin = strings.NewReader(m.content)
				if out, err := cmd.CombinedOutput(); err != nil {
					t.Fatalf("%v: %v: %s", m.args, err, out)
				}
				got := s.take()
				if combination == 0 {
					want = append(want, got)
				} else if got != want[i] {
					t.Errorf("%v: %s", m.args, difference(got, want[i]))
				}
			}
			if inProcess {
				s.checkLog()
			}
		})
	}
}

// difference shows the first line in which two listings differ.
func difference(got, want string) string {
	a, b := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range min(len(a), len(b)) {
		if a[i] != b[i] {
			return fmt.Sprintf("line %d is %q, want %q", i+1, a[i], b[i])
		}
	}
	return fmt.Sprintf("%d lines, want %d", len(a), len(b))
}
