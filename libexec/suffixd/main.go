// Suffixd is the one executable behind all daemons of Suffix. Which of them it
// is comes from the name under which it is started: daemon_directory has a
// link for each.
package main

import (
	"fmt"
	"os"
	"path/filepath"
)

func main() {
	name := filepath.Base(os.Args[0])
	if name == "suffixd" && len(os.Args) > 1 {
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
