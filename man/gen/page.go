package main

import (
	"fmt"
	"strings"
)

// A page is one manual page. Its source is a small part of Markdown:
//
//	# title                        the first line
//	aliases: name, name            the second line, where the page has more names
//	## HEADING   ### Subheading
//	`term` *argument*              one term a line, and below them their text,
//	: text                         which continues with two blanks in front
//	- text                         a list item, which continues in the same way
//	    four blanks                text that is shown as it stands
//	@doc                           what the program's own comment says
//	@parameters NAME ...           the parameters that the program reads, and NAME ...
//
// Within text, `words` are literal and *words* are to be replaced. References
// such as master(5) and names of parameters need no marks.
type page struct {
	source  string   // name of the source file
	names   []string // the page's name, then its aliases
	section byte     // '1' commands, '5' files, '8' daemons
	title   string
	blocks  []block
}

type blockKind int

const (
	heading blockKind = iota
	subheading
	paragraph
	code
	item   // of a list of definitions
	bullet // of a plain list
	directive
)

// A block is a piece of a page between blank lines.
type block struct {
	kind  blockKind
	text  string   // inline markup, or the text itself of code
	terms []string // of an item
	body  []block  // of an item or bullet
	id    string   // name of an item that others refer to
	plain bool     // text and terms have no marks
}

// parsePage reads the source of a page.
func parsePage(file, text string) (*page, error) {
	p := &page{source: file}
	base, section, ok := strings.Cut(strings.TrimSuffix(file, ".md"), ".")
	if !ok || len(section) != 1 || !strings.Contains("158", section) {
		return nil, fmt.Errorf("%s: the name must be NAME.SECTION.md", file)
	}
	p.names, p.section = []string{base}, section[0]
	lines := strings.Split(strings.TrimRight(text, "\n"), "\n")
	if p.title, ok = strings.CutPrefix(lines[0], "# "); !ok {
		return nil, fmt.Errorf("%s: the first line must be a title", file)
	}
	lines = lines[1:]
	if len(lines) > 0 {
		if list, ok := strings.CutPrefix(lines[0], "aliases: "); ok {
			p.names = append(p.names, strings.Split(list, ", ")...)
			lines = lines[1:]
		}
	}
	p.blocks = parseBlocks(lines)
	return p, nil
}

// parseBlocks reads lines as blocks.
func parseBlocks(lines []string) []block {
	var out []block
	for i := 0; i < len(lines); {
		line := lines[i]
		switch {
		case strings.TrimSpace(line) == "":
			i++
		case strings.HasPrefix(line, "### "):
			out = append(out, block{kind: subheading, text: line[4:]})
			i++
		case strings.HasPrefix(line, "## "):
			out = append(out, block{kind: heading, text: line[3:]})
			i++
		case strings.HasPrefix(line, "@"):
			out = append(out, block{kind: directive, text: line})
			i++
		case strings.HasPrefix(line, "    "):
			n := indented(lines[i:], 4)
			out = append(out, block{kind: code, text: strings.Join(cutIndent(lines[i:i+n], 4), "\n")})
			i += n
		case strings.HasPrefix(line, "- "):
			n := 1 + indented(lines[i+1:], 2)
			out = append(out, block{kind: bullet, body: parseBlocks(cutIndent(lines[i:i+n], 2))})
			i += n
		default:
			n := flow(lines[i:])
			text := lines[i : i+n]
			i += n
			if i < len(lines) && strings.HasPrefix(lines[i], ": ") {
				n := 1 + indented(lines[i+1:], 2)
				out = append(out, block{kind: item, terms: text, body: parseBlocks(cutIndent(lines[i:i+n], 2))})
				i += n
				continue
			}
			out = append(out, block{kind: paragraph, text: strings.Join(text, " ")})
		}
	}
	return out
}

// flow counts the lines of a paragraph or of terms.
func flow(lines []string) int {
	for i, line := range lines {
		if strings.TrimSpace(line) == "" || i > 0 && (strings.HasPrefix(line, ": ") || strings.HasPrefix(line, "- ") || strings.HasPrefix(line, "#")) {
			return i
		}
	}
	return len(lines)
}

// indented counts the lines that begin with n blanks, with blank lines
// between but not behind them.
func indented(lines []string, n int) int {
	count := 0
	for i, line := range lines {
		if strings.HasPrefix(line, strings.Repeat(" ", n)) {
			count = i + 1
		} else if line != "" {
			break
		}
	}
	return count
}

func cutIndent(lines []string, n int) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		if len(line) >= n {
			out[i] = line[n:]
		}
	}
	return out
}
