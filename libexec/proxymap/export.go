package proxymap

import (
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"suffix/pkg/config"
	"suffix/pkg/params"
)

// Services that exist to be asked by hand: they print tables and end. The one
// prints what is approved, the other one also what the parameter names without
// proxy:.
const (
	exportAll   = "export-all-"
	exportProxy = "export-proxy-"
)

// exported cuts a prefix of these off a service name.
func exported(service string) (name, export string) {
	for _, prefix := range []string{exportAll, exportProxy} {
		if name, ok := strings.CutPrefix(service, prefix); ok {
			return name, prefix
		}
	}
	return service, ""
}

// export prints tables, sorted, and does not return.
func (s *server) export(cfg *config.Main, param params.String, all bool) {
	a := newApproval(s.param, cfg.Dialect37())
	a.all = all
	a.approve(cfg.String(param), restrictionClasses(cfg))
	for _, name := range slices.Sorted(maps.Keys(a.tables)) {
		fmt.Println(name)
	}
	os.Exit(0)
}
