package params

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// readByName are parameters that the code reads without their declaration's
// identifier, and how.
var readByName = map[string]string{
	"alternate_config_directories":        "by set-gid programs in the default main.cf, before anything is checked",
	"config_directory":                    "it is the directory itself",
	"inet_protocols":                      "by the derivation of addresses in package config",
	"local_destination_concurrency_limit": "as NAME_destination_concurrency_limit",
	"local_destination_recipient_limit":   "as NAME_destination_recipient_limit",
	"default_cache_db_type":               "in the defaults of other parameters",
	"default_delivery_status_filter":      "in the defaults of other parameters",
	"multi_instance_name":                 "in the default of syslog_name",
	"stress":                              "in the defaults of other parameters",
	"smtpd_service_name":                  "only by postscreen",
	"mail_release_date":                   "for display",
	"qmgr_fudge_factor":                   "by nobody since long ago",
	"process_id":                          "for display",
	"process_name":                        "in the defaults of other parameters",
	"service_name":                        "in the defaults of other parameters",
}

// Every parameter is read through its declaration, or declared to have no
// effect; and none of the latter is read.
func TestEveryParameterIsUsed(t *testing.T) {
	used, named := scanSources(t)
	ids := identifiers(t)
	all := All()
	for i := range all {
		p := &all[i]
		_, byName := readByName[p.Name]
		read := used[ids[p.Name]] || byName || p.Flags&Hidden != 0
		switch {
		case !read && p.Missing == "":
			t.Errorf("%s: no program reads it: declare in missing.tsv why not", p.Name)
		case read && p.Missing != "" && p.Flags&Hidden == 0:
			t.Errorf("%s: it is read by now: take it out of missing.tsv", p.Name)
		}
		for _, place := range named[p.Name] {
			t.Errorf("%s: %q is read by its name, not through its declaration", place, p.Name)
		}
	}
}

// identifiers maps names in main.cf to identifiers of this package.
func identifiers(t *testing.T) map[string]string {
	f, err := parser.ParseFile(token.NewFileSet(), "table_gen.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	ids := make(map[string]string)
	for _, decl := range f.Decls {
		g, ok := decl.(*ast.GenDecl)
		if !ok || g.Tok != token.CONST {
			continue
		}
		for _, s := range g.Specs {
			v := s.(*ast.ValueSpec)
			ids[strings.TrimSpace(v.Comment.Text())] = v.Names[0].Name
		}
	}
	if len(ids) != len(All()) {
		t.Fatalf("%d identifiers for %d parameters", len(ids), len(All()))
	}
	return ids
}

// byText are the methods that take a parameter's name as text.
var byText = regexp.MustCompile(`^(Lookup|Unexpanded|Setting|Default)$`)

// scanSources returns the identifiers of parameters that the sources mention,
// and the places where the value of a parameter is asked for by its name;
// programs that show parameters may do so.
func scanSources(t *testing.T) (used map[string]bool, named map[string][]string) {
	used, named = make(map[string]bool), make(map[string][]string)
	fset := token.NewFileSet()
	visit := func(path string, entry fs.DirEntry, err error) error {
		// Checking that a value is good is not using it.
		if err != nil || entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(path, "pkg/config/check.go") {
			return err
		}
		display := strings.Contains(path, "/cmd/postconf/") || strings.Contains(path, "/pkg/lint/")
		f, err := parser.ParseFile(fset, path, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.SelectorExpr:
				if x, ok := n.X.(*ast.Ident); ok && x.Name == "params" {
					used[n.Sel.Name] = true
				}
			case *ast.CallExpr:
				sel, ok := n.Fun.(*ast.SelectorExpr)
				if !ok || display || !byText.MatchString(sel.Sel.Name) || len(n.Args) == 0 {
					return true
				}
				if lit, ok := n.Args[0].(*ast.BasicLit); ok && lit.Kind == token.STRING {
					name, err := strconv.Unquote(lit.Value)
					if err == nil && Lookup(name) != nil {
						named[name] = append(named[name], fset.Position(n.Pos()).String())
					}
				}
			}
			return true
		})
		return nil
	}
	for _, dir := range []string{"pkg", "cmd", "libexec"} {
		if err := filepath.WalkDir(filepath.Join("../..", dir), visit); err != nil {
			t.Fatal(err)
		}
	}
	return used, named
}
