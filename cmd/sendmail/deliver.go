package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"strings"

	"suffix/pkg/account"
	"suffix/pkg/address"
	"suffix/pkg/attr"
	"suffix/pkg/cleanenv"
	"suffix/pkg/cleanupclient"
	"suffix/pkg/params"
	"suffix/pkg/record"
	"suffix/pkg/submit"
	"suffix/pkg/syserr"
)

const flushSize = 64 << 10

// defaultPath is the search path of programs that are run.
const defaultPath = "/usr/bin:/bin"

// submission is a message on its way to postdrop.
type submission struct {
	c      *command
	sender string // internal form
	buf    []byte
	out    *os.File // postdrop's standard input
	in     *attr.Reader
	child  *os.Process
	line   string // of the command, for messages
	count  int    // recipients
	limit  int    // line_length_limit
	last   record.Type
}

// who begins messages about a submission.
func (s *submission) who() string { return fmt.Sprintf("%s(%d)", s.sender, s.c.uid) }

func (s *submission) errorf(format string, args ...any) error {
	return fmt.Errorf("%s: %w", s.who(), fmt.Errorf(format, args...))
}

// deliver submits a message.
func (c *command) deliver(postdrop string) error {
	if err := submit.Check(c.cfg, submit.Submit, c.uid); err != nil {
		return err
	}
	if err := submit.LimitFileSize(c.cfg.Long(params.MessageSizeLimit)); err != nil {
		return err
	}
	user, userErr := account.LookupUID(c.uid)
	s := &submission{c: c, limit: c.cfg.Int(params.LineLengthLimit), last: record.Text}
	switch {
	case c.hasSender:
		list := address.Parse(c.sender, 0).Addresses()
		if len(list) > 0 {
			s.sender = list[0]
		}
		if len(list) > 1 {
			c.warn("-f option specified malformed sender: %s", c.sender)
		}
	case userErr != nil:
		return fmt.Errorf("no login name found for user ID %d", c.uid)
	default:
		s.sender = user.Name
	}
	name, hasName := c.name(user)
	if err := s.start(postdrop); err != nil {
		return err
	}
	if err := s.envelope(name, hasName); err != nil {
		return err
	}
	s.put(record.Content, "")
	var err error
	var found []string
	if c.trace&traceVerify != 0 {
		s.probe()
	} else {
		found, err = s.content(os.Stdin)
	}
	if err != nil {
		return err
	}
	s.put(record.Extracted, "")
	for _, rcpt := range found {
		s.recipient(rcpt)
	}
	if s.count == 0 {
		if c.extract {
			return s.errorf("No recipient addresses found in message header")
		}
		return s.errorf("Recipient addresses must be specified on the command line or via the -t option")
	}
	s.put(record.End, "")
	if err := s.flush(); err != nil {
		return err
	}
	return s.finish()
}

// start runs postdrop and waits until it has made a file.
func (s *submission) start(path string) error {
	args := append([]string{path, "-r"}, strings.Fields(strings.Repeat("-v ", s.c.verbose))...)
	s.line = strings.Join(args, " ")
	if err := cleanenv.Import(s.c.cfg.List(params.ExportEnvironment)); err != nil {
		return err
	}
	if err := os.Setenv("PATH", defaultPath); err != nil {
		return s.errorf("%w", err)
	}
	inRead, inWrite, err := os.Pipe()
	if err != nil {
		return s.errorf("create pipe: %w", err)
	}
	outRead, outWrite, err := os.Pipe()
	if err != nil {
		return s.errorf("create pipe: %w", err)
	}
	s.child, err = os.StartProcess(path, args, &os.ProcAttr{Files: []*os.File{inRead, outWrite, os.Stderr}})
	if err != nil {
		return s.errorf("unable to execute %s: %s", s.line, syserr.Text(err))
	}
	inRead.Close()
	outWrite.Close()
	s.out = inWrite
	s.in = attr.NewReader(bufio.NewReaderSize(outRead, 512), attr.Null, s.line)
	err = s.in.Protocol("postdrop_protocol")
	if err == nil {
		_, err = s.in.Str("queue_id")
	}
	if err == nil {
		err = s.in.End()
	}
	if err == nil {
		return nil
	}
	s.out.Close()
	if state, waitErr := s.child.Wait(); waitErr == nil && state.ExitCode() > 0 {
		s.c.warn("command \"%s\" exited with status %d", s.line, state.ExitCode())
	}
	if errors.Is(err, attr.ErrEOF) {
		return s.errorf("unable to execute %s: Application error", s.line)
	}
	return s.errorf("unable to execute %s: %w", s.line, err)
}

func (s *submission) put(t record.Type, data string) {
	s.buf = record.Append(s.buf, t, data)
}

func (s *submission) attr(name, value string) { s.buf = record.AppendAttr(s.buf, name, value) }

func (s *submission) attrInt(name string, value int) {
	s.buf = record.AppendAttrInt(s.buf, name, int64(value))
}

func (s *submission) flush() error {
	_, err := s.out.Write(s.buf)
	s.buf = s.buf[:0]
	if err != nil {
		return s.errorf("error writing queue file: %s", syserr.Text(err))
	}
	return nil
}

// envelope writes everything in front of the content (spec submission §2.7).
func (s *submission) envelope(name string, hasName bool) error {
	c := s.c
	if c.sendOpts != 0 {
		s.buf = record.AppendSizes(s.buf, record.Sizes{Segment: -1, Offset: -1, Recipients: -1, Options: -1, Content: -1, SendOpts: c.sendOpts})
	}
	if c.envelopeID != "" {
		s.attr("envelope_id", c.envelopeID)
	}
	if c.ret != 0 {
		s.attrInt("ret_flags", int(c.ret))
	}
	if c.remote {
		s.attr("rewrite_context", "remote")
	} else {
		s.attr("rewrite_context", "local")
	}
	if hasName {
		s.put(record.FullName, name)
	}
	s.put(record.Sender, s.sender)
	if c.encoding != "" {
		s.attr("encoding", c.encoding)
	}
	if c.trace != 0 {
		s.attrInt("trace_flags", c.trace)
	}
	if c.verp != "" {
		if s.sender == "" {
			return s.errorf("-V option requires non-null sender address")
		}
		s.put(record.Verp, c.verp)
	}
	for _, arg := range c.recipients {
		list := address.Parse(arg, 0).Addresses()
		if len(list) == 0 {
			list = []string{""}
		}
		for _, rcpt := range list {
			s.recipient(rcpt)
		}
	}
	return s.flush()
}

func (s *submission) recipient(addr string) {
	if s.c.notify != 0 {
		s.attrInt("notify_flags", int(s.c.notify))
	}
	s.put(record.Recipient, addr)
	s.count++
}

// name finds the sender's full name.
func (c *command) name(user *account.User) (string, bool) {
	if c.hasName {
		return c.fullName, true
	}
	if name, ok := os.LookupEnv("NAME"); ok {
		return name, true
	}
	if user == nil {
		return "", false
	}
	gecos := user.Gecos
	if i := strings.IndexAny(gecos, ",;%"); i >= 0 {
		gecos = gecos[:i]
	}
	login := user.Name
	if login != "" && login[0] >= 'a' && login[0] <= 'z' {
		login = string(login[0]-'a'+'A') + login[1:]
	}
	return strings.ReplaceAll(gecos, "&", login), true
}

// finish reads postdrop's verdict.
func (s *submission) finish() error {
	s.out.Close()
	status, err := s.in.Int("status")
	var reason string
	if err == nil {
		reason, err = s.in.Str("reason")
	}
	if err == nil {
		err = s.in.End()
	}
	if state, waitErr := s.child.Wait(); waitErr != nil || !state.Success() {
		s.c.warn("mail_stream_cleanup: close error")
	}
	switch {
	case err != nil:
		return s.errorf("%s", cleanupclient.Write.Detail().Text)
	case status == 0:
	case reason != "":
		return s.errorf("%s", reason)
	default:
		return s.errorf("%s", cleanupclient.Status(status).Detail().Text)
	}
	if s.c.trace != 0 {
		fmt.Printf("Mail Delivery Status Report will be mailed to <%s>.\n", s.sender)
	}
	return nil
}
