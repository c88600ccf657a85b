package memcache

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
	"suffix/pkg/table/endpoint"
)

// A replyError is a reply that is not what the protocol says, or a refusal.
type replyError struct{ text string }

func (e *replyError) Error() string { return e.text }

// errLine is a line that is too long.
var errLine = errors.New("line too long")

// get asks for a value.
func (t *memcache) get(key string) (value string, found bool, err error) {
	err = t.try(func(c *endpoint.Conn) error {
		value, found, err = t.getOnce(c, key)
		return err
	})
	return value, found && err == nil, err
}

func (t *memcache) getOnce(c *endpoint.Conn, key string) (value string, found bool, err error) {
	if _, err := io.WriteString(c, "get "+key+"\r\n"); err != nil {
		return "", false, err
	}
	line, err := readLine(c, t.maxLine)
	if err != nil {
		return "", false, err
	}
	if line == "END" {
		return "", false, nil
	}
	length, ok := parseValue(line)
	if !ok || length > t.maxData {
		return "", false, &replyError{fmt.Sprintf("%s: unexpected memcache server reply: %.30s", t.Source.Name(), line)}
	}
	value, err = readData(c, length)
	if err != nil {
		return "", false, &replyError{t.Source.Name() + ": EOF receiving memcache server reply"}
	}
	if line, err = readLine(c, t.maxLine); err != nil || line != "END" {
		c.Broken = true // the value is good, the connection is not
	}
	value, _, _ = strings.Cut(value, "\x00")
	return value, true, nil
}

// set stores a value.
func (t *memcache) set(key, value string) error {
	if len(value) > t.maxData {
		maillog.Warnf("database %s: data for key %s is too long (data_size_limit=%d) -- not stored", t.Name(), key, t.maxData)
		return &table.Error{}
	}
	request := fmt.Sprintf("set %s %d %d %d\r\n%s\r\n", key, t.flags, t.ttl, len(value), value)
	return t.try(func(c *endpoint.Conn) error {
		reply, err := t.ask(c, request)
		if err == nil && reply != "STORED" {
			err = &replyError{fmt.Sprintf("database %s: update failed: %.30s", t.Name(), reply)}
		}
		return err
	})
}

// remove deletes a value.
func (t *memcache) remove(key string) (found bool, err error) {
	err = t.try(func(c *endpoint.Conn) error {
		reply, err := t.ask(c, "delete "+key+"\r\n")
		if err == nil {
			found = reply == "DELETED"
			if !found && reply != "NOT_FOUND" {
				err = &replyError{fmt.Sprintf("database %s: delete failed: %.30s", t.Name(), reply)}
			}
		}
		return err
	})
	return found && err == nil, err
}

// ask makes a request with a reply of one line.
func (t *memcache) ask(c *endpoint.Conn, request string) (reply string, err error) {
	if _, err := io.WriteString(c, request); err != nil {
		return "", err
	}
	return readLine(c, t.maxLine)
}

// try makes a request, again after a pause where the server did not answer as
// it should. What goes wrong is logged from the second time on. A server that
// cannot be reached is not tried again.
func (t *memcache) try(request func(c *endpoint.Conn) error) error {
	var cause error
	for n := 1; ; n++ {
		c, err := t.pool.Get()
		if err != nil {
			maillog.Warnf("connect to %s: %s", t.pool, syserr.Text(err))
			return &table.Error{Err: err}
		}
		if err = c.SetDeadline(time.Now().Add(t.timeout)); err == nil {
			err = request(c)
		}
		if err == nil {
			t.pool.Put(c)
			return nil
		}
		c.Close()
		cause = t.cause(err)
		if n > 1 {
			t.complain(err, cause)
		}
		if n >= t.tries {
			return &table.Error{Err: cause}
		}
		time.Sleep(t.pause)
	}
}

func (t *memcache) complain(err, cause error) {
	var reply *replyError
	if errors.As(err, &reply) {
		maillog.Warnf("%s", reply)
		return
	}
	text := ""
	if cause != nil {
		text = ": " + syserr.Text(cause)
	}
	maillog.Warnf("database %s: I/O error%s", t.Name(), text)
}

// cause is the system error that Postfix shows for a failure.
func (t *memcache) cause(err error) error {
	var errno syscall.Errno
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return syscall.ETIMEDOUT
	case errors.As(err, &errno):
		return errno
	}
	return t.pool.Residue()
}

// byteReader is a buffered stream.
type byteReader interface {
	io.Reader
	io.ByteReader
}

// readLine reads a line of at most limit bytes before its LF, and returns it
// without CR.
func readLine(r byteReader, limit int) (string, error) {
	var line []byte
	for {
		c, err := r.ReadByte()
		if err != nil {
			return "", err
		}
		if c == '\n' {
			return strings.TrimSuffix(string(line), "\r"), nil
		}
		if len(line) == limit {
			return "", errLine
		}
		line = append(line, c)
	}
}

// parseValue takes the length from "VALUE KEY FLAGS LENGTH". It is as lenient
// as Postfix.
func parseValue(line string) (length int, ok bool) {
	rest, ok := strings.CutPrefix(line, "VALUE")
	words := strings.Fields(rest)
	if !ok || len(words) < 3 {
		return 0, false
	}
	digits := words[2]
	if end := strings.IndexFunc(digits, func(r rune) bool { return r < '0' || r > '9' }); end >= 0 {
		digits = digits[:end]
	}
	length, err := strconv.Atoi(digits)
	return length, err == nil
}

// readData reads a value and the line end after it. The caller has checked
// length; memory grows with what arrives.
func readData(r byteReader, length int) (string, error) {
	var data bytes.Buffer
	if _, err := io.CopyN(&data, r, int64(length)); err != nil {
		return "", err
	}
	for _, want := range []byte("\r\n") {
		if c, err := r.ReadByte(); err != nil || c != want {
			return "", io.ErrUnexpectedEOF
		}
	}
	return data.String(), nil
}
