package main

import (
	"fmt"
	"html"
	"strings"
)

const style = `body { max-width: 46em; margin: 2em auto; padding: 0 1em; font: 16px/1.5 sans-serif; color: #222; background: #fff }
h1 { font-size: 1.5em } h2 { font-size: 1.1em; margin-top: 2em } h3 { font-size: 1em }
code, pre { font-family: monospace; font-size: .95em } pre { background: #f4f4f4; padding: .6em 1em; overflow-x: auto }
dt { margin-top: .8em } dt:target { background: #ffc } dd { margin-left: 2em } dd p { margin: .3em 0 }
li p { margin: .2em 0 } a { color: #04c; text-decoration: none } a:hover { text-decoration: underline }
nav { font-size: .9em } td { padding: .1em 1em .1em 0; vertical-align: top }
`

var sectionNames = []struct {
	section byte
	name    string
}{{'1', "Commands"}, {'5', "Files"}, {'8', "Daemons"}}

func openPage(w *strings.Builder, title string) {
	fmt.Fprintf(w, "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n"+
		"<meta name=\"viewport\" content=\"width=device-width\">\n<title>%s</title>\n<link rel=\"stylesheet\" href=\"style.css\">\n</head>\n<body>\n", html.EscapeString(title))
}

// index renders the list of all pages.
func (b *book) index() []byte {
	var w strings.Builder
	openPage(&w, "Suffix manual")
	w.WriteString("<h1>Suffix manual</h1>\n")
	for _, s := range sectionNames {
		fmt.Fprintf(&w, "<h2>%s</h2>\n<table>\n", s.name)
		for _, p := range b.pages {
			if p.section != s.section {
				continue
			}
			for _, name := range p.names {
				fmt.Fprintf(&w, "<tr><td><a href=\"%s\">%s</a></td><td>%s</td></tr>\n",
					htmlName(p.names[0], p.section), ref(name, p.section), html.EscapeString(p.title))
			}
		}
		w.WriteString("</table>\n")
	}
	w.WriteString("</body>\n</html>\n")
	return []byte(w.String())
}

// html renders a page for a browser.
func (b *book) html(p *page) []byte {
	w := &htmlWriter{b: b, page: p}
	title := ref(p.names[0], p.section)
	openPage(&w.Builder, title)
	fmt.Fprintf(w, "<nav><a href=\"index.html\">Suffix manual</a></nav>\n<h1>%s</h1>\n<p>%s - %s</p>\n",
		title, strings.Join(p.names, ", "), html.EscapeString(p.title))
	w.blocks(p.blocks)
	w.WriteString("</body>\n</html>\n")
	return []byte(w.String())
}

type htmlWriter struct {
	strings.Builder
	b    *book
	page *page
}

// listTag is the element around blocks of a kind.
func listTag(k blockKind) string {
	switch k {
	case item:
		return "dl"
	case bullet:
		return "ul"
	}
	return ""
}

func (w *htmlWriter) blocks(list []block) {
	open := ""
	for _, bl := range list {
		if tag := listTag(bl.kind); tag != open {
			w.tag("/", open)
			w.tag("", tag)
			open = tag
		}
		w.block(bl)
	}
	w.tag("/", open)
}

func (w *htmlWriter) tag(slash, name string) {
	if name != "" {
		fmt.Fprintf(w, "<%s%s>\n", slash, name)
	}
}

func (w *htmlWriter) block(bl block) {
	switch bl.kind {
	case heading:
		fmt.Fprintf(w, "<h2>%s</h2>\n", html.EscapeString(bl.text))
	case subheading:
		fmt.Fprintf(w, "<h3>%s</h3>\n", html.EscapeString(bl.text))
	case paragraph:
		fmt.Fprintf(w, "<p>%s</p>\n", w.inline(bl.text, bl.plain))
	case code:
		fmt.Fprintf(w, "<pre>%s</pre>\n", html.EscapeString(bl.text))
	case item:
		for _, term := range bl.terms {
			id := ""
			if bl.id != "" {
				id = " id=\"" + bl.id + "\""
			}
			fmt.Fprintf(w, "<dt%s>%s</dt>\n", id, w.inline(term, bl.plain))
		}
		w.WriteString("<dd>\n")
		w.blocks(bl.body)
		w.WriteString("</dd>\n")
	case bullet:
		w.WriteString("<li>\n")
		w.blocks(bl.body)
		w.WriteString("</li>\n")
	}
}

func (w *htmlWriter) inline(marked string, plain bool) string {
	var out strings.Builder
	for _, s := range w.b.spans(marked, plain) {
		t := html.EscapeString(s.text)
		switch s.kind {
		case text:
			out.WriteString(t)
		case literal:
			out.WriteString("<code>" + t + "</code>")
		case variable:
			out.WriteString("<i>" + t + "</i>")
		case paramRef:
			fmt.Fprintf(&out, "<a href=\"%s#%s\"><code>%s</code></a>", htmlName("postconf", '5'), t, t)
		case pageRef:
			if p := w.b.byName[s.text]; p != nil && p != w.page {
				t = fmt.Sprintf("<a href=\"%s\">%s</a>", htmlName(p.names[0], p.section), t)
			}
			out.WriteString(t)
		}
	}
	return out.String()
}
