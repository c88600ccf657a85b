package bounce

import (
	"context"
	"errors"
	"strings"

	"suffix/pkg/bounceclient"
	"suffix/pkg/bouncelog"
	"suffix/pkg/deliver"
	"suffix/pkg/dsn"
	"suffix/pkg/maillog"
	"suffix/pkg/outcome"
)

// who is the sender of the original message, for deciding whom to tell.
type who int

const (
	somebody     who = iota
	nobody           // the null sender
	doubleBounce     // our own postmaster notices
)

func (s *Server) whoIs(sender string) who {
	switch {
	case sender == "":
		return nobody
	case strings.EqualFold(sender, s.doubleBounce):
		return doubleBounce
	}
	return somebody
}

// prepare opens the original message and settles what its TLS options mean for
// notices about it (spec delivery §12.5).
func (s *Server) prepare(n *bounceclient.Notice) (*original, error) {
	if s.requireTLS && n.SendOpts&deliver.OptRequireTLS != 0 {
		n.SendOpts &^= deliver.OptTLSNotRequired
		if s.redact {
			n.SendOpts &^= deliver.OptRequireTLS
			n.Ret = dsn.RetHdrs
		}
	}
	return openOriginal(s.tree, n.QueueName, n.QueueID)
}

// wanted selects the recipients whose NOTIFY asks for a condition, or leaves
// the choice to us.
func wanted(entries []bouncelog.Entry, condition dsn.Notify) []bouncelog.Entry {
	var some []bouncelog.Entry
	for _, e := range entries {
		if e.Notify == 0 || dsn.Notify(e.Notify)&condition != 0 {
			some = append(some, e)
		}
	}
	return some
}

// flush tells the sender about undeliverable mail, and removes the log.
func (s *Server) flush(ctx context.Context, n *bounceclient.Notice) error {
	entries, err := s.readLog(n.QueueID)
	if err != nil {
		return err
	}
	o, err := s.prepare(n)
	if err != nil {
		return err
	}
	defer o.close()
	if err := s.failure(ctx, n, o, entries); err != nil {
		return err
	}
	if n.Flags&bounceclient.FlagDeleteLogged != 0 {
		if err := markDone(o.file, entries); err != nil {
			return err
		}
	}
	return s.removeLog(n.QueueID)
}

// one tells a sender about one recipient, without log.
func (s *Server) one(ctx context.Context, n *bounceclient.Notice, rcpt dsn.Recipient, d dsn.DSN) error {
	o, err := s.prepare(n)
	if err != nil {
		return err
	}
	defer o.close()
	entry := entryOf(rcpt, d)
	if err := s.failure(ctx, n, o, []bouncelog.Entry{entry}); err != nil {
		return err
	}
	if n.Flags&bounceclient.FlagDeleteLogged != 0 {
		return markDone(o.file, []bouncelog.Entry{entry})
	}
	return nil
}

// failure sends the notices about undeliverable mail (spec delivery §12.2).
func (s *Server) failure(ctx context.Context, n *bounceclient.Notice, o *original, entries []bouncelog.Entry) error {
	switch s.whoIs(n.Sender) {
	case doubleBounce:
		maillog.Warnf("%s: undeliverable postmaster notification discarded", n.QueueID)
		return nil
	case nobody:
		if !s.classes["bounce"] && !s.classes["2bounce"] {
			return nil
		}
		return s.toPostmaster(ctx, n, o, notice{
			kind: failure, template: s.templates.Failure, to: s.doubleRecipient, entries: entries, full: true,
		})
	}
	some := wanted(entries, dsn.NotifyFailure)
	if entries == nil || len(some) > 0 {
		if err := s.toSender(ctx, n, o, notice{
			kind: failure, template: s.templates.Failure, to: n.Sender, entries: some, full: n.Ret != dsn.RetHdrs,
		}); err != nil {
			return err
		}
	}
	if s.classes["bounce"] {
		s.copyToPostmaster(ctx, n, o, notice{
			kind: failure, template: s.templates.Failure, to: s.bounceRecipient, entries: entries,
		}, "bouncing")
	}
	return nil
}

// warn tells the sender that mail is late; the log stays.
func (s *Server) warn(ctx context.Context, n *bounceclient.Notice) error {
	entries, err := s.readLog(n.QueueID)
	if err != nil {
		return err
	}
	o, err := s.prepare(n)
	if err != nil {
		return err
	}
	defer o.close()
	late := notice{kind: delay, template: s.templates.Delay, to: s.delayRecipient, entries: entries}
	switch s.whoIs(n.Sender) {
	case doubleBounce:
		maillog.Warnf("%s: undeliverable postmaster notification discarded", n.QueueID)
	case nobody:
		if s.classes["delay"] && len(entries) > 0 {
			late.full = true
			if err := s.toPostmaster(ctx, n, o, late); err != nil {
				return err
			}
		}
	default:
		if some := wanted(entries, dsn.NotifyDelay); len(some) > 0 {
			if err := s.toSender(ctx, n, o, notice{
				kind: delay, template: s.templates.Delay, to: n.Sender, entries: some,
			}); err != nil {
				return err
			}
		}
		if s.classes["delay"] && len(entries) > 0 {
			s.copyToPostmaster(ctx, n, o, late, "warning")
		}
	}
	if n.Flags&bounceclient.FlagDeleteLogged != 0 {
		return markDone(o.file, entries)
	}
	return nil
}

// flushVERP sends a notice for each recipient to an address made for it.
func (s *Server) flushVERP(ctx context.Context, n *bounceclient.Notice, delimiters string) error {
	if s.whoIs(n.Sender) != somebody {
		maillog.Warnf("request to send VERP-style notification of bounced mail")
		return s.flush(ctx, n)
	}
	entries, err := s.readLog(n.QueueID)
	if err != nil {
		return err
	}
	o, err := s.prepare(n)
	if err != nil {
		return err
	}
	defer o.close()
	if entries == nil {
		if err := s.toSender(ctx, n, o, notice{
			kind: failure, template: s.templates.Failure, to: n.Sender, full: n.Ret != dsn.RetHdrs,
			entries: []bouncelog.Entry{{
				Recipient: "(recipient address unavailable)", Status: "5.0.0", Action: "failed", Reason: "(error report unavailable)",
			}},
		}); err != nil {
			return err
		}
	}
	var told []bouncelog.Entry
	for _, e := range entries {
		only := []bouncelog.Entry{e}
		if len(wanted(only, dsn.NotifyFailure)) > 0 {
			recipient := e.Recipient
			if e.Original != "" {
				recipient = e.Original
			}
			if err := s.toSender(ctx, n, o, notice{
				kind: failure, template: s.templates.Failure, to: verpSender(n.Sender, recipient, delimiters),
				entries: only, full: n.Ret != dsn.RetHdrs,
			}); err != nil {
				return err
			}
			told = append(told, e)
		}
		if s.classes["bounce"] {
			s.copyToPostmaster(ctx, n, o, notice{
				kind: failure, template: s.templates.Failure, to: s.bounceRecipient, entries: only,
			}, "bouncing")
		}
	}
	if n.Flags&bounceclient.FlagDeleteLogged != 0 {
		if err := markDone(o.file, told); err != nil {
			return err
		}
	}
	return s.removeLog(n.QueueID)
}

// trace sends the delivery report that the sender asked for.
func (s *Server) trace(ctx context.Context, n *bounceclient.Notice) error {
	entries, err := s.readLog(n.QueueID)
	if err != nil || entries == nil {
		return err
	}
	o, err := s.prepare(n)
	if err != nil {
		return err
	}
	defer o.close()
	report := notice{kind: success, template: s.templates.Success, to: n.Sender, entries: entries}
	if n.Flags&(outcome.FlagUserProbe|outcome.FlagRecord) != 0 {
		report.kind, report.template = verify, s.templates.Verify
	}
	switch s.whoIs(n.Sender) {
	case doubleBounce:
		maillog.Infof("%s: not sending trace/success notification for double-bounce message", n.QueueID)
		return nil
	case nobody:
		if !s.classes["2bounce"] {
			maillog.Infof("%s: not sending trace/success notification for single-bounce message", n.QueueID)
			break
		}
		report.to = s.doubleRecipient
		if err := s.toPostmaster(ctx, n, o, report); err != nil {
			return err
		}
	default:
		if err := s.toSender(ctx, n, o, report); err != nil {
			return err
		}
	}
	if n.Flags&bounceclient.FlagDeleteLogged != 0 {
		if err := markDone(o.file, entries); err != nil {
			return err
		}
	}
	return s.removeLog(n.QueueID)
}

var errNotSent = errors.New("notification failed")

// toSender sends a notice from the null sender.
func (s *Server) toSender(ctx context.Context, n *bounceclient.Notice, o *original, m notice) error {
	text, err := s.send(ctx, n, o, m)
	if err != nil {
		if text != "" {
			text = ": " + text
		}
		maillog.Warnf("%s: sender notification failed to %s%s", n.QueueID, m.to, text)
	}
	return err
}

// toPostmaster sends a notice that replaces one to a sender.
func (s *Server) toPostmaster(ctx context.Context, n *bounceclient.Notice, o *original, m notice) error {
	m.postmaster, m.from = true, s.doubleBounce
	text, err := s.send(ctx, n, o, m)
	if err != nil {
		if text != "" {
			text = ": " + text
		}
		maillog.Warnf("%s: postmaster notification failed%s", n.QueueID, text)
	}
	return err
}

// copyToPostmaster sends a copy, whose failure concerns nobody else.
func (s *Server) copyToPostmaster(ctx context.Context, n *bounceclient.Notice, o *original, m notice, doing string) {
	if err := s.toPostmaster(ctx, n, o, m); err != nil {
		maillog.Warnf("%s: postmaster notice failed while %s to %s", n.QueueID, doing, n.Sender)
	}
}
