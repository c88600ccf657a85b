package mime

import "suffix/pkg/record"

// qpWidth is the length after which a line of quoted-printable text is broken.
const qpWidth = 72

// flushHeld writes the Content-Transfer-Encoding header that fits what
// conversion makes of the part.
func (p *Parser) flushHeld() {
	if len(p.held) == 0 {
		return
	}
	p.held = p.held[:0]
	text := "Content-Transfer-Encoding: quoted-printable"
	if p.part.kind == kindMultipart || p.part.kind == kindMessage && p.part.sub != subGlobal {
		text = "Content-Transfer-Encoding: 7bit"
	}
	p.h.Header(p.state, nil, []byte(text))
}

const hexDigits = "0123456789ABCDEF"

// convert writes body text as quoted-printable.
func (p *Parser) convert(t record.Type, data []byte) {
	for i, c := range data {
		if len(p.qp) > qpWidth {
			p.qp = append(p.qp, '=')
			p.output(record.Text, p.qp)
			p.qp = p.qp[:0]
		}
		last := t == record.Text && i == len(data)-1 && (c == ' ' || c == '\t')
		if c < ' ' && c != '\t' || c == '=' || c > 126 || last {
			p.qp = append(p.qp, '=', hexDigits[c>>4], hexDigits[c&15])
		} else {
			p.qp = append(p.qp, c)
		}
	}
	p.pending = true
	if t == record.Text {
		p.output(record.Text, p.qp)
		p.qp = p.qp[:0]
		p.pending = false
	}
}

// endConversion ends the converted text of a part.
func (p *Parser) endConversion() {
	if p.pending {
		p.output(record.Fragment, p.qp)
		p.qp, p.pending = p.qp[:0], false
	}
	p.recode = false
}
