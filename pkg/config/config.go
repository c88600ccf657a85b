// Package config reads main.cf and gives every parameter its value: explicit
// setting, -o override or default, $-expanded and converted (spec config).
//
// A program loads the configuration once, reads all that it needs at start,
// and then asks Err for the first bad value. Nothing is evaluated before it is
// asked for, so that short-lived commands pay for what they use only.
package config

import (
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"suffix/pkg/params"
)

// DefaultDir is the configuration directory where nothing else is said. A
// build may set another one at link time.
var DefaultDir = "/etc/postfix"

// EnvDir names the environment variable that replaces DefaultDir.
const EnvDir = "MAIL_CONFIG"

// An Override is a setting from a command line: -o name=value.
type Override struct{ Name, Value string }

// Options of Load. All may be left zero.
type Options struct {
	Dir       string // "": MAIL_CONFIG, else DefaultDir
	Overrides []Override
	Program   string // $process_name; "": the base name of the running program
	Service   string // $service_name; "": the same as Program
	Warn      func(text string)
	Error     func(text string) // severity error; nil: as Warn
	// ExplicitReferences makes the settings from which mynetworks derives see
	// no defaults in their $ expressions: what postconf shows where these
	// defaults depend on the network.
	ExplicitReferences bool
}

// Main is the configuration of one program. It is safe for concurrent reads.
type Main struct {
	dir      string
	settings map[string]string // main.cf, overrides
	options  map[string]bool   // names that overrides set
	order    []Setting         // as in main.cf
	program  string
	service  string
	warn     func(string)
	limited  bool // ExplicitReferences

	mu       sync.Mutex
	err      error                 // first bad value
	computed [computedCount]*value // defaults that derive from the host
	local    *localAddresses
	ports    map[string]uint16 // of KnownTCPPorts
}

type value struct{ text string }

// Load reads main.cf. The error has the words of Postfix's fatal message.
//
// A set-gid program that another user started reads a directory other than
// the default only when the default main.cf lists it (spec config §2.4).
func Load(o Options) (*Main, error) {
	if o.Warn == nil {
		o.Warn = func(string) {}
	}
	if o.Error == nil {
		o.Error = o.Warn
	}
	dir, chosen := Dir(o.Dir)
	if dir != DefaultDir && untrustedCaller() {
		if err := authorize(dir, o.Error, o.Warn); err != nil {
			return nil, err
		}
	}
	preset := ""
	if chosen {
		preset = dir
	}
	list, err := readSettings(dir+"/main.cf", preset, o.Warn)
	if err != nil {
		return nil, err
	}
	m := New(dir, list, o)
	if _, set := m.settings["config_directory"]; chosen && !set {
		m.settings["config_directory"] = dir
	}
	m.override(o.Overrides)
	return m, nil
}

// Dir resolves the configuration directory: the one given, else MAIL_CONFIG,
// else DefaultDir. chosen tells whether somebody asked for it.
func Dir(given string) (dir string, chosen bool) {
	if given != "" {
		return given, true
	}
	if env := os.Getenv(EnvDir); env != "" {
		return env, true
	}
	return DefaultDir, false
}

// UseDir makes dir the configuration directory of this process and of its
// children: what option -c does.
func UseDir(dir string) error { return os.Setenv(EnvDir, dir) }

// New returns the configuration that consists of the given settings, for
// programs that have read or made them themselves; o.Overrides and o.Dir are not used.
func New(dir string, list []Setting, o Options) *Main {
	m := &Main{dir: dir, order: list, program: o.Program, service: o.Service, warn: o.Warn, limited: o.ExplicitReferences,
		settings: make(map[string]string, len(list)+8)}
	if m.warn == nil {
		m.warn = func(string) {}
	}
	if m.program == "" {
		m.program = filepath.Base(os.Args[0])
	}
	if m.service == "" {
		m.service = m.program
	}
	for _, s := range list {
		m.settings[s.Name] = s.Value
	}
	return m
}

func (m *Main) override(list []Override) {
	if m.options == nil && len(list) > 0 {
		m.options = make(map[string]bool, len(list))
	}
	for _, o := range list {
		m.settings[o.Name] = trimSpace(o.Value)
		m.options[o.Name] = true
	}
}

// With returns a copy with further overrides: a program that changes stress
// by itself reads the parameters that depend on it through such a copy.
func (m *Main) With(list ...Override) *Main {
	c := &Main{dir: m.dir, order: m.order, program: m.program, service: m.service, warn: m.warn, limited: m.limited,
		settings: make(map[string]string, len(m.settings)+len(list))}
	maps.Copy(c.settings, m.settings)
	c.options = maps.Clone(m.options)
	c.override(list)
	return c
}

// Dir is the configuration directory as given, not made absolute.
func (m *Main) Dir() string { return m.dir }

// Err is the first bad value that was asked for, in the words of Postfix's
// fatal message; nil if all were good.
func (m *Main) Err() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

func (m *Main) fail(err error) {
	m.mu.Lock()
	if m.err == nil {
		m.err = err
	}
	m.mu.Unlock()
}

// Explicit tells whether a name is set in main.cf or by an override.
func (m *Main) Explicit(name string) bool {
	_, ok := m.settings[name]
	return ok && !readOnly(name)
}

// Setting returns the explicit setting of a name, not expanded.
func (m *Main) Setting(name string) (text string, ok bool) {
	if readOnly(name) {
		return "", false
	}
	text, ok = m.settings[name]
	return text, ok
}

// Settings returns the settings of main.cf in the order of the file.
func (m *Main) Settings() []Setting { return m.order }

// Unexpanded returns what a name stands for before expansion: its setting, or
// the default of a parameter. ok is false for a name that has neither.
func (m *Main) Unexpanded(name string) (text string, ok bool) { return m.unexpanded(name, 0) }

func (m *Main) unexpanded(name string, hidden computedSet) (text string, ok bool) {
	switch name {
	case "process_name":
		return m.program, true
	case "service_name":
		return m.service, true
	case "process_id":
		return strconv.Itoa(os.Getpid()), true
	}
	if text, ok = m.settings[name]; ok {
		return text, true
	}
	if hidden&defaultsHidden != 0 {
		return "", false
	}
	if c, isComputed := computedName(name); isComputed {
		return m.compute(c, hidden)
	}
	if p := params.Lookup(name); p != nil && p.Flags&params.Hidden == 0 {
		if name == "config_directory" {
			return m.dir, true
		}
		return p.Default, true
	}
	return "", false
}

func readOnly(name string) bool {
	return name == "process_name" || name == "service_name" || name == "process_id"
}

// Explicits returns all explicit settings, not expanded, overrides included.
// The caller must not change the map.
func (m *Main) Explicits() map[string]string { return m.settings }

// Default returns the default of a parameter, not expanded, as if it were not set.
func (m *Main) Default(name string) string {
	if c, ok := computedName(name); ok {
		text, _ := m.compute(c, 0)
		return text
	}
	if name == "config_directory" {
		return m.dir
	}
	if readOnly(name) {
		text, _ := m.unexpanded(name, 0)
		return text
	}
	if p := params.Lookup(name); p != nil {
		return p.Default
	}
	return ""
}
