// Package layers checks the architecture: a package of pkg/ imports only from
// layers below its own, or from its own layer without a circle, and nothing
// outside of pkg/ is imported by it.
package layers

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// layers lists the packages of pkg/ bottom up. ARCHITECTURE.md explains them.
var layers = []struct {
	name     string
	packages []string
}{
	{"no mail in it", []string{
		"account", "attr", "cleanenv", "dnsclient", "getopt", "macro", "maillog", "safefile", "syserr",
	}},
	{"mail vocabulary", []string{
		"address", "bouncelog", "cache", "config", "datawriter", "dsn", "header", "lint", "localdomain", "logconf", "maps",
		"mastercf", "matchlist", "mime", "params", "queue", "record", "table",
	}},
	{"services and their clients", []string{
		"alltables", "anvilclient", "bounceclient", "cleanupclient", "deliver", "flushclient", "heavytables", "ipc", "nonbdb", "outcome",
		"proxymapclient", "rewriteclient", "service", "showqclient", "submit", "verifyclient",
	}},
	{"engines", []string{
		"bounce", "cleanup", "localdelivery", "mailbox", "master", "qmgr", "rewrite", "smtpaccess",
		"smtpclient", "smtpserver", "verify",
	}},
}

const module = "suffix/"

func layerOf(pkg string) int {
	first, _, _ := strings.Cut(pkg, "/")
	for i, l := range layers {
		for _, p := range l.packages {
			if p == first {
				return i
			}
		}
	}
	return -1
}

func TestNoUpwardImports(t *testing.T) {
	root := filepath.Join("..", "..", "pkg")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, ".go") {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(path))
		if err != nil {
			return err
		}
		pkg := filepath.ToSlash(rel)
		layer := layerOf(pkg)
		if layer < 0 {
			t.Errorf("pkg/%s stands in no layer: add it to the list in this test", pkg)
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		for _, spec := range file.Imports {
			imported, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			if !strings.HasPrefix(imported, module) {
				continue
			}
			target, inPkg := strings.CutPrefix(imported, module+"pkg/")
			switch {
			case !inPkg && !strings.HasSuffix(path, "_test.go"):
				t.Errorf("%s imports %s, which is not a library", path, imported)
			case inPkg && layerOf(target) > layer && !strings.HasSuffix(path, "_test.go"):
				t.Errorf("%s (%s) imports %s (%s) upwards", path, layers[layer].name, target, layers[layerOf(target)].name)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestListIsComplete(t *testing.T) {
	for _, l := range layers {
		for _, p := range l.packages {
			if _, err := os.Stat(filepath.Join("..", "..", "pkg", p)); err != nil {
				t.Errorf("layer %q lists pkg/%s, which does not exist", l.name, p)
			}
		}
	}
}
