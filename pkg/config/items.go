package config

import (
	"fmt"
	"time"

	"suffix/pkg/params"
)

// Items returns a list whose items may stand in braces, which are taken off:
// import_environment, export_environment.
func (m *Main) Items(id params.String) []string {
	items := SplitBrace(m.String(id))
	for i, item := range items {
		if item[0] != '{' {
			continue
		}
		inner, problem := Unwrap(item)
		if problem != "" {
			m.fail(fmt.Errorf("%s: %s", params.Of(id).Name, problem))
		}
		items[i] = inner
	}
	return items
}

// ItemOptions reads the settings of a list item of the form { item, name = value,
// ... }: a service with settings of its own (spec config §4.1). Each is a word
// name=value, or stands in braces if it has blanks. The error has Postfix's
// fatal text.
func ItemOptions(words []string) ([]Setting, error) {
	var settings []Setting
	for _, word := range words {
		text := word
		if word[0] == '{' {
			var problem string
			if text, problem = unwrap(word); problem != "" {
				return nil, fmt.Errorf("%s in \"%s\"", problem, text)
			}
		}
		name, value, problem := SplitNameValue(text)
		if problem != "" {
			return nil, fmt.Errorf("malformed option: %s: \"...%s...\"", problem, text)
		}
		settings = append(settings, Setting{Name: name, Value: value})
	}
	return settings, nil
}

// Time reads the value of an item's setting, seconds where no unit is given.
// The error has Postfix's fatal text, as those of the next two.
func (s Setting) Time(minimum int64) (time.Duration, error) {
	v, ok := ParseTime(s.Value, 's')
	switch {
	case !ok:
		return 0, fmt.Errorf("%s: bad time value or unit: %s", s.Name, s.Value)
	case v < minimum:
		return 0, fmt.Errorf("invalid %s: %d (min %d)", s.Name, v, minimum)
	}
	return time.Duration(v) * time.Second, nil
}

// Int reads the value as a number.
func (s Setting) Int(minimum int64) (int, error) {
	v, err := convertInt(&params.Param{Kind: params.KindInt, Min: params.NoLimit, Max: params.NoLimit}, s.Name, s.Value)
	if err == nil && v < minimum {
		err = fmt.Errorf("invalid %s parameter value %d < %d", s.Name, v, minimum)
	}
	return int(v), err
}

// Text returns the value, which must have some length.
func (s Setting) Text(minimum int64) (string, error) {
	return s.Value, checkLength(&params.Param{Min: minimum, Max: params.NoLimit}, s.Name, s.Value)
}
