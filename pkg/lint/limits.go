package lint

import (
	"slices"
	"strings"

	"suffix/pkg/config"
	"suffix/pkg/params"
)

const day = 24 * 3600

// checkLimits looks at sizes, times and numbers.
func (c *checker) checkLimits() {
	for _, s := range c.scopes() {
		s.checkTimes()
	}
	s := c.main
	size, _ := s.number("message_size_limit")
	for _, box := range []struct{ limit, daemon string }{{"mailbox_size_limit", "local"}, {"virtual_mailbox_limit", "virtual"}} {
		limit, ok := s.number(box.limit)
		if !ok || limit <= 0 || size <= limit && size > 0 {
			continue
		}
		at := box.limit
		if !s.explicit(at) {
			at = "message_size_limit"
		}
		if len(c.running(box.daemon)) == 0 || box.daemon == "virtual" && !s.usesVirtual() {
			continue
		}
		if size <= 0 {
			s.tell(Serious, "size", at, "messages may have any size (message_size_limit = 0), but mailboxes not (%s = %d): %s(8) does not start, and its mail waits in the queue. Raise %s, or set it to 0 as well.",
				box.limit, limit, box.daemon, box.limit)
			continue
		}
		s.tell(Serious, "size", at, "a message may have %d bytes (message_size_limit), but a mailbox only %d (%s): %s(8) does not start, and its mail waits in the queue. Raise %s, or set it to 0 for no limit.",
			size, limit, box.limit, box.daemon, box.limit)
	}
	if size == 0 && s.explicit("message_size_limit") {
		s.tell(Advice, "size", "message_size_limit", "messages may have any size: one client can fill the disk. Set a limit.")
	}
	if free, ok := s.number("queue_minfree"); ok && free > 0 && size > 0 && free < size*3/2 {
		s.tell(Advice, "size", "queue_minfree", "queue_minfree (%d) is less than one and a half times message_size_limit (%d): the disk can be full before a large message has arrived, and smtpd(8) warns about it. Raise it, or set it to 0.", free, size)
	}
	c.checkQueueTimes()
	if n, ok := s.number("default_process_limit"); ok && s.explicit("default_process_limit") && n < 10 {
		s.tell(Advice, "process-limit", "default_process_limit", "only %d clients can be served at a time: one slow sender can keep all others waiting.", n)
	}
	if count, ok := s.number("smtpd_client_connection_count_limit"); ok && s.explicit("smtpd_client_connection_count_limit") && count == 0 {
		s.tell(Advice, "process-limit", "smtpd_client_connection_count_limit", "smtpd_client_connection_count_limit is 0: a single client may take all connections, and keep all others out.")
	}
	soft, _ := s.number("smtpd_soft_error_limit")
	if hard, ok := s.number("smtpd_hard_error_limit"); ok && hard > 0 && soft > hard && s.own("smtpd_soft_error_limit", "smtpd_hard_error_limit") {
		s.tell(Advice, "limits", "smtpd_hard_error_limit", "smtpd_soft_error_limit (%d) is never reached, because smtpd_hard_error_limit (%d) ends the session before.", soft, hard)
	}
}

func (s *scope) usesVirtual() bool {
	return s.value("virtual_mailbox_domains") != "" && strings.HasPrefix(s.value("virtual_transport"), "virtual")
}

// mayBeZero are the times whose zero has a good meaning.
var mayBeZero = []string{"smtp_connect_timeout", "lmtp_connect_timeout", "smtp_tls_session_cache_timeout", "lmtp_tls_session_cache_timeout", "smtpd_tls_session_cache_timeout",
	"connection_cache_protocol_timeout", "tlsproxy_tls_session_cache_timeout"}

// checkTimes looks for timeouts that cannot be meant.
func (s *scope) checkTimes() {
	for _, name := range sortedKeys(s.set) {
		d := params.Lookup(name)
		if d == nil || d.Kind != params.KindTime || !strings.HasSuffix(name, "_timeout") || slices.Contains(mayBeZero, name) {
			continue
		}
		seconds, ok := s.number(name)
		switch {
		case !ok:
		case seconds == 0:
			s.tell(Serious, "timeout", name, "%s is 0: whatever has to be waited for fails at once. Remove the setting for the default, %s.", name, shownDefault(s, d))
		case seconds >= day && !strings.Contains(name, "cache"):
			s.tell(Advice, "timeout", name, "%s is %s, more than a day: each peer that hangs holds a process as long. The default is %s.", name, s.value(name), shownDefault(s, d))
		case seconds < 5 && strings.HasPrefix(name, "smtp") && !strings.Contains(name, "reuse") && seconds < defaultSeconds(s, d)/10:
			s.tell(Advice, "timeout", name, "%s is %d seconds: slow but sound servers and clients are cut off, and mail is delayed. The default is %s.", name, seconds, shownDefault(s, d))
		}
	}
}

func shownDefault(s *scope, d *params.Param) string {
	text, _ := s.expand(d.Default) // a default has no mistake
	return text
}

func defaultSeconds(s *scope, d *params.Param) int64 {
	n, _ := config.ParseTime(shownDefault(s, d), d.Unit) // a default has no mistake
	return n
}

func (c *checker) checkQueueTimes() {
	s := c.main
	life, ok := s.number("maximal_queue_lifetime")
	if ok && s.own("maximal_queue_lifetime") {
		switch {
		case life == 0:
			s.tell(Advice, "queue-times", "maximal_queue_lifetime", "maximal_queue_lifetime is 0: mail that cannot be delivered at the first attempt is returned, although most such failures pass within hours.")
		case life < 4*3600:
			s.tell(Advice, "queue-times", "maximal_queue_lifetime", "maximal_queue_lifetime is %s: mail is returned when a destination does not answer for so short a time. RFC 5321 recommends four to five days.", s.value("maximal_queue_lifetime"))
		case life > 30*day:
			s.tell(Advice, "queue-times", "maximal_queue_lifetime", "maximal_queue_lifetime is %s: senders learn only then that their mail did not arrive.", s.value("maximal_queue_lifetime"))
		}
	}
	low, _ := s.number("minimal_backoff_time")
	if high, ok := s.number("maximal_backoff_time"); ok && low > high && s.own("minimal_backoff_time", "maximal_backoff_time") {
		at := "minimal_backoff_time"
		if !s.own(at) {
			at = "maximal_backoff_time"
		}
		s.tell(Advice, "queue-times", at, "minimal_backoff_time (%d s) is longer than maximal_backoff_time (%d s).", low, high)
	}
	if warn, ok := s.number("delay_warning_time"); ok && warn > 0 && life > 0 && warn >= life && s.own("delay_warning_time", "maximal_queue_lifetime") {
		s.tell(Advice, "queue-times", "delay_warning_time", "delay_warning_time is not shorter than maximal_queue_lifetime: senders get no warning, but their mail back.")
	}
}
