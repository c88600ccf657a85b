// Package tcp has the table type tcp: a server that answers "get KEY" with a
// line of a status code and a value (tcp_table(5), spec tables §11.3).
package tcp

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
	"suffix/pkg/table/endpoint"
)

func init() { table.Register("tcp", table.Type{Open: open}) }

// Limits of Postfix, not configurable. Tests shorten the times.
var (
	timeout = 100 * time.Second // of connecting, and of one request
	pause   = time.Second       // between tries
)

const (
	tries   = 10
	maxLine = 4096 // of a reply, with its newline
)

type tcp struct {
	name string
	pool *endpoint.Pool
}

func open(typ, name string, o table.Options) (table.Table, error) {
	switch {
	case o.Mode != table.ReadOnly:
		return nil, fmt.Errorf("%s:%s map requires O_RDONLY access mode", typ, name)
	case o.Flags&table.NoUnauth != 0:
		return nil, fmt.Errorf("%s:%s map is not allowed for security sensitive data", typ, name)
	}
	e, err := endpoint.ParseInet(name, o.Config)
	if err != nil {
		return nil, err
	}
	t := &tcp{name: name, pool: &endpoint.Pool{Endpoint: e, Timeout: timeout}}
	t.pool.Open()
	return t, nil
}

func (t *tcp) Name() string  { return "tcp:" + t.name }
func (t *tcp) Fixed() bool   { return false }
func (t *tcp) Changed() bool { return false }
func (t *tcp) Close() error  { return t.pool.Close() }

// Lookup asks the server, again after a while where it does not answer.
func (t *tcp) Lookup(key string) (value string, found bool, err error) {
	if strings.IndexByte(key, 0) >= 0 {
		return "", false, nil
	}
	request := append(quote([]byte("get "), key), '\n')
	for try := 1; ; try++ {
		line, conn, err := t.ask(request)
		if err == nil {
			return t.answer(line, conn)
		}
		if try == tries {
			return "", false, &table.Error{Err: err}
		}
		time.Sleep(pause)
	}
}

// ask makes one try. What goes wrong is logged; the error is the system's.
func (t *tcp) ask(request []byte) (line string, conn *endpoint.Conn, err error) {
	if conn, err = t.pool.Get(); err != nil {
		maillog.Warnf("connect to TCP map %s: %s", t.pool, syserr.Text(err))
		return "", nil, err
	}
	err = conn.SetDeadline(time.Now().Add(timeout))
	if err == nil {
		_, err = conn.Write(request)
	}
	if err == nil {
		line, err = readLine(conn)
	}
	if err == nil {
		return line, conn, nil
	}
	conn.Close()
	if errors.Is(err, errLong) {
		t.warn("%s", err)
		return "", nil, t.pool.Residue()
	}
	cause := t.pool.Residue()
	var errno syscall.Errno
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		cause = syscall.ETIMEDOUT
	case errors.As(err, &errno):
		cause = errno
	}
	t.warn("unexpected EOF (%s)", syserr.Text(cause))
	return "", nil, cause
}

func (t *tcp) warn(format string, args ...any) {
	maillog.Warnf("read TCP map reply from %s: %s", t.pool, fmt.Sprintf(format, args...))
}

// answer takes a reply line apart. The connection is kept only where the
// server knows what it says.
func (t *tcp) answer(line string, conn *endpoint.Conn) (value string, found bool, err error) {
	code, text, ok := parseReply(line)
	if ok && (code == '2' || code == '5') {
		t.pool.Put(conn)
		return text, code == '2', nil
	}
	conn.Close()
	switch {
	case !ok:
		t.warn("malformed reply: %.100s", line)
	case code != '4':
		t.warn("bad status code: %.100s", line)
	}
	return "", false, &table.Error{Err: t.pool.Residue()}
}

// errLong is a line that is too long, or whose end is missing.
var errLong = fmt.Errorf("text longer than %d", maxLine)

// readLine reads a reply without its newline.
func readLine(r io.ByteReader) (string, error) {
	var line []byte
	for len(line) < maxLine {
		c, err := r.ReadByte()
		if errors.Is(err, io.EOF) && len(line) > 0 {
			return "", errLong
		}
		if err != nil {
			return "", err
		}
		if c == '\n' {
			text, _, _ := strings.Cut(string(line), "\x00")
			return text, nil
		}
		line = append(line, c)
	}
	return "", errLong
}

// parseReply splits a line into the first digit of its code and its text.
func parseReply(line string) (code byte, text string, ok bool) {
	if len(line) < 4 || !isDigit(line[0]) || !isDigit(line[1]) || !isDigit(line[2]) || !table.IsSpace(line[3]) {
		return 0, "", false
	}
	text, ok = unquote(line[4:])
	return line[0], text, ok
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

const upperHex = "0123456789ABCDEF"

// quote appends text with percent signs, blanks, controls and everything that
// is not ASCII as %XX.
func quote(b []byte, text string) []byte {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c == '%' || c <= ' ' || c >= 0x7f {
			b = append(b, '%', upperHex[c>>4], upperHex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return b
}

// unquote undoes quote. The value ends where it has a NUL.
func unquote(text string) (string, bool) {
	if !strings.Contains(text, "%") {
		return text, true
	}
	b := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		c := text[i]
		if c == '%' {
			if i+2 >= len(text) {
				return "", false
			}
			high, low := unhex(text[i+1]), unhex(text[i+2])
			if high > 15 || low > 15 {
				return "", false
			}
			c, i = high<<4|low, i+2
		}
		b = append(b, c)
	}
	plain, _, _ := strings.Cut(string(b), "\x00")
	return plain, true
}

// unhex is the value of a hexadecimal digit, more than 15 for anything else.
func unhex(c byte) byte {
	switch {
	case isDigit(c):
		return c - '0'
	case 'a' <= c|0x20 && c|0x20 <= 'f':
		return c | 0x20 - 'a' + 10
	}
	return 0xff
}
