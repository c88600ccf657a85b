// Package cleanenv reduces the environment to what import_environment names,
// so that a caller's settings do not reach programs with more privileges
// (spec master §5.3).
package cleanenv

import (
	"fmt"
	"os"
	"strings"
)

// Import removes every variable that the list does not name. An item NAME
// keeps a variable that is set; NAME=VALUE sets one. The error has Postfix's
// fatal text.
func Import(list []string) error {
	items, err := parse(list)
	if err != nil {
		return err
	}
	var kept []item
	for _, it := range items {
		if !it.set {
			value, ok := os.LookupEnv(it.name)
			if !ok {
				continue
			}
			it.value = value
		}
		kept = append(kept, it)
	}
	os.Clearenv()
	return apply(kept)
}

// Update sets the NAME=VALUE items of the list and leaves the rest alone.
func Update(list []string) error {
	items, err := parse(list)
	if err != nil {
		return err
	}
	var set []item
	for _, it := range items {
		if it.set {
			set = append(set, it)
		}
	}
	return apply(set)
}

type item struct {
	name, value string
	set         bool
}

func parse(list []string) ([]item, error) {
	var items []item
	for _, text := range list {
		name, value, set := strings.Cut(text, "=")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if name == "" {
			return nil, fmt.Errorf("clean_env: missing attribute name in: %s", text)
		}
		items = append(items, item{name, value, set})
	}
	return items, nil
}

func apply(items []item) error {
	for _, it := range items {
		if err := os.Setenv(it.name, it.value); err != nil {
			return fmt.Errorf("clean_env: %s: %w", it.name, err)
		}
	}
	return nil
}
