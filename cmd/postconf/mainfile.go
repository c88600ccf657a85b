package main

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"

	"suffix/pkg/config"
	"suffix/pkg/macro"
	"suffix/pkg/params"
)

// A class of parameters, as -C names them.
type class uint8

const (
	classBuiltin class = 1 << iota
	classService
	classUser
	classAll = classBuiltin | classService | classUser
)

// mainFile is main.cf with the settings of -o.
type mainFile struct {
	settings map[string]string
	config   *config.Main // derives the defaults that depend on the host
}

// readMain reads main.cf; with -d it counts as empty.
func (p *postconf) readMain() error {
	o := config.Options{Dir: p.configDir, Program: programName(p.tag), Warn: p.warn,
		Error: func(text string) { p.message("error: " + text) }, ExplicitReferences: true}
	cfg := config.New(config.DefaultDir, nil, o)
	if !p.has(optD) {
		var err error
		if cfg, err = config.Load(o); err != nil {
			return err
		}
	}
	var list []config.Override
	for _, text := range p.overrides {
		name, value, problem := config.SplitNameValue(text)
		if problem != "" {
			return fmt.Errorf("invalid parameter override: %s: %s", text, problem)
		}
		list = append(list, config.Override{Name: name, Value: value})
	}
	if list != nil {
		cfg = cfg.With(list...)
	}
	p.main = &mainFile{settings: maps.Clone(cfg.Explicits()), config: cfg}
	return nil
}

func programName(tag string) string { return tag[strings.LastIndexByte(tag, '/')+1:] }

// isReadOnly tells the names that a program sets by itself.
func isReadOnly(name string) bool {
	d := params.Lookup(name)
	return d != nil && d.Flags&params.ReadOnly != 0 || name == "service_name"
}

// text returns what a name stands for in main.cf, before expansion: its
// setting, or its default.
func (p *postconf) text(name string) (text string, ok bool) {
	if name == "service_name" {
		return "", true
	}
	if text, ok = p.main.settings[name]; ok && !isReadOnly(name) {
		return text, true
	}
	return p.defaultText(name)
}

// defaultText returns the default of a name: of a parameter, or of one that
// carries the name of a service.
func (p *postconf) defaultText(name string) (text string, ok bool) {
	if text, ok = p.names.service[name]; ok {
		return text, true
	}
	if d := params.Lookup(name); d != nil {
		if d.Kind == params.KindComputed || d.Flags&params.ReadOnly != 0 || name == "config_directory" {
			return p.main.config.Default(name), true
		}
		return d.Default, true
	}
	return "", false
}

// expand replaces the $ expressions of text with the values that lookup knows.
func (p *postconf) expand(text string, lookup macro.Lookup) (string, error) {
	res, err := macro.Expand(text, lookup, macro.Options{Verbatim: isRaw})
	if err == nil {
		err = p.main.config.Err()
	}
	var e *macro.Error
	if errors.As(err, &e) && !e.Fatal {
		p.warn(e.Text)
		return "", errExpand
	}
	return res, err
}

// isRaw tells the parameters that programs expand by themselves.
func isRaw(name string) bool {
	d := params.Lookup(name)
	return d != nil && d.Kind == params.KindRaw
}

// showMain displays parameters of main.cf: those that were named, or all of
// the classes asked for.
func (p *postconf) showMain() error {
	list := p.operands
	if len(list) == 0 {
		list = p.allNames()
	}
	for _, name := range list {
		if err := p.showParam(name); err != nil {
			return err
		}
	}
	return nil
}

func (p *postconf) showParam(name string) error {
	if !p.names.known(name) {
		p.warn(name + ": unknown parameter")
		return nil
	}
	if _, set := p.main.settings[name]; p.has(optN) && (!set || isReadOnly(name)) {
		return nil
	}
	if p.has(optH) {
		return p.printSetting(name, "")
	}
	text, _ := p.text(name)
	if p.has(optX0) && !isRaw(name) {
		var err error
		if text, err = p.expand(text, p.text); err != nil {
			return err
		}
	}
	if err := p.main.config.Err(); err != nil {
		return err
	}
	return p.printSetting(name, text)
}

// allNames lists the parameters of the classes asked for.
func (p *postconf) allNames() []string {
	var list []string
	all := params.All()
	for i := range all {
		d := &all[i]
		_, ofService := p.names.service[d.Name]
		_, set := p.main.settings[d.Name]
		switch {
		case ofService:
		case d.Flags&(params.Hidden|params.Private) != 0:
			if p.classes&classUser != 0 && (set || p.setInService(d.Name)) {
				list = append(list, d.Name)
			}
		case p.classes&classBuiltin != 0:
			list = append(list, d.Name)
		}
	}
	if p.classes&classService != 0 {
		for name := range p.names.service {
			list = append(list, name)
		}
	}
	if p.classes&classUser != 0 {
		for name := range p.names.user {
			list = append(list, name)
		}
	}
	sort.Strings(list)
	return slices.Compact(list)
}

func (p *postconf) setInService(name string) bool {
	for _, s := range p.services {
		if _, set := s.params.settings[name]; set {
			return true
		}
	}
	return false
}
