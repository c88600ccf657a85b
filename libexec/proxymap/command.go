package proxymap

import (
	"context"
	"net"
	"os"

	"suffix/pkg/attr"
	"suffix/pkg/config"
	"suffix/pkg/logconf"
	"suffix/pkg/maillog"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
)

// serveCommand has the tables of one command, at the other end of standard
// input: all that the user may read. It does not return.
func serveCommand(program string, options []string) {
	verbose := 0
	for _, option := range options {
		if option == "-v" {
			verbose++
		}
	}
	maillog.Init(program, maillog.WithStderr(program))
	maillog.SetVerbose(verbose)
	c, err := net.FileConn(os.Stdin)
	if err != nil {
		maillog.Fatalf("standard input: %s", syserr.Text(err))
	}
	cfg, err := config.Load(config.Options{Program: program})
	if err == nil {
		err = logconf.Apply(cfg, program)
	}
	if err != nil {
		maillog.Fatalf("%v", err)
	}
	s := &server{cfg: cfg, tables: make(map[string]*table.Handle)}
	s.serve(context.Background(), attr.NewConn(c, attr.Null, "proxymap socket", 0))
	os.Exit(0)
}
