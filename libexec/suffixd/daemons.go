package main

import (
	"suffix/libexec/master"
	"suffix/libexec/postlogd"
)

// daemons is the table of programs, by the name in daemon_directory.
var daemons = map[string]func(){
	"master":   master.Main,
	"postlogd": postlogd.Main,
}
