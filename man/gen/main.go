// Gen makes the documentation: manual pages below man/ and the same pages as
// HTML below html/. It runs in the root of the source tree, as "make docs".
//
// A page NAME.SECTION has one source, man/src/NAME.SECTION.md. What programs
// and the table of parameters say themselves is taken from there: the comment
// at the top of a program, and pkg/params/parameters.tsv.
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

func main() {
	log.SetFlags(0)
	files, err := generate(".")
	if err == nil {
		err = write(".", files)
	}
	if err != nil {
		log.Fatal(err)
	}
}

// generate makes all files from the sources below root. The keys are paths
// relative to root.
func generate(root string) (map[string][]byte, error) {
	b, err := load(root)
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	for _, p := range b.pages {
		roff := b.roff(p)
		for _, name := range p.names {
			files[manPath(name, p.section)] = roff
		}
		files["html/"+htmlName(p.names[0], p.section)] = b.html(p)
	}
	files["html/index.html"] = b.index()
	files["html/style.css"] = []byte(style)
	return files, nil
}

func manPath(name string, section byte) string {
	return fmt.Sprintf("man/man%c/%s.%c", section, name, section)
}

func htmlName(name string, section byte) string { return fmt.Sprintf("%s.%c.html", name, section) }

// outputs lists the generated files that stand below root.
func outputs(root string) ([]string, error) {
	var list []string
	for _, pattern := range []string{"man/man[158]/*", "html/*"} {
		paths, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			return nil, err
		}
		for _, path := range paths {
			rel, err := filepath.Rel(root, path)
			if err != nil {
				return nil, err
			}
			list = append(list, filepath.ToSlash(rel))
		}
	}
	return list, nil
}

// write brings the files below root up to date: it replaces those that differ
// and removes those that have no source any more.
func write(root string, files map[string][]byte) error {
	old, err := outputs(root)
	if err != nil {
		return err
	}
	for _, name := range old {
		if _, ok := files[name]; !ok {
			if err := os.Remove(filepath.Join(root, name)); err != nil {
				return err
			}
		}
	}
	for name, content := range files {
		path := filepath.Join(root, name)
		if have, err := os.ReadFile(path); err == nil && bytes.Equal(have, content) {
			continue
		}
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, content, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// A book is all pages and what they refer to.
type book struct {
	root   string
	pages  []*page // sorted by section and name
	byName map[string]*page
	params []*param
	param  map[string]*param
	date   string // of the release
}

// load reads all sources.
func load(root string) (*book, error) {
	b := &book{root: root, byName: make(map[string]*page)}
	if err := b.readParams(); err != nil {
		return nil, err
	}
	paths, err := filepath.Glob(filepath.Join(root, "man/src/*.md"))
	if err != nil {
		return nil, err
	}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		p, err := parsePage(filepath.Base(path), string(text))
		if err != nil {
			return nil, err
		}
		b.pages = append(b.pages, p)
		for _, name := range p.names {
			b.byName[ref(name, p.section)] = p
		}
	}
	slices.SortFunc(b.pages, func(p, q *page) int {
		if p.section != q.section {
			return int(p.section) - int(q.section)
		}
		return strings.Compare(p.names[0], q.names[0])
	})
	for _, p := range b.pages {
		if err := b.complete(p); err != nil {
			return nil, fmt.Errorf("%s: %w", p.source, err)
		}
	}
	return b, nil
}

// ref is how text refers to a page: name(section).
func ref(name string, section byte) string { return fmt.Sprintf("%s(%c)", name, section) }

// complete carries out the directives of a page.
func (b *book) complete(p *page) error {
	var out []block
	for _, bl := range p.blocks {
		if bl.kind != directive {
			out = append(out, bl)
			continue
		}
		word, rest, _ := strings.Cut(bl.text, " ")
		var made []block
		var err error
		switch word {
		case "@doc":
			made, err = b.programDoc(p)
		case "@parameters":
			made, err = b.programParams(p, strings.Fields(rest))
		case "@postconf":
			made = b.allParams()
		default:
			err = fmt.Errorf("unknown directive %s", word)
		}
		if err != nil {
			return err
		}
		out = append(out, made...)
	}
	p.blocks = out
	return nil
}
