package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"
	"strings"

	"suffix/pkg/address"
	"suffix/pkg/header"
	"suffix/pkg/mime"
	"suffix/pkg/params"
	"suffix/pkg/record"
	"suffix/pkg/syserr"
)

// probe writes the content of an address verification request.
func (s *submission) probe() {
	if s.sender != "" {
		s.put(record.Text, "From: "+s.sender)
	}
	s.put(record.Text, "Subject: probe")
	if n := len(s.c.recipients); n > 0 {
		s.put(record.Fragment, "To:")
		for i, rcpt := range s.c.recipients {
			if i < n-1 {
				rcpt += ","
			}
			s.put(record.Text, "\t"+rcpt)
		}
	}
}

// content copies the message and returns the recipients that its headers name,
// where they are wanted (spec submission §2.8).
func (s *submission) content(in *os.File) ([]string, error) {
	fix := s.c.cfg.String(params.SendmailFixLineEndings)
	if fix != "always" && fix != "strict" && fix != "never" {
		return nil, errors.New("invalid sendmail_fix_line_endings value: " + fix)
	}
	var (
		r       = bufio.NewReaderSize(in, max(flushSize, 2*s.limit))
		put     = s.text
		headers *extractor
		decided = fix != "strict"
		strip   = fix == "always"
		begun   = false // a line was kept
		prev    = record.Text
	)
	if s.c.extract {
		headers = newExtractor(s)
		put = headers.parser.Text
	}
	for {
		t, data, err := readPiece(r, s.limit)
		if err != nil {
			if errors.Is(err, io.EOF) {
				break
			}
			return nil, s.errorf("error reading input: %s", syserr.Text(err))
		}
		if t == record.Text {
			if !decided {
				strip = bytes.HasSuffix(data, []byte("\r"))
				decided = true
			}
			if !begun && isFromLine(data) {
				continue
			}
			if strip {
				data = bytes.TrimRight(data, "\r")
			}
		}
		if !s.c.keepDots && prev == record.Text && len(data) == 1 && data[0] == '.' {
			break
		}
		begun = true
		put(t, data)
		prev = t
		if len(s.buf) >= flushSize {
			if err := s.flush(); err != nil {
				return nil, err
			}
		}
	}
	if headers == nil {
		return nil, nil
	}
	headers.parser.Finish()
	if headers.truncated {
		return nil, s.errorf("unable to extract recipients: %s", mime.ErrTruncated.Error())
	}
	if s.last == record.Fragment {
		s.text(record.Text, nil)
	}
	return headers.recipients(), nil
}

// readPiece reads a line without its end, or up to limit bytes of one.
func readPiece(r *bufio.Reader, limit int) (record.Type, []byte, error) {
	data, err := r.Peek(limit)
	if i := bytes.IndexByte(data, '\n'); i >= 0 {
		_, err := r.Discard(i + 1)
		return record.Text, data[:i], err
	}
	if len(data) == 0 {
		return 0, nil, err
	}
	n := min(len(data), limit)
	if n < limit && err != nil && !errors.Is(err, io.EOF) {
		return 0, nil, err
	}
	_, err = r.Discard(n)
	return record.Fragment, data[:n], err
}

// isFromLine says whether a line separates messages of a mailbox file.
func isFromLine(line []byte) bool {
	return bytes.HasPrefix(bytes.TrimLeft(line, ">"), []byte("From "))
}

func (s *submission) text(t record.Type, data []byte) {
	s.buf = record.AppendText(s.buf, data, s.limit, t)
	s.last = t
}

// extractor finds recipients in headers.
type extractor struct {
	s              *submission
	parser         mime.Parser
	normal, resent []string
	isResent       bool
	truncated      bool
}

func newExtractor(s *submission) *extractor {
	x := &extractor{s: s}
	x.parser.Init(x, mime.Options{
		Report:      mime.ErrTruncated,
		HeaderLimit: s.c.cfg.Int(params.HeaderSizeLimit),
		LineLimit:   s.limit,
	})
	return x
}

func (x *extractor) recipients() []string {
	if x.isResent {
		return x.resent
	}
	return x.normal
}

// Header implements mime.Handler.
func (x *extractor) Header(_ mime.Block, info *header.Info, text []byte) {
	if info != nil && info.Class&header.Extract != 0 {
		x.extract(info, text)
	}
	for line := range bytes.SplitSeq(text, []byte{'\n'}) {
		x.s.text(record.Text, line)
	}
}

func (x *extractor) extract(info *header.Info, text []byte) {
	_, colon, _ := header.Split(text)
	to := &x.normal
	if info.Class&header.Resent != 0 {
		x.isResent = true
		to = &x.resent
	} else if x.isResent {
		return
	}
	for _, addr := range address.Parse(string(text[colon+1:]), 0).Addresses() {
		if strings.TrimSpace(addr) != "" {
			*to = append(*to, addr)
		}
	}
}

// EndPrimary implements mime.Handler.
func (x *extractor) EndPrimary() {}

// Body implements mime.Handler.
func (x *extractor) Body(t record.Type, data []byte, _ int64) { x.s.text(t, data) }

// Error implements mime.Handler.
func (x *extractor) Error(e mime.Error, _ []byte) {
	x.truncated = x.truncated || e&mime.ErrTruncated != 0
}
