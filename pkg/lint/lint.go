// Package lint reads main.cf and master.cf as the programs of the mail system
// do, and explains in plain words what is risky in them or has no effect: for
// "postconf --lint".
//
// It asks no network and no service, opens no table and changes nothing: it
// looks at the two files, and at the files that these name. What the caller
// has no right to look at is passed over, and said at the end.
package lint

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"suffix/pkg/config"
)

// Options say what to look at.
type Options struct {
	Dir       string            // configuration directory as given: "" for MAIL_CONFIG or the default
	Overrides []config.Override // settings that count as if main.cf had them, later than its own
	// Instead says what to do instead of setting a parameter that is on its
	// way out or gone; "" for all others. May be nil.
	Instead func(name string) string
}

// Severity says how bad a finding is.
type Severity uint8

const (
	Advice  Severity = iota // works, but perhaps not as meant
	Serious                 // loses or misroutes mail, opens the system to others, or keeps a program from working
)

// String is the word that stands in front of a finding.
func (s Severity) String() string {
	if s == Serious {
		return "serious"
	}
	return "advice"
}

// A Finding is one thing to think about.
type Finding struct {
	Severity Severity
	Rule     string // short name of the rule that found it
	Where    string // file and line, with the service where one is concerned
	Text     string // what it means and what to do

	file, line int // for sorting
}

// A Report is the outcome of Run.
type Report struct{ Findings []Finding }

// Serious tells whether any finding is.
func (r *Report) Serious() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity == Serious })
}

// Run looks at a configuration. The error is Postfix's fatal text where
// main.cf or master.cf cannot be read at all.
func Run(o Options) (*Report, error) {
	c, err := read(o)
	if err != nil {
		return nil, err
	}
	for _, rule := range []func(){
		c.checkSettings, c.checkServices, c.checkRestrictions, c.checkNetworks, c.checkTables, c.checkRoutes,
		c.checkNames, c.checkDomains, c.checkTLS, c.checkSASL, c.checkLimits, c.checkDelivery, c.checkCompat, c.checkFiles,
	} {
		rule()
	}
	c.tellUnseen()
	slices.SortStableFunc(c.found, func(a, b Finding) int {
		return cmp.Or(int(b.Severity)-int(a.Severity), a.file-b.file, a.line-b.line)
	})
	return &Report{c.found}, nil
}

// lineWidth is the width of the paragraphs that Write prints.
const lineWidth = 79

// Write prints the findings, a paragraph for each, and a line with their number.
func (r *Report) Write(w io.Writer) error {
	var b strings.Builder
	serious := 0
	for _, f := range r.Findings {
		if f.Severity == Serious {
			serious++
		}
		wrap(&b, f.Severity.String()+": "+f.Where+": "+f.Text)
		b.WriteByte('\n')
	}
	switch {
	case len(r.Findings) == 0:
		b.WriteString("Nothing found.\n")
	default:
		fmt.Fprintf(&b, "%d serious, %d advice.\n", serious, len(r.Findings)-serious)
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// wrap writes text as a paragraph whose lines, after the first, are indented.
// Bytes that cannot be printed become question marks.
func wrap(b *strings.Builder, text string) {
	const indent = "    "
	column := 0
	for word := range strings.FieldsSeq(text) {
		switch {
		case column == 0:
		case column+1+len(word) > lineWidth:
			b.WriteString("\n" + indent)
			column = len(indent)
		default:
			b.WriteByte(' ')
			column++
		}
		for i := 0; i < len(word); i++ {
			c := word[i]
			if c < ' ' || c == 0x7f {
				c = '?'
			}
			b.WriteByte(c)
		}
		column += len(word)
	}
	b.WriteByte('\n')
}
