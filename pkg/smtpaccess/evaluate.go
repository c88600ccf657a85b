package smtpaccess

import (
	"context"
	"strconv"
	"strings"
	"time"

	"suffix/pkg/config"
	"suffix/pkg/params"
)

// A verdict is the outcome of one restriction.
type verdict int

const (
	dunno verdict = iota
	permit
	reject // evaluation.reply says why
)

// maxRecursion bounds the nesting of classes and access-table results.
const maxRecursion = 100

// An evaluation is the work of one stage for one request.
type evaluation struct {
	ctx   context.Context
	c     *Checker
	s     *Session
	reply Reply

	stage    stage
	name     string // what the list is about, as it stands in replies
	class    string
	implicit string // kind of a bare table
	warn     bool   // warn_if_reject applies
	depth    int

	unlistedChecked, unlistedSenderChecked bool
	policyFailed                           bool // a default action is being carried out
}

// begin starts the evaluation of a stage with the deferral of the stage before.
func (c *Checker) begin(ctx context.Context, s *Session, ifPermit deferral) *evaluation {
	s.ifReject = deferral{}
	s.ifPermit = ifPermit
	return &evaluation{ctx: ctx, c: c, s: s}
}

// run evaluates one restriction list.
func (e *evaluation) run(which stage, name, class, implicit string) verdict {
	e.stage, e.name, e.class, e.implicit = which, name, class, implicit
	return e.list(e.c.lists[which])
}

// deferred says that the outcome is settled by both recorded replies.
func (e *evaluation) deferred() bool { return e.s.ifReject.active && e.s.ifPermit.active }

// settle turns a recorded defer_if_permit into a refusal at the end of the
// last stage.
func (e *evaluation) settle() Reply {
	if d := e.s.ifPermit; !e.reply.Refused() && d.active {
		e.warn = false
		e.refuse(d.class, d.code, d.dsn, d.text)
	}
	return e.reply
}

// list evaluates restrictions from left to right.
func (e *evaluation) list(list []restriction) verdict {
	warn := false
	for i := range list {
		r := &list[i]
		if e.s.Tx.Actions.Discard {
			return permit
		}
		if e.deferred() {
			return dunno
		}
		if e.ctx.Err() != nil {
			break
		}
		if r.kind == "warn_if_reject" {
			if r.next == "" {
				break
			}
			warn = true
			continue
		}
		outer := e.warn
		e.warn = outer || warn
		v := e.one(r)
		e.warn, warn = outer, false
		if v != dunno {
			return v
		}
	}
	if e.ctx.Err() != nil {
		// The session is being ended. The rules that were not asked, or
		// could not be, may be those that refuse.
		return e.refuse(ClassSoftware, 451, "4.3.0", e.text("Server local error"))
	}
	return dunno
}

// one evaluates one restriction.
func (e *evaluation) one(r *restriction) verdict {
	if v, known := e.generic(r); known {
		return v
	}
	v, known := e.clientRule(r)
	if !known {
		v, known = e.heloRule(r)
	}
	if !known {
		v, known = e.senderRule(r)
	}
	if !known {
		v, known = e.recipientRule(r)
	}
	if known {
		return v
	}
	e.s.Log.Warnf("unknown smtpd restriction: \"%s\"", r.word)
	return e.misconfigured()
}

// generic evaluates the restrictions that are about nothing in particular.
func (e *evaluation) generic(r *restriction) (verdict, bool) {
	rejected := func(id params.Int, dsn, text string) (verdict, bool) {
		v := e.refuse(ClassPolicy, e.c.code(id), dsn, e.text(text))
		if r.next != "" && !e.warn {
			e.ignored(r)
		}
		return v, true
	}
	switch r.kind {
	case "permit":
		e.logPermit(r.kind, e.class, e.name, "")
		if r.next != "" {
			e.ignored(r)
		}
		return permit, true
	case "reject":
		return rejected(params.RejectCode, "5.7.1", "Access denied")
	case "defer":
		return rejected(params.DeferCode, "4.3.2", "Try again later")
	case "defer_if_permit":
		return e.deferIfPermit(ClassPolicy, 450, "4.7.0", e.text("defer_if_permit requested")), true
	case "defer_if_reject":
		return e.deferIfReject(ClassPolicy, 450, "4.7.0", e.text("defer_if_reject requested")), true
	case "reject_unauth_pipelining":
		if !e.s.Pipelining {
			return dunno, true
		}
		return e.refuse(ClassProtocol, 503, "5.5.0", e.text("Improper use of SMTP command pipelining")), true
	case "reject_plaintext_session":
		if e.s.TLS {
			return dunno, true
		}
		return e.refuse(ClassPolicy, e.c.code(params.PlaintextRejectCode), "4.7.1", "Session encryption is required"), true
	case "check_policy_service":
		return e.policy(r), true
	case "sleep":
		return e.sleep(r), true
	case kindClass:
		if e.depth >= maxRecursion {
			e.s.Log.Warnf("restriction class %s causes unreasonable recursion", r.word)
			return e.misconfigured(), true
		}
		e.depth++
		v := e.list(e.c.classes[r.word])
		e.depth--
		return v, true
	case kindTable:
		if e.implicit == "" {
			e.s.Log.Warnf("specify one of (check_client_access, check_reverse_client_hostname_access, check_helo_access, check_sender_access, check_recipient_access, check_etrn_access) before %s restriction \"%s\"", e.class, r.word)
			return e.misconfigured(), true
		}
		implied := *r
		implied.kind = e.implicit
		return e.one(&implied), true
	}
	if takesTable(r.kind) && (r.table == nil) {
		arg := r.arg
		if arg == "" {
			arg = r.word
		}
		e.s.Log.Warnf("restriction %s: bad argument \"%s\": need maptype:mapname", r.word, arg)
		return e.misconfigured(), true
	}
	return dunno, false
}

// sleep waits for the number of seconds that the administrator asked for.
func (e *evaluation) sleep(r *restriction) verdict {
	seconds, err := strconv.Atoi(r.arg)
	if err != nil || seconds < 0 {
		e.s.Log.Warnf("restriction sleep must be followed by number")
		return e.misconfigured()
	}
	e.wait(time.Duration(seconds) * time.Second)
	return dunno
}

// wait pauses, but not longer than the session lives.
func (e *evaluation) wait(d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-e.ctx.Done():
	}
}

// ignored warns about a restriction that cannot be reached.
func (e *evaluation) ignored(r *restriction) {
	e.s.Log.Warnf("restriction `%s' after `%s' is ignored", r.next, r.word)
}

// text puts the name and class of the list in front of the reason.
func (e *evaluation) text(reason string) string { return rejected(e.name, e.class, reason) }

// rejected is the usual form of a refusal.
func rejected(name, class, reason string) string {
	return "<" + name + ">: " + class + " rejected: " + reason
}

// refuse rejects the request, or only logs it under warn_if_reject. A recorded
// defer_if_reject takes the place of a permanent refusal.
func (e *evaluation) refuse(class ErrorClass, code int, dsn, text string) verdict {
	warn := e.warn && class&(ClassSoftware|ClassData|ClassResource) == 0
	reply := e.replyText(code, dsn, text)
	if d := e.s.ifReject; d.active && !warn && reply[0] == '5' {
		e.s.ifReject = deferral{}
		class, reply = d.class, e.replyText(d.code, d.dsn, d.text)
	}
	if warn {
		e.s.LogAction(e.c.style, "reject_warning", reply)
		return dunno
	}
	e.s.LogAction(e.c.style, "reject", reply)
	e.reply = Reply{Text: reply, Class: class}
	return reject
}

// misconfigured refuses a request because the rules are wrong.
func (e *evaluation) misconfigured() verdict {
	return e.refuse(ClassSoftware, 451, "4.3.5", "Server configuration error")
}

// lookupFailed refuses a request because a table or service did not answer.
func (e *evaluation) lookupFailed(name string, config bool) verdict {
	if config {
		return e.misconfigured()
	}
	return e.refuse(ClassData, 451, "4.3.0", "<"+name+">: Temporary lookup failure")
}

// deferIfPermit records a reply that takes effect where nothing else refuses.
// Only the first one counts.
func (e *evaluation) deferIfPermit(class ErrorClass, code int, dsn, text string) verdict {
	if e.warn {
		e.s.LogAction(e.c.style, "reject_warning", e.replyText(code, dsn, text))
		return dunno
	}
	if !e.s.ifPermit.active {
		e.s.ifPermit = deferral{true, class, code, dsn, text}
	}
	return dunno
}

// deferIfReject records a reply that replaces a permanent refusal.
func (e *evaluation) deferIfReject(class ErrorClass, code int, dsn, text string) verdict {
	if !e.s.ifReject.active {
		e.s.ifReject = deferral{true, class, code, dsn, text}
	}
	return dunno
}

// tempfail does what a parameter wants done about a temporary error.
func (e *evaluation) tempfail(action params.String, class ErrorClass, code int, dsn, text string) verdict {
	if e.c.tempfail[action] == "defer" {
		return e.refuse(class, code, dsn, text)
	}
	return e.deferIfPermit(class, code, dsn, text)
}

// logPermit logs a permit where smtpd_log_access_permit_actions has its name.
func (e *evaluation) logPermit(action, class, name, text string) {
	if e.s.ifPermit.active {
		return
	}
	if match, err := e.c.logPermit.Match(action); err == nil && match {
		e.s.LogAction(e.c.style, "permit", "action="+action+" for "+class+"="+name+" "+text)
	}
}

// tableArgument returns the table name in the argument of a restriction.
// check_ccert_access may have it in braces, with options after it.
func tableArgument(kind, arg string) string {
	if kind == "check_ccert_access" && strings.HasPrefix(arg, "{") {
		if words := config.SplitBrace(strings.TrimSuffix(strings.TrimPrefix(arg, "{"), "}")); len(words) > 0 {
			return words[0]
		}
	}
	return arg
}
