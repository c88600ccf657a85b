// Package dbcommon is what the table types that ask a server or a database
// have in common: their configuration, the templates that make a query of a
// key and a value of a result, the filter by domain, lists of servers and the
// connections to them (spec tables §10, config §10.1).
package dbcommon

import (
	"fmt"
	"os"
	"strconv"
	"strings"

	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
)

// A Source is the configuration of one table: a file of "name = value" lines,
// or in the older form the parameters NAME_name of main.cf.
//
// The getters return the value of a parameter. The first bad value sticks:
// Err gives it in Postfix's words, and the table is then unusable. Postfix
// ends the program there; commands do so with the error that opening returns,
// daemons go on without the table, as with any table that cannot be opened.
type Source struct {
	typ, name string
	file      bool              // name is the path of a file
	settings  map[string]string // of the file
	config    table.Config
	options   table.Options
	uid       int
	err       error
}

// Parse reads the configuration of the table typ:name. Tables of these types
// can only be read: it refuses another mode.
func Parse(typ, name string, o table.Options) (*Source, error) {
	if o.Mode != table.ReadOnly {
		return nil, fmt.Errorf("%s:%s map requires O_RDONLY access mode", typ, name)
	}
	return ParseAny(typ, name, o)
}

// ParseAny is Parse for a type that can be changed.
func ParseAny(typ, name string, o table.Options) (*Source, error) {
	s := &Source{typ: typ, name: name, config: o.Config, options: o}
	if !strings.HasPrefix(name, "/") && !strings.HasPrefix(name, ".") {
		s.uid = mainOwner(o.Config)
		return s, nil
	}
	s.file = true
	list, err := config.ReadSettings(name, func(text string) { maillog.Warnf("%s", text) })
	if err != nil {
		return nil, err
	}
	info, err := os.Stat(name)
	if err != nil {
		return nil, fmt.Errorf("open %s: %s", name, syserr.Text(err))
	}
	s.uid = table.FileOwner(info)
	s.settings = make(map[string]string, len(list))
	for _, setting := range list {
		s.settings[setting.Name] = setting.Value
	}
	return s, nil
}

// mainOwner is the owner of main.cf. Root where that cannot be told: then
// parameters are compiled in, or the command line's.
func mainOwner(c table.Config) int {
	m, ok := c.(interface{ Dir() string })
	if !ok {
		return 0
	}
	info, err := os.Stat(m.Dir() + "/main.cf")
	if err != nil {
		return 0
	}
	return table.FileOwner(info)
}

// Name names the source in messages: the path of the file, or the prefix of
// the parameters in main.cf.
func (s *Source) Name() string { return s.name }

// Table is the table's name, "type:name".
func (s *Source) Table() string { return s.typ + ":" + s.name }

// Owner returns the owner of the file or of main.cf.
func (s *Source) Owner() (uid int, known bool) { return s.uid, true }

// Options are those that the table was opened with.
func (s *Source) Options() table.Options { return s.options }

// Err returns the first problem in the configuration.
func (s *Source) Err() error { return s.err }

// Fail makes a problem that a driver finds in a parameter stick, unless there
// is one already.
func (s *Source) Fail(format string, args ...any) {
	if s.err == nil {
		s.err = fmt.Errorf(format, args...)
	}
}

// Lookup returns the text of a parameter; ok is false where it is not set.
func (s *Source) Lookup(name string) (text string, ok bool) {
	if s.file {
		text, ok = s.settings[name]
		return text, ok
	}
	if s.config == nil {
		return "", false
	}
	return s.config.Lookup(s.name + "_" + name)
}

// display is the name of a parameter in messages; where is what stands
// before it.
func (s *Source) display(name string) (where, full string) {
	if s.file {
		return s.name + ": ", name
	}
	return "", s.name + "_" + name
}

// String returns a text parameter. Its length is at least least, and at most
// most unless that is 0.
func (s *Source) String(name, def string, least, most int) string {
	text, ok := s.Lookup(name)
	if !ok {
		text = def
	}
	where, full := s.display(name)
	switch {
	case len(text) < least:
		s.Fail("%sbad string length %d < %d: %s = %s", where, len(text), least, full, text)
	case most > 0 && len(text) > most:
		s.Fail("%sbad string length %d > %d: %s = %s", where, len(text), most, full, text)
	}
	return text
}

// Int returns a number. It is at least least unless that is 0 (no limit, as in
// main.cf), and at most most unless that is 0.
func (s *Source) Int(name string, def, least, most int) int {
	where, full := s.display(name)
	value := def
	if text, ok := s.Lookup(name); ok {
		v, good := config.ParseInt(text, 32)
		if !good {
			s.Fail("%sbad numerical configuration: %s = %s", where, full, text)
			return def
		}
		value = int(v)
	}
	switch {
	case least != 0 && value < least:
		s.Fail("%sinvalid %s parameter value %s < %d", where, full, strconv.Itoa(value), least)
		return def
	case most != 0 && value > most:
		s.Fail("%sinvalid %s parameter value %s > %d", where, full, strconv.Itoa(value), most)
		return def
	}
	return value
}

// Bool returns a yes or no.
func (s *Source) Bool(name string, def bool) bool {
	text, ok := s.Lookup(name)
	if !ok {
		return def
	}
	value, good := config.ParseBool(text)
	if !good {
		where, full := s.display(name)
		s.Fail("%sbad boolean configuration: %s = %s", where, full, text)
		return def
	}
	return value
}
