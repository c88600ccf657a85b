package service

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

// ByName runs one of the daemons that share an executable: the one whose name
// the program is started under. Started under its own name, the executable takes
// the daemon's from the command line, which helps where there are no links yet,
// and lists with "--names" those that are to be links to it; hidden ones are not.
func ByName(executable string, daemons map[string]func(), hidden ...string) {
	name := filepath.Base(os.Args[0])
	if name == executable && len(os.Args) > 1 {
		if os.Args[1] == "--names" {
			for _, name := range slices.Sorted(maps.Keys(daemons)) {
				if !slices.Contains(hidden, name) {
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
		fmt.Fprintf(os.Stderr, "%s: fatal: no daemon has the name %q\n", executable, name)
		os.Exit(1)
	}
	run()
}
