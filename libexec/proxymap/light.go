package proxymap

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"

	client "suffix/pkg/proxymapclient"

	"suffix/pkg/config"
	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
)

// heavy is the executable with the clients of large databases, beside ours.
const heavy = "heavy"

// LightMain is Main in an executable without the clients of large databases.
// Where the configuration has tables that need them, and for a command, the
// other executable takes over this process.
func LightMain() {
	if len(os.Args) > 1 && os.Args[1] == client.ServeCommand || needsHeavy() {
		self, err := os.Executable()
		if err == nil {
			path := filepath.Join(filepath.Dir(self), heavy)
			err = syscall.Exec(path, append([]string{"proxymap"}, os.Args[1:]...), os.Environ())
			err = &os.PathError{Op: "exec", Path: path, Err: err}
		}
		maillog.Init("proxymap")
		maillog.Fatalf("%v: %s", err, syserr.Text(err))
	}
	Main()
}

// needsHeavy says whether main.cf or master.cf names such a table. What is
// wrong there is reported by the program itself.
func needsHeavy() bool {
	cfg, err := config.Load(config.Options{Program: "proxymap"})
	if err != nil {
		return false
	}
	if len(heavyTables(cfg)) > 0 {
		return true
	}
	for _, text := range cfg.Explicits() {
		if strings.Contains(text, "proxy:pebble:") {
			return true // may have to be written
		}
	}
	return false
}
