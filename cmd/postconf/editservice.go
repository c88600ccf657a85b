package main

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strings"

	"suffix/pkg/config"
)

// A change is one operand of an edit of master.cf.
type change struct {
	request
	value string   // of -F and -P
	entry *service // of -M
	done  bool
}

// changes takes the operands apart. parts is how many a request must have;
// check looks at each before the next is read.
func (p *postconf) changes(parts int, usage string, check func(*change) error) ([]*change, error) {
	var list []*change
	for _, operand := range p.operands {
		text := strings.TrimLeft(operand, " \t\r\n\v\f")
		c := &change{}
		name := text
		switch {
		case strings.Contains(operand, "\n"):
			return nil, errors.New("-Me, -Fe, -Pe, -X, or -# accept no multi-line input")
		case strings.HasPrefix(text, "#"):
			return nil, errors.New("-Me, -Fe, -Pe, -X, or -# accept no comment input")
		case p.has(optE):
			var problem string
			if name, c.value, problem = config.SplitNameValue(text); problem != "" {
				return nil, fmt.Errorf("%s: \"%s\"", problem, text)
			}
		case strings.Contains(text, "="):
			return nil, errors.New("-X or -# requires names without value")
		}
		var ok bool
		if c.parts, ok = splitRequest(name); !ok || len(c.parts) != parts {
			return nil, errors.New(usage)
		}
		c.text = operand
		if err := check(c); err != nil {
			return nil, err
		}
		list = append(list, c)
	}
	return list, nil
}

// editServices replaces, adds, deletes or comments out whole entries.
func (p *postconf) editServices() error {
	list, err := p.changes(2, "-Me, -MX or -M# requires service_name/type", func(*change) error { return nil })
	if err != nil {
		return err
	}
	parse := func() (err error) {
		for _, c := range list {
			if !p.has(optE) {
				continue
			}
			if c.entry, err = p.parseService(c.value); errors.Is(err, errFieldCount) {
				return fmt.Errorf("%w: \"%s\"", err, c.text)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
	edit := func(e *entry, out *bufio.Writer) error {
		i := slices.IndexFunc(list, func(c *change) bool {
			return fits(c.part(0), e.name) && fits(c.part(1), e.kind) || c.entry != nil && c.entry.key() == e.name+"/"+e.kind
		})
		if i < 0 {
			e.copyTo(out)
			return nil
		}
		if c := list[i]; c.entry != nil && !c.done {
			c.done = true
			fmt.Fprintln(out, c.entry.text(true))
		}
		for _, line := range e.lines {
			switch {
			case isIgnored(line):
				_, _ = out.WriteString(line)
			case p.has(optHash):
				_, _ = out.WriteString("#" + line)
			}
		}
		return nil
	}
	return p.rewriteServices(parse, edit, func(out *bufio.Writer) {
		for _, c := range list {
			if c.entry != nil && !c.done {
				fmt.Fprintln(out, c.entry.text(true))
			}
		}
	})
}

// editFields changes single fields.
func (p *postconf) editFields() error {
	list, err := p.changes(3, "-Fe or -FX requires service_name/type/field_name", func(c *change) error {
		field := slices.Index(fieldNames[:], c.part(2))
		switch {
		case c.part(2) == "*":
			return errors.New("-Fe does not accept wild-card field name")
		case field < 0:
			return fmt.Errorf("invalid service attribute name: \"%s\"", c.part(2))
		case field != fieldCommand && strings.ContainsFunc(c.value, isBlank):
			return errors.New("-Fe does not accept whitespace in non-command field")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return p.changeServices(list, func(s *service, c *change) error {
		field := slices.Index(fieldNames[:], c.part(2))
		switch {
		case c.value == "" && (field == fieldService || field == fieldCommand):
			return fmt.Errorf("invalid %s field \"\" in \"\"", c.part(2)) // 3.11 damages the file, or itself
		case field == fieldCommand:
			words := config.SplitBraceBlank(c.value)
			s.fields[fieldCommand], s.args = words[0], p.normalize(words[1:])
			return nil
		}
		s.fields[field] = c.value
		return checkField(field, c.value, c.value)
	})
}

// editServiceParams sets or deletes -o settings.
func (p *postconf) editServiceParams() error {
	list, err := p.changes(3, "-Pe or -PX requires service_name/type/parameter", func(c *change) error {
		switch {
		case c.part(2) == "*":
			return errors.New("-Pe does not accept wild-card parameter name")
		case strings.ContainsFunc(c.value, isBlank):
			return errors.New("-Pe does not accept whitespace in parameter value")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return p.changeServices(list, func(s *service, c *change) error {
		if p.has(optE) {
			s.setParam(c.part(2), c.value)
		} else {
			s.deleteParam(c.part(2))
		}
		return nil
	})
}

// setParam changes every -o of a name, or adds one after the last option.
func (s *service) setParam(name, value string) {
	w := word{text: name + "=" + value, option: true, value: true}
	found, end := false, 0
	for i := range s.args {
		if s.args[i].isParam(name) {
			s.args[i], found = w, true
		}
		if s.args[i].option && s.args[i].text != "--" {
			end = i + 1
		}
	}
	if !found {
		s.args = slices.Insert(s.args, end, word{text: "-o", option: true}, w)
	}
}

func (s *service) deleteParam(name string) {
	for i := 1; i < len(s.args); {
		if s.args[i].isParam(name) {
			s.args = slices.Delete(s.args, i-1, i+1)
		} else {
			i++
		}
	}
}

func (w word) isParam(name string) bool {
	n, _, problem := config.SplitNameValue(w.text)
	return w.value && problem == "" && n == name
}

// changeServices applies changes to the entries that they name and writes
// these in normal form, after the comments that stood in them.
func (p *postconf) changeServices(list []*change, apply func(*service, *change) error) error {
	edit := func(e *entry, out *bufio.Writer) error {
		var s *service
		for _, c := range list {
			if !fits(c.part(0), e.name) || !fits(c.part(1), e.kind) {
				continue
			}
			if s == nil {
				var err error
				if s, err = p.parseService(e.joined()); err != nil {
					if errors.Is(err, errFieldCount) {
						return fmt.Errorf("file %s/master.cf: line %d: %w", p.dir, e.number, err)
					}
					return err
				}
			}
			c.done = true
			if err := apply(s, c); err != nil {
				return err
			}
		}
		if s == nil {
			e.copyTo(out)
			return nil
		}
		for _, line := range e.lines {
			if isIgnored(line) {
				_, _ = out.WriteString(line)
			}
		}
		fmt.Fprintln(out, s.text(true))
		return nil
	}
	return p.rewriteServices(nil, edit, func(*bufio.Writer) {
		for _, c := range list {
			if !c.done {
				p.warn("unmatched service_name/type: \"" + c.text + "\"")
			}
		}
	})
}

// An entry is the part of master.cf from the first line of a service to the
// first line of the next, comments and blank lines included.
type entry struct {
	name, kind string
	number     int // of its first line
	lines      []string
}

func (e *entry) copyTo(out *bufio.Writer) {
	for _, line := range e.lines {
		_, _ = out.WriteString(line)
	}
}

// joined is the logical line, with its line feeds.
func (e *entry) joined() string {
	var b strings.Builder
	for _, line := range e.lines {
		if !isIgnored(line) {
			b.WriteString(line)
		}
	}
	return b.String()
}

// rewriteServices hands each entry of master.cf to edit, which writes what it
// becomes; finish writes what comes at the end. begin, if not nil, is called
// when nobody else edits the file. Errors of writing stay with the writer.
func (p *postconf) rewriteServices(begin func() error, edit func(*entry, *bufio.Writer) error, finish func(*bufio.Writer)) error {
	path := p.dir + "/master.cf"
	return rewrite(path, func(text string, out *bufio.Writer) error {
		if begin != nil {
			if err := begin(); err != nil {
				return err
			}
		}
		var current *entry
		number := 0
		for line := range physicalLines(text) {
			number++
			if isIgnored(line) || isSpaceByte(line[0]) {
				if current != nil {
					current.lines = append(current.lines, line)
				} else {
					_, _ = out.WriteString(line)
				}
				continue
			}
			if current != nil {
				if err := edit(current, out); err != nil {
					return err
				}
			}
			current = &entry{number: number, lines: []string{line}}
			if err := current.identify(); err != nil {
				return fmt.Errorf("file %s: line %d: %w", path, number, err)
			}
		}
		if current != nil {
			if err := edit(current, out); err != nil {
				return err
			}
		}
		finish(out)
		return nil
	})
}

// identify takes name and type from the first line.
func (e *entry) identify() error {
	words := strings.FieldsFunc(e.lines[0], isBlank)
	if len(words) < 2 {
		return errors.New("specify service name and type on the same line")
	}
	e.name, e.kind = words[0], words[1]
	const unsupported = " syntax \"%s\" is unsupported with -Me, -Fe, -Pe, -X, or -#"
	if strings.Contains(e.name, "=") {
		return fmt.Errorf("service name"+unsupported, e.name)
	}
	if strings.ContainsAny(e.kind, "=/") {
		return fmt.Errorf("service type"+unsupported, e.kind)
	}
	return nil
}
