package main

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/flushclient"
	"suffix/pkg/ipc"
	"suffix/pkg/maillog"
	"suffix/pkg/params"
	"suffix/pkg/queue"
)

var errDown = errors.New("Cannot flush mail queue - mail system is down")

// Limits of a wakeup: this program does not wait for the work to be done.
const (
	triggerTimeout = 10 * time.Second
	triggerWait    = 2 * time.Second
)

// flushQueue asks qmgr for delivery of all mail: forget which destinations are
// unreachable (F), ignore time stamps (A), scan deferred (D) and incoming (I).
func flushQueue(cfg *config.Main) error {
	if err := trigger(cfg.String(params.QueueServiceName), "FADI"); err != nil {
		return errDown
	}
	if err := trigger(cfg.String(params.PickupServiceName), "W"); err != nil {
		return errDown
	}
	return nil
}

func trigger(service, request string) error {
	err := ipc.Trigger(ipc.Public, service, request, triggerTimeout, triggerWait)
	var refused *ipc.ConnectError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &refused):
		return err // a socket without server
	case strings.HasPrefix(err.Error(), "unix_trigger_event: read timeout"):
		return nil // it is at work
	}
	maillog.Warnf("%v", err)
	return err
}

// flushFile asks for delivery of one message.
func flushFile(cfg *config.Main, id string) error {
	if !queue.ValidID(id) {
		return fmt.Errorf("Cannot flush queue ID - invalid name: \"%s\"", shorten(id))
	}
	return answer(flushclient.New(cfg).SendFile(id), id)
}

// flushSite asks for delivery of all mail to one destination.
func flushSite(cfg *config.Main, site string) error {
	if !validSite(site) {
		return fmt.Errorf("Cannot flush mail queue - invalid destination: \"%s\"", shorten(site))
	}
	return answer(flushclient.New(cfg).SendSite(site), site)
}

func answer(status flushclient.Status, what string) error {
	switch status {
	case flushclient.OK:
		return nil
	case flushclient.Bad:
		return fmt.Errorf("Invalid request: \"%s\"", shorten(what))
	case flushclient.Denied:
		return fmt.Errorf("Flush service is not configured for destination \"%s\"", shorten(what))
	}
	return errDown
}

// validSite accepts a domain name, [ipv4] and [IPv6:ipv6].
func validSite(site string) bool {
	literal, bracket := strings.CutPrefix(site, "[")
	if !bracket {
		return config.ValidHostname(site) == ""
	}
	literal, closed := strings.CutSuffix(literal, "]")
	if !closed {
		return false
	}
	v6 := len(literal) > 5 && strings.EqualFold(literal[:5], "IPv6:")
	if v6 {
		literal = literal[5:]
	}
	addr, err := netip.ParseAddr(literal)
	return err == nil && addr.Zone() == "" && addr.Is6() == v6
}

// shorten makes what the user wrote fit for a message.
func shorten(text string) string {
	if len(text) > 100 {
		return maillog.Printable(text[:100]) + "..."
	}
	return maillog.Printable(text)
}
