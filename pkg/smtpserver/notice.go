package smtpserver

import (
	"context"
	"strings"

	"suffix/pkg/cleanupclient"
	"suffix/pkg/record"
	"suffix/pkg/smtpaccess"
)

// Form of the transcript in a notice.
const (
	noticeWidth  = 78
	noticeIndent = 4
)

// remember adds a line to the transcript, which exists only if somebody wants
// notices.
func (s *session) remember(line string) {
	if s.set.keepHistory {
		s.history = append(s.history, line)
	}
}

// flushHistory sends a notice about a transcript that has grown long, and
// starts a new one (spec hardening SM6).
func (s *session) flushHistory() {
	if len(s.history) > s.set.historyThreshold {
		s.sendNotice(false)
	}
}

// sendNotice tells the postmaster about errors of the classes that he wants
// to hear of, and forgets the transcript (spec smtpd §20). The classes are
// forgotten with it.
func (s *session) sendNotice(final bool) {
	wanted := s.classes&s.set.notify != 0 && !s.set.standalone
	history, bounced := s.history, s.classes&smtpaccess.ClassBounce != 0
	s.history, s.classes = nil, 0
	if !wanted {
		return
	}
	recipient := s.set.errorNotice
	if bounced {
		recipient = s.set.bounceTo
	}
	reason := ""
	if final {
		reason = s.reason
	}
	s.postNotice(recipient, history, reason)
}

// postNotice mails a transcript.
func (s *session) postNotice(recipient string, history []string, reason string) {
	ctx := context.WithoutCancel(s.ctx)
	stream, err := cleanupclient.PostMail(ctx, s.set.cfg, cleanupclient.Mail{
		Sender: s.set.noticeSender, Recipient: recipient, Class: cleanupclient.ClassNotify,
	})
	if err != nil {
		s.warnf("postmaster notify: %s", err)
		return
	}
	put := func(line string) { stream.Put(record.Text, line) }
	if s.set.fromFormat == "obsolete" {
		put("From: MAILER-DAEMON (Mail Delivery System)")
		put("To: " + s.set.errorNotice + " (Postmaster)")
	} else {
		put("From: Mail Delivery System <MAILER-DAEMON>")
		put("To: Postmaster <" + s.set.errorNotice + ">")
	}
	put("Subject: " + s.set.mailName + " SMTP server: errors from " + s.access.LogName)
	put("")
	put("Transcript of session follows.")
	put("")
	for _, line := range history {
		for _, part := range wrap(printableBytes(line, '?')) {
			put(part)
		}
	}
	put("")
	if reason != "" {
		put("Session aborted, reason: " + reason)
		put("")
	}
	put("For other details, see the local mail logfile")
	if status, why, err := cleanupclient.EndMail(stream); err != nil || status != 0 {
		s.warnf("postmaster notify: status %d %s", int(status), why)
	}
}

// wrap breaks a line of the transcript at blanks.
func wrap(line string) []string {
	var parts []string
	prefix := " "
	for {
		room := noticeWidth - len(prefix)
		if len(line) <= room {
			return append(parts, prefix+line)
		}
		at := strings.LastIndexByte(line[:room+1], ' ')
		if at <= 0 {
			at = strings.IndexByte(line, ' ')
			if at < 0 {
				return append(parts, prefix+line)
			}
		}
		parts = append(parts, prefix+line[:at])
		line = line[at+1:]
		prefix = strings.Repeat(" ", 1+noticeIndent)
	}
}
