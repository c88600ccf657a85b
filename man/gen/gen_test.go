package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

const root = "../.."

// The committed pages are those that the sources give.
func TestUpToDate(t *testing.T) {
	files, err := generate(root)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range files {
		if have, err := os.ReadFile(filepath.Join(root, name)); err != nil || !bytes.Equal(have, want) {
			t.Errorf("%s is out of date: say \"make docs\"", name)
		}
	}
	have, err := outputs(root)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range have {
		if files[name] == nil {
			t.Errorf("%s has no source: say \"make docs\"", name)
		}
	}
}

func loadBook(t *testing.T) *book {
	t.Helper()
	b, err := load(root)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestEveryProgramHasAPage(t *testing.T) {
	b := loadBook(t)
	have := make(map[string]bool)
	for _, p := range b.pages {
		for _, name := range p.names {
			have[strings.ReplaceAll(name, "-", "")+string(p.section)] = true
		}
	}
	for dir, section := range map[string]string{"cmd": "1", "libexec": "8"} {
		entries, err := os.ReadDir(filepath.Join(root, dir))
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if name := e.Name(); name != "suffixd" && name != "heavy" && !have[strings.ReplaceAll(name, "-", "")+section] {
				t.Errorf("%s/%s has no page: write man/src/%s.%s.md and say \"make docs\"", dir, name, name, section)
			}
		}
	}
}

// foreign are pages of the system that ours refer to.
var foreign = []string{"getent(1)", "strftime(3)", "sysexits(3)"}

func TestReferences(t *testing.T) {
	b := loadBook(t)
	for _, p := range b.pages {
		related := false
		var check func(list []block)
		check = func(list []block) {
			for _, bl := range list {
				if bl.kind == heading {
					related = bl.text == "SEE ALSO"
				}
				for _, text := range append(bl.terms, bl.text) {
					for _, s := range b.spans(text, bl.plain) {
						if s.kind == pageRef && b.byName[s.text] == nil && !slices.Contains(foreign, s.text) {
							t.Errorf("%s refers to %s, which does not exist", p.source, s.text)
						}
					}
				}
				check(bl.body)
			}
		}
		check(p.blocks)
		if !related {
			t.Errorf("%s does not end with SEE ALSO", p.source)
		}
	}
}

var (
	optionSpec = regexp.MustCompile(`(?:getopt\.Parse\([a-z]+, |const optionsSpec = |%sOptions\s+= )"([^"]+)"`)
	optionTerm = regexp.MustCompile("^`-([A-Za-z0-9#])")
)

// A page documents exactly the options that its program takes.
func TestOptions(t *testing.T) {
	b := loadBook(t)
	for _, p := range b.pages {
		if p.section != '1' && ref(p.names[0], p.section) != "master(8)" {
			continue
		}
		spec := programOptions(t, p)
		documented := ""
		var collect func(list []block)
		collect = func(list []block) {
			for _, bl := range list {
				for _, term := range bl.terms {
					if m := optionTerm.FindStringSubmatch(term); m != nil {
						documented += m[1]
					}
				}
				collect(bl.body)
			}
		}
		collect(p.blocks)
		for _, letter := range strings.ReplaceAll(spec, ":", "") {
			// postconf accepts -q without saying so.
			if !strings.ContainsRune(documented, letter) && !(p.names[0] == "postconf" && letter == 'q') {
				t.Errorf("%s: option -%c is not documented", p.source, letter)
			}
		}
		for _, letter := range documented {
			if !strings.ContainsRune(spec, letter) {
				t.Errorf("%s: there is no option -%c", p.source, letter)
			}
		}
	}
}

// programOptions finds the option letters in the source of a program.
func programOptions(t *testing.T, p *page) string {
	t.Helper()
	name := p.names[0]
	dir, constant := "cmd/"+name, name
	switch {
	case name == "postmap" || name == "postalias":
		dir = "pkg/table/maptool"
	case p.section == '8':
		dir = "libexec/" + name
	}
	re := regexp.MustCompile(strings.ReplaceAll(optionSpec.String(), "%s", constant))
	files, err := filepath.Glob(filepath.Join(root, dir, "*.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if m := re.FindSubmatch(text); m != nil {
			return string(m[1])
		}
	}
	t.Fatalf("no options found in %s", dir)
	return ""
}

// Each parameter is explained, or refers to the one that it goes with.
func TestEveryParameterIsExplained(t *testing.T) {
	for _, d := range loadBook(t).params {
		if d.explained == nil && !d.hidden && !strings.Contains(d.meaning, "counterpart of ") && !strings.Contains(d.meaning, "default for ") && d.status == "current" {
			t.Errorf("%s: nothing is said in man/src/parameters", d.name)
		}
	}
}

func TestExplanations(t *testing.T) {
	for text, want := range map[string]string{
		"# head\n\n= a_b c_d\nText.\n\nMore.\n= e_f\n`x`\n: y\n": "a_b:2 c_d:2 e_f:1",
		"= a_b\nx\n= a_b\ny\n": "error",
		"= a_b\n":              "error",
		"":                     "",
	} {
		file := filepath.Join(t.TempDir(), "parameters")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		explained, err := readExplanations(file)
		var got []string
		for name, blocks := range explained {
			got = append(got, fmt.Sprint(name, ":", len(blocks)))
		}
		if slices.Sort(got); err != nil {
			got = []string{"error"}
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%q: %q, %v; want %s", text, got, err, want)
		}
	}
}

const sample = `# show & tell
aliases: other

## SYNOPSIS

    show -x 'file'

## DESCRIPTION

Text with ` + "`-x`" + `, *file* and queue_directory,
see show(1).

` + "`-x` *file*\n`-y`" + `
: Do it.

  Or not.

- one
- .two
`

func sampleBook(t *testing.T) (*book, *page) {
	t.Helper()
	p, err := parsePage("show.1.md", sample)
	if err != nil {
		t.Fatal(err)
	}
	d := &param{name: "queue_directory"}
	return &book{byName: map[string]*page{"show(1)": p, "other(1)": p}, params: []*param{d},
		param: map[string]*param{d.name: d}, date: "2026-01-02"}, p
}

func TestRoff(t *testing.T) {
	b, p := sampleBook(t)
	const want = `.\" Generated from man/src/show.1.md by "make docs".
.TH SHOW 1 2026-01-02 Suffix
.ad l
.nh
.SH NAME
show, other \- show & tell
.SH SYNOPSIS
.nf
show \-x \(aqfile\(aq
.fi
.SH DESCRIPTION
Text with \fB\-x\fR, \fIfile\fR and \fBqueue_directory\fR, see \fBshow\fR(1).
.TP 7
\fB\-x\fR \fIfile\fR
.TQ
\fB\-y\fR
Do it.
.RS
.PP
Or not.
.RE
.IP \(bu 2
one
.PD 0
.IP \(bu 2
.PD
\&.two
`
	if got := string(b.roff(p)); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
}

func TestHTML(t *testing.T) {
	b, p := sampleBook(t)
	got := string(b.html(p))
	for _, want := range []string{
		"<p>show, other - show &amp; tell</p>",
		"<pre>show -x &#39;file&#39;</pre>",
		`<code>-x</code>, <i>file</i> and <a href="postconf.5.html#queue_directory"><code>queue_directory</code></a>, see show(1).`,
		"<dl>\n<dt><code>-x</code> <i>file</i></dt>\n<dt><code>-y</code></dt>\n<dd>\n<p>Do it.</p>\n<p>Or not.</p>\n</dd>\n</dl>",
		"<ul>\n<li>\n<p>one</p>\n</li>\n<li>\n<p>.two</p>\n</li>\n</ul>",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in:\n%s", want, got)
		}
	}
	b.pages = []*page{p}
	if index := string(b.index()); !strings.Contains(index, `<a href="show.1.html">other(1)</a></td><td>show &amp; tell</td>`) {
		t.Errorf("index:\n%s", index)
	}
}

func TestComment(t *testing.T) {
	for in, want := range map[string]string{
		"Package flush is the flush(8) daemon: it keeps lists.": "This is the flush(8) daemon: it keeps lists.",
		"Command postdrop puts mail into a queue.":              "Postdrop puts mail into a queue.",
		"Postcat shows files.":                                  "Postcat shows files.",
	} {
		if got := firstWords(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	for in, want := range map[string]string{
		"It shows text (spec queue-files §17).":         "It shows text.",
		"It sends mail (sendmail(1), spec x §2).":       "It sends mail.",
		"It kicks (postkick(1)).":                       "It kicks.",
		"It sinks (really); see smtp-sink(1).":          "It sinks (really).",
		"It asks others (addresses), and waits (long).": "It asks others (addresses), and waits (long).",
	} {
		if got := selfRemark.ReplaceAllString(specRemark.ReplaceAllString(in, ""), ""); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
	for s, drop := range map[string]bool{
		"It reads a_b and main.cf.":      true,
		"Parameters: a_b.":               true,
		"The work is done by pkg/other.": true,
		"It talks to nobody.":            false,
	} {
		if aboutCode.MatchString(s) != drop {
			t.Errorf("%q: dropped is not %v", s, drop)
		}
	}
}

func TestFacts(t *testing.T) {
	b, _ := sampleBook(t)
	for _, c := range []struct {
		d    param
		want string
	}{
		{param{kind: "bool", programs: []string{"*"}, status: "current"}, "Yes or no. Read by every program."},
		{param{kind: "int", min: "1", max: "9", since: "2.1", status: "current"}, "A number, at least 1, at most 9. Since release 2.1."},
		{param{kind: "time", unit: "h", min: "1", max: "-", status: "current"}, "A time, in hours where no unit is given, at least 1s."},
		{param{kind: "string", min: "1", choices: []string{"a", "b"}, several: true, status: "obsolete"}, "A text, not empty. Any of: a, b. Obsolete."},
		{param{kind: "string", programs: []string{"show", "other", "nobody"}, status: "current", unused: "TLS is missing"},
			"A text. Read by show(1), nobody. Without effect in this version: TLS is missing. A setting other than the default is warned about."},
		{param{kind: "string", programs: []string{"(TLS users)", "show"}, status: "current"}, "A text. Read by the programs that speak TLS, show(1)."},
	} {
		if got := strings.Join(b.facts(&c.d), " "); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
}

func TestBadSources(t *testing.T) {
	for name, text := range map[string]string{"x.md": "# x", "x.9.md": "# x", "x.1.md": "no title"} {
		if _, err := parsePage(name, text); err == nil {
			t.Errorf("%s: %q is accepted", name, text)
		}
	}
	b, p := sampleBook(t)
	for _, d := range []string{"@nonsense", "@doc", "@parameters no_such_parameter"} {
		p.blocks = []block{{kind: directive, text: d}}
		if err := b.complete(p); err == nil {
			t.Errorf("%s is accepted", d)
		}
	}
}
