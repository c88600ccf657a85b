package mime

import (
	"bytes"
	"strings"

	"suffix/pkg/header"
	"suffix/pkg/record"
)

type (
	kind     uint8
	sub      uint8
	encoding uint8
	domain   uint8
)

const (
	kindText kind = iota
	kindMessage
	kindMultipart
	kindOther
)

const (
	subOther sub = iota
	subRFC822
	subPartial
	subExternal
	subGlobal
	subDigest
)

const (
	enc7Bit encoding = iota
	enc8Bit
	encBinary
	encBase64
	encQP
)

const (
	domain7Bit domain = iota
	domain8Bit
	domainBinary
)

// part is what the headers of the current block say.
type part struct {
	kind     kind
	sub      sub
	encoding encoding
	domain   domain
}

var defaultPart = part{kind: kindText}

// A boundary ends the parts of one multipart.
type boundary struct {
	text   []byte
	depth  int
	digest bool // parts are messages unless they say otherwise
}

var encodings = []struct {
	name     string
	encoding encoding
	domain   domain
}{
	{"7bit", enc7Bit, domain7Bit},
	{"8bit", enc8Bit, domain8Bit},
	{"binary", encBinary, domainBinary},
	{"base64", encBase64, domain7Bit},
	{"quoted-printable", encQP, domain7Bit},
}

func (e encoding) String() string { return encodings[e].name }

// setEncoding takes the value of a Content-Transfer-Encoding header.
func (p *part) setEncoding(value []byte) {
	s := scanner{text: value}
	word := s.next()
	for _, e := range encodings {
		if word.kind == tokenWord && strings.EqualFold(e.name, string(word.text)) {
			p.encoding, p.domain = e.encoding, e.domain
			return
		}
	}
}

// contentType takes a Content-Type header.
func (p *Parser) contentType(text []byte) {
	s := scanner{text: header.Value(text)}
	p.part.kind, p.part.sub = kindOther, subOther
	major := s.next()
	if major.kind != tokenWord {
		return
	}
	slash, minor := s.next(), token{}
	if slash.is('/') {
		minor = s.next()
	}
	is := func(t token, name string) bool { return t.kind == tokenWord && strings.EqualFold(string(t.text), name) }
	switch {
	case is(major, "text"):
		p.part.kind = kindText
	case is(major, "message"):
		p.part.kind = kindMessage
		switch {
		case is(minor, "rfc822"):
			p.part.sub = subRFC822
		case is(minor, "partial"):
			p.part.sub = subPartial
		case is(minor, "external-body"):
			p.part.sub = subExternal
		case is(minor, "global"):
			p.part.sub = subGlobal
		}
	case is(major, "multipart"):
		p.part.kind = kindMultipart
		if is(minor, "digest") {
			p.part.sub = subDigest
		}
		p.boundaries(&s, text)
	}
}

// boundaries uses every boundary parameter of a multipart.
func (p *Parser) boundaries(s *scanner, text []byte) {
	for {
		t := s.next()
		for t.kind != tokenEnd && !t.is(';') {
			t = s.next()
		}
		if t.kind == tokenEnd {
			return
		}
		name := s.next()
		if name.kind != tokenWord || !strings.EqualFold(string(name.text), "boundary") {
			if name.is(';') {
				s.back(name)
			}
			continue
		}
		if eq := s.next(); !eq.is('=') {
			s.back(eq)
			continue
		}
		value := s.next()
		if value.kind == tokenWord || value.kind == tokenQuoted {
			p.push(value.text, text)
		} else {
			s.back(value)
		}
	}
}

// push adds a boundary, unless there are too many already.
func (p *Parser) push(text, header []byte) {
	if p.depth > p.opt.NestingLimit {
		p.report(ErrNesting, header)
		return
	}
	p.depth++
	if len(text) > p.opt.BoundaryLimit {
		text = text[:p.opt.BoundaryLimit]
	}
	p.stack = append(p.stack, boundary{text: bytes.Clone(text), depth: p.depth, digest: p.part.sub == subDigest})
}

// findBoundary returns the innermost boundary that the line begins with, or -1.
func (p *Parser) findBoundary(line []byte) int {
	for i := len(p.stack) - 1; i >= 0; i-- {
		if bytes.HasPrefix(line, p.stack[i].text) {
			return i
		}
	}
	return -1
}

// atBoundary handles a line with boundary i of the stack.
func (p *Parser) atBoundary(i int, t record.Type, line []byte) {
	b := p.stack[i]
	p.stack = p.stack[:i+1]
	p.depth = b.depth
	closing := bytes.HasPrefix(line[2+len(b.text):], []byte("--"))
	if !closing {
		p.output(t, line)
		p.state = Part
		p.part = defaultPart
		if b.digest {
			p.part = part{kind: kindMessage, sub: subRFC822}
		}
		return
	}
	p.stack = p.stack[:i]
	p.depth = b.depth - 1
	p.part = part{kind: kindOther}
	p.offset = 0
	p.output(t, line)
}

// checkDomain reports encodings that composite types must not have.
func (p *Parser) checkDomain() {
	if p.opt.Report&ErrDomain == 0 {
		return
	}
	bad := false
	switch p.part.kind {
	case kindMessage:
		switch p.part.sub {
		case subPartial, subExternal:
			bad = p.part.encoding != enc7Bit
		case subRFC822:
			bad = p.part.encoding == encBase64 || p.part.encoding == encQP
		}
	case kindMultipart:
		bad = p.part.encoding == encBase64 || p.part.encoding == encQP
	}
	if bad {
		p.report(ErrDomain, []byte(p.part.encoding.String()))
	}
}
