package maptool

import (
	"bufio"
	"errors"
	"fmt"
	"io"

	"suffix/pkg/header"
	"suffix/pkg/mime"
	"suffix/pkg/params"
	"suffix/pkg/record"
)

// lookups makes the headers and body lines of a message keys.
type lookups struct {
	t       *tool
	look    func(key string) error
	err     error
	primary bool   // still in the message's own headers
	part    []byte // of a body line
}

func (l *lookups) try(key []byte) {
	if l.err == nil {
		l.err = l.look(string(key))
	}
}

// Header looks up a header with -h.
func (l *lookups) Header(_ mime.Block, _ *header.Info, text []byte) {
	if l.t.headers {
		l.try(text)
	}
}

// EndPrimary notes that the body follows.
func (l *lookups) EndPrimary() { l.primary = false }

// Body looks up a body line with -b.
func (l *lookups) Body(t record.Type, data []byte, _ int64) {
	if !l.t.bodies {
		return
	}
	l.part = append(l.part, data...)
	if t == record.Text {
		l.try(l.part)
		l.part = l.part[:0]
	}
}

// Error ends the lookups.
func (l *lookups) Error(e mime.Error, _ []byte) {
	if l.err == nil {
		l.err = fmt.Errorf("message format error: %s", e)
	}
}

// message looks up what is in a message: -b and -h.
func (t *tool) message(r io.Reader, look func(key string) error) error {
	l := &lookups{t: t, look: look, primary: true}
	var p mime.Parser
	p.Init(l, mime.Options{
		MIME:          t.mime,
		Report:        mime.ErrNesting,
		HeaderLimit:   t.cfg.Int(params.HeaderSizeLimit),
		BoundaryLimit: t.cfg.Int(params.MimeBoundaryLengthLimit),
		NestingLimit:  t.cfg.Int(params.MimeNestingLimit),
		LineLimit:     t.cfg.Int(params.LineLengthLimit),
	})
	if err := t.cfg.Err(); err != nil {
		return err
	}
	in := bufio.NewReaderSize(r, 64<<10)
	for l.err == nil && (l.primary || t.bodies || t.mime) {
		chunk, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, bufio.ErrBufferFull):
			p.Text(record.Fragment, chunk)
			continue
		case err == nil:
			p.Text(record.Text, chunk[:len(chunk)-1])
			continue
		case !errors.Is(err, io.EOF):
			return fmt.Errorf("read standard input: %w", err)
		}
		if len(chunk) > 0 {
			p.Text(record.Text, chunk)
		}
		p.Finish()
		break
	}
	return l.err
}
