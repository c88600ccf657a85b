package main

import (
	"fmt"
	"strings"
)

// roff renders a page for man(1), in the macros of man(7).
func (b *book) roff(p *page) []byte {
	w := &roffWriter{b: b, fresh: true}
	w.linef(".\\\" Generated from man/src/%s by \"make docs\".", p.source)
	w.linef(".TH %s %c %s Suffix", strings.ToUpper(p.names[0]), p.section, b.date)
	w.linef(".ad l") // neither stretched lines nor broken names
	w.linef(".nh")
	w.linef(".SH NAME")
	for i, name := range p.names {
		if i > 0 {
			w.WriteString(", ")
		}
		w.WriteString(roffEscape(name, true))
	}
	w.linef(" \\- %s", roffEscape(p.title, false))
	w.blocks(p.blocks)
	return []byte(w.String())
}

type roffWriter struct {
	strings.Builder
	b     *book
	fresh bool // at the begin of a section or indented part: no space is needed
}

func (w *roffWriter) linef(format string, args ...any) { fmt.Fprintf(w, format+"\n", args...) }

func (w *roffWriter) blocks(list []block) {
	for i, bl := range list {
		switch bl.kind {
		case heading:
			w.linef(".SH %s", quoteArg(bl.text))
		case subheading:
			w.linef(".SS %s", quoteArg(bl.text))
		case paragraph:
			if !w.fresh {
				w.linef(".PP")
			}
			w.paragraph(bl.text, bl.plain)
		case code:
			w.code(bl.text)
		case item:
			w.item(bl)
		case bullet:
			tight := i > 0 && list[i-1].kind == bullet
			if tight {
				w.linef(".PD 0")
			}
			w.linef(".IP \\(bu 2")
			if tight {
				w.linef(".PD")
			}
			w.body(bl.body)
		}
		w.fresh = bl.kind == heading || bl.kind == subheading
	}
}

func (w *roffWriter) item(bl block) {
	w.linef(".TP 7") // a list of bullets before would leave its own indentation
	for i, term := range bl.terms {
		if i > 0 {
			w.linef(".TQ")
		}
		w.linef("%s", breakable(w.inline(term, bl.plain)))
	}
	w.body(bl.body)
}

var breakPoints = strings.NewReplacer(":", `:\:`, ",", `,\:`, "?", `?\:`, "}", `}\:`)

// breakable lets very long words, as some defaults have them, go on on the
// next line.
func breakable(line string) string {
	list := strings.Split(line, " ")
	for i, word := range list {
		if len(word) > roffWidth/2 {
			list[i] = breakPoints.Replace(word)
		}
	}
	return strings.Join(list, " ")
}

// body writes what belongs to a list item: its first paragraph, and the rest
// indented.
func (w *roffWriter) body(list []block) {
	if len(list) > 0 && list[0].kind == paragraph {
		w.paragraph(list[0].text, list[0].plain)
		list = list[1:]
	}
	if len(list) == 0 {
		return
	}
	w.linef(".RS")
	w.fresh = false
	w.blocks(list)
	w.linef(".RE")
}

// code writes text as it stands: indented, except where a section begins with
// it, as the synopsis does.
func (w *roffWriter) code(text string) {
	if !w.fresh {
		w.linef(".sp")
		w.linef(".RS 4")
	}
	w.linef(".nf")
	for line := range strings.SplitSeq(text, "\n") {
		w.linef("%s", guard(roffEscape(line, true)))
	}
	w.linef(".fi")
	if !w.fresh {
		w.linef(".RE")
	}
}

const roffWidth = 78

// paragraph writes text in lines of moderate length.
func (w *roffWriter) paragraph(text string, plain bool) {
	line := ""
	for word := range strings.FieldsSeq(w.inline(text, plain)) {
		if line != "" && len(line)+1+len(word) > roffWidth {
			w.linef("%s", guard(line))
			line = ""
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	w.linef("%s", guard(line))
}

// inline renders marked text on one line.
func (w *roffWriter) inline(marked string, plain bool) string {
	var out strings.Builder
	for _, s := range w.b.spans(marked, plain) {
		switch s.kind {
		case text:
			out.WriteString(roffEscape(s.text, false))
		case literal, paramRef:
			out.WriteString(`\fB` + roffEscape(s.text, true) + `\fR`)
		case variable:
			out.WriteString(`\fI` + roffEscape(s.text, false) + `\fR`)
		case pageRef:
			name, section, _ := strings.Cut(s.text, "(")
			out.WriteString(`\fB` + roffEscape(name, true) + `\fR(` + section)
		}
	}
	return out.String()
}

var (
	escapeText = strings.NewReplacer(`\`, `\e`)
	escapeCode = strings.NewReplacer(`\`, `\e`, `-`, `\-`, `'`, `\(aq`, "`", `\(ga`, `^`, `\(ha`, `~`, `\(ti`)
)

// roffEscape protects text from roff; exact text is shown so that it can be
// copied.
func roffEscape(s string, exact bool) string {
	if exact {
		return escapeCode.Replace(s)
	}
	return escapeText.Replace(s)
}

// guard keeps a line of text from being a request.
func guard(line string) string {
	if line != "" && (line[0] == '.' || line[0] == '\'') {
		return `\&` + line
	}
	return line
}

func quoteArg(s string) string {
	s = roffEscape(s, false)
	if strings.Contains(s, " ") {
		return `"` + s + `"`
	}
	return s
}
