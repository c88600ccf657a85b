// Postmap makes lookup tables from text files, and asks and changes tables
// (postmap(1)).
//
// It reads default_database_type, smtputf8_enable, the parameters of the log and
// the limits on message headers.
package main

import (
	"os"

	_ "suffix/pkg/alltables"
	_ "suffix/pkg/cache" // reads the databases of daemons
	"suffix/pkg/table/maptool"
	_ "suffix/pkg/table/pebble/store"
)

func main() { os.Exit(maptool.Main(false)) }
