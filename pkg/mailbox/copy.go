// Package mailbox delivers messages to their last place: mbox files, maildir
// folders, and the standard input of commands (spec delivery §4–§7).
//
// What concerns a user's files is done with that user's rights only; the
// caller arranges for them (package account).
package mailbox

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"syscall"
	"time"

	"suffix/pkg/address"
	"suffix/pkg/deliver"
	"suffix/pkg/dsn"
	"suffix/pkg/maillog"
	"suffix/pkg/record"
	"suffix/pkg/syserr"
)

// CopyOptions say which lines go before the content, and how the content is
// changed on its way.
type CopyOptions struct {
	From        bool // mbox separator line
	ReturnPath  bool
	OriginalTo  string // X-Original-To, internal form; empty: no such line
	DeliveredTo string // Delivered-To, internal form; empty: no such line
	Quote       bool   // ">" before lines that start with "From "
	Dot         bool   // "." before lines that start with "."
	Blank       bool   // an empty line after the message
	EOL         string // line end; empty is LF
	NullSender  string // replaces the null sender in From_ and Return-Path
}

// A CopyError says why a message could not be copied.
type CopyError struct {
	Err     error
	Writing bool // the target failed, not the queue file
	Corrupt bool // the queue file is damaged
}

func (e *CopyError) Error() string {
	if e.Writing {
		return "error writing message: " + syserr.Text(e.Err)
	}
	return "error reading message: " + syserr.Text(e.Err)
}

func (e *CopyError) Unwrap() error { return e.Err }

// DSN renders the error as the outcome of a delivery (spec delivery §4).
func (e *CopyError) DSN() dsn.DSN {
	d := dsn.DSN{Reason: e.Error(), DiagType: "x-unix", DiagText: "input/output error", Status: "5.3.0"}
	switch {
	case e.Writing:
		d.Status = Status(e.Err, "5.3.0")
	case errors.Is(e.Err, syscall.EAGAIN), errors.Is(e.Err, syscall.ESTALE):
		d.Status = "4.3.0"
	}
	return d
}

// Status maps an error number to an enhanced status code.
func Status(err error, other string) string {
	switch {
	case errors.Is(err, syscall.EAGAIN), errors.Is(err, syscall.ESTALE):
		return "4.2.0"
	case errors.Is(err, syscall.ENOSPC):
		return "4.3.0"
	case errors.Is(err, syscall.EDQUOT), errors.Is(err, syscall.EFBIG):
		return "5.2.2"
	}
	return other
}

// copyBuffer is how much is collected before it is written.
const copyBuffer = 64 << 10

// Copy writes the message to w.
func Copy(w io.Writer, r *deliver.Request, o CopyOptions) error {
	out := &copier{w: w, eol: o.EOL}
	if out.eol == "" {
		out.eol = "\n"
	}
	out.headers(r, o)

	in := record.NewFileReader(r.File, r.QueueID)
	in.SeekTo(r.Offset)
	lineStart := true
	for {
		t, data, err := in.Next()
		switch {
		case record.IsBad(err) || err == io.EOF:
			maillog.Warnf("%s: message content ends early: %v", r.QueueID, err)
			return &CopyError{Err: syscall.EIO, Corrupt: true}
		case err != nil:
			return &CopyError{Err: err}
		}
		switch t {
		case record.Text, record.Fragment:
			if lineStart {
				switch {
				case o.Quote && bytes.HasPrefix(data, []byte("From ")):
					out.str(">")
				case o.Dot && len(data) > 0 && data[0] == '.':
					out.str(".")
				}
			}
			out.bytes(data)
			if lineStart = t == record.Text; lineStart {
				out.str(out.eol)
			}
		case record.Extracted:
			if !lineStart {
				out.str(out.eol)
			}
			if o.Blank {
				out.str(out.eol)
			}
			out.flush()
			if out.err != nil {
				return &CopyError{Err: out.err, Writing: true}
			}
			return nil
		default:
			maillog.Warnf("bad record type: %d in message content", t)
			return &CopyError{Err: syscall.EIO, Corrupt: true}
		}
		if out.err != nil {
			return &CopyError{Err: out.err, Writing: true}
		}
	}
}

// copier collects output; its first error sticks.
type copier struct {
	w   io.Writer
	buf []byte
	eol string
	err error
}

func (c *copier) str(s string) {
	c.buf = append(c.buf, s...)
}

func (c *copier) bytes(b []byte) {
	c.buf = append(c.buf, b...)
	if len(c.buf) >= copyBuffer {
		c.flush()
	}
}

func (c *copier) flush() {
	if c.err == nil && len(c.buf) > 0 {
		_, c.err = c.w.Write(c.buf)
	}
	c.buf = c.buf[:0]
}

func (c *copier) headers(r *deliver.Request, o CopyOptions) {
	sender := r.Sender
	if sender == "" {
		sender = o.NullSender
	}
	if o.From {
		from := "MAILER-DAEMON"
		if sender != "" {
			from = address.Quote(sender)
		}
		c.line("From " + oneLine(from) + "  " + time.Now().Format(time.ANSIC))
	}
	if o.ReturnPath {
		c.line("Return-Path: <" + oneLine(address.QuoteUnlessEmpty(sender)) + ">")
	}
	if o.OriginalTo != "" {
		c.line("X-Original-To: " + oneLine(address.Quote(o.OriginalTo)))
	}
	if o.DeliveredTo != "" {
		c.line("Delivered-To: " + oneLine(address.Quote(o.DeliveredTo)))
	}
}

func (c *copier) line(s string) {
	c.str(s)
	c.str(c.eol)
}

// oneLine keeps an address from forging another line (spec hardening §3.3).
// Bytes that are no UTF-8 stay as they are.
func oneLine(s string) string {
	b := []byte(s)
	for i, c := range b {
		if c < ' ' || c == 0x7f {
			b[i] = '?'
		}
	}
	return string(b)
}

// DeliveredTo collects the Delivered-To: headers of a message, lower-cased: an
// address among them means a loop (spec delivery §4.1).
func DeliveredTo(r *deliver.Request) (map[string]bool, error) {
	const limit = 1000
	seen := make(map[string]bool)
	in := record.NewFileReader(r.File, r.QueueID)
	in.SeekTo(r.Offset)
	lineStart := true
	for len(seen) < limit {
		t, data, err := in.Next()
		if err == io.EOF || record.IsBad(err) {
			return seen, nil // the copy will meet the damage
		}
		if err != nil {
			return nil, fmt.Errorf("read message header: %w", err)
		}
		if t != record.Text && t != record.Fragment {
			break
		}
		if lineStart {
			name, value, isHeader := bytes.Cut(data, []byte(":"))
			if folded := len(data) > 0 && (data[0] == ' ' || data[0] == '\t'); !isHeader && !folded {
				break
			}
			if isHeader && bytes.EqualFold(bytes.TrimRight(name, " \t"), []byte("delivered-to")) {
				seen[strings.ToLower(strings.TrimLeft(string(value), " \t"))] = true
			}
		}
		lineStart = t == record.Text
	}
	return seen, nil
}
