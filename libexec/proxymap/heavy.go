package proxymap

import (
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"

	"suffix/pkg/config"
	"suffix/pkg/macro"
	"suffix/pkg/maillog"
	"suffix/pkg/mastercf"
	"suffix/pkg/params"
	"suffix/pkg/table"
	"suffix/pkg/table/typenames"
)

func restrictionClasses(cfg *config.Main) (values []string) {
	for _, name := range cfg.List(params.SmtpdRestrictionClasses) {
		if value, ok := cfg.Lookup(name); ok {
			values = append(values, value)
		}
	}
	return values
}

// heavyTables returns the tables of types that other programs do not link, in
// all settings of main.cf and options in master.cf. What cannot be expanded is
// reported by the programs that use it.
func heavyTables(cfg *config.Main) map[string]bool {
	found := make(map[string]bool)
	expand := func(text string) {
		if text, err := macro.Expand(text, cfg.Unexpanded, macro.Options{}); err == nil {
			findHeavy(found, text, 0)
		}
	}
	for _, text := range cfg.Explicits() {
		expand(text)
	}
	r, err := mastercf.Open(filepath.Join(cfg.Dir(), "master.cf"), mastercf.FromConfig(cfg, nil, nil))
	if err != nil {
		maillog.Debugf("%v", err)
		return found
	}
	for {
		e, err := r.Next()
		if err != nil {
			// Master is the one that reports what is wrong there.
			if !errors.Is(err, io.EOF) {
				maillog.Debugf("%v", err)
			}
			return found
		}
		for _, arg := range e.Args {
			if _, value, ok := strings.Cut(arg, "="); ok {
				expand(value)
			}
		}
	}
}

// findHeavy adds the tables in a value, those inside of other tables and of
// restrictions too.
func findHeavy(found map[string]bool, text string, depth int) {
	if depth > maxNesting {
		return
	}
	for _, item := range table.SplitList(text) {
		item = strings.TrimLeft(item, "!")
		for {
			typ, name, ok := strings.Cut(item, ":")
			if slices.Contains(typenames.Heavy, typ) && name != "" {
				found[item] = true
				break
			}
			if inner, err := table.Unbrace(item); err == nil && item[0] == '{' {
				findHeavy(found, inner, depth+1)
				break
			}
			if !ok {
				break
			}
			item = name // debug:TYPE:NAME, pipemap:{…}, and the like
		}
	}
}

// openEarly approves tables, and opens them with the rights that the process
// still has. One that cannot be opened is tried again when it is asked for.
func (s *server) openEarly(tables map[string]bool) {
	s.early = make(map[string]*table.Handle)
	for name := range tables {
		s.approved[name] = true
	}
	for name := range s.approved {
		typ, _, _ := strings.Cut(name, ":")
		if !slices.Contains(typenames.Heavy, typ) {
			continue
		}
		h := table.Open(name, table.Options{Config: s.cfg, Trial: true, Flags: table.Reader})
		if h.Err() == nil {
			s.early[name] = h
		} else if err := h.Close(); err != nil {
			maillog.Warnf("close %s: %v", name, err)
		}
	}
}
