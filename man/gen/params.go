package main

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"suffix/pkg/params"
)

// A param is a line of the table of parameters.
type param struct {
	name, kind, def, min, max, unit string
	choices                         []string
	several                         bool // more than one of choices may be given
	programs                        []string
	since, status, flags, meaning   string
	hidden                          bool
	unused                          string // why it has no effect
	explained                       []block
}

// readParams reads pkg/params/parameters.tsv and man/src/parameters.
func (b *book) readParams() error {
	explained, err := readExplanations(filepath.Join(b.root, "man/src/parameters"))
	if err != nil {
		return err
	}
	content, err := os.ReadFile(filepath.Join(b.root, "pkg/params/parameters.tsv"))
	if err != nil {
		return err
	}
	b.param = make(map[string]*param)
	for _, line := range strings.Split(strings.TrimSpace(string(content)), "\n")[1:] {
		col := strings.Split(line, "\t")
		if len(col) != 12 {
			return fmt.Errorf("parameters.tsv: %s: %d columns", col[0], len(col))
		}
		d := &param{name: col[0], def: col[2], min: col[3], max: col[4], unit: col[5], programs: strings.Split(col[6], ","),
			since: col[7], status: col[8], flags: col[9], meaning: col[11]}
		kind, choices, _ := strings.Cut(col[1], "; enum ")
		d.kind = strings.TrimSuffix(kind, "-expr")
		if list, ok := strings.CutPrefix(choices, "list:"); ok {
			choices, d.several = list, true
		}
		if strings.Contains(choices, "|") {
			d.choices = strings.Split(choices, "|")
		}
		d.hidden = strings.Contains(d.flags, "hidden") || strings.HasPrefix(d.status, "legacy alias")
		if p := params.Lookup(d.name); p != nil {
			d.unused = p.Missing
		}
		d.explained = explained[d.name]
		delete(explained, d.name)
		b.params = append(b.params, d)
		b.param[d.name] = d
		if d.name == "mail_release_date" && len(d.def) == len("20060102") {
			b.date = d.def[:4] + "-" + d.def[4:6] + "-" + d.def[6:]
		}
	}
	for name := range explained {
		return fmt.Errorf("parameters: there is no parameter %s", name)
	}
	return nil
}

// readExplanations reads what there is to say about parameters beyond their
// one line in the table: "= NAME ..." and then text as on a page.
func readExplanations(file string) (map[string][]block, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]block)
	for part := range strings.SplitSeq("\n"+string(content), "\n= ") {
		head, text, _ := strings.Cut(part, "\n")
		blocks := parseBlocks(strings.Split(text, "\n"))
		if strings.HasPrefix(part, "#") || strings.TrimSpace(part) == "" {
			continue // what stands in front of the first
		}
		for _, name := range strings.Fields(head) {
			if out[name] != nil || len(blocks) == 0 {
				return nil, fmt.Errorf("parameters: %s is explained twice, or not at all", name)
			}
			out[name] = blocks
		}
	}
	return out, nil
}

// value shows the default.
func (d *param) value() string {
	switch {
	case d.def == "" || d.def == "(empty)":
		return "empty"
	case d.def == "(computed)":
		return "see below"
	case strings.HasPrefix(d.def, "("):
		return strings.Trim(d.def, "()")
	}
	return d.def
}

func (d *param) term() string { return d.name + " (default: " + d.value() + ")" }

// brief is the entry on the page of a program.
func (d *param) brief() block {
	return block{kind: item, plain: true, terms: []string{d.term()},
		body: []block{{kind: paragraph, plain: true, text: d.meaning + "."}}}
}

// allParams makes the entries of postconf(5).
func (b *book) allParams() []block {
	out := make([]block, 0, len(b.params))
	for _, d := range b.params {
		bl := d.brief()
		bl.id = d.name
		bl.body = append(bl.body, d.explained...)
		bl.body = append(bl.body, block{kind: paragraph, plain: true, text: strings.Join(b.facts(d), " ")})
		out = append(out, bl)
	}
	return out
}

// facts are sentences about a parameter.
func (b *book) facts(d *param) []string {
	out := []string{d.type_()}
	if len(d.choices) > 0 {
		choices := strings.ReplaceAll(strings.Join(d.choices, ", "), "(empty)", "empty")
		if d.several {
			out = append(out, "Any of: "+choices+".")
		} else {
			out = append(out, "One of: "+choices+".")
		}
	}
	switch {
	case strings.Contains(d.flags, "read-only"):
		out = append(out, "It cannot be set.")
	case strings.Contains(d.flags, "compat-level"):
		out = append(out, "The default depends on compatibility_level.")
	case d.kind == "computed":
		out = append(out, "The default is derived from the system; postconf(1) shows it.")
	}
	if strings.Contains(d.flags, "private") {
		out = append(out, "It is Suffix's own.")
	}
	if by := b.readers(d); by != "" {
		out = append(out, "Read by "+by+".")
	}
	if d.since != "" && !strings.HasPrefix(d.since, "<") {
		out = append(out, "Since release "+d.since+".")
	}
	if d.status != "current" && d.status != "read-only" {
		out = append(out, strings.ToUpper(d.status[:1])+d.status[1:]+".")
	}
	if d.unused != "" {
		out = append(out, "Without effect in this version: "+d.unused+". A setting other than the default is warned about.")
	}
	return out
}

var units = map[string]string{"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}

// type_ describes what values are allowed.
func (d *param) type_() string {
	var s string
	switch d.kind {
	case "bool":
		return "Yes or no."
	case "int", "long":
		s = "A number"
	case "time":
		s = "A time, in " + units[d.unit] + " where no unit is given"
	case "raw":
		s = "A text in which the program expands names of its own"
	default:
		s = "A text"
	}
	limit := func(value, words string) {
		if value == "" || value == "-" {
			return
		}
		switch d.kind {
		case "int", "long":
		case "time":
			value += "s"
		default:
			if value == "1" && words == ", at least " {
				s += ", not empty"
				return
			}
			value += " bytes"
		}
		s += words + value
	}
	limit(d.min, ", at least ")
	limit(d.max, ", at most ")
	return s + "."
}

// readers names the programs that read a parameter, those that do not exist
// here without a reference.
func (b *book) readers(d *param) string {
	var list []string
	add := func(name string) {
		if !slices.Contains(list, name) {
			list = append(list, name)
		}
	}
	for _, name := range d.programs {
		switch {
		case name == "*":
			return "every program"
		case name == params.TLSUsers:
			add("the programs that speak TLS")
		case strings.HasPrefix(name, "("), name == "oqmgr", name == "nqmgr":
		case b.byName[ref(name, '8')] != nil:
			add(ref(b.byName[ref(name, '8')].names[0], '8'))
		case b.byName[ref(name, '1')] != nil:
			add(ref(b.byName[ref(name, '1')].names[0], '1'))
		default:
			add(name)
		}
	}
	return strings.Join(list, ", ")
}
