package main

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"

	"suffix/pkg/params"
	"suffix/pkg/syserr"
	"suffix/pkg/table/typenames"
)

var (
	serverSASLTypes = []string{"dovecot"}
	clientSASLTypes = []string{"cyrus"}
	lockMethods     = []string{"flock", "fcntl", "dotlock"}
)

// showTableTypes lists the types of lookup tables.
func (p *postconf) showTableTypes() error {
	if err := p.readMain(); err != nil {
		return err
	}
	if err := p.main.config.Check(); err != nil {
		return err
	}
	return p.printLines(typenames.All())
}

// showTLS answers -T.
func (p *postconf) showTLS() error {
	list, ok := tlsFacts[p.tlsMode]
	if !ok {
		p.warn("unknown 'postconf -T' mode: " + p.tlsMode)
		p.status = 1
		return nil
	}
	return p.printLines(list)
}

// tlsFacts are the answers to -T. TLS is Go's: its version is the version of
// the toolchain that built this program.
var tlsFacts = map[string][]string{
	"compile-version":       {"Go " + strings.TrimPrefix(runtime.Version(), "go")},
	"run-version":           {"Go " + strings.TrimPrefix(runtime.Version(), "go")},
	"public-key-algorithms": {"ecdsa", "ed25519", "rsa"},
}

// showTemplates runs the bounce daemon, which knows the texts of bounce
// messages and how to read the file that replaces them.
func (p *postconf) showTemplates() error {
	if err := p.readMain(); err != nil {
		return err
	}
	cfg := p.main.config
	if err := cfg.Check(); err != nil {
		return err
	}
	mode := "-SVndump_templates"
	if p.has(optB) {
		mode = "-SVnexpand_templates"
	}
	path := cfg.String(params.DaemonDirectory) + "/bounce"
	args := []string{path, mode}
	if len(p.operands) > 0 {
		args = append(args, "-o", "bounce_template_file="+p.operands[0])
	}
	args = append(args, "-o", "queue_directory=.")
	if err := cfg.Err(); err != nil {
		return err
	}
	if err := p.out.Flush(); err != nil {
		return err
	}
	err := syscall.Exec(path, args, os.Environ())
	return fmt.Errorf("execv %s: %s", path, syserr.Text(err))
}
