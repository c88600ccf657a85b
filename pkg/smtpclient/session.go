package smtpclient

import (
	"bufio"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// features of a server, as its EHLO reply announced them.
type features uint

const (
	featESMTP features = 1 << iota
	feat8BITMIME
	featPipelining
	featSize
	featDSN
	featSTARTTLS
	featAUTH
	featSMTPUTF8
	featPIXDelay
	featXName
	featXAddr
	featXPort
	featXProto
	featXHelo
	featXIdent
	featXSource
)

// windowSize is the number of command bytes that may be under way without
// reading replies: no more than any kernel buffers, so that neither side can
// block the other.
const windowSize = 4096

// A session is one connection to a server.
type session struct {
	cfg  *Config
	conn net.Conn
	in   *bufio.Reader
	out  []byte // commands not sent yet
	addr netip.Addr
	port uint16

	destination  string // the list entry that led here
	host         string
	nameAddr     string // host[addr]
	nameAddrPort string // host[addr]:port

	features  features
	sizeLimit int64
	state     string    // for error texts
	deadline  time.Time // of the current reply
	start     time.Time // when the connection was made
	bestMX    bool

	reuse     int       // deliveries before this one
	fromCache bool      // not connected by this request
	expires   time.Time // when the connection may not be used any more; zero: not to be cached
	noCache   bool
	quitSent  bool
	dead      bool

	reader     replyReader
	garbageOdd bool
	odd        map[string]bool // classes of trouble for the postmaster
	transcript []string
	messageID  string // queue ID for log lines
	debug      bool   // log the dialogue
}

var inBuffers = sync.Pool{New: func() any { return bufio.NewReaderSize(nil, 4096) }}
var outBuffers = sync.Pool{New: func() any {
	b := make([]byte, 0, windowSize+512)
	return &b
}}

func newSession(cfg *Config, conn net.Conn, host, where string, addr netip.Addr, port uint16) *session {
	s := &session{cfg: cfg, conn: conn, addr: addr, port: port, host: host, start: time.Now()}
	s.nameAddr = host + "[" + where + "]"
	s.nameAddrPort = s.nameAddr
	if port != 0 {
		s.nameAddrPort += ":" + strconv.Itoa(int(port))
	}
	s.in = inBuffers.Get().(*bufio.Reader)
	s.in.Reset(sessionReader{s})
	s.out = (*outBuffers.Get().(*[]byte))[:0]
	s.reader = replyReader{r: s.in, limit: cfg.ReplyLimit, utf8: cfg.SMTPUTF8,
		longLine: s.warnLongLine, longText: s.warnLongText, garbage: s.sawGarbage}
	if !cfg.ReplyFilter.Empty() {
		s.reader.filter = s.filterReply
	}
	return s
}

// sessionReader reads from the connection with the deadline of the reply.
type sessionReader struct{ s *session }

func (r sessionReader) Read(p []byte) (int, error) {
	if err := r.s.conn.SetReadDeadline(r.s.deadline); err != nil {
		return 0, err
	}
	return r.s.conn.Read(p)
}

func (s *session) log() Log { return s.cfg.Log }

func (s *session) has(f features) bool { return s.features&f != 0 }

func (s *session) warnLongLine(text string) {
	s.log().Warnf("%s: response longer than %d: %s...", s.nameAddrPort, s.cfg.ReplyLimit, text)
}

func (s *session) warnLongText(text string) {
	s.log().Warnf("%s: multi-line response longer than %d %s", s.nameAddrPort, s.cfg.ReplyLimit, text)
}

// sawGarbage deals with a line that is no reply line.
func (s *session) sawGarbage(line string) {
	s.noCache = true
	s.oddity("protocol")
	if s.garbageOdd || !s.has(featPipelining) {
		return
	}
	s.garbageOdd = true
	kind, parameter := "non-ESMTP", s.cfg.Prefix+"_discard_ehlo_keyword_address_maps"
	if s.cfg.LMTP {
		kind, parameter = "non-LMTP", s.cfg.Prefix+"_discard_lhlo_keyword_address_maps"
	}
	s.log().Warnf("%s: %s response from %s: %s", s.messageID, kind, s.nameAddrPort, line[:min(len(line), 100)])
	if s.cfg.HelpfulWarnings {
		s.log().Warnf("to prevent loss of mail, turn off command pipelining for %s with the %s parameter", s.addr, parameter)
	}
}

// filterReply applies smtp_reply_filter to a line.
func (s *session) filterReply(line string) (string, error) {
	value, found, err := s.cfg.ReplyFilter.Find(line)
	if err != nil {
		name := ""
		if t := s.cfg.ReplyFilter.Tables(); len(t) > 0 {
			name = t[0].Name()
		}
		s.log().Warnf("%s: table %s lookup error for %s", s.messageID, name, line)
		return "", errLocalData
	}
	if !found {
		return line, nil
	}
	value = printable(value, s.cfg.SMTPUTF8)
	s.log().Infof("%s: replacing server reply \"%s\" with \"%s\"", s.nameAddrPort, line, value)
	if s.transcribes() {
		s.record(" In:  " + line)
		s.record(" Replaced-by: " + value)
	}
	return value, nil
}

// command queues a command. The caller has made sure that it has no line end.
func (s *session) command(text ...string) {
	at := len(s.out)
	for _, t := range text {
		s.out = append(s.out, t...)
	}
	if s.transcribes() {
		s.record(" Out: " + string(s.out[at:]))
	}
	if s.debug {
		s.log().Infof("> %s: %s", s.nameAddrPort, s.out[at:])
	}
	s.out = append(s.out, '\r', '\n')
}

// flush sends the queued commands.
func (s *session) flush(timeout time.Duration) error {
	_, err := timedWriter{s, timeout, time.Time{}}.Write(s.out)
	s.out = s.out[:0]
	return err
}

// timedWriter writes with a limit on the time without progress, or, where
// there is a deadline, on the whole.
type timedWriter struct {
	s        *session
	timeout  time.Duration
	deadline time.Time
}

func (w timedWriter) Write(p []byte) (written int, err error) {
	for len(p) > 0 {
		deadline := w.deadline
		if deadline.IsZero() {
			deadline = time.Now().Add(w.timeout)
		}
		if err := w.s.conn.SetWriteDeadline(deadline); err != nil {
			return written, err
		}
		n, err := w.s.conn.Write(p)
		written += n
		p = p[n:]
		if err != nil && (n == 0 || !w.deadline.IsZero() || !isTimeout(err)) {
			return written, err
		}
	}
	return written, nil
}

func isTimeout(err error) bool {
	t, ok := err.(net.Error)
	return ok && t.Timeout() || os.IsTimeout(err)
}

// reply reads the answer to one command.
func (s *session) reply(timeout time.Duration, r *reply) error {
	s.deadline = time.Now().Add(timeout)
	if err := s.reader.read(r); err != nil {
		return err
	}
	if s.transcribes() {
		for line := range strings.SplitSeq(r.text, "\n") {
			s.record(" In:  " + line)
		}
	}
	if s.debug {
		for line := range strings.SplitSeq(r.text, "\n") {
			s.log().Infof("< %s: %s", s.nameAddrPort, line[:min(len(line), 100)])
		}
	}
	return nil
}

// ask sends one command and reads its answer.
func (s *session) ask(state string, timeout time.Duration, r *reply, text ...string) error {
	s.state = state
	s.command(text...)
	if err := s.flush(timeout); err != nil {
		return err
	}
	return s.reply(timeout, r)
}

// quit says good-bye, unless that was done or cannot be.
func (s *session) quit() {
	if s.dead || s.quitSent {
		return
	}
	s.quitSent = true
	s.state = "sending QUIT"
	s.command("QUIT")
	if err := s.flush(s.cfg.QuitTimeout); err != nil {
		s.dead = true
		return
	}
	s.awaitQuit()
}

// awaitQuit reads the answer to QUIT where the configuration wants that. What
// it is does not matter.
func (s *session) awaitQuit() {
	if s.cfg.SkipQuitResponse {
		return
	}
	var r reply
	if err := s.reply(s.cfg.QuitTimeout, &r); err != nil {
		s.dead = true
	}
}

// close releases the connection.
func (s *session) close() {
	if s.conn == nil {
		return
	}
	// The dialogue is over: an error of close changes nothing for the mail.
	_ = s.conn.Close()
	s.conn = nil
	s.in.Reset(nil)
	inBuffers.Put(s.in)
	out := s.out[:0]
	outBuffers.Put(&out)
	s.in, s.out, s.reader.r = nil, nil, nil
}

// reusable says whether the connection may be kept for another delivery.
func (s *session) reusable() bool {
	return !s.expires.IsZero() && !s.noCache && !s.dead && !s.quitSent && len(s.odd) == 0 &&
		time.Now().Before(s.expires) &&
		(s.cfg.ReuseCountLimit == 0 || s.reuse+1 < s.cfg.ReuseCountLimit)
}
