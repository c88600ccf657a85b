package main

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"suffix/pkg/getopt"
)

const usageText = "[-468acCeEFLpPv] [-A abort_delay] [-b soft_bounce_reply] [-B hard_bounce_reply] [-d dump-template] [-D dump-template] [-f commands] [-h hostname] [-m max_concurrency] [-M message_quit_count] [-n quit_count] [-q commands] [-r commands] [-R root-dir] [-s commands] [-S start-string] [-u user_privs] [-w delay] [host]:port backlog"

// usageError is a command line that makes no sense.
type usageError struct{ error }

// options is the command line.
type options struct {
	address string
	network string // tcp, tcp4, tcp6
	backlog int

	no8bit, noAuth, noXClient, noESMTP, noCodes, noXForward, noDSN, noPipelining bool
	lmtp, pix, counters, verbose                                                 bool

	softReply, hardReply string
	actions              map[string]*action // by command
	hostname             string
	dumpSingle, dumpMany string // strftime templates
	startString          string

	abort                  bool
	abortDelay, readDelay  time.Duration // -A, -H
	timeout                time.Duration
	maxClients             int
	maxMessages, maxServed int // 0: no limit
	window                 int
	user, root             string
}

// An action is what happens at a command.
type action struct {
	hard, soft, hangUp, shutDown, log bool
	delay                             time.Duration
	odds                              int // percent of rolls that lengthen the delay
}

// commandNames are the events that options may refer to.
var commandNames = []string{"CONNECT", "HELO", "EHLO", "LHLO", "XCLIENT", "XFORWARD", "AUTH", "MAIL", "RCPT", "VRFY", "DATA", ".", "RSET", "NOOP", "QUIT"}

func parseOptions(args []string) (*options, error) {
	o := &options{network: "tcp", hostname: "smtp-sink", timeout: 100 * time.Second, maxClients: 256,
		softReply: "450 4.3.0 Error: command failed", hardReply: "500 5.3.0 Error: command failed",
		actions: make(map[string]*action)}
	for _, name := range commandNames {
		o.actions[name] = &action{}
	}
	list, rest, err := getopt.Parse(args, "468aA:b:B:cCd:D:eEf:Fh:H:Lm:M:n:NpPq:Q:r:R:s:S:t:T:u:vw:W:")
	if err != nil {
		return nil, usageError{fmt.Errorf("smtp-sink: %w", err)}
	}
	for _, opt := range list {
		if err := o.set(opt); err != nil {
			return nil, err
		}
	}
	if len(rest) != 2 {
		return nil, usageError{fmt.Errorf("smtp-sink: need an address and a backlog")}
	}
	o.address = rest[0]
	if o.backlog, err = number(rest[1]); err != nil || o.backlog == 0 {
		return nil, usageError{fmt.Errorf("smtp-sink: bad backlog: %s", rest[1])}
	}
	if os.Geteuid() == 0 && o.user == "" {
		return nil, fmt.Errorf("-u option is required if running as root")
	}
	return o, nil
}

func (o *options) set(opt getopt.Option) (err error) {
	each := func(f func(*action)) error {
		for _, name := range strings.FieldsFunc(opt.Value, func(c rune) bool { return c == ',' || c == ' ' || c == '\t' || c == '\n' }) {
			a, ok := o.actions[strings.ToUpper(name)]
			if !ok {
				return fmt.Errorf("unknown command: %s", name)
			}
			f(a)
		}
		return nil
	}
	switch opt.Letter {
	case '4':
		o.network = "tcp4"
	case '6':
		o.network = "tcp6"
	case '8':
		o.no8bit = true
	case 'a':
		o.noAuth = true
	case 'A':
		o.abort = true
		o.abortDelay, err = seconds(opt.Value)
	case 'b':
		o.softReply, err = checkReply(opt.Value, '4')
	case 'B':
		o.hardReply, err = checkReply(opt.Value, '5')
	case 'c':
		o.counters = true
	case 'C':
		o.noXClient = true
	case 'd':
		o.dumpSingle = opt.Value
	case 'D':
		o.dumpMany = opt.Value
	case 'e':
		o.noESMTP = true
	case 'E':
		o.noCodes = true
	case 'f':
		o.noPipelining = true
		err = each(func(a *action) { a.hard, a.soft = true, false })
	case 'F':
		o.noXForward = true
	case 'h':
		o.hostname = opt.Value
	case 'H':
		o.readDelay, err = seconds(opt.Value)
	case 'L':
		o.lmtp = true
	case 'm':
		if o.maxClients, err = number(opt.Value); err == nil && o.maxClients == 0 {
			err = fmt.Errorf("bad concurrency limit: %s", opt.Value)
		}
	case 'M':
		o.maxMessages, err = number(opt.Value)
	case 'n':
		o.maxServed, err = number(opt.Value)
	case 'N':
		o.noDSN = true
	case 'p':
		o.noPipelining = true
	case 'P':
		o.pix, o.noESMTP = true, true
	case 'q':
		err = each(func(a *action) { a.hangUp = true })
	case 'Q':
		err = each(func(a *action) { a.shutDown = true })
	case 'r':
		o.noPipelining = true
		err = each(func(a *action) { a.soft, a.hard = true, false })
	case 'R':
		o.root = opt.Value
	case 's':
		err = each(func(a *action) { a.log = true })
	case 'S':
		o.startString = unescape(opt.Value)
	case 't':
		o.timeout, err = seconds(opt.Value)
	case 'T':
		if o.window, err = number(opt.Value); err == nil && o.window == 0 {
			err = fmt.Errorf("bad TCP window size: %s", opt.Value)
		}
	case 'u':
		o.user = opt.Value
	case 'v':
		o.verbose = true
	case 'w':
		o.actions["DATA"].delay, err = seconds(opt.Value)
	case 'W':
		err = o.setDelay(opt.Value)
	}
	return err
}

// setDelay reads command:delay[:odds].
func (o *options) setDelay(text string) error {
	parts := strings.Split(text, ":")
	if len(parts) < 2 || len(parts) > 3 {
		return fmt.Errorf("bad command delay: %s", text)
	}
	a, ok := o.actions[strings.ToUpper(parts[0])]
	if !ok {
		return fmt.Errorf("unknown command: %s", parts[0])
	}
	var err error
	if a.delay, err = seconds(parts[1]); err != nil {
		return err
	}
	if len(parts) == 3 {
		if a.odds, err = number(parts[2]); err != nil || a.odds < 1 || a.odds > 99 {
			return fmt.Errorf("bad delay odds: %s", text)
		}
	}
	return nil
}

// checkReply makes sure that a reply fits its use.
func checkReply(text string, class byte) (string, error) {
	if len(text) < 3 || text[0] != class || strings.Trim(text[:3], "0123456789") != "" || strings.ContainsAny(text, "\r\n") {
		return "", fmt.Errorf("bad reply: %s -- need %cXX text", text, class)
	}
	return text, nil
}

func number(text string) (int, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 1<<30 {
		return 0, fmt.Errorf("bad number: %s", text)
	}
	return n, nil
}

// unescape resolves the escape sequences of C in a string.
func unescape(text string) string {
	const letters, values = `abfnrtv\`, "\a\b\f\n\r\t\v\\"
	var b strings.Builder
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' || i+1 == len(text) {
			b.WriteByte(text[i])
			continue
		}
		i++
		if at := strings.IndexByte(letters, text[i]); at >= 0 {
			b.WriteByte(values[at])
			continue
		}
		n, digits := 0, 0
		for digits < 3 && i < len(text) && text[i] >= '0' && text[i] <= '7' {
			n = n*8 + int(text[i]-'0')
			digits++
			i++
		}
		if digits == 0 {
			b.WriteByte(text[i])
			continue
		}
		i--
		b.WriteByte(byte(n))
	}
	return b.String()
}
