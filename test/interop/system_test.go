//go:build interop

package interop

import (
	"bytes"
	"errors"
	"io/fs"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"suffix/pkg/account"
	"suffix/test/instance"
)

// Names that the traffic uses.
const (
	hostname = "mx.interop.test"
	user     = "games" // a system account, with a mailbox in this instance
	other    = "news"  // another, with a .forward file
)

// Limits of the waits, and how often they look.
const (
	waitLimit = 30 * time.Second
	waitPoll  = 25 * time.Millisecond
)

// A system is an instance with its sinks, made of the programs of a choice.
type system struct {
	t      *testing.T
	choice choice
	in     *instance.Instance
	dir    string
	ports  map[string]int // service name to port
	sink   *sink          // with all extensions
	plain  *sink          // without
	lmtp   *sink
	master *exec.Cmd
}

// takenPorts are those that some system of this test run has.
var (
	takenPorts = make(map[int]bool)
	portsMutex sync.Mutex
)

// freePort finds a loopback port that nobody uses, below those that the kernel
// gives to clients.
func freePort(t *testing.T) int {
	t.Helper()
	portsMutex.Lock()
	defer portsMutex.Unlock()
	for range 1000 {
		port := 20000 + rand.IntN(12000)
		if takenPorts[port] {
			continue
		}
		l, err := net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(port))
		if err == nil {
			l.Close()
			takenPorts[port] = true
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// newSystem makes a system; settings are further lines of main.cf.
func newSystem(t *testing.T, c choice, settings map[string]string) *system {
	t.Helper()
	dir, err := os.MkdirTemp(workDir, "")
	check(t, err)
	check(t, os.Chmod(dir, 0o755))
	s := &system{t: t, choice: c, dir: dir}
	t.Cleanup(func() {
		if t.Failed() && os.Getenv("INTEROP_KEEP") != "" {
			keep := filepath.Join(os.Getenv("INTEROP_KEEP"), strings.ReplaceAll(t.Name(), "/", "-"))
			if out, err := exec.Command("cp", "-a", dir, keep).CombinedOutput(); err != nil {
				t.Errorf("%v: %s", err, out)
			}
		}
	})
	s.sink = startSink(t, false, "PIPELINING", "SIZE", "8BITMIME", "DSN", "ENHANCEDSTATUSCODES", "SMTPUTF8")
	s.plain = startSink(t, false, "PIPELINING")
	s.lmtp = startSink(t, true, "PIPELINING", "SIZE", "8BITMIME", "ENHANCEDSTATUSCODES")
	s.ports = map[string]int{"SMTPD": freePort(t), "VERIFY": freePort(t), "LIMIT": freePort(t), "DEAD": freePort(t),
		"SINK": s.sink.port, "PLAIN": s.plain.port, "LMTP": s.lmtp.port}
	s.configure(settings)
	s.makeTables()
	return s
}

func check(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// configure writes main.cf and master.cf, links the programs and makes the
// queue directories.
func (s *system) configure(settings map[string]string) {
	t := s.t
	t.Helper()
	bin := filepath.Join(s.dir, "bin")
	check(t, linkPrograms(bin, s.choice))
	etc := filepath.Join(s.dir, "etc")
	virtual, err := account.Lookup("postfix")
	check(t, err)
	owner := strconv.Itoa(virtual.UID)
	main := map[string]string{
		"compatibility_level": "3.6",
		"suffix_dialect":      "3.7",
		"shlib_directory":     "/usr/lib/postfix",
		"myhostname":          hostname,
		"mydomain":            "interop.test",
		"mydestination":       "$myhostname, localhost",
		"mynetworks":          "127.0.0.0/8",
		"append_dot_mydomain": "no",

		"alias_maps":           "hash:" + etc + "/aliases",
		"alias_database":       "hash:" + etc + "/aliases",
		"local_recipient_maps": "proxy:unix:passwd.byname $alias_maps",
		"mail_spool_directory": s.dir + "/mbox",
		"forward_path":         s.dir + "/forward/$user",
		"recipient_delimiter":  "+",

		"virtual_alias_domains":   "valias.test",
		"virtual_alias_maps":      "proxy:hash:" + etc + "/virtual",
		"virtual_mailbox_domains": "virt.test",
		"virtual_mailbox_maps":    "proxy:hash:" + etc + "/vmailbox",
		"virtual_mailbox_base":    s.dir + "/mail",
		"virtual_uid_maps":        "static:" + owner,
		"virtual_gid_maps":        "static:" + strconv.Itoa(virtual.GID),
		"canonical_maps":          "hash:" + etc + "/canonical",
		"sender_bcc_maps":         "hash:" + etc + "/bcc",
		"transport_maps":          "proxy:hash:" + etc + "/transport",
		"relay_domains":           "relay.test, etrn.test",
		"header_checks":           "regexp:" + etc + "/header_checks",
		"body_checks":             "regexp:" + etc + "/body_checks",

		"smtpd_sender_restrictions":      "check_sender_access hash:" + etc + "/access",
		"smtpd_forbid_bare_newline":      "normalize",
		"smtpd_forbid_unauth_pipelining": "no",
		"smtpd_authorized_xclient_hosts": "127.0.0.1",
		"smtpd_etrn_restrictions":        "permit_mynetworks, reject",
		"address_verify_poll_delay":      "1s",
		"smtp_tls_security_level":        "",
		"smtpd_tls_security_level":       "",
		"anvil_rate_time_unit":           "600s",
		"max_idle":                       "600s",
		// Which session is used again would depend on time.
		"smtp_connection_cache_on_demand": "no",
	}
	for name, value := range settings {
		main[name] = value
	}
	address := func(name string) string { return "127.0.0.1:" + strconv.Itoa(s.ports[name]) }
	s.in, err = instance.Create(instance.Options{Dir: s.dir, Bin: bin, Port: s.ports["SMTPD"], Foreign: true, Main: main, Entries: []string{
		address("VERIFY") + " inet n - n - - smtpd -o smtpd_recipient_restrictions=reject_unverified_recipient,permit_mynetworks,reject",
		address("LIMIT") + " inet n - n - - smtpd -o smtpd_client_connection_rate_limit=2 -o smtpd_client_event_limit_exceptions=",
		"cached unix - - n - - smtp -o smtp_connection_cache_destinations=static:all",
	}})
	check(t, err)
	files := map[string]string{
		"aliases": "team: " + user + ", " + other + ", crowd@sink.test\n" +
			"owner-team: " + user + "\n" +
			"file: " + s.dir + "/out/file\n" +
			"folder: " + s.dir + "/out/folder/\n" +
			"command: \"|(cat; env | grep -v ^_= | sort) >>" + s.dir + "/out/command\"\n" +
			"failing: \"|echo it cannot be; exit 69\"\n" +
			"waiting: \"|exit 75\"\n" +
			"list: :include:" + s.dir + "/etc/list\n" +
			"loop: loop@" + hostname + "\n" +
			"postmaster: root\nroot: " + user + "\nMAILER-DAEMON: postmaster\n",
		"list":      user + "\nlister@sink.test, other@plain.test\n",
		"virtual":   "both@valias.test " + user + ", relayed@sink.test\n@catch.test " + user + "\nchain@valias.test both@valias.test\n",
		"vmailbox":  "folder@virt.test folder/\nmbox@virt.test file\n",
		"canonical": "old@interop.test new@interop.test\n",
		"bcc":       "watched@interop.test " + user + "+watch\n",
		"access":    "held@interop.test HOLD by sender\nrefused@interop.test REJECT go away\nredirected@interop.test REDIRECT " + user + "@" + hostname + "\ndropped@interop.test DISCARD unwanted\n",
		"transport": "sink.test smtp:[127.0.0.1]:" + strconv.Itoa(s.sink.port) + "\n" +
			"plain.test smtp:[127.0.0.1]:" + strconv.Itoa(s.plain.port) + "\n" +
			"etrn.test smtp:[127.0.0.1]:" + strconv.Itoa(s.sink.port) + "\n" +
			"relay.test relay:[127.0.0.1]:" + strconv.Itoa(s.sink.port) + "\n" +
			"cached.test cached:[127.0.0.1]:" + strconv.Itoa(s.sink.port) + "\n" +
			"lmtp.test lmtp:inet:127.0.0.1:" + strconv.Itoa(s.lmtp.port) + "\n" +
			"dead.test smtp:[127.0.0.1]:" + strconv.Itoa(s.ports["DEAD"]) + "\n" +
			"error.test error:5.7.1 nobody here\nretry.test retry:4.4.5 later\ndiscard.test discard:thrown away\n",
		"header_checks": "/^X-Hold:/ HOLD by header\n/^X-Warn: (.*)/ WARN seen $1\n/^X-Change: (.*)/ REPLACE X-Changed: $1\n/^X-Prepend:/ PREPEND X-Before: yes\n/^X-Refuse:/ REJECT not this\n/^X-Drop:/ DISCARD quietly\n/^X-Gone:/ IGNORE\n",
		"body_checks":   "/^forbidden (.*)/ REJECT $1\n/^noted/ INFO there\n",
	}
	for name, content := range files {
		check(t, os.WriteFile(filepath.Join(etc, name), []byte(content), 0o644))
	}
	for _, dir := range []string{"out", "mbox", "forward"} {
		check(t, os.MkdirAll(filepath.Join(s.dir, dir), 0o755))
		check(t, os.Chmod(filepath.Join(s.dir, dir), 0o1777))
	}
	forward := filepath.Join(s.dir, "forward", other)
	check(t, os.WriteFile(forward, []byte("\\"+other+", forwarded@sink.test\n"), 0o644))
	reader, err := account.Lookup(other)
	check(t, err)
	check(t, os.Chown(forward, reader.UID, reader.GID))

	group, err := account.LookupGroup(s.in.Group)
	check(t, err)
	make := func(path string, mode fs.FileMode, uid, gid int) {
		check(t, os.MkdirAll(path, 0o755))
		check(t, os.Chown(path, uid, gid))
		check(t, os.Chmod(path, mode))
	}
	queue, uid := s.in.Queue(), s.in.Owner.UID
	for _, name := range []string{"active", "bounce", "corrupt", "defer", "deferred", "flush", "hold", "incoming", "private", "saved", "trace"} {
		make(filepath.Join(queue, name), 0o700, uid, 0)
	}
	make(filepath.Join(queue, "maildrop"), 0o730, uid, group.GID)
	make(filepath.Join(queue, "public"), 0o710, uid, group.GID)
	make(filepath.Join(queue, "pid"), 0o755, 0, 0)
	make(filepath.Join(s.dir, "data"), 0o700, uid, 0)
}

// makeTables runs the postmap and postalias of the choice.
func (s *system) makeTables() {
	s.t.Helper()
	etc := s.in.Config()
	for _, name := range []string{"virtual", "vmailbox", "canonical", "bcc", "access", "transport"} {
		s.must("postmap", "hash:"+filepath.Join(etc, name))
	}
	s.must("postalias", "hash:"+filepath.Join(etc, "aliases"))
}

// must runs a command that has to succeed, and returns its output.
func (s *system) must(name string, args ...string) string {
	s.t.Helper()
	out, err := s.in.Command(name, args...).CombinedOutput()
	if err != nil {
		s.t.Fatalf("%s %v: %v\n%s\n%s", name, args, err, out, s.logTail())
	}
	return string(out)
}

// start starts master; stop ends it, and happens at the end of the test.
func (s *system) start() {
	t := s.t
	t.Helper()
	s.master = exec.Command(filepath.Join(s.in.Bin, "libexec/master"), "-c", s.in.Config(), "-d")
	s.master.Env = append(os.Environ(), "MAIL_CONFIG="+s.in.Config())
	// It does not outlive a test run that is interrupted.
	s.master.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
	var stderr bytes.Buffer
	s.master.Stderr = &stderr
	s.master.Stdout = &stderr
	check(t, s.master.Start())
	t.Cleanup(s.stop)
	s.await("the sockets", func() bool {
		c, err := net.Dial("unix", filepath.Join(s.in.Queue(), "public/showq"))
		if err != nil {
			return false
		}
		c.Close()
		for _, name := range []string{"SMTPD", "VERIFY", "LIMIT"} {
			l, err := net.Listen("tcp4", "127.0.0.1:"+strconv.Itoa(s.ports[name]))
			if err == nil {
				l.Close()
				return false
			}
		}
		return true
	})
}

// stop ends master and everything it started. It may be called twice.
func (s *system) stop() {
	if s.master == nil {
		return
	}
	t := s.t
	t.Helper()
	group := s.master.Process.Pid
	if err := syscall.Kill(-group, syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	var exit *exec.ExitError
	if err := s.master.Wait(); err != nil && !errors.As(err, &exit) {
		t.Error(err)
	}
	s.master = nil
	for deadline := time.Now().Add(15 * time.Second); len(s.processes()) > 0; time.Sleep(waitPoll) {
		if time.Now().After(deadline) {
			t.Errorf("processes stay after master has ended: %v", s.processes())
			for _, p := range s.processes() {
				if err := syscall.Kill(p.pid, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}
			return
		}
	}
}

// A process of the mail system.
type process struct {
	pid        int
	executable string
	name       string // under which it was started
}

// processes lists those of this system: they work in its queue directory. Not
// all are in master's process group.
func (s *system) processes() []process {
	cwds, _ := filepath.Glob("/proc/[0-9]*/cwd") // the pattern is well-formed
	var list []process
	for _, path := range cwds {
		if cwd, err := os.Readlink(path); err != nil || cwd != s.in.Queue() {
			continue // another's, or it has ended
		}
		dir := filepath.Dir(path)
		pid, err := strconv.Atoi(filepath.Base(dir))
		check(s.t, err)
		executable, err := os.Readlink(filepath.Join(dir, "exe"))
		if err != nil {
			continue
		}
		line, err := os.ReadFile(filepath.Join(dir, "cmdline"))
		if err != nil {
			continue
		}
		name, _, _ := strings.Cut(string(line), "\x00")
		list = append(list, process{pid, executable, filepath.Base(name)})
	}
	return list
}

// running says whether a process of the suite of the choice runs this program
// now.
func (s *system) running(program string) bool {
	s.t.Helper()
	path := theirs[program]
	if s.choice(program) {
		path = ours[program]
	}
	path, err := filepath.EvalSymlinks(path)
	check(s.t, err)
	return slices.ContainsFunc(s.processes(), func(p process) bool { return p.executable == path && p.name == program })
}

// await waits for a condition.
func (s *system) await(what string, condition func() bool) {
	s.t.Helper()
	for deadline := time.Now().Add(waitLimit); !condition(); time.Sleep(waitPoll) {
		if time.Now().After(deadline) {
			s.t.Fatalf("waited in vain for %s\n%s", what, s.logTail())
		}
	}
}

// log returns the lines that were logged so far.
func (s *system) log() []string {
	content, err := os.ReadFile(s.in.Log())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		s.t.Fatal(err)
	}
	lines := strings.SplitAfter(string(content), "\n")
	return slices.DeleteFunc(lines, func(l string) bool { return !strings.HasSuffix(l, "\n") })
}

func (s *system) logTail() string {
	lines := s.log()
	return strings.Join(lines[max(0, len(lines)-40):], "")
}

// logged waits for a line.
func (s *system) logged(pattern string) {
	s.t.Helper()
	re := regexp.MustCompile(pattern)
	s.await("log line "+pattern, func() bool { return slices.ContainsFunc(s.log(), re.MatchString) })
}

// queueFiles returns the IDs in a queue.
func (s *system) queueFiles(queue string) []string {
	var ids []string
	err := filepath.WalkDir(filepath.Join(s.in.Queue(), queue), func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			ids = append(ids, d.Name())
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	})
	check(s.t, err)
	return ids
}

var (
	logID   = regexp.MustCompile(`\]: ([0-9A-Za-z]{8,20}): (.*)\n`)
	logSMTP = regexp.MustCompile(`/smtpd\[\d+\]: (connect|disconnect) from `)
)

// sessions counts the SMTP sessions under way, as the log knows them.
func (s *system) sessions() int {
	n := 0
	for _, line := range s.log() {
		if strings.Contains(line, "/master[") && strings.Contains(line, ": daemon started -- ") {
			n = 0
		}
		if m := logSMTP.FindStringSubmatch(line); m != nil {
			n += map[string]int{"connect": 1, "disconnect": -1}[m[1]]
		}
	}
	return n
}

// unsettled names what is still under way: a message that is neither removed
// nor deferred nor on hold, or an SMTP session.
func (s *system) unsettled() string {
	for _, queue := range []string{"maildrop", "incoming", "active"} {
		if ids := s.queueFiles(queue); len(ids) > 0 {
			return queue + "/" + ids[0]
		}
	}
	done := make(map[string]bool)
	for _, line := range s.log() {
		m := logID.FindStringSubmatch(line)
		if m == nil || m[1] == "statistics" {
			continue
		}
		switch {
		case strings.HasPrefix(m[2], "removed"), m[2] == "requeued":
			done[m[1]] = true
		case strings.HasPrefix(m[2], "from=<") && strings.HasSuffix(m[2], "(queue active)"):
			done[m[1]] = false
		}
	}
	if s.sessions() > 0 {
		return "SMTP sessions"
	}
	for _, queue := range []string{"deferred", "hold"} {
		for _, id := range s.queueFiles(queue) {
			done[id] = true
		}
	}
	for id, d := range done {
		if !d {
			return id
		}
	}
	return ""
}

// settle waits until everything is settled.
func (s *system) settle() {
	s.t.Helper()
	var what string
	defer func() {
		if what != "" {
			s.t.Logf("still under way: %s", what)
		}
	}()
	// A notice may come between the looks at two queues, so it looks twice.
	again := false
	s.await("the queue to settle", func() bool {
		what = s.unsettled()
		done := again
		again = what == ""
		return again && done
	})
}
