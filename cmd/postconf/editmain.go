package main

import (
	"bufio"
	"errors"
	"fmt"
	"sort"
	"strings"

	"suffix/pkg/config"
)

// editMain changes main.cf: -e sets parameters, -X deletes them, -# comments
// them out.
func (p *postconf) editMain() error {
	wanted, err := p.mainRequests()
	if err != nil {
		return err
	}
	path := p.dir + "/main.cf"
	return rewrite(path, func(text string, out *bufio.Writer) error {
		p.rewriteMain(path, text, wanted, out)
		return nil
	})
}

// mainRequests returns the names to change, with their values for -e.
func (p *postconf) mainRequests() (map[string]string, error) {
	wanted := make(map[string]string)
	for _, operand := range p.operands {
		text := strings.TrimLeft(operand, " \t\r\n\v\f")
		switch {
		case strings.Contains(operand, "\n"):
			return nil, errors.New("-e, -X, or -# accepts no multi-line input")
		case strings.HasPrefix(text, "#"):
			return nil, errors.New("-e, -X, or -# accepts no comment input")
		}
		name, value := text, ""
		if p.has(optE) {
			var problem string
			if name, value, problem = config.SplitNameValue(text); problem != "" {
				return nil, fmt.Errorf("%s: \"%s\"", problem, text)
			}
		} else if text == "" {
			return nil, errors.New("-X or -# requires non-blank parameter names")
		} else if strings.Contains(text, "=") {
			return nil, errors.New("-X or -# requires parameter names without value")
		}
		if old, again := wanted[name]; again && old != value {
			p.warn("ignoring earlier request: '" + name + " = " + old + "'")
		}
		wanted[name] = value
	}
	return wanted, nil
}

func (p *postconf) rewriteMain(path, text string, wanted map[string]string, out *bufio.Writer) {
	seen := make(map[string]int) // entries of a name so far
	changing := false            // within an entry that was asked for
	for line := range physicalLines(text) {
		if !isIgnored(line) && !isSpaceByte(line[0]) {
			name := line
			if n := strings.IndexAny(line, " \t\r\n="); n >= 0 {
				name = line[:n]
			}
			var value string
			if value, changing = wanted[name]; changing {
				seen[name]++
				if seen[name] == 2 {
					p.warn(path + ": multiple entries for \"" + name + "\"")
				}
				if p.has(optE) {
					fmt.Fprintf(out, "%s = %s\n", name, value)
					continue
				}
			}
		}
		switch {
		case isIgnored(line) || !changing:
			_, _ = out.WriteString(line) // an error stays with the writer until its Flush
		case p.has(optHash):
			_, _ = out.WriteString("#" + line)
		}
	}
	if !p.has(optE) {
		return
	}
	names := make([]string, 0, len(wanted))
	for name := range wanted {
		if seen[name] == 0 {
			names = append(names, name)
		}
	}
	sort.Strings(names)
	for _, name := range names {
		fmt.Fprintf(out, "%s = %s\n", name, wanted[name])
	}
}

// physicalLines returns the lines of a text, each with the line feed that it
// has or should have.
func physicalLines(text string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for text != "" {
			n := strings.IndexByte(text, '\n') + 1
			line := text[:n]
			if n == 0 {
				line, n = text+"\n", len(text)
			}
			if text = text[n:]; !yield(line) {
				return
			}
		}
	}
}

// isIgnored tells empty lines and comments.
func isIgnored(line string) bool {
	line = strings.TrimLeft(line, " \t\r\n\v\f")
	return line == "" || line[0] == '#'
}

func isSpaceByte(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }
