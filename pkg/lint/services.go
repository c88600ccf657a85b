package lint

import (
	"net"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"suffix/pkg/mastercf"
)

// program says how a daemon wants to be run.
type program struct {
	name       string
	limit      int    // process limit that it insists on; any: -1
	root       bool   // it must not give up its rights
	noChroot   bool   // it must reach the whole file system
	types      string // of services that it can serve
	outside    bool   // its arguments are not all options
	needsTimer bool   // it does nothing unless it is woken up
}

const anyLimit = -1

// programs are the daemons of the mail system (spec master §6.1).
var programs = [...]program{
	{name: "anvil", limit: 1, types: "unix"},
	{name: "bounce", limit: anyLimit, types: "unix"},
	{name: "cleanup", limit: 0, types: "unix"},
	{name: "discard", limit: anyLimit, types: "unix"},
	{name: "dnsblog", limit: 0, types: "unix"},
	{name: "error", limit: anyLimit, types: "unix"},
	{name: "flush", limit: 0, types: "unix"},
	{name: "lmtp", limit: anyLimit, types: "unix"},
	{name: "local", limit: anyLimit, root: true, noChroot: true, types: "unix"},
	{name: "nbdb_reindexd", limit: 1, root: true, noChroot: true, types: "unix"},
	{name: "nqmgr", limit: 1, types: "unix fifo", needsTimer: true},
	{name: "oqmgr", limit: 1, types: "unix fifo", needsTimer: true},
	{name: "pickup", limit: 1, types: "unix fifo", needsTimer: true},
	{name: "pipe", limit: anyLimit, root: true, noChroot: true, types: "unix", outside: true},
	{name: "postlogd", limit: 1, types: "unix-dgram"},
	{name: "postscreen", limit: 1, types: "inet"},
	{name: "proxymap", limit: anyLimit, types: "unix"},
	{name: "qmgr", limit: 1, types: "unix fifo", needsTimer: true},
	{name: "qmqpd", limit: anyLimit, types: "inet unix"},
	{name: "scache", limit: 1, types: "unix"},
	{name: "showq", limit: anyLimit, types: "unix"},
	{name: "smtp", limit: anyLimit, types: "unix"},
	{name: "smtpd", limit: anyLimit, types: "inet unix pass"},
	{name: "spawn", limit: anyLimit, root: true, noChroot: true, types: "inet unix", outside: true},
	{name: "tlsmgr", limit: 1, types: "unix"},
	{name: "tlsproxy", limit: 0, types: "unix pass"},
	{name: "trivial-rewrite", limit: anyLimit, types: "unix"},
	{name: "verify", limit: 1, types: "unix"},
	{name: "virtual", limit: anyLimit, root: true, noChroot: true, types: "unix"},
}

// daemon finds the facts about a program, nil for one that is not part of the
// mail system.
func daemon(name string) *program {
	for i := range programs {
		if programs[i].name == name {
			return &programs[i]
		}
	}
	return nil
}

func daemonNames() []string {
	list := make([]string, len(programs))
	for i := range programs {
		list[i] = programs[i].name
	}
	return list
}

// checkServices looks at master.cf by itself.
func (c *checker) checkServices() {
	dir := c.main.value("daemon_directory")
	st, ok := c.stat(dir)
	c.installed = ok && st != nil && st.IsDir()
	if !ok {
		c.main.tell(Advice, "installation", "daemon_directory", "there is no directory %s with the programs of the mail system. Until it is installed, programs, accounts and directories are not looked at.", dir)
	}
	seen := make(map[string]*service)
	for _, s := range c.services {
		s.checkProgram(dir)
		s.checkArguments()
		key := s.identity()
		if old := seen[key]; old != nil {
			s.tell(Advice, "duplicate", "%s/%s is the same service as %s/%s in line %d. The later entry wins, and the earlier one has no effect. Remove one.",
				s.Name, s.Type, old.Name, old.Type, old.Line)
		}
		seen[key] = s
		if s.Type == mastercf.Inet {
			s.checkPort()
		}
	}
}

// identity is what two entries for one service have in common.
func (s *service) identity() string {
	if s.Type != mastercf.Inet {
		return s.Type + " " + s.Path()
	}
	if port, ok := s.portNumber(); ok {
		return "inet " + s.Host + ":" + strconv.Itoa(port)
	}
	return "inet " + s.Host + ":" + s.Port
}

func (s *service) checkProgram(dir string) {
	p := daemon(s.Command)
	known := p != nil
	if s.c.installed {
		path := filepath.Join(dir, s.Command)
		st, ok := s.c.stat(path)
		switch {
		case !ok && known:
			s.tell(Serious, "program", "the program %s is not in %s: this service cannot run, and its clients wait in vain. Install the program, or put a # in front of the entry.", s.Command, dir)
			return
		case !ok:
			s.tell(Serious, "program", "there is no program %s in %s, and none of that name belongs to the mail system: this service cannot run. %s", s.Command, dir, meant(s.Command, daemonNames()))
			return
		case st == nil:
		case st.IsDir() || st.Mode()&0o111 == 0:
			s.tell(Serious, "program", "%s cannot be executed: this service cannot run.", path)
			return
		case st.Mode()&0o002 != 0:
			s.tell(Serious, "writable", "every user of this machine can change %s, which runs with the rights of root. Run: chmod o-w %s.", path, path)
		}
	} else if !known {
		s.tell(Advice, "program", "no program %s belongs to the mail system. %s", s.Command, meant(s.Command, daemonNames()))
	}
	if known {
		s.checkPrivileges(p)
	}
}

// checkPrivileges compares an entry with what its program insists on.
func (s *service) checkPrivileges(p *program) {
	if !slices.Contains(strings.Fields(p.types), s.Type) {
		s.tell(Serious, "service-type", "%s(8) cannot serve clients of type %s. It must be %s.", s.Command, s.Type, strings.ReplaceAll(p.types, " ", " or "))
	}
	if p.root && s.Unprivileged {
		s.tell(Serious, "privileges", "%s(8) needs the rights of root, which the unprivileged field takes away: it does not start. Write n there.", s.Command)
	}
	if !p.root && !s.Unprivileged && (s.is("smtpd") || s.is("smtp") || s.is("lmtp") || s.is("cleanup") || s.is("postscreen") || s.is("trivial-rewrite") || s.is("tlsproxy")) {
		s.tell(Advice, "privileges", "%s(8) deals with strangers, and runs as root here. It needs no such rights: write - or y into the unprivileged field.", s.Command)
	}
	if p.noChroot && s.Chroot {
		s.tell(Serious, "chroot", "%s(8) must reach the whole file system, and the chroot field locks it into the queue directory. Write n there.", s.Command)
	}
	if s.is("proxymap") && s.Chroot {
		s.tell(Serious, "chroot", "proxymap(8) opens tables for programs that are locked into the queue directory, and is locked in itself. Write n into the chroot field.")
	}
	switch {
	case p.limit == anyLimit:
	case p.limit == 0 && s.MaxProc != 0:
		s.tell(Serious, "process-limit", "%s(8) does not start unless its process limit is 0.", s.Command)
	case p.limit == 1 && s.MaxProc != 1:
		s.tell(Serious, "process-limit", "%s(8) does not start unless its process limit is 1.", s.Command)
	}
	if s.is("proxymap") && s.Name == s.value("proxywrite_service_name") && s.MaxProc != 1 {
		s.tell(Serious, "process-limit", "with more than one process, %s can damage the tables that it changes. Write 1 into the field of the process limit.", s.Name)
	}
	if p.needsTimer && s.Wakeup == 0 {
		s.tell(Serious, "wakeup", "%s(8) works only when it is woken up, and the wakeup field says never: mail stays in the queue. Write %s there.", s.Command, map[bool]string{true: "60", false: "300"}[s.is("pickup")])
	}
	if public := slices.Contains([]string{"pickup", "cleanup", "qmgr", "nqmgr", "oqmgr", "flush", "showq", "postlogd"}, s.Command); public && s.Private && s.Type != mastercf.Inet &&
		!(s.is("cleanup") && s.Name != s.value("cleanup_service_name")) {
		s.tell(Serious, "private", "%s must be public: programs look for its socket there. Write n into the private field.", s.Name)
	} else if !public && !s.Private && s.Type == mastercf.Unix {
		s.tell(Advice, "private", "%s is open to every user of this machine, because the private field is n. Write - or y there.", s.Name)
	}
}

// checkArguments looks at what a program is called with.
func (s *service) checkArguments() {
	for _, bad := range s.badArgs {
		s.tell(Serious, "arguments", "-o %s is no name=value: the program does not start. Write no blanks around the =, or put all of it into braces: -o { name = value }.", short(bad))
	}
	p := daemon(s.Command)
	if p == nil || p.outside || len(s.badArgs) > 0 {
		return
	}
	args := s.Args
	for len(args) > 0 {
		arg := args[0]
		args = args[1:]
		switch {
		case len(arg) < 2 || arg[0] != '-':
			why := ""
			if strings.HasPrefix(arg, "#") {
				why = " A comment needs a line of its own."
			}
			s.tell(Serious, "arguments", "%s(8) takes options only, and does not start with \"%s\" among its arguments.%s", s.Command, short(arg), why)
			return
		case strings.HasSuffix(arg, "o") && !strings.HasPrefix(arg, "-o") || arg == "-o", len(arg) == 2 && strings.Contains("cimnrsSt", arg[1:]) && arg != "-S":
			if len(args) == 0 {
				s.tell(Serious, "arguments", "the option %s has no value after it: the program does not start.", arg)
				return
			}
			args = args[1:]
		}
	}
}

// portNumber is the number of a service's port.
func (s *service) portNumber() (port int, ok bool) {
	if n, err := strconv.Atoi(s.Port); err == nil {
		return n, true
	}
	for item := range strings.SplitSeq(s.value("known_tcp_ports"), ",") {
		name, number, _ := strings.Cut(item, "=")
		if n, err := strconv.Atoi(strings.TrimSpace(number)); err == nil && strings.TrimSpace(name) == s.Port {
			return n, true
		}
	}
	n, err := net.LookupPort("tcp", s.Port)
	return n, err == nil
}

func (s *service) checkPort() {
	port, ok := s.portNumber()
	switch {
	case !ok:
		s.tell(Serious, "port", "nobody knows a port called \"%s\": master(8) ends with an error. Write the number.", s.Port)
	case port < 1 || port > 65535:
		s.tell(Serious, "port", "there is no port %s: ports are numbers from 1 to 65535.", s.Port)
	}
	addr, err := netip.ParseAddr(s.Host)
	if err != nil {
		return
	}
	if protocols := s.c.cfg.Protocols(); !protocols.Has(addr) {
		s.tell(Serious, "port", "inet_protocols does not allow addresses such as %s: master(8) ends with an error.", s.Host)
		return
	}
	if addr.IsUnspecified() || addr.IsLoopback() {
		return
	}
	local, err := net.InterfaceAddrs()
	if err != nil || !s.c.installed {
		return
	}
	for _, a := range local {
		if n, ok := a.(*net.IPNet); ok {
			if have, ok := netip.AddrFromSlice(n.IP); ok && have.Unmap() == addr.Unmap() {
				return
			}
		}
	}
	s.tell(Serious, "port", "no network interface of this machine has the address %s: master(8) ends with an error.", s.Host)
}
