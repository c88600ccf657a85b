package config

import (
	"fmt"

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

// ItemOptions takes an item of the form { item, name = value, ... } apart:
// a service or table with settings of its own (spec config §4.1). An item
// without braces has none. A setting with blanks stands in braces again. The
// error has Postfix's fatal text.
func ItemOptions(text string) (item string, settings []Setting, err error) {
	if text == "" || text[0] != '{' {
		return text, nil, nil
	}
	inner, problem := Unwrap(text)
	if problem != "" {
		return "", nil, fmt.Errorf("malformed option: %s", problem)
	}
	words := SplitBrace(inner)
	if len(words) == 0 {
		return "", nil, nil
	}
	for _, word := range words[1:] {
		if word[0] == '{' {
			if word, problem = Unwrap(word); problem != "" {
				return "", nil, fmt.Errorf("malformed option: %s", problem)
			}
		}
		name, value, problem := SplitNameValue(word)
		if problem != "" {
			return "", nil, fmt.Errorf("malformed option: %s: \"...%s...\"", problem, word)
		}
		settings = append(settings, Setting{Name: name, Value: value})
	}
	return words[0], settings, nil
}
