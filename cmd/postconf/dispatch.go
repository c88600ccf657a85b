package main

import (
	"errors"

	"suffix/pkg/config"
)

// start reads the command line and does what it asks for.
func (p *postconf) start(args []string) error {
	if rest, ok := takeLint(args); ok {
		return p.lint(rest)
	}
	if err := p.parse(args); err != nil {
		return err
	}
	p.dir, _ = config.Dir(p.configDir)
	switch {
	case p.has(optA0):
		return p.printLines(serverSASLTypes)
	case p.has(optA):
		return p.printLines(clientSASLTypes)
	case p.has(optL):
		return p.printLines(lockMethods)
	case p.has(optT):
		return p.showTLS()
	case p.has(optM0):
		return p.showTableTypes()
	case p.has(optB | optT0):
		return p.showTemplates()
	case p.has(edits):
		return p.edit()
	}
	return p.show()
}

// show displays parameters or services.
func (p *postconf) show() error {
	ofMaster := p.has(optM | optF | optP)
	if ofMaster {
		if err := p.readMaster(true); err != nil {
			return err
		}
	}
	if err := p.readMain(); err != nil {
		return err
	}
	if !ofMaster {
		if err := p.readMaster(false); err != nil {
			return err
		}
	}
	if err := p.register(); err != nil {
		return err
	}
	var err error
	switch {
	case p.has(optM):
		err = p.showServices()
	case p.has(optF):
		err = p.showFields()
	case p.has(optP):
		err = p.showServiceParams()
	default:
		err = p.showMain()
	}
	if err != nil {
		return err
	}
	if !p.has(optD | optQ) {
		return p.complain(ofMaster)
	}
	return nil
}

func (p *postconf) edit() error {
	var err error
	switch {
	case p.has(optM):
		err = p.editServices()
	case p.has(optF):
		err = p.editFields()
	case p.has(optP):
		err = p.editServiceParams()
	default:
		err = p.editMain()
	}
	return err
}

// errExpand is the fatal text after the warning about a mistake in a $ expression.
var errExpand = errors.New("macro processing error")
