package lint

import (
	"errors"
	"fmt"
	"os"
	"strings"

	"suffix/pkg/config"
	"suffix/pkg/macro"
	"suffix/pkg/mastercf"
	"suffix/pkg/params"
	"suffix/pkg/syserr"
)

// Files, in the order in which findings about them are shown.
const (
	inMain = iota
	inMaster
	elsewhere
)

// A checker is one look at a configuration.
type checker struct {
	o        Options
	dir      string
	cfg      *config.Main
	main     *scope
	settings []config.Setting // of main.cf, in its order, repeated ones too
	services []*service
	found    []Finding

	told      map[string]bool // findings that would otherwise repeat
	unseen    []string        // files that the caller may not look at
	refs      []tableRef
	installed bool // the mail system is installed on this machine
}

// A service is an entry of master.cf.
type service struct {
	*mastercf.Entry
	*scope
	badArgs []string // options that the program will not take
}

func (s *service) is(command string) bool { return s.Command == command }

// A scope is what a program sees: main.cf, or main.cf under the -o settings of
// a service.
type scope struct {
	c     *checker
	entry *mastercf.Entry   // nil: main.cf alone
	set   map[string]string // -o settings
	line  map[string]int    // of main.cf: where a name is set; 0: by an override
}

// maxFile bounds the files that are read: those of an attentive admin are smaller.
const maxFile = 64 << 20

func read(o Options) (*checker, error) {
	if o.Instead == nil {
		o.Instead = func(string) string { return "" }
	}
	c := &checker{o: o, told: make(map[string]bool)}
	c.dir, _ = config.Dir(o.Dir)
	path := c.dir + "/main.cf"
	text, err := os.ReadFile(path)
	switch {
	case err != nil:
		return nil, fmt.Errorf("open %s: %s", path, syserr.Text(err))
	case len(text) > maxFile:
		return nil, fmt.Errorf("read %s: %s", path, "file too large")
	}
	c.main = &scope{c: c, set: make(map[string]string), line: make(map[string]int)}
	if err := c.readMain(path, string(text)); err != nil {
		return nil, err
	}
	return c, c.readMaster()
}

func (c *checker) readMain(path, text string) error {
	lines := config.NewLines(path, text, func(w string) {
		c.add(Advice, "line", c.file("main.cf"), inMain, 0, "%s. Programs warn about this each time they start.", w)
	})
	for {
		line, number, ok := lines.Next()
		if !ok {
			break
		}
		name, value, problem := config.SplitNameValue(line)
		if problem != "" {
			return fmt.Errorf("%s, line %d: %s: \"%s\"", path, number, problem, line)
		}
		c.settings = append(c.settings, config.Setting{Name: name, Value: value, Line: number})
		c.main.set[name], c.main.line[name] = value, number
	}
	for _, o := range c.o.Overrides {
		value := strings.TrimSpace(o.Value)
		c.settings = append(c.settings, config.Setting{Name: o.Name, Value: value})
		c.main.set[o.Name], c.main.line[o.Name] = value, 0
	}
	list := make([]config.Setting, 0, len(c.main.set))
	for name, value := range c.main.set {
		list = append(list, config.Setting{Name: name, Value: value})
	}
	c.cfg = config.New(c.dir, list, config.Options{})
	return nil
}

func (c *checker) readMaster() error {
	path := c.dir + "/master.cf"
	o := mastercf.Options{DefaultProcessLimit: 100, ChrootByDefault: c.cfg.CompatLevelBelow("1"), Warn: func(w string) {
		c.add(Advice, "line", c.file("master.cf"), inMaster, 0, "%s.", w)
	}}
	r, err := mastercf.Open(path, o)
	if err != nil {
		return err
	}
	for {
		e, err := r.Next()
		switch {
		case err == nil:
			c.services = append(c.services, c.newService(e))
			continue
		case !isEOF(err):
			c.add(Serious, "master-syntax", strings.TrimSuffix(path, "/"), inMaster, 0,
				"master(8) cannot read this file and does not start: %s. What follows that line was not looked at here.",
				strings.TrimPrefix(err.Error(), path+": "))
		}
		return nil
	}
}

func (c *checker) newService(e *mastercf.Entry) *service {
	s := &service{Entry: e, scope: &scope{c: c, entry: e, set: make(map[string]string)}}
	args := e.Args
	for len(args) > 0 && len(args[0]) > 1 && args[0][0] == '-' && args[0] != "--" {
		arg := args[0]
		args = args[1:]
		i := strings.IndexByte(arg, 'o')
		if i < 0 {
			continue
		}
		text := arg[i+1:]
		if text == "" {
			if len(args) == 0 {
				break
			}
			text, args = args[0], args[1:]
		}
		name, value, problem := config.SplitNameValue(text)
		if problem != "" {
			s.badArgs = append(s.badArgs, text)
			continue
		}
		s.set[name] = value
	}
	return s
}

// service finds an entry by the path that clients use: type inet excluded.
func (c *checker) service(name string) *service {
	for _, s := range c.services {
		if s.Name == name && s.Type != mastercf.Inet {
			return s
		}
	}
	return nil
}

// running lists the services that run a program.
func (c *checker) running(command string) (list []*service) {
	for _, s := range c.services {
		if s.is(command) {
			list = append(list, s)
		}
	}
	return list
}

// scopes returns main.cf and all services that set something of their own.
func (c *checker) scopes() []*scope {
	list := []*scope{c.main}
	for _, s := range c.services {
		if len(s.set) > 0 {
			list = append(list, s.scope)
		}
	}
	return list
}

// servers returns what the SMTP servers see: each service of smtpd, or main.cf
// where there is none.
func (c *checker) servers() []*scope {
	var list []*scope
	for _, s := range c.running("smtpd") {
		list = append(list, s.scope)
	}
	if len(list) == 0 {
		list = append(list, c.main)
	}
	return list
}

// raw returns what a name stands for before expansion.
func (s *scope) raw(name string) (text string, ok bool) {
	if s.entry != nil {
		switch name {
		case "service_name":
			return s.entry.Name, true
		case "process_name":
			return s.entry.Command, true
		}
	}
	if text, ok = s.set[name]; ok {
		return text, true
	}
	if text, ok = s.c.main.set[name]; ok {
		return text, true
	}
	return s.c.cfg.Unexpanded(name)
}

// expand replaces the $ expressions of a text.
func (s *scope) expand(text string) (string, error) {
	return macro.Expand(text, s.raw, macro.Options{})
}

// value is the expanded value of a name, "" where it has none or cannot be
// expanded: a rule of its own tells about that.
func (s *scope) value(name string) string {
	text, _ := s.raw(name)
	text, err := s.expand(text)
	if err != nil {
		return ""
	}
	return text
}

// list is a value cut at commas and blanks outside braces.
func (s *scope) list(name string) []string { return config.SplitBrace(s.value(name)) }

// yes is a yes/no value; one that is neither counts as no.
func (s *scope) yes(name string) bool { return strings.EqualFold(s.value(name), "yes") }

// number is a number, or a time in seconds; ok is false for one that is none.
func (s *scope) number(name string) (n int64, ok bool) {
	p := params.Lookup(name)
	if p == nil {
		return 0, false
	}
	if p.Kind == params.KindTime {
		return config.ParseTime(s.value(name), p.Unit)
	}
	return config.ParseInt(s.value(name), 64)
}

// explicit tells whether a name is set, here or in main.cf.
func (s *scope) explicit(name string) bool {
	if _, ok := s.set[name]; ok {
		return true
	}
	_, ok := s.c.main.set[name]
	return ok
}

// own tells whether a scope sets a name itself: main.cf, or the service.
func (s *scope) own(names ...string) bool {
	for _, name := range names {
		if _, ok := s.set[name]; ok {
			return true
		}
	}
	return false
}

func (c *checker) file(name string) string { return c.dir + "/" + name }

// at is where a name gets its value.
func (s *scope) at(name string) (where string, file, line int) {
	if _, ok := s.set[name]; ok && s.entry != nil {
		return s.here()
	}
	if n, ok := s.c.main.line[name]; ok {
		if n == 0 {
			return "command line", inMain, 0
		}
		return fmt.Sprintf("%s, line %d", s.c.file("main.cf"), n), inMain, n
	}
	return s.c.file("main.cf"), inMain, 0
}

// here is the scope itself.
func (s *scope) here() (where string, file, line int) {
	if s.entry == nil {
		return s.c.file("main.cf"), inMain, 0
	}
	return fmt.Sprintf("%s, line %d, service %s/%s", s.c.file("master.cf"), s.entry.Line, s.entry.Name, s.entry.Type), inMaster, s.entry.Line
}

// add notes a finding, once.
func (c *checker) add(sev Severity, rule, where string, file, line int, format string, args ...any) {
	f := Finding{Severity: sev, Rule: rule, Where: where, Text: fmt.Sprintf(format, args...), file: file, line: line}
	if key := f.Where + "\x00" + f.Text; !c.told[key] {
		c.told[key] = true
		c.found = append(c.found, f)
	}
}

// tell notes a finding about the value of a name.
func (s *scope) tell(sev Severity, rule, name, format string, args ...any) {
	where, file, line := s.at(name)
	s.c.add(sev, rule, where, file, line, format, args...)
}

// tellHere notes a finding about a scope as a whole.
func (s *scope) tellHere(sev Severity, rule, format string, args ...any) {
	where, file, line := s.here()
	s.c.add(sev, rule, where, file, line, format, args...)
}

// tell notes a finding about a service.
func (s *service) tell(sev Severity, rule, format string, args ...any) {
	s.scope.tellHere(sev, rule, format, args...)
}

// macroError is the text of a mistake in a $ expression.
func macroError(err error) string {
	var e *macro.Error
	if errors.As(err, &e) {
		return e.Text
	}
	return err.Error()
}
