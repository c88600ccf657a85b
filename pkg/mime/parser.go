// Package mime splits message content into headers and body text, and follows
// the MIME structure while it does (spec cleanup §5).
//
// A Parser gets the content line by line, as the queue file has it, and calls
// a Handler for each complete header and each piece of body text. It changes
// nothing that it is not told to change, so that what the Handler gets, in the
// order in which it gets it, is the message.
package mime

import (
	"bytes"

	"suffix/pkg/header"
	"suffix/pkg/record"
)

// A Block is the kind of header block a header stands in.
type Block uint8

const (
	Primary Block = iota // of the message
	Part                 // of a part of a multipart
	Nested               // of an attached message
	body
)

// A Handler receives the parts of a message. Data is valid during the call.
type Handler interface {
	// Header gets a complete header: lines separated by newlines. info is nil
	// for a header that is not known.
	Header(block Block, info *header.Info, text []byte)
	// EndPrimary is called at the end of the message's own headers, before the
	// empty line, also where the message has no body.
	EndPrimary()
	// Body gets a record of body text, the empty line before it included.
	// offset is the position inside the body of this part; the last type says
	// whether the line ends here.
	Body(t record.Type, data []byte, offset int64)
	// Error reports a violation that Options asks for, each kind once.
	Error(e Error, detail []byte)
}

// An Error is a set of violations.
type Error uint8

const (
	ErrNesting     Error = 1 << iota // too many nested multiparts
	ErrTruncated                     // header longer than the limit
	Err8BitHeader                    // 8-bit data in a header
	Err8BitBody                      // 8-bit data in a 7-bit body
	ErrDomain                        // bad encoding of a composite type
	ErrEndOfHeader                   // primary header ended by a non-empty line
)

var errorTexts = []struct {
	e    Error
	text string
}{
	{ErrNesting, "MIME nesting exceeds safety limit"},
	{ErrTruncated, "message header length exceeds safety limit"},
	{Err8BitHeader, "improper use of 8-bit data in message header"},
	{Err8BitBody, "improper use of 8-bit data in message body"},
	{ErrDomain, "invalid message/* or multipart/* encoding domain"},
	{ErrEndOfHeader, "primary header was terminated with non-empty line"},
}

// Error returns the text of the most severe violation in the set.
func (e Error) Error() string {
	for _, t := range errorTexts {
		if e&t.e != 0 {
			return t.text
		}
	}
	return "no MIME error"
}

// Options govern a Parser.
type Options struct {
	MIME          bool  // follow the MIME structure
	Report        Error // violations to report
	Downgrade     bool  // convert 8-bit parts to quoted-printable
	AddMIMEError  bool  // mark a primary header that is ended by a non-empty line
	HeaderLimit   int   // bytes of one header: header_size_limit
	BoundaryLimit int   // bytes of a boundary: mime_boundary_length_limit
	NestingLimit  int   // mime_nesting_limit
	LineLimit     int   // for converted text: line_length_limit
}

// A Parser is the state of one message. The zero value is not ready: call Init.
type Parser struct {
	h   Handler
	opt Options

	state    Block
	header   []byte // the header being collected
	last     record.Type
	offset   int64
	reported Error

	part    part
	stack   []boundary
	depth   int
	held    []byte // Content-Transfer-Encoding header held back by conversion
	recode  bool   // body text is being converted
	qp      []byte
	pending bool // an output line of converted text is open
}

// Init makes the parser ready for a new message. Buffers are kept.
func (p *Parser) Init(h Handler, opt Options) {
	*p = Parser{h: h, opt: opt, header: p.header[:0], stack: p.stack[:0], held: p.held[:0], qp: p.qp[:0], last: record.Text, depth: -1}
	p.part = defaultPart
}

// Text takes one record of content: a line (record.Text), or a piece of one
// that the next record continues (record.Fragment).
func (p *Parser) Text(t record.Type, data []byte) {
	continues := p.last == record.Fragment
	p.last = t
	if p.state == body {
		p.bodyText(t, data, continues)
		return
	}
	if len(p.header) > 0 {
		if continues {
			p.grow("", data)
			return
		}
		if len(data) > 0 && (data[0] == ' ' || data[0] == '\t') {
			p.grow("\n", data)
			return
		}
		p.endOfHeader()
	} else if continues {
		p.output(t, data) // the rest of a boundary line
		return
	}
	if name, colon, ok := header.Split(data); ok {
		p.header = append(append(p.header, data[:name]...), data[colon:]...)
		return
	}
	p.endOfBlock(len(data) == 0, data)
	switch {
	case len(data) > 0 && p.state == body:
		p.bodyText(t, data, false)
	case len(data) > 0:
		p.last = record.Text
		p.Text(t, data) // a nested header begins at once; this happens once per block
	}
}

// grow adds text to the header while it is below the limit. What is too long
// is cut when the header is complete.
func (p *Parser) grow(before string, data []byte) {
	if len(p.header) < p.opt.HeaderLimit {
		p.header = append(append(p.header, before...), data...)
		return
	}
	p.report(ErrTruncated, p.header)
}

// Finish ends the message. It reports whether the last line of the body has
// no end.
func (p *Parser) Finish() (unterminated bool) {
	if p.state == body {
		p.endConversion()
		return p.last == record.Fragment
	}
	if len(p.header) > 0 {
		p.endOfHeader()
	}
	p.flushHeld()
	if p.state == Primary {
		p.h.EndPrimary()
	}
	p.state = body
	return false
}

// endOfHeader handles the complete header.
func (p *Parser) endOfHeader() {
	text := p.header
	if limit := p.opt.HeaderLimit; len(text) > limit {
		p.report(ErrTruncated, text)
		text = text[:limit]
		if i := bytes.LastIndexByte(text, '\n'); i > limit/10*9 {
			text = text[:i]
		}
	}
	name, _, _ := header.Split(text)
	info := header.Lookup(text[:name])
	if p.opt.MIME && info != nil {
		switch info.Kind {
		case header.ContentType:
			p.contentType(text)
		case header.ContentTransferEncoding:
			p.part.setEncoding(header.Value(text))
			if p.opt.Downgrade && p.part.domain != domain7Bit {
				p.held = append(p.held[:0], text...)
				p.header = p.header[:0]
				return
			}
		}
	}
	if p.opt.Report&Err8BitHeader != 0 && has8Bit(text) {
		p.report(Err8BitHeader, text)
	}
	p.h.Header(p.state, info, text)
	p.header = p.header[:0]
}

// endOfBlock handles the line after the last header of a block.
func (p *Parser) endOfBlock(empty bool, line []byte) {
	block := p.state
	p.flushHeld()
	if block == Primary {
		if !empty {
			p.report(ErrEndOfHeader, line)
			if p.opt.AddMIMEError {
				p.h.Header(Primary, nil, []byte("MIME-Error: message header was not terminated by empty line"))
			}
		}
		p.h.EndPrimary()
	}
	if p.opt.MIME {
		p.checkDomain()
	}
	p.state = body
	p.offset = 0
	if empty || block == Primary {
		p.h.Body(record.Text, nil, 0)
		p.offset = 1
	}
	if !p.opt.MIME {
		return
	}
	switch p.part.kind {
	case kindMessage:
		if p.part.sub == subRFC822 || p.part.sub == subGlobal {
			p.state = Nested
			p.part = defaultPart
			return
		}
	case kindMultipart:
		p.part = part{kind: kindOther, encoding: enc7Bit, domain: domain7Bit}
		return
	}
	p.recode = p.opt.Downgrade && p.part.domain != domain7Bit
}

// bodyText handles a record of body text.
func (p *Parser) bodyText(t record.Type, data []byte, continues bool) {
	if p.opt.MIME && len(p.stack) > 0 && !continues && len(data) > 2 && data[0] == '-' && data[1] == '-' {
		if i := p.findBoundary(data[2:]); i >= 0 {
			p.endConversion()
			p.atBoundary(i, t, data)
			return
		}
	}
	if p.recode {
		p.convert(t, data)
		return
	}
	if p.opt.Report&Err8BitBody != 0 && p.opt.MIME && p.part.encoding == enc7Bit && p.reported&Err8BitBody == 0 && has8Bit(data) {
		p.report(Err8BitBody, data)
	}
	p.output(t, data)
}

func (p *Parser) output(t record.Type, data []byte) {
	p.h.Body(t, data, p.offset)
	p.offset += int64(len(data)) + 1
}

func (p *Parser) report(e Error, detail []byte) {
	if p.opt.Report&e != 0 && p.reported&e == 0 {
		p.reported |= e
		p.h.Error(e, detail)
	}
}

func has8Bit(data []byte) bool {
	for _, c := range data {
		if c >= 0x80 {
			return true
		}
	}
	return false
}
