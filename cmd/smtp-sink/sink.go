package main

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"time"

	"suffix/pkg/maillog"
)

// bufferSize is the room for input of one session. Reads are as large as that.
const bufferSize = 64 << 10

var buffers = sync.Pool{New: func() any {
	b := make([]byte, bufferSize)
	return &b
}}

// A sink is the server.
type sink struct {
	o     *options
	ehlo  string // reply to EHLO or LHLO
	slots chan struct{}
	exit  func(status int)

	mu                            sync.Mutex
	sessions, quits, mails, ended int
}

func newSink(o *options) *sink {
	k := &sink{o: o, slots: make(chan struct{}, o.maxClients), exit: os.Exit}
	var b strings.Builder
	b.WriteString("250-" + o.hostname + "\r\n")
	for _, f := range []struct {
		off  bool
		text string
	}{
		{o.noPipelining, "PIPELINING"}, {o.no8bit, "8BITMIME"}, {o.noAuth, "AUTH PLAIN LOGIN"},
		{o.noXClient, "XCLIENT NAME HELO"}, {o.noXForward, "XFORWARD NAME ADDR PROTO HELO"},
		{o.noCodes, "ENHANCEDSTATUSCODES"}, {o.noDSN, "DSN"},
	} {
		if !f.off {
			b.WriteString("250-" + f.text + "\r\n")
		}
	}
	b.WriteString("250 \r\n")
	k.ehlo = b.String()
	return k
}

// serve accepts clients for ever.
func (k *sink) serve(l net.Listener) {
	for {
		k.slots <- struct{}{}
		c, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			maillog.Warnf("accept: %v", err)
			<-k.slots
			time.Sleep(time.Second)
			continue
		}
		go func() {
			defer func() { <-k.slots }()
			k.session(c)
		}()
	}
}

// count notes an event and shows the counters; it ends the program with the
// session in which enough has happened.
func (k *sink) count(session, quit, mail, end int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sessions += session
	k.quits += quit
	k.mails += mail
	k.ended += end
	o := k.o
	if o.counters {
		fmt.Printf("sess=%d quit=%d mesg=%d\r", k.sessions, k.quits, k.mails)
	}
	if end > 0 && (o.maxMessages > 0 && k.mails >= o.maxMessages || o.maxServed > 0 && k.ended >= o.maxServed) {
		k.exit(0)
	}
}

// A session is one client.
type session struct {
	k    *sink
	o    *options
	c    net.Conn
	in   []byte // the buffer; unread input is in[r:w]
	r, w int
	out  []byte
	dump dump

	helo, proto string
	mail        string
	hasMail     bool
	rcpts       []string
	count       int // recipients
	over        bool
}

func (k *sink) session(c net.Conn) {
	buf := buffers.Get().(*[]byte)
	defer buffers.Put(buf)
	defer c.Close()
	s := &session{k: k, o: k.o, c: c, in: *buf, proto: "SMTP"}
	if k.o.lmtp {
		s.proto = "LMTP"
	}
	if s.o.verbose {
		maillog.Infof("connect from %s", c.RemoteAddr())
	}
	k.count(1, 0, 0, 0)
	s.talk()
	s.dump.abort()
	if s.o.verbose {
		maillog.Infof("disconnect")
	}
	k.count(0, 0, 0, 1)
}

func (s *session) talk() {
	if !s.event("CONNECT", "") {
		s.greet()
	}
	for !s.over {
		line, err := s.line()
		if err != nil {
			return
		}
		s.command(line)
	}
	s.flush()
}

func (s *session) greet() {
	switch {
	case s.o.pix:
		s.reply("220 ********")
	case s.o.noESMTP:
		s.reply("220 " + s.o.hostname)
	default:
		s.reply("220 " + s.o.hostname + " ESMTP")
	}
}

func (s *session) reply(text string) {
	s.out = append(append(s.out, text...), '\r', '\n')
	if len(s.out) > bufferSize/2 {
		s.flush()
	}
}

func (s *session) flush() {
	if len(s.out) == 0 {
		return
	}
	err := s.c.SetWriteDeadline(time.Now().Add(s.o.timeout))
	if err == nil {
		_, err = s.c.Write(s.out)
	}
	if err != nil {
		s.over = true
	}
	s.out = s.out[:0]
}

// fill reads more input behind what is unread. Replies leave first.
func (s *session) fill() error {
	s.flush()
	if s.r > 0 {
		s.w = copy(s.in, s.in[s.r:s.w])
		s.r = 0
	}
	if s.w == len(s.in) {
		return fmt.Errorf("line too long")
	}
	if err := s.c.SetReadDeadline(time.Now().Add(s.o.timeout)); err != nil {
		return err
	}
	n, err := s.c.Read(s.in[s.w:])
	s.w += n
	if n > 0 {
		return nil
	}
	return err
}

// line returns the next line without its end. It is valid until the next read.
func (s *session) line() ([]byte, error) {
	from := s.r
	for {
		if i := bytes.IndexByte(s.in[from:s.w], '\n'); i >= 0 {
			line := s.in[s.r : from+i]
			s.r = from + i + 1
			if n := len(line); n > 0 && line[n-1] == '\r' {
				line = line[:n-1]
			}
			return line, nil
		}
		scanned := s.w - s.r
		if err := s.fill(); err != nil {
			return nil, err
		}
		from = s.r + scanned
	}
}

// event does what the options ask for at a command; it returns true when that
// was the answer.
func (s *session) event(name, text string) bool {
	a := s.o.actions[name]
	if a.log {
		maillog.Infof("%s %s", name, text)
	}
	if a.delay > 0 {
		s.flush()
		d := a.delay
		for a.odds > 0 && rand.IntN(100) < a.odds {
			d += a.delay
		}
		time.Sleep(d)
	}
	switch {
	case a.hangUp:
		s.flush() // the answers to what came before
		s.over = true
	case a.shutDown:
		s.reply("421 4.0.0 Server closing connection")
		s.over = true
	case a.hard:
		s.reply(s.o.hardReply)
	case a.soft:
		s.reply(s.o.softReply)
	default:
		return false
	}
	return true
}

// command answers one command.
func (s *session) command(line []byte) {
	if s.o.verbose {
		maillog.Infof("%s", line)
	}
	verb, arg, _ := bytes.Cut(bytes.TrimLeft(line, " \t"), []byte(" "))
	if len(verb) == 0 {
		s.reply("500 5.5.2 Error: unknown command")
		return
	}
	var upper [16]byte
	name := ""
	if len(verb) <= len(upper) {
		for i, c := range verb {
			if c >= 'a' && c <= 'z' {
				c -= 'a' - 'A'
			}
			upper[i] = c
		}
		name = string(upper[:len(verb)])
	}
	if !s.known(name) {
		s.reply("500 5.5.1 Error: unknown command")
		return
	}
	if s.event(name, string(arg)) {
		return
	}
	switch name {
	case "HELO":
		s.helo = string(arg)
		s.reply("250 " + s.o.hostname)
	case "EHLO", "LHLO":
		s.helo = string(arg)
		if name == "EHLO" {
			s.proto = "ESMTP"
		}
		s.out = append(s.out, s.k.ehlo...)
	case "MAIL":
		s.mailFrom(arg)
	case "RCPT":
		s.rcptTo(arg)
	case "DATA":
		s.data()
	case "RSET":
		s.reset()
		s.reply("250 2.1.0 Ok")
	case "QUIT":
		s.reply("221 Bye")
		s.over = true
		s.flush()
		s.k.count(0, 1, 0, 0)
	default:
		s.reply("250 2.0.0 Ok")
	}
}

// known says whether a command exists in this configuration.
func (s *session) known(name string) bool {
	o := s.o
	switch name {
	case "EHLO":
		return !o.lmtp && !o.noESMTP
	case "HELO":
		return !o.lmtp
	case "LHLO":
		return o.lmtp
	case "XCLIENT":
		return !o.noXClient && !o.noESMTP
	case "XFORWARD":
		return !o.noXForward && !o.noESMTP
	case ".", "CONNECT", "":
		return false
	}
	_, ok := o.actions[name]
	return ok
}

func (s *session) reset() {
	s.hasMail, s.mail, s.count = false, "", 0
	s.rcpts = s.rcpts[:0]
}

// parameter returns what stands behind "FROM:" or "TO:".
func parameter(arg []byte) string {
	if i := bytes.IndexByte(arg, ':'); i >= 0 {
		arg = arg[i+1:]
	}
	return string(bytes.TrimLeft(arg, " \t"))
}

func (s *session) mailFrom(arg []byte) {
	if s.hasMail {
		s.reply("503 5.5.1 Error: nested MAIL command")
		return
	}
	s.hasMail = true
	if s.dumps() {
		s.mail = parameter(arg)
	}
	s.reply("250 2.1.0 Ok")
}

func (s *session) rcptTo(arg []byte) {
	if !s.hasMail {
		s.reply("503 5.5.1 Error: need MAIL command")
		return
	}
	s.count++
	if s.dumps() {
		s.rcpts = append(s.rcpts, parameter(arg))
	}
	s.reply("250 2.1.5 Ok")
}

func (s *session) dumps() bool { return s.o.dumpSingle != "" || s.o.dumpMany != "" }

// data takes the content.
func (s *session) data() {
	if s.count == 0 {
		s.reply("503 5.5.1 Error: need RCPT command")
		return
	}
	if s.dumps() {
		if err := s.dump.begin(s); err != nil {
			maillog.Fatalf("%v", err)
		}
	}
	s.reply("354 End data with <CR><LF>.<CR><LF>")
	if s.o.abort {
		s.flush()
		time.Sleep(s.o.abortDelay)
		s.reply("550 This violates SMTP")
		s.over = true
		return
	}
	if s.o.readDelay > 0 {
		s.flush()
		time.Sleep(s.o.readDelay)
	}
	var err error
	if s.dumps() {
		err = s.copyContent()
	} else {
		err = s.skipContent()
	}
	if err != nil {
		s.over = true
		return
	}
	if err := s.dump.end(); err != nil {
		maillog.Fatalf("%v", err)
	}
	s.k.count(0, 0, 1, 0)
	for range s.answers() {
		if !s.event(".", "") {
			if s.o.lmtp {
				s.reply("250 2.2.0 Ok")
			} else {
				s.reply("250 2.0.0 Ok")
			}
		}
	}
	s.reset()
}

// answers is the number of replies to a message.
func (s *session) answers() int {
	if s.o.lmtp {
		return s.count
	}
	return 1
}

var endOfData = []byte("\r\n.\r\n")

// skipContent reads up to the end of the content.
func (s *session) skipContent() error {
	// The content may consist of nothing but the final dot.
	for s.w-s.r < 3 {
		if err := s.fill(); err != nil {
			return err
		}
	}
	if bytes.HasPrefix(s.in[s.r:s.w], endOfData[2:]) {
		s.r += 3
		return nil
	}
	for {
		if i := bytes.Index(s.in[s.r:s.w], endOfData); i >= 0 {
			s.r += i + len(endOfData)
			return nil
		}
		// The end may lie across two reads.
		if s.w-s.r >= len(endOfData) {
			s.r = s.w - len(endOfData) + 1
		}
		if err := s.fill(); err != nil {
			return err
		}
	}
}
