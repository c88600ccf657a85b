// Smtp-sink is a server that takes mail over SMTP or LMTP and throws it away,
// to measure the speed and to test the behaviour of clients; see smtp-sink(1).
package main

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"suffix/pkg/account"
	"suffix/pkg/maillog"
)

func main() {
	maillog.Init("smtp-sink", maillog.StderrOnly("smtp-sink"))
	o, err := parseOptions(os.Args[1:])
	if err != nil {
		if _, usage := err.(usageError); usage {
			fmt.Fprintln(os.Stderr, err)
			maillog.Fatalf("usage: %s %s", filepath.Base(os.Args[0]), usageText)
		}
		maillog.Fatalf("%v", err)
	}
	l, err := o.listen()
	if err != nil {
		maillog.Fatalf("%v", err)
	}
	if err := o.dropPrivileges(); err != nil {
		maillog.Fatalf("%v", err)
	}
	newSink(o).serve(l)
}

// listen opens the socket that the options name.
func (o *options) listen() (net.Listener, error) {
	if path, ok := strings.CutPrefix(o.address, "unix:"); ok {
		if err := os.Remove(path); err != nil && !os.IsNotExist(err) {
			return nil, fmt.Errorf("remove %s: %w", path, err)
		}
		return listenUnix(path, o.backlog)
	}
	return listenTCP(o.network, strings.TrimPrefix(o.address, "inet:"), o.backlog, o.window)
}

// dropPrivileges leaves the root account, which is not for a program that
// talks with strangers.
func (o *options) dropPrivileges() error {
	var user *account.User
	if o.user != "" {
		var err error
		if user, err = account.Lookup(o.user); err != nil {
			return err
		}
	}
	if o.root != "" {
		if err := syscall.Chroot(o.root); err != nil {
			return fmt.Errorf("chroot(%s): %w", o.root, err)
		}
		if err := os.Chdir("/"); err != nil {
			return err
		}
	}
	if user != nil {
		return account.Become(user)
	}
	return nil
}

// seconds reads a number of seconds.
func seconds(text string) (time.Duration, error) {
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 || n > 1<<30 {
		return 0, fmt.Errorf("bad time: %s", text)
	}
	return time.Duration(n) * time.Second, nil
}
