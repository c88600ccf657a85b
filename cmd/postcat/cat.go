package main

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"suffix/pkg/header"
	"suffix/pkg/record"
)

// dateForm is how times are shown, in local time.
const dateForm = "Mon Jan _2 15:04:05 2006"

var errRead = errors.New("record read error")

// cat shows queue files with the choices of one command line.
type cat struct {
	out  *bufio.Writer
	warn func(format string, args ...any)

	envelope, header, body bool
	decimal, name, offset  bool
	fileOrder, verbose     bool
	start                  int64
}

// A segment of a queue file.
type segment int

const (
	inEnvelope segment = iota
	inHeader
	inBody
	inExtracted
)

// one is the state of the file being shown.
type one struct {
	*cat
	r    *record.FileReader
	path string

	seg        segment
	sized      bool  // a size record was seen
	contentEnd int64 // offset of the end of content; 0 unknown
	fragment   bool  // the previous text record was a fragment
	openLine   bool  // what was written last lacks the end of the line
	at         int64 // offset to show
	typ        record.Type
}

// show writes one file. The error ends the program.
func (c *cat) show(f io.ReaderAt, path string) error {
	s := &one{cat: c, r: record.NewFileReader(f, path), path: path}
	s.r.Raw = c.verbose
	s.r.SeekTo(c.start)
	if c.start == 0 {
		var first [1]byte
		if n, err := f.ReadAt(first[:], 0); n == 0 && err != nil && !errors.Is(err, io.EOF) {
			c.warn("%s: %s", path, err)
			return errRead
		} else if n == 1 && !record.EnvelopeSet.Has(record.Type(first[0])) {
			c.warn("%s: input is not a valid queue file", path)
			return nil
		}
	}
	for {
		s.at = s.r.NextOffset()
		typ, data, err := s.r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			c.warn("%s", err)
			return errRead
		}
		s.typ = typ
		if more, err := s.record(typ, data); !more || err != nil {
			return err
		}
	}
}

// shown tells whether records of the current segment were asked for.
func (s *one) shown() bool {
	switch s.seg {
	case inHeader:
		return s.header
	case inBody:
		return s.body
	}
	return s.envelope
}

// record shows one record; more is false after the last one.
func (s *one) record(typ record.Type, data []byte) (more bool, err error) {
	if s.at == 0 && s.envelope {
		s.out.WriteString("*** ENVELOPE RECORDS " + s.path + " ***\n")
	}
	switch typ {
	case record.Pointer:
		if s.shown() {
			s.line("pointer_record: ", data)
		}
		if s.fileOrder {
			return true, nil
		}
		if err := s.r.Follow(data); err != nil {
			s.warn("%s", err)
			return false, errors.New("bad pointer record, or input is not seekable")
		}
		return true, nil
	case record.Content:
		if s.seg != inEnvelope {
			s.warn("%s: out-of-order message content marker", s.path)
		}
		s.seg = inHeader
		s.marker("MESSAGE CONTENTS")
		if s.envelope && !s.header && !s.body {
			s.skipContent()
		}
		return true, nil
	case record.Extracted:
		if s.seg != inHeader && s.seg != inBody {
			s.warn("%s: out-of-order extracted segment marker", s.path)
		}
		s.seg = inExtracted
		s.marker("HEADER EXTRACTED")
		return s.envelope, nil
	case record.End:
		if s.seg != inExtracted {
			s.warn("%s: out-of-order message end marker", s.path)
		}
		s.marker("MESSAGE FILE END")
		return s.verbose && s.fileOrder, nil
	case record.Size:
		shown := s.shown()
		if err := s.size(data); err != nil {
			return false, err
		}
		if shown {
			s.plain(typ, data)
		}
		return true, nil
	case record.Text, record.Fragment:
		if s.seg == inHeader && !s.fragment && !header.Is(data) && (len(data) == 0 || data[0] != ' ' && data[0] != '\t') {
			s.seg = inBody
			if s.header && !s.body {
				s.skipContent()
				return s.envelope, nil
			}
		}
		s.fragment = typ == record.Fragment
	}
	if s.shown() {
		s.plain(typ, data)
	}
	return true, nil
}

// skipContent goes on behind the content, where its end is known. It never goes
// back: a damaged file would be shown without end.
func (s *one) skipContent() {
	if s.contentEnd >= s.r.NextOffset() {
		s.r.SeekTo(s.contentEnd)
	}
}

// size takes what a size record says about where the content is.
func (s *one) size(data []byte) error {
	if strings.HasPrefix(s.path, "maildrop/") {
		return nil
	}
	if s.sized {
		s.warn("file contains multiple size records")
		return nil
	}
	s.sized = true
	sizes, fields, err := record.ParseSizes(data)
	if err != nil || fields < 2 || sizes.Segment <= 0 || sizes.Offset <= 0 {
		s.warn("invalid size record: %s", data)
		if !s.envelope {
			return errors.New("seek error: Invalid argument")
		}
		return nil
	}
	s.contentEnd = sizes.Offset + sizes.Segment
	if !s.envelope {
		s.r.SeekTo(sizes.Offset)
		s.seg = inHeader
	}
	return nil
}

// plain shows a record that is no marker.
func (s *one) plain(typ record.Type, data []byte) {
	s.openLine = false
	switch typ {
	case record.Time, record.Warn:
		s.line(typ.Name()+": ", date(data))
	case record.Attr:
		name, value, err := record.SplitAttr(cString(data))
		switch {
		case err != nil:
			s.prefix() // as Postfix does, although no text follows
			s.warn("%s: malformed attribute: %s: %s", s.path, err, cString(data))
		case string(name) == "create_time":
			s.line("create_time: ", date(value))
		default:
			s.line("named_attribute: ", bytes.Join([][]byte{name, value}, []byte("=")))
		}
	case record.Text:
		label := ""
		if s.verbose {
			label = "regular_text: "
		}
		s.line(label, data)
	case record.Fragment:
		if s.seg != inHeader && s.seg != inBody {
			s.line("content_filter: ", cString(data))
			return
		}
		s.prefix()
		if s.verbose {
			s.out.WriteString("unterminated_text: ")
		}
		s.out.Write(data)
		if s.verbose || s.offset {
			s.out.WriteByte('\n')
		} else {
			s.openLine = true
		}
	default:
		s.line(typ.Name()+": ", cString(data))
	}
}

// date shows the time that a record or attribute holds.
func date(data []byte) []byte {
	sec, _, _ := record.ParseTime(data)
	return []byte(time.Unix(sec, 0).Format(dateForm))
}

// cString cuts data at a null byte: envelope records have none.
func cString(data []byte) []byte {
	if i := bytes.IndexByte(data, 0); i >= 0 {
		return data[:i]
	}
	return data
}

// marker shows the begin of a segment.
func (s *one) marker(what string) {
	if !s.envelope {
		return
	}
	if s.openLine && s.typ == record.Extracted {
		s.out.WriteByte('\n')
	}
	s.line("*** "+what+" "+s.path+" ***", nil)
}

func (s *one) line(label string, data []byte) {
	s.prefix()
	s.out.WriteString(label)
	s.out.Write(data)
	s.out.WriteByte('\n')
}

// prefix shows file name, offset and type, where asked to.
func (s *one) prefix() {
	if s.name {
		s.out.WriteString(s.path + ": ")
	}
	if s.offset {
		s.pad(s.at, 9)
	}
	if s.decimal {
		s.pad(int64(s.typ), 3)
	}
}

func (s *one) pad(n int64, width int) {
	text := strconv.FormatInt(n, 10)
	for range width - len(text) {
		s.out.WriteByte(' ')
	}
	s.out.WriteString(text)
	s.out.WriteByte(' ')
}
