package maillog

import (
	"fmt"
	"os"
	"strconv"
	"strings"
)

// Settings are what main.cf says about logging.
type Settings struct {
	Program     string // behind syslog_name in the tag
	SyslogName  string // syslog_name
	Facility    string // syslog_facility
	File        string // maillog_file, "" for syslog
	Prefixes    []string
	Permissions string // maillog_file_permissions
	Socket      string // absolute path of the postlog service's socket
	Hostname    string // myhostname
	UTF8        bool   // smtputf8_enable
	ConfigFile  string // path of main.cf, for error texts

	// Tag is used as it is in the place of syslog_name/Program.
	Tag string
	// StderrName replaces the name in front of standard error copies, where
	// there are any.
	StderrName string
	// BareTag logs under the program name alone, as postfix(1) does.
	BareTag bool
	// Fallback lets this program append to the log file itself where nobody
	// serves the socket: master and the commands that start or check it.
	Fallback bool
	// Direct, with Fallback, does not even look for somebody at the socket:
	// master has it open before anybody can serve it, and what it logs then
	// would be lost with the socket if it has to give up.
	Direct bool
}

// facilities are the names that syslog_facility may have, with their codes
// shifted into place.
var facilities = map[string]int{
	"auth": 4 << 3, "authpriv": 10 << 3, "cron": 9 << 3, "daemon": 3 << 3, "ftp": 11 << 3, "kern": 0,
	"lpr": 6 << 3, "mail": 2 << 3, "news": 7 << 3, "security": 4 << 3, "syslog": 5 << 3, "user": 1 << 3,
	"uucp": 8 << 3, "local0": 16 << 3, "local1": 17 << 3, "local2": 18 << 3, "local3": 19 << 3,
	"local4": 20 << 3, "local5": 21 << 3, "local6": 22 << 3, "local7": 23 << 3,
}

// Configure applies main.cf. The error is one for Fatalf, in Postfix's words;
// logging works as far as possible even then. Socket and file are opened now:
// a daemon loses the right or the path to open them later.
//
// The variables POSTLOG_SERVICE and POSTLOG_HOSTNAME, which programs started
// from here inherit, are set or removed.
func Configure(c Settings) error {
	old := load()
	s := &setup{prefix: c.SyslogName, host: c.Hostname, stderr: old.stderr, quiet: old.quiet, pid: strconv.Itoa(os.Getpid())}
	if s.prefix == "" {
		s.prefix = "postfix"
	}
	s.tag = s.prefix + "/" + c.Program
	if c.BareTag {
		s.tag = c.Program
	}
	if c.Tag != "" {
		s.tag = Printable(c.Tag)
	}
	if s.stderr == old.tag {
		s.stderr = s.tag
	}
	if s.stderr != "" && c.StderrName != "" {
		s.stderr = c.StderrName
	}
	s.host, _, _ = strings.Cut(s.host, ".")
	if s.host == "" {
		s.host = "amnesiac"
	}
	SetUTF8(c.UTF8)
	var failure error
	facility, ok := facilities[c.Facility]
	if !ok {
		facility = facilities["mail"]
		if c.Facility != "" {
			failure = fmt.Errorf("file %s: parameter syslog_facility: unrecognized value: %s", c.ConfigFile, c.Facility)
		}
	}
	s.facility = facility
	if c.File != "" && !hasPrefix(c.File, c.Prefixes) {
		failure = fmt.Errorf("maillog_file value '%s' does not match any prefix in maillog_file_prefixes", c.File)
	} else if c.File != "" {
		s.socket = c.Socket
		if c.Fallback {
			mode, ok := permissions(c.Permissions)
			if !ok {
				defer Warnf("ignoring bad permissions: maillog_file_permissions = %s", c.Permissions)
			}
			s.file = newFallback(c.File, mode)
			s.direct = c.Direct
		}
	}
	for name, value := range map[string]string{"POSTLOG_SERVICE": s.socket, "POSTLOG_HOSTNAME": s.host} {
		if s.socket == "" {
			os.Unsetenv(name)
		} else if err := os.Setenv(name, value); err != nil && failure == nil {
			failure = fmt.Errorf("set environment variable %s: %w", name, err)
		}
	}
	current.Store(s)
	out.reset(s)
	return failure
}

func hasPrefix(path string, prefixes []string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(path, p) {
			return true
		}
	}
	return false
}

// permissions reads maillog_file_permissions.
func permissions(text string) (os.FileMode, bool) {
	switch strings.TrimPrefix(text, "0") {
	case "600", "":
		return 0o600, true
	case "640":
		return 0o640, true
	case "644":
		return 0o644, true
	}
	return 0o600, false
}

// OpenFile opens the log file for appending, and creates it: what postlogd and
// the programs with a fallback do. The error is complete.
func OpenFile(path, mode string) (*os.File, error) {
	perm, ok := permissions(mode)
	if !ok {
		Warnf("ignoring bad permissions: maillog_file_permissions = %s", mode)
	}
	return openLogFile(path, perm)
}
