// Heavy is the executable behind the daemons that need large libraries: the
// Pebble database for tlsmgr and verify, which keep caches, and the database
// clients for proxymap, which is the services proxymap and proxywrite, and which
// commands start for themselves. All other daemons are in suffixd, and so is a
// proxymap that lasts until a table needs this one. Which daemon it is comes
// from the name under which it is started; started as "heavy --names" it lists
// the names that are links to it.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	_ "suffix/pkg/heavytables"

	"suffix/libexec/proxymap"
	"suffix/libexec/tlsmgr"
	"suffix/libexec/verify"
)

// daemons is the table of programs, by the name in daemon_directory.
var daemons = map[string]func(){
	"proxymap": proxymap.Main,
	"tlsmgr":   tlsmgr.Main,
	"verify":   verify.Main,
}

func main() {
	name := filepath.Base(os.Args[0])
	if name == "heavy" && len(os.Args) > 1 {
		if os.Args[1] == "--names" {
			for _, name := range slices.Sorted(maps.Keys(daemons)) {
				if name != "proxymap" { // suffixd's goes on as this
					fmt.Println(name)
				}
			}
			return
		}
		os.Args = os.Args[1:]
		name = filepath.Base(os.Args[0])
	}
	run, ok := daemons[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "heavy: fatal: no daemon has the name %q\n", name)
		os.Exit(1)
	}
	trim()
	run()
}
