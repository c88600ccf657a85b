package proxymap

import (
	"errors"
	"io"
	"os"
	"strings"

	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
)

// maxNesting limits tables and files inside each other.
const maxNesting = 100

// approval collects the tables that clients may ask for.
type approval struct {
	origin string // for warnings
	old    bool   // Postfix 3.7: no files, no restriction classes
	all    bool   // tables without proxy: too
	tables map[string]bool
}

func newApproval(param string, old bool) *approval {
	return &approval{origin: param, old: old, tables: make(map[string]bool)}
}

// approve returns the tables named with proxy: in the value of a parameter and
// in the values of restriction classes.
func approve(param, value string, classes []string, old bool) map[string]bool {
	a := newApproval(param, old)
	a.approve(value, classes)
	return a.tables
}

func (a *approval) approve(value string, classes []string) {
	a.list(value, 0)
	if !a.old {
		for _, class := range classes {
			a.list(class, 0)
		}
	}
}

func (a *approval) list(text string, depth int) {
	if depth > maxNesting {
		maillog.Warnf("%s: tables nested deeper than %d", a.origin, maxNesting)
		return
	}
	for _, item := range table.SplitList(text) {
		if item[0] == '{' {
			inner, err := table.Unbrace(item)
			if err != nil {
				a.bad(item)
				continue
			}
			if item, _ = table.NextItem(inner); item == "" {
				continue
			}
		}
		a.item(strings.TrimLeft(item, "!"), depth)
	}
}

func (a *approval) bad(text string) {
	if a.old {
		maillog.Warnf("bad %s parameter value: %s", a.origin, text)
	} else {
		maillog.Warnf("bad syntax in %s content: %s", a.origin, text)
	}
}

func (a *approval) item(item string, depth int) {
	proxied := false
	for strings.HasPrefix(item, "proxy:") {
		item, proxied = item[len("proxy:"):], true
	}
	if proxied || a.all && strings.Contains(item, ":") {
		a.tables[item] = true
	}
	for _, typ := range []string{"pipemap:", "unionmap:"} {
		if rest, ok := strings.CutPrefix(item, typ); ok {
			inner, err := table.Unbrace(rest)
			if err != nil {
				a.bad(rest)
				return
			}
			a.list(inner, depth+1)
		}
	}
	if !a.old && strings.HasPrefix(item, "/") {
		a.file(item, depth)
	}
}

// file scans a list in a file. One that cannot be read is reported by the
// programs that use it.
func (a *approval) file(path string, depth int) {
	f, err := os.Open(path)
	if err != nil {
		maillog.Debugf("open %s: %s", path, syserr.Text(err))
		return
	}
	defer f.Close()
	lines := table.NewLineReader(f, path)
	for {
		line, err := lines.Next()
		if err != nil {
			if !errors.Is(err, io.EOF) {
				maillog.Warnf("read %s: %s", path, syserr.Text(err))
			}
			return
		}
		a.list(string(line), depth+1)
	}
}
