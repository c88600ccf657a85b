package main

import (
	"fmt"
	"slices"
	"sort"
	"strings"

	"suffix/pkg/params"
)

// A request is an operand such as smtp/inet/chroot. A part that is "*" or
// missing fits everything.
type request struct {
	text    string
	parts   []string
	matched bool
}

// requests takes the operands apart; most is the number of parts allowed.
func (p *postconf) requests(most int, usage string) ([]*request, error) {
	if len(p.operands) == 0 {
		return []*request{{}}, nil
	}
	var list []*request
	for _, text := range p.operands {
		parts, ok := splitRequest(text)
		if !ok || len(parts) > most {
			return nil, fmt.Errorf("%s", usage)
		}
		list = append(list, &request{text: text, parts: parts})
	}
	return list, nil
}

// splitRequest cuts a request at its slashes; several count as one.
func splitRequest(text string) (parts []string, ok bool) {
	parts = strings.FieldsFunc(text, func(r rune) bool { return r == '/' })
	for _, part := range parts {
		if part != "*" && strings.Contains(part, "*") {
			return nil, false
		}
	}
	return parts, len(parts) > 0 && text[0] != '/'
}

// part returns one part; "*" where it is missing.
func (r *request) part(i int) string {
	if i < len(r.parts) {
		return r.parts[i]
	}
	return "*"
}

func fits(pattern, name string) bool { return pattern == "*" || pattern == name }

func (r *request) fitsService(s *service) bool {
	return fits(r.part(0), s.fields[fieldService]) && fits(r.part(1), s.fields[fieldType])
}

func (p *postconf) reportUnmatched(list []*request) error {
	if err := p.out.Flush(); err != nil {
		return err
	}
	for _, r := range list {
		if r.text != "" && !r.matched {
			p.warn("unmatched request: \"" + r.text + "\"")
		}
	}
	return nil
}

// forEach calls show for every service and every request that fits it.
func (p *postconf) forEach(list []*request, show func(*service, *request) error) error {
	for _, s := range p.services {
		for _, r := range list {
			if r.fitsService(s) {
				if err := show(s, r); err != nil {
					return err
				}
			}
		}
	}
	return p.reportUnmatched(list)
}

func (p *postconf) showServices() error {
	list, err := p.requests(2, "-M option requires service_name[/type]")
	if err != nil {
		return err
	}
	return p.forEach(list, func(s *service, r *request) error {
		r.matched = true
		s, err := p.expanded(s)
		switch {
		case err != nil:
			return err
		case p.has(optJ):
			return p.printJSON(s.key(), strings.Join(s.fields[:fieldCommand], " ")+" "+s.command(0, false))
		}
		return p.printLine(s.text(p.has(optF0)))
	})
}

func (p *postconf) showFields() error {
	list, err := p.requests(3, "-F option requires service_name[/type[/field]]")
	if err != nil {
		return err
	}
	for _, r := range list {
		if field := r.part(2); field != "*" && !slices.Contains(fieldNames[:], field) {
			return fmt.Errorf("invalid service attribute name: \"%s\"", field)
		}
	}
	return p.forEach(list, func(s *service, r *request) error {
		s, err := p.expanded(s)
		if err != nil {
			return err
		}
		for i, field := range fieldNames {
			if fits(r.part(2), field) {
				r.matched = true
				if err := p.showField(s, i); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func (p *postconf) showField(s *service, i int) error {
	label := s.key() + "/" + fieldNames[i]
	value := func(column int) string {
		if i == fieldCommand {
			return s.command(column, p.has(optF0) && !p.has(optJ))
		}
		return s.fields[i]
	}
	switch {
	case p.has(optJ):
		return p.printJSON(label, value(0))
	case p.has(optH):
		return p.printLine(label)
	case p.has(optH0):
		return p.printLine(value(0))
	}
	return p.printLine(label + " = " + value(len(label)+3))
}

// expanded returns the service with its -o values expanded, if -x asks for it.
func (p *postconf) expanded(s *service) (*service, error) {
	if !p.has(optX0) {
		return s, nil
	}
	e := *s
	e.args = slices.Clone(s.args)
	for i, w := range e.args {
		name, value, ok := strings.Cut(w.text, "=")
		if !w.value || !ok {
			continue
		}
		value, err := p.expand(value, p.serviceLookup(s))
		if err != nil {
			return nil, err
		}
		e.args[i].text = name + "=" + value
	}
	return &e, nil
}

// serviceLookup knows the values that a program sees that runs as this service.
func (p *postconf) serviceLookup(s *service) func(string) (string, bool) {
	return func(name string) (string, bool) {
		switch name {
		case "process_name":
			return s.fields[fieldCommand], true
		case "service_name":
			return s.fields[fieldService], true
		}
		if text, ok := s.params.settings[name]; ok && !isReadOnly(name) {
			return text, true
		}
		return p.text(name)
	}
}

func (p *postconf) showServiceParams() error {
	list, err := p.requests(3, "-P option requires service_name[/type[/parameter]]")
	if err != nil {
		return err
	}
	return p.forEach(list, func(s *service, r *request) error {
		for _, name := range p.paramsOf(s, r.part(2) == "*") {
			if fits(r.part(2), name) {
				r.matched = true
				if err := p.showServiceParam(s, name); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

// paramsOf lists the parameters that -P, or -PP, shows for a service.
func (p *postconf) paramsOf(s *service, all bool) []string {
	var list []string
	for name := range s.params.settings {
		list = append(list, name)
	}
	if p.has(optPP) {
		saved := p.classes
		if !all {
			p.classes = classAll
		}
		list = append(list, p.allNames()...)
		p.classes = saved
		if !all {
			for i := range params.All() {
				if d := &params.All()[i]; d.Flags&params.Hidden != 0 {
					list = append(list, d.Name)
				}
			}
		}
	}
	sort.Strings(list)
	return slices.Compact(list)
}

func (p *postconf) showServiceParam(s *service, name string) error {
	if p.has(optH) {
		return p.printSetting(s.key()+"/"+name, "")
	}
	lookup := p.serviceLookup(s)
	text, _ := lookup(name)
	if isReadOnly(name) && !p.has(optPP) {
		text = s.params.settings[name]
	}
	if p.has(optX0) && !isRaw(name) {
		var err error
		if text, err = p.expand(text, lookup); err != nil {
			return err
		}
	}
	if err := p.main.config.Err(); err != nil {
		return err
	}
	return p.printSetting(s.key()+"/"+name, text)
}
