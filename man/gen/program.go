package main

import (
	"fmt"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// comment returns the comment at the top of the program that a page is about.
func (b *book) comment(p *page) (string, error) {
	dir := "cmd/" + p.names[0]
	if p.section == '8' {
		dir = "libexec/" + strings.ReplaceAll(p.names[0], "-", "")
	}
	files, err := filepath.Glob(filepath.Join(b.root, dir, "*.go"))
	if err != nil {
		return "", err
	}
	for _, path := range files {
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			return "", err
		}
		if f.Doc != nil && !strings.HasSuffix(path, "_test.go") {
			return f.Doc.Text(), nil
		}
	}
	return "", fmt.Errorf("no program in %s has a comment", dir)
}

var (
	// What only readers of the source want to know.
	specRemark = regexp.MustCompile(`\s*\([^()]*\bspec\b[^()]*(\([0-9]\)[^()]*)*\)|[;,] see [a-z-]+\([0-9]\)`)
	selfRemark = regexp.MustCompile(`\s*\([a-z-]+\([0-9]\)(, spec [^()]*)?\)`)
	aboutCode  = regexp.MustCompile(`^(It reads|Parameters:)|\bpackage |\bpkg/`)
	alsoReads  = regexp.MustCompile(`^(It talks to .*), and reads .*`)
	opening    = regexp.MustCompile(`^(Package|Command) ([a-z]+) `)
	sentence   = regexp.MustCompile(`\.\s+`)
)

// programDoc is the program's own comment as part of a page, without what it
// says about the source and without the list of parameters.
func (b *book) programDoc(p *page) ([]block, error) {
	text, err := b.comment(p)
	if err != nil {
		return nil, err
	}
	var out []block
	for i, para := range strings.Split(strings.TrimSpace(text), "\n\n") {
		para = strings.Join(strings.Fields(para), " ")
		para = selfRemark.ReplaceAllString(specRemark.ReplaceAllString(para, ""), "")
		if i == 0 {
			para = firstWords(para)
		}
		var kept []string
		for _, s := range sentences(para) {
			if !aboutCode.MatchString(s) {
				kept = append(kept, alsoReads.ReplaceAllString(s, "$1."))
			}
		}
		if len(kept) > 0 {
			out = append(out, block{kind: paragraph, text: strings.Join(kept, " "), plain: true})
		}
	}
	return out, nil
}

// firstWords begins the comment as a page should begin.
func firstWords(para string) string {
	m := opening.FindStringSubmatch(para)
	if m == nil {
		return para
	}
	para = strings.TrimPrefix(para, m[0])
	if rest, ok := strings.CutPrefix(para, "is "); ok {
		return "This is " + rest
	}
	return strings.ToUpper(m[2][:1]) + m[2][1:] + " " + para
}

func sentences(para string) []string {
	var out []string
	start := 0
	for _, at := range sentence.FindAllStringIndex(para, -1) {
		out = append(out, para[start:at[0]+1])
		start = at[1]
	}
	if start < len(para) {
		out = append(out, para[start:])
	}
	return out
}

var nameWord = regexp.MustCompile(`[a-z0-9]+(?:_[a-zA-Z0-9]+)*`)

// programParams lists the parameters that a program reads: those of which the
// table says so, those that its comment names, and more.
func (b *book) programParams(p *page, more []string) ([]block, error) {
	read := make(map[*param]bool)
	for _, name := range more {
		if b.param[name] == nil {
			return nil, fmt.Errorf("there is no parameter %s", name)
		}
		read[b.param[name]] = true
	}
	text, err := b.comment(p)
	if err != nil {
		return nil, err
	}
	for _, word := range nameWord.FindAllString(text, -1) {
		if d := b.param[word]; d != nil && (strings.Contains(word, "_") || len(word) > 7) {
			read[d] = true
		}
	}
	for _, d := range b.params {
		if slices.ContainsFunc(p.names, func(name string) bool { return slices.Contains(d.programs, name) }) {
			read[d] = true
		}
	}
	out := []block{{kind: paragraph, text: "These parameters of `main.cf` matter most here; every program also reads those that postconf(5) marks so."}}
	if len(p.names) > 1 && p.section == '8' {
		out[0].text += " A name that begins with lmtp_ counts for LMTP, its counterpart with smtp_ for SMTP."
	}
	for _, d := range b.params {
		if read[d] && d.unused == "" && !d.hidden {
			out = append(out, d.brief())
		}
	}
	return out, nil
}
