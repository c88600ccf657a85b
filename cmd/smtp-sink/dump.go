package main

import (
	"bufio"
	"bytes"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A dump is the copy of one message in a file.
type dump struct {
	f    *os.File
	w    *bufio.Writer
	path string // of a file that is removed when the message stays incomplete
}

// begin opens the file and writes what is known before the content.
func (d *dump) begin(s *session) error {
	o := s.o
	id := fmt.Sprintf("%08x", rand.Uint32())
	template, flags := o.dumpMany, os.O_APPEND
	if o.dumpSingle != "" {
		template, flags = o.dumpSingle, os.O_EXCL
	}
	now := time.Now()
	path := strftime(template, now)
	if o.dumpSingle != "" {
		path += id
	}
	if dir := filepath.Dir(path); strings.Contains(path, "/") {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|flags, 0o644)
	if err != nil {
		return err
	}
	d.f, d.w, d.path = f, bufio.NewWriter(f), ""
	if o.dumpSingle != "" {
		d.path = path
	}
	addr := clientAddress(s.c.RemoteAddr())
	fmt.Fprintf(d.w, "%sX-Client-Addr: %s\nX-Client-Proto: %s\n", o.startString, addr, s.proto)
	helo := s.helo
	if helo != "" {
		fmt.Fprintf(d.w, "X-Helo-Args: %s\n", helo)
	} else {
		helo = "[" + addr + "]"
	}
	fmt.Fprintf(d.w, "X-Mail-Args: %s\n", s.mail)
	for _, r := range s.rcpts {
		fmt.Fprintf(d.w, "X-Rcpt-Args: %s\n", r)
	}
	fmt.Fprintf(d.w, "Received: from %s ([%s])\n\tby %s (smtp-sink) with %s id %s;\n\t%s\n", helo, addr, o.hostname, s.proto, id,
		now.Format("Mon, _2 Jan 2006 15:04:05 -0700 (MST)"))
	return nil
}

// end completes the file.
func (d *dump) end() error {
	if d.f == nil {
		return nil
	}
	err := d.w.WriteByte('\n')
	if err == nil {
		err = d.w.Flush()
	}
	if closeErr := d.f.Close(); err == nil {
		err = closeErr
	}
	d.f = nil
	return err
}

// abort drops a message that was not finished.
func (d *dump) abort() {
	if d.f == nil {
		return
	}
	d.f.Close()
	d.f = nil
	if d.path != "" {
		os.Remove(d.path)
	}
}

func clientAddress(a net.Addr) string {
	tcp, ok := a.(*net.TCPAddr)
	if !ok {
		return "127.0.0.1"
	}
	ip := tcp.AddrPort().Addr().Unmap()
	if ip.Is6() {
		return "ipv6:" + ip.String()
	}
	return ip.String()
}

// copyContent copies the content into the dump, line by line.
func (s *session) copyContent() error {
	for {
		line, err := s.line()
		if err != nil {
			return err
		}
		if len(line) == 1 && line[0] == '.' {
			return nil
		}
		if len(line) > 0 && line[0] == '.' {
			line = line[1:]
		}
		if bytes.IndexByte(line, '\r') >= 0 {
			line = bytes.ReplaceAll(line, []byte("\r"), nil)
		}
		if _, err := s.dump.w.Write(line); err != nil {
			return err
		}
		if err := s.dump.w.WriteByte('\n'); err != nil {
			return err
		}
	}
}

// strftime expands a template as strftime(3) does, for the conversions that
// make sense in file names.
func strftime(template string, t time.Time) string {
	layouts := map[byte]string{'Y': "2006", 'm': "01", 'd': "02", 'H': "15", 'M': "04", 'S': "05", 'y': "06",
		'I': "03", 'p': "PM", 'a': "Mon", 'A': "Monday", 'b': "Jan", 'h': "Jan", 'B': "January", 'e': "_2",
		'F': "2006-01-02", 'T': "15:04:05", 'R': "15:04", 'D': "01/02/06", 'z': "-0700", 'Z': "MST", 'j': "002"}
	var b strings.Builder
	for i := 0; i < len(template); i++ {
		if template[i] != '%' || i+1 == len(template) {
			b.WriteByte(template[i])
			continue
		}
		i++
		switch c := template[i]; c {
		case '%':
			b.WriteByte('%')
		case 's':
			fmt.Fprintf(&b, "%d", t.Unix())
		case 'n':
			b.WriteByte('\n')
		case 't':
			b.WriteByte('\t')
		default:
			if layout, ok := layouts[c]; ok {
				b.WriteString(t.Format(layout))
			} else {
				b.WriteByte('%')
				b.WriteByte(c)
			}
		}
	}
	return b.String()
}
