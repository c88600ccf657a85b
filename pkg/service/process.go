package service

import (
	"context"
	"os"
	"strings"
	"time"

	"suffix/pkg/maillog"
	"suffix/pkg/params"

	"golang.org/x/sys/unix"
)

// Watch adds a question that is asked between sessions: has a table changed?
// If so, that is logged, and the process finishes with its clients and leaves
// the next one to a successor that reads the new table.
func (p *Process) Watch(changed func() (table string, changed bool)) {
	p.watches = append(p.watches, changed)
}

// Changed asks the watches now: a daemon with a Loop calls it when it likes.
func (p *Process) Changed() (table string, changed bool) {
	for _, w := range p.watches {
		if table, changed := w(); changed {
			return table, true
		}
	}
	return "", false
}

// Recheck asks the watches now, and acts as at the door of a new client: a
// daemon whose clients stay connected calls it from time to time.
func (p *Process) Recheck() {
	if table, changed := p.Changed(); changed && p.server != nil {
		p.server.tableChanged(table)
	}
}

// InProcess says whether our master has the service class/name, runs our own
// program for it, and was given no arguments for it in master.cf: then its
// answer can be had without asking over the socket. Under a foreign master it
// is always false.
func (p *Process) InProcess(class, name, program string) bool {
	return p.inside[class+"/"+name+"="+program]
}

// parseInside reads the list that our master makes.
func parseInside(list string) map[string]bool {
	inside := make(map[string]bool)
	for _, item := range strings.Fields(list) {
		inside[item] = true
	}
	return inside
}

// stressTime is how long a service that reached its limit is taken to be
// under stress.
const stressTime = 1000 * time.Second

// Stress says whether the service is, or recently was, at its process limit.
func (p *Process) Stress() bool {
	if p.server != nil && p.server.underStress(time.Now()) {
		return true
	}
	return p.Config.String(params.Stress) != ""
}

// FlowGet takes one flow control token. If there is none it waits for
// in_flow_delay and goes on without: whoever brings mail in is slowed down
// while the queue manager has enough to do (spec master §7).
func (p *Process) FlowGet(ctx context.Context) {
	var token [1]byte
	if n, err := unix.Read(flowReadFD, token[:]); err == nil && n == 1 {
		maillog.Debugf("mail_flow_get: 1 1")
		return
	}
	delay := p.Config.Time(params.InFlowDelay)
	if delay <= 0 {
		return
	}
	timer := time.NewTimer(delay)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// FlowTake removes up to n tokens: the queue manager's part.
func (p *Process) FlowTake(n int) {
	var tokens [512]byte
	for n > 0 {
		got, err := unix.Read(flowReadFD, tokens[:min(n, len(tokens))])
		if err != nil || got <= 0 {
			return
		}
		n -= got
	}
}

// FlowPut puts n tokens into the pipe. A full pipe has enough of them.
func (p *Process) FlowPut(n int) {
	var tokens [512]byte
	for n > 0 {
		put, err := unix.Write(flowWriteFD, tokens[:min(n, len(tokens))])
		if err != nil || put <= 0 {
			return
		}
		maillog.Debugf("mail_flow_put: %d %d", put, put)
		n -= put
	}
}

// FlowPending returns the number of tokens in the pipe.
func (p *Process) FlowPending() int {
	n, err := unix.IoctlGetInt(flowReadFD, unix.TIOCINQ)
	if err != nil {
		return 0
	}
	return n
}

// Draining is closed when the process accepts no more clients.
func (p *Process) Draining() <-chan struct{} { return p.server.draining }

// Verbose is the number of -v options.
func (p *Process) Verbose() int { return p.options.verbose }

// exit ends the process as planned.
func (p *Process) exit(d *Daemon) {
	if d.Exit != nil {
		d.Exit(p)
	}
	os.Exit(0)
}
