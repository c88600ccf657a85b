// Heavy is the executable behind the daemons that need large libraries: the
// Pebble database for tlsmgr and verify, which keep caches, and the database
// clients for proxymap, which is the services proxymap and proxywrite, and which
// commands start for themselves. All other daemons are in suffixd, and so is a
// proxymap that lasts until a table needs this one. Which daemon it is comes
// from the name under which it is started; started as "heavy --names" it lists
// the names that are links to it.
package main

import (
	_ "suffix/pkg/heavytables"

	"suffix/libexec/proxymap"
	"suffix/libexec/tlsmgr"
	"suffix/libexec/verify"
	"suffix/pkg/service"
)

// daemons is the table of programs, by the name in daemon_directory.
var daemons = map[string]func(){
	"proxymap": proxymap.Main,
	"tlsmgr":   tlsmgr.Main,
	"verify":   verify.Main,
}

func main() {
	trim()
	// suffixd's proxymap becomes the one here where that is needed.
	service.ByName("heavy", daemons, "proxymap")
}
