package main

import (
	"strings"
)

// Layout of folded output.
const (
	lineWidth  = 80
	foldIndent = "    "
)

func (p *postconf) printLines(list []string) error {
	for _, line := range list {
		if err := p.printLine(line); err != nil {
			return err
		}
	}
	return nil
}

func (p *postconf) printLine(text string) error {
	_, err := p.out.WriteString(text + "\n")
	return err
}

// printSetting shows one parameter as -h, -H, -f and -j ask for.
func (p *postconf) printSetting(name, value string) error {
	switch {
	case p.has(optJ):
		return p.printJSON(name, value)
	case p.has(optH):
		return p.printLine(name)
	case p.has(optH0):
		return p.printWords(value)
	}
	return p.printWords(name + " = " + value)
}

// printWords prints text with one blank between its words, folded if asked for.
func (p *postconf) printWords(text string) error {
	var b strings.Builder
	column := 0
	for _, word := range strings.FieldsFunc(text, isBlank) {
		if column > 0 {
			if p.has(optF0) && column+len(word) >= lineWidth {
				b.WriteString("\n" + foldIndent)
				column = len(foldIndent)
			} else {
				b.WriteByte(' ')
				column++
			}
		}
		b.WriteString(word)
		column += len(word)
	}
	return p.printLine(b.String())
}

func isBlank(r rune) bool { return r == ' ' || r == '\t' || r == '\r' || r == '\n' }

func (p *postconf) printJSON(name, value string) error {
	return p.printLine("{" + quoteJSON(name) + ": " + quoteJSON(value) + "}")
}

// quoteJSON escapes what must be escaped and passes other bytes as they are,
// also those that are no valid text.
func quoteJSON(text string) string {
	const hex = "0123456789ABCDEF"
	b := []byte{'"'}
	for i := 0; i < len(text); i++ {
		c := text[i]
		if n := strings.IndexByte("\"\\\b\f\n\r\t", c); n >= 0 {
			b = append(b, '\\', `"\bfnrt`[n])
		} else if c < ' ' || c == 0x7f {
			b = append(b, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
		} else {
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}
