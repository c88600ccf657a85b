// Smtp-source sends made-up mail over SMTP or LMTP, one message after the other
// or many at once, to measure the speed of a server; see smtp-source(1).
package main

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"suffix/pkg/datawriter"
	"suffix/pkg/getopt"
	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
)

const usageText = "-cdLNov -s sess -l msglen -m msgs -C count -M myhostname -f from -t to -r rcptcount -R delay -w delay host[:port]"

func main() {
	maillog.Init("smtp-source", maillog.StderrOnly("smtp-source"))
	o, err := parseOptions(os.Args[1:])
	if err != nil {
		var invalid *getopt.InvalidError
		if errors.As(err, &invalid) {
			fmt.Fprintf(os.Stderr, "smtp-source: %v\n", err)
		}
		if invalid != nil || errors.Is(err, errUsage) {
			maillog.Fatalf("usage: smtp-source %s", usageText)
		}
		maillog.Fatalf("%v", err)
	}
	if err := newSource(o).run(); err != nil {
		maillog.Fatalf("%v", err)
	}
}

// A source sends the messages.
type source struct {
	o       *options
	body    []byte // content after the headers, ready to be sent
	started atomic.Int64
	done    atomic.Int64
	rcpts   atomic.Int64
	shown   sync.Mutex
}

func newSource(o *options) *source { return &source{o: o} }

// run starts the sessions and waits for them. The first failure ends all.
func (s *source) run() error {
	if err := s.makeBody(); err != nil {
		return err
	}
	failed := make(chan error, s.o.sessions)
	for range s.o.sessions {
		go func() { failed <- s.worker() }()
	}
	for range s.o.sessions {
		if err := <-failed; err != nil {
			return err
		}
	}
	if s.o.counter {
		fmt.Println()
	}
	return nil
}

// worker sends messages until there are enough.
func (s *source) worker() error {
	o := s.o
	c := &client{s: s}
	defer c.close()
	for {
		n := s.started.Add(1)
		if n > int64(o.messages) {
			break
		}
		if o.randomDelay > 0 {
			time.Sleep(time.Duration(rand.Int64N(int64(o.randomDelay) + 1)))
		} else if o.fixedDelay > 0 {
			time.Sleep(o.fixedDelay)
		}
		if err := c.message(int(n)); err != nil {
			return err
		}
		if !o.keep {
			if err := c.quit(); err != nil {
				return err
			}
		}
	}
	return c.quit()
}

// makeBody prepares the content, or reads it from a file.
func (s *source) makeBody() error {
	var out strings.Builder
	w := datawriter.New(&out)
	defer w.Release()
	switch o := s.o; {
	case o.file != "":
		data, err := os.ReadFile(o.file)
		if err != nil {
			return fmt.Errorf("open %s: %s", o.file, syserr.Text(err))
		}
		for line := range strings.SplitSeq(strings.TrimSuffix(string(data), "\n"), "\n") {
			if err := w.Line([]byte(strings.TrimSuffix(line, "\r"))); err != nil {
				return err
			}
		}
	case o.length > 0:
		const width = 80 // with CR LF
		for left, n := o.length, 1; left > 0; n++ {
			line := []byte(strings.Repeat("X", max(min(left, width)-2, 0)))
			if len(line) == width-2 {
				line[0] = byte('0' + n%10)
			}
			if err := w.Line(line); err != nil {
				return err
			}
			left -= len(line) + 2
		}
	default:
		for n := range 5 {
			if err := w.Line(fmt.Appendf(nil, "Line %d of a test message.", n+1)); err != nil {
				return err
			}
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	s.body = []byte(out.String())
	return nil
}

// A client is one session after the other with the server.
type client struct {
	s    *source
	conn net.Conn
	in   *bufio.Reader
	out  []byte
}

// connect opens the connection; a refused one is tried again as often as -C
// says.
func (c *client) connect() error {
	o := c.s.o
	for try := 1; ; try++ {
		conn, err := (&net.Dialer{Control: o.control()}).Dial(o.network, o.address)
		if err == nil {
			c.conn = conn
			if c.in == nil {
				c.in = bufio.NewReaderSize(conn, 4096)
			} else {
				c.in.Reset(conn)
			}
			return nil
		}
		if !errors.Is(err, syscall.ECONNREFUSED) && !errors.Is(err, syscall.ECONNRESET) || try >= o.connectTries {
			return fmt.Errorf("connect: %s", syserr.Text(err))
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (c *client) close() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// begin makes sure that there is a session.
func (c *client) begin() error {
	if c.conn != nil {
		return nil
	}
	if err := c.connect(); err != nil {
		return err
	}
	if err := c.expect("connect", '2'); err != nil {
		return err
	}
	switch o := c.s.o; {
	case o.old:
		return nil
	case o.lmtp:
		return c.command('2', "LHLO ", o.hostname)
	default:
		return c.command('2', "HELO ", o.hostname)
	}
}

// command sends a command and reads its answer.
func (c *client) command(want byte, text ...string) error {
	for _, t := range text {
		c.out = append(c.out, t...)
	}
	if c.s.o.verbose {
		fmt.Fprintf(os.Stderr, ">>> %s\n", c.out)
	}
	c.out = append(c.out, '\r', '\n')
	if err := c.flush(); err != nil {
		return err
	}
	return c.expect(strings.TrimRight(text[0], " :<"), want)
}

func (c *client) flush() error {
	_, err := c.conn.Write(c.out)
	c.out = c.out[:0]
	if err != nil {
		return fmt.Errorf("error writing to server: %s", syserr.Text(err))
	}
	return nil
}

// expect reads an answer of the wanted class.
func (c *client) expect(to string, want byte) error {
	for {
		line, err := c.in.ReadSlice('\n')
		if err != nil {
			return fmt.Errorf("lost connection while waiting for the reply to %s: %s", to, syserr.Text(err))
		}
		if c.s.o.verbose {
			fmt.Fprintf(os.Stderr, "<<< %s", line)
		}
		if len(line) > 3 && line[3] == '-' {
			continue
		}
		if line[0] != want {
			text := strings.TrimRight(string(line), "\r\n")
			if !c.s.o.forgive {
				return fmt.Errorf("bad reply to %s: %s", to, text)
			}
			return errRejected
		}
		return nil
	}
}

// errRejected is a reply that -A tolerates.
var errRejected = errors.New("rejected")

// message sends one message.
func (c *client) message(n int) error {
	err := c.transaction(n)
	if errors.Is(err, errRejected) {
		err = c.command('2', "RSET")
		if errors.Is(err, errRejected) {
			err = nil
		}
	}
	return err
}

func (c *client) transaction(n int) error {
	o := c.s.o
	if err := c.begin(); err != nil {
		return err
	}
	if err := c.command('2', "MAIL FROM:<", o.from, ">"); err != nil {
		return err
	}
	first := ""
	for i := o.recipients; i > 0; i-- {
		to := o.to
		if i > 1 {
			to = fmt.Sprintf("%d%s", i, to)
		}
		if o.number {
			to = fmt.Sprintf("%d%s", c.s.rcpts.Add(1), to)
		}
		first = to
		if err := c.command('2', "RCPT TO:<", to, ">"); err != nil {
			return err
		}
	}
	if err := c.command('3', "DATA"); err != nil {
		return err
	}
	if !o.old && o.file == "" {
		c.out = fmt.Appendf(c.out, "From: <%s>\r\nTo: <%s>\r\nDate: %s\r\nMessage-Id: <%04x.%04x.%04x@%s>\r\n", o.from, first,
			time.Now().Format("Mon, _2 Jan 2006 15:04:05 -0700 (MST)"), os.Getpid()&0xffff, n>>16, n&0xffff, o.hostname)
		if o.subject != "" {
			c.out = fmt.Appendf(c.out, "Subject: %s\r\n", o.subject)
		}
		c.out = append(c.out, '\r', '\n')
	}
	c.out = append(c.out, c.s.body...)
	c.out = append(c.out, ".\r\n"...)
	if err := c.flush(); err != nil {
		return err
	}
	answers := 1
	if o.lmtp {
		answers = o.recipients
	}
	for range answers {
		if err := c.expect("end of data", '2'); err != nil {
			return err
		}
	}
	if o.counter {
		c.s.shown.Lock()
		fmt.Printf("%d\r", c.s.done.Add(1))
		c.s.shown.Unlock()
	}
	return nil
}

// quit ends the session, if there is one.
func (c *client) quit() error {
	if c.conn == nil {
		return nil
	}
	err := c.command('2', "QUIT")
	c.close()
	if errors.Is(err, errRejected) {
		return nil
	}
	return err
}

// control sets the window size where that is asked for.
func (o *options) control() func(network, address string, raw syscall.RawConn) error {
	if o.window == 0 {
		return nil
	}
	return func(_, _ string, raw syscall.RawConn) error {
		var failed error
		err := raw.Control(func(fd uintptr) {
			for _, option := range []int{unix.SO_SNDBUF, unix.SO_RCVBUF} {
				if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, option, o.window); err != nil {
					failed = err
				}
			}
		})
		return errors.Join(err, failed)
	}
}
