package lint

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sort"
	"strings"

	"suffix/pkg/config"
	"suffix/pkg/macro"
	"suffix/pkg/params"
)

func isEOF(err error) bool { return errors.Is(err, io.EOF) }

// checkSettings looks at each setting by itself: its name, and its value.
func (c *checker) checkSettings() {
	c.checkDuplicates()
	used := c.usedNames()
	for _, s := range c.scopes() {
		for _, name := range sortedKeys(s.set) {
			s.checkName(name, used)
			s.checkReferences(name)
			s.checkValue(name)
		}
		s.checkMissing()
	}
}

// checkMissing names the settings that this version does nothing with, those
// with the same reason together.
func (s *scope) checkMissing() {
	byReason := make(map[string][]string)
	for _, name := range sortedKeys(s.set) {
		if d := params.Lookup(name); d != nil && d.Missing != "" && s.differs(name) {
			byReason[d.Missing] = append(byReason[d.Missing], name)
		}
	}
	for _, reason := range sortedKeys(byReason) {
		names := byReason[reason]
		text := strings.Join(names, ", ")
		if len(names) == 1 {
			s.tell(Advice, "missing", names[0], "%s is set, but %s.", text, reason)
		} else {
			s.tellHere(Advice, "missing", "settings without effect, because %s: %s.", reason, text)
		}
	}
}

func sortedKeys[V any](m map[string]V) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

func (c *checker) checkDuplicates() {
	first := make(map[string]config.Setting)
	for _, s := range c.settings {
		old, seen := first[s.Name]
		first[s.Name] = s
		if !seen || s.Line == 0 {
			continue
		}
		if old.Value == s.Value {
			c.main.tell(Advice, "duplicate", s.Name, "%s is set here, and to the same value in line %d. One of the two can go, before somebody changes the wrong one.",
				s.Name, old.Line)
			continue
		}
		c.main.tell(Advice, "duplicate", s.Name, "%s is set here and in line %d. The later setting wins, \"%s\"; the earlier one, \"%s\", has no effect. Remove one.",
			s.Name, old.Line, short(s.Value), short(old.Value))
	}
}

// short cuts a value that is shown.
func short(text string) string {
	const limit = 60
	if len(text) > limit {
		return text[:limit] + "..."
	}
	return text
}

// usedNames collects the names that settings and defaults refer to.
func (c *checker) usedNames() map[string]bool {
	used := make(map[string]bool)
	note := func(text string) { _ = macro.Names(text, func(name string, _ bool) { used[name] = true }) } // mistakes have a rule of their own
	all := params.All()
	for i := range all {
		note(all[i].Default)
	}
	for _, s := range c.scopes() {
		for name, text := range s.set {
			note(text)
			if d := params.Lookup(name); d == nil || d.Kind == params.KindRaw || !strings.ContainsAny(text, ":$") {
				continue
			}
			text, err := s.expand(text)
			if err != nil {
				continue
			}
			s.noteClientNames(text, used, 0)
		}
		for _, name := range s.list("smtpd_restriction_classes") {
			used[name] = true
		}
	}
	return used
}

// clientTypes are the types of tables whose settings may stand in main.cf.
var clientTypes = []string{"ldap", "mysql", "pgsql", "sqlite", "memcache", "mongodb"}

// noteClientNames finds tables of such types in a value. Their settings are
// NAME_parameter: all such names count as used.
func (s *scope) noteClientNames(text string, used map[string]bool, depth int) {
	if depth > maxNesting {
		return
	}
	for _, item := range config.SplitBrace(text) {
		for _, prefix := range []string{"proxy:", "debug:"} {
			for strings.HasPrefix(item, prefix) {
				item = item[len(prefix):]
			}
		}
		kind, name, _ := strings.Cut(item, ":")
		if strings.HasPrefix(item, "{") || strings.HasPrefix(name, "{") {
			inner, _ := config.Unwrap(item[strings.IndexByte(item, '{'):])
			s.noteClientNames(inner, used, depth+1)
			continue
		}
		if slices.Contains(clientTypes, kind) && name != "" && name[0] != '/' && name[0] != '.' {
			for _, set := range []map[string]string{s.set, s.c.main.set} {
				for key := range set {
					if strings.HasPrefix(key, name+"_") {
						used[key] = true
					}
				}
			}
		}
	}
}

// maxNesting bounds groups within groups.
const maxNesting = 100

// ofTransport takes a name such as smtp_destination_rate_delay apart; global
// declares what may be its value.
func ofTransport(name string) (transport string, global *params.Param) {
	for _, t := range append(params.TransportParams[:], params.TimeLimit) {
		if transport, ok := strings.CutSuffix(name, t.Suffix); ok && transport != "" {
			return transport, params.Lookup(t.Global)
		}
	}
	return "", nil
}

// checkName tells what becomes of a name.
func (s *scope) checkName(name string, used map[string]bool) {
	if name == "process_name" || name == "process_id" || name == "service_name" {
		s.tell(Advice, "read-only", name, "%s is set by each program itself; the setting has no effect. Remove it.", name)
		return
	}
	instead := s.c.o.Instead(name)
	known := params.Lookup(name) != nil
	switch {
	case instead != "" && known:
		s.tell(Advice, "deprecated", name, "%s still works, but is on its way out: %s.", name, instead)
		return
	case instead != "":
		s.tell(Advice, "removed", name, "no program reads %s any more: %s.", name, instead)
		return
	case known:
		return
	case used[name]:
		return
	}
	if transport, global := ofTransport(name); global != nil {
		if transport != "default" && s.c.service(transport) == nil {
			s.tell(Advice, "unknown-transport", name, "%s is about a service \"%s\", which master.cf does not have, so that nothing reads it. %s",
				name, transport, meant(transport, s.c.transportNames()))
		}
		return
	}
	candidates := make([]string, 0, 1024)
	all := params.All()
	for i := range all {
		if all[i].Flags&params.Hidden == 0 {
			candidates = append(candidates, all[i].Name)
		}
	}
	s.tell(Advice, "unused", name, "no program reads %s, and no other setting refers to it. %s", name,
		meant(name, candidates))
}

// meant proposes the nearest of the names that exist.
func meant(name string, candidates []string) string {
	if best := nearest(name, candidates); best != "" {
		return fmt.Sprintf("Perhaps %s is meant.", best)
	}
	return "Correct the name, or remove the line."
}

func (c *checker) transportNames() []string {
	var list []string
	for _, s := range c.services {
		if s.Type == "unix" {
			list = append(list, s.Name)
		}
	}
	return list
}

// differs tells whether the value of a parameter is other than its default.
func (s *scope) differs(name string) bool {
	d := params.Lookup(name)
	if d.Kind == params.KindRaw {
		text, _ := s.raw(name)
		return text != d.Default
	}
	def, err := s.expand(d.Default)
	return err != nil || s.value(name) != def
}

// checkReferences looks at the $ expressions of a setting.
func (s *scope) checkReferences(name string) {
	text := s.set[name]
	d := params.Lookup(name)
	if d != nil && d.Kind == params.KindRaw || !strings.Contains(text, "$") {
		return
	}
	_, expandErr := s.expand(text)
	tested := make(map[string]bool)
	_ = macro.Names(text, func(other string, test bool) { tested[other] = tested[other] || test }) // see below
	err := macro.Names(text, func(other string, _ bool) {
		if _, ok := s.raw(other); ok || tested[other] || params.Lookup(other) != nil || other == "service_name" {
			return
		}
		candidates := sortedKeys(s.c.main.set)
		all := params.All()
		for i := range all {
			candidates = append(candidates, all[i].Name)
		}
		s.tell(Advice, "undefined", name, "%s refers to $%s, which is nowhere set and becomes nothing. %s", name, other, meant(other, candidates))
	})
	if err == nil {
		err = expandErr
	}
	if err != nil {
		s.tell(Serious, "expansion", name, "the $ expression in %s is wrong: %s. Programs that read this parameter end with a fatal error.", name, macroError(err))
	}
}

// checkValue converts a value as a program would.
func (s *scope) checkValue(name string) {
	d, all := params.Lookup(name), params.All()
	shown := name
	if d == nil {
		_, d = ofTransport(name)
	}
	if d == nil || d.Kind == params.KindRaw || d.Flags&params.ReadOnly != 0 {
		return
	}
	text, err := s.expand(s.set[name])
	if err != nil {
		return
	}
	// One setting alone, with nothing to expand: the first error is its own.
	m := config.New(s.c.dir, []config.Setting{{Name: d.Name, Value: strings.ReplaceAll(text, "$", "$$")}}, config.Options{})
	i := sort.Search(len(all), func(i int) bool { return all[i].Name >= d.Name })
	switch d.Kind {
	case params.KindBool:
		m.Bool(params.Bool(i))
	case params.KindInt:
		m.Int(params.Int(i))
	case params.KindLong:
		m.Long(params.Long(i))
	case params.KindTime:
		m.Time(params.Time(i))
	case params.KindComputed:
		if text == "" && name != "mynetworks" {
			break
		}
		fallthrough
	default:
		m.String(params.String(i))
	}
	switch name {
	case "compatibility_level":
		m.CompatLevelBelow("1")
	case "inet_protocols":
		m.Protocols()
	case "suffix_dialect":
		m.Dialect37()
	case "known_tcp_ports":
		m.KnownTCPPorts()
	case "myhostname", "mydomain":
		if reason := config.ValidHostname(text); reason != "" {
			s.tell(Serious, "value", name, "no program starts with %s = %s (%s). It must be a host name: letters, digits, hyphens and dots.", name, text, reason)
			return
		}
	}
	if err := m.Err(); err != nil {
		s.tell(Serious, "value", name, "the value of %s is not valid: %s. Programs that read it end with this error.%s",
			shown, strings.Replace(err.Error(), d.Name, name, 1), hint(d, text))
		return
	}
	s.checkChoice(name, d, text)
}

// hint says what a value may be.
func hint(d *params.Param, text string) string {
	switch {
	case strings.Contains(text, "#"):
		return " A comment cannot follow a value: it needs a line of its own."
	case d.Kind == params.KindBool:
		return " Write yes or no."
	case d.Kind == params.KindTime:
		return " Write a number with a unit: s, m, h, d or w."
	}
	return ""
}

// checkChoice looks whether a word is among those that a parameter knows.
func (s *scope) checkChoice(name string, d *params.Param, text string) {
	choices, isList := strings.CutPrefix(d.Choices, "list:")
	if choices == "" || strings.ContainsAny(choices, " /") {
		return
	}
	permitted := strings.Split(choices, "|")
	words := []string{text}
	if isList {
		words = config.SplitList(text)
	}
	for _, word := range words {
		if word == "" && (slices.Contains(permitted, "(empty)") || d.Default == "") {
			continue
		}
		if !slices.ContainsFunc(permitted, func(p string) bool { return strings.EqualFold(p, word) }) {
			s.tell(Serious, "choice", name, "%s does not know \"%s\". It may be: %s.", name, short(word),
				strings.ReplaceAll(strings.Join(permitted, ", "), "(empty)", "empty"))
		}
	}
}
