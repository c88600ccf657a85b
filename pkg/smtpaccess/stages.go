package smtpaccess

import (
	"context"
	"strings"

	"suffix/pkg/params"
)

// Client evaluates smtpd_client_restrictions at connect time.
func (c *Checker) Client(ctx context.Context, s *Session) Reply {
	return c.client(ctx, s)
}

// Helo evaluates smtpd_helo_restrictions for the name in s.Helo.
func (c *Checker) Helo(ctx context.Context, s *Session) Reply {
	return c.helo(ctx, s)
}

// Sender evaluates smtpd_sender_restrictions for s.Tx.Sender, and whether the
// sender exists.
func (c *Checker) Sender(ctx context.Context, s *Session) Reply {
	return c.sender(ctx, s)
}

// Recipient evaluates all lists that apply to the recipient s.Tx.Recipient,
// for RCPT and VRFY.
func (c *Checker) Recipient(ctx context.Context, s *Session) Reply {
	if strings.EqualFold(s.Tx.Recipient, "postmaster") {
		return Reply{}
	}
	if c.delayReject {
		for _, check := range []func(context.Context, *Session) Reply{c.client, c.helo, c.sender} {
			if reply := check(ctx, s); reply.Refused() {
				return reply
			}
		}
	}
	e := c.begin(ctx, s, s.stages[2])
	order := []stage{stageRelay, stageRecipient}
	if !c.relayFirst {
		order[0], order[1] = order[1], order[0]
	}
	for _, which := range order {
		if e.run(which, s.Tx.Recipient, classRecipient, "check_recipient_access") == reject {
			if which == stageRecipient {
				e.noteRelayLast()
			}
			return e.reply
		}
		if which == stageRelay {
			e.noteEmptyRelay()
		}
		if e.deferred() {
			break
		}
	}
	if reply := e.settle(); reply.Refused() {
		return reply
	}
	if c.rejectUnlistedRecipient && !e.unlistedChecked && !s.Tx.Actions.Discard {
		e.unlisted(s.Tx.Recipient, s.Tx.Recipient, classRecipient)
	}
	return e.reply
}

// Etrn evaluates the lists for the domain s.Etrn of an ETRN command.
func (c *Checker) Etrn(ctx context.Context, s *Session) Reply {
	if c.delayReject {
		for _, check := range []func(context.Context, *Session) Reply{c.client, c.helo} {
			if reply := check(ctx, s); reply.Refused() {
				return reply
			}
		}
	}
	e := c.begin(ctx, s, s.stages[1])
	if e.run(stageEtrn, s.Etrn, classEtrn, "check_etrn_access") == reject {
		return e.reply
	}
	return e.settle()
}

// Data evaluates smtpd_data_restrictions.
func (c *Checker) Data(ctx context.Context, s *Session) Reply {
	return c.content(ctx, s, stageData, "DATA", classData)
}

// EndOfData evaluates smtpd_end_of_data_restrictions, when the content was read.
func (c *Checker) EndOfData(ctx context.Context, s *Session) Reply {
	return c.content(ctx, s, stageEndOfData, "END-OF-MESSAGE", classEndOfData)
}

// content evaluates a list that is about the message as a whole: with several
// recipients none of them is shown.
func (c *Checker) content(ctx context.Context, s *Session, which stage, name, class string) Reply {
	if len(c.lists[which]) == 0 {
		return Reply{}
	}
	if s.Tx.Accepted > 1 && s.Tx.HasRecipient {
		defer func(recipient string) { s.Tx.Recipient, s.Tx.HasRecipient = recipient, true }(s.Tx.Recipient)
		s.Tx.Recipient, s.Tx.HasRecipient = "", false
	}
	e := c.begin(ctx, s, deferral{})
	if e.run(which, name, class, "") == reject {
		return e.reply
	}
	return e.settle()
}

func (c *Checker) client(ctx context.Context, s *Session) Reply {
	e := c.begin(ctx, s, deferral{})
	e.run(stageClient, s.LogName, classClient, "check_client_access")
	s.stages = [3]deferral{s.ifPermit, s.ifPermit, s.ifPermit}
	return e.reply
}

func (c *Checker) helo(ctx context.Context, s *Session) Reply {
	e := c.begin(ctx, s, s.stages[0])
	e.run(stageHelo, s.Helo, classHelo, "check_helo_access")
	s.stages[1], s.stages[2] = s.ifPermit, s.ifPermit
	return e.reply
}

func (c *Checker) sender(ctx context.Context, s *Session) Reply {
	e := c.begin(ctx, s, s.stages[1])
	verdict := e.run(stageSender, s.Tx.Sender, classSender, "check_sender_access")
	s.stages[2] = s.ifPermit
	if verdict != reject && c.rejectUnlistedSender && !e.unlistedSenderChecked && !s.Tx.Actions.Discard &&
		s.Tx.HasSender && s.Tx.Sender != "" {
		e.unlisted(s.Tx.Sender, s.Tx.Sender, classSender)
	}
	return e.reply
}

// code returns the reply code that a parameter holds.
func (c *Checker) code(id params.Int) int { return c.codes[id] }
