package main

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"

	"suffix/pkg/getopt"
)

// options is the command line.
type options struct {
	network, address string

	counter, keep, lmtp, number, old, verbose, forgive bool

	connectTries, recipients, sessions, messages int
	length                                       int // bytes of content
	window                                       int
	from, to, hostname, subject, file            string
	randomDelay, fixedDelay                      time.Duration
}

// errUsage is a command line that makes no sense.
var errUsage = errors.New("usage")

func parseOptions(args []string) (*options, error) {
	o := &options{network: "tcp", connectTries: 1, recipients: 1, sessions: 1, messages: 1}
	list, rest, err := getopt.Parse(args, "46AcC:df:F:l:Lm:M:Nor:R:s:S:t:T:vw:")
	if err != nil {
		return nil, err
	}
	for _, opt := range list {
		if err := o.set(opt); err != nil {
			return nil, err
		}
	}
	if len(rest) != 1 {
		return nil, errUsage
	}
	if o.hostname == "" {
		if o.hostname, err = os.Hostname(); err != nil {
			return nil, fmt.Errorf("hostname: %w", err)
		}
	}
	if o.from == "" {
		o.from = "foo@" + o.hostname
	}
	if o.to == "" {
		o.to = "foo@" + o.hostname
	}
	for _, text := range []string{o.from, o.to, o.hostname, o.subject} {
		if strings.ContainsAny(text, "\r\n\x00") {
			return nil, fmt.Errorf("line break in %q", text)
		}
	}
	return o, o.setAddress(rest[0])
}

func (o *options) setAddress(text string) error {
	if path, ok := strings.CutPrefix(text, "unix:"); ok {
		o.network, o.address = "unix", path
		return nil
	}
	text = strings.TrimPrefix(text, "inet:")
	if text == "" {
		return errUsage
	}
	host, port := text, "25"
	if h, p, err := net.SplitHostPort(text); err == nil {
		host, port = h, p
	} else if !strings.HasPrefix(text, "[") && strings.Count(text, ":") == 1 {
		return fmt.Errorf("%s: %w", text, err)
	}
	if port == "smtp" {
		port = "25"
	}
	o.address = net.JoinHostPort(strings.Trim(host, "[]"), port)
	return nil
}

func (o *options) set(opt getopt.Option) (err error) {
	positive := func() int {
		n, convErr := strconv.Atoi(opt.Value)
		if convErr != nil || n <= 0 || n > 1<<30 {
			err = fmt.Errorf("bad number for -%c: %s", opt.Letter, opt.Value)
		}
		return n
	}
	switch opt.Letter {
	case '4':
		o.network = "tcp4"
	case '6':
		o.network = "tcp6"
	case 'A':
		o.forgive = true
	case 'c':
		o.counter = true
	case 'C':
		o.connectTries = positive()
	case 'd':
		o.keep = true
	case 'f':
		o.from = opt.Value
	case 'F':
		o.file = opt.Value
	case 'l':
		o.length = positive()
	case 'L':
		o.lmtp = true
	case 'm':
		o.messages = positive()
	case 'M':
		o.hostname = opt.Value
	case 'N':
		o.number = true
	case 'o':
		o.old = true
	case 'r':
		o.recipients = positive()
	case 'R':
		o.randomDelay = time.Duration(positive()) * time.Second
	case 's':
		o.sessions = positive()
	case 'S':
		o.subject = opt.Value
	case 't':
		o.to = opt.Value
	case 'T':
		o.window = positive()
	case 'v':
		o.verbose = true
	case 'w':
		o.fixedDelay = time.Duration(positive()) * time.Second
	}
	return err
}
