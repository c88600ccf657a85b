package smtpserver

import (
	"context"

	"suffix/pkg/anvilclient"
	"suffix/pkg/params"
	"suffix/pkg/smtpaccess"
)

// newAnvil returns the connection through which this client is counted.
func (s *session) newAnvil() *anvilclient.Session {
	ident := anvilclient.Ident(s.set.service, s.access.IP, s.set.limits.ipv4Bits, s.set.limits.ipv6Bits)
	if !s.access.IP.IsValid() {
		ident = s.set.service + ":" + s.access.Address
	}
	return anvilclient.NewSession(ident, s.set.cfg.Time(params.IpcTimeout), func(text string) { s.warnf("%s", text) })
}

// disconnectAnvil tells that the client is gone.
func (s *session) disconnectAnvil() {
	if s.anvil == nil {
		return
	}
	// The server notices a lost connection by itself.
	_ = s.anvil.Disconnect(context.WithoutCancel(s.ctx))
	s.anvil = nil
}

// overRate counts an event and refuses the command when there are too many.
func (s *session) overRate(limit int, count func(context.Context) (int, error), event, reply string) bool {
	if s.anvil == nil || limit <= 0 {
		return false
	}
	rate, err := count(s.ctx)
	if err != nil || rate <= limit {
		return false
	}
	s.warnf("%s rate limit exceeded: %d from %s for service %s", event, rate, s.access.LogName, s.set.service)
	s.classes |= smtpaccess.ClassPolicy
	s.reply("450 4.7.1 Error: %s from %s", reply, s.access.Address)
	return true
}

// overMessageRate counts a MAIL command.
func (s *session) overMessageRate() bool {
	return s.anvil != nil && s.overRate(s.set.limits.messageRate, s.anvil.Message, "Message delivery request", "too much mail")
}

// overRecipientRate counts a RCPT or VRFY command.
func (s *session) overRecipientRate() bool {
	return s.anvil != nil && s.overRate(s.set.limits.recipientRate, s.anvil.Recipient, "Recipient address", "too many recipients")
}
