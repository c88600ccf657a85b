package config

import (
	"strings"

	"suffix/pkg/macro"
	"suffix/pkg/params"
)

// Ineffective returns a warning for each reason why settings that a program
// would use do nothing in this version: their feature does not exist yet, or
// there is nothing for them to decide. Settings equal to the default count for
// nothing. Settings that all programs load are left to master, which every
// installation runs once.
func (m *Main) Ineffective(program string) []string {
	if program == "proxymap" || program == "proxywrite" {
		return nil // the values that they load tell them which tables to open, no more
	}
	type group struct{ file, why string }
	var groups []group
	names := make(map[group][]string)
	all := params.All()
	for i := range all {
		p := &all[i]
		if p.Missing == "" || !m.Explicit(p.Name) || !p.LoadedBy(program) && (p.Programs != "*" || program != "master") || m.sameAsDefault(p) {
			continue
		}
		if program == "tlsmgr" && p.Programs != program {
			continue // what it shares with SMTP servers and clients they tell
		}
		g := group{"main.cf", p.Missing}
		if m.options[p.Name] {
			g.file = "master.cf"
		}
		if names[g] == nil {
			groups = append(groups, g)
		}
		names[g] = append(names[g], p.Name)
	}
	var warnings []string
	for _, g := range groups {
		verb := " is set, but "
		if len(names[g]) > 1 {
			verb = " are set, but "
		}
		warnings = append(warnings, m.dir+"/"+g.file+": "+strings.Join(names[g], ", ")+verb+g.why)
	}
	return warnings
}

// sameAsDefault tells whether a setting has the value of its default. What
// cannot be evaluated differs, without further complaint: nobody asks for it.
func (m *Main) sameAsDefault(p *params.Param) bool {
	set, err := m.quietly(m.settings[p.Name])
	if err != nil {
		return false
	}
	def, err := m.quietly(p.Default)
	if err != nil {
		return false
	}
	switch p.Kind {
	case params.KindBool:
		return strings.EqualFold(set, def)
	case params.KindInt, params.KindLong, params.KindTime:
		v, err := convert(p, p.Name, set)
		d, derr := convert(p, p.Name, def)
		return err == nil && derr == nil && v == d
	}
	return set == def
}

// quietly expands text without noting errors.
func (m *Main) quietly(text string) (string, error) {
	return macro.Expand(text, func(name string) (string, bool) { return m.unexpanded(name, allComputed) }, macro.Options{})
}
