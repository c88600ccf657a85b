// Package peer has the other side of the tests: an SMTP and LMTP server that
// records exactly what it is sent, and an SMTP client that sends exactly what
// it is told. Neither shares code with the mail system, and both are strict.
package peer

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"
)

// Limits of a sink: how long it waits for a client, and for a line.
const (
	sinkTimeout = 5 * time.Minute
	maxLine     = 1 << 20
)

// A Message is one mail transaction as a sink saw it.
type Message struct {
	Helo  string   // argument of HELO, EHLO or LHLO
	From  string   // MAIL command after "FROM:", with parameters
	Rcpts []string // accepted RCPT commands after "TO:", with parameters
	Data  string   // content, dots removed, lines as on the wire
}

// HasRcpt says whether the message came for an address.
func (m *Message) HasRcpt(addr string) bool {
	for _, r := range m.Rcpts {
		if path, _, _ := strings.Cut(r, ">"); strings.TrimPrefix(path, "<") == addr {
			return true
		}
	}
	return false
}

// A Sink is an SMTP or LMTP server on a port of 127.0.0.1.
type Sink struct {
	lmtp     bool
	reply    func(verb, argument string) string
	receive  func(m *Message)
	listener net.Listener
	wg       sync.WaitGroup

	mu       sync.Mutex
	changed  chan struct{} // closed and replaced when messages or sessions change
	messages []Message
	faults   []string
	conns    map[net.Conn]bool
	held     chan struct{} // not nil: sessions wait for its end before the greeting
	sessions int           // since the start
	waiting  int           // sessions held now
}

// SinkOptions change how a sink answers.
type SinkOptions struct {
	LMTP bool

	// Reply gives the answer to a command, without line end; "" leaves the
	// usual one. The verbs are in upper case; beyond those of the protocol
	// there are CONNECT for the greeting and "." for the end of the content,
	// with the recipient as argument for LMTP, else with the sender. The
	// answer "drop" closes the connection.
	Reply func(verb, argument string) string

	// Receive takes each accepted message, before the client has the reply. A
	// sink with this function keeps no messages.
	Receive func(m *Message)
}

// NewSink starts a sink.
func NewSink(o SinkOptions) (*Sink, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &Sink{lmtp: o.LMTP, reply: o.Reply, receive: o.Receive, listener: l, changed: make(chan struct{}), conns: make(map[net.Conn]bool)}
	s.wg.Go(s.accept)
	return s, nil
}

// Port is where the sink listens.
func (s *Sink) Port() int { return s.listener.Addr().(*net.TCPAddr).Port }

// NextHop is the address of the sink as a transport table has it.
func (s *Sink) NextHop() string { return fmt.Sprintf("[127.0.0.1]:%d", s.Port()) }

// Close ends the sink and its sessions.
func (s *Sink) Close() {
	s.listener.Close()
	s.Release()
	s.mu.Lock()
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// Hold makes new sessions wait before the greeting, until Release.
func (s *Sink) Hold() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held == nil {
		s.held = make(chan struct{})
	}
}

// Release lets sessions go on.
func (s *Sink) Release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.held != nil {
		close(s.held)
		s.held = nil
	}
}

// Messages returns what has arrived.
func (s *Sink) Messages() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.messages...)
}

// Faults returns violations of the protocol by clients.
func (s *Sink) Faults() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]string(nil), s.faults...)
}

// Waiting is the number of sessions that wait for Release.
func (s *Sink) Waiting() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.waiting
}

// Sessions is the number of sessions since the start.
func (s *Sink) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sessions
}

// ErrTimeout says that what was waited for did not happen in time.
var ErrTimeout = errors.New("it did not happen in time")

// Await waits until done says so of the messages.
func (s *Sink) Await(limit time.Duration, done func([]Message) bool) error {
	deadline := time.After(limit)
	for {
		s.mu.Lock()
		ok, changed := done(s.messages), s.changed
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-deadline:
			return ErrTimeout
		}
	}
}

// AwaitRcpt waits for the message for an address.
func (s *Sink) AwaitRcpt(limit time.Duration, addr string) (*Message, error) {
	var found *Message
	err := s.Await(limit, func(list []Message) bool {
		for _, m := range list {
			if m.HasRcpt(addr) {
				found = &m
				return true
			}
		}
		return false
	})
	if err != nil {
		return nil, fmt.Errorf("message for %s: %w", addr, err)
	}
	return found, nil
}

func (s *Sink) notify() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *Sink) fault(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults = append(s.faults, fmt.Sprintf(format, args...))
}

func (s *Sink) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		s.sessions++
		s.mu.Unlock()
		s.wg.Go(func() {
			s.serve(c)
			c.Close()
			s.mu.Lock()
			delete(s.conns, c)
			s.mu.Unlock()
		})
	}
}

// session is one client of a sink.
type session struct {
	sink *Sink
	conn net.Conn
	in   *bufio.Reader
	m    Message
	mail bool
}

var errDrop = errors.New("drop")

func (s *Sink) serve(c net.Conn) {
	s.mu.Lock()
	held := s.held
	if held != nil {
		s.waiting++
	}
	s.mu.Unlock()
	if held != nil {
		<-held
		s.mu.Lock()
		s.waiting--
		s.mu.Unlock()
	}
	x := &session{sink: s, conn: c, in: bufio.NewReaderSize(c, 1<<16)}
	if err := x.answer("CONNECT", c.RemoteAddr().String(), "220 sink.test ready"); err != nil {
		return
	}
	for x.command() == nil {
	}
}

// send writes one reply.
func (x *session) send(text string) error {
	if text == "drop" {
		return errDrop
	}
	if err := x.conn.SetDeadline(time.Now().Add(sinkTimeout)); err != nil {
		return err
	}
	_, err := io.WriteString(x.conn, text+"\r\n")
	if err == nil && strings.HasPrefix(text, "421") {
		return errDrop
	}
	return err
}

// answer sends the reply that the owner of the sink wants, else the usual one.
func (x *session) answer(verb, argument, usual string) error {
	return x.send(x.decide(verb, argument, usual))
}

func (x *session) decide(verb, argument, usual string) string {
	if x.sink.reply != nil {
		if text := x.sink.reply(verb, argument); text != "" {
			return text
		}
	}
	return usual
}

// line reads up to CR LF and complains of a bare one.
func (x *session) line() (string, error) {
	if err := x.conn.SetDeadline(time.Now().Add(sinkTimeout)); err != nil {
		return "", err
	}
	var line []byte
	for {
		part, err := x.in.ReadSlice('\n')
		line = append(line, part...)
		if err == nil {
			break
		}
		if !errors.Is(err, bufio.ErrBufferFull) || len(line) > maxLine {
			return "", err
		}
	}
	text, ok := strings.CutSuffix(string(line), "\r\n")
	if !ok {
		x.sink.fault("bare LF after %.60q", line)
		text = strings.TrimSuffix(string(line), "\n")
	}
	if strings.Contains(text, "\r") {
		x.sink.fault("bare CR in %.60q", line)
	}
	return text, nil
}

func (x *session) command() error {
	line, err := x.line()
	if err != nil {
		return err
	}
	verb, argument, _ := strings.Cut(line, " ")
	switch verb = strings.ToUpper(verb); verb {
	case "HELO":
		x.m.Helo = argument
		return x.answer(verb, argument, "250 sink.test")
	case "EHLO", "LHLO":
		if (verb == "LHLO") != x.sink.lmtp {
			x.sink.fault("%s", line)
			return x.send("500 5.5.1 wrong protocol")
		}
		x.m.Helo = argument
		return x.answer(verb, argument, "250-sink.test\r\n250-PIPELINING\r\n250-SIZE 100000000\r\n250-DSN\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES")
	case "MAIL":
		return x.mailFrom(verb, argument)
	case "RCPT":
		return x.rcptTo(verb, argument)
	case "DATA":
		return x.data(verb)
	case "RSET":
		x.reset()
		return x.answer(verb, argument, "250 2.0.0 Ok")
	case "NOOP":
		return x.answer(verb, argument, "250 2.0.0 Ok")
	case "QUIT":
		if err := x.answer(verb, argument, "221 2.0.0 Bye"); err != nil {
			return err
		}
		return errDrop
	}
	x.sink.fault("unknown command %.60q", line)
	return x.send("500 5.5.2 unknown command")
}

func (x *session) reset() { x.m, x.mail = Message{Helo: x.m.Helo}, false }

func (x *session) mailFrom(verb, argument string) error {
	from, ok := strings.CutPrefix(argument, "FROM:")
	if !ok || x.mail {
		x.sink.fault("MAIL %s (within a transaction: %v)", argument, x.mail)
		return x.send("503 5.5.1 no")
	}
	text := x.decide(verb, from, "250 2.1.0 Ok")
	if strings.HasPrefix(text, "2") {
		x.m.From, x.mail = from, true
	}
	return x.send(text)
}

func (x *session) rcptTo(verb, argument string) error {
	to, ok := strings.CutPrefix(argument, "TO:")
	if !ok {
		x.sink.fault("RCPT %s", argument)
	}
	usual := "250 2.1.5 Ok"
	if !x.mail {
		usual = "503 5.5.1 need MAIL"
	}
	text := x.decide(verb, to, usual)
	if x.mail && strings.HasPrefix(text, "2") {
		x.m.Rcpts = append(x.m.Rcpts, to)
	}
	return x.send(text)
}

func (x *session) data(verb string) error {
	if len(x.m.Rcpts) == 0 {
		return x.send("554 5.5.1 no valid recipients")
	}
	text := x.decide(verb, "", "354 go on")
	if err := x.send(text); err != nil || !strings.HasPrefix(text, "354") {
		return err
	}
	var content bytes.Buffer
	for {
		line, err := x.line()
		if err != nil {
			return err
		}
		if line == "." {
			break
		}
		content.WriteString(strings.TrimPrefix(line, ".") + "\r\n")
	}
	x.m.Data = content.String()
	return x.deliver()
}

// deliver answers the end of the content, and keeps the message where the
// answer accepts it.
func (x *session) deliver() error {
	accepted := x.m
	var texts []string
	if x.sink.lmtp {
		accepted.Rcpts = nil
		for _, r := range x.m.Rcpts {
			text := x.decide(".", r, "250 2.0.0 stored")
			texts = append(texts, text)
			if strings.HasPrefix(text, "2") {
				accepted.Rcpts = append(accepted.Rcpts, r)
			}
		}
	} else {
		texts = []string{x.decide(".", x.m.From, "250 2.0.0 stored")}
		if !strings.HasPrefix(texts[0], "2") {
			accepted.Rcpts = nil
		}
	}
	x.reset()
	switch {
	case len(accepted.Rcpts) == 0:
	case x.sink.receive != nil:
		x.sink.receive(&accepted)
	default:
		x.sink.mu.Lock()
		x.sink.messages = append(x.sink.messages, accepted)
		x.sink.notify()
		x.sink.mu.Unlock()
	}
	for _, text := range texts {
		if err := x.send(text); err != nil {
			return err
		}
	}
	return nil
}
