// Package maillog writes the mail log: to syslog, or through the postlog
// service to the file that main.cf names, and for commands to the standard
// error stream (spec master §9, §11).
//
// A program calls Init as its first act, and Configure when it has read
// main.cf. Between the two, the environment that master or postfix(1) made
// says where records go. Package logconf does the second step from a
// config.Main.
//
// Every record is one line and one system call. Text from outside cannot forge
// another line: whatever is not printable becomes a question mark.
package maillog

import (
	"fmt"
	"os"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// A Level is the severity of a record.
type Level int

// The levels, from mild to fatal.
const (
	Info Level = iota
	Warning
	Error
	Fatal
	Panic
)

// prefixes stand between the tag and the text; priorities are those of syslog.
var (
	prefixes   = [...]string{"", "warning: ", "error: ", "fatal: ", "panic: "}
	priorities = [...]int{6, 4, 3, 2, 2}
)

// ParseLevel knows the names that postlog(1) accepts, in lower case.
func ParseLevel(name string) (Level, bool) {
	switch name {
	case "info":
		return Info, true
	case "warn", "warning":
		return Warning, true
	case "error", "err":
		return Error, true
	case "fatal", "crit":
		return Fatal, true
	case "panic":
		return Panic, true
	}
	return Info, false
}

// maxText is the length in bytes at which the text of a record is cut.
const maxText = 2000

// maxErrors is the number of error records that a program may log.
const maxErrors = 13

// setup is where records go. It is replaced as a whole.
type setup struct {
	prefix   string // tag prefix: syslog_name
	tag      string // the program's own tag, complete
	host     string
	facility int // syslog facility, times 8
	socket   string
	file     *fallback // programs that may write the log file themselves
	stderr   string    // name in front of standard error copies, "" for none
	quiet    bool      // standard error only
	direct   bool      // write to the file, not to the socket
	pid      string
}

var (
	current    atomic.Pointer[setup]
	utf8OK     atomic.Bool
	errorCount atomic.Int32
	dying      atomic.Bool
	out        sink
	verbose    atomic.Int32
	exitHook   atomic.Pointer[func()]
)

// An Option changes what Init sets up.
type Option func(*setup)

// WithStderr also copies each record to the standard error stream, as
// "NAME: warning: text".
func WithStderr(name string) Option { return func(s *setup) { s.stderr = name } }

// WithStderrTag is WithStderr with the tag of the record as the name, as
// daemons do with option -V.
func WithStderrTag() Option { return func(s *setup) { s.stderr = s.tag } }

// StderrOnly sends records to the standard error stream and nowhere else.
func StderrOnly(name string) Option {
	return func(s *setup) { s.stderr, s.quiet = name, true }
}

// Init sets the name of the program, which stands behind syslog_name in the
// tag, and prepares for records before main.cf is read: MAIL_LOGTAG in the
// environment is the tag's first part, and POSTLOG_SERVICE the socket of the
// postlog service; without the latter, records go to syslog.
func Init(program string, options ...Option) {
	s := &setup{prefix: "postfix", host: "amnesiac", facility: facilities["mail"], pid: strconv.Itoa(os.Getpid())}
	if v := safeGetenv("MAIL_LOGTAG"); v != "" {
		s.prefix = Printable(v)
	}
	if v := safeGetenv("POSTLOG_HOSTNAME"); v != "" {
		s.host = Printable(v)
	}
	s.socket = safeGetenv("POSTLOG_SERVICE")
	s.tag = s.prefix + "/" + program
	for _, o := range options {
		o(s)
	}
	current.Store(s)
	out.reset(s)
}

// safeGetenv reads the environment unless an unprivileged caller controls it.
func safeGetenv(name string) string {
	if os.Getuid() != os.Geteuid() || os.Getgid() != os.Getegid() {
		return ""
	}
	return os.Getenv(name)
}

func load() *setup {
	if s := current.Load(); s != nil {
		return s
	}
	Init("unknown")
	return current.Load()
}

// A Logger logs under a program name of its own: an engine that answers in
// another service's stead logs as that service. The nil Logger is the program's.
type Logger struct{ program string }

// For returns a Logger with the tag syslog_name/program.
func For(program string) *Logger { return &Logger{program} }

// Default returns the Logger of the program itself.
func Default() *Logger { return nil }

// Infof logs a record without severity word.
func (l *Logger) Infof(format string, args ...any) { write(l, Info, format, args) }

// Warnf logs a warning.
func (l *Logger) Warnf(format string, args ...any) { write(l, Warning, format, args) }

// Errorf logs an error. The program ends with the 13th.
func (l *Logger) Errorf(format string, args ...any) { write(l, Error, format, args); countError() }

// Fatalf logs, waits a second, and ends the program with status 1.
func (l *Logger) Fatalf(format string, args ...any) { die(l, Fatal, 1, format, args) }

// Logf logs at the given level, without ending the program.
func (l *Logger) Logf(level Level, format string, args ...any) { write(l, level, format, args) }

// Infof logs a record without severity word.
func Infof(format string, args ...any) { write(nil, Info, format, args) }

// Warnf logs a warning.
func Warnf(format string, args ...any) { write(nil, Warning, format, args) }

// Errorf logs an error. The program ends with the 13th.
func Errorf(format string, args ...any) { write(nil, Error, format, args); countError() }

// Fatalf logs, waits a second, and ends the program with status 1. Only
// programs call it; packages return errors.
func Fatalf(format string, args ...any) { die(nil, Fatal, 1, format, args) }

// Exitf logs as Fatalf does, and ends the program with its own exit status, at
// once.
func Exitf(status int, format string, args ...any) { die(nil, Fatal, status, format, args) }

// Panicf logs that the program contradicts itself. It does not end it: a
// daemon outlives the failure of one session.
func Panicf(format string, args ...any) { write(nil, Panic, format, args) }

// Logf logs at the given level, without ending the program.
func Logf(level Level, format string, args ...any) { write(nil, level, format, args) }

// Verbose is the number of -v options; Debugf logs only where it is above zero.
func Verbose() int { return int(verbose.Load()) }

// SetVerbose sets what Verbose returns.
func SetVerbose(n int) { verbose.Store(int32(n)) }

// Debugf logs an info record in a verbose program.
func Debugf(format string, args ...any) {
	if verbose.Load() > 0 {
		write(nil, Info, format, args)
	}
}

// AtFatal sets what Fatalf calls before it waits and exits: removing an
// unfinished file, for instance.
func AtFatal(hook func()) { exitHook.Store(&hook) }

func countError() {
	if errorCount.Add(1) >= maxErrors {
		Fatalf("too many errors - program terminated")
	}
}

func die(l *Logger, level Level, status int, format string, args []any) {
	if dying.Swap(true) {
		// Another goroutine is ending the program; a second reason is not
		// logged, and this one must not go on.
		select {}
	}
	write(l, level, format, args)
	if hook := exitHook.Load(); hook != nil {
		(*hook)()
	}
	if status == 1 {
		// Whoever starts the program again and again gets a rest.
		time.Sleep(time.Second)
	}
	os.Exit(status)
}

// buffers hold one record each, for standard error, syslog and file alike.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, 512); return &b }}

func write(l *Logger, level Level, format string, args []any) {
	s := load()
	bp := buffers.Get().(*[]byte)
	b := (*bp)[:0]
	if s.stderr != "" {
		b = append(append(b, s.stderr...), ": "...)
		b = appendText(b, level, format, args)
		b = append(b, '\n')
		// Standard error is a courtesy; there is nowhere to report its failure.
		_, _ = os.Stderr.Write(b)
		b = b[:0]
	}
	if !s.quiet {
		b = s.appendHead(b, l, level, time.Now())
		b = appendText(b, level, format, args)
		out.send(s, b)
	}
	if cap(b) <= 4096 {
		*bp = b
		buffers.Put(bp)
	}
}

// appendHead adds everything before the severity word.
func (s *setup) appendHead(b []byte, l *Logger, level Level, now time.Time) []byte {
	if s.socket == "" {
		b = append(b, '<')
		b = strconv.AppendInt(b, int64(s.facility+priorities[level]), 10)
		b = append(b, '>')
		b = now.AppendFormat(b, "Jan _2 15:04:05 ")
	} else {
		b = now.AppendFormat(b, "Jan 02 15:04:05 ")
		b = append(append(b, s.host...), ' ')
	}
	if l == nil {
		b = append(b, s.tag...)
	} else {
		b = append(append(append(b, s.prefix...), '/'), l.program...)
	}
	b = append(append(append(b, '['), s.pid...), "]: "...)
	return b
}

// appendText adds severity word and text, filtered and cut.
func appendText(b []byte, level Level, format string, args []any) []byte {
	b = append(b, prefixes[level]...)
	start := len(b)
	if len(args) == 0 {
		b = append(b, format...)
	} else {
		b = fmt.Appendf(b, format, args...)
	}
	if len(b)-start > maxText {
		b = b[:start+cut(b[start:], maxText)]
	}
	filterBytes(b[start:])
	return b
}

// Raw logs text under a complete tag, at the info level: what postlogd passes
// on, whose tag has the sender's process ID already. The empty tag is the
// program's own.
func Raw(tag, text string) {
	if tag == "" {
		Infof("%s", text)
		return
	}
	s := load()
	b := append([]byte{'<'}, strconv.Itoa(s.facility+priorities[Info])+">"...)
	b = time.Now().AppendFormat(b, "Jan _2 15:04:05 ")
	b = append(append(append(b, Printable(tag)...), ": "...), Printable(text)...)
	out.send(s, b)
}

// UseFile makes the program write its own records to the open log file, and
// never to the postlog service: for that service itself.
func UseFile(f *os.File) {
	s := *load()
	s.file, s.direct = &fallback{path: f.Name(), file: f}, true
	current.Store(&s)
}
