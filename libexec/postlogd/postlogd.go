// Package postlogd is the postlogd(8) daemon: it takes the records that
// programs send to its socket and appends them to maillog_file. With
// maillog_file empty, after a change of configuration, it passes on to syslog
// what programs still send.
//
// It talks to no other service. It reads maillog_file,
// maillog_file_permissions, postlogd_watchdog_timeout and the parameters of
// every daemon.
package postlogd

import (
	"bytes"
	"os"

	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/safefile"
	"suffix/pkg/service"
)

// logger appends records to the log file.
type logger struct {
	file *os.File // nil: pass on to syslog
	path string
	buf  []byte
}

// Main runs the daemon.
func Main() {
	l := &logger{}
	service.Run(service.Daemon{
		Program:  "postlogd",
		Kind:     service.Datagram,
		Limit:    service.LimitOne,
		NoMaxUse: true,
		Setup:    l.open,
		Packets:  l.append,
	})
}

// open opens the log file while there are the rights to do so.
func (l *logger) open(p *service.Process) error {
	l.path = p.Config.String(params.MaillogFile)
	if l.path == "" {
		return nil
	}
	f, err := maillog.OpenFile(l.path, p.Config.String(params.MaillogFilePermissions))
	if err != nil {
		return err
	}
	l.file = f
	maillog.UseFile(f)
	return nil
}

// append writes a batch of records with one system call. A record is one line,
// whatever bytes its sender put into it.
func (l *logger) append(_ *service.Process, packets [][]byte) {
	if l.file == nil {
		for _, packet := range packets {
			forward(packet)
		}
		return
	}
	buf := l.buf[:0]
	for _, packet := range packets {
		start := len(buf)
		buf = append(buf, packet...)
		for i, c := range buf[start:] {
			if c == '\n' || c == '\r' || c == 0 {
				buf[start+i] = '?'
			}
		}
		buf = append(buf, '\n')
	}
	l.buf = buf
	if _, err := l.file.Write(buf); err != nil {
		maillog.Fatalf("logfile '%s' write error: %v", l.path, safefile.Cause(err))
	}
}

// headWords is the number of words in front of the tag: month, day, time, host.
const headWords = 4

// forward logs a record under its sender's tag.
func forward(packet []byte) {
	tag, text := split(packet)
	maillog.Raw(tag, text)
}

// split takes the head off a record, and the tag. A record that has no such
// form is all text.
func split(packet []byte) (tag, text string) {
	rest := packet
	for range headWords {
		rest = bytes.TrimLeft(rest, " ")
		i := bytes.IndexByte(rest, ' ')
		if i < 0 {
			return "", string(packet)
		}
		rest = rest[i:]
	}
	rest = bytes.TrimLeft(rest, " ")
	i := bytes.IndexAny(rest, ": ")
	if i <= 0 {
		return "", string(packet)
	}
	return string(rest[:i]), string(bytes.TrimLeft(rest[i:], ": "))
}
