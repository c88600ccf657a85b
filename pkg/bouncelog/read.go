package bouncelog

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"suffix/pkg/queue"
)

// maxLine is how much of one line is kept: more than any writer makes.
const maxLine = 1 << 16

// A Reader goes through the entries of one log.
type Reader struct {
	r      *bufio.Reader
	closer io.Closer
	name   string
	status string
	action string
	warn   func(format string, args ...any)
	line   []byte
}

// Open opens the log of a message. The error satisfies errors.Is(err,
// fs.ErrNotExist) where there is none. Odd content is reported to tree.Warn
// and skipped.
func Open(tree *queue.Tree, queueName, id string) (*Reader, error) {
	f, err := tree.Open(queueName, id, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	r := NewReader(f, queueName, f.Name(), tree.Warn)
	r.closer = f
	return r, nil
}

// NewReader reads a log from a stream. The queue name decides how entries
// without status are understood; name appears in warnings.
func NewReader(in io.Reader, queueName, name string, warn func(format string, args ...any)) *Reader {
	r := &Reader{r: bufio.NewReaderSize(in, 8192), name: name, status: "5.0.0", action: "failed", warn: warn}
	if queueName == queue.Defer {
		r.status, r.action = "4.0.0", "delayed"
	}
	if r.warn == nil {
		r.warn = func(string, ...any) {}
	}
	return r
}

// Close closes the log.
func (r *Reader) Close() error {
	if r.closer == nil {
		return nil
	}
	return r.closer.Close()
}

// Next reads the next entry into e. It returns io.EOF at the end; an entry
// that is not complete there does not count.
func (r *Reader) Next(e *Entry) error {
	*e = Entry{Status: r.status, Action: r.action}
	seen := false
	for {
		line, err := r.readLine()
		if err != nil {
			return err
		}
		if len(line) == 0 {
			if seen {
				break
			}
			continue
		}
		seen = true
		r.parse(e, line)
	}
	if e.Recipient == "" {
		e.Recipient = "(recipient address unavailable)"
	}
	if e.Reason == "" {
		e.Reason = "(description unavailable)"
	}
	return nil
}

// readLine returns a line without its end, and io.EOF for one that has none.
func (r *Reader) readLine() (string, error) {
	r.line = r.line[:0]
	for {
		chunk, err := r.r.ReadSlice('\n')
		if room := maxLine - len(r.line); room > 0 {
			r.line = append(r.line, chunk[:min(len(chunk), room)]...)
		}
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
		case errors.Is(err, io.EOF):
			return "", io.EOF
		case err != nil:
			return "", fmt.Errorf("read %s: %w", r.name, err)
		default:
			return printable(strings.TrimRight(string(r.line), "\n")), nil
		}
	}
}

func (r *Reader) parse(e *Entry, line string) {
	c := line[0]
	switch {
	case c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		r.attribute(e, line)
	case c == '<':
		r.oldStyle(e, line)
	default:
		r.warn("%s: malformed record: %.30s...", r.name, line)
	}
}

const nobody = "(MAILER-DAEMON)"

func (r *Reader) oldStyle(e *Entry, line string) {
	i := strings.Index(line, ">: ")
	if i < 0 {
		r.warn("%s: malformed record: %.30s...", r.name, line)
		return
	}
	e.Recipient = line[1:i]
	if e.Recipient == "" {
		e.Recipient = nobody
	}
	e.Reason = strings.TrimLeft(line[i+3:], " \t")
}

func (r *Reader) attribute(e *Entry, line string) {
	i := strings.IndexAny(line, "= \t")
	rest := ""
	if i >= 0 {
		rest = strings.TrimLeft(line[i:], " \t")
	}
	if !strings.HasPrefix(rest, "=") {
		r.warn("%s: malformed record: %s", r.name, "missing '=' after attribute name")
		return
	}
	name, value := line[:i], strings.Trim(rest[1:], " \t")
	switch name {
	case "recipient":
		e.Recipient = value
		if value == "" {
			e.Recipient = nobody
		}
	case "original_recipient":
		e.Original = value
		if value == "" {
			e.Original = nobody
		}
	case "dsn_orig_rcpt":
		e.DSNOrig = value
	case "notify_flags":
		if n, err := strconv.Atoi(value); err == nil && n > 0 {
			e.Notify = n
		}
	case "offset":
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && n > 0 {
			e.Offset = n
		}
	case "status":
		e.Status = value
	case "action":
		e.Action = value
	case "diag_type":
		e.DiagType = value
	case "diag_text":
		e.DiagText = value
	case "mta_type":
		e.MTAType = value
	case "mta_mname":
		e.MTAName = value
	case "reason":
		e.Reason = value
	default:
		r.warn("%s: unknown attribute name: %s, ignored", r.name, name)
	}
}
