package main

import (
	"errors"
	"fmt"
	"sort"

	"suffix/pkg/config"
	"suffix/pkg/macro"
	"suffix/pkg/params"
)

// names are the parameters beyond the declared ones.
type names struct {
	service map[string]string // default of those that carry a service's name
	user    map[string]bool   // user-defined ones that are set and in use
}

func (n *names) known(name string) bool {
	if _, ok := n.service[name]; ok {
		return true
	}
	return params.Lookup(name) != nil || n.user[name]
}

func (p *postconf) addServiceNames() {
	p.names.service = make(map[string]string)
	add := func(name, global string) {
		if d := params.Lookup(name); d != nil {
			p.names.service[name] = d.Default
			return
		}
		p.names.service[name] = "$" + global
	}
	for _, s := range p.services {
		name := s.fields[fieldService]
		switch s.fields[fieldCommand] {
		case "local", "error", "virtual", "smtp", "lmtp", "pipe":
			for _, t := range params.TransportParams {
				add(name+t.Suffix, t.Global)
			}
		}
		switch s.fields[fieldCommand] {
		case "pipe", "spawn":
			add(name+params.TimeLimit.Suffix, params.TimeLimit.Global)
		}
	}
}

// register finds out which names there are and warns about those that make
// no sense.
func (p *postconf) register() error {
	p.names.user = make(map[string]bool)
	p.addServiceNames()
	if p.has(optD) {
		return nil
	}
	seen := make(map[*serviceParams]bool)
	for _, s := range p.services {
		if seen[s.params] {
			continue
		}
		seen[s.params] = true
		if err := p.registerScope(s); err != nil {
			return err
		}
	}
	p.deriveDefaults()
	if err := p.main.config.Err(); err != nil {
		return err
	}
	if err := p.registerScope(nil); err != nil {
		return err
	}
	return p.main.config.Err()
}

// deriveDefaults works out the defaults that depend on the host, to see that
// this can be done. Whether there are interfaces is not looked at where any will do.
func (p *postconf) deriveDefaults() {
	set := func(name string) bool { _, ok := p.main.settings[name]; return ok }
	for _, name := range [...]string{"myhostname", "mydomain"} {
		if !set(name) {
			p.main.config.Default(name)
		}
	}
	interfaces, own := p.main.settings["inet_interfaces"]
	switch {
	case set("mynetworks"):
	case set("mynetworks_style") || own && interfaces != "all" && interfaces != "loopback-only":
		p.main.config.Default("mynetworks")
	default:
		p.main.config.Protocols()
	}
}

// isListed tells the declared parameters that are shown also where they are
// not set: not those that live on as the default of another.
func isListed(name string) bool {
	d := params.Lookup(name)
	return d != nil && d.Flags&params.Hidden == 0
}

// dropReadOnly warns about settings of what a program sets by itself, and forgets them.
func (p *postconf) dropReadOnly(file string, settings map[string]string) {
	var list []string
	for name := range settings {
		if isReadOnly(name) {
			list = append(list, name)
		}
	}
	sort.Strings(list)
	for _, name := range list {
		p.warn(file + ": read-only parameter assignment: " + name + "=" + settings[name])
		delete(settings, name)
	}
}

// registerScope looks for the names that main.cf, or one service, refers to.
func (p *postconf) registerScope(s *service) error {
	file, settings := p.dir+"/main.cf", p.main.settings
	lookup := p.text
	if s != nil {
		file, settings, lookup = p.dir+"/master.cf", s.params.settings, p.serviceLookup(s)
	}
	if err := p.useClasses(file, settings, s); err != nil {
		return err
	}
	p.dropReadOnly(file, settings)
	if s == nil {
		all := params.All()
		for i := range all {
			d := &all[i]
			if _, set := settings[d.Name]; !set && d.Flags&params.Hidden == 0 && d.Kind != params.KindRaw {
				text := d.Default
				if d.Kind == params.KindComputed && d.Name != "mynetworks" {
					text = p.main.config.Default(d.Name)
				}
				p.scanNames(file, text, nil)
			}
		}
	}
	keys := sortedKeys(settings)
	for _, name := range keys {
		if !isRaw(name) {
			p.scanNames(file, settings[name], s)
		}
	}
	for _, name := range keys {
		if _, ofService := p.names.service[name]; !ofService && !isListed(name) || isRaw(name) {
			continue
		}
		text, err := p.expand(settings[name], lookup)
		if err != nil {
			return err
		}
		if err := p.scanTables(tableScan{file: file, service: s}, text, 0); err != nil {
			return err
		}
	}
	return nil
}

// useClasses notes the restriction classes that are named. Expressions among
// the names see what is set in the same place only.
func (p *postconf) useClasses(file string, settings map[string]string, s *service) error {
	explicit := func(name string) (string, bool) { text, ok := settings[name]; return text, ok }
	classes, set := explicit("smtpd_restriction_classes")
	if !set {
		return nil
	}
	classes, err := macro.Expand(classes, explicit, macro.Options{})
	var e *macro.Error
	if errors.As(err, &e) && !e.Fatal {
		p.warn(e.Text)
		where := "mail_dict"
		if s != nil {
			where = s.key()
		}
		return fmt.Errorf("dictionary %s: %w", where, errExpand)
	}
	if err != nil {
		return err
	}
	for _, name := range config.SplitList(classes) {
		p.use(file, name, s)
	}
	return nil
}

// scanNames notes the names that occur in the $ expressions of a text.
func (p *postconf) scanNames(file, text string, s *service) {
	err := macro.Names(text, func(name string, _ bool) { p.use(file, name, s) })
	var e *macro.Error
	if errors.As(err, &e) {
		p.warn(e.Text)
	}
}

// use notes that a name is in use, in main.cf or in a service. What is set
// nowhere is worth a warning.
func (p *postconf) use(file, name string, s *service) {
	found := p.markUsed(name, s)
	if _, ok := p.names.service[name]; !found && !ok && params.Lookup(name) == nil && name != "service_name" {
		p.warn(file + ": undefined parameter: " + name)
	}
}

// markUsed makes a name that is set a user-defined parameter where it is set;
// it tells whether that is anywhere in reach: a service sees its own settings
// before those of main.cf; what main.cf refers to, any service may set.
func (p *postconf) markUsed(name string, s *service) (found bool) {
	if s != nil {
		if _, set := s.params.settings[name]; set {
			p.mark(s.params.user, name, s, s)
			return true
		}
	} else {
		for _, other := range p.services {
			if _, set := other.params.settings[name]; set {
				p.mark(other.params.user, name, s, other)
				found = true
			}
		}
	}
	if _, set := p.main.settings[name]; set {
		if _, ofService := p.names.service[name]; !ofService && params.Lookup(name) == nil {
			p.mark(p.names.user, name, s, nil)
		}
		found = true
	}
	return found
}

// mark enters a name into the user-defined ones of a place; -v says why.
func (p *postconf) mark(user map[string]bool, name string, from, to *service) {
	if user[name] {
		return
	}
	user[name] = true
	if p.verbose > 0 {
		p.message("$" + name + " in " + place(from) + " validates " + name + "=value in " + place(to))
	}
}

func place(s *service) string {
	if s == nil {
		return "main.cf"
	}
	return "master.cf:" + s.key()
}
