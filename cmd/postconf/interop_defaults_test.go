//go:build interop

package main

import (
	"bufio"
	"os"
	"strings"
	"testing"

	"suffix/pkg/macro"
	"suffix/pkg/params"
)

// A declaration is a row of the table of parameters, as far as defaults go.
type declaration struct {
	kind, flags, ours, theirs string
}

// declarations reads the table of parameters, which tells the default of each
// in release 3.7 also: the list of the differences that are meant to be.
func declarations(t *testing.T) map[string]declaration {
	f, err := os.Open("../../pkg/params/parameters.tsv")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	const name, kind, ours, status, flags, theirs = 0, 1, 2, 8, 9, 10
	table := make(map[string]declaration)
	for lines := bufio.NewScanner(f); lines.Scan(); {
		col := strings.Split(lines.Text(), "\t")
		if col[name] == "name" || strings.HasPrefix(col[status], "legacy alias") {
			continue
		}
		d := declaration{kind: col[kind], flags: col[flags], ours: strings.TrimSpace(strings.TrimPrefix(col[ours], "(empty)"))}
		text, _, _ := strings.Cut(col[theirs], " [") // the rest is about limits
		switch text {
		case "=":
			d.theirs = d.ours
		default:
			d.theirs = strings.TrimSpace(strings.TrimPrefix(text, "(empty)"))
		}
		table[col[name]] = d
	}
	return table
}

// Parameters that only 3.7 has.
var removed = map[string]string{
	"tls_legacy_public_key_fingerprints": "no",
	"tlsproxy_client_loglevel_parameter": "smtp_tls_loglevel",
}

func settingsOf(text string) map[string]string {
	list := make(map[string]string)
	for line := range strings.SplitSeq(text, "\n") {
		if name, value, ok := strings.Cut(line, " ="); ok {
			list[name] = strings.TrimPrefix(value, " ")
		}
	}
	return list
}

func TestDefaultsAgainstPostfix(t *testing.T) {
	table := declarations(t)
	for _, c := range []struct {
		args     []string
		expanded bool
	}{{[]string{"-d"}, false}, {[]string{"-d", "-x"}, true}} {
		dir := setup(t, "", "")
		ours, theirs := command(t, "", dir, nil, c.args...), command(t, theirs, dir, nil, c.args...)
		if ours.errs != theirs.errs || ours.status != 0 || theirs.status != 0 {
			t.Errorf("%q: %+v, theirs %+v", c.args, ours.errs, theirs.errs)
		}
		a, b := settingsOf(ours.out), settingsOf(theirs.out)
		delete(a, "process_id")
		delete(b, "process_id")
		compared := 0
		for name, d := range table {
			if name == "process_id" || params.Lookup(name).Flags&params.Private != 0 {
				continue
			}
			if c.expanded && (d.kind == "raw" || differs(table, name, 0)) {
				continue // 3.7 expands what programs expand by themselves
			}
			compared++
			ours, ok := a[name]
			if !ok {
				t.Errorf("%q: we do not have %s", c.args, name)
			}
			theirs, ok := b[name]
			if want := d.theirs != "absent"; ok != want {
				t.Errorf("%q: they have %s: %v, want %v", c.args, name, ok, want)
			}
			switch {
			case d.ours == d.theirs && ours != theirs:
				t.Errorf("%q: %s is %q, theirs %q", c.args, name, ours, theirs)
			case d.ours != d.theirs && ok && (ours != d.ours || theirs != d.theirs):
				t.Errorf("%q: %s is %q, theirs %q; want %q, %q", c.args, name, ours, theirs, d.ours, d.theirs)
			}
		}
		if compared < 600 {
			t.Errorf("%q: %d parameters compared", c.args, compared)
		}
		for name, value := range b {
			_, known := table[name]
			was, gone := removed[name]
			if !known && !gone || gone && !c.expanded && value != was {
				t.Errorf("%q: only they have %s = %s", c.args, name, value)
			}
		}
		for name := range a {
			if _, known := table[name]; !known {
				t.Errorf("%q: %s is not in the table", c.args, name)
			}
		}
	}
}

// differs tells whether the default of a parameter, or of one that it refers
// to, is another one in 3.7.
func differs(table map[string]declaration, name string, depth int) bool {
	d, known := table[name]
	if !known {
		return false
	}
	found := d.ours != d.theirs || d.kind == "raw" || depth > 20
	if err := macro.Names(d.ours, func(name string, _ bool) { found = found || differs(table, name, depth+1) }); err != nil {
		return true
	}
	return found
}
