package localdelivery

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"suffix/pkg/account"
	"suffix/pkg/address"
	"suffix/pkg/bounceclient"
	"suffix/pkg/deliver"
	"suffix/pkg/dsn"
	"suffix/pkg/maillog"
	"suffix/pkg/outcome"
	"suffix/pkg/syserr"
	"suffix/pkg/table"
)

// origin says what kind of list a destination stands in.
type origin int

const (
	fromNone origin = iota
	fromAlias
	fromForward
	fromInclude
)

// A delivery is one recipient of a request, with everything that it expands to.
type delivery struct {
	*Agent
	ctx      context.Context
	req      *deliver.Request
	top      dsn.Recipient // as the queue manager gave it
	loops    map[string]bool
	seen     *filter
	forwards []*forward
	files    map[string]bool // .forward files: true when completed
}

// A state is what changes on the way down: each nested part has its own copy.
type state struct {
	rcpt         dsn.Recipient
	sender       string
	envelopeID   string
	ret          dsn.Ret
	owner        string // who answers for a list, in place of the sender
	delivered    string // for Delivered-To
	origin       origin
	expandedFrom string
	user         *account.User // in whose name; nil: the system's
	depth        int

	local, name  string // localpart, and the same without extension
	domain       string
	extension    string
	hasExtension bool
	delimiter    string // the one that was seen
	unmatched    string // extension to propagate into a list's members
}

// relay is how the log names us.
func (d *delivery) at() outcome.Attempt { return outcome.Attempt{Relay: d.service} }

func (d *delivery) sent(s state, v dsn.DSN) outcome.Result {
	return d.req.Recorder().Sent(d.req.Message(), s.rcpt, d.at(), v)
}

func (d *delivery) bounce(s state, status, reason string) outcome.Result {
	return d.req.Recorder().Bounce(d.req.Message(), s.rcpt, d.at(), dsn.DSN{Status: status, Reason: reason})
}

func (d *delivery) later(s state, status, reason string) outcome.Result {
	return d.req.Recorder().Defer(d.req.Message(), s.rcpt, d.at(), dsn.DSN{Status: status, Reason: reason})
}

// failed records a failure whose status decides between bounce and deferral.
func (d *delivery) failed(s state, v dsn.DSN) outcome.Result {
	if dsn.Class(v.Status) == '4' {
		return d.req.Recorder().Defer(d.req.Message(), s.rcpt, d.at(), v)
	}
	return d.req.Recorder().Bounce(d.req.Message(), s.rcpt, d.at(), v)
}

// both is done only when both parts are.
func both(a, b outcome.Result) outcome.Result { return a && b }

// recipient delivers to one address, the request's own or a nested one
// (spec delivery §8.1).
func (d *delivery) recipient(s state) outcome.Result {
	s.depth++
	addr := s.rcpt.Address
	if s.depth > maxDepth {
		maillog.Warnf("recipient nesting limit exceeded for %s", addr)
		return d.bounce(s, "5.4.6", "recipient nesting limit exceeded")
	}
	if d.seen.duplicate(fmt.Sprintf("recipient %d", s.depth), addr) {
		return outcome.Done
	}
	if d.loops[strings.ToLower(address.Quote(addr))] {
		return d.ownerFailed(s, dsn.DSN{Status: "5.4.6", Reason: "mail forwarding loop for " + addr})
	}
	if s.delivered == "" {
		s.delivered = addr
	}
	bare := strings.HasPrefix(addr, `\`)
	d.split(&s, strings.TrimPrefix(addr, `\`))
	if s.name == "" {
		return d.bounce(s, "5.1.3", fmt.Sprintf("null username in \"%s\"", addr))
	}
	if bare {
		return d.mailbox(s)
	}
	return d.switchOn(s)
}

// split takes the address apart: localpart, user name, extension, domain.
func (d *delivery) split(s *state, addr string) {
	folded := table.Fold(addr, true)
	local, domain, ok := address.Split(folded)
	if !ok {
		maillog.Warnf("no @ in recipient address: %s", addr)
	}
	s.local, s.domain = local, domain
	s.hasExtension, s.delimiter = false, ""
	s.name, s.extension = d.extension.Split(local)
	if s.extension != "" {
		s.hasExtension = true
		s.delimiter, s.extension = s.extension[:1], s.extension[1:]
		if strings.Contains(s.extension, "/") {
			maillog.Warnf("%s: address with illegal extension: %s", d.req.QueueID, local)
			s.local, s.extension, s.hasExtension = s.name, "", false
		}
	}
	s.unmatched = ""
}

// switchOn tries what a local name can be, in order.
func (d *delivery) switchOn(s state) outcome.Result {
	if result, found := d.alias(s, s.local); found {
		return result
	}
	if s.hasExtension {
		nested := s
		if d.propagate["alias"] {
			nested.unmatched = s.extension
		}
		if result, found := d.alias(nested, s.name); found {
			return result
		}
	}
	if s.owner != "" && !strings.EqualFold(s.owner, s.name) || s.origin == fromInclude {
		return d.resubmit(s)
	}
	user, result, ok := d.passwd(s)
	if !ok {
		return result
	}
	if user != nil && d.requireHome {
		err := account.AsUser(user.UID, user.GID, []int{user.GID}, func() error {
			_, err := os.Stat(user.Home)
			return err
		})
		if err != nil {
			return d.later(s, "4.3.0", fmt.Sprintf("cannot access home directory %s: %s", user.Home, syserr.Text(err)))
		}
	}
	if user != nil {
		if result, found := d.dotForward(s, user); found {
			return result
		}
	}
	return d.mailbox(s)
}

// passwd looks up the user. ok is false when the lookup failed; result is then
// what was recorded.
func (d *delivery) passwd(s state) (user *account.User, result outcome.Result, ok bool) {
	user, err := account.Lookup(s.name)
	var missing *account.NotFoundError
	switch {
	case errors.As(err, &missing):
		return nil, outcome.Done, true
	case err != nil:
		maillog.Warnf("error looking up passwd info for %s: %s", s.name, syserr.Text(err))
		return nil, d.later(s, "4.0.0", "user lookup error"), false
	}
	if user.Shell == "" {
		user.Shell = "/bin/sh"
	}
	return user, outcome.Done, true
}

// ownerFailed records a failure for which the owner of a list answers, where
// there is one (spec delivery §8.9).
func (d *delivery) ownerFailed(s state, v dsn.DSN) outcome.Result {
	if !d.ownerRequest {
		return d.failed(s, v)
	}
	local, _, _ := address.Split(s.rcpt.Address)
	user, _ := d.extension.Split(local)
	for _, name := range []string{local, user} {
		target, found, err := d.aliasLookup("owner-" + name)
		if err != nil {
			return d.later(s, "4.3.0", "alias database unavailable")
		}
		if found {
			owner, err := d.canonicalOwner("owner-"+name, target.Value)
			if err != nil {
				return d.later(s, "4.3.0", "address resolver failure")
			}
			if dsn.Class(v.Status) == '4' {
				return d.failed(s, v)
			}
			notice := bounceclient.Notice{
				QueueName: d.req.QueueName, QueueID: d.req.QueueID, Encoding: d.req.Encoding,
				SendOpts: d.req.SendOpts, Sender: owner, EnvelopeID: s.envelopeID, Ret: s.ret,
			}
			return d.req.Recorder().BounceOne(d.req.Message(), notice, s.rcpt, d.at(), v)
		}
		if user == local {
			break
		}
	}
	return d.failed(s, v)
}
