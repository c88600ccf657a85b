package main

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"suffix/pkg/config"
	"suffix/pkg/lint"
)

// lintFlag is the one long option of this command.
const lintFlag = "--lint"

// takeLint takes --lint out of the options, wherever among them it stands.
func takeLint(args []string) (rest []string, ok bool) {
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == lintFlag:
			return slices.Concat(args[:i], args[i+1:]), true
		case len(arg) < 2 || arg[0] != '-' || arg == "--":
			return args, false
		}
		// The first letter that wants a value takes the rest, or the next word.
		if at := strings.IndexAny(arg, "cCoT"); at == len(arg)-1 {
			i++
		}
	}
	return args, false
}

// lint explains what is risky in the configuration, or without effect. The
// exit status tells whether something serious is among it (1), or that there is
// nothing to look at (2).
func (p *postconf) lint(args []string) error {
	if err := p.parse(args); err != nil {
		return err
	}
	if bad := p.given &^ (optO | optP0); bad != 0 || len(p.operands) > 0 {
		if bad == 0 {
			return errors.New("with option " + lintFlag + ", do not specify parameter names")
		}
		return errors.New("with option " + lintFlag + ", do not specify " + bad.list(" "))
	}
	o := lint.Options{Dir: p.configDir, Instead: deprecation}
	for _, text := range p.overrides {
		name, value, problem := config.SplitNameValue(text)
		if problem != "" {
			return fmt.Errorf("invalid parameter override: %s: %s", text, problem)
		}
		o.Overrides = append(o.Overrides, config.Override{Name: name, Value: value})
	}
	report, err := lint.Run(o)
	if err != nil {
		p.message("fatal: " + err.Error())
		p.status = 2
		return nil
	}
	if report.Serious() {
		p.status = 1
	}
	return report.Write(p.out)
}
