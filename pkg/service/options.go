package service

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/getopt"
)

// options are a daemon's command line (spec master §4.2, §6.2).
type options struct {
	overrides    []config.Override
	chroot       bool
	keepTTY      bool
	debug        bool
	limitOne     bool
	limitZero    bool
	name         string
	retire       time.Duration
	sockets      int
	standalone   bool
	transport    string
	unprivileged bool
	verbose      int
	stderr       bool
	args         []string
}

// parseOptions reads the words behind the program name. Errors are fatal, in
// Postfix's words.
func parseOptions(d *Daemon, args []string) (*options, error) {
	spec := "cdDi:lm:n:o:s:t:uvVz"
	if d.Kind != Datagram {
		spec += "S"
	}
	if d.Kind == Single || d.Kind == Event {
		spec += "r:"
	}
	o := &options{sockets: 1}
	found, rest, err := getopt.Parse(args, spec)
	for _, opt := range found {
		if err := o.set(opt); err != nil {
			return nil, err
		}
	}
	if err != nil {
		letter := byte('?')
		if invalid, ok := err.(*getopt.InvalidError); ok {
			letter = invalid.Letter
		}
		return nil, fmt.Errorf("invalid option: %c", letter)
	}
	o.args = rest
	return o, nil
}

func (o *options) set(opt getopt.Option) error {
	switch opt.Letter {
	case 'c':
		o.chroot = true
	case 'd':
		o.keepTTY = true
	case 'D':
		o.debug = true
	case 'i':
		o.overrides = append(o.overrides, config.Override{Name: "max_idle", Value: opt.Value})
	case 'l':
		o.limitOne = true
	case 'm':
		o.overrides = append(o.overrides, config.Override{Name: "max_use", Value: opt.Value})
	case 'n':
		o.name = opt.Value
	case 'o':
		name, value, err := splitOverride(opt.Value)
		if err != nil {
			return err
		}
		o.overrides = append(o.overrides, config.Override{Name: name, Value: value})
	case 'r':
		n, err := strconv.Atoi(opt.Value)
		if err != nil || n <= 0 {
			return fmt.Errorf("invalid retirement time: %s", opt.Value)
		}
		o.retire = time.Duration(n) * time.Second
	case 's':
		n, err := strconv.Atoi(opt.Value)
		if err != nil || n <= 0 || n > 1000 {
			return fmt.Errorf("invalid socket_count: %s", opt.Value)
		}
		o.sockets = n
	case 'S':
		o.standalone = true
	case 't':
		o.transport = opt.Value
	case 'u':
		o.unprivileged = true
	case 'v':
		o.verbose++
	case 'V':
		o.stderr = true
	case 'z':
		o.limitZero = true
	}
	return nil
}

// splitOverride splits the value of a -o option.
func splitOverride(text string) (name, value string, err error) {
	inner := strings.TrimSpace(text)
	if strings.HasPrefix(inner, "{") && strings.HasSuffix(inner, "}") {
		inner = inner[1 : len(inner)-1]
	}
	name, value, ok := strings.Cut(inner, "=")
	name, value = strings.TrimSpace(name), strings.TrimSpace(value)
	switch {
	case name == "":
		return "", "", fmt.Errorf("invalid \"-o %s\" option value: missing attribute name", text)
	case !ok:
		return "", "", fmt.Errorf("invalid \"-o %s\" option value: missing '=' after attribute name", text)
	}
	return name, value, nil
}

// transports are those that each kind of daemon accepts.
var transports = map[Kind]string{
	Single: "inet unix pass", Multi: "inet unix pass", Event: "inet unix pass",
	Trigger: "unix fifo pass", Datagram: "unix-dgram",
}

// checkTransport returns the transport's name in lower case.
func checkTransport(d *Daemon, transport string) (string, error) {
	if transport == "" {
		return "", fmt.Errorf("no transport type specified")
	}
	name := strings.ToLower(transport)
	for _, t := range strings.Fields(transports[d.Kind]) {
		if name == t {
			return name, nil
		}
	}
	return "", fmt.Errorf("unsupported transport type: %s", transport)
}
