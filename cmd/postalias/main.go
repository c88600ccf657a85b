// Postalias makes alias databases from text files, and asks and changes them
// (postalias(1)).
//
// It reads default_database_type, smtputf8_enable, the parameters of the log and
// myhostname.
package main

import (
	"os"

	_ "suffix/pkg/alltables"
	"suffix/pkg/table/maptool"
	_ "suffix/pkg/table/pebble/store"
)

func main() { os.Exit(maptool.Main(true)) }
