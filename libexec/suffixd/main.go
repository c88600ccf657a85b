// Suffixd is the one executable behind all daemons of Suffix. Which of them it
// is comes from the name under which it is started: daemon_directory has a
// link for each. Started as "suffixd --names" it lists the names that it knows.
package main

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
)

func main() {
	name := filepath.Base(os.Args[0])
	if name == "suffixd" && len(os.Args) > 1 {
		if os.Args[1] == "--names" {
			for _, name := range slices.Sorted(maps.Keys(daemons)) {
				fmt.Println(name)
			}
			return
		}
		// Started under its own name it takes the daemon's from the command
		// line, which helps where there are no links yet.
		os.Args = os.Args[1:]
		name = filepath.Base(os.Args[0])
	}
	run, ok := daemons[name]
	if !ok {
		fmt.Fprintf(os.Stderr, "suffixd: fatal: no daemon has the name %q\n", name)
		os.Exit(1)
	}
	run()
}
