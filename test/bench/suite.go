package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"suffix/test/instance"
)

// The two suites that are compared.
const (
	postfixSuite = "postfix"
	suffixSuite  = "suffix"
)

// Where Debian has Postfix.
const (
	debianCommands = "/usr/sbin"
	debianDaemons  = "/usr/lib/postfix/sbin"
)

// A suite is a running mail system with a sink to which it relays everything.
type suite struct {
	name    string
	in      *instance.Instance
	tools   string // our smtp-source and smtp-sink
	sink    *exec.Cmd
	counter *counter
}

func newSuite(name, dir, bin string) (*suite, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	sinkAddress := l.Addr().String()
	host, port, err := net.SplitHostPort(sinkAddress)
	if err != nil {
		return nil, err
	}
	l.Close()
	o := instance.Options{Dir: dir, Bin: bin, Main: map[string]string{
		"relayhost":                           "[" + host + "]:" + port,
		"smtpd_client_connection_count_limit": "0",
		"default_process_limit":               "1100",
		"compatibility_level":                 "3.6",
		"smtpd_timeout":                       "3600s",
	}}
	if name == postfixSuite {
		o.Bin = debianCommands
		o.Foreign = true
		o.Main["daemon_directory"] = debianDaemons
		o.Main["shlib_directory"] = "/usr/lib/postfix"
		o.Main["sendmail_path"] = "/usr/sbin/sendmail"
		o.Main["mailq_path"] = "/usr/bin/mailq"
		o.Main["newaliases_path"] = "/usr/bin/newaliases"
	}
	in, err := instance.Create(o)
	if err != nil {
		return nil, err
	}
	s := &suite{name: name, in: in, tools: bin}
	s.counter = &counter{}
	s.sink = exec.Command(filepath.Join(bin, "smtp-sink"), "-u", in.Owner.Name, "-c", sinkAddress, "1000")
	s.sink.Stdout, s.sink.Stderr = s.counter, os.Stderr
	return s, nil
}

func (s *suite) start() error {
	if err := s.sink.Start(); err != nil {
		return fmt.Errorf("start the sink: %w", err)
	}
	if err := s.in.Start(); err != nil {
		return err
	}
	// One message opens what every process opens once.
	before := s.counter.count()
	if err := s.source("-m", "1"); err != nil {
		return err
	}
	return s.counter.await(before+1, time.Minute)
}

func (s *suite) stop() error {
	err := s.in.Stop()
	if killErr := s.sink.Process.Kill(); killErr != nil && err == nil {
		err = killErr
	}
	s.sink.Wait()
	return err
}

// source runs the load generator.
func (s *suite) source(args ...string) error {
	args = append(args, "-f", "sender@bench.test", "-t", "rcpt@remote.test", s.in.Address())
	out, err := exec.Command(filepath.Join(s.tools, "smtp-source"), args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("smtp-source %s: %w\n%s", strings.Join(args, " "), err, out)
	}
	return nil
}

// master returns the process ID of the suite's master.
func (s *suite) master() (int, error) {
	text, err := os.ReadFile(filepath.Join(s.in.Queue(), "pid", "master.pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(strings.TrimSpace(string(text)))
}
