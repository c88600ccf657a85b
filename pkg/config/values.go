package config

import (
	"errors"
	"fmt"
	"time"

	"suffix/pkg/macro"
	"suffix/pkg/params"
)

// errMacro is what a program says when a setting cannot be expanded; the
// warning before it names the mistake.
var errMacro = errors.New("dictionary mail_dict: macro processing error")

// Expand replaces the $ expressions of text by the settings and defaults of
// this configuration. The error, which also becomes that of Err, has the
// words of Postfix's fatal message; the mistake itself is warned about.
func (m *Main) Expand(text string) (string, error) { return m.expand(text, 0) }

func (m *Main) expand(text string, hidden computedSet) (string, error) {
	res, err := macro.Expand(text, func(name string) (string, bool) { return m.unexpanded(name, hidden) }, macro.Options{})
	if err == nil {
		return res, nil
	}
	var e *macro.Error
	if errors.As(err, &e) && !e.Fatal {
		m.warn(e.Text)
		err = errMacro
	}
	m.fail(err)
	return "", err
}

// Lookup returns the expanded value of any name: a parameter, a user-defined
// setting, a restriction class. ok is false for a name without value.
func (m *Main) Lookup(name string) (text string, ok bool) {
	text, ok = m.Unexpanded(name)
	if !ok {
		return "", false
	}
	text, err := m.Expand(text)
	return text, err == nil
}

// text returns the expanded value of a parameter; ok is false for one that
// cannot be expanded, after the error was noted.
func (m *Main) text(p *params.Param) (text string, ok bool) {
	text, _ = m.Unexpanded(p.Name)
	text, err := m.expand(text, loadedLater(p.Name))
	return text, err == nil
}

// loadedLater tells which values a parameter cannot refer to, because they
// are worked out after it: the level decides about defaults, and the name of
// the host about the domain.
func loadedLater(name string) computedSet {
	switch name {
	case "compatibility_level":
		return defaultsHidden
	case "myhostname":
		return 1 << hostDomain
	}
	return 0
}

// String returns a text parameter, expanded.
func (m *Main) String(id params.String) string {
	p := params.Of(id)
	text, ok := m.text(p)
	if !ok {
		return ""
	}
	if err := checkLength(p, p.Name, text); err != nil {
		m.fail(err)
		return m.defaultText(p)
	}
	if id == params.Myorigin && text != "" && text[0] == '/' {
		return m.originFromFile(text)
	}
	return text
}

// List returns a text parameter cut at commas and blanks.
func (m *Main) List(id params.String) []string { return SplitList(m.String(id)) }

// Raw returns a parameter that its program expands by itself: as it is set.
func (m *Main) Raw(id params.Raw) string {
	p := params.Of(id)
	text, _ := m.Unexpanded(p.Name)
	if err := checkLength(p, p.Name, text); err != nil {
		m.fail(err)
		return p.Default
	}
	return text
}

// Bool returns a yes/no parameter.
func (m *Main) Bool(id params.Bool) bool {
	p := params.Of(id)
	text, ok := m.text(p)
	if ok {
		v, err := convertBool(p.Name, text)
		if err == nil {
			return v
		}
		m.fail(err)
	}
	v, _ := ParseBool(m.defaultText(p))
	return v
}

// Int returns a 32-bit number.
func (m *Main) Int(id params.Int) int { return int(m.number(params.Of(id))) }

// Long returns a 64-bit number.
func (m *Main) Long(id params.Long) int64 { return m.number(params.Of(id)) }

// Time returns a time, in whole seconds.
func (m *Main) Time(id params.Time) time.Duration {
	return time.Duration(m.number(params.Of(id))) * time.Second
}

// number returns a number or a time in seconds.
func (m *Main) number(p *params.Param) int64 {
	if text, ok := m.text(p); ok {
		v, err := convert(p, p.Name, text)
		if err == nil {
			return v
		}
		m.fail(err)
	}
	v, _ := convert(p, p.Name, m.defaultText(p))
	return v
}

func convert(p *params.Param, name, text string) (int64, error) {
	if p.Kind == params.KindTime {
		return convertTime(p, name, text)
	}
	return convertInt(p, name, text)
}

// defaultText is the expanded default, for the time until the program looks
// at Err: nothing goes wrong in between.
func (m *Main) defaultText(p *params.Param) string {
	text, err := m.quietly(p.Default)
	if err != nil {
		return ""
	}
	return text
}

// ServiceString, ServiceInt and ServiceTime read the parameters that carry
// the name of a transport or service, such as smtp_destination_rate_delay
// (spec config §10). What is not set has the value of def, unless the name is
// declared by itself, as local_destination_recipient_limit is.
func (m *Main) ServiceString(name string, def params.String) string {
	p := params.Of(def)
	text, declared, set := m.serviceText(name)
	if !declared && !set {
		return m.String(def)
	}
	text, err := m.Expand(text)
	if err == nil {
		err = checkLength(p, name, text)
	}
	if err != nil {
		m.fail(err)
		return m.defaultText(p)
	}
	return text
}

// ServiceInt reads a number; see ServiceString.
func (m *Main) ServiceInt(name string, def params.Int) int {
	return int(m.serviceNumber(name, params.Of(def)))
}

// ServiceTime reads a time; see ServiceString.
func (m *Main) ServiceTime(name string, def params.Time) time.Duration {
	return time.Duration(m.serviceNumber(name, params.Of(def))) * time.Second
}

func (m *Main) serviceNumber(name string, def *params.Param) int64 {
	text, declared, set := m.serviceText(name)
	if declared || set {
		if text, err := m.Expand(text); err == nil {
			v, err := convert(def, name, text)
			if err == nil {
				return v
			}
			m.fail(err)
		}
	}
	return m.number(def)
}

func (m *Main) serviceText(name string) (text string, declared, set bool) {
	if text, set = m.settings[name]; set {
		return text, false, true
	}
	if p := params.Lookup(name); p != nil {
		return p.Default, true, false
	}
	return "", false, false
}

// CompatLevelBelow tells whether compatibility_level is older than level.
func (m *Main) CompatLevelBelow(level string) bool {
	limit, ok := macro.ParseLevel(level)
	text := m.String(params.CompatibilityLevel)
	have, good := macro.ParseLevel(text)
	if !good {
		m.fail(fmt.Errorf("malformed compatibility level syntax: \"%s\"", text))
	}
	return ok && good && have.Compare(limit) < 0
}

// Dialect37 tells whether programs speak the internal protocols of Postfix
// 3.7 where they differ (suffix_dialect).
func (m *Main) Dialect37() bool {
	switch text := m.String(params.SuffixDialect); text {
	case "3.7":
		return true
	case "", "3.11":
		return false
	default:
		m.fail(fmt.Errorf("unknown suffix_dialect value \"%s\" in \"%s\"", text, text))
		return false
	}
}
